/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus events: what happened on this host, and why. Reads the files of the workers and of romulusd; asks nobody. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/event_file.h"
#include "lib/json_in.h"
#include "tools/flight.h"
#include "tools/tool.h"

enum {
	OPT_JSON = 256,
	OPT_SINCE,
	OPT_FOLLOW,
	OPT_EVIDENCE,
	OPT_FLIGHT,
	OPT_FILE,
	OPT_RUN_DIR,
	OPT_STATE_DIR
};

#define FOLLOW_NS (200 * NS_PER_MS)

struct options {
	const char *state_dir;
	const char *run_dir;
	const char *file;
	bool flight;
	const char *vm;
	bool json;
	bool follow;
	bool evidence;
	uint64_t since_us;
};

static const struct argp_option option_list[] = {
	{"follow", OPT_FOLLOW, NULL, 0, "Go on with what happens from now on", 0},
	{"json", OPT_JSON, NULL, 0, "The lines as they are: one JSON object each", 0},
	{"since", OPT_SINCE, "TIME", 0,
	 "Only what is younger: 90s, 10m, 36h, or 2026-11-26 12:00[:00] (local), "
	 "or 2026-11-26T12:00:00Z",
	 0},
	{"evidence", OPT_EVIDENCE, NULL, 0, "With the figures that each decision was based on", 0},
	{"flight", OPT_FLIGHT, NULL, 0,
	 "Instead: where the time of the VM's newest epochs went, now or when protection was lost",
	 0},
	{"file", OPT_FILE, "FILE", 0, "With --flight: of this recorder, as an event names it", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the live recorders are", 0},
	{"state-dir", OPT_STATE_DIR, "DIR", 0, "Where the events are", 0},
	{0},
};

/* ---- options ---- */

static bool parse_stamp(const char *arg, uint64_t *us)
{
	static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S",
					    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = {.tm_isdst = -1};
		const char *end = strptime(arg, forms[i], &tm);
		time_t t;

		if (!end || *end)
			continue;
		t = i ? mktime(&tm) : timegm(&tm);
		*us = t > 0 ? (uint64_t)t * 1000000 : 0;
		return true;
	}
	return false;
}

static void take_since(struct argp_state *state, const char *arg)
{
	struct options *o = state->input;
	struct err e = ERR_INIT;
	uint64_t ns;

	if (parse_stamp(arg, &o->since_us))
		return;
	if (conf_parse_duration(arg, &ns, &e) < 0)
		argp_error(state,
			   "--since=%s is neither a time such as 10m nor 2026-11-26 12:00:00", arg);
	o->since_us = clock_until(event_now(), ns / NS_PER_US);
}

static void check(struct argp_state *state)
{
	const struct options *o = state->input;

	if (o->file && !o->flight)
		argp_error(state, "--file is for --flight");
	if (o->flight && !o->vm && !o->file)
		argp_error(state, "--flight: of which VM?");
	if (o->flight && (o->follow || o->since_us || o->evidence))
		argp_error(state, "--flight shows no events: it goes with --json and --file alone");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_FOLLOW:
		o->follow = true;
		return 0;
	case OPT_EVIDENCE:
		o->evidence = true;
		return 0;
	case OPT_SINCE:
		take_since(state, arg);
		return 0;
	case OPT_FLIGHT:
		o->flight = true;
		return 0;
	case OPT_FILE:
		o->file = arg;
		return 0;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		return 0;
	case OPT_STATE_DIR:
		o->state_dir = arg;
		return 0;
	case ARGP_KEY_END:
		check(state);
		return 0;
	default:
		return tool_parse_vm(key, arg, state, &o->vm);
	}
}

/* ---- showing ---- */

