/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both sides count of the records of one epoch of a disk, and compare at its end (DISK_END in
 * docs/protocol.md): number, bytes and a digest. The primary counts what it queues, the backup what it
 * decoded, so nothing between can change, lose or repeat a record unseen. Pure; an object belongs to one
 * thread.
 *
 * The digest is XXH3-64 over, for each record in order: offset (8 bytes), length (4), op (4: enum write_op, or
 * EPOCH_OP_SYNC), all little-endian, then its data if it has any.
 */
#ifndef DISK_EPOCH_NUMBERS_H
#define DISK_EPOCH_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/write_sink.h"
#include "lib/compiler.h"
#include "lib/digest.h"

/* What the copier found there, not a write of the guest; after the values of enum write_op. */
#define EPOCH_OP_SYNC 5U

struct epoch_numbers {
	uint64_t records; /* flushes too */
	uint64_t bytes;	  /* sum of their len */
	uint64_t digest;
};

/* One epoch in the making. */
struct epoch_count {
	struct digest running;
	uint64_t records;
	uint64_t bytes;
};

void epoch_count_init(struct epoch_count *c);
/* The next record. data: len bytes for WRITE_DATA, not looked at for any other kind; sync: EPOCH_OP_SYNC. */
void epoch_count_add(struct epoch_count *c, const struct write_req *r, bool sync);
/* So far; more may be added. */
struct epoch_numbers epoch_count_get(const struct epoch_count *c);

#endif
