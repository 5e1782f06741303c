/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <signal.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_status),
		cmocka_unit_test(errors_apart),
		cmocka_unit_test(no_shell),
		cmocka_unit_test(long_output_is_cut),
		cmocka_unit_test(not_there),
		cmocka_unit_test(killed_when_late),
		cmocka_unit_test(killed_while_talking),
		cmocka_unit_test(grandchild_does_not_hold_us),
		cmocka_unit_test(ended_by_a_signal),
		cmocka_unit_test(clean_start),
		cmocka_unit_test(checked),
	};

	return RUN_TESTS("spawn", tests);
}
