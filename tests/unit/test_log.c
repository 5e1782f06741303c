/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"

static char last[LOG_LINE_SIZE];

static void keep_last(void *arg, const char *line)
{
	snprintf(last, sizeof(last), "%s", line);
}

/* The newest line without its time. */
static const char *newest(void)
{
	last[0] = 0;
	log_ring_dump(keep_last, NULL);
	return strlen(last) > 16 ? last + 16 : last;
}

static char earlier[LOG_LINE_SIZE];

static void keep_two(void *arg, const char *line)
{
	memcpy(earlier, last, sizeof(earlier));
	keep_last(arg, line);
}

static const char *line_before_newest(void)
{
	log_ring_dump(keep_two, NULL);
	return earlier + 16;
}

/* Time passes for the rate limit only. */
static uint64_t warp_ns;
int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = __real_clock_gettime(id, ts);

	if (id == CLOCK_BOOTTIME)
		ts->tv_sec += (time_t)(warp_ns / NS_PER_SEC);
	return r;
}

static int quiet(void **state)
{
	log_set_fd(-1);
	log_set_tag("");
	return log_set_level(NULL, LOG_AT_INFO);
}

static void line(void **state)
{
	log_warn("port %d", 7);
	assert_string_equal(newest(), "warn  test_log: port 7");
	log_set_tag("vm web");
	log_info("x");
	assert_string_equal(newest(), "info  test_log: vm web: x");
}

static int evaluated(int *n)
{
	return ++*n;
}

static void levels(void **state)
{
	int n = 0;

	log_err("mark");
	log_debug("%d", evaluated(&n));
	assert_int_equal(n, 0);
	assert_string_equal(newest(), "err   test_log: mark");
	assert_int_equal(log_set_level("test_log", LOG_AT_DEBUG), 0);
	log_debug("%d", evaluated(&n));
	assert_string_equal(newest(), "debug test_log: 1");
	assert_int_equal(log_set_level("other", LOG_AT_DEBUG), 0);
	assert_int_equal(log_set_level("test_log", LOG_AT_ERR), 0);
	log_warn("not wanted");
	assert_string_equal(newest(), "debug test_log: 1");
	assert_int_equal(log_set_level(NULL, LOG_AT_WARN), 0);
	log_warn("wanted");
	assert_string_equal(newest(), "warn  test_log: wanted");
	assert_int_equal(log_set_level("", LOG_AT_WARN), -EINVAL);
	assert_int_equal(log_set_level("a_name_that_is_longer_than_a_file_may_be", LOG_AT_WARN),
			 -EINVAL);
}

static void too_many_modules(void **state)
{
	char name[16];

	for (int i = 0; i < LOG_MODULES; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		assert_int_equal(log_set_level(name, LOG_AT_INFO), 0);
	}
	assert_int_equal(log_set_level("one_more", LOG_AT_INFO), -ENOSPC);
	assert_int_equal(log_set_level("m3", LOG_AT_DEBUG), 0);
}

static void names(void **state)
{
	enum log_level level;

	for (int i = LOG_AT_ERR; i <= LOG_AT_DEBUG; i++) {
		assert_int_equal(log_level_parse(log_level_name((enum log_level)i), &level), 0);
		assert_int_equal(level, i);
	}
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
}

static void hostile_text(void **state)
{
	log_info("peer says %s", "a\nfake line\033[2J");
	assert_string_equal(newest(), "info  test_log: peer says a?fake line?[2J");
}

static void long_line_is_cut(void **state)
{
	char big[LOG_LINE_SIZE * 2];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	log_info("%s", big);
	newest();
	assert_int_equal(strlen(last), LOG_LINE_SIZE - 1);
	assert_string_equal(last + LOG_LINE_SIZE - 4, "...");
}

struct seen {
	unsigned int n;
	char first[LOG_LINE_SIZE];
};

