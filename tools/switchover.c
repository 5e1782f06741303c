/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus switchover: have the backup run a VM of this host, as planned: nothing is lost, the roles are exchanged. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "tools/collect.h"
#include "tools/tool.h"

enum {
	OPT_RUN_DIR = 256,
	OPT_NO_WAIT,
	OPT_TIMEOUT,
	OPT_DRY_RUN
};

#define POLL_NS (200 * NS_PER_MS)
/* Its last checkpoint, the peer's activation, the end of the domain here: the worker bounds each. */
#define ASK_NS (125 * NS_PER_SEC)

struct options {
	const char *run_dir;
	const char *vm;
	bool wait;
	bool dry_run;
	uint64_t timeout_ns;
};

/* Of the VM before it was moved. */
struct plan {
	char peer[NAME_SIZE];
	bool again; /* it will be protected to this host, by itself */
};

static const struct argp_option option_list[] = {
	{"dry-run", OPT_DRY_RUN, NULL, 0, "Say what would be done, change nothing", 0},
	{"no-wait", OPT_NO_WAIT, NULL, 0, "Return when the VM runs there, protected again or not",
	 0},
	{"timeout", OPT_TIMEOUT, "TIME", 0,
	 "Stop waiting for it to be protected again after TIME (30m)", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_DRY_RUN:
		o->dry_run = true;
		return 0;
	case OPT_NO_WAIT:
		o->wait = false;
		return 0;
	case OPT_TIMEOUT:
		tool_parse_time(arg, state, "timeout", &o->timeout_ns);
		return 0;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		return 0;
	default:
		return tool_parse_vm(key, arg, state, &o->vm);
	}
}

/* Nobody here could move it: where, if anywhere? */
static int not_here(const struct options *o)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	int code;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	if (r->n && !strcmp(r->vm[0].role, "backup"))
		code = tool_fail(TOOL_ERROR,
				 "this host is the backup of %s; type romulus switchover %s at %s",
				 o->vm, o->vm, *r->vm[0].peer ? r->vm[0].peer : "its primary");
	else if (r->n && !strcmp(r->vm[0].role, "primary"))
		code = tool_fail(TOOL_ERROR, "the worker of %s does not run (%s)%s%s", o->vm,
				 r->vm[0].state, *r->vm[0].problem ? ": " : "", r->vm[0].problem);
	else
		code = tool_fail(TOOL_NOT_PROTECTED,
				 "%s is not protected, so no host has what it takes to run it",
				 o->vm);
	collect_free(r);
	return code;
}

static void show_plan(const struct options *o, const struct json_in *v, const struct plan *p)
{
	char problem[COLLECT_TEXT];

	printf("%s: after one last checkpoint it stands still here until %s runs it; then its copy here is\n"
	       "  destroyed. %s\n"
	       "  Nothing is lost. If %s does not take it, it goes on here.\n",
	       o->vm, p->peer,
	       p->again ? "It is protected to this host again, by itself."
			: "It is not protected again by itself (reprotect is never).",
	       p->peer);
	tool_clean(json_in_text(v, "problem", ""), problem, sizeof(problem));
	if (!json_in_bool(v, "protected", false))
		printf("  It would be refused now: the VM is %s%s%s.\n",
		       json_in_text(v, "state", "?"), *problem ? ": " : "", problem);
}

static int ask(const struct options *o, const struct plan *p)
{
	const struct tool_worker w = {o->run_dir, o->vm, "primary", ASK_NS};
	struct json_in *reply = NULL;
	struct err e = ERR_INIT;
	int rc = tool_ask_worker(&w, (const char *const[]){"switchover", NULL}, &reply, &e);

	if (rc == 0)
		printf("%s: runs at %s now, under term %" PRIu64 "\n", o->vm, p->peer,
		       json_in_u64(reply, "term", 0));
	json_in_free(reply);
	fflush(stdout);
	return rc < 0 ? tool_fail(TOOL_ERROR, "%s", e.text) : TOOL_OK;
}

/* Is there a standby here that protects it? */
static bool stands_by(const struct options *o)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	bool yes = false;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return false;
	for (size_t i = 0; i < r->n; i++)
		yes = yes || (!strcmp(r->vm[i].role, "backup") && r->vm[i].is_protected);
	collect_free(r);
	return yes;
}

static int wait_for_standby(const struct options *o, const struct plan *p)
{
	uint64_t deadline = clock_add(clock_now(), o->timeout_ns);

	do {
		if (stands_by(o)) {
			printf("%s: protected again, this host is its backup\n", o->vm);
			return TOOL_OK;
		}
		tool_pause(POLL_NS);
	} while (clock_now() < deadline);
	return tool_fail(TOOL_DEGRADED,
			 "%s is not protected again yet; see romulus status %s at %s", o->vm, o->vm,
			 p->peer);
}

int cmd_switchover(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"VM",
		"Move a protected VM of this host to its backup, as planned, and protect it back.\v"
		"Exit status: 0 done, 1 error or refused, 2 usage, 3 moved but not protected again yet,\n"
		"4 it is not protected.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR, .wait = true, .timeout_ns = 30 * 60 * NS_PER_SEC};
	struct json_in *status = NULL;
	struct plan p = {.again = true};
	struct err e = ERR_INIT;
	int code = TOOL_OK;
	int rc;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	rc = tool_ask_worker(&(struct tool_worker){o.run_dir, o.vm, "primary", TOOL_ASK_NS},
			     (const char *const[]){"status", NULL}, &status, &e);
	if (rc == 0) {
		tool_clean(json_in_text(status, "peer", "the backup"), p.peer, sizeof(p.peer));
		p.again = strcmp(json_in_text(status, "reprotect", "auto"), "never") != 0;
		if (o.dry_run)
			show_plan(&o, status, &p);
	} else {
		code = tool_nobody(rc) ? not_here(&o) : tool_fail(TOOL_ERROR, "%s", e.text);
	}
	json_in_free(status);
	if (code != TOOL_OK || o.dry_run)
		return code;
	code = ask(&o, &p);
	return code == TOOL_OK && o.wait && p.again ? wait_for_standby(&o, &p) : code;
}
