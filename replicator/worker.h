/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What romulusd and its workers agree on: exit codes, the runtime files by which a worker is found again,
 * and the few words that a worker tells romulusd over the inherited status socket. Control threads.
 */
#ifndef REPLICATOR_WORKER_H
#define REPLICATOR_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/compiler.h"
#include "lib/names.h"

struct err;
struct event_log;
struct flight;

/* Exit codes. Anything else, and any signal, is a crash: the primary's worker is started again. */
enum worker_exit {
	WORKER_DONE = 0,     /* unprotected, or the guest ended */
	WORKER_DEPOSED = 10, /* the peer runs the VM; our copy is gone */
	WORKER_REFUSED = 11, /* cannot work and a restart would not help; the reason was said */
};

enum worker_side {
	WORKER_PRIMARY,
	WORKER_BACKUP,
};

const char *worker_side_name(enum worker_side s); /* "primary", "backup" */

#define WORKER_PATH_SIZE 128
/* <run_dir>/<vm>.<side>.ctl and .pid. */
void worker_ctl_path(char buf[WORKER_PATH_SIZE], const char *run_dir, const char *vm,
		     enum worker_side side);
void worker_pid_path(char buf[WORKER_PATH_SIZE], const char *run_dir, const char *vm,
		     enum worker_side side);

/*
 * For a worker: become the one of this VM and side. Locks and writes the pid file; the lock lasts until
 * *lock_fd is closed, at the latest when the process dies. -EBUSY: another one lives, e has its pid. A
 * backup that replaces an older one calls this after the older has ended.
 */
MUST_CHECK int worker_claim(const char *run_dir, const char *vm, enum worker_side side,
			    int *lock_fd, struct err *e);
/* Removes the file, then the lock. fd -1 is a no-op. */
void worker_unclaim(const char *run_dir, const char *vm, enum worker_side side, int *lock_fd);

/*
 * For romulusd: the living worker of a pid file. 0 with its pid and an open pidfd; -ESRCH when there is
 * none (no file, stale, or the pid belongs to another process by now).
 */
MUST_CHECK int worker_find(const char *run_dir, const char *vm, enum worker_side side, pid_t *pid,
			   int *pidfd, struct err *e);

/*
 * A flight recorder for the claimed VM and side; what an earlier worker left is kept, and told. NULL, and a line in the log, when
 * there cannot be one. l may be NULL.
 */
struct flight *worker_flight(struct event_log *l, const char *run_dir, const char *vm,
			     enum worker_side side);

/* Messages over --status-fd, a SOCK_SEQPACKET; each a single packet, bounded. */
enum worker_word {
	WORKER_SAYS_AUTHENTICATED =
		1, /* the peer showed a certificate that we accept; text: the VM's name, or "" */
	WORKER_SAYS_READY = 2, /* control socket is there */
	WORKER_SAYS_PROBLEM =
		3, /* text: one sentence; said before ending without having been ready */
	WORKER_SAYS_ACTIVE = 4, /* the backup's: the VM was activated, and runs here */
};

#define WORKER_TEXT_SIZE 240

/* Never blocks, never fails visibly: romulusd may have gone. fd -1 is a no-op. */
void worker_say(int status_fd, enum worker_word word, const char *text);
/* 1: got one; 0: nothing there now; negative errno: the other side hung up (-EPIPE) or talks nonsense. */
MUST_CHECK int worker_hear(int status_fd, enum worker_word *word, char text[WORKER_TEXT_SIZE]);

#endif
