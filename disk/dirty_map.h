/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bit for each block of 4 KiB of a disk: what the other side may not have. Pure; one thread at a
 * time, the block server's. All memory is taken when the map is made (32 MiB for each TiB), so that
 * marking what was written cannot fail; chunks that are empty cost nothing to look at.
 *
 * Ranges are bytes. One that reaches beyond the disk is cut at its end. Marking rounds outward to
 * blocks, clearing inward: what is not known to be the same stays marked. The last block of a disk
 * may be short; a range that reaches the end covers it.
 */
#ifndef DISK_DIRTY_MAP_H
#define DISK_DIRTY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct dirty_map;
struct err;

#define DIRTY_BLOCK_SIZE UINT64_C(4096)
#define DIRTY_DISK_MAX (UINT64_C(64) << 40)

/* All clear. 0; -EINVAL for a size of 0 or above DIRTY_DISK_MAX, -ENOMEM: e says how much was asked for. */
MUST_CHECK int dirty_map_new(struct dirty_map **out, uint64_t disk_bytes, struct err *e);
void dirty_map_free(struct dirty_map *m);

uint64_t dirty_map_disk_bytes(const struct dirty_map *m);
/* Blocks that are marked, and what they are in bytes at most. At once. */
uint64_t dirty_map_count(const struct dirty_map *m);
uint64_t dirty_map_bytes(const struct dirty_map *m);

void dirty_map_set(struct dirty_map *m, uint64_t off, uint64_t len);
void dirty_map_clear(struct dirty_map *m, uint64_t off, uint64_t len);
void dirty_map_set_all(struct dirty_map *m);
void dirty_map_clear_all(struct dirty_map *m);

/* Is any block that the range touches marked; are all of them? An empty range: false, true. */
bool dirty_map_any(const struct dirty_map *m, uint64_t off, uint64_t len);
bool dirty_map_all(const struct dirty_map *m, uint64_t off, uint64_t len);

/*
 * How many bytes of the range, from its start on, are in blocks that are all marked, or all not;
 * *marked tells which. len for a range within one kind, 0 only for len 0.
 */
uint64_t dirty_map_same(const struct dirty_map *m, uint64_t off, uint64_t len, bool *marked);

/*
 * The first run of marked blocks at or after `from` and before `end` (bytes, multiples of a block),
 * no longer than max_bytes (at least a block): false when there is none.
 */
bool dirty_map_next_run(const struct dirty_map *m, uint64_t from, uint64_t end, uint64_t max_bytes,
			uint64_t *off, uint64_t *len);

/* to |= from. -EINVAL when the disks' sizes differ. */
MUST_CHECK int dirty_map_or(struct dirty_map *to, const struct dirty_map *from);
/* The same bits; does a have all bits of b? Both false when the sizes differ. */
bool dirty_map_equal(const struct dirty_map *a, const struct dirty_map *b);
bool dirty_map_covers(const struct dirty_map *a, const struct dirty_map *b);

/*
 * For sending a map to the peer in pieces: bit i of byte j is block first + 8j + i; first is a multiple
 * of 8. get fills with 0 beyond the disk's end; or_bits takes no bit there: -EBADMSG, and the bits
 * within the disk are set all the same.
 */
void dirty_map_get_bits(const struct dirty_map *m, uint64_t first, uint8_t *bits, size_t size);
MUST_CHECK int dirty_map_or_bits(struct dirty_map *m, uint64_t first, const uint8_t *bits,
				 size_t size);

#endif
