/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of output commit: see lane_book.h. Pure.
 */
#include "netbuffer/lane_book.h"

#include <errno.h>
#include <string.h>

/* The lane i places after the current one; from 1 on: oldest first. */
static unsigned int ring(const struct lane_book *b, unsigned int i)
{
	return (b->cur + i) % LANES;
}

void lane_book_init(struct lane_book *b)
{
	memset(b, 0, sizeof(*b));
	b->state[0] = LANE_CURRENT;
	b->open = true;
	b->next = LANES;
}

void lane_book_adopt(struct lane_book *b, unsigned int cur, const bool busy[LANES])
{
	bool older = false;

	assert(cur < LANES);
	memset(b, 0, sizeof(*b));
	b->cur = cur;
	b->next = LANES;
	b->state[cur] = LANE_CURRENT;
	/* From the oldest that has frames on, none may be skipped: the order is in the ring. */
	for (unsigned int i = 1; i < LANES; i++) {
		older = older || busy[ring(b, i)];
		b->state[ring(b, i)] = older ? LANE_HOLDING : LANE_EMPTY;
	}
}

/* May a lane become free without the commit of this epoch? */
static bool one_will_be_free(const struct lane_book *b, uint64_t epoch)
{
	for (unsigned int i = 1; i < LANES; i++) {
		unsigned int l = ring(b, i);

		if (b->state[l] == LANE_DRAINING)
			return true;
		if (b->state[l] == LANE_HOLDING && b->numbered && b->epoch[l] < epoch)
			return true;
	}
	return false;
}

int lane_book_prepare(struct lane_book *b, uint64_t epoch, unsigned int *lane)
{
	unsigned int l = ring(b, 1);

	b->next = LANES;
	if (b->opening)
		return -EAGAIN;
	if (b->numbered && epoch != b->epoch[b->cur])
		return -EINVAL;
	if (b->state[l] != LANE_EMPTY) {
		if (b->open || one_will_be_free(b, epoch))
			return -EAGAIN;
		/* Aborted checkpoints hold them all, and only this one's commit frees them. */
		l = b->cur;
	}
	b->next = l;
	b->preparing = epoch;
	*lane = l;
	return 0;
}

void lane_book_switched(struct lane_book *b)
{
	assert(b->next < LANES);
	if (!b->numbered) {
		for (unsigned int i = 0; i < LANES; i++)
			b->epoch[i] = b->preparing;
		b->numbered = true;
		b->has_committed = false;
	}
	if (b->next != b->cur) {
		assert(b->state[b->next] == LANE_EMPTY); /* P1 */
		b->state[b->cur] = LANE_HOLDING;
		b->state[b->next] = LANE_CURRENT;
		b->cur = b->next;
		b->open = false;
	}
	b->epoch[b->cur] = b->preparing + 1;
	b->next = LANES;
}

void lane_book_aborted(struct lane_book *b, bool switched)
{
	b->next = LANES;
	if (switched && b->numbered)
		b->epoch[b->cur] = b->preparing;
}

int lane_book_commit(struct lane_book *b, uint64_t epoch)
{
	if (!b->numbered || epoch >= b->epoch[b->cur])
		return -EINVAL;
	if (b->has_committed && epoch <= b->committed)
		return -EINVAL;
	b->has_committed = true;
	b->committed = epoch;
	return 0;
}

void lane_book_open(struct lane_book *b)
{
	b->next = LANES;
	b->opening = !b->open;
}

void lane_book_open_now(struct lane_book *b)
{
	for (unsigned int i = 0; i < LANES; i++)
		if (b->state[i] == LANE_HOLDING)
			b->state[i] = LANE_DRAINING;
	lane_book_opened(b);
}

unsigned int lane_book_work(struct lane_book *b, bool *fresh)
{
	*fresh = false;
	for (unsigned int i = 1; i < LANES; i++) {
		unsigned int l = ring(b, i);

		if (b->state[l] == LANE_EMPTY)
			continue;
		if (b->state[l] == LANE_DRAINING)
			return l;
		/* P1: the oldest lane goes first, and only when its epoch is safe. */
		if (!b->opening &&
		    !(b->numbered && b->has_committed && b->epoch[l] <= b->committed))
			return LANES;
		b->state[l] = LANE_DRAINING;
		*fresh = true;
		return l;
	}
	return b->opening ? b->cur : LANES;
}

void lane_book_opened(struct lane_book *b)
{
	b->open = true;
	b->opening = false;
	b->numbered = false;
	b->has_committed = false;
}

void lane_book_drained(struct lane_book *b, unsigned int lane)
{
	assert(lane < LANES && b->state[lane] == LANE_DRAINING);
	b->state[lane] = LANE_EMPTY;
}
