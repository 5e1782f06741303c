/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus doctor: every reason why protecting a VM, or a failover, would fail, before it does. */
#include "tools/doctor.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "lib/mem.h"
#include "tools/tool.h"

enum {
	OPT_RUN_DIR = 256,
	OPT_TO,
	OPT_JSON,
	OPT_CONFIG,
	OPT_LIBEXEC
};

struct options {
	struct doctor_ask ask;
	bool json;
};

static const struct argp_option option_list[] = {
	{"to", OPT_TO, "HOST", 0, "The backup host, one of romulus.conf's peers", 0},
	{"json", OPT_JSON, NULL, 0, "One JSON object on one line", 0},
	{"config", OPT_CONFIG, "FILE", 0, "Read FILE instead of " CONF_DEFAULT_PATH, 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{"libexec-dir", OPT_LIBEXEC, "DIR", 0, "Where romulus-facts is", 0},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_TO:
		if (!name_ok(arg))
			argp_error(state, "--to=%s is not a host's name", arg);
		o->ask.peer = arg;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_CONFIG:
		o->ask.conf_path = arg;
		return 0;
	case OPT_RUN_DIR:
		o->ask.run_dir = arg;
		return 0;
	case OPT_LIBEXEC:
		o->ask.libexec_dir = arg;
		return 0;
	case ARGP_KEY_END:
		return 0;
	default:
		return tool_parse_vm(key, arg, state, &o->ask.vm);
	}
}

static void print_text(const struct doctor_report *r)
{
	for (unsigned int i = 0; i < r->n; i++) {
		const struct doctor_line *l = &r->line[i];

		printf("%-8s %-12s %s\n", doctor_verdict_name(l->verdict), l->check, l->found);
		if (*l->todo)
			printf("%-21s -> %s\n", "", l->todo);
	}
	if (r->left_out)
		printf("%u more lines were left out\n", r->left_out);
}

static int print_json(const struct options *o, const char *peer, const struct doctor_report *r)
{
	struct json *j = json_out_new();
	struct json *a;
	const char *line;
	size_t len;

	if (o->ask.vm)
		json_out_text(j, "vm", o->ask.vm);
	json_out_text(j, "to", peer);
	json_out_text(j, "worst", doctor_verdict_name(r->worst));
	a = json_out_array(j, "checks");
	for (unsigned int i = 0; i < r->n; i++) {
		const struct doctor_line *l = &r->line[i];
		struct json *one = json_out_object(a, NULL);

		json_out_text(one, "check", l->check);
		json_out_text(one, "verdict", doctor_verdict_name(l->verdict));
		json_out_text(one, "found", l->found);
		json_out_text(one, "todo", *l->todo ? l->todo : NULL);
	}
	json_out_u64(j, "left_out", r->left_out);
	line = j ? json_out_line(j, &len) : NULL;
	if (line)
		printf("%s\n", line);
	json_out_free(j);
	return line ? TOOL_OK : tool_fail(TOOL_ERROR, "out of memory");
}

int cmd_doctor(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"[VM]",
		"Every reason why protecting a VM, or a failover, would fail. To be typed where the VM runs.\v"
		"Exit status: 0 all is well, warnings aside; 1 a check failed, or an error; 2 usage.",
		NULL,
		NULL,
		NULL};
	struct options o = {.ask = {.conf_path = CONF_DEFAULT_PATH,
				    .libexec_dir = LIBEXEC_DIR,
				    .run_dir = RUN_DIR}};
	autofree struct doctor_report *r = NULL;
	char peer[NAME_SIZE] = "";
	struct err e = ERR_INIT;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	r = mem_zalloc(sizeof(*r));
	if (!r)
		return tool_fail(TOOL_ERROR, "out of memory");
	if (doctor_examine(&o.ask, r, peer, &e) < 0)
		return tool_fail(TOOL_USAGE, "%s", e.text);
	if (o.json) {
		if (print_json(&o, peer, r) != TOOL_OK)
			return TOOL_ERROR;
	} else {
		print_text(r);
	}
	return r->worst == DOCTOR_ERROR ? TOOL_ERROR : TOOL_OK;
}
