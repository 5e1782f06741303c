/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one background copier of a disk, for the first copy, for what a break left behind and for verification:
 * walks the dirty map and says what to read next. Pure: no system call, time is a parameter, memory is taken
 * once; everything runs in the block server's thread.
 *
 * The caller, for each job of copier_next():
 *
 *	1. takes the range lock (range_lock.h) on it, when no write of the guest is in flight there;
 *	2. reads it from the local disk;
 *	3. still under the lock: COPY: copier_read(), which queues a record in the stream and unmarks the blocks.
 *	   HASH, VERIFY: sends its hash to the peer, in the order of the stream, and copier_read();
 *	4. lets the lock go. What the guest wrote before is in what was read, what it writes later comes later in
 *	   the stream.
 *
 * COPY	  runs of marked blocks. Bits go when the record is queued: from then on the extent of its epoch says
 *	  that the peer may not have it (epoch_log.h).
 * HASH	  chunks that are wholly marked are compared first: nothing is sent for them, so the peer's content
 *	  stands still until its answer comes. Equal, and not written meanwhile: unmarked. Copies follow behind.
 * VERIFY chunks in which nothing is marked. Different, and not written meanwhile: marked, and counted; written
 *	  meanwhile: once more, up to COPIER_TRIES times.
 *
 * Done is: nothing is marked, nothing in flight, and the epoch in which the last bit went is settled. The peer's
 * content is whole from the commit of that epoch on, and of no earlier one.
 */
#ifndef DISK_COPIER_H
#define DISK_COPIER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct copier;
struct dirty_map;
struct epoch_log;
struct err;

#define COPIER_SLOTS_MAX 64U
#define COPIER_CHUNK_MAX (UINT32_C(4) << 20)
#define COPIER_RATE_MIN (UINT64_C(1) << 20)
#define COPIER_RATE_MAX (UINT64_C(16) << 30)
#define COPIER_TRIES 3U

struct copier_conf {
	struct dirty_map *map; /* borrowed, as is the log, which marks the same one */
	struct epoch_log *log;
	uint64_t rate;	      /* bytes read in a second at most: COPIER_RATE_MIN to _MAX */
	uint32_t copy_bytes;  /* the longest COPY: whole blocks, up to EPOCH_REC_MAX */
	uint32_t chunk_bytes; /* HASH and VERIFY: whole blocks, up to COPIER_CHUNK_MAX */
	uint32_t
		slots; /* jobs in flight: 2 to COPIER_SLOTS_MAX; HASH and VERIFY take half at most */
	/* Verification found a difference, and has marked it. May be NULL. */
	void (*differs)(void *arg, uint64_t off, uint32_t len);
	void *arg;
};

enum copier_kind {
	COPIER_COPY,
	COPIER_HASH,
	COPIER_VERIFY,
};

struct copier_job {
	enum copier_kind kind;
	uint32_t slot;
	uint64_t off;
	uint32_t len;
};

enum copier_verdict {
	COPIER_EQUAL,
	COPIER_DIFFERENT,
	COPIER_UNREAD, /* the peer could not read it */
};

struct copier_progress {
	uint64_t total;	   /* bytes marked at the start */
	uint64_t left;	   /* bytes marked now */
	uint64_t copied;   /* bytes of records */
	uint64_t equal;	   /* bytes that needed no copy */
	uint64_t verified; /* bytes of this pass that were compared */
	uint64_t differed; /* bytes of this pass that were not equal */
	uint64_t
		busy; /* bytes of this pass that could not be compared: marked, written too often, unread */
	uint64_t rate;	 /* in force: see copier_pace() */
	uint64_t eta_ms; /* UINT64_MAX: not known yet */
	bool verifying;
};

/* Stopped. 0, -EINVAL, -ENOMEM. conf is copied. */
MUST_CHECK int copier_new(struct copier **out, const struct copier_conf *conf, struct err *e);
void copier_free(struct copier *c);

/*
 * The stream has begun, and what is to be copied is marked: go. hash: compare before copying. -ENOTCONN: the log is
 * not STREAMING.
 */
MUST_CHECK int copier_start(struct copier *c, bool hash, uint64_t now);
/* The stream is left. Jobs that are being read end with copier_read() as ever, answers count no more. */
void copier_stop(struct copier *c);
/* A pass of verification. -EBUSY: one is under way, or a comparison by hash; -ENOTCONN: stopped. */
MUST_CHECK int copier_verify(struct copier *c);

/* What to read now; false: nothing, see copier_deadline(), or until something else is called. */
bool copier_next(struct copier *c, uint64_t now, struct copier_job *job);
/* When the rate allows the next job; CLOCK_NEVER: it is not the rate that it waits for. */
uint64_t copier_deadline(const struct copier *c);

/*
 * The job was read; under the lock still. data: len bytes, for COPY. rc < 0: the local disk failed, and the copier
 * stops by itself, copier_failed() says with what.
 */
void copier_read(struct copier *c, uint32_t slot, const void *data, int rc);
/* The peer's answer for one chunk that was asked. -ENOENT: it was not. */
MUST_CHECK int copier_answer(struct copier *c, enum copier_kind kind, uint64_t off, uint32_t len,
			     enum copier_verdict verdict);
/* A write of the guest was admitted. */
void copier_guest_write(struct copier *c, uint64_t off, uint64_t len);

/* Each checkpoint: was it late? Then half the rate, down to a sixteenth; else a little more, up to all of it. */
void copier_pace(struct copier *c, bool late);

/* Will the peer's content be whole with the commit of this epoch? */
bool copier_whole(const struct copier *c, uint64_t epoch);
/* Nothing is left to copy, and the epoch that made it whole is settled. */
bool copier_done(const struct copier *c);
/* 0, or the error of the local disk that it stopped with. */
int copier_failed(const struct copier *c);
void copier_get_progress(const struct copier *c, uint64_t now, struct copier_progress *out);

#endif
