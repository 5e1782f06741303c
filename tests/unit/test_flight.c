/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flight recorder: what is noted is there after a kill -9, what was torn is seen, what is kept is bounded. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/event_file.h"
#include "lib/event_log.h"
#include "lib/flight.h"
#include "lib/json_in.h"
#include "lib/log.h"
#include "replicator/worker.h"

#define START (1000 * NS_PER_SEC)
#define WALL_US UINT64_C(1795694400123456) /* 2026-11-26T12:00:00.123456Z */

static char dir[64];
static char path[FLIGHT_PATH_SIZE];
static struct flight_view view;

/* What the system refuses. */
static bool no_room;

int __wrap_posix_fallocate(int fd, off_t at, off_t size);
int __real_posix_fallocate(int fd, off_t at, off_t size);
int __wrap_posix_fallocate(int fd, off_t at, off_t size)
{
	return no_room ? ENOSPC : __real_posix_fallocate(fd, at, size);
}

static int set_up(void **state)
{
	struct err e = ERR_INIT;

	snprintf(dir, sizeof(dir), "/tmp/flight-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(flight_path(path, dir, "web.1", "primary", &e), 0);
	no_room = false;
	log_set_fd(-1);
	return 0;
}

static int tear_down(void **state)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static struct flight *begin(bool *left)
{
	const struct flight_head head = {
		.vm = "web.1", .side = "primary", .pid = 77, .began_ns = START, .wall_us = WALL_US};
	struct flight *f = NULL;
	struct err e = ERR_INIT;

	if (flight_new(&f, path, &head, left, &e) < 0)
		fail_msg("%s", e.text);
	return f;
}

static void note(struct flight *f, uint64_t epoch)
{
	struct flight_epoch fe = {
		.epoch = epoch, .at_ns = START + epoch * NS_PER_MS, .pages = (uint32_t)epoch + 5};

	for (int p = 0; p < FLIGHT_PHASES; p++)
		fe.us[p] = FLIGHT_UNKNOWN;
	fe.us[FLIGHT_PAUSE] = 100;
	flight_begin(f, &fe);
}

static void look(void)
{
	struct err e = ERR_INIT;

	if (flight_read(&view, path, &e) < 0)
		fail_msg("%s", e.text);
}

/* ---- the ring ---- */

static void an_epoch_from_pause_to_release(void **state)
{
	bool left = true;
	struct flight *f = begin(&left);
	const struct flight_epoch *fe = &view.epoch[0];

	assert_false(left);
	flight_session(f);
	note(f, 3);
	flight_step(f, 3, FLIGHT_SEND, START + 3 * NS_PER_MS + 200 * NS_PER_US);
	flight_bytes(f, 3, 4711);
	flight_step(f, 3, FLIGHT_ACK, START + 3 * NS_PER_MS + 900 * NS_PER_US);
	look();
	assert_string_equal(view.head.vm, "web.1");
	assert_string_equal(view.head.side, "primary");
	assert_int_equal(view.head.pid, 77);
	assert_int_equal(view.head.began_ns, START);
	assert_int_equal(view.head.wall_us, WALL_US);
	assert_int_equal(view.n, 1);
	assert_int_equal(view.torn, 0);
	assert_int_equal(fe->epoch, 3);
	assert_int_equal(fe->pages, 8);
	assert_int_equal(fe->bytes, 4711);
	assert_int_equal(fe->session, 1);
	assert_int_equal(fe->us[FLIGHT_PAUSE], 100);
	assert_int_equal(fe->us[FLIGHT_SEND], 200);
	assert_int_equal(fe->us[FLIGHT_ACK], 700);
	assert_int_equal(fe->us[FLIGHT_RELEASE], FLIGHT_UNKNOWN);
	/* Not a step of an epoch that is not there, nor of another session's. */
	flight_step(f, 4, FLIGHT_ACK, START);
	flight_session(f);
	flight_step(f, 3, FLIGHT_RELEASE, START + NS_PER_SEC);
	look();
	assert_int_equal(view.n, 1);
	assert_int_equal(fe->us[FLIGHT_RELEASE], FLIGHT_UNKNOWN);
	flight_free(f, false);
	/* Nobody records: no-ops. */
	flight_session(NULL);
	flight_step(NULL, 0, FLIGHT_ACK, 0);
	flight_bytes(NULL, 0, 0);
	flight_begin(NULL, fe);
	flight_free(NULL, true);
}

static void the_newest_stay(void **state)
{
	bool left;
	struct flight *f = begin(&left);

	for (uint64_t n = 0; n < 3 * FLIGHT_SLOTS + 7; n++)
		note(f, n);
	look();
	assert_int_equal(view.n, FLIGHT_SLOTS);
	for (unsigned int i = 0; i < view.n; i++)
		assert_int_equal(view.epoch[i].epoch, 2 * FLIGHT_SLOTS + 7 + i);
	flight_free(f, true);
	assert_int_equal(access(path, F_OK), -1);
}

static void it_outlives_its_worker(void **state)
{
	struct flight *f;
	char old[FLIGHT_PATH_SIZE + 8];
	int status, pipes[2];
	bool left;
	char c;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (!pid) {
		f = begin(&left);
		for (uint64_t n = 0; n < 20; n++)
			note(f, n);
		(void)!write(pipes[1], "x", 1);
		for (uint64_t n = 20;; n++) {
			note(f, n);
			flight_step(f, n, FLIGHT_SEND, START);
		}
	}
	assert_int_equal(read(pipes[0], &c, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(pipes[0]);
	close(pipes[1]);
	look();
	/* The one that was being written may be torn, no other. */
	assert_true(view.torn <= 1);
	assert_true(view.n >= 20);
	for (unsigned int i = 1; i < view.n; i++)
		assert_true(view.epoch[i].epoch > view.epoch[i - 1].epoch);
	f = begin(&left);
	assert_true(left);
	look();
	assert_int_equal(view.n, 0);
	snprintf(old, sizeof(old), "%s.old", path);
	assert_int_equal(access(old, F_OK), 0);
	/* One in which nothing is noted tells nobody anything. */
	flight_free(f, false);
	assert_int_equal(access(path, F_OK), -1);
	f = begin(&left);
	assert_false(left);
	flight_free(f, false);
}

static void nothing_can_be_set_aside(void **state)
{
	const struct flight_head head = {.vm = "web.1", .side = "primary"};
	struct flight *f = NULL;
	struct err e = ERR_INIT;
	bool left;

	no_room = true;
	assert_int_equal(flight_new(&f, path, &head, &left, &e), -ENOSPC);
	assert_null(f);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(flight_new(&f, "/nowhere/at/all", &head, &left, &e), -ENOENT);
}

static void what_is_none(void **state)
{
	static uint8_t bytes[FLIGHT_FILE_SIZE + 1];
	struct err e = ERR_INIT;
	bool left;
	struct flight *f = begin(&left);
	int fd;

	note(f, 1);
	note(f, 2);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), FLIGHT_FILE_SIZE);
	close(fd);
	flight_free(f, true);
	assert_int_equal(flight_decode(&view, bytes, FLIGHT_FILE_SIZE, &e), 0);
	assert_int_equal(view.n, 2);
	/* A bit anywhere: the head is refused, a record is left out. */
	bytes[FLIGHT_HEADER_SIZE + 20] ^= 1;
	assert_int_equal(flight_decode(&view, bytes, FLIGHT_FILE_SIZE, &e), 0);
	assert_int_equal(view.n, 1);
	assert_int_equal(view.torn, 1);
	assert_int_equal(view.epoch[0].epoch, 2);
	/* A good record in another's place. */
	memcpy(bytes + FLIGHT_HEADER_SIZE + 5 * FLIGHT_RECORD_SIZE,
	       bytes + FLIGHT_HEADER_SIZE + FLIGHT_RECORD_SIZE, FLIGHT_RECORD_SIZE);
	assert_int_equal(flight_decode(&view, bytes, FLIGHT_FILE_SIZE, &e), 0);
	assert_int_equal(view.n, 1);
	assert_int_equal(view.torn, 2);
	for (size_t i = 0; i < FLIGHT_HEADER_SIZE; i++) {
		bytes[i] ^= 4;
		assert_int_equal(flight_decode(&view, bytes, FLIGHT_FILE_SIZE, &e), -EBADMSG);
		assert_true(*e.text);
		bytes[i] ^= 4;
	}
	assert_int_equal(flight_decode(&view, bytes, FLIGHT_FILE_SIZE + 1, &e), -EBADMSG);
	assert_int_equal(flight_decode(&view, bytes, FLIGHT_FILE_SIZE - 1, &e), -EBADMSG);
	assert_int_equal(flight_decode(&view, bytes, 0, &e), -EBADMSG);
}

/* ---- keeping ---- */

static int count(const char *folder)
{
	DIR *d = opendir(folder);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

static void few_are_kept(void **state)
{
	char kept[FLIGHT_PATH_SIZE], newest[FLIGHT_PATH_SIZE], folder[160];
	struct err e = ERR_INIT;
	bool left;
	struct flight *f = begin(&left);

	note(f, 1);
	assert_int_equal(flight_newest(&(const struct flight_place){dir, "web.1", "primary"},
				       newest, &e),
			 -ENOENT);
	for (unsigned int i = 0; i < 3 * FLIGHT_KEPT; i++) {
		assert_int_equal(flight_keep(&(const struct flight_place){dir, "web.1", "primary"},
					     path, WALL_US + i * 100000000, kept, &e),
				 0);
		/* A VM whose name begins alike, and the other side: theirs are theirs. */
		if (i < 2) {
			assert_int_equal(
				flight_keep(&(const struct flight_place){dir, "web", "primary"},
					    path, WALL_US + i, newest, &e),
				0);
			assert_int_equal(
				flight_keep(&(const struct flight_place){dir, "web.1", "backup"},
					    path, WALL_US + i, newest, &e),
				0);
		}
	}
	snprintf(folder, sizeof(folder), "%s/flight", dir);
	assert_int_equal(count(folder), FLIGHT_KEPT + 4);
	assert_int_equal(flight_newest(&(const struct flight_place){dir, "web.1", "primary"},
				       newest, &e),
			 0);
	assert_string_equal(newest, kept);
	assert_int_equal(flight_read(&view, kept, &e), 0);
	assert_int_equal(view.n, 1);
	snprintf(folder, sizeof(folder), "%s/flight/web.primary.20261126T120000123457.flight", dir);
	assert_int_equal(
		flight_newest(&(const struct flight_place){dir, "web", "primary"}, newest, &e), 0);
	assert_string_equal(newest, folder);
	flight_free(f, true);
	assert_int_equal(flight_keep(&(const struct flight_place){dir, "web.1", "primary"}, path,
				     WALL_US, kept, &e),
			 -ENOENT);
}

/* ---- with events ---- */

static struct event_log *new_log(void)
{
	const struct event_log_conf ec = {
		.state_dir = dir, .run_dir = dir, .host = "a", .by = "primary"};
	struct event_log *l = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(event_log_new(&l, &ec, &e), 0);
	return l;
}

static void lose(struct event_log *l, uint64_t now)
{
	struct event ev;

	event_begin(&ev, "lost", "web.1", now, WALL_US + now / 1000);
	ev.flight = EVENT_FLIGHT;
	event_log_put(l, &ev);
}

/* The recorders that the events name, and that are there: one letter each, - where none is named. */
static const char *named(void)
{
	static char text[32];
	struct event_reader r;
	struct err e = ERR_INIT;
	struct json_in *v;
	const char *line;
	size_t n = 0;

	assert_int_equal(event_reader_init(&r, dir, &e), 0);
	while (event_reader_next(&r, &line, &v, &e) > 0) {
		const char *kept = json_in_text(v, "flight", NULL);

		text[n++] = *json_in_text(v, "event", "?");
		text[n++] = !kept ? '-' : access(kept, F_OK) == 0 ? '+' : '!';
		json_in_free(v);
	}
	text[n] = '\0';
	event_reader_fini(&r);
	return text;
}

static void an_event_keeps_it(void **state)
{
	struct event_log *l = new_log();
	bool left;
	struct flight *f = begin(&left);

	note(f, 1);
	lose(l, START);
	/* What flaps does not push out what was kept. */
	lose(l, START + NS_PER_SEC);
	lose(l, START + 6 * NS_PER_SEC);
	event_log_say(l, "other", "web.1", "x");
	event_log_free(l);
	flight_free(f, true);
	assert_string_equal(named(), "l+l-l+o-");
}

static void what_a_dead_worker_left_is_kept(void **state)
{
	char old[FLIGHT_PATH_SIZE + 8];
	struct event_log *l = new_log();
	bool left;
	struct flight *f = begin(&left);

	note(f, 1);
	flight_free(f, false);
	f = worker_flight(l, dir, "web.1", WORKER_PRIMARY);
	assert_non_null(f);
	event_log_free(l);
	flight_free(f, true);
	assert_string_equal(named(), "f+");
	snprintf(old, sizeof(old), "%s.old", path);
	assert_int_equal(access(old, F_OK), -1);
	/* No recorder: the worker works all the same. */
	no_room = true;
	assert_null(worker_flight(NULL, dir, "web.1", WORKER_PRIMARY));
}

static void one_that_is_not_there_is_not_named(void **state)
{
	struct event_log *l = new_log();

	lose(l, START);
	event_log_free(l);
	assert_string_equal(named(), "l-");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(an_epoch_from_pause_to_release),
		T(the_newest_stay),
		T(it_outlives_its_worker),
		T(nothing_can_be_set_aside),
		T(what_is_none),
		T(few_are_kept),
		T(an_event_keeps_it),
		T(what_a_dead_worker_left_is_kept),
		T(one_that_is_not_there_is_not_named),
	};

	return RUN_TESTS("flight", tests);
}
