/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's side of a disk: epochs of writes go into a redo log and from there, whole or not at all, to the disk.
 * On the primary the same file holds what the disk is (state, generations, intent log). docs/journal.md has the bytes.
 *
 * One thread, the block server's. No system call, clock or log of its own: the stores do the work, now is a
 * parameter, and what happens is told by events. The owner
 *
 *	calls journal_append() and its kin as frames arrive,
 *	waits until a store has something done, or until journal_run()'s deadline,
 *	calls wait() of that store, then journal_run().
 *
 * Events come from within journal_run() only. A store's done() changes nothing but the journal's books.
 *
 * Bounds, all from struct journal_opts: memory is taken at opening, never later.
 */
#ifndef DISK_JOURNAL_H
#define DISK_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/block_store.h"
#include "disk/journal_fmt.h"
#include "lib/compiler.h"

struct err;
struct journal;

/* When may the backup say that it holds an epoch? docs/disk.md */
enum journal_ack {
	JOURNAL_ACK_MEMORY, /* when all of it has arrived */
	JOURNAL_ACK_FLUSH,  /* the same; when the guest flushed in it, when it is durable */
	JOURNAL_ACK_EPOCH,  /* when it is durable */
};

/* All within journal_run(); calls into the journal are allowed there but for journal_run() and _free(). */
struct journal_events {
	/* Every epoch up to this one survives the loss of power. Also epochs that nobody waits for. */
	void (*durable)(void *arg, uint64_t epoch);
	/* Every epoch up to this one is on the disk. */
	void (*applied)(void *arg, uint64_t epoch);
	/* There is room again: append what got EAGAIN. */
	void (*space)(void *arg);
	/* What was asked for is done and durable; or FAILED, with the reason, which nobody asked for. */
	void (*state)(void *arg, enum journal_state state, const char *why);
};

struct journal_opts {
	struct journal_geometry geo; /* must be what the file says */
	uint64_t incarnation;	     /* random, not 0; another one at each opening */
	enum journal_ack ack;
	uint32_t batch_bytes; /* payload of a batch: whole blocks, ..1 MiB; the longest WRITE */
	uint64_t
		ram_bytes; /* copies of what is not applied; at least 4 batches, and a block for each open epoch */
	uint32_t max_items;	   /* batches and COMMITs not yet applied; a power of 2 */
	uint32_t max_records;	   /* writes not yet applied; a power of 2, at least 1024 */
	uint64_t sync_ns;	   /* what was written is synced at the latest after this ... */
	uint64_t sync_bytes;	   /* ... or that much */
	uint64_t apply_ns;	   /* what is committed is applied at the latest after this ... */
	uint64_t apply_bytes;	   /* ... or that much */
	uint64_t superblock_ns;	   /* progress is written down at the latest after this ... */
	uint64_t superblock_bytes; /* ... or when that much of the ring waits for it */
	uint32_t depth;		   /* requests to the disk in flight, 1..64 */
};

/* geo and incarnation are left to the caller. 64 MiB of memory, sync 250 ms, apply 100 ms or 8 MiB, superblock 1 s. */
void journal_opts_init(struct journal_opts *o);

/* The bytes that a journal of this geometry has. */
uint64_t journal_file_size(const struct journal_geometry *g);

/*
 * Writes an empty journal, state EMPTY, onto what was made by file_store_create(): superblocks and intent log.
 * Blocks until it is durable. Whatever journal was there is gone.
 */
MUST_CHECK int journal_format(struct block_store *file, const struct journal_geometry *g,
			      uint64_t incarnation, struct err *e);

/* What a journal file says about itself, for tools and for an owner that does not know the geometry yet. Blocks. */
MUST_CHECK int journal_peek(struct block_store *file, struct journal_sb *sb, struct err *e);

/*
 * Opens it and brings the disk to the last epoch that was committed durably. Blocks until that is durable. Both stores
 * are borrowed until journal_free(); the disk's block size divides geo.block_size.
 * 0: the state is one of docs/journal.md, "Reading it back"; FAILED is one of them, journal_stats() says why.
 * Else: -EBADMSG no valid superblock, -EPROTO another version, -EINVAL not this disk, -ENOMEM, or the I/O error.
 */
MUST_CHECK int journal_open(struct block_store *file, struct block_store *disk,
			    const struct journal_opts *o, struct journal **out, struct err *e);
/* Nothing may be in flight: journal_idle(), or a store that gives up. Writes nothing. */
void journal_free(struct journal *j);

void journal_set_events(struct journal *j, const struct journal_events *ev, void *arg);

/* ---- a session of epochs ---- */

/*
 * A new session, its first epoch to come. What was not committed is dropped. CONSISTENT or OUTDATED: epochs go to the
 * ring. Else -EPERM. -EAGAIN: no room, or a change is under way.
 */
MUST_CHECK int journal_begin(struct journal *j, uint64_t session, uint64_t first_epoch);

struct journal_rec {
	enum journal_op op;
	uint64_t off; /* bytes, multiples of the disk's block size; 0 for FLUSH */
	uint32_t len;
	const void *data; /* WRITE; copied */
};

/*
 * The next record of an epoch, which is the open one or the one after the last that was ended. 0: taken.
 * -EAGAIN: no room; nothing was taken; space() will say when. It comes without a commit() of the caller.
 * -EFBIG: the epochs without commit() need more than there is: abort them (journal_drop()).
 * -EINVAL: no write of this disk, or longer than batch_bytes. -EPROTO: not that epoch's turn. -EIO: FAILED.
 * -EPERM: no session.
 */
