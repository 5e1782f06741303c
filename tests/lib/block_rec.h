/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block_store in memory that completes in any order, fails on demand and, with a log, writes down each request and
 * each completion, so that block_crash.h can tell what a loss of power would have left. A request that the contract
 * forbids (overlapping another in flight, out of range, not aligned, changed in flight) ends the test by assert.
 */
#ifndef TESTS_LIB_BLOCK_REC_H
#define TESTS_LIB_BLOCK_REC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/block_store.h"

enum rec_kind {
	REC_SUBMIT,
	REC_DONE,   /* of the SUBMIT at index ref */
	REC_CANCEL, /* it never took place */
	REC_NOTE,   /* the test's own: what, value */
};

struct rec_entry {
	enum rec_kind kind;
	enum block_op op;
	int store; /* id */
	size_t ref;
	uint64_t off;
	uint64_t len;
	size_t data; /* of a WRITE, ZERO or DISCARD: what is there afterwards; offset into the log's bytes */
	int what;
	uint64_t value;
};

struct rec_log {
	struct rec_entry *e;
	size_t n, cap;
	uint8_t *bytes;
	size_t n_bytes, cap_bytes;
};

void rec_log_free(struct rec_log *l);
void rec_log_clear(struct rec_log *l);
void rec_log_note(struct rec_log *l, int what, uint64_t value);

#define REC_PENDING 256

struct block_rec {
	struct block_store base;
	uint8_t *view;	     /* what a read sees; size bytes */
	struct rec_log *log; /* NULL: none */
	int id;
	uint64_t *seed; /* order of completion; NULL: the oldest first */
	struct {
		struct block_req *r;
		size_t entry;
		uint64_t sum;
	} pending[REC_PENDING];
	size_t n;
	/* The next `after` requests of this kind work, then `n` fail with rc. */
	struct {
		long after;
		long n;
		int rc;
	} fail[BLOCK_SYNC + 1];
	long dies_after; /* requests that still work; then all fail with -ESHUTDOWN and change nothing; -1: never */
	unsigned long count[BLOCK_SYNC + 1];
};

/* view is borrowed. */
void block_rec_init(struct block_rec *s, uint8_t *view, uint64_t size, uint32_t block_size);
void block_rec_fail(struct block_rec *s, enum block_op op, long after, long n, int rc);
/* The process is killed: what is in flight took place or not, by *seed, and every done() is called with -EIO. */
void block_rec_kill(struct block_rec *s, uint64_t *seed);

/* The tests' random numbers: splitmix64. */
uint64_t rec_random(uint64_t *seed);
static inline uint64_t rec_below(uint64_t *seed, uint64_t n)
{
	return rec_random(seed) % n;
}

#endif
