/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps of dirty pages: bit n of word n/64 is page n. Pure; used by the data thread, in the pause too:
 * nothing here allocates or calls the system.
 */
#ifndef REPLICATOR_DIRTY_H
#define REPLICATOR_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

/* What dirty_scan() found. */
struct dirty_found {
	size_t pages; /* dirty and present, all of them, also those for which there was no room */
	size_t holes; /* dirty and not present */
};

/*
 * Lists the pages that are dirty and present in rising order. 0, or -ENOSPC when they are more than max:
 * the first max are listed then and found->pages says how many there are. bits and present have `words`
 * words; pfns has room for max.
 */
MUST_CHECK int dirty_scan(const uint64_t *bits, const uint64_t *present, size_t words,
			  uint64_t *pfns, size_t max, struct dirty_found *found);

/* to |= from: what an aborted epoch left, or a fetch brought. */
void dirty_or(uint64_t *to, const uint64_t *from, size_t words);
/* to |= from, and from becomes empty. */
void dirty_take(uint64_t *to, uint64_t *from, size_t words);
/* bits &= ~other */
void dirty_drop(uint64_t *bits, const uint64_t *other, size_t words);
void dirty_clear(uint64_t *bits, size_t words);
/* The bits 0 to pages-1, and no other. */
void dirty_fill(uint64_t *bits, size_t words, uint64_t pages);
size_t dirty_count(const uint64_t *bits, size_t words);
/* The first set bit that is not below pfn, or UINT64_MAX. */
uint64_t dirty_next(const uint64_t *bits, size_t words, uint64_t pfn);

static inline bool dirty_test(const uint64_t *bits, uint64_t pfn)
{
	return bits[pfn / 64] >> (pfn % 64) & 1;
}

static inline void dirty_set(uint64_t *bits, uint64_t pfn)
{
	bits[pfn / 64] |= UINT64_C(1) << (pfn % 64);
}

static inline void dirty_unset(uint64_t *bits, uint64_t pfn)
{
	bits[pfn / 64] &= ~(UINT64_C(1) << (pfn % 64));
}

#endif
