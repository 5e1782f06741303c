/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus unprotect: let a VM run on alone. Says what --force takes on trust. Also: romulus forget. */
#include <argp.h>
#include <errno.h>
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
	OPT_NO_WAIT,
	OPT_TIMEOUT
};

#define POLL_NS (100 * NS_PER_MS)
/* The peer may have to be asked, and its standby destroyed, before the worker answers. */
#define ASK_NS (65 * NS_PER_SEC)

struct options {
	const char *run_dir;
	const char *vm;
	bool force;
	bool wait;
	uint64_t timeout_ns;
};

static const struct argp_option unprotect_options[] = {
	{"force", OPT_FORCE, NULL, 0,
	 "Without the backup's word; says first what cannot be verified", 0},
	{"no-wait", OPT_NO_WAIT, NULL, 0, "Return when the worker has begun", 0},
	{"timeout", OPT_TIMEOUT, "TIME", 0, "Stop waiting after TIME (1m)", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{0},
};

static const struct argp_option forget_options[] = {
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

/* ---- unprotect ---- */

static const struct seen *find_role(const struct report *r, const char *role)
{
	for (size_t i = 0; i < r->n; i++) {
		if (!strcmp(r->vm[i].role, role))
			return &r->vm[i];
	}
	return NULL;
}

/* Nobody to ask: say where things stand. */
static int nobody_here(const struct options *o, const struct report *r)
{
	const struct seen *s = find_role(r, "backup");

	if (s)
		return tool_fail(TOOL_ERROR,
				 "this host is the backup of %s; type romulus unprotect %s at %s",
				 o->vm, o->vm, *s->peer ? s->peer : "its primary");
	s = find_role(r, "primary");
	if (s)
		return tool_fail(
			TOOL_ERROR,
			"the worker of %s does not run (%s)%s%s; start romulusd, or give up with "
			"romulus forget %s",
			o->vm, s->state, *s->problem ? ": " : "", s->problem, o->vm);
	if (!r->host)
		return tool_fail(TOOL_ERROR, "%s", r->host_problem);
	return tool_fail(TOOL_NOT_PROTECTED, "%s is not protected", o->vm);
}

static void warn_of_force(const struct options *o, const struct seen *s)
{
	const char *peer = *s->peer ? s->peer : "the backup";

	fprintf(stderr,
		"romulus: --force: the held output of %s is let out without the word of %s.\n"
		"What cannot be verified from here: that %s has not activated its standby of %s, and\n"
		"never will. If it has, two copies of %s talk to the network from now on. Be sure that\n"
		"%s is switched off, or that romulus status %s there shows no standby.\n",
		o->vm, peer, peer, o->vm, o->vm, peer, o->vm);
}

/* -1: it still works. */
static int look(const struct options *o)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	const struct seen *s;
	int code = -1;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	s = find_role(r, "primary");
	/* A worker without an answer is one that ends, or one that crashed and comes back. */
	if (s && !strcmp(s->state, "deposed")) {
		code = tool_fail(TOOL_ERROR, "%s runs at %s now; the copy here is gone", o->vm,
				 s->peer);
	} else if (!s || !strcmp(s->state, "ended")) {
		printf("%s: not protected any more, it runs on alone\n", o->vm);
		code = TOOL_OK;
	}
	collect_free(r);
	return code;
}

static int wait_for_end(const struct options *o)
{
	uint64_t deadline = clock_add(clock_now(), o->timeout_ns);
	int code;

	do {
		code = look(o);
		if (code >= 0)
			return code;
		tool_pause(POLL_NS);
	} while (clock_now() < deadline);
	return tool_fail(TOOL_DEGRADED, "%s is still being unprotected; see romulus status %s",
			 o->vm, o->vm);
}

static int ask(const struct options *o)
{
	const struct tool_worker w = {o->run_dir, o->vm, "primary", ASK_NS};
	const char *const argv[] = {"unprotect", o->force ? "force" : NULL, NULL};
	struct json_in *reply = NULL;
	struct err e = ERR_INIT;
	int rc = tool_ask_worker(&w, argv, &reply, &e);

	json_in_free(reply);
	return rc < 0 ? tool_fail(TOOL_ERROR, "%s", e.text) : TOOL_OK;
}

int cmd_unprotect(int argc, char **argv)
{
	const struct argp argp = {
		unprotect_options,
		parse_option,
		"VM",
		"Stop to protect a VM of this host: it runs on alone, its output is let out.\v"
		"Exit status: 0 done, 1 error, 2 usage, 3 not done yet, 4 it was not protected.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR, .wait = true, .timeout_ns = 60 * NS_PER_SEC};
	struct report *r = NULL;
	struct err e = ERR_INIT;
	const struct seen *s;
	int code = TOOL_OK;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (collect(o.run_dir, o.vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	s = find_role(r, "primary");
	if (!s || (!s->status && strcmp(s->state, "silent") != 0))
		code = nobody_here(&o, r);
	else if (o.force)
		warn_of_force(&o, s);
	collect_free(r);
	if (code == TOOL_OK)
		code = ask(&o);
	return code == TOOL_OK && o.wait ? wait_for_end(&o) : code;
}

/* ---- forget ---- */

int cmd_forget(int argc, char **argv)
{
	const struct argp argp = {forget_options,
				  parse_option,
				  "VM",
				  "Forget what this host remembers of a VM that has no worker.\v"
				  "Exit status: 0 done, 1 error, 2 usage.",
				  NULL,
				  NULL,
				  NULL};
	struct options o = {.run_dir = RUN_DIR};
	struct json_in *reply = NULL;
	struct err e = ERR_INIT;
	char hint[COLLECT_TEXT];
	int code = TOOL_OK;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (tool_ask_host(o.run_dir, (const char *const[]){"forget", o.vm, NULL}, &reply, &e) < 0)
		code = tool_fail(TOOL_ERROR, "%s", e.text);
	else if (json_in_has(reply, "hint"))
		printf("%s\n", tool_clean(json_in_text(reply, "hint", ""), hint, sizeof(hint)));
	json_in_free(reply);
	return code;
}
