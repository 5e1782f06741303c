/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a drill hears of its probe and of a console: all of it, and no more than there is. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "replicator/drill_probe.h"

static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};

static void run(struct drill_probe *p, const char *command)
{
	struct err e = ERR_INIT;

	drill_probe_init(p);
	if (drill_probe_command(p, command, false, env, &e) < 0)
		fail_msg("%s", e.text);
}

/* Until it has ended; it stays to be reaped. */
static void await_end(const struct drill_probe *p)
{
	siginfo_t si;

	assert_int_equal(waitid(P_PID, (id_t)p->pid, &si, WEXITED | WNOWAIT), 0);
}

static bool anything(const struct drill_probe *p, int ms)
{
	struct pollfd fds[DRILL_PROBE_FDS];

	return poll(fds, drill_probe_poll(p, fds), ms) > 0;
}

/* More than is read in a step, and it has ended when we look. */
static void last_words_are_heard(void **state)
{
	struct drill_probe p;

	run(&p, "head -c 60000 /dev/zero | tr '\\0' a; printf THE-END; exit 3");
	await_end(&p);
	drill_probe_step(&p, clock_now());
	assert_true(p.over);
	assert_int_equal(p.status, 3);
	assert_int_equal(p.used, sizeof(p.output) - 1);
	assert_string_equal(p.output + p.used - 8, "aTHE-END");
	drill_probe_fini(&p);
}

/* What it has left running does not keep us. */
static void a_loud_child_is_not_waited_for(void **state)
{
	struct drill_probe p;
	unsigned int steps = 0;

	run(&p, "setsid sh -c 'trap \"\" PIPE; while echo y; do :; done' & sleep 0.2; exit 0");
	await_end(&p);
	for (; !p.over; steps++)
		drill_probe_step(&p, clock_now());
	assert_true(steps < 3);
	drill_probe_fini(&p);
}

/* One that has closed its output says nothing, instead of being readable for ever. */
static void a_silent_probe_costs_nothing(void **state)
{
	struct drill_probe p;

	run(&p, "exec >/dev/null 2>&1; sleep 1000");
	assert_true(anything(&p, 10000));
	drill_probe_step(&p, clock_now());
	assert_false(p.over);
	assert_false(anything(&p, 0));
	drill_probe_fini(&p);
	assert_true(p.over);
	assert_int_equal(p.status, 128 + SIGKILL);
}

static void a_console_may_go(void **state)
{
	struct termios raw;
	struct drill_probe p;
	struct err e = ERR_INIT;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	const char *path;

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	path = ptsname(master);
	assert_non_null(path);
	drill_probe_init(&p);
	assert_int_equal(drill_probe_console(&p, path, &e), 0);
	assert_int_equal(tcgetattr(p.console_fd, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(p.console_fd, TCSANOW, &raw), 0);
	/* What it said before a key was pressed is no answer. */
	assert_int_equal(write(master, "booted", 6), 6);
	drill_probe_step(&p, 1);
	assert_null(drill_probe_answer(&p));
	drill_probe_step(&p, 10 * NS_PER_SEC);
	assert_int_equal(write(master, "login:", 6), 6);
	drill_probe_step(&p, 11 * NS_PER_SEC);
	assert_string_equal(drill_probe_answer(&p), "console");
	close(master);
	drill_probe_step(&p, 12 * NS_PER_SEC);
	assert_int_equal(p.console_fd, -1);
	assert_false(anything(&p, 0));
	drill_probe_fini(&p);
}

/* The store says where the console is. Nothing is written to what is none. */
static void a_console_is_a_terminal(void **state)
{
	struct drill_probe p;
	struct err e = ERR_INIT;

	drill_probe_init(&p);
	assert_int_equal(drill_probe_console(&p, "/dev/zero", &e), -ENOTTY);
	assert_non_null(strstr(e.text, "/dev/zero"));
	assert_int_equal(drill_probe_console(&p, "/dev/nothing", &e), -ENOENT);
	assert_int_equal(p.console_fd, -1);
	drill_probe_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_words_are_heard),
		cmocka_unit_test(a_loud_child_is_not_waited_for),
		cmocka_unit_test(a_silent_probe_costs_nothing),
		cmocka_unit_test(a_console_may_go),
		cmocka_unit_test(a_console_is_a_terminal),
	};

	return RUN_TESTS("drill_probe", tests);
}
