// SPDX-License-Identifier: GPL-2.0-or-later
/* See dirty.h. A word at a time; most words are empty. */
#include "replicator/dirty.h"

#include <errno.h>
#include <string.h>

/* Words looked at together: an empty stretch costs one branch. */
#define STRIDE 8

static bool empty_stride(const uint64_t *w)
{
	uint64_t any = 0;

	for (int i = 0; i < STRIDE; i++)
		any |= w[i];
	return any == 0;
}

int dirty_scan(const uint64_t *bits, const uint64_t *present, size_t words, uint64_t *pfns,
	       size_t max, struct dirty_found *found)
{
	size_t pages = 0;
	size_t holes = 0;

	for (size_t i = 0; i < words; i++) {
		uint64_t w;

		while (i + STRIDE <= words && empty_stride(&bits[i]))
			i += STRIDE;
		if (i == words)
			break;
		w = bits[i] & present[i];
		holes += (size_t)__builtin_popcountll(bits[i] & ~present[i]);
		for (; w && pages < max; w &= w - 1)
			pfns[pages++] = i * 64 + (uint64_t)__builtin_ctzll(w);
		pages += (size_t)__builtin_popcountll(w);
	}
	found->pages = pages;
	found->holes = holes;
	return pages > max ? -ENOSPC : 0;
}

void dirty_or(uint64_t *to, const uint64_t *from, size_t words)
{
	for (size_t i = 0; i < words; i++)
		if (from[i])
			to[i] |= from[i];
}

void dirty_take(uint64_t *to, uint64_t *from, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		if (!from[i])
			continue;
		to[i] |= from[i];
		from[i] = 0;
	}
}

void dirty_drop(uint64_t *bits, const uint64_t *other, size_t words)
{
	for (size_t i = 0; i < words; i++)
		bits[i] &= ~other[i];
}

void dirty_clear(uint64_t *bits, size_t words)
{
	memset(bits, 0, words * sizeof(*bits));
}

void dirty_fill(uint64_t *bits, size_t words, uint64_t pages)
{
	size_t full = (size_t)(pages / 64);

	dirty_clear(bits, words);
	memset(bits, 0xff, full * sizeof(*bits));
	if (pages % 64)
		bits[full] = (UINT64_C(1) << (pages % 64)) - 1;
}

size_t dirty_count(const uint64_t *bits, size_t words)
{
	size_t n = 0;

	for (size_t i = 0; i < words; i++)
		n += (size_t)__builtin_popcountll(bits[i]);
	return n;
}

uint64_t dirty_next(const uint64_t *bits, size_t words, uint64_t pfn)
{
	size_t i = (size_t)(pfn / 64);
	uint64_t w;

	if (i >= words)
		return UINT64_MAX;
	w = bits[i] & ~UINT64_C(0) << (pfn % 64);
	while (!w) {
		if (++i == words)
			return UINT64_MAX;
		w = bits[i];
	}
	return i * 64 + (uint64_t)__builtin_ctzll(w);
}
