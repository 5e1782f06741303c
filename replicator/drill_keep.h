/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a drill is found again by whoever comes after it: the file <run_dir>/<vm>.drill is locked as long as its process lives and
 * removed by it when nothing is left; one that is there and not locked is a drill that died. Starting romulus-drill, for a
 * drill or to clean up. Any thread, none waits.
 */
#ifndef REPLICATOR_DRILL_KEEP_H
#define REPLICATOR_DRILL_KEEP_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/compiler.h"

struct conf;
struct err;

/* Of romulus-drill. */
enum drill_exit {
	DRILL_EXIT_DONE = 0, /* nothing is left */
	DRILL_EXIT_LEFT = 1, /* it must be cleaned up after */
	DRILL_EXIT_BUSY = 3, /* another one lives: nothing was done */
};

#define DRILL_KEEP_PATH_SIZE 128

/*
 * *left: it was there, so what has a drill's names here may be an earlier one's; else it is somebody else's. -EBUSY: a drill
 * of that VM is under way, or being cleaned up after.
 */
MUST_CHECK int drill_keep_claim(const char *run_dir, const char *vm, int *lock_fd, bool *left,
				struct err *e);
/* tidy: nothing is left, the file goes. fd -1 is a no-op. */
void drill_keep_unclaim(const char *run_dir, const char *vm, int lock_fd, bool tidy);

/* Calls fn for each VM of whose drill something is left. */
void drill_keep_scan(const char *run_dir, void (*fn)(void *arg, const char *vm), void *arg);
bool drill_keep_is_left(const char *run_dir, const char *vm);

/* fds, n of them, become 3, 4, ...; env is ours. 0 with its pid and a pidfd, which the caller closes and reaps; else no process. */
MUST_CHECK int drill_keep_spawn(const char *const *argv, const int *fds, int n, pid_t *pid,
				int *pidfd, struct err *e);
/* Starts `program --clean`. */
MUST_CHECK int drill_keep_clean(const char *program, const struct conf *conf, const char *vm,
				pid_t *pid, int *pidfd, struct err *e);

#endif
