/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events: the line, the file under crashes, full disks and several writers, and the log that never waits. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/event.h"
#include "lib/event_file.h"
#include "lib/event_log.h"
#include "lib/json_in.h"
#include "lib/log.h"

#define WALL_US UINT64_C(1795694400123456) /* 2026-11-26T12:00:00.123456Z */

static char dir[64];
static char path[96];

/* What the disk does to the next writes of a line. */
enum disk_mood {
	DISK_FINE,
	DISK_FULL,
	DISK_TEARS,
	DISK_HANGS
};

static _Atomic(enum disk_mood) disk;
static int release[2]; /* a hanging disk is read from here */

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
	char c;

	/* Only lines: pipes and eventfds are nobody's disk. */
	if (n <= 8)
		return __real_write(fd, p, n);
	if (disk == DISK_HANGS)
		(void)!read(release[0], &c, 1);
	if (disk == DISK_FULL) {
		errno = ENOSPC;
		return -1;
	}
	return __real_write(fd, p, disk == DISK_TEARS ? n / 2 : n);
}

static int set_up(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/event-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/" EVENT_FILE_NAME, dir);
	assert_int_equal(pipe(release), 0);
	disk = DISK_FINE;
	log_set_fd(-1);
	return 0;
}

static int tear_down(void **state)
{
	char command[96];

	close(release[0]);
	close(release[1]);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

/* ---- the line ---- */

static void line_says_all(void **state)
{
	const struct event_writer by = {
		.host = "a", .by = "primary", .pid = 77, .lost = 3, .flight = "/f"};
	char line[EVENT_LINE_SIZE];
	struct event ev;

	event_begin(&ev, "lost", "web", 50 * NS_PER_SEC, WALL_US);
	event_say(&ev, "silent for %d s", 1);
	event_say(&ev, ", last");
	event_fact(&ev, "epoch", 123);
	event_fact_text(&ev, "policy", "hold");
	event_fact_at(&ev, "heard", 49 * NS_PER_SEC);
	event_fact_at(&ev, "never", 0);
	assert_true(event_line(&ev, &by, line) > 0);
	assert_string_equal(
		line,
		"{\"time\":\"2026-11-26T12:00:00.123456Z\",\"wall_us\":1795694400123456,"
		"\"boot_us\":50000000,\"host\":\"a\",\"vm\":\"web\",\"by\":\"primary\",\"pid\":77,"
		"\"event\":\"lost\",\"text\":\"silent for 1 s, last\","
		"\"evidence\":{\"epoch\":123,\"policy\":\"hold\","
		"\"heard\":\"2026-11-26T11:59:59.123456Z\"},\"flight\":\"/f\",\"lost_before\":3}\n");
}

static void too_much_is_cut(void **state)
{
	const struct event_writer by = {.host = "a", .by = "primary"};
	char line[EVENT_LINE_SIZE];
	char long_text[2000];
	struct event ev;

	memset(long_text, '\001', sizeof(long_text) - 1); /* six bytes each in JSON */
	long_text[sizeof(long_text) - 1] = '\0';
	event_begin(&ev, long_text, long_text, 0, 0);
	for (int i = 0; i < EVENT_FACTS + 5; i++)
		event_fact_text(&ev, "k", "v");
	assert_int_equal(ev.n_facts, EVENT_FACTS);
	event_say(&ev, "%s", long_text);
	event_say(&ev, "%s", long_text);
	assert_int_equal(strlen(ev.text), EVENT_TEXT_SIZE - 1);
	assert_true(event_line(&ev, &by, line) > 0);
	/* 20 facts of 95 control bytes: no line may be longer than its buffer. */
	event_begin(&ev, "k", NULL, 0, 0);
	for (int i = 0; i < EVENT_FACTS; i++) {
		static char key[EVENT_FACTS][16];

		snprintf(key[i], sizeof(key[i]), "k%d", i);
		event_fact_text(&ev, key[i], long_text);
	}
	assert_int_equal(event_line(&ev, &by, line), -EMSGSIZE);
}

static void times_are_bounded(void **state)
{
	char text[EVENT_TIME_SIZE];

	assert_string_equal(event_time(0, text), "1970-01-01T00:00:00.000000Z");
	assert_int_equal(strlen(event_time(UINT64_MAX, text)), 27);
}

/* ---- the file ---- */

static void append(struct event_file *f, int i)
{
	struct err e = ERR_INIT;
	char line[64];
	int n = snprintf(line, sizeof(line), "{\"event\":\"n\",\"i\":%d}\n", i);

	if (event_file_append(f, line, (size_t)n, &e) < 0)
		fail_msg("%s", e.text);
}

/* Reads all that there is and checks that the numbers are first, first + 1, ... Returns how many. */
static int read_on(struct event_reader *r, int first)
{
	struct err e = ERR_INIT;
	struct json_in *v;
	const char *line;
	int n = 0, rc;

	while ((rc = event_reader_next(r, &line, &v, &e)) > 0) {
		assert_int_equal(json_in_u64(v, "i", 9999999), first + n);
		assert_null(strchr(line, '\n'));
		json_in_free(v);
		n++;
	}
	assert_int_equal(rc, 0);
	return n;
}

static void begin(struct event_file *f, struct event_reader *r)
{
	struct err e = ERR_INIT;

	assert_int_equal(event_file_init(f, dir, &e), 0);
	assert_int_equal(event_reader_init(r, dir, &e), 0);
}

static void what_is_written_is_read(void **state)
{
	struct event_reader r;
	struct event_file f;
	struct stat st;

	begin(&f, &r);
	assert_int_equal(read_on(&r, 0), 0); /* nothing there yet, not even a file */
	for (int i = 0; i < 10; i++)
		append(&f, i);
	assert_int_equal(read_on(&r, 0), 10);
	append(&f, 10);
	assert_int_equal(read_on(&r, 10), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	event_reader_fini(&r);
	event_file_fini(&f);
}

static void a_torn_line_costs_itself(void **state)
{
	struct err e = ERR_INIT;
	struct event_reader r;
	struct event_file f;

	begin(&f, &r);
	append(&f, 0);
	disk = DISK_TEARS;
	assert_int_equal(event_file_append(&f, "{\"event\":\"x\",\"i\":7}\n", 20, &e), -ENOSPC);
	/* The writer died over it: what is there of the line is left out. */
	assert_int_equal(read_on(&r, 0), 1);
	disk = DISK_FINE;
	append(&f, 1);
	assert_int_equal(read_on(&r, 1), 1);
	assert_int_equal(r.torn, 1);
	/* A full disk takes nothing at all. */
	disk = DISK_FULL;
	assert_int_equal(event_file_append(&f, "{\"event\":\"x\",\"i\":7}\n", 20, &e), -ENOSPC);
	disk = DISK_FINE;
	append(&f, 2);
	assert_int_equal(read_on(&r, 2), 1);
	event_reader_fini(&r);
	event_file_fini(&f);
}

static void foreign_lines_are_left_out(void **state)
{
	struct event_reader r;
	struct event_file f;
	FILE *out;

	begin(&f, &r);
	append(&f, 0);
	out = fopen(path, "ae");
	assert_non_null(out);
	fputs("\n\nnot json\n{\"no\":\"event\"}\n[1]\n", out);
	for (int i = 0; i < 3 * EVENT_LINE_SIZE; i++)
		fputc('{', out);
	fputs("\n", out);
	fclose(out);
	append(&f, 1);
	assert_int_equal(read_on(&r, 0), 2);
	assert_int_equal(r.torn, 4);
	event_reader_fini(&r);
	event_file_fini(&f);
}

static void it_is_bounded(void **state)
{
	char old[160], newer[160];
	struct event_reader r;
	struct event_file f;
	struct stat st;
	uint64_t sum = 0;

	begin(&f, &r);
	f.limit = 1000;
	for (int i = 0; i < 1000; i++)
		append(&f, i);
	for (int i = 0; i <= EVENT_FILE_OLD; i++) {
		snprintf(old, sizeof(old), i ? "%s.%d" : "%s", path, i);
		assert_int_equal(stat(old, &st), 0);
		assert_true(st.st_size <= 1000);
		sum += (uint64_t)st.st_size;
	}
	assert_true(sum > 3000);
	snprintf(newer, sizeof(newer), "%s.%d", path, EVENT_FILE_OLD + 1);
	assert_int_equal(stat(newer, &st), -1);
	event_reader_fini(&r);
	event_file_fini(&f);
}

static void following_over_rotations(void **state)
{
	struct event_reader r;
	struct event_file f;
	int seen = 0;

	begin(&f, &r);
	f.limit = 1000;
	for (int i = 0; i < 1000; i++) {
		append(&f, i);
		if (i % 17 == 0)
			seen += read_on(&r, seen);
	}
	seen += read_on(&r, seen);
	assert_int_equal(seen, 1000);
	event_reader_fini(&r);
	event_file_fini(&f);
}

static void who_follows_too_slowly_goes_on_with_the_oldest(void **state)
{
	struct err e = ERR_INIT;
	struct event_reader r;
	struct event_file f;
	struct json_in *v;
	const char *line;
	uint64_t before = 0, n = 0;

	begin(&f, &r);
	f.limit = 1000;
	append(&f, 0);
	assert_int_equal(read_on(&r, 0), 1);
	for (int i = 1; i < 1000; i++)
		append(&f, i);
	while (event_reader_next(&r, &line, &v, &e) > 0) {
		assert_true(json_in_u64(v, "i", 0) > before);
		before = json_in_u64(v, "i", 0);
		json_in_free(v);
		n++;
	}
	assert_int_equal(before, 999);
	assert_true(n > 100 && n < 999);
	event_reader_fini(&r);
	event_file_fini(&f);
}

static void nobody_can_rotate(void **state)
{
	struct err e = ERR_INIT;
	struct event_reader r;
	struct event_file f;
	char lock[128];
	int fd, rc = 0, n;

	begin(&f, &r);
	f.limit = 100;
	append(&f, 0);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	/* Somebody was stopped over it. */
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	for (n = 1; n < 50 && rc == 0; n++) {
		char line[64];
		int len = snprintf(line, sizeof(line), "{\"event\":\"n\",\"i\":%d}\n", n);

		rc = event_file_append(&f, line, (size_t)len, &e);
	}
	assert_int_equal(rc, -EFBIG);
	assert_true(n > 5 && n < 15);
	close(fd);
	append(&f, n - 1);
	assert_int_equal(read_on(&r, 0), n);
	event_reader_fini(&r);
	event_file_fini(&f);
}

/* Processes append and rotate at once; none of them loses a line, but for what is rotated away. */
static void many_writers(void **state)
{
	enum {
		WRITERS = 4,
		LINES = 400
	};
	struct event_reader r;
	struct event_file f;
	struct json_in *v;
	struct err e = ERR_INIT;
	int next[WRITERS] = {0}, n = 0, status;
	const char *line;

	begin(&f, &r);
	for (int w = 0; w < WRITERS; w++) {
		if (fork())
			continue;
		f.limit = 16384; /* all of them fit into four files */
		for (int i = 0; i < LINES; i++)
			append(&f, w * LINES + i);
		_exit(0);
	}
	for (int w = 0; w < WRITERS; w++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	while (event_reader_next(&r, &line, &v, &e) > 0) {
		int i = (int)json_in_u64(v, "i", 0);

		/* Each writer's own lines in their order. */
		assert_int_equal(i % LINES, next[i / LINES]);
		next[i / LINES]++;
		json_in_free(v);
		n++;
	}
	assert_int_equal(n, WRITERS * LINES);
	assert_int_equal(r.torn, 0);
	event_reader_fini(&r);
	event_file_fini(&f);
}

/* ---- the log ---- */

static struct event_log *new_log(void)
{
	const struct event_log_conf ec = {
		.state_dir = dir, .run_dir = dir, .host = "a", .by = "primary"};
	struct event_log *l = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(event_log_new(&l, &ec, &e), 0);
	return l;
}

/* How many lines there are, and the sum of what they say was lost. */
static int count(uint64_t *lost, char *last, size_t size)
{
	struct err e = ERR_INIT;
	struct event_reader r;
	struct json_in *v;
	const char *line;
	int n = 0;

	*lost = 0;
	assert_int_equal(event_reader_init(&r, dir, &e), 0);
	while (event_reader_next(&r, &line, &v, &e) > 0) {
		*lost += json_in_u64(v, "lost_before", 0);
		snprintf(last, size, "%s", json_in_text(v, "text", ""));
		json_in_free(v);
		n++;
	}
	event_reader_fini(&r);
	return n;
}

static void what_is_put_is_written(void **state)
{
	struct event_log *l = new_log();
	char last[64];
	uint64_t lost;

	for (int i = 0; i < 20; i++)
		event_log_say(l, "k", "web", "number %d", i);
	event_log_free(l);
	assert_int_equal(count(&lost, last, sizeof(last)), 20);
	assert_string_equal(last, "number 19");
	assert_int_equal(lost, 0);
	/* Nobody writes: no-ops. */
	event_log_say(NULL, "k", "web", "x");
	event_log_free(NULL);
}

static void a_full_disk_costs_events_only(void **state)
{
	struct event_log *l;
	char last[64];
	uint64_t lost;

	disk = DISK_FULL;
	l = new_log();
	for (int i = 0; i < 5; i++)
		event_log_say(l, "k", "web", "lost %d", i);
	event_log_free(l);
	disk = DISK_FINE;
	assert_int_equal(count(&lost, last, sizeof(last)), 0);
}

/* P4: whoever decides goes on while the disk hangs; what did not fit is counted. */
static void a_hanging_disk_makes_nobody_wait(void **state)
{
	uint64_t began = clock_now(), lost;
	struct event_log *l;
	char last[64];
	int n;

	disk = DISK_HANGS;
	l = new_log();
	for (int i = 0; i < 10 * EVENT_LOG_DEPTH; i++)
		event_log_say(l, "k", "web", "number %d", i);
	assert_true(clock_now() - began < NS_PER_SEC);
	/* It answers again. */
	disk = DISK_FINE;
	assert_int_equal(__real_write(release[1], "x", 1), 1);
	while (count(&lost, last, sizeof(last)) < EVENT_LOG_DEPTH)
		usleep(1000);
	event_log_say(l, "k", "web", "after");
	event_log_free(l);
	n = count(&lost, last, sizeof(last));
	assert_string_equal(last, "after");
	assert_int_equal((uint64_t)n + lost, 10 * EVENT_LOG_DEPTH + 1);
	assert_true(lost > 8 * EVENT_LOG_DEPTH);
}

static void a_hanging_disk_keeps_nobody_from_ending(void **state)
{
	struct event_log *l;
	uint64_t began;

	disk = DISK_HANGS;
	l = new_log();
	event_log_say(l, "k", "web", "hangs");
	began = clock_now();
	event_log_free(l);
	assert_true(clock_now() - began < 3 * EVENT_LOG_END_NS);
	/* Its thread hangs on, with all that is its own. */
	assert_int_equal(pipe(release), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(line_says_all),
		T(too_much_is_cut),
		T(times_are_bounded),
		T(what_is_written_is_read),
		T(a_torn_line_costs_itself),
		T(foreign_lines_are_left_out),
		T(it_is_bounded),
		T(following_over_rotations),
		T(who_follows_too_slowly_goes_on_with_the_oldest),
		T(nobody_can_rotate),
		T(many_writers),
		T(what_is_put_is_written),
		T(a_full_disk_costs_events_only),
		T(a_hanging_disk_makes_nobody_wait),
		T(a_hanging_disk_keeps_nobody_from_ending), /* its thread never ends: last */
	};

	return RUN_TESTS("event", tests);
}
