/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sm.h. Pure. */
#include "lib/sm.h"

#include <assert.h>
#include <stddef.h>

bool sm_allowed(const struct sm_table *t, unsigned int from, unsigned int to)
{
	return from < t->n && to < t->n && t->states[from].next & SM_BIT(to);
}

unsigned int sm_move(const struct sm_table *t, unsigned int from, unsigned int to)
{
	assert(sm_allowed(t, from, to));
	return to;
}

const char *sm_name(const struct sm_table *t, unsigned int state)
{
	return state < t->n && t->states[state].name ? t->states[state].name : "?";
}

/* The states that can be reached from the initial ones, those included. */
static uint32_t reachable(const struct sm_table *t)
{
	uint32_t set = 0;
	uint32_t before;

	for (unsigned int i = 0; i < t->n; i++) {
		if (t->states[i].flags & SM_INITIAL)
			set |= SM_BIT(i);
	}
	do {
		before = set;
		for (unsigned int i = 0; i < t->n; i++) {
			if (set & SM_BIT(i))
				set |= t->states[i].next;
		}
	} while (set != before);
	return set;
}

const char *sm_flaw(const struct sm_table *t)
{
	uint32_t all;

	if (t->n == 0 || t->n > SM_MAX_STATES)
		return "no states, or too many";
	all = t->n == SM_MAX_STATES ? UINT32_MAX : SM_BIT(t->n) - 1;
	for (unsigned int i = 0; i < t->n; i++) {
		const struct sm_state *s = &t->states[i];

		if (!s->name)
			return "a state without a name";
		if (s->next & ~all)
			return "a way to a state that is not there";
		if (s->next & SM_BIT(i))
			return "a state that follows itself";
		if (s->flags & SM_FINAL && s->next)
			return "a final state that goes on";
		if (!(s->flags & SM_FINAL) && !s->next)
			return "a state that leads nowhere and is not final";
	}
	if (reachable(t) != all)
		return "a state that cannot be reached";
	return NULL;
}
