/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/spawn.h"

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static char out[100];

static int run(const char *const *argv, uint64_t timeout_ns, struct spawn *s, struct err *e)
{
	*s = (struct spawn){
		.argv = argv, .timeout_ns = timeout_ns, .out = out, .out_size = sizeof(out)};
	return spawn_run(s, e);
}

static void output_and_status(void **state)
{
	struct err e = ERR_INIT;
	struct spawn s;

	assert_int_equal(run(ARGV("sh", "-c", "echo out; echo err >&2; exit 3"), NS_PER_SEC * 20,
			     &s, &e),
			 0);
	assert_int_equal(s.status, 3);
	assert_string_equal(out, "out\nerr\n");
	assert_int_equal(s.out_used, 8);
	assert_false(s.out_cut);
}

/* What is read by a machine has no warning in it. */
static void errors_apart(void **state)
{
	char said[8];
	struct err e = ERR_INIT;
	struct spawn s = {.argv = ARGV("sh", "-c", "echo warning >&2; echo out"),
			  .timeout_ns = NS_PER_SEC * 20,
			  .out = out,
			  .out_size = sizeof(out),
			  .err = said,
			  .err_size = sizeof(said)};

	assert_int_equal(spawn_check(&s, &e), 0);
	assert_string_equal(out, "out\n");
	assert_int_equal(s.out_used, 4);
	assert_false(s.out_cut);
	assert_string_equal(said, "warning");
	s.argv = ARGV("sh", "-c", "echo out; echo why >&2; exit 1");
	assert_int_equal(spawn_check(&s, &e), -EIO);
	assert_string_equal(e.text, "sh ended with status 1: why");
	assert_string_equal(out, "out\n");
}

/* More than a pipe holds, to one who reads it and one who does not. */
static void input(void **state)
{
	static char many[300001];
	struct spawn s = {.argv = ARGV("sh", "-c", "cat | wc -c; cat | wc -c"),
			  .in = many,
			  .timeout_ns = NS_PER_SEC * 20,
			  .out = out,
			  .out_size = sizeof(out)};

	memset(many, 'x', sizeof(many) - 1);
	assert_int_equal(spawn_run(&s, NULL), 0);
	assert_string_equal(out, "300000\n0\n");
	s.argv = ARGV("true");
	assert_int_equal(spawn_run(&s, NULL), 0);
	assert_int_equal(s.status, 0);
	s.argv = ARGV("sh", "-c", "cat | wc -c");
	s.in = "";
	assert_int_equal(spawn_run(&s, NULL), 0);
	assert_string_equal(out, "0\n");
}

static void no_shell(void **state)
{
	struct spawn s;

	assert_int_equal(run(ARGV("echo", "$HOME; `id`"), NS_PER_SEC * 20, &s, NULL), 0);
	assert_string_equal(out, "$HOME; `id`\n");
}

static void long_output_is_cut(void **state)
{
	struct spawn s;

	assert_int_equal(run(ARGV("head", "-c", "3000000", "/dev/zero"), NS_PER_SEC * 20, &s, NULL),
			 0);
	assert_int_equal(s.status, 0);
	assert_int_equal(s.out_used, sizeof(out) - 1);
	assert_true(s.out_cut);
}

static void not_there(void **state)
{
	struct err e = ERR_INIT;
	struct spawn s;

	assert_int_equal(run(ARGV("/no/such/program"), NS_PER_SEC, &s, &e), -ENOENT);
	assert_string_equal(e.text, "run /no/such/program: No such file or directory");
}

static void killed_when_late(void **state)
{
	uint64_t start = clock_now();
	struct err e = ERR_INIT;
	struct spawn s;

	assert_int_equal(run(ARGV("sh", "-c", "echo begun; sleep 100"), NS_PER_SEC / 2, &s, &e),
			 -ETIMEDOUT);
	assert_true(clock_now() - start < NS_PER_SEC * 50);
	assert_string_equal(e.text, "sh did not end within 500 ms and was killed");
	assert_string_equal(out, "begun\n");
	assert_int_equal(s.status, 128 + SIGKILL);
}

