/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Overlapping writes one after the other, in the order in which they came; all others at once. The ranges are the
 * callers', so that there are never more than callers. Pure.
 *
 * A range waits for every earlier one that it overlaps, granted or not: nobody is overtaken, nobody starves.
 */
#ifndef DISK_RANGE_LOCK_H
#define DISK_RANGE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct range {
	uint64_t off;
	uint64_t len;
	unsigned int blockers; /* earlier ones that overlap; 0: granted */
	bool is_hold;	       /* the owner's: no request of a guest */
	struct range *prev;
	struct range *next;
};

struct range_lock {
	struct range *first; /* in the order of arrival */
	struct range *last;
};

/* All zeroes is an empty one. */
static inline void range_lock_init(struct range_lock *l)
{
	*l = (struct range_lock){0};
}

/* r->off and r->len are set, len not 0, and their sum fits. True: granted now; false: range_lock_drop() of others will. */
MUST_CHECK bool range_lock_take(struct range_lock *l, struct range *r);

/*
 * Gives r back, granted or waiting. fn is called for each range that is granted by this, in the order of arrival; it
 * may take further ones, and drop none.
 */
typedef void range_granted_fn(void *arg, struct range *r);
void range_lock_drop(struct range_lock *l, struct range *r, range_granted_fn *fn, void *arg);

static inline bool range_granted(const struct range *r)
{
	return !r->blockers;
}

#endif
