/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both sides count of the records of one epoch, and compare at its end: number, bytes and a digest.
 * The primary counts what it queues, the backup what it decoded, so nothing between can change, lose or
 * repeat a record unseen. Pure; an object belongs to one thread.
 *
 * The digest is XXH3-64 over, for each record in order: offset (8 bytes), length (4), kind of write (4,
 * enum write_op), all little-endian, then its data if it has any.
 */
#ifndef DISK_EPOCH_NUMBERS_H
#define DISK_EPOCH_NUMBERS_H

#include <stdint.h>

#include "disk/write_sink.h"
#include "lib/compiler.h"
#include "lib/digest.h"

struct epoch_numbers {
	uint64_t records;
	uint64_t bytes; /* of data, as far as records carry it */
	uint64_t digest;
};

/* One epoch in the making. */
struct epoch_count {
	struct digest running;
	uint64_t records;
	uint64_t bytes;
};

void epoch_count_init(struct epoch_count *c);
/* The next record. data: len bytes for WRITE_DATA, not looked at for any other kind. */
void epoch_count_add(struct epoch_count *c, const struct write_req *r);
/* So far; more may be added. */
struct epoch_numbers epoch_count_get(const struct epoch_count *c);

#endif
