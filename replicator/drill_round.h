/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In which order a standby that changes is copied so that what results is exactly one epoch (drill_copy.h): what to do next, from
 * what the worker says in the shared memory. Reads and marks are the caller's. Pure but for those words.
 */
#ifndef REPLICATOR_DRILL_ROUND_H
#define REPLICATOR_DRILL_ROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct drill_share;
struct drill_state;

enum drill_todo {
	DRILL_TODO_AGAIN, /* nothing; ask again */
	DRILL_TODO_NAP,	  /* ... in a moment */
	DRILL_TODO_ALL,	  /* copy what the guest was built with, and all pages */
	DRILL_TODO_ROUND, /* copy what is marked in `marked`, which is empty then */
	DRILL_TODO_HOLD,  /* hold the disks, and set `least` */
	DRILL_TODO_READ, /* `count` pages from pfn[from] on, into a room for all of them: not copied yet */
	DRILL_TODO_DISKS, /* what was read is `epoch`, which is to be the disks' */
	DRILL_TODO_SEND,  /* copy the n pages that were read, and `state`: that is the end */
};

enum drill_round_step {
	DRILL_STEP_BEGIN,
	DRILL_STEP_LOOK,
	DRILL_STEP_MARKS,
	DRILL_STEP_DECIDE,
	DRILL_STEP_READ,
	DRILL_STEP_HAD,
};

struct drill_round {
	/* Set by the caller, the rest zero; borrowed. */
	bool disks;	  /* there are some */
	uint64_t *marked; /* drill_share_words() of words, zeroed */
	uint64_t *pfn;	  /* max of them */
	uint32_t max;	  /* pages of the last round, at most */
	uint32_t batch;	  /* ... at a time */
	struct drill_state *state;
	uint64_t least; /* oldest epoch that the disks can still show, EPOCH_NONE: any */

	uint64_t epoch; /* that is being tried; of SEND: that was copied */
	uint32_t n, from, count;

	/* Figures. */
	uint32_t rounds;
	uint32_t last_pages; /* of the last round */

	/* Private. */
	enum drill_round_step step;
	bool held;
};

/* What was to be done has been done. Never waits. */
enum drill_todo drill_round_next(struct drill_round *r, struct drill_share *s);

#endif
