/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals of a program that must not be torn from its work, stopped or ended, while it holds a guest suspended: they
 * wait until it lets them in.
 */
#ifndef REPLICATOR_BENCH_SIGNALS_H
#define REPLICATOR_BENCH_SIGNALS_H

#include <signal.h>

/*
 * From now on no signal that can wait comes through, but where the caller waits with *open_mask (ppoll()). Those that
 * ask a program to end set *stop then. SIGPIPE is ignored: that a reader went away is found out by writing.
 */
void bench_signals_hold(volatile sig_atomic_t *stop, sigset_t *open_mask);

#endif
