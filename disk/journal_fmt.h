/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a journal file, docs/journal.md: structs to blocks and back. Pure, any thread. What is decoded
 * comes from a disk that may hold anything; a decoder never reads past the block that it was given.
 */
#ifndef DISK_JOURNAL_FMT_H
#define DISK_JOURNAL_FMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define JOURNAL_BLOCK 4096u
#define JOURNAL_UUID_SIZE 16
#define JOURNAL_DESCS 250u		/* of a batch, at most */
#define JOURNAL_PAYLOAD_MAX (1u << 20)	/* of a batch, at most; bytes */
#define JOURNAL_RING_MIN (64ull * 4096) /* bytes */
#define JOURNAL_RING_MAX (1ull << 40)
#define JOURNAL_DISK_MAX (1ull << 56)
#define JOURNAL_UNCOMMITTED 64u /* epochs without their COMMIT, at most */
#define JOURNAL_NO_EPOCH UINT64_MAX

#define INTENT_REGION (4ull << 20) /* bytes of the disk for one bit */
#define INTENT_BYTES 4032u	   /* of bits in a block */
#define INTENT_BITS (INTENT_BYTES * 8)

/* The bytes of a payload as they are stored: whole blocks. */
static inline uint32_t journal_whole(uint32_t bytes)
{
	return (bytes + JOURNAL_BLOCK - 1) & ~(JOURNAL_BLOCK - 1);
}

enum journal_state {
	JOURNAL_EMPTY = 1,  /* never held a copy */
	JOURNAL_SYNCING,    /* a first copy is under way; no state of the guest */
	JOURNAL_CONSISTENT, /* a backup's, follows the primary */
	JOURNAL_ACTIVE,	    /* the guest writes here */
	JOURNAL_OUTDATED,   /* a state of the guest, but an old one */
	JOURNAL_FAILED,	    /* an error; nothing can be said of the disk */
};

const char *journal_state_name(enum journal_state s);

/* Who went on without whom, docs/disk.md; random numbers, 0 none. */
struct journal_gens {
	uint64_t current;
	uint64_t bitmap;
	uint64_t history[2];
};

struct journal_geometry {
	uint8_t uuid[JOURNAL_UUID_SIZE];
	uint64_t disk_size;  /* bytes */
	uint32_t block_size; /* 512 or 4096: writes are multiples of it */
	uint64_t ring_size;  /* bytes, whole blocks */
};

/* Where things lie follows from the geometry: bytes from the file's start. */
uint64_t journal_intent_blocks(const struct journal_geometry *g);
#define JOURNAL_INTENT_OFF (2ull * JOURNAL_BLOCK)
uint64_t journal_ring_off(const struct journal_geometry *g);
/* 0, or -EINVAL with what is wrong with it. */
MUST_CHECK int journal_geometry_check(const struct journal_geometry *g, struct err *e);

struct journal_sb {
	uint64_t seq;
	enum journal_state state;
	struct journal_geometry geo;
	struct journal_gens gens;
	uint64_t incarnation;
	uint64_t tail_off; /* bytes from the ring's start */
	uint64_t tail_lsn;
	uint64_t tail_prev; /* digest of the item before */
	uint64_t session;
	uint64_t applied_epoch;
	uint64_t applying_lsn; /* 0: none */
};

/* In which of the two places a superblock with this sequence lies: 0 or 1. */
static inline unsigned int journal_sb_slot(uint64_t seq)
{
	return seq & 1 ? 0 : 1;
}

void journal_sb_encode(const struct journal_sb *sb, void *block);
/*
 * 0; -EBADMSG: not there; -EPROTO: whole, but of another version. slot: where it was read, 0 or 1.
 * *sb is defined only after 0.
 */
MUST_CHECK int journal_sb_decode(struct journal_sb *sb, const void *block, unsigned int slot,
				 struct err *e);

enum journal_item_type {
	JOURNAL_BATCH = 1,
	JOURNAL_COMMIT,
	JOURNAL_BEGIN,
};

enum journal_op {
	JOURNAL_WRITE = 1,
	JOURNAL_ZERO,
	JOURNAL_DISCARD,
	JOURNAL_FLUSH, /* what the guest asks; never in a descriptor */
};

struct journal_desc {
	uint64_t off; /* bytes on the disk */
	uint32_t len;
	enum journal_op op;
};

struct journal_item {
	enum journal_item_type type;
	uint64_t incarnation;
	uint64_t lsn;
	uint64_t prev; /* digest of the item before */
	uint64_t session;
	uint64_t epoch;
	/* BATCH */
	uint16_t n_descs;
	uint32_t payload_len; /* bytes that the WRITEs have together */
	uint64_t payload_digest;
	struct journal_desc descs[JOURNAL_DESCS];
	/* COMMIT */
	uint32_t batches;
	uint64_t records;
	uint64_t bytes; /* of payload */
	/* decoded: this item's own digest, for the next one's prev */
	uint64_t digest;
};

/* Returns the item's digest. All numbers must be in range (assert). */
uint64_t journal_item_encode(const struct journal_item *it, void *block);
/* 0, or -EBADMSG: not there, or not for a disk of this geometry. Does not look at the payload. */
MUST_CHECK int journal_item_decode(struct journal_item *it, const void *block,
				   const struct journal_geometry *g);
/* The bytes of the item in the ring. */
static inline uint32_t journal_item_size(const struct journal_item *it)
{
	return JOURNAL_BLOCK + journal_whole(it->payload_len);
}
/* May this be a record of a disk of this geometry? Not for FLUSH. */
bool journal_desc_ok(const struct journal_desc *d, const struct journal_geometry *g);

struct intent_block {
	uint64_t index;
	uint64_t seq;
	uint8_t bits[INTENT_BYTES];
};

void intent_block_encode(const struct intent_block *b, const uint8_t uuid[JOURNAL_UUID_SIZE],
			 void *block);
/* 0, or -EBADMSG: not there; then *b is block number index with all of the disk's bits set. */
MUST_CHECK int intent_block_decode(struct intent_block *b, uint64_t index,
				   const struct journal_geometry *g, const void *block);

#endif
