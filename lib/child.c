/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See child.h. */
#include "lib/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#define FIRST_OTHER 3 /* after the standard ones */

static int attributes(posix_spawnattr_t *attr)
{
	sigset_t none;
	sigset_t all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						   POSIX_SPAWN_SETSIGDEF);
	if (!r)
		r = posix_spawnattr_setsigmask(attr, &none);
	if (!r)
		r = posix_spawnattr_setsigdefault(attr, &all);
	return r;
}

static int files(posix_spawn_file_actions_t *f, const struct child_fd *fd, unsigned int n)
{
	int end = FIRST_OTHER;
	int r = posix_spawn_file_actions_addopen(f, 0, "/dev/null", O_RDONLY, 0);

	for (unsigned int i = 0; !r && i < n; i++) {
		r = posix_spawn_file_actions_adddup2(f, fd[i].ours, fd[i].theirs);
		if (fd[i].theirs >= end)
			end = fd[i].theirs + 1;
	}
	return r ? r : posix_spawn_file_actions_addclosefrom_np(f, end);
}

int child_start(const char *const argv[], const char *const env[], const struct child_fd *fd,
		unsigned int n, pid_t *pid)
{
	posix_spawn_file_actions_t f;
	posix_spawnattr_t attr;
	int r = posix_spawn_file_actions_init(&f);

	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (!r) {
		r = attributes(&attr);
		if (!r)
			r = files(&f, fd, n);
		if (!r)
			r = posix_spawn(pid, argv[0], &f, &attr, (char *const *)argv,
					env ? (char *const *)env : environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&f);
	return -r;
}
