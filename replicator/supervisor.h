/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulusd's workers: starts them, finds them again, sees them end, starts those again that crashed. Knows
 * nothing of an event loop: poll supervisor_fd(), and call supervisor_dispatch() when it is readable and
 * at supervisor_deadline(). romulusd's only thread. now is clock_now().
 */
#ifndef REPLICATOR_SUPERVISOR_H
#define REPLICATOR_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "replicator/worker.h"

struct err;
struct supervisor;

#define SUPERVISOR_MAX_WORKERS 128
/* A worker that lived for so long is not in a row of crashes any more. */
#define SUPERVISOR_STEADY_NS (60ull * 1000000000)

enum supervised_state {
	SUPERVISED_RUNNING,
	SUPERVISED_RESTARTING, /* crashed; started again at restart_ns */
	SUPERVISED_REFUSED, /* a primary's worker that ended with WORKER_REFUSED; kept to be shown */
};

/* What is known of one; valid until the supervisor is called again. */
struct supervised {
	enum supervised_state state;
	enum worker_side side;
	char vm[NAME_SIZE]; /* empty: a backup that has not authenticated its peer */
	int pid;
	uint64_t since_ns; /* of the state */
	uint64_t restart_ns;
	unsigned int crashes;		/* in a row */
	char problem[WORKER_TEXT_SIZE]; /* what it said, or how it ended */
};

struct supervisor_conf {
	const char *libexec_dir; /* romulus-primary and romulus-backup are there */
	const char *conf_path;
	const char *run_dir;
	uint32_t max_unauthenticated;
	uint64_t handshake_timeout_ns;

	void *ctx;
	/* Does the durable state say that this VM needs a primary's worker here? Asked before a restart. */
	bool (*wanted)(void *ctx, const char *vm);
	/*
	 * A primary's worker ended for good. code is an enum worker_exit. fresh: it was started by
	 * supervisor_protect() without adopt, and was never ready.
	 */
	void (*ended)(void *ctx, const char *vm, int code, bool fresh);
	/* Something that somebody may ask about later; NULL: nobody will. */
	void (*told)(void *ctx, const char *vm, const char *kind, const char *text);
	/* A backup's worker has activated its VM. NULL: nobody wants to know. */
	void (*activated)(void *ctx, const char *vm);
};

/* conf's strings are borrowed. 0 or negative errno. */
MUST_CHECK int supervisor_new(const struct supervisor_conf *conf, struct supervisor **out,
			      struct err *e);
/* Leaves the workers alone. NULL is a no-op. */
void supervisor_free(struct supervisor *s);

int supervisor_fd(const struct supervisor *s);
/* CLOCK_NEVER: none. */
uint64_t supervisor_deadline(const struct supervisor *s);
void supervisor_dispatch(struct supervisor *s, uint64_t now);

/*
 * Start the primary's worker of a VM that has none. adopt: the VM was protected from here before, and never
 * unprotected. -EBUSY: it has one; -ENOSPC; or the error of the start.
 */
MUST_CHECK int supervisor_protect(struct supervisor *s, const char *vm, bool adopt, uint64_t now,
				  struct err *e);
/*
 * After a start of romulusd: watch the living worker of this VM and side; a primary's that is missing is
 * started with --adopt, and started again until it can be. 0; for a backup -ESRCH when there is none.
 */
MUST_CHECK int supervisor_adopt(struct supervisor *s, const char *vm, enum worker_side side,
				uint64_t now, struct err *e);
/* Every living backup worker that left a pid file. */
void supervisor_adopt_backups(struct supervisor *s, uint64_t now);

/*
 * Give an accepted connection to a new backup worker. Borrows fd. -EBUSY when too many have not
 * authenticated yet: max_unauthenticated in all, half of it, rounded up, from one source.
 */
MUST_CHECK int supervisor_connection(struct supervisor *s, int fd, uint64_t now, struct err *e);

/* Stop restarting the primary's worker of this VM. -EBUSY when it lives; fine when there is none. */
MUST_CHECK int supervisor_forget(struct supervisor *s, const char *vm, struct err *e);

/* NULL: no such worker, or i is beyond the last. */
const struct supervised *supervisor_find(const struct supervisor *s, const char *vm,
					 enum worker_side side);
const struct supervised *supervisor_at(const struct supervisor *s, unsigned int i);

const char *supervised_state_name(enum supervised_state state);

/* Wait before the nth restart in a row, counted from 1: 0, 100 ms, 200 ms, ... 5 s. */
uint64_t supervisor_backoff(unsigned int crashes);

#endif
