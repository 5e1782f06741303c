/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts a program that the caller goes on beside; spawn.h is for those that it waits for. Who starts one watches it
 * (pidfd_open(2)), bounds what it may take, and ends it: with its session (kill(-pid)) what it has started dies, too.
 */
#ifndef LIB_CHILD_H
#define LIB_CHILD_H

#include <sys/types.h>

#include "lib/compiler.h"

/* A descriptor of ours and its number in the child. */
struct child_fd {
	int ours;
	int theirs;
};

/*
 * argv[0] is a path; env NULL: our environment. In a session of its own, signals as at the start of a process, standard
 * input /dev/null. fd: n of them, made in this order, so that none overwrites one that is still wanted; numbers from 1 on
 * without a gap but for standard error, which stays ours unless named. Nothing above the last one is passed on. 0 and
 * *pid, or a negative errno. Any thread.
 */
MUST_CHECK int child_start(const char *const argv[], const char *const env[],
			   const struct child_fd *fd, unsigned int n, pid_t *pid);

#endif