static void killed_while_talking(void **state)
{
	struct spawn s;

	assert_int_equal(run(ARGV("yes"), NS_PER_SEC / 5, &s, NULL), -ETIMEDOUT);
}

static void grandchild_does_not_hold_us(void **state)
{
	uint64_t start = clock_now();
	struct spawn s;

	assert_int_equal(run(ARGV("sh", "-c", "sleep 60 & echo $!"), NS_PER_SEC * 50, &s, NULL), 0);
	assert_true(clock_now() - start < NS_PER_SEC * 40);
	kill((pid_t)atoi(out), SIGKILL);
}

static void ended_by_a_signal(void **state)
{
	struct spawn s;

	assert_int_equal(run(ARGV("sh", "-c", "kill -TERM $$"), NS_PER_SEC * 20, &s, NULL), 0);
	assert_int_equal(s.status, 128 + SIGTERM);
}

static void clean_start(void **state)
{
	struct spawn s;
	sigset_t set;
	int fd = dup(0);

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(
		run(ARGV("sh", "-c",
			 "grep -E 'Sig(Blk|Ign)' /proc/self/status | grep -o '.......$'; ls /proc/self/fd | wc -l; cat"),
		    NS_PER_SEC * 20, &s, NULL),
		0);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	close(fd);
	/* Of the signals, 1 to 28: libc keeps some to itself. 0, 1, 2 and the folder that ls reads. */
	assert_string_equal(out, "0000000\n0000000\n4\n");
}

static void checked(void **state)
{
	struct err e = ERR_INIT;
	struct spawn s = {.argv = ARGV("sh", "-c", "echo no such bridge; exit 4"),
			  .timeout_ns = NS_PER_SEC * 20,
			  .out = out,
			  .out_size = sizeof(out)};

	assert_int_equal(spawn_check(&s, &e), -EIO);
	assert_string_equal(e.text, "sh ended with status 4: no such bridge");
	s = (struct spawn){.argv = ARGV("false"), .timeout_ns = NS_PER_SEC * 20};
	assert_int_equal(spawn_check(&s, &e), -EIO);
	assert_string_equal(e.text, "false ended with status 1");
	s.argv = ARGV("true");
	assert_int_equal(spawn_check(&s, &e), 0);
}

/* ---- line by line ---- */

struct heard {
	char text[256];
	int lines;
	int fail_at; /* this line is not liked */
	volatile sig_atomic_t *stop;
};

static int hear(void *arg, const char *line, struct err *e)
{
	struct heard *h = arg;

	h->lines++;
	snprintf(h->text + strlen(h->text), sizeof(h->text) - strlen(h->text), "%s|", line);
	if (h->stop)
		*h->stop = 1;
	if (h->lines == h->fail_at)
		return err_setx(e, -EBADMSG, "line %d is bad", h->lines);
	return 0;
}

static struct spawn talking(const char *const *argv, struct heard *h)
{
	return (struct spawn){.argv = argv,
			      .timeout_ns = NS_PER_SEC * 20,
			      .out = out,
			      .out_size = sizeof(out),
			      .line = hear,
			      .arg = h,
			      .grace_ns = NS_PER_SEC * 20};
}

static void lines_as_they_come(void **state)
{
	struct heard h = {.lines = 0};
	/* Standard error is not mixed in; a line without an end is none. */
	struct spawn s = talking(
		ARGV("sh", "-c", "printf 'a b\\n\\nc'; echo >&2; printf 'd\\ne'; exit 5"), &h);

	assert_int_equal(spawn_run(&s, NULL), 0);
	assert_int_equal(s.status, 5);
	assert_string_equal(h.text, "a b||cd|");
}

static void many_lines(void **state)
{
	struct heard h = {.lines = 0};
	struct spawn s = talking(ARGV("seq", "200000"), &h);

	assert_int_equal(spawn_run(&s, NULL), 0);
	assert_int_equal(h.lines, 200000);
}

