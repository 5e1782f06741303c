/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handle against a child that is this very program in another role: what it does is the word in
 * STANDBY_ROLE, what it was asked for is a line each in the file STANDBY_TRACE.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "replicator/standby.h"

#define JSON "{\"c_info\": {}}"

/* ---- the child ------------------------------------------------------------- */

/* The parent always sets it; a child started without it must not pass for one that was refused. */
static const char *env_of(const char *name)
{
	const char *value = getenv(name);

	if (!value)
		_exit(93);
	return value;
}

static void trace(const char *text)
{
	int fd = open(env_of("STANDBY_TRACE"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	size_t n = strlen(text);

	if (fd < 0 || write(fd, text, n) != (ssize_t)n)
		_exit(99);
	close(fd);
}

static void say(const char *text)
{
	if (send(4, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(98);
}

static bool hear(const char *word)
{
	char text[32] = {0};

	return recv(4, text, sizeof(text) - 1, 0) == (ssize_t)strlen(word) &&
	       strcmp(text, word) == 0;
}

static unsigned int read_to_end(int fd)
{
	unsigned int n = 0;
	char c;

	while (read(fd, &c, 1) == 1)
		n++;
	return n;
}

static int child_restore(const char *role)
{
	char json[64] = {0};
	char line[32];

	if (pread(5, json, sizeof(json) - 1, 0) < 0 || strcmp(json, JSON) != 0 ||
	    fcntl(6, F_GETFD) >= 0)
		return 97;
	if (strcmp(role, "refuse") == 0) {
		say("error the standby needs 210 MiB");
		return 1;
	}
	if (strcmp(role, "crash") == 0)
		raise(SIGKILL);
	if (strcmp(role, "stubborn") == 0) {
		signal(SIGTERM, SIG_IGN);
		say("built domid=1"); /* it is at work */
		for (;;)
			pause();
	}
	if (strcmp(role, "give-up") == 0)
		return hear("abandon") ? 3 : 96;
	snprintf(line, sizeof(line), "bytes=%u\n", read_to_end(3));
	trace(line);
	say("built domid=12");
	say("nonsense");
	say("built domid=12x");
	if (strcmp(role, "twice") == 0) {
		if (!hear("run"))
			return 95;
		say("taken domain 4 of this host is called 'web'");
	}
	if (strcmp(role, "taken") == 0) {
		if (!hear("run"))
			return 95;
		say("taken domain 4 of this host is called 'web'");
		return hear("abandon") ? 3 : 96;
	}
	if (!hear("run"))
		return 94;
	if (strcmp(role, "crash-as-it-runs") == 0)
		raise(SIGKILL);
	if (strcmp(role, "cannot-run") == 0) {
		say("error unpause domain 12: no such domain");
		return 1;
	}
	say("vif name=vif12.0 mac=00:16:3e:0a:0b:ff bridge=xenbr0");
	say("vif name=vif12.1 mac=00:16:3e:0a:0b:fe bridge=");
	say("vif name=vif12.2 mac=00:16:3e bridge=xenbr0");
	say("running domid=12");
	if (strcmp(role, "give-up-late") == 0)
		return hear("abandon") ? 3 : 96;
	return strcmp(role, "unwatched") == 0 ? 1 : 0;
}

static int child_main(int argc, char **argv)
{
	const char *role = env_of("STANDBY_ROLE");

	for (int i = 1; i < argc; i++) {
		trace(argv[i]);
		trace(i + 1 < argc ? " " : "\n");
	}
	if (strcmp(argv[1], "destroy") == 0)
		return strcmp(role, "refuse-left") == 0 ? 1 : 0;
	return child_restore(strcmp(role, "refuse-left") == 0 ? "refuse" : role);
}

/* ---- the world ------------------------------------------------------------- */

struct world {
	struct standby *s;
	int stream;
	char trace[32];
};

#define RESTORE_LINE "restore --name web --stream-fd 3 --ctl-fd 4 --config-fd 5\n"
#define DRILL_LINE \
	"restore --name web --stream-fd 3 --ctl-fd 4 --config-fd 5 --drill rmd-12345678\n"
#define DESTROY_LINE "destroy web--standby\n"

static void world_init_with(struct world *w, const char *role, const struct standby_conf *conf)
{
	int fd;

	strcpy(w->trace, "/tmp/test_standby.XXXXXX");
	fd = mkstemp(w->trace);
	assert_true(fd >= 0);
	close(fd);
	setenv("STANDBY_ROLE", role, 1);
	setenv("STANDBY_TRACE", w->trace, 1);
	assert_int_equal(standby_start(&w->s, conf, &w->stream, NULL), 0);
	assert_true(standby_deadline(w->s) == CLOCK_NEVER);
}

static void world_init(struct world *w, const char *role)
{
	const struct standby_conf conf = {
		.program = "/proc/self/exe",
		.vm = "web",
		.json = JSON,
		.json_size = sizeof(JSON) - 1,
	};

	world_init_with(w, role, &conf);
}

static void world_fini(struct world *w, const char *expected_trace)
{
	char text[512] = {0};
	int fd = open(w->trace, O_RDONLY | O_CLOEXEC);

	standby_free(w->s);
	if (w->stream >= 0)
		close(w->stream);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) >= 0);
	close(fd);
	unlink(w->trace);
	assert_string_equal(text, expected_trace);
}

/* The next event, in the handle's own time. */
static struct standby_event next_at(struct world *w, uint64_t now)
{
	uint64_t give_up = clock_now() + 20 * NS_PER_SEC;
	struct pollfd p = {.fd = standby_fd(w->s), .events = POLLIN};
	struct standby_event ev;

	for (;;) {
		standby_step(w->s, now, &ev);
		if (ev.type != STANDBY_NOTHING)
			return ev;
		assert_true(clock_now() < give_up);
		poll(&p, 1, 100);
	}
}

static void expect_at(struct world *w, uint64_t now, enum standby_event_type type)
{
	struct standby_event ev = next_at(w, now);

	if (ev.type != type)
		print_message("event %d: %s\n", ev.type, ev.text);
	assert_int_equal(ev.type, type);
}

#define SOME_TIME (1000 * NS_PER_SEC)

/* ---- tests ----------------------------------------------------------------- */

static void runs(void **state)
{
	struct standby_event ev;
	struct world w;

	world_init(&w, "build");
	assert_int_equal(write(w.stream, "12345", 5), 5);
	close(w.stream);
	w.stream = -1;
	ev = next_at(&w, SOME_TIME);
	assert_int_equal(ev.type, STANDBY_BUILT);
	assert_int_equal(ev.domid, 12);
	assert_int_equal(standby_run(w.s, NULL), 0);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), -EBUSY);
	ev = next_at(&w, SOME_TIME);
	assert_int_equal(ev.type, STANDBY_RUNNING);
	assert_int_equal(ev.domid, 12);
	assert_int_equal(ev.n_vifs, 2);
	assert_string_equal(ev.vif[0].name, "vif12.0");
	assert_string_equal(ev.vif[0].bridge, "xenbr0");
	assert_memory_equal(ev.vif[0].mac, "\x00\x16\x3e\x0a\x0b\xff", 6);
	assert_string_equal(ev.vif[1].bridge, "");
	assert_int_equal(standby_run(w.s, NULL), -EBUSY);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), -EBUSY);
	expect_at(&w, SOME_TIME, STANDBY_ENDED);
	standby_step(w.s, SOME_TIME, &ev);
	assert_int_equal(ev.type, STANDBY_NOTHING);
	assert_int_equal(standby_run(w.s, NULL), -EBUSY);
	world_fini(&w, RESTORE_LINE "bytes=5\n");
}

