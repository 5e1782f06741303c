/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus drill: a copy of the standby is run at the backup, isolated, probed, and thrown away. At either host. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "tools/tool.h"

enum {
	OPT_RUN_DIR = 256,
	OPT_JSON,
	OPT_PROBE,
	OPT_TIME,
};

#define POLL_NS (500 * NS_PER_MS)
/* The primary's worker passes questions on. */
#define ASK_NS (15 * NS_PER_SEC)
/* Beside the life of the copy: copying, building and taking it away (replicator/drill_life.c) have limits of their own. */
#define MARGIN_NS (10 * 60 * NS_PER_SEC)
#define MISSED_MAX 5

struct options {
	const char *run_dir;
	const char *vm;
	const char *probe;
	uint64_t time_ns;
	bool json;
	const char *side; /* whose worker was asked first and answers */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
}

static const struct argp_option option_list[] = {
	{"json", OPT_JSON, NULL, 0, "One JSON object on one line", 0},
	{"probe", OPT_PROBE, "COMMAND", 0,
	 "Passed when this succeeds, instead of an answer by network or console", 0},
	{"time", OPT_TIME, "T", 0, "How long the copy may live, such as 30s", 0},
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
	case OPT_PROBE:
		o->probe = arg;
		return 0;
	case OPT_TIME:
		tool_parse_time(arg, state, "time", &o->time_ns);
		if (!o->time_ns)
			argp_error(state, "--time: %s is no time to live; 1s to 1h", arg);
		return 0;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		return 0;
	default:
		return tool_parse_vm(key, arg, state, &o->vm);
	}
}

/* ---- asking ---- */

static int ask_side(const struct options *o, const char *text, struct json_in **reply,
		    struct err *e)
{
	const struct tool_worker w = {o->run_dir, o->vm, o->side, ASK_NS};
	const char *const argv[] = {"drill", text, NULL};

	return tool_ask_worker(&w, argv, reply, e);
}

/* The worker of either host will do; at both of them there never is one. */
static int ask_first(struct options *o, const char *text, struct json_in **reply, struct err *e)
{
	int rc;

	o->side = "primary";
	rc = ask_side(o, text, reply, e);
	if (!tool_nobody(rc))
		return rc;
	o->side = "backup";
	return ask_side(o, text, reply, e);
}

static int begin(struct options *o, struct json_in **reply)
{
	struct json *j = json_out_new();
	struct err e = ERR_INIT;
	const char *line;
	char text[1024];
	size_t len;
	int rc;

	if (o->time_ns)
		json_out_u64(j, "time_ms", o->time_ns / NS_PER_MS);
	if (o->probe)
		json_out_text(j, "probe", o->probe);
	line = j ? json_out_line(j, &len) : NULL;
	rc = line ? snprintf(text, sizeof(text), "start %s", line) : -1;
	json_out_free(j);
	if (!line)
		return tool_fail(TOOL_ERROR, "out of memory");
	if (rc >= (int)sizeof(text))
		return tool_fail(TOOL_USAGE,
				 "--probe: the command is too long; put it into a script");
	rc = ask_first(o, text, reply, &e);
	if (tool_nobody(rc))
		return tool_fail(TOOL_NOT_PROTECTED,
				 "%s is neither protected from this host nor "
				 "has it a standby here",
				 o->vm);
	return rc < 0 ? tool_fail(TOOL_ERROR, "%s", e.text) : TOOL_OK;
}

/* ---- telling ---- */

static bool is(const struct json_in *reply, const char *path, const char *word)
{
	return !strcmp(json_in_text(reply, path, ""), word);
}

static void print_ms(const struct json_in *d, const char *path, const char *what)
{
	char buf[32];

	if (json_in_has(d, path))
		printf("  %-10s %s\n", what,
		       tool_us(json_in_double(d, path, 0) * 1000, buf, sizeof(buf)));
}

static void print_text(const struct json_in *d, const char *path, const char *what)
{
	char buf[1024];

	if (*json_in_text(d, path, ""))
		printf("  %-10s %s\n", what,
		       tool_clean(json_in_text(d, path, ""), buf, sizeof(buf)));
}

