/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus verify: have the disks at the backup compared with those here, at the primary. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "tools/collect.h"
#include "tools/tool.h"

enum {
	OPT_RUN_DIR = 256,
	OPT_JSON,
	OPT_WAIT
};

#define POLL_NS (200 * NS_PER_MS)

struct options {
	const char *run_dir;
	const char *vm;
	bool json;
	bool wait;
};

static const struct argp_option option_list[] = {
	{"json", OPT_JSON, NULL, 0, "One JSON object on one line", 0},
	{"wait", OPT_WAIT, NULL, 0, "Until all is compared, and say what came of it", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_WAIT:
		o->wait = true;
		return 0;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		return 0;
	default:
		return tool_parse_vm(key, arg, state, &o->vm);
	}
}

/* ---- asking ---- */

static int no_primary(const struct options *o)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	int code;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	if (r->n && !strcmp(r->vm[0].role, "backup"))
		code = tool_fail(TOOL_ERROR, "%s runs at %s; type romulus verify %s there", o->vm,
				 *r->vm[0].peer ? r->vm[0].peer : "its primary", o->vm);
	else
		code = tool_fail(TOOL_NOT_PROTECTED, "%s is not protected from this host", o->vm);
	collect_free(r);
	return code;
}

static int ask(const struct options *o, const char *command, struct json_in **reply)
{
	const struct tool_worker w = {o->run_dir, o->vm, "primary", TOOL_ASK_NS};
	const char *const argv[] = {command, NULL};
	struct err e = ERR_INIT;
	int rc = tool_ask_worker(&w, argv, reply, &e);

	if (tool_nobody(rc))
		return no_primary(o);
	return rc < 0 ? tool_fail(TOOL_ERROR, "%s", e.text) : TOOL_OK;
}

/* ---- what came of it ---- */

static bool is_state(const struct json_in *disk, const char *state)
{
	return !strcmp(json_in_text(disk, "verify.state", ""), state);
}

/* All that there is was compared, and is equal. */
static bool is_good(const struct json_in *disk)
{
	return is_state(disk, "done") && !json_in_u64(disk, "verify.differed_bytes", 0) &&
	       !json_in_u64(disk, "verify.busy_bytes", 0);
}

static void print_disk(const struct json_in *disk)
{
	char name[NAME_SIZE], all[32], bad[32], busy[32];

	tool_clean(json_in_text(disk, "name", "?"), name, sizeof(name));
	tool_bytes(json_in_double(disk, "verify.verified_bytes", 0), all, sizeof(all));
	tool_bytes(json_in_double(disk, "verify.differed_bytes", 0), bad, sizeof(bad));
	tool_bytes(json_in_double(disk, "verify.busy_bytes", 0), busy, sizeof(busy));
	printf("%s: %s%s compared, ", name,
	       is_state(disk, "done") ? "" : "BROKEN OFF, the session ended; ", all);
	if (json_in_u64(disk, "verify.differed_bytes", 0))
		printf("%s DIFFERENT and copied again", bad);
	else
		fputs("all equal", stdout);
	if (json_in_u64(disk, "verify.busy_bytes", 0))
		printf(", %s not compared", busy);
	putchar('\n');
}

static int print_json(const struct options *o, uint64_t pass, const struct json_in *status)
{
	struct json *j = json_out_new();
	struct json *disks = j && status ? json_out_array(j, "disks") : NULL;
	const char *line;
	size_t len;

	json_out_text(j, "vm", o->vm);
	json_out_u64(j, "pass", pass);
	for (size_t i = 0; disks && i < json_in_count(status, "disks"); i++) {
		const struct json_in *from = json_in_item(status, "disks", i);
		struct json *to = json_out_object(disks, NULL);

		json_out_text(to, "name", json_in_text(from, "name", ""));
		json_out_value(to, "verify", json_in_at(from, "verify"));
	}
	line = j ? json_out_line(j, &len) : NULL;
	if (line)
		printf("%s\n", line);
	json_out_free(j);
	return line ? TOOL_OK : tool_fail(TOOL_ERROR, "out of memory");
}

static int conclude(const struct options *o, uint64_t pass, const struct json_in *status)
{
	int code = TOOL_OK;

	for (size_t i = 0; i < json_in_count(status, "disks"); i++) {
		const struct json_in *disk = json_in_item(status, "disks", i);

		if (!is_good(disk))
			code = TOOL_DEGRADED;
		if (!o->json)
			print_disk(disk);
	}
	if (o->json && print_json(o, pass, status) != TOOL_OK)
		code = TOOL_ERROR;
	return code;
}

/* -1: not yet. */
static int look(const struct options *o, uint64_t pass)
{
	struct json_in *status = NULL;
	int code = ask(o, "status", &status);
	bool over = json_in_count(status, "disks") > 0;

	for (size_t i = 0; code == TOOL_OK && i < json_in_count(status, "disks"); i++) {
		const struct json_in *disk = json_in_item(status, "disks", i);

		if (json_in_u64(disk, "verify.pass", 0) != pass)
			code = tool_fail(
				TOOL_ERROR,
				"%s: its worker, or somebody, began anew meanwhile; ask again",
				o->vm);
		else if (is_state(disk, "running"))
			over = false;
	}
	if (code == TOOL_OK)
		code = over ? conclude(o, pass, status) : -1;
	json_in_free(status);
	return code;
}

static int wait_for_end(const struct options *o, uint64_t pass)
{
	int code;

	while ((code = look(o, pass)) < 0)
		tool_pause(POLL_NS);
	return code;
}

int cmd_verify(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"VM",
		"Compare the disks that the backup has of a VM with those here, at the primary. "
		"What differs is copied again.\v"
		"Exit status: 0 begun, with --wait: all is equal; 1 error, 2 usage, 3 with --wait: "
		"something differed or was not compared, 4 the VM is not protected.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR};
	struct json_in *reply = NULL;
	uint64_t pass;
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	code = ask(&o, "verify", &reply);
	pass = json_in_u64(reply, "pass", 0);
	json_in_free(reply);
	if (code != TOOL_OK)
		return code;
	if (o.wait)
		return wait_for_end(&o, pass);
	if (o.json)
		return print_json(&o, pass, NULL);
	printf("%s: its disks are being compared; romulus status %s says what comes of it\n", o.vm,
	       o.vm);
	return TOOL_OK;
}