static void count_lines(void *arg, const char *text)
{
	struct seen *s = arg;

	if (!s->n++)
		snprintf(s->first, sizeof(s->first), "%s", text + 16);
}

static void ring_keeps_the_last(void **state)
{
	struct seen s = {0};

	for (int i = 0; i < 3 * LOG_RING_LINES; i++)
		log_info("%d", i);
	assert_int_equal(log_ring_dump(count_lines, &s), LOG_RING_LINES);
	assert_int_equal(s.n, LOG_RING_LINES);
	assert_string_equal(s.first, "info  test_log: 512");
}

static void say_limited(int i)
{
	log_limited(LOG_AT_WARN, "flood %d", i);
}

static void limited(void **state)
{
	for (int i = 0; i < 1000; i++)
		say_limited(i);
	assert_string_equal(newest(), "warn  test_log: flood 4");
	warp_ns = LOG_LIMIT_NS;
	say_limited(1000);
	warp_ns = 0;
	assert_string_equal(newest(), "warn  test_log: flood 1000");
	assert_string_equal(line_before_newest(),
			    "warn  test_log: the next message was left out 995 times");
}

static void file_gets_lines(void **state)
{
	char text[200] = "";
	autofd in = -1;
	autofd out = -1;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	in = fds[0];
	out = fds[1];
	log_set_fd(out);
	errno = EBADF;
	log_info("hello");
	assert_int_equal(errno, EBADF);
	log_set_fd(-1);
	assert_true(read(in, text, sizeof(text) - 1) > 0);
	assert_string_equal(text + 16, "info  test_log: hello\n");
}

static void *chatter(void *arg)
{
	for (int i = 0; i < 2000; i++)
		log_info("%d", i);
	return NULL;
}

static void threads(void **state)
{
	pthread_t t[4];

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, chatter, NULL), 0);
	for (int i = 0; i < 50; i++)
		assert_string_not_equal(newest(), "");
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	assert_string_equal(newest(), "info  test_log: 1999");
}

/* Runs fn in a child with stderr in text; returns its wait status. */
static int child(void (*fn)(void), char *text, size_t size)
{
	autofd in = -1;
	size_t used = 0;
	ssize_t r;
	int status;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	in = fds[0];
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(fds[1], STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(fds[1]);
	while ((r = read(in, text + used, size - 1 - used)) > 0)
		used += (size_t)r;
	text[used] = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void do_die(void)
{
	signal(SIGABRT, SIG_DFL);
	log_info("before");
	die("epoch %d released twice", 4);
}

static void die_says_why(void **state)
{
	static char text[LOG_RING_LINES * LOG_LINE_SIZE];
	int status = child(do_die, text, sizeof(text));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(text, "epoch 4 released twice; stopping at once"));
	assert_non_null(strstr(text, "info  test_log: before"));
}

static void to_journal(void)
{
	char stream[64];
	struct stat st;

	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_set_fd(STDERR_FILENO);
	log_warn("hello");
}

static void journal_gets_priorities(void **state)
{
	char text[200];

	assert_int_equal(child(to_journal, text, sizeof(text)), 0);
	assert_string_equal(text, "<4>test_log: hello\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(line, quiet),
		cmocka_unit_test_setup(levels, quiet),
		cmocka_unit_test_setup(too_many_modules, quiet),
		cmocka_unit_test_setup(names, quiet),
		cmocka_unit_test_setup(hostile_text, quiet),
		cmocka_unit_test_setup(long_line_is_cut, quiet),
		cmocka_unit_test_setup(ring_keeps_the_last, quiet),
		cmocka_unit_test_setup(limited, quiet),
		cmocka_unit_test_setup(file_gets_lines, quiet),
		cmocka_unit_test_setup(threads, quiet),
		cmocka_unit_test_setup(die_says_why, quiet),
		cmocka_unit_test_setup(journal_gets_priorities, quiet),
	};

	return RUN_TESTS("log", tests);
}
