/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which regions of 4 MiB of the disk may hold writes that the other side does not have, kept so that a crash
 * does not lose it: a bit is durable before the first write to its region goes on (docs/journal.md has the
 * blocks that they lie in). Pure: it says which block is to be written, the caller writes and syncs it, one at
 * a time. Memory is taken once. One thread, the block server's.
 *
 *	rc = intent_log_admit(il, off, len);
 *	-EAGAIN: write what intent_log_next_write() says, sync it, intent_log_written(), ask again
 *	0: hand the write to the epoch log at once, and then
 *	intent_log_touch(il, off, len, its epoch);
 *
 * Which bits may go again: those of a region that has no epoch that is not settled (epoch_log.h) and nothing
 * marked in the dirty map. It would be wasteful to clear a bit each time, so the regions that were written last
 * stay set, hot: up to hot_max of them, which is what a crash costs to copy (1024: 4 GiB). A cold region takes
 * the place of the one that was not written for longest, whose bit is cleared with the next write of its block, or
 * when the caller is idle. When even that one is not settled the new region is set all the same, without a
 * place, and intent_log_sweep() finds it later.
 */
#ifndef DISK_INTENT_LOG_H
#define DISK_INTENT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct dirty_map;
struct err;
struct intent_log;

#define INTENT_REGION_SIZE (UINT64_C(4) << 20)
#define INTENT_HOT_DEFAULT 1024U
#define INTENT_HOT_MAX 65536U
#define INTENT_EPOCH_NONE UINT64_MAX

struct intent_log_conf {
	const struct dirty_map *map; /* borrowed; its size is the disk's */
	uint32_t bits_per_block;     /* of the file; a multiple of 64 */
	uint32_t hot_max;	     /* 1 to INTENT_HOT_MAX */
};

struct intent_log_stats {
	uint64_t set;	      /* bits that are, or are to be, set */
	uint64_t hot;	      /* regions with a place */
	uint64_t cold_writes; /* writes of the guest that had to wait */
	uint64_t block_writes;
	uint64_t evicted;
	uint64_t placeless; /* regions set without a place */
};

/* Everything clear, until intent_log_load(). 0, -EINVAL, -ENOMEM. conf is copied. */
MUST_CHECK int intent_log_new(struct intent_log **out, const struct intent_log_conf *conf,
			      struct err *e);
void intent_log_free(struct intent_log *il);

/* Blocks that the bits take in the file. */
uint32_t intent_log_blocks(const struct intent_log *il);

/*
 * As found in the file, before anything else: bit i of byte j is region k * bits_per_block + 8j + i. bits NULL: the
 * block could not be read, all set. Bits past the disk's end are ignored.
 */
void intent_log_load(struct intent_log *il, uint32_t k, const uint8_t *bits);
/* Marks in the map what is set: after a crash that is all that is known. */
void intent_log_mark(const struct intent_log *il, struct dirty_map *map);
/* Is anything set? */
bool intent_log_any(const struct intent_log *il);

/*
 * A write, or verification that found a difference. 0: all its regions are set durably. -EAGAIN: not yet; ask
 * again after intent_log_written().
 */
MUST_CHECK int intent_log_admit(struct intent_log *il, uint64_t off, uint64_t len);
/*
 * What was admitted, or a record of the copier, is in the stream under this epoch: its regions stay set until it
 * is settled. What is marked in the dirty map instead needs no touch.
 */
void intent_log_touch(struct intent_log *il, uint64_t off, uint64_t len, uint64_t epoch);

/*
 * Which block is to be written next: its bits, to be encoded now (bits_per_block / 8 bytes, valid until the next
 * call). False when there is none, or one is under way. idle: also those that only clear bits.
 */
bool intent_log_next_write(struct intent_log *il, bool idle, uint32_t *k, const uint8_t **bits);
/*
 * The block that was under way is durable, or could not be written (rc < 0). Then what was set anew counts as
 * not set, and next_write() says it again at once: it is the caller's to give up (intent_log_give_up()).
 */
void intent_log_written(struct intent_log *il, int rc);
/*
 * The file cannot be written: no write waits any more. The caller must have made durable elsewhere that this log
 * is not to be believed, or a crash will leave blocks uncopied.
 */
void intent_log_give_up(struct intent_log *il);

/* The epoch and all before it are settled. */
void intent_log_settle(struct intent_log *il, uint64_t epoch);
/* The stream is left: what was not settled is marked in the dirty map by now. */
void intent_log_leave(struct intent_log *il);
/*
 * Looks at the next n regions, in a circle, for bits without a place that nothing needs any more. Call it now
 * and then, after the dirty map has become emptier or an epoch was settled.
 */
void intent_log_sweep(struct intent_log *il, uint32_t n);
/* The copy to this disk is complete (gen_adopt()): nothing here is this side's own any more. */
void intent_log_clear(struct intent_log *il);

void intent_log_get_stats(const struct intent_log *il, struct intent_log_stats *out);

#endif