/* The monitor has failed: whether the domain lives is not known. */
static void runs_unwatched(void **state)
{
	struct standby_event ev;
	struct world w;

	world_init(&w, "unwatched");
	close(w.stream);
	w.stream = -1;
	expect_at(&w, SOME_TIME, STANDBY_BUILT);
	assert_int_equal(standby_run(w.s, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_RUNNING);
	ev = next_at(&w, SOME_TIME);
	assert_int_equal(ev.type, STANDBY_UNWATCHED);
	assert_non_null(strstr(ev.text, "status 1"));
	world_fini(&w, RESTORE_LINE "bytes=0\n");
}

/* P3, P4: it may run under either name, or not; nothing is destroyed, and nobody is told that it is gone. */
static void dies_as_it_lets_it_run(void **state)
{
	struct standby_event ev;
	struct world w;

	world_init(&w, "crash-as-it-runs");
	close(w.stream);
	w.stream = -1;
	expect_at(&w, SOME_TIME, STANDBY_BUILT);
	assert_int_equal(standby_run(w.s, NULL), 0);
	ev = next_at(&w, SOME_TIME);
	assert_int_equal(ev.type, STANDBY_LOST);
	assert_non_null(strstr(ev.text, "signal 9"));
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	standby_step(w.s, SOME_TIME, &ev);
	assert_int_equal(ev.type, STANDBY_NOTHING);
	assert_true(standby_deadline(w.s) == CLOCK_NEVER);
	world_fini(&w, RESTORE_LINE "bytes=0\n");
}

/* It says so: that is certain, and what is left is taken down. */
static void cannot_be_let_run(void **state)
{
	struct world w;

	world_init(&w, "cannot-run");
	close(w.stream);
	w.stream = -1;
	expect_at(&w, SOME_TIME, STANDBY_BUILT);
	assert_int_equal(standby_run(w.s, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_FAILED);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_GONE);
	world_fini(&w, RESTORE_LINE "bytes=0\n" DESTROY_LINE);
}

static void may_be_told_before_it_is_built(void **state)
{
	struct world w;

	world_init(&w, "build");
	assert_int_equal(standby_run(w.s, NULL), 0);
	close(w.stream);
	w.stream = -1;
	expect_at(&w, SOME_TIME, STANDBY_BUILT);
	expect_at(&w, SOME_TIME, STANDBY_RUNNING);
	world_fini(&w, RESTORE_LINE "bytes=0\n");
}

static void name_taken_can_be_tried_again(void **state)
{
	struct standby_event ev;
	struct world w;

	world_init(&w, "twice");
	close(w.stream);
	w.stream = -1;
	expect_at(&w, SOME_TIME, STANDBY_BUILT);
	assert_int_equal(standby_run(w.s, NULL), 0);
	ev = next_at(&w, SOME_TIME);
	assert_int_equal(ev.type, STANDBY_NAME_TAKEN);
	assert_string_equal(ev.text, "domain 4 of this host is called 'web'");
	assert_int_equal(standby_run(w.s, NULL), 0);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), -EBUSY);
	expect_at(&w, SOME_TIME, STANDBY_RUNNING);
	world_fini(&w, RESTORE_LINE "bytes=0\n");
}