static void print_facts(const struct json_in *v)
{
	const struct json_in *facts = json_in_at(v, "evidence");
	char key[64], text[EVENT_VALUE_SIZE];
	const char *name;

	for (size_t i = 0; i < EVENT_FACTS && (name = json_in_key(facts, NULL, i)); i++) {
		tool_clean(name, key, sizeof(key));
		if (json_in_text(facts, name, NULL))
			tool_clean(json_in_text(facts, name, ""), text, sizeof(text));
		else
			snprintf(text, sizeof(text), "%" PRIu64, json_in_u64(facts, name, 0));
		printf("%s%s=%s", i ? " " : "    ", key, text);
	}
	if (json_in_key(facts, NULL, 0))
		putchar('\n');
}

static void print_event(const struct options *o, const struct json_in *v)
{
	char time[EVENT_TIME_SIZE], vm[NAME_SIZE], by[16], kind[EVENT_KIND_SIZE];
	char text[EVENT_TEXT_SIZE];
	uint64_t lost = json_in_u64(v, "lost_before", 0);

	if (lost)
		printf("(%" PRIu64
		       " events were not written down here: the disk did not take them)\n",
		       lost);
	tool_clean(json_in_text(v, "vm", "-"), vm, sizeof(vm));
	tool_clean(json_in_text(v, "by", "?"), by, sizeof(by));
	tool_clean(json_in_text(v, "event", "?"), kind, sizeof(kind));
	tool_clean(json_in_text(v, "text", ""), text, sizeof(text));
	printf("%s %s %s %s: %s\n", event_time(json_in_u64(v, "wall_us", 0), time), vm, by, kind,
	       text);
	if (json_in_text(v, "flight", NULL))
		printf("    flight recorder: %s\n",
		       tool_clean(json_in_text(v, "flight", ""), text, sizeof(text)));
	if (o->evidence)
		print_facts(v);
}

static bool wanted(const struct options *o, const struct json_in *v)
{
	return json_in_u64(v, "wall_us", 0) >= o->since_us &&
	       (!o->vm || !strcmp(json_in_text(v, "vm", ""), o->vm));
}

/* What there is now. */
static int show(const struct options *o, struct event_reader *r, struct err *e)
{
	struct json_in *v;
	const char *line;
	int rc;

	while ((rc = event_reader_next(r, &line, &v, e)) > 0) {
		if (wanted(o, v) && o->json)
			printf("%s\n", line);
		else if (wanted(o, v))
			print_event(o, v);
		json_in_free(v);
	}
	return rc;
}

static int run(const struct options *o)
{
	struct event_reader r;
	struct err e = ERR_INIT;
	int rc = event_reader_init(&r, o->state_dir, &e);

	if (!rc)
		rc = show(o, &r, &e);
	while (!rc && o->follow && !ferror(stdout)) {
		tool_pause(FOLLOW_NS);
		rc = show(o, &r, &e);
	}
	if (!rc && r.torn && !o->json)
		fprintf(stderr, "romulus: %" PRIu64 " torn or foreign lines of %s were left out\n",
			r.torn, r.path);
	event_reader_fini(&r);
	return rc < 0 ? tool_fail(TOOL_ERROR, "%s", e.text) : TOOL_OK;
}

/* Where romulus.conf has them. One that is wrong keeps nobody from looking. The caller frees *conf. */
static const char *default_place(const struct conf **conf)
{
	struct err e = ERR_INIT;
	int rc = conf_load(CONF_DEFAULT_PATH, conf, &e);

	if (rc == 0)
		return (*conf)->state_dir;
	*conf = NULL;
	if (rc != -ENOENT)
		fprintf(stderr, "romulus: %s; looking in " STATE_DIR "\n", e.text);
	return STATE_DIR;
}

int cmd_events(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"[VM]",
		"What happened on this host, to a VM or to all of them, and why.\v"
		"Exit status: 0 shown, 1 error, 2 usage.",
		NULL,
		NULL,
		NULL};
	struct options o = {.run_dir = RUN_DIR};
	const struct conf *conf = NULL;
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (!o.state_dir)
		o.state_dir = default_place(&conf);
	code = o.flight ? flight_show(&(const struct flight_from){.run_dir = o.run_dir,
								  .state_dir = o.state_dir,
								  .vm = o.vm,
								  .file = o.file,
								  .json = o.json})
			: run(&o);
	conf_free(conf);
	return code;
}
