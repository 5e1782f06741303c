/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus events: which events it shows, in which form, and what it does with what is no event. */
#include "tests/lib/test.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/event_file.h"
#include "lib/flight.h"
#include "tests/lib/tool_run.h"
#include "tools/tool.h"

struct fixture {
	char dir[64];
	char path[128];
	char out[16384];
	char err[16384];
};

static void add(struct fixture *f, const char *line)
{
	FILE *file = fopen(f->path, "ae");

	assert_non_null(file);
	fputs(line, file);
	assert_int_equal(fclose(file), 0);
}

/* 2026-11-26, at 12:00:00 and 12:00:10 UTC. */
#define WEB                                                                           \
	"{\"time\":\"t\",\"wall_us\":1795694400123456,\"host\":\"a\",\"vm\":\"web\"," \
	"\"by\":\"backup\",\"event\":\"activating\",\"text\":\"primary silent\","     \
	"\"evidence\":{\"policy\":\"hold\",\"term\":2,\"\\u001b[2J\":\"\\u001b[31m\"}}\n"
#define DB                                                                                   \
	"{\"wall_us\":1795694410000000,\"vm\":\"db\",\"by\":\"primary\",\"event\":\"lost\"," \
	"\"text\":\"\\u001b[2Jgone\",\"lost_before\":4}\n"
#define HOST                                                                                \
	"{\"wall_us\":1795694420000000,\"by\":\"romulusd\",\"event\":\"romulusd-started\"," \
	"\"text\":\"version\"}\n"

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test_events.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/" EVENT_FILE_NAME, f->dir);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static pid_t begin(struct fixture *f, const char *a, const char *b)
{
	char name[] = "romulus events", dir[96], run[96], one[256] = "", two[256] = "";
	char *argv[] = {name, dir, run, one, two, NULL};
	int argc = 3;

	snprintf(dir, sizeof(dir), "--state-dir=%s", f->dir);
	snprintf(run, sizeof(run), "--run-dir=%s", f->dir);
	if (a)
		snprintf(one, sizeof(one), "%s", a);
	if (b)
		snprintf(two, sizeof(two), "%s", b);
	argc += (a != NULL) + (b != NULL);
	argv[argc] = NULL;
	return tool_start(f->dir, cmd_events, argc, argv);
}

static int finish(struct fixture *f, pid_t pid)
{
	return tool_finish(f->dir, pid, (struct tool_said){f->out, sizeof(f->out)},
			   (struct tool_said){f->err, sizeof(f->err)});
}

static void nothing_happened(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(finish(f, begin(f, NULL, NULL)), TOOL_OK);
	assert_string_equal(f->out, "");
	assert_string_equal(f->err, "");
}

static void all_of_it(void **state)
{
	struct fixture *f = *state;

	add(f, WEB DB HOST);
	assert_int_equal(finish(f, begin(f, NULL, NULL)), TOOL_OK);
	assert_string_equal(f->out,
			    "2026-11-26T12:00:00.123456Z web backup activating: primary silent\n"
			    "(4 events were not written down here: the disk did not take them)\n"
			    "2026-11-26T12:00:10.000000Z db primary lost: ?[2Jgone\n"
			    "2026-11-26T12:00:20.000000Z - romulusd romulusd-started: version\n");
	assert_string_equal(f->err, "");
}

static void one_vm_with_evidence(void **state)
{
	struct fixture *f = *state;

	add(f, WEB DB HOST "{\"event\":\"torn");
	assert_int_equal(finish(f, begin(f, "--evidence", "web")), TOOL_OK);
	assert_string_equal(f->out,
			    "2026-11-26T12:00:00.123456Z web backup activating: primary silent\n"
			    "    policy=hold term=2 ?[2J=?[31m\n");
}

static void as_it_is(void **state)
{
	struct fixture *f = *state;

	add(f, WEB "nonsense\n" DB);
	assert_int_equal(finish(f, begin(f, "--json", NULL)), TOOL_OK);
	assert_string_equal(f->out, WEB DB);
	assert_int_equal(finish(f, begin(f, NULL, NULL)), TOOL_OK);
	tool_says(f->err, "1 torn or foreign lines");
}

