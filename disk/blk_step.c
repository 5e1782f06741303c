/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See blk_step.h. */
#include "disk/blk_step.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

static struct blk_step moving(const struct blk_req *r, enum blk_call call, int flags)
{
	return (struct blk_step){
		.call = call,
		.off = r->off + r->moved,
		.len = r->len - r->moved,
		/* What moves no data has no buffer. */
		.buf = r->buf ? (char *)r->buf + r->moved : NULL,
		.flags = flags,
	};
}

static struct blk_step fallocating(const struct blk_req *r, int mode)
{
	return (struct blk_step){
		.call = BLK_CALL_FALLOCATE,
		.off = r->off,
		.len = r->len,
		.flags = mode | FALLOC_FL_KEEP_SIZE,
	};
}

static struct blk_step zeroing_by_hand(const struct blk_req *r, void *zeroes)
{
	return (struct blk_step){
		.call = BLK_CALL_WRITE,
		.off = r->off + r->moved,
		.len = MIN(r->len - r->moved, BLK_ZEROES_SIZE),
		.buf = zeroes,
	};
}

struct blk_step blk_step_next(const struct blk_req *r, void *zeroes)
{
	if (r->syncing)
		return (struct blk_step){.call = BLK_CALL_SYNC};
	switch (r->op) {
	case BLK_READ:
		return moving(r, BLK_CALL_READ, 0);
	case BLK_WRITE:
		return moving(r, BLK_CALL_WRITE, r->fua ? RWF_DSYNC : 0);
	case BLK_ZERO:
		return r->by_hand ? zeroing_by_hand(r, zeroes)
				  : fallocating(r, FALLOC_FL_ZERO_RANGE);
	case BLK_DISCARD:
		return fallocating(r, FALLOC_FL_PUNCH_HOLE);
	case BLK_FLUSH:
		break;
	}
	return (struct blk_step){.call = BLK_CALL_SYNC};
}

static bool done(struct blk_req *r, int rc)
{
	r->rc = rc;
	return true;
}

/* The data is where it belongs. RWF_DSYNC has made a WRITE durable already. */
static bool moved(struct blk_req *r)
{
	r->syncing = r->fua && (r->op == BLK_ZERO || r->op == BLK_DISCARD);
	return !r->syncing && done(r, 0);
}

static bool counted(struct blk_req *r, ssize_t n)
{
	/* The end of the file: somebody cut it. */
	if (n == 0 || n > (ssize_t)(r->len - r->moved))
		return done(r, -EIO);
	r->moved += (uint32_t)n;
	return r->moved == r->len && moved(r);
}

bool blk_step_result(struct blk_req *r, ssize_t result)
{
	bool cannot = result == -EOPNOTSUPP || result == -ENOSYS || result == -ENOTTY;

	if (result == -EINTR)
		return false;
	if (cannot && r->op == BLK_ZERO && !r->by_hand && !r->syncing) {
		r->by_hand = true;
		return false;
	}
	if (cannot && r->op == BLK_DISCARD && !r->syncing)
		return moved(r);
	if (result < 0)
		return done(r, (int)result);
	if (r->syncing)
		return done(r, 0);
	if ((r->op == BLK_ZERO && !r->by_hand) || r->op == BLK_DISCARD)
		return moved(r);
	return counted(r, result);
}
