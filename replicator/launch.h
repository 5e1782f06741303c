/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts a worker that outlives its starter: a session of its own, chosen descriptors, nothing else. For
 * single-threaded romulusd; programs that are run to their end go through lib/spawn.
 */
#ifndef REPLICATOR_LAUNCH_H
#define REPLICATOR_LAUNCH_H

#include <sys/types.h>

#include "lib/compiler.h"

struct err;

#define LAUNCH_MAX_FDS 4

struct launch {
	const char *const *argv; /* argv[0] is a path; ends with NULL */
	const int *fds;		 /* become 3, 4, ... in the worker; borrowed */
	int n_fds;
};

/*
 * Returns when the program runs: 0 with its pid and a pidfd, or the negative errno of fork or exec. Standard
 * input is /dev/null, output and errors are ours, signals are as at the start of a process.
 */
MUST_CHECK int launch(const struct launch *l, pid_t *pid, int *pidfd, struct err *e);

#endif
