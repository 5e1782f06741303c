/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See drill_round.h. Each call looks at the shared memory once: between two of them the worker may have done anything, and the
 * simulator lets it.
 */
#include "replicator/drill_round.h"

#include <stddef.h>

#include "replicator/drill_share.h"
#include "replicator/epoch.h"
#include "replicator/mutant.h"

/* All that is marked is counted, and the first of it listed. */
static void list_marked(struct drill_round *r, const struct drill_share *s)
{
	size_t words = drill_share_words(drill_share_mem_pages(s));
	uint64_t n = 0;

	for (size_t i = 0; i < words; i++)
		for (uint64_t w = r->marked[i]; w; w &= w - 1, n++)
			if (n < r->max)
				r->pfn[n] = i * 64 + (uint64_t)__builtin_ctzll(w);
	r->n = r->last_pages = (uint32_t)MIN(n, (uint64_t)UINT32_MAX);
}

static enum drill_todo copy_round(struct drill_round *r)
{
	r->step = DRILL_STEP_LOOK;
	r->rounds++;
	return DRILL_TODO_ROUND;
}

static enum drill_todo nap(struct drill_round *r)
{
	r->step = DRILL_STEP_LOOK;
	return DRILL_TODO_NAP;
}

/* What was fed before the drill began is in the standby, and marked from here on is all that changes. */
static enum drill_todo begin(struct drill_round *r, const struct drill_share *s)
{
	if (!drill_share_begun(s))
		return DRILL_TODO_NAP;
	r->step = DRILL_STEP_LOOK;
	r->rounds = 1;
	r->least = EPOCH_NONE;
	return DRILL_TODO_ALL;
}

static enum drill_todo look(struct drill_round *r, const struct drill_share *s)
{
	r->epoch = drill_share_window(s);
	if (r->epoch == EPOCH_NONE)
		return nap(r);
	r->step = DRILL_STEP_MARKS;
	return DRILL_TODO_AGAIN;
}

static enum drill_todo take_marks(struct drill_round *r, struct drill_share *s)
{
	drill_share_take(s, r->marked);
	r->step = DRILL_STEP_DECIDE;
	return DRILL_TODO_AGAIN;
}

/* The pages of this epoch were not read in time: they are one round more, so that the next one has less. */
static enum drill_todo too_late(struct drill_round *r)
{
	return r->n ? copy_round(r) : nap(r);
}

static enum drill_todo had(struct drill_round *r)
{
	r->step = DRILL_STEP_HAD;
	return r->disks ? DRILL_TODO_DISKS : DRILL_TODO_AGAIN;
}

static enum drill_todo read_on(struct drill_round *r, const struct drill_share *s)
{
	if (!drill_share_still(s, r->epoch) && !MUTANT(MUTANT_DRILL_UNCONFIRMED))
		return too_late(r);
	r->from += r->count;
	r->count = MIN(r->n - r->from, r->batch);
	return r->count ? DRILL_TODO_READ : had(r);
}

static enum drill_todo read_first(struct drill_round *r, const struct drill_share *s)
{
	const struct drill_state *st = drill_share_state(s, r->epoch);

	if (!st)
		return too_late(r);
	drill_state_copy(r->state, st);
	r->step = DRILL_STEP_READ;
	r->from = r->count = 0;
	return read_on(r, s);
}

static enum drill_todo decide(struct drill_round *r, const struct drill_share *s)
{
	/* Some of it may be of an epoch that is not in the standby yet: it stays until that is. */
	if (!drill_share_still(s, r->epoch) && !MUTANT(MUTANT_DRILL_MARKS_OF_NEXT))
		return nap(r);
	list_marked(r, s);
	if (r->n > r->max)
		return copy_round(r);
	if (r->disks && !r->held) {
		r->held = true;
		r->step = DRILL_STEP_LOOK;
		return DRILL_TODO_HOLD;
	}
	/* A disk is further already. */
	if (r->least != EPOCH_NONE && r->epoch < r->least)
		return nap(r);
	return read_first(r, s);
}

enum drill_todo drill_round_next(struct drill_round *r, struct drill_share *s)
{
	switch (r->step) {
	case DRILL_STEP_BEGIN:
		return begin(r, s);
	case DRILL_STEP_LOOK:
		return look(r, s);
	case DRILL_STEP_MARKS:
		return take_marks(r, s);
	case DRILL_STEP_DECIDE:
		return decide(r, s);
	case DRILL_STEP_READ:
		return read_on(r, s);
	case DRILL_STEP_HAD:
		r->rounds++;
		return DRILL_TODO_SEND;
	}
	return DRILL_TODO_NAP;
}
