/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus-arbiter: one question to the configured arbiter, one line of answer. A worker runs it when a side
 * may have to go alone; libcurl, fence agents and slow networks stay out of the worker.
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arbiter/arbiter.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"

#define EXIT_GRANTED 0 /* or joined; of look: an answer */
#define EXIT_REFUSED 1
#define EXIT_UNKNOWN 2
#define EXIT_USAGE 64

const char *argp_program_version = "romulus-arbiter " VERSION_TEXT;

struct options {
	const char *conf_path;
	const char *vm;
	const char *side;
	struct ballot ballot;
	unsigned int n_args;
};

enum {
	OPT_UUID = 256,
	OPT_TERM,
	OPT_PEER,
	OPT_SIDE
};

static const struct argp_option option_list[] = {
	{"config", 'c', "FILE", 0, "Read FILE instead of " CONF_DEFAULT_PATH, 0},
	{"uuid", OPT_UUID, "UUID", 0, "The VM's uuid", 0},
	{"term", OPT_TERM, "TERM", 0, "The term that is joined with, or asked for", 0},
	{"peer", OPT_PEER, "HOST", 0, "The other host", 0},
	{"side", OPT_SIDE, "primary|backup", 0,
	 "What this host is to the VM; a backup fences after a delay", 0},
	{0},
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	stop = 1;
}

static void parse_term(struct argp_state *state, const char *arg, uint64_t *term)
{
	char *end;

	errno = 0;
	*term = strtoull(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno || !*term || *term > RECORD_MAX_TERM)
		argp_error(state, "--term \"%.40s\" is no number from 1 to 2^64-2", arg);
}

static void parse_name(struct argp_state *state, const char *what, const char *arg)
{
	if (!name_ok(arg))
		argp_error(state, "%s \"%.64s\" is no name", what, arg);
}

static void parse_argument(struct argp_state *state, struct options *o, char *arg)
{
	switch (o->n_args++) {
	case 0:
		for (o->ballot.op = BALLOT_JOIN; o->ballot.op <= BALLOT_LOOK; o->ballot.op++) {
			if (!strcmp(arg, ballot_op_name(o->ballot.op)))
				return;
		}
		argp_error(state, "\"%.40s\" is none of: join, vote, look", arg);
		break;
	case 1:
		parse_name(state, "VM", arg);
		o->vm = arg;
		break;
	default:
		argp_error(state, "unexpected argument \"%.64s\"", arg);
	}
}

static void check_all_there(struct argp_state *state, const struct options *o)
{
	if (o->n_args < 2)
		argp_error(state, "join, vote or look, and a VM, are needed");
	if (uuid_is_nil(o->ballot.uuid))
		argp_error(state, "--uuid is needed");
	if (o->ballot.op == BALLOT_LOOK)
		return;
	if (!o->ballot.term || !*o->ballot.peer)
		argp_error(state, "--term and --peer are needed");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'c':
		o->conf_path = arg;
		return 0;
	case OPT_UUID:
		if (uuid_parse(arg, o->ballot.uuid) < 0)
			argp_error(state, "--uuid \"%.64s\" is no uuid", arg);
		return 0;
	case OPT_TERM:
		parse_term(state, arg, &o->ballot.term);
		return 0;
	case OPT_PEER:
		parse_name(state, "--peer", arg);
		memcpy(o->ballot.peer, arg, strlen(arg) + 1);
		return 0;
	case OPT_SIDE:
		if (strcmp(arg, "primary") != 0 && strcmp(arg, "backup") != 0)
			argp_error(state, "--side \"%.40s\" is none of: primary, backup", arg);
		o->side = arg;
		return 0;
	case ARGP_KEY_ARG:
		parse_argument(state, o, arg);
		return 0;
	case ARGP_KEY_END:
		check_all_there(state, o);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* SIGTERM ends a fence agent and is answered; the alarm is for what has no bound of its own after all. */
static void bound(const struct conf *c)
{
	struct sigaction sa = {.sa_handler = on_signal};

	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGINT, &sa, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm((unsigned int)(conf_arbiter_bound(c) / NS_PER_SEC) + 1);
}

static void ask(struct options *o, struct verdict *v)
{
	struct arbiter_ask question = {.stop = &stop};
	const struct conf *c = NULL;
	struct err e = ERR_INIT;

	if (conf_load(o->conf_path, &c, &e) < 0) {
		verdict_unknown(v, "%s", e.text);
		return;
	}
	memcpy(o->ballot.asker, c->host_name, sizeof(o->ballot.asker));
	if (o->ballot.op == BALLOT_LOOK)
		o->ballot.term = 0;
	question.ballot = o->ballot;
	/* Unless somebody says that it is the primary: two that both do not wait kill each other. */
	question.is_backup = !o->side || strcmp(o->side, "primary") != 0;
	bound(c);
	if (!strcmp(o->ballot.peer, c->host_name))
		verdict_unknown(v, "--peer %s is this host itself", o->ballot.peer);
	else
		arbiter_ask(c, &question, v);
	conf_free(c);
}

static int exit_status(const struct verdict *v)
{
	switch (v->kind) {
	case VERDICT_GRANTED:
	case VERDICT_HELD:
	case VERDICT_NONE:
		return EXIT_GRANTED;
	case VERDICT_REFUSED:
		return EXIT_REFUSED;
	case VERDICT_UNKNOWN:
		break;
	}
	return EXIT_UNKNOWN;
}

int main(int argc, char **argv)
{
	const struct argp argp = {option_list,
				  parse_option,
				  "join|vote|look VM",
				  "Asks the arbiter which host may run a VM under which term.",
				  NULL,
				  NULL,
				  NULL};
	struct options o = {.conf_path = CONF_DEFAULT_PATH};
	char line[VERDICT_LINE_SIZE];
	struct verdict v;

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	ask(&o, &v);
	/* A line that could not be written was never said. */
	if (printf("%s\n", verdict_format(&v, line)) < 0 || fflush(stdout))
		return EXIT_UNKNOWN;
	return exit_status(&v);
}
