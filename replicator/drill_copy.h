/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies a standby that is being kept up to date into a second restore stream: all pages, then in rounds those that have
 * changed since, and last, between two epochs, few enough that they are read before the next one comes: what results
 * is exactly one epoch. Holds nothing up: what changes meanwhile is copied again. The drill's process.
 */
#ifndef REPLICATOR_DRILL_COPY_H
#define REPLICATOR_DRILL_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "replicator/drill_round.h"

struct apply;
struct drill_share;
struct err;

#define DRILL_COPY_BATCH 1024
/* Pages read between two epochs; 64 MiB. */
#define DRILL_COPY_LAST_PAGES 16384

struct drill_copy {
	/* Set by the caller; borrowed. */
	struct drill_share *share;
	struct apply *apply;
	/*
	 * Reads n (at most DRILL_COPY_BATCH) pages of the standby: have[i] says whether page i is memory, pages[i] is what
	 * is in it now. May be torn.
	 */
	int (*read)(void *arg, const uint64_t *pfn, uint32_t n, uint8_t *pages, bool *have,
		    struct err *e);
	/* Between batches, and while it waits; an error ends the copy. May be NULL. */
	int (*between)(void *arg, struct err *e);
	/*
	 * Before the first try of the last round: the disks are held; *least: the oldest epoch that they can still show,
	 * EPOCH_NONE: any. Then, when the pages of an epoch are had: it is the one. May wait. Both NULL: no disks.
	 */
	int (*hold)(void *arg, uint64_t *least, struct err *e);
	int (*at)(void *arg, uint64_t epoch, struct err *e);
	/* The last pages are read with, or without, haste. May be NULL. */
	void (*haste)(void *arg, bool on);
	void *arg;
	uint64_t timeout_ns; /* for all of it */
	uint32_t last_max;   /* pages of the last round, at most; 0: DRILL_COPY_LAST_PAGES */

	/* Figures. */
	uint64_t epoch;	 /* that was copied; EPOCH_NONE until then */
	uint64_t pages;	 /* that were copied, again and again counted */
	uint64_t memory; /* pages that are memory */
	uint32_t rounds;
	uint32_t last_pages; /* of the last round */
	uint32_t tries;	     /* of the last round */

	/* Private. */
	struct drill_round round;
	bool hasty;
	uint64_t deadline_ns;
	uint8_t *room; /* DRILL_COPY_LAST_PAGES pages */
	bool *have;
};

/*
 * The stream is complete then: apply_finish() was called. -ETIMEDOUT: the guest changes more in an epoch than can be read
 * between two, or the standby is not fed; -ESTALE: the worker has ended it; what read(), between() or apply say.
 */
MUST_CHECK int drill_copy_run(struct drill_copy *c, struct err *e);

#endif
