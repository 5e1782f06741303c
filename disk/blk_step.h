/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request as the system calls that carry it out, one after the other: what is next, and what a result means. The
 * engines only make the calls. Pure.
 */
#ifndef DISK_BLK_STEP_H
#define DISK_BLK_STEP_H

#include <stddef.h>
#include <sys/types.h>

#include "disk/blk_io.h"

enum blk_call {
	BLK_CALL_READ,
	BLK_CALL_WRITE,
	BLK_CALL_FALLOCATE,
	BLK_CALL_SYNC, /* fdatasync */
};

struct blk_step {
	enum blk_call call;
	uint64_t off;
	uint32_t len;
	void *buf;
	int flags; /* RWF_* of a WRITE, the mode of a FALLOCATE */
};

/* Zeroes to write where the disk cannot zero by itself; aligned to BLK_ALIGN. */
#define BLK_ZEROES_SIZE (UINT32_C(256) << 10)

/* zeroes: BLK_ZEROES_SIZE of them. */
struct blk_step blk_step_next(const struct blk_req *r, void *zeroes);
/* What the call returned: a count, 0, or a negative errno. True: the request is done, with r->rc. */
MUST_CHECK bool blk_step_result(struct blk_req *r, ssize_t result);

#endif