static void name_taken_can_be_given_up(void **state)
{
	struct world w;

	world_init(&w, "taken");
	close(w.stream);
	w.stream = -1;
	expect_at(&w, SOME_TIME, STANDBY_BUILT);
	assert_int_equal(standby_run(w.s, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_NAME_TAKEN);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_GONE);
	world_fini(&w, RESTORE_LINE "bytes=0\n");
}

static void is_given_up(void **state)
{
	struct world w;

	world_init(&w, "give-up");
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	assert_true(standby_deadline(w.s) == SOME_TIME + STANDBY_ABANDON_STEP_NS);
	assert_int_equal(standby_run(w.s, NULL), -EBUSY);
	expect_at(&w, SOME_TIME, STANDBY_GONE);
	assert_true(standby_deadline(w.s) == CLOCK_NEVER);
	world_fini(&w, RESTORE_LINE);
}

static void refusal_has_a_reason(void **state)
{
	struct standby_event ev;
	struct world w;

	world_init(&w, "refuse");
	ev = next_at(&w, SOME_TIME);
	assert_int_equal(ev.type, STANDBY_FAILED);
	assert_string_equal(ev.text, "the standby needs 210 MiB");
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_GONE);
	world_fini(&w, RESTORE_LINE DESTROY_LINE);
}

static void crash_is_seen(void **state)
{
	struct standby_event ev;
	struct world w;

	world_init(&w, "crash");
	ev = next_at(&w, SOME_TIME);
	assert_int_equal(ev.type, STANDBY_FAILED);
	assert_non_null(strstr(ev.text, "signal 9"));
	standby_step(w.s, SOME_TIME, &ev);
	assert_int_equal(ev.type, STANDBY_NOTHING);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_GONE);
	world_fini(&w, RESTORE_LINE DESTROY_LINE);
}

