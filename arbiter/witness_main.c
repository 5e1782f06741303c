/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus-witness: remembers on a third machine which host may run which VM under which term. Wiring only:
 * options, configuration, store, listener, the loop. One thread. It may die at any time.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "arbiter/witness_conf.h"
#include "arbiter/witness_server.h"
#include "arbiter/witness_store.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/listen.h"
#include "lib/log.h"
#include "lib/tls.h"

const char *argp_program_version = "romulus-witness " VERSION_TEXT;

enum action {
	RUN,
	CHECK_CONFIG,
	INIT,
	LIST,
	FORGET,
};

struct options {
	const char *conf_path;
	enum action action;
	uint8_t uuid[UUID_SIZE]; /* FORGET */
};

enum {
	OPT_INIT = 256,
	OPT_LIST,
	OPT_FORGET
};

static const struct argp_option option_list[] = {
	{"config", 'c', "FILE", 0, "Read FILE instead of " WITNESS_CONF_PATH, 0},
	{"check-config", 'n', NULL, 0, "Print what the configuration means, and end", 0},
	{"init", OPT_INIT, NULL, 0, "Make the folder of a new witness, once, and end", 0},
	{"list", OPT_LIST, NULL, 0, "Print what is granted, and end", 0},
	{"forget", OPT_FORGET, "UUID", 0, "Remove the record of this VM, and end", 0},
	{0},
};

static void choose(struct argp_state *state, enum action action)
{
	struct options *o = state->input;

	if (o->action != RUN)
		argp_error(state, "only one of --check-config, --init, --list, --forget");
	o->action = action;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'c':
		o->conf_path = arg;
		return 0;
	case 'n':
		choose(state, CHECK_CONFIG);
		return 0;
	case OPT_INIT:
		choose(state, INIT);
		return 0;
	case OPT_LIST:
		choose(state, LIST);
		return 0;
	case OPT_FORGET:
		choose(state, FORGET);
		if (uuid_parse(arg, o->uuid) < 0)
			argp_error(state, "\"%.64s\" is no uuid", arg);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument \"%s\"", arg);
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- short errands ---- */

static int print_record(void *arg, const struct record *r, int rc, const struct err *e)
{
	char uuid[UUID_TEXT_SIZE];

	(void)uuid_format(r->uuid, uuid);
	if (rc < 0) {
		*(bool *)arg = true;
		printf("%s damaged: %s\n", uuid, e->text);
	} else {
		printf("%s term %" PRIu64 " holder %s members %s %s\n", uuid, r->term, r->holder,
		       r->member[0], r->member[1]);
	}
	return 0;
}

static int list(const struct witness_conf *c, struct err *e)
{
	bool damaged = false;
	int rc = witness_store_each(c->state_dir, print_record, &damaged, e);

	if (!rc && damaged)
		rc = err_setx(e, -EBADMSG,
			      "damaged records are never granted anew; see "
			      "romulus-witness(8)");
	return rc;
}

/* ---- the daemon ---- */

struct witness {
	struct witness_conf conf;
	struct tls_ctx *tls;
	struct witness_store *store;
	struct witness_server *server;
	int listen_fd;
	int signal_fd;
};

static int watch_signals(struct witness *w, struct err *e)
{
	sigset_t mask;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &mask, NULL);
	w->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return w->signal_fd < 0 ? err_set(e, -errno, "watch signals") : 0;
}

static int tell_damaged(void *arg, const struct record *r, int rc, const struct err *e)
{
	++*(size_t *)arg;
	if (rc < 0)
		log_err("%s; this VM is answered \"unknown\" until romulus-witness --forget",
			e->text);
	return 0;
}

static int set_up(struct witness *w, struct err *e)
{
	const struct tls_conf tc = {
		.ca = w->conf.tls_ca, .cert = w->conf.tls_cert, .key = w->conf.tls_key};
	struct witness_server_conf sc = {
		.max_connections = (size_t)w->conf.max_connections,
		.timeout_ns = w->conf.timeout_ns,
	};
	int rc = watch_signals(w, e);

	if (!rc)
		rc = tls_ctx_new(&w->tls, &tc, e);
	if (!rc)
		rc = witness_store_open(w->conf.state_dir, w->conf.max_vms, &w->store, e);
	if (rc < 0)
		return rc;
	w->listen_fd = listen_at(w->conf.listen_address, (uint16_t)w->conf.listen_port, e);
	if (w->listen_fd < 0)
		return w->listen_fd;
	sc.listen_fd = w->listen_fd;
	sc.wake_fd = w->signal_fd;
	sc.tls = w->tls;
	sc.store = w->store;
	return witness_server_new(&sc, &w->server, e);
}

/* Turns are so short that systemd's watchdog is told in time. */
static int serve(struct witness *w, struct err *e)
{
	uint64_t watchdog_us = 0;
	uint64_t turn_ns = CLOCK_NEVER;
	int rc = 0;

	if (sd_watchdog_enabled(0, &watchdog_us) > 0)
		turn_ns = watchdog_us / 3 * NS_PER_US;
	while (!rc) {
		(void)sd_notify(0, "WATCHDOG=1");
		rc = witness_server_turn(w->server, clock_add(clock_now(), turn_ns), e);
	}
	return MIN(rc, 0);
}

static int run(struct witness *w, struct err *e)
{
	size_t n = 0;
	int rc = set_up(w, e);

	if (!rc)
		rc = witness_store_each(w->conf.state_dir, tell_damaged, &n, e);
	if (rc < 0)
		return rc;
	(void)sd_notifyf(0, "READY=1\nSTATUS=listening at %s port %u", w->conf.listen_address,
			 (unsigned int)w->conf.listen_port);
	log_info("listening at %s port %u, %zu VMs known", w->conf.listen_address,
		 (unsigned int)w->conf.listen_port, n);
	rc = serve(w, e);
	(void)sd_notify(0, "STOPPING=1");
	log_info("ending");
	return rc;
}

static void tear_down(struct witness *w)
{
	witness_server_free(w->server);
	if (w->listen_fd >= 0)
		close(w->listen_fd);
	witness_store_close(w->store);
	tls_ctx_free(w->tls);
	if (w->signal_fd >= 0)
		close(w->signal_fd);
}

static int act(struct witness *w, const struct options *o, struct err *e)
{
	switch (o->action) {
	case RUN:
		return run(w, e);
	case CHECK_CONFIG:
		witness_conf_print(&w->conf, stdout);
		return 0;
	case INIT:
		return witness_store_init(w->conf.state_dir, e);
	case LIST:
		return list(&w->conf, e);
	case FORGET:
		return witness_store_forget(w->conf.state_dir, o->uuid, e);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct argp argp = {
		option_list, parse_option,
		NULL,	     "Remembers which host may run which VM under which term.",
		NULL,	     NULL,
		NULL};
	struct options o = {.conf_path = WITNESS_CONF_PATH};
	struct witness w = {.listen_fd = -1, .signal_fd = -1};
	struct err e = ERR_INIT;
	int rc;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	rc = witness_conf_load(o.conf_path, &w.conf, &e);
	if (!rc)
		rc = log_set_level(NULL, (enum log_level)w.conf.log_level);
	if (!rc)
		rc = act(&w, &o, &e);
	tear_down(&w);
	if (rc < 0 && o.action != RUN)
		fprintf(stderr, "romulus-witness: %s\n", e.text);
	else if (rc < 0)
		log_err("%s", e.text);
	if (fflush(stdout))
		rc = -EIO;
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
