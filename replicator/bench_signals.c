// SPDX-License-Identifier: GPL-2.0-or-later
/* See bench_signals.h. */
#include "replicator/bench_signals.h"

#include <stddef.h>

#include "lib/compiler.h"

/* A handler has no argument of ours. */
static volatile sig_atomic_t *to_stop;

static void on_signal(int sig)
{
	*to_stop = 1;
}

void bench_signals_hold(volatile sig_atomic_t *stop, sigset_t *open_mask)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	/* Of our own making, when something is badly wrong: held up they would kill without a trace. */
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t held;

	to_stop = stop;
	sigfillset(&held);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&held, faults[i]);
	sigprocmask(SIG_BLOCK, &held, open_mask);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		sigaction(ends[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}
