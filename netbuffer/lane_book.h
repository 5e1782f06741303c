/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which lane holds which epoch, and what may be let out: the rules of output commit (P1), pure.
 * netbuf.c acts on them. One thread (control) owns a book.
 *
 * The lanes are a ring. Frames go into the current lane; a checkpoint moves to the next one,
 * which must be closed and empty. So the ring, from the lane after the current one to the current
 * one, is the order in which frames were sent, and it can be told from the current lane alone
 * after a crash. Lanes are let out from the oldest on, one at a time.
 *
 *	EMPTY     closed, nothing in it
 *	CURRENT   receives; closed, except before protection (b->open)
 *	HOLDING   no longer receives, waits for the commit of its epoch
 *	DRAINING  was let out, not yet empty and closed again
 *
 * A checkpoint that is aborted after the switch keeps it: both lanes then hold the same epoch and
 * go out with its commit. When aborts have used up all lanes the next checkpoint stays in its
 * lane, and what is in it waits for the later epoch.
 */
#ifndef NETBUFFER_LANE_BOOK_H
#define NETBUFFER_LANE_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

#define LANES 4U

enum lane_state {
	LANE_EMPTY,
	LANE_CURRENT,
	LANE_HOLDING,
	LANE_DRAINING,
};

struct lane_book {
	enum lane_state state[LANES];
	uint64_t epoch[LANES]; /* newest that the lane may have frames of; unless EMPTY */
	unsigned int cur;
	unsigned int next;  /* where the prepared checkpoint goes, LANES: none is prepared */
	uint64_t preparing; /* its epoch */
	bool open;	    /* the current lane lets everything pass */
	bool opening;	    /* open() is being carried out */
	bool numbered; /* epoch[] counts; not after init, adopt and open, until the first switch */
	bool has_committed;
	uint64_t committed; /* newest */
};

/* Unprotected: lane 0 is current and open, the others are empty. */
void lane_book_init(struct lane_book *b);

/*
 * After a crash, output held: lane cur was current, busy[] says which lanes have frames. All
 * lanes are closed. Nothing is let out before open, or before the commit of the next checkpoint.
 */
void lane_book_adopt(struct lane_book *b, unsigned int cur, const bool busy[LANES]);

/*
 * Checkpoint `epoch` is about to be taken; *lane is where the frames of epoch+1 go. -EAGAIN: no
 * lane is free, one will be after a commit or a drain. -EINVAL: the current lane holds another
 * epoch.
 */
MUST_CHECK int lane_book_prepare(struct lane_book *b, uint64_t epoch, unsigned int *lane);
/* The prepared switch was made. */
void lane_book_switched(struct lane_book *b);
/* The prepared checkpoint was aborted; switched: after the switch. */
void lane_book_aborted(struct lane_book *b, bool switched);

/* -EINVAL: epoch did not end yet, or is not newer than the last one that was committed. */
MUST_CHECK int lane_book_commit(struct lane_book *b, uint64_t epoch);

/* Everything may go out: lanes from the oldest on, the current one last. */
void lane_book_open(struct lane_book *b);
/* Do not wait any longer for the order: the caller lets out all lanes at once. */
void lane_book_open_now(struct lane_book *b);

/*
 * The lane to work on, or LANES for none. Either it is the current one: open is almost done,
 * release it and say lane_book_opened(). Or it is DRAINING; *fresh: only from now on, so release
 * it.
 */
MUST_CHECK unsigned int lane_book_work(struct lane_book *b, bool *fresh);
/* The current lane lets everything pass, as lane_book_work() asked. */
void lane_book_opened(struct lane_book *b);
/* The DRAINING lane is closed again and empty. */
void lane_book_drained(struct lane_book *b, unsigned int lane);

/* Nothing is held and nothing will be. */
static inline bool lane_book_is_open(const struct lane_book *b)
{
	return b->open && !b->opening;
}

#endif
