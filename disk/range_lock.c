/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See range_lock.h. A list is enough: there are some hundred ranges at most, and each is looked at twice. */
#include "disk/range_lock.h"

#include <stddef.h>

static bool overlap(const struct range *a, const struct range *b)
{
	return a->off < b->off + b->len && b->off < a->off + a->len;
}

bool range_lock_take(struct range_lock *l, struct range *r)
{
	r->blockers = 0;
	for (const struct range *o = l->first; o; o = o->next)
		r->blockers += overlap(o, r);
	r->prev = l->last;
	r->next = NULL;
	if (l->last)
		l->last->next = r;
	else
		l->first = r;
	l->last = r;
	return range_granted(r);
}

void range_lock_drop(struct range_lock *l, struct range *r, range_granted_fn *fn, void *arg)
{
	struct range *next = r->next;

	if (r->prev)
		r->prev->next = next;
	else
		l->first = next;
	if (next)
		next->prev = r->prev;
	else
		l->last = r->prev;
	/* Only later ones counted it. What fn adds comes behind the end, and is not blocked by r. */
	for (struct range *end = l->last, *o = next; o; o = o == end ? NULL : o->next) {
		if (!overlap(o, r))
			continue;
		assert(o->blockers > 0);
		if (--o->blockers == 0)
			fn(arg, o);
	}
}
