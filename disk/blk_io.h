/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing what lies behind a disk: a raw file, an LV, a partition. One interface, two engines:
 * blk_uring.c, and blk_plain.c where io_uring is not to be had or a test wants faults. A request is the caller's and is
 * given back by its done function, never from within blk_submit(). One thread per device.
 *
 * The file is opened O_DIRECT, and locked on the very description that the I/O goes through: by O_EXCL when it is a
 * block device, by an open file description lock when it is a file. The kernel drops both only when the last request
 * in flight is done, so that what a process which was killed had under way cannot arrive after what its successor
 * writes.
 */
#ifndef DISK_BLK_IO_H
#define DISK_BLK_IO_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;
struct blk_dev;
struct blk_req;

/* Of the buffers of a request. */
#define BLK_ALIGN 4096
/* Requests that a device takes at a time. */
#define BLK_DEPTH_MAX 1024

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	BLK_ZERO,    /* reads as zeroes then */
	BLK_DISCARD, /* reads as anything; nothing happens where the disk cannot */
	BLK_FLUSH,   /* what was completed before is durable; off and len are ignored */
};

/* rc: 0, or the negative errno of the disk. The request is the caller's again. */
typedef void blk_done_fn(struct blk_req *r, int rc);

struct blk_req {
	enum blk_op op;
	bool fua;     /* of what writes: durable when done */
	uint64_t off; /* bytes; off and len are multiples of the device's block, within its size */
	uint32_t len;
	void *buf; /* READ, WRITE: len bytes, aligned to BLK_ALIGN */
	blk_done_fn *done;

	/* The engine's, until done. */
	uint32_t moved;
	bool by_hand; /* ZERO: the disk cannot, zeroes are written */
	bool syncing;
	int rc;
	struct blk_req *next;
};

struct blk_ops {
	int (*submit)(struct blk_dev *d, struct blk_req *r);
	void (*kick)(struct blk_dev *d);
	void (*reap)(struct blk_dev *d);
	void (*close)(struct blk_dev *d);
};

/* What both engines share; each has it as its first member. */
struct blk_dev {
	const struct blk_ops *ops;
	const char *engine;
	uint64_t size;	/* bytes, multiple of block */
	uint32_t block; /* logical block size: 512 to 65536 */
	int event_fd;	/* readable when blk_reap() has something to do */
	unsigned int depth;
	unsigned int in_flight;
};

enum blk_engine {
	BLK_AUTO, /* io_uring, or plain with a word in the log */
	BLK_URING,
	BLK_PLAIN,
};

struct blk_conf {
	const char *path;
	enum blk_engine engine;
	unsigned int depth; /* requests at a time, 1 to BLK_DEPTH_MAX */
	bool may_cache;	    /* where O_DIRECT is not to be had, do without (tests) */
};

/* -EBUSY: somebody else has it. The caller owns *out. */
MUST_CHECK int blk_open(const struct blk_conf *c, struct blk_dev **out, struct err *e);
/*
 * The same, but waits some seconds for who has it: one that was killed keeps its locks until the last of its requests is
 * done. Blocks.
 */
MUST_CHECK int blk_open_wait(const struct blk_conf *c, struct blk_dev **out, struct err *e);

/* Nothing may be in flight. NULL is a no-op. */
static inline void blk_close(struct blk_dev *d)
{
	if (d)
		d->ops->close(d);
}

/* 0: r->done() will be called, by blk_reap(). -EAGAIN: depth are in flight. */
MUST_CHECK static inline int blk_submit(struct blk_dev *d, struct blk_req *r)
{
	if (d->in_flight == d->depth)
		return -EAGAIN;
	r->moved = 0;
	r->by_hand = false;
	r->syncing = r->op == BLK_FLUSH;
	return d->ops->submit(d, r);
}

/* After one or many blk_submit(): off they go. */
static inline void blk_kick(struct blk_dev *d)
{
	d->ops->kick(d);
}

/* Calls done of all that is completed. */
static inline void blk_reap(struct blk_dev *d)
{
	d->ops->reap(d);
}

#endif