MUST_CHECK int journal_append(struct journal *j, uint64_t epoch, const struct journal_rec *rec);
/* Nothing more is at hand: what has been appended is written now. */
void journal_push(struct journal *j);

struct journal_count {
	uint64_t records; /* without FLUSH */
	uint64_t bytes;	  /* of the WRITEs */
	bool flushed;	  /* the guest flushed in it */
};

/* From now on; by the opts at first. */
void journal_set_ack(struct journal *j, enum journal_ack ack);
/* The epoch is complete. Errors as of journal_append(). *count: what was appended, to compare. */
MUST_CHECK int journal_end(struct journal *j, uint64_t epoch, struct journal_count *count);
/* The epoch is wanted: the oldest that was ended. It needs no room. -EPROTO, -EIO, -EPERM. */
MUST_CHECK int journal_commit(struct journal *j, uint64_t epoch);
/* Must the acknowledgement of the epoch wait until durable() says it? For one that was ended. */
bool journal_ack_waits(const struct journal *j, uint64_t epoch);
/* Everything without commit() is void; the session is over. Committed epochs are applied as ever. */
void journal_drop(struct journal *j);

/* ---- what the disk is; each is done when state() says so, one at a time ---- */

/*
 * The first copy begins: what is committed is applied, then SYNCING; from then on records go to the disk directly.
 * From every state but ACTIVE. Until state(), append gives -EAGAIN. -EBUSY: another change is under way.
 */
MUST_CHECK int journal_copy_begin(struct journal *j, uint64_t session, uint64_t first_epoch);
/*
 * With the commit() of this epoch, which is the newest that was ended, the copy is complete: then the disk is synced and
 * CONSISTENT. Later epochs go to the ring at once. From SYNCING, and from OUTDATED where the ring held the missing.
 */
MUST_CHECK int journal_copy_end(struct journal *j, uint64_t epoch);
/* What becomes CONSISTENT takes over these; in the session, before that commit(). */
void journal_copy_adopt(struct journal *j, const struct journal_gens *gens);
/*
 * The guest runs here from `epoch` on. -EPERM: not CONSISTENT. -ESTALE: not the epoch committed last in this session.
 * Drops the rest, applies, then ACTIVE with the new generation; 0: without one, journal_set() makes it later.
 */
MUST_CHECK int journal_activate(struct journal *j, uint64_t epoch, uint64_t generation);
/* Drops what is not committed, applies, then OUTDATED. From CONSISTENT, OUTDATED or ACTIVE; else -EPERM. */
MUST_CHECK int journal_leave(struct journal *j);
/*
 * State and generations as the owner says. A primary's: ACTIVE, or OUTDATED, from EMPTY or ACTIVE; what journal_activate() said
 * of a session is forgotten with it. Of a copy that nobody follows: generations only, in OUTDATED or SYNCING without a
 * session. Else -EPERM.
 */
MUST_CHECK int journal_set(struct journal *j, enum journal_state state,
			   const struct journal_gens *gens);
/* An error that somebody else saw: FAILED, at once. */
void journal_fail(struct journal *j, int rc, const char *what);

/* ---- its owner's loop ---- */

/* Does what can be done. Returns when it wants to be called again at the latest; CLOCK_NEVER: after the next done(). */
uint64_t journal_run(struct journal *j, uint64_t now);
/* Nothing is in flight and nothing waits to be applied. */
bool journal_idle(const struct journal *j);

/* ---- a drill looks at the disk (drill_guard.h); journal_hold.c ---- */

/* A session of a disk that is whole, and nothing is being changed. */
bool journal_may_hold(const struct journal *j);
/*
 * Applies no further epoch until journal_release(). Returns the one that the disk is at, or will be when what is under way is
 * done; JOURNAL_NO_EPOCH: none of this session. A change, such as an activation, does not care about a hold.
 */
uint64_t journal_hold(struct journal *j);
/* ... but what leads to this one. -ERANGE: the disk is beyond it; -EAGAIN: it is not committed yet, and the hold is as it was. */
MUST_CHECK int journal_hold_at(struct journal *j, uint64_t epoch);
bool journal_is_at(const struct journal *j, uint64_t epoch);
void journal_release(struct journal *j);
/*
 * Who looks must be sent away: a hold is in the way of something, the session is none any more, or an epoch finds no room while
 * writes to the disk are waiting (to be saved).
 */
bool journal_must_go_on(const struct journal *j, bool waiting);

#define JOURNAL_WHY_SIZE 256

struct journal_stats {
	enum journal_state state;
	struct journal_gens gens;
	bool activated; /* ACTIVE by journal_activate() without a generation, and nothing was set since */
	uint64_t session;
	uint64_t committed_epoch; /* JOURNAL_NO_EPOCH: none yet; so all three */
	uint64_t durable_epoch;
	uint64_t applied_epoch;
	uint64_t ring_size;
	uint64_t ring_used; /* bytes that cannot be written yet */
	uint64_t lag_bytes; /* committed, not applied */
	uint64_t ram_used;
	uint64_t spilled;	    /* batches read again from the ring, ever */
	uint64_t merged;	    /* bytes that a later write made needless, ever */
	uint64_t replayed;	    /* epochs, by journal_open() */
	char why[JOURNAL_WHY_SIZE]; /* FAILED: the reason */
};
void journal_stats(const struct journal *j, struct journal_stats *st);

#endif
