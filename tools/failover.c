/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus failover: run the standby of a VM, at the backup. Says what it is about to do and what nobody
 * here can verify; --force is needed for exactly that.
 */
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
	OPT_FORCE,
	OPT_DRY_RUN,
	OPT_TIMEOUT
};

#define POLL_NS (100 * NS_PER_MS)
#define ASK_NS (65 * NS_PER_SEC)

struct options {
	const char *run_dir;
	const char *vm;
	bool force;
	bool dry_run;
	uint64_t timeout_ns;
};

static const struct argp_option option_list[] = {
	{"force", OPT_FORCE, NULL, 0, "Although the primary may be alive or may have gone on alone",
	 0},
	{"dry-run", OPT_DRY_RUN, NULL, 0, "Say what would be done, change nothing", 0},
	{"timeout", OPT_TIMEOUT, "TIME", 0, "Stop waiting after TIME (1m)", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_FORCE:
		o->force = true;
		return 0;
	case OPT_DRY_RUN:
		o->dry_run = true;
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

/* ---- what it is about ---- */

static void show_plan(const struct options *o, const struct json_in *v)
{
	char peer[NAME_SIZE];
	char policy[32];
	char heard[32];

	tool_clean(json_in_text(v, "peer", "the primary"), peer, sizeof(peer));
	tool_clean(json_in_text(v, "policy", "?"), policy, sizeof(policy));
	tool_us(json_in_double(v, "peer_heard_ms", 0) * 1e3, heard, sizeof(heard));
	printf("%s: the standby on this host is completed from its newest committed epoch", o->vm);
	if (json_in_has(v, "acked"))
		printf(" (%" PRIu64 ")", json_in_u64(v, "acked", 0));
	printf(" and run.\n  %s was heard %s ago; on peer loss: %s.\n", peer, heard, policy);
	printf("  What the VM did at %s after that epoch is lost; none of it was seen outside,\n"
	       "  unless %s let output go without this host's word.\n",
	       peer, peer);
	printf("  What cannot be verified from here: that %s is dead. If it is alive and goes on\n"
	       "  alone, two copies of %s talk to the network.%s\n",
	       peer, o->vm, o->force ? " You said --force: you are sure that it is not." : "");
}

static int no_standby(const struct options *o)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	int code;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	if (r->n && !strcmp(r->vm[0].role, "primary"))
		code = tool_fail(TOOL_ERROR,
				 "%s is protected from here; type romulus failover %s at %s", o->vm,
				 o->vm, *r->vm[0].peer ? r->vm[0].peer : "its backup");
	else if (r->n && !strcmp(r->vm[0].state, "alone"))
		code = tool_fail(TOOL_ERROR, "%s was activated here before", o->vm);
	else
		code = tool_fail(TOOL_NOT_PROTECTED, "there is no standby of %s on this host",
				 o->vm);
	collect_free(r);
	return code;
}

/* ---- doing it ---- */

static int ask(const struct options *o)
{
	const struct tool_worker w = {o->run_dir, o->vm, "backup", ASK_NS};
	const char *const argv[] = {"failover", o->force ? "force" : NULL, NULL};
	struct json_in *reply = NULL;
	struct err e = ERR_INIT;
	int rc = tool_ask_worker(&w, argv, &reply, &e);

	json_in_free(reply);
	return rc < 0 ? tool_fail(TOOL_ERROR, "%s", e.text) : TOOL_OK;
}

/* The worker may have gone when its work is done: then the durable state says that the VM is here. */
static bool is_active(const struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		if (!strcmp(r->vm[i].state, "active") || !strcmp(r->vm[i].state, "alone"))
			return true;
		/* It is protected again by itself, so soon. */
		if (!strcmp(r->vm[i].role, "primary"))
			return true;
	}
	return false;
}

/* -1: not yet. */
static int look(const struct options *o)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	int code = -1;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	if (is_active(r)) {
		printf("%s: runs here now, without a backup\n", o->vm);
		code = TOOL_OK;
	} else if (!r->n) {
		code = tool_fail(TOOL_ERROR, "%s: its worker ended; see journalctl -u romulusd",
				 o->vm);
	} else if (!strcmp(r->vm[0].state, "abandoning") || !strcmp(r->vm[0].state, "ended")) {
		code = tool_fail(TOOL_ERROR, "%s: the standby was given up%s%s", o->vm,
				 *r->vm[0].problem ? ": " : "", r->vm[0].problem);
	}
	collect_free(r);
	return code;
}

static int wait_for_active(const struct options *o)
{
	uint64_t deadline = clock_add(clock_now(), o->timeout_ns);
	int code;

	do {
		code = look(o);
		if (code >= 0)
			return code;
		tool_pause(POLL_NS);
	} while (clock_now() < deadline);
	return tool_fail(TOOL_DEGRADED, "%s is not active yet; see romulus status %s", o->vm,
			 o->vm);
}

int cmd_failover(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"VM",
		"Run the standby of a VM on this host, because its primary is lost.\v"
		"Exit status: 0 it runs here, 1 error, 2 usage, 3 not done yet, 4 there is no standby.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR, .timeout_ns = 60 * NS_PER_SEC};
	struct json_in *status = NULL;
	struct err e = ERR_INIT;
	int code = TOOL_OK;
	int rc;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	rc = tool_ask_worker(&(struct tool_worker){o.run_dir, o.vm, "backup", TOOL_ASK_NS},
			     (const char *const[]){"status", NULL}, &status, &e);
	if (tool_nobody(rc))
		code = no_standby(&o);
	else if (rc < 0)
		code = tool_fail(TOOL_ERROR, "%s", e.text);
	else
		show_plan(&o, status);
	json_in_free(status);
	fflush(stdout);
	if (code != TOOL_OK || o.dry_run)
		return code;
	code = ask(&o);
	return code == TOOL_OK ? wait_for_active(&o) : code;
}