static void since_when(void **state)
{
	static const struct {
		const char *since;
		int code;
		const char *has, *has_not;
	} cases[] = {
		{"--since=2026-11-26T12:00:05Z", TOOL_OK, "db primary", "web backup"},
		{"--since=2026-11-26T12:00:20Z", TOOL_OK, "romulusd", "db primary"},
		{"--since=2026-11-20", TOOL_OK, "web backup", "~"},
		{"--since=2026-11-20 10:00", TOOL_OK, "web backup", "~"},
		{"--since=2026-11-20 10:00:01", TOOL_OK, "web backup", "~"},
		{"--since=1s", TOOL_OK, "", "~"},
		{"--since=999999h", TOOL_OK, "web backup", "~"},
		{"--since=yesterday", TOOL_USAGE, "", "web"},
		{"--since=2026-11-26T12:00:05Zx", TOOL_USAGE, "", "web"},
	};
	struct fixture *f = *state;

	add(f, WEB DB HOST);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int code = finish(f, begin(f, cases[i].since, NULL));

		if (code != cases[i].code || !strstr(f->out, cases[i].has) ||
		    strstr(f->out, cases[i].has_not))
			fail_msg("%s: %d, %s%s", cases[i].since, code, f->out, f->err);
	}
}

static void it_follows(void **state)
{
	struct fixture *f = *state;
	char path[96], seen[4096];
	pid_t pid;

	add(f, WEB);
	pid = begin(f, "--follow", NULL);
	snprintf(path, sizeof(path), "%s/out", f->dir);
	while (!strstr(tool_file(path, seen, sizeof(seen)), "web backup"))
		usleep(1000);
	/* In two pieces, and over a rotation. */
	add(f, "{\"wall_us\":1795694410000000,\"vm\":\"db\",");
	add(f, "\"by\":\"primary\",\"event\":\"lost\",\"text\":\"gone\"}\n");
	while (!strstr(tool_file(path, seen, sizeof(seen)), "db primary lost: gone"))
		usleep(1000);
	snprintf(seen, sizeof(seen), "%s.1", f->path);
	assert_int_equal(rename(f->path, seen), 0);
	add(f, HOST);
	while (!strstr(tool_file(path, seen, sizeof(seen)), "romulusd-started"))
		usleep(1000);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void the_flight_recorder(void **state)
{
	const struct flight_head head = {.vm = "web",
					 .side = "primary",
					 .pid = 77,
					 .began_ns = 5000000000,
					 .wall_us = 1795694400123456};
	struct flight_epoch fe = {.epoch = 9, .at_ns = 5001000000, .pages = 12};
	struct fixture *f = *state;
	char path[FLIGHT_PATH_SIZE];
	struct err e = ERR_INIT;
	struct flight *flight;
	bool left;

	assert_int_equal(finish(f, begin(f, "--flight", "web")), TOOL_ERROR);
	tool_says(f->err, "nothing was recorded of web here");
	assert_int_equal(flight_path(path, f->dir, "web", "primary", &e), 0);
	assert_int_equal(flight_new(&flight, path, &head, &left, &e), 0);
	for (int p = 0; p < FLIGHT_PHASES; p++)
		fe.us[p] = p == FLIGHT_RELEASE ? FLIGHT_UNKNOWN : 100 + (uint32_t)p;
	flight_begin(flight, &fe);
	/* Kept, and removed from where it was: the kept one is shown. */
	assert_int_equal(flight_keep(&(const struct flight_place){f->dir, "web", "primary"}, path,
				     1795694400123456, path, &e),
			 0);
	flight_free(flight, true);
	assert_int_equal(finish(f, begin(f, "--flight", "web")), TOOL_OK);
	tool_says(f->out,
		  "web, primary, process 77, began 2026-11-26T12:00:00.123456Z: 1 epochs; ");
	tool_says(f->out,
		  "12:00:00.124456        9      12      100      101      102      103      104"
		  "      105      106      107      108        -\n");
	assert_int_equal(finish(f, begin(f, "--flight", "--json")), TOOL_USAGE);
	tool_says(f->err, "of which VM");
	snprintf(f->err, sizeof(f->err), "--file=%s", path);
	assert_int_equal(finish(f, begin(f, "--flight", f->err)), TOOL_OK);
	tool_says(f->out, "web, primary");
	assert_int_equal(finish(f, begin(f, "--file=x", NULL)), TOOL_USAGE);
}

static void wrong_usage(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(finish(f, begin(f, "../etc", NULL)), TOOL_USAGE);
	tool_says(f->err, "\"../etc\" is not one VM's name");
	assert_int_equal(finish(f, begin(f, "a", "b")), TOOL_USAGE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(nothing_happened), T(all_of_it),  T(one_vm_with_evidence), T(as_it_is),
		T(since_when),	     T(it_follows), T(wrong_usage),	     T(the_flight_recorder),
	};

	argp_err_exit_status = TOOL_USAGE;
	return RUN_TESTS("events_cmd", tests);
}
