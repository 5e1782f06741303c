/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out the copier's jobs (copier.h) at the primary: holds the range against writes of the guest, reads it, and
 * hands it on under that hold. What is to be compared it digests; the answer to that is waited for by the copier. The
 * loop's thread.
 */
#ifndef DISK_COPY_READER_H
#define DISK_COPY_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/copier.h"
#include "lib/compiler.h"
#include "lib/digest.h"

struct copy_reader;
struct disk;
struct err;

/* Of HASH and VERIFY: to be said to the peer. */
struct copy_word {
	enum copier_kind kind;
	uint64_t off;
	uint32_t len;
	uint8_t digest[DIGEST_LONG_SIZE];
};

/* d is borrowed. 0 or -ENOMEM. */
MUST_CHECK int copy_reader_new(struct copy_reader **out, struct disk *d);
/* After disk_free() has waited for what is being read. NULL is a no-op. */
void copy_reader_free(struct copy_reader *c);

/* A stream begins: nothing of an older one is said any more. */
void copy_reader_begin(struct copy_reader *c);
/* So many records were taken from the log. */
void copy_reader_taken(struct copy_reader *c, uint64_t n);
/* Takes what jobs there are. When the rate allows the next: copier_deadline(). */
void copy_reader_go_on(struct copy_reader *c, uint64_t now);
/* What is to be said now, after the records that were queued before it. False: nothing. */
bool copy_reader_next(struct copy_reader *c, struct copy_word *out);
/* It was said. */
void copy_reader_said(struct copy_reader *c);
/* Before the server goes: waits for what is on the disk, and begins nothing more. */
void copy_reader_close(struct copy_reader *c);

#endif
