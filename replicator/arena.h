/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room for the pages of one epoch, on both sides: a fixed number of page slots with the guest frame
 * number of each, pre-faulted and locked at set-up so that filling it costs no fault (P6: an epoch is
 * never larger). Slots lie side by side: a run of them is one piece of memory. One thread at a time, the
 * data thread.
 */
#ifndef REPLICATOR_ARENA_H
#define REPLICATOR_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define ARENA_PAGE_SIZE 4096

struct arena {
	uint8_t *mem;	/* pages slots, page-aligned */
	uint64_t *pfn;	/* guest frame number of each slot in use */
	uint32_t pages; /* slots that there are */
	uint32_t count; /* slots in use: 0 .. count - 1 */
};

/* An arena that was never set up: arena_fini() is a no-op. */
#define ARENA_INIT ((struct arena){.mem = NULL})

/*
 * Allocates and touches all of it. lock: keep it in RAM. 0; -EINVAL (no pages, or too many to count in
 * bytes), -ENOMEM (e says how much was asked for), -EPERM (may not lock).
 */
MUST_CHECK int arena_init(struct arena *a, uint32_t pages, bool lock, struct err *e);
void arena_fini(struct arena *a);

/* The next free slot (ARENA_PAGE_SIZE bytes, old content), now that of pfn; NULL when the arena is full. */
static inline uint8_t *arena_add(struct arena *a, uint64_t pfn)
{
	if (a->count == a->pages)
		return NULL;
	a->pfn[a->count] = pfn;
	return a->mem + (size_t)a->count++ * ARENA_PAGE_SIZE;
}

/* The slot i < a->count. */
static inline uint8_t *arena_slot(const struct arena *a, uint32_t i)
{
	return a->mem + (size_t)i * ARENA_PAGE_SIZE;
}

static inline bool arena_full(const struct arena *a)
{
	return a->count == a->pages;
}

/* Forgets what is in it. */
static inline void arena_reset(struct arena *a)
{
	a->count = 0;
}

#endif
