/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the journal stands on: a file or device that takes requests and tells later how each ended. One for the
 * journal's file, one for the disk.
 *
 * Asynchronous, because the journal lives in the block server's one thread, where an epoch that has arrived is
 * answered at once while an earlier one is still being synced: with calls that block, each would need a thread of
 * its own and locks between them. An io_uring behind it is a few lines; file_store.h does the same with system
 * calls; the tests complete in any order they like.
 *
 * Rules: submit() never calls done(); wait() does, from the same thread. Requests have no order among each other.
 * Two requests that touch the same bytes, one of them writing, are never in flight together. A SYNC makes durable what
 * was done() before it was submitted, and nothing else; after one that failed nothing is known to be.
 */
#ifndef DISK_BLOCK_STORE_H
#define DISK_BLOCK_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/compiler.h"

enum block_op {
	BLOCK_READ = 1,
	BLOCK_WRITE,
	BLOCK_ZERO,    /* no buffer; reads as zeroes afterwards */
	BLOCK_DISCARD, /* no buffer; reads as anything afterwards; a store may do nothing */
	BLOCK_SYNC,    /* off and len are 0 */
};

#define BLOCK_IOVS 16 /* of a request, at most */

struct block_req {
	enum block_op op;
	int n_iov;
	uint64_t off; /* multiple of the store's block size, as are len and each piece */
	uint64_t len; /* bytes, the pieces together; the end is within the store */
	struct iovec iov[BLOCK_IOVS];
	/* rc: 0 when all of it was done, else a negative errno. The request may be used again within the call. */
	void (*done)(struct block_req *r, int rc);
	void *arg;		/* the submitter's */
	struct block_req *next; /* the store's, until done() */
	int rc;			/* the store's */
};

struct block_store;

struct block_store_ops {
	/* Takes the request; it and its buffers belong to the store until done(). Never fails: done() tells. */
	void (*submit)(struct block_store *s, struct block_req *r);
	/* Waits until at least one request is done and calls its done(). 0; -ENOENT: none is in flight. */
	int (*wait)(struct block_store *s);
};

struct block_store {
	const struct block_store_ops *ops;
	uint64_t size;	     /* bytes */
	uint32_t block_size; /* 512 or 4096 */
};

static inline void block_submit(struct block_store *s, struct block_req *r)
{
	s->ops->submit(s, r);
}

/*
 * One request from beginning to end, for set-up and recovery, when nothing else is in flight. buf is aligned to 4096
 * and NULL where the operation has none. 0 or a negative errno.
 */
MUST_CHECK int block_do(struct block_store *s, enum block_op op, uint64_t off, void *buf,
			uint64_t len);

#endif
