/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The writes of the guest on their way to the backup: a write_sink that gives each write the epoch in which
 * it arrived, keeps its data until the worker has taken it, and its place until the backup keeps it for
 * good. Pure: no system call, and memory is taken once. Everything runs in the block server's thread.
 *
 * Two states:
 *
 *	ALONE		every write marks the dirty map and goes on
 *	STREAMING	a write becomes records. Blocks that are marked in the dirty map are yet to be copied
 *			(copier.h): what is written there stays marked and is not sent, so the peer's
 *			content of a marked block does not change
 *
 * What the peer may not have is at any time what is marked, and the extents of the epochs that are not
 * settled. leave() turns the second into the first. Nothing else forgets an extent but settle().
 *
 * Extents of the first epoch, which is as long as a copy takes, are folded into a map of their own.
 *
 * Bounded: data by queue_bytes, records, extents and epochs by their tables. When one is full admit() says
 * -EAGAIN: the completions of writes wait. When that lasts longer than stall_ns without one write
 * admitted, or a write could never fit, or the epoch word is void or goes back, the log leaves the stream by
 * itself, calls dropped(), and never says -EAGAIN again until begin().
 */
#ifndef DISK_EPOCH_LOG_H
#define DISK_EPOCH_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/epoch_numbers.h"
#include "disk/write_sink.h"
#include "lib/compiler.h"

struct dirty_map;
struct epoch_log;
struct epoch_word;
struct err;

/* The longest record with data; longer writes become several. */
#define EPOCH_REC_MAX UINT32_C(262144)
/* The longest without. */
#define EPOCH_REC_BARE_MAX (UINT32_C(1) << 30)
#define EPOCH_LOG_QUEUE_MIN (UINT64_C(4) << 20)
#define EPOCH_LOG_QUEUE_MAX (UINT64_C(64) << 30)
#define EPOCH_LOG_NONE UINT64_MAX

struct epoch_log_conf {
	struct dirty_map *map; /* borrowed */
	uint64_t queue_bytes;  /* EPOCH_LOG_QUEUE_MIN to _MAX */
	uint32_t extents;      /* places not settled; 0: one for each 4 KiB of the queue */
	uint64_t stall_ns;
	/* All may be NULL. dropped and failed may come within admit() and done(): only note them. */
	void (*wake)(void *arg);		     /* ask admit() again; never within it */
	void (*dropped)(void *arg, const char *why); /* left the stream by itself */
	void (*failed)(void *arg, int rc);	     /* the local disk, while STREAMING */
	void *arg;
};

/* One record, as the worker sends it. */
struct epoch_rec {
	struct write_req w; /* data is the log's until epoch_log_taken() */
	uint64_t epoch;
	bool sync; /* WRITE_DATA: from the copier, not from the guest */
};

struct epoch_log_stats {
	uint64_t queued_bytes; /* of data, not yet taken; gaps included */
	uint64_t queued_records;
	uint64_t extents;  /* not settled */
	uint64_t epochs;   /* with records, not settled */
	uint64_t streamed; /* bytes of guest writes that became records, since begin() */
	uint64_t synced;   /* bytes of the copier's */
	uint64_t zeroes;   /* of both, bytes that travelled as ZERO */
	uint64_t skipped;  /* bytes of guest writes to blocks that are yet to be copied */
	uint64_t refused;  /* times of -EAGAIN, since it was made */
	uint64_t drops;	   /* times it left by itself, since it was made */
};

/* ALONE. 0; -EINVAL for numbers out of range, -ENOMEM. conf is copied. */
MUST_CHECK int epoch_log_new(struct epoch_log **out, const struct epoch_log_conf *conf,
			     struct err *e);
void epoch_log_free(struct epoch_log *l);

/* For the block server, as long as the log lives. */
struct write_sink *epoch_log_sink(struct epoch_log *l);
bool epoch_log_streaming(const struct epoch_log *l);

/*
 * The stream begins: writes that arrive from now on are of the epoch that the word says. The word is
 * borrowed until leave() or dropped(). -EBUSY while STREAMING, -EINVAL for a void word.
 */
MUST_CHECK int epoch_log_begin(struct epoch_log *l, const struct epoch_word *word);
/* Break, or LEAVE of the worker: ALONE from now on. A no-op when it is. */
void epoch_log_leave(struct epoch_log *l);

/*
 * The copier has read blocks that are marked, under the range lock, and still holds it: queues a record of
 * the epoch that runs, which *epoch tells, and unmarks them. off is a multiple of a block, len too unless
 * the disk ends there, at most EPOCH_REC_MAX. -EAGAIN: more than half of a table is in use, which is the
 * copier's share; nothing happened, let the lock go and come back later. -ENOTCONN: not STREAMING.
 */
MUST_CHECK int epoch_log_add_sync(struct epoch_log *l, uint64_t off, uint32_t len, const void *data,
				  uint64_t *epoch);
/* Would a record of the copier be taken now? */
bool epoch_log_sync_room(const struct epoch_log *l, uint64_t bytes);
/* The epoch that runs; EPOCH_LOG_NONE when ALONE or the word is void. */
uint64_t epoch_log_epoch(const struct epoch_log *l);
/* The epoch that the last write or record got. While STREAMING. */
uint64_t epoch_log_last_tag(const struct epoch_log *l);

/*
 * The oldest records that were not taken, of epochs up to `upto`: at most max, all of one epoch, no more
 * than max_bytes of data but at least one. How many. They stay until epoch_log_taken(n), which frees the data
 * of the first n.
 */
size_t epoch_log_next(const struct epoch_log *l, uint64_t upto, struct epoch_rec *out, size_t max,
		      uint64_t max_bytes);
void epoch_log_taken(struct epoch_log *l, size_t n);

/*
 * END(epoch): its numbers; those of an epoch without writes are those of nothing. -EAGAIN: records up to it
 * were not taken yet. -EINVAL: it runs still, or ended before the last one asked for. -ENOTCONN: not
 * STREAMING, or no longer since the word is void.
 */
MUST_CHECK int epoch_log_end(struct epoch_log *l, uint64_t epoch, struct epoch_numbers *out);

/*
 * The backup keeps `epoch`, and all before, even if it restarts: forget their extents. That is ACKED when
 * acknowledgements wait for the journal (mode epoch), else DURABLE: a backup that crashed comes back without
 * what it held in memory alone. -EINVAL for an epoch without END, or settled before.
 */
MUST_CHECK int epoch_log_settle(struct epoch_log *l, uint64_t epoch);
/* Newest epoch settled in this stream, or EPOCH_LOG_NONE. */
uint64_t epoch_log_settled(const struct epoch_log *l);

/* After each batch of events, and when the deadline has come: decides about the stall. */
void epoch_log_poll(struct epoch_log *l, uint64_t now);
uint64_t epoch_log_deadline(const struct epoch_log *l);

/* The fullest of its tables: 0 to 100. */
unsigned int epoch_log_fill(const struct epoch_log *l);
void epoch_log_get_stats(const struct epoch_log *l, struct epoch_log_stats *out);
/* What the peer may not have, in bytes: marked blocks and extents not settled, counted apart. */
uint64_t epoch_log_behind(const struct epoch_log *l);

#endif
