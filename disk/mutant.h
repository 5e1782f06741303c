/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules of the disks broken on purpose, to prove that the tests' oracles would see it. DISK_MUTANT(x) is a
 * constant false everywhere but in the tests that compile a module once more with DISK_MUTATION defined.
 */
#ifndef DISK_MUTANT_H
#define DISK_MUTANT_H

#ifdef DISK_MUTATION
extern int disk_mutant;
#define DISK_MUTANT(name) (disk_mutant == (name))
#else
#define DISK_MUTANT(name) 0
#endif

enum disk_mutant {
	DISK_MUTANT_NONE,
	/* generation */
	DISK_MUTANT_OWN_DIRT_ONLY,	/* what the target wrote by itself is not copied over */
	DISK_MUTANT_ALONE_SAME_CURRENT, /* going alone makes no new generation */
	DISK_MUTANT_HISTORY_BY_BITMAP,	/* an older generation is answered from the bitmap */
	DISK_MUTANT_TRUST_LOST_INTENT,	/* an intent log that could not be read counts as empty */
	DISK_MUTANT_FINISH_AFTER_PEER, /* the source keeps its bitmap when the target has adopted */
	DISK_MUTANT_FINISH_FORGETS_TARGET, /* ... remembers its own generations, not what the target has */
	DISK_MUTANT_ACTIVATE_KEEPS_BASE, /* an activation does not say what its bitmap counts from */
	DISK_MUTANT_MARKS_OF_ANY_BASE, /* marks of what was given up suffice, whatever they count from */
	DISK_MUTANT_SETTLE_WHEN_ACKED, /* what the target holds in memory alone counts as there */
	/* epoch log and copier */
	DISK_MUTANT_FORGET_EXTENTS,  /* a break forgets what was not settled */
	DISK_MUTANT_SETTLE_TOO_MUCH, /* settling an epoch settles the one after it */
	DISK_MUTANT_CLEAR_EARLY,     /* a block is clean before its record is queued */
	DISK_MUTANT_NO_CARRY,	     /* whole as soon as the bitmap is empty, in whatever epoch */
	DISK_MUTANT_VERDICT_ANYHOW,  /* a verdict counts although the guest wrote meanwhile */
	/* drill guard */
	DISK_MUTANT_VIEW_EARLY,		 /* the view begins before the disk is at its epoch */
	DISK_MUTANT_OVERWRITTEN_UNSAVED, /* a write is let through unasked */
	DISK_MUTANT_HOLD_FOR_EVER,	 /* no view is too slow */
	DISK_MUTANT_JOURNAL_FILLS,	 /* ... nor in the way of anything */
	DISK_MUTANT_HOLD_OUTLIVES_VIEW,	 /* the journal stays held */
	DISK_MUTANT_WAITS_AFTER_VIEW,	 /* what waited to be saved waits on */
	DISK_MUTANT_COUNT
};

#endif
