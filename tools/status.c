/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus status: what is protected, how well, what is wrong and what to do. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "tools/collect.h"
#include "tools/tool.h"
#include "tools/writer.h"

enum {
	OPT_RUN_DIR = 256,
	OPT_JSON,
	OPT_PROMETHEUS,
	OPT_COUNT
};
enum form {
	FORM_TEXT,
	FORM_JSON,
	FORM_PROMETHEUS
};

struct options {
	const char *run_dir;
	const char *vm;
	enum form form;
	bool watch;
	uint64_t interval_ns;
	unsigned long count; /* 0: no end */
};

static const struct argp_option option_list[] = {
	{"json", OPT_JSON, NULL, 0, "One JSON object on one line", 0},
	{"prometheus", OPT_PROMETHEUS, NULL, 0, "Text for a Prometheus textfile collector", 0},
	{"watch", 'w', "TIME", OPTION_ARG_OPTIONAL, "Again every TIME (1s), until interrupted", 0},
	{"count", OPT_COUNT, "N", 0, "With --watch: N times", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	struct err e = ERR_INIT;
	char *end;

	switch (key) {
	case OPT_JSON:
		o->form = FORM_JSON;
		return 0;
	case OPT_PROMETHEUS:
		o->form = FORM_PROMETHEUS;
		return 0;
	case 'w':
		o->watch = true;
		if (arg && (conf_parse_duration(arg, &o->interval_ns, &e) < 0 ||
			    o->interval_ns < 100 * NS_PER_MS))
			argp_error(state, "--watch=%s: %s", arg,
				   *e.text ? e.text : "at least 100ms");
		return 0;
	case OPT_COUNT:
		o->count = strtoul(arg, &end, 10);
		if (!o->count || *end)
			argp_error(state, "--count=%s is not a positive number", arg);
		return 0;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (o->vm || !name_ok(arg))
			argp_error(state, "\"%s\" is not one VM's name", arg);
		o->vm = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void show_text(const struct options *o, const struct report *r)
{
	if (o->watch && isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	if (!o->vm) {
		write_table(stdout, r);
		return;
	}
	for (size_t i = 0; i < r->n; i++)
		write_detail(stdout, &r->vm[i]);
	if (!r->n && r->host)
		printf("%s: NOT PROTECTED, nothing is known of it on this host\n", o->vm);
	else if (!r->n)
		printf("%s: nothing is known: %s\n", o->vm, r->host_problem);
}

static int show_once(const struct options *o)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	int code;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	code = (int)report_exit(r);
	/* Without anybody to ask, "not protected" would be a guess. */
	if (!r->n && !r->host)
		code = TOOL_ERROR;
	switch (o->form) {
	case FORM_TEXT:
		show_text(o, r);
		break;
	case FORM_JSON:
		if (write_json(stdout, r) < 0)
			code = tool_fail(TOOL_ERROR, "out of memory");
		break;
	case FORM_PROMETHEUS:
		write_prometheus(stdout, r);
		code = TOOL_OK;
		break;
	}
	collect_free(r);
	if (fflush(stdout) == EOF)
		return tool_fail(TOOL_ERROR, "write: %s", strerrordesc_np(errno));
	return code;
}

int cmd_status(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"[VM]",
		"Show the state of the VMs that are protected from or to this host.\v"
		"Exit status: 0 all are protected, 1 error, 2 usage, 3 some are not protected at the "
		"moment, 4 some, or all, are not protected by anybody. With --prometheus: 0 or 1.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR, .interval_ns = NS_PER_SEC};
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	for (unsigned long i = 1;; i++) {
		code = show_once(&o);
		if (!o.watch || code == TOOL_ERROR || (o.count && i >= o.count))
			return code;
		tool_pause(o.interval_ns);
	}
}
