/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plan with drills runs twice, first without them: each event of the world must come the second time at the same instant, with the
 * same words in it, and leave both cores the same. So no ACK, no failover, no epoch is later by a drill, nor another one; and a
 * seed means what it meant before there were drills.
 */
#include "tests/sim/sim.h"

#define MAX_SEEN (1 << 16) /* events of which each is compared; of later ones all together */

/* Without a drill, and with. */
static struct twin {
	uint64_t seen[MAX_SEEN];
	uint64_t n;
	uint64_t rest;
} twins[2];

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 32;
}

static uint64_t words_of(const struct ev *ev)
{
	uint64_t h = mix(ev->kind, ev->where);

	h = mix(h, (uint64_t)ev->slot << 32 | ev->gen);
	h = mix(h, (uint64_t)ev->conn << 32 | ev->token);
	if (ev->kind == EV_MSG)
		return mix(mix(mix(h, ev->m.type), ev->m.epoch), ev->m.state);
	if (ev->kind == EV_A_CORE)
		return mix(mix(mix(h, ev->p.type), ev->p.epoch), ev->p.term);
	if (ev->kind == EV_B_CORE)
		return mix(mix(mix(h, ev->b.type), ev->b.epoch), ev->b.term);
	return h;
}

/* After the event. */
static uint64_t world(const struct sim *s, const struct ev *ev)
{
	uint64_t h = mix(s->now, words_of(ev));

	h = mix(mix(h, s->a.core.state), s->a.core.acked);
	h = mix(h, s->last_emit);
	for (int i = 0; i < MAX_WORKERS; i++) {
		const struct backup *b = &s->b[i].core;

		if (s->b[i].proc.alive)
			h = mix(mix(h, b->state), b->committed << 32 ^ b->acked);
	}
	h = mix(h, (uint64_t)s->b_role << 2 | s->standby.exists << 1 | s->standby.runs);
	return mix(mix(h, s->standby.state), s->b_term);
}

void twin_begin(struct sim *s)
{
	twins[s->drilling].n = 0;
	twins[s->drilling].rest = 0;
}

void twin_saw(struct sim *s, const struct ev *ev)
{
	struct twin *t = &twins[s->drilling];
	uint64_t h;

	if (!s->plan.n_drills || s->winding_up)
		return;
	h = world(s, ev);
	if (t->n < MAX_SEEN)
		t->seen[t->n] = h;
	else
		t->rest = mix(t->rest, h);
	if (s->drilling && t->n < MAX_SEEN && (t->n >= twins[0].n || twins[0].seen[t->n] != h))
		sim_fail(
			s, "P4",
			"the world is not what it is without a drill, from event %llu on, of kind %d",
			(unsigned long long)t->n, (int)ev->kind);
	t->n++;
}

void twin_end(struct sim *s)
{
	if (s->drilling && !s->failed &&
	    (twins[0].n != twins[1].n || twins[0].rest != twins[1].rest))
		sim_fail(s, "P4", "the world ends otherwise than without a drill");
}