static void silence_ends_it(void **state)
{
	struct heard h = {.lines = 0};
	struct err e = ERR_INIT;
	/* Talks for longer than it may be silent, then is silent; ends well when it is told to. */
	struct spawn s =
		talking(ARGV("sh", "-c",
			     "trap 'echo end; exit 3' TERM; for i in 1 2 3 4 5 6 7 8; do echo $i; "
			     "sleep 0.2; done; while :; do sleep 0.1; done"),
			&h);

	s.timeout_ns = 1500 * NS_PER_MS;
	assert_int_equal(spawn_run(&s, &e), -ETIMEDOUT);
	assert_string_equal(e.text, "sh said nothing for 1500 ms and was ended");
	assert_string_equal(h.text, "1|2|3|4|5|6|7|8|");
	assert_int_equal(s.status, 3);
}

static void stops_when_told(void **state)
{
	volatile sig_atomic_t stop = 0;
	struct heard h = {.stop = &stop};
	struct err e = ERR_INIT;
	struct spawn s = talking(
		ARGV("sh", "-c",
		     "trap 'echo last; exit 1' TERM; echo first; while :; do sleep 0.1; done"),
		&h);

	s.stop = &stop;
	assert_int_equal(spawn_run(&s, &e), -EINTR);
	assert_string_equal(e.text, "sh was stopped");
	assert_string_equal(h.text, "first|last|");
	assert_int_equal(s.status, 1);
}

static void killed_when_it_does_not_stop(void **state)
{
	volatile sig_atomic_t stop = 0;
	struct heard h = {.stop = &stop};
	struct spawn s = talking(
		ARGV("sh", "-c", "trap '' TERM; echo first; while :; do sleep 0.1; done"), &h);

	s.stop = &stop;
	s.grace_ns = NS_PER_SEC / 5;
	assert_int_equal(spawn_run(&s, NULL), -EINTR);
	assert_int_equal(s.status, 128 + SIGKILL);
}

static void a_bad_line_ends_it(void **state)
{
	struct heard h = {.fail_at = 2};
	struct err e = ERR_INIT;
	struct spawn s = talking(ARGV("sh", "-c",
				      "trap 'echo end; exit 4' TERM; echo 1; echo 2; echo 3; "
				      "while :; do sleep 0.1; done"),
				 &h);

	assert_int_equal(spawn_run(&s, &e), -EBADMSG);
	assert_string_equal(e.text, "line 2 is bad");
	assert_int_equal(h.lines, 2);
	assert_int_equal(s.status, 4);
	/* Also when it ends by itself meanwhile. */
	h = (struct heard){.fail_at = 1};
	s = talking(ARGV("echo", "x"), &h);
	assert_int_equal(spawn_run(&s, &e), -EBADMSG);
}

static void a_line_too_long_ends_it(void **state)
{
	struct heard h = {.lines = 0};
	struct err e = ERR_INIT;
	struct spawn s = talking(ARGV("sh", "-c", "printf '%0100d\\n' 7; sleep 50"), &h);

	assert_int_equal(spawn_run(&s, &e), -EMSGSIZE);
	assert_string_equal(e.text, "sh said a line of more than 99 bytes");
	assert_int_equal(s.status, 128 + SIGTERM);
	assert_int_equal(h.lines, 0);
	s = talking(ARGV("sh", "-c", "printf '%099d\\n' 7"), &h);
	assert_int_equal(spawn_run(&s, &e), 0);
	assert_int_equal(h.lines, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_status),
		cmocka_unit_test(errors_apart),
		cmocka_unit_test(input),
		cmocka_unit_test(no_shell),
		cmocka_unit_test(long_output_is_cut),
		cmocka_unit_test(not_there),
		cmocka_unit_test(killed_when_late),
		cmocka_unit_test(killed_while_talking),
		cmocka_unit_test(grandchild_does_not_hold_us),
		cmocka_unit_test(ended_by_a_signal),
		cmocka_unit_test(clean_start),
		cmocka_unit_test(checked),
		cmocka_unit_test(lines_as_they_come),
		cmocka_unit_test(many_lines),
		cmocka_unit_test(silence_ends_it),
		cmocka_unit_test(stops_when_told),
		cmocka_unit_test(killed_when_it_does_not_stop),
		cmocka_unit_test(a_bad_line_ends_it),
		cmocka_unit_test(a_line_too_long_ends_it),
	};

	return RUN_TESTS("spawn", tests);
}
