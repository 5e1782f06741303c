/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of overlapping writes the last one wins: from writes in order of age to pieces in order of place. Pure. */
#ifndef DISK_COALESCE_H
#define DISK_COALESCE_H

#include <stddef.h>
#include <stdint.h>

struct extent {
	uint64_t off;
	uint64_t end; /* > off */
};

struct piece {
	uint64_t off;
	uint64_t len;
	uint32_t src; /* index of the extent that wins here */
};

struct heap_node {
	uint64_t key;
	uint32_t idx;
};

/*
 * in: n extents, the oldest first. Writes at most 2 n pieces to out, sorted, without overlap, covering what the
 * extents cover; returns their number. scratch: room for 2 n nodes. O(n log n).
 */
size_t coalesce(const struct extent *in, uint32_t n, struct heap_node *scratch, struct piece *out);

#endif
