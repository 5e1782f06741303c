/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules of the journal broken on purpose, to prove that journal-prefixes would see it. JOURNAL_MUTANT(x) is a
 * constant false everywhere but in the test program journal-mutants, which compiles the journal once more with
 * JOURNAL_MUTATION defined (tests/journal/mutant_*.c).
 */
#ifndef DISK_JOURNAL_MUTANT_H
#define DISK_JOURNAL_MUTANT_H

#ifdef JOURNAL_MUTATION
extern int journal_mutant;
#define JOURNAL_MUTANT(name) (journal_mutant == (name))
#else
#define JOURNAL_MUTANT(name) 0
#endif

enum journal_mutant {
	JM_NONE,
	/* bytes */
	JM_NO_BLOCK_DIGEST, /* a block's digest is not looked at */
	/* reading back */
	JM_NO_PAYLOAD_DIGEST, /* a payload is believed */
	JM_ANY_INCARNATION,   /* an item of an earlier life counts */
	JM_ANY_POSITION, /* lsn, digest of the item before and order of epochs are not looked at */
	JM_REPLAY_UNCOMMITTED, /* batches without COMMIT are replayed too */
	JM_OLDER_SUPERBLOCK,   /* the older of two valid superblocks is taken */
	JM_ONE_SUPERBLOCK,     /* only the first place is read */
	JM_NO_APPLYING,	       /* a walk that ends too early is not noticed */
	JM_REPLAY_UNSYNCED,    /* what was read is replayed without being synced first */
	JM_RECOVER_NO_SYNC,    /* the disk is not synced after the replay */
	JM_KEEP_INCARNATION,   /* the ring goes on under the old incarnation */
	JM_STAY_CONSISTENT,    /* a rebooted backup is as good as before */
	/* running */
	JM_APPLY_UNDURABLE,	 /* the disk is written before the COMMIT is durable */
	JM_NO_APPLYING_WRITTEN,	 /* a round begins without a superblock that says so */
	JM_TAIL_EARLY,		 /* the tail moves before the disk is synced */
	JM_SPACE_EARLY,		 /* space is used again before the superblock is durable */
	JM_SPACE_ONE,		 /* ... when one superblock says so, not both */
	JM_DURABLE_WHEN_WRITTEN, /* durable is said before the sync */
	JM_DURABLE_INFLIGHT,	 /* a sync covers writes that were not complete when it began */
	JM_FIRST_WRITER,	 /* of overlapping writes the first one wins */
	JM_COMMIT_NOT_WAITED,	 /* an epoch is applied when its batches are there, COMMIT or not */
	JM_KEEP_DROPPED,	 /* a new session begins without BEGIN */
	JM_COPY_BEFORE_SYNCING,	 /* the first copy begins before the superblocks say so */
	JM_CONSISTENT_UNSYNCED,	 /* CONSISTENT before the disk is synced */
	JM_CHANGE_ONE,		 /* a change is written to one superblock only */
	JM_ACTIVATE_UNAPPLIED,	 /* ACTIVE before all is applied */
	JM_COUNT
};

#endif
