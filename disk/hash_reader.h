/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads at the backup what the primary asks about, a few chunks at a time beside all else, and compares: DISK_HASH chunk
 * by chunk, DISK_VERIFY when its epoch is applied. Answers come in the order of the questions. The loop's thread.
 */
#ifndef DISK_HASH_READER_H
#define DISK_HASH_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/wire_v1_disk.h"

struct disk;
struct hash_reader;

/* Of DISK_HASH: what is wanted; of DISK_VERIFY: what came of it. */
struct hash_answer {
	bool is_verify;
	struct wire_disk_range range;
	const uint8_t *bits; /* valid until hash_reader_said() */
	struct wire_disk_verified verified;
	uint64_t epoch;
};

/* d is borrowed. 0 or -ENOMEM. */
MUST_CHECK int hash_reader_new(struct hash_reader **out, struct disk *d);
/* Waits for what is on the disk. NULL is a no-op. */
void hash_reader_free(struct hash_reader *h);

/* -ENOMEM; -EPROTO: more are unanswered than may be. */
MUST_CHECK int hash_reader_ask(struct hash_reader *h, const struct wire_disk_range *range,
			       const uint8_t *hashes);
MUST_CHECK int hash_reader_verify(struct hash_reader *h, const struct wire_disk_verify *v,
				  uint64_t epoch);
/* Those that were asked are not answered any more. */
void hash_reader_forget(struct hash_reader *h);
/* applied: the newest epoch that is on the disk, FRAME_NO_EPOCH if none. */
void hash_reader_go_on(struct hash_reader *h, uint64_t applied);
/* The answer to the oldest question; false: not yet, or none. */
bool hash_reader_next(const struct hash_reader *h, struct hash_answer *out);
void hash_reader_said(struct hash_reader *h);

#endif