static void stubborn_child_is_killed(void **state)
{
	uint64_t now = SOME_TIME;
	struct standby_event ev;
	struct world w;

	world_init(&w, "stubborn");
	expect_at(&w, now, STANDBY_BUILT);
	assert_int_equal(standby_abandon(w.s, now, NULL), 0);
	standby_step(w.s, now, &ev);
	assert_int_equal(ev.type, STANDBY_NOTHING);
	for (int step = 1; step <= 2; step++) {
		now = SOME_TIME + (uint64_t)step * STANDBY_ABANDON_STEP_NS;
		assert_true(standby_deadline(w.s) == now);
		standby_step(w.s, now, &ev);
		assert_int_equal(ev.type, STANDBY_NOTHING);
	}
	expect_at(&w, now, STANDBY_GONE);
	world_fini(&w, RESTORE_LINE DESTROY_LINE);
}

static void failed_destroy_is_told(void **state)
{
	struct standby_event ev;
	struct world w;

	world_init(&w, "refuse-left");
	expect_at(&w, SOME_TIME, STANDBY_FAILED);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	ev = next_at(&w, SOME_TIME);
	assert_int_equal(ev.type, STANDBY_LEFT);
	assert_non_null(strstr(ev.text, "web--standby"));
	world_fini(&w, RESTORE_LINE DESTROY_LINE);
}

/* A drill's copy may be abandoned while it runs, and is destroyed under its own name. */
static void a_drill_is_abandoned_at_any_time(void **state)
{
	const struct standby_conf conf = {.program = "/proc/self/exe",
					  .vm = "web",
					  .json = JSON,
					  .json_size = sizeof(JSON) - 1,
					  .drill_bridge = "rmd-12345678"};
	struct world w;

	world_init_with(&w, "give-up-late", &conf);
	close(w.stream);
	w.stream = -1;
	expect_at(&w, SOME_TIME, STANDBY_BUILT);
	assert_int_equal(standby_run(w.s, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_RUNNING);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_GONE);
	world_fini(&w, DRILL_LINE "bytes=0\n");
	/* Its builder dies while it runs: it is destroyed by another one. */
	world_init_with(&w, "unwatched", &conf);
	close(w.stream);
	w.stream = -1;
	expect_at(&w, SOME_TIME, STANDBY_BUILT);
	assert_int_equal(standby_run(w.s, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_RUNNING);
	expect_at(&w, SOME_TIME, STANDBY_FAILED);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_GONE);
	world_fini(&w, DRILL_LINE "bytes=0\ndestroy web--drill\n");
	world_init_with(&w, "refuse", &conf);
	expect_at(&w, SOME_TIME, STANDBY_FAILED);
	assert_int_equal(standby_abandon(w.s, SOME_TIME, NULL), 0);
	expect_at(&w, SOME_TIME, STANDBY_GONE);
	world_fini(&w, DRILL_LINE "destroy web--drill\n");
}

static void bad_settings_are_refused(void **state)
{
	static const struct {
		struct standby_conf conf;
		int rc;
	} cases[] = {
		{{.vm = "-x", .json = JSON, .json_size = 2}, -EINVAL},
		{{.vm = "web", .json = JSON, .json_size = 0}, -EMSGSIZE},
		{{.vm = "web", .json = JSON, .json_size = 2, .drill_bridge = "-x"}, -EINVAL},
		{{.vm = "web", .json = JSON, .json_size = 2, .drill_bridge = "rmd-1234567890ab"},
		 -EINVAL},
		{{.vm = "web", .json = JSON, .json_size = SIZE_MAX}, -EMSGSIZE},
		{{.vm = "web", .json = JSON, .json_size = 2, .program = "/nonexistent"}, -ENOENT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct standby *s = NULL;
		int stream = -1;

		assert_int_equal(standby_start(&s, &cases[i].conf, &stream, NULL), cases[i].rc);
		assert_null(s);
	}
	standby_free(NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs),
		cmocka_unit_test(runs_unwatched),
		cmocka_unit_test(dies_as_it_lets_it_run),
		cmocka_unit_test(cannot_be_let_run),
		cmocka_unit_test(may_be_told_before_it_is_built),
		cmocka_unit_test(name_taken_can_be_tried_again),
		cmocka_unit_test(name_taken_can_be_given_up),
		cmocka_unit_test(is_given_up),
		cmocka_unit_test(refusal_has_a_reason),
		cmocka_unit_test(crash_is_seen),
		cmocka_unit_test(stubborn_child_is_killed),
		cmocka_unit_test(failed_destroy_is_told),
		cmocka_unit_test(a_drill_is_abandoned_at_any_time),
		cmocka_unit_test(bad_settings_are_refused),
	};

	if (argc > 1)
		return child_main(argc, argv);
	return RUN_TESTS("standby", tests);
}