static void print_words(const struct options *o, const struct json_in *d)
{
	char host[NAME_SIZE], why[512], kept[32];

	printf("drill of %s at %s", o->vm,
	       tool_clean(json_in_text(d, "host", "?"), host, sizeof(host)));
	if (json_in_has(d, "epoch"))
		printf(", as of epoch %" PRIu64, json_in_u64(d, "epoch", 0));
	putchar('\n');
	/* Both are 0 of one that ended before it could count. */
	if (json_in_u64(d, "memory.needed_mib", 0))
		printf("  %-10s %" PRIu64 " MiB needed, %" PRIu64 " MiB were free\n", "memory",
		       json_in_u64(d, "memory.needed_mib", 0),
		       json_in_u64(d, "memory.free_mib", 0));
	if (json_in_u64(d, "memory.rounds", 0))
		printf("  %-10s %" PRIu64 " pages in %" PRIu64 " rounds, %" PRIu64
		       " of them between two epochs\n",
		       "copied", json_in_u64(d, "memory.copied_pages", 0),
		       json_in_u64(d, "memory.rounds", 0), json_in_u64(d, "memory.last_pages", 0));
	if (json_in_u64(d, "disks.count", 0))
		printf("  %-10s %" PRIu64 ", %s of changes kept apart\n", "disks",
		       json_in_u64(d, "disks.count", 0),
		       tool_bytes(json_in_double(d, "disks.overlay_bytes", 0), kept, sizeof(kept)));
	print_ms(d, "ms.copying", "copying");
	print_ms(d, "ms.building", "building");
	print_ms(d, "ms.living", "lived");
	print_ms(d, "ms.answered", "answered");
	print_text(d, "address", "address");
	print_text(d, "probe.what", "probe");
	print_text(d, "probe.output", "it said");
	print_ms(d, "ms.ending", "taken away");
	print_ms(d, "ms.all", "all of it");
	tool_clean(json_in_text(d, "why", ""), why, sizeof(why));
	printf("%s%s%s\n",
	       is(d, "verdict", "passed")   ? "PASSED"
	       : is(d, "verdict", "failed") ? "FAILED"
	       : is(d, "verdict", "broken") ? "NOT DONE"
					    : "CALLED OFF",
	       *why ? ": " : "", why);
}

static int print_json(const struct json_in *d)
{
	struct json *j = json_out_new();
	struct json *o = NULL;
	const char *line = NULL;
	size_t len = 0;

	/* The report is an object of its own: no name around it. */
	if (j)
		o = json_out_array(j, "d");
	json_out_value(o, NULL, d);
	line = j ? json_out_line(j, &len) : NULL;
	/* {"d":[REPORT]} */
	if (line && len > 8)
		printf("%.*s\n", (int)(len - 8), line + 6);
	json_out_free(j);
	return line ? TOOL_OK : tool_fail(TOOL_ERROR, "out of memory");
}

static int conclude(const struct options *o, const struct json_in *d)
{
	if (o->json) {
		if (print_json(d) != TOOL_OK)
			return TOOL_ERROR;
	} else {
		print_words(o, d);
	}
	if (is(d, "verdict", "passed"))
		return TOOL_OK;
	return is(d, "verdict", "failed") ? TOOL_DEGRADED : TOOL_ERROR;
}

/* ---- waiting ---- */

static void call_off(const struct options *o)
{
	struct json_in *reply = NULL;
	struct err e = ERR_INIT;

	if (ask_side(o, "end", &reply, &e) < 0)
		tool_fail(TOOL_ERROR, "%s; it ends by itself, since nobody asks for it any more",
			  e.text);
	json_in_free(reply);
}

static void tell_phase(const struct options *o, const struct json_in *d, char last[32])
{
	const char *phase = json_in_text(d, "phase", "");

	if (o->json || !strcmp(phase, last) || strlen(phase) >= 32)
		return;
	memcpy(last, phase, strlen(phase) + 1);
	if (strcmp(phase, "over") != 0)
		fprintf(stderr, "%s...\n", phase);
}

/* -1: go on; *reply is the newest then, or none. */
static int look(const struct options *o, struct json_in **reply, unsigned int *missed)
{
	struct err e = ERR_INIT;
	int rc = ask_side(o, "ask", reply, &e);

	if (rc == 0) {
		*missed = 0;
		return -1;
	}
	json_in_free(*reply);
	*reply = NULL;
	/* The session may be made anew, or the host be busy for a moment. */
	if (++*missed < MISSED_MAX && !tool_nobody(rc) && rc != -EREMOTEIO)
		return -1;
	return tool_fail(TOOL_ERROR, "what has come of the drill cannot be told: %s", e.text);
}

static int wait_for_end(const struct options *o, struct json_in *reply)
{
	uint64_t deadline = clock_add(clock_now(), clock_add(o->time_ns, MARGIN_NS));
	unsigned int missed = 0;
	bool called_off = false;
	char phase[32] = "";
	int code = -1;

	while (code < 0) {
		const struct json_in *d = json_in_at(reply, "drill");

		tell_phase(o, d, phase);
		if (d && json_in_bool(d, "over", false)) {
			code = conclude(o, d);
			break;
		}
		if (interrupted && !called_off) {
			called_off = true;
			call_off(o);
		}
		if (clock_now() >= deadline) {
			call_off(o);
			code = tool_fail(TOOL_ERROR, "the drill of %s did not end in time", o->vm);
			break;
		}
		tool_pause(POLL_NS);
		json_in_free(reply);
		reply = NULL;
		code = look(o, &reply, &missed);
	}
	json_in_free(reply);
	return code;
}

int cmd_drill(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"VM",
		"Run a copy of a VM's standby at the backup, as of a committed epoch, on a bridge that "
		"leads nowhere; see whether it lives; throw it away. The protected VM goes on.\v"
		"Exit status: 0 the copy passed; 1 error, or the drill could not be done; 2 usage; 3 the "
		"copy failed the probe; 4 the VM is not protected.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR};
	struct sigaction sa = {.sa_handler = on_signal};
	struct json_in *reply = NULL;
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	code = begin(&o, &reply);
	if (code == TOOL_OK)
		return wait_for_end(&o, reply);
	json_in_free(reply);
	return code;
}
