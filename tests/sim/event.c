/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to come, by time and then by the order in which it was pushed: a binary heap. */
#include "tests/sim/sim.h"

#include <assert.h>

static bool before(const struct ev_ref *a, const struct ev_ref *b)
{
	return a->t != b->t ? a->t < b->t : a->seq < b->seq;
}

void ev_init(struct sim *s)
{
	s->q.n = 0;
	s->q.seq = 0;
	s->q.n_free = MAX_EVENTS;
	for (uint32_t i = 0; i < MAX_EVENTS; i++)
		s->q.free[i] = MAX_EVENTS - 1 - i;
}

void ev_push(struct sim *s, uint64_t t, const struct ev *ev)
{
	struct ev_queue *q = &s->q;
	struct ev_ref ref = {.t = t, .seq = q->seq++};
	uint32_t i = q->n;

	assert(t >= s->now);
	if (!q->n_free) {
		sim_fail(s, "P6", "more than %d things to come", MAX_EVENTS);
		return;
	}
	ref.index = q->free[--q->n_free];
	q->pool[ref.index] = *ev;
	q->n++;
	for (; i > 0; i = (i - 1) / 2) {
		if (!before(&ref, &q->heap[(i - 1) / 2]))
			break;
		q->heap[i] = q->heap[(i - 1) / 2];
	}
	q->heap[i] = ref;
}

uint64_t ev_next(const struct sim *s)
{
	return s->q.n ? s->q.heap[0].t : NEVER;
}

bool ev_pop(struct sim *s, struct ev *ev)
{
	struct ev_queue *q = &s->q;
	struct ev_ref last;
	uint32_t i = 0;

	if (!q->n)
		return false;
	s->now = q->heap[0].t;
	*ev = q->pool[q->heap[0].index];
	q->free[q->n_free++] = q->heap[0].index;
	last = q->heap[--q->n];
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= q->n)
			break;
		if (child + 1 < q->n && before(&q->heap[child + 1], &q->heap[child]))
			child++;
		if (!before(&q->heap[child], &last))
			break;
		q->heap[i] = q->heap[child];
		i = child;
	}
	q->heap[i] = last;
	return true;
}
