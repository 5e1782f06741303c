/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The data thread's part of a drill: says in the shared memory what it does to the standby. Costs an epoch a bit for each
 * of its pages, a copy of its vCPUs' state and 32 bytes more for the standby; never waits for the drill.
 */
#ifndef REPLICATOR_DRILL_FEED_H
#define REPLICATOR_DRILL_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct apply;
struct drill_share;
struct wire_static;

enum drill_mark {
	DRILL_MARK_NONE, /* the standby has worked in all, or nobody asks */
	DRILL_MARK_DUE,
	DRILL_MARK_SENT,
};

/* Zeroed: no drill. */
struct drill_feed {
	struct drill_share *share;
	uint64_t epoch; /* the newest that is fed, or being fed */
	enum drill_mark mark;
};

/* The share is f's from here on; one that was there is ended. statics are copied. */
void drill_feed_begin_take(struct drill_feed *f, struct drill_share *share,
			   const struct wire_static *statics, const struct apply *ap);
/* Also when there is none: nothing of the standby may be used by a drill any more. */
void drill_feed_end(struct drill_feed *f);

/* Around apply_commit() of the sealed epoch. */
void drill_feed_before(struct drill_feed *f, const struct apply *ap, uint64_t epoch);
void drill_feed_after(struct drill_feed *f);

/* Now and then: at least every DRILL_FEED_POLL_MS while drill_feed_waits(). */
#define DRILL_FEED_POLL_MS 2
void drill_feed_pump(struct drill_feed *f, struct apply *ap);
bool drill_feed_waits(const struct drill_feed *f);

#endif
