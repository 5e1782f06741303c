/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "replicator/bench_signals.h"

static volatile sig_atomic_t stop;

enum {
	RESTED = 40, /* exit statuses of the child */
	STOPPED,
	TORN,
};

/* A child gets the signal in its work, then rests once if it is to. Its wait status, or that of its being stopped. */
static int child(int sig, bool rests)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		const struct timespec little = {.tv_nsec = 1000000};
		sigset_t open_mask;

		bench_signals_hold(&stop, &open_mask);
		raise(sig);
		if (stop)
			_exit(TORN);
		if (rests && ppoll(NULL, 0, &little, &open_mask) < 0 && errno != EINTR)
			_exit(TORN);
		_exit(stop ? STOPPED : RESTED);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return status;
}

static void none_tears_it_from_its_work(void **state)
{
	static const int signals[] = {SIGTSTP, SIGTTIN, SIGTTOU, SIGQUIT,  SIGALRM, SIGUSR1,
				      SIGUSR2, SIGINT,	SIGTERM, SIGHUP,   SIGPIPE, SIGXCPU,
				      SIGPROF, SIGIO,	SIGPWR,	 SIGVTALRM};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		int status = child(signals[i], false);

		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), RESTED);
	}
}

static void some_end_it_between(void **state)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		int status = child(ends[i], true);

		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), STOPPED);
	}
	assert_int_equal(WEXITSTATUS(child(SIGPIPE, true)), RESTED);
	/* Not ours to have an opinion on: as ever, but between. */
	assert_true(WIFSIGNALED(child(SIGUSR1, true)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_tears_it_from_its_work),
		cmocka_unit_test(some_end_it_between),
	};

	return RUN_TESTS("bench_signals", tests);
}
