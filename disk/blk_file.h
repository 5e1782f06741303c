/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening what lies behind a disk, for both engines: see blk_io.h. */
#ifndef DISK_BLK_FILE_H
#define DISK_BLK_FILE_H

#include "disk/blk_io.h"

struct blk_file {
	int fd;
	uint64_t size;
	uint32_t block;
};

/* The caller owns f->fd. -EBUSY: somebody else has it. */
MUST_CHECK int blk_file_open(struct blk_file *f, const char *path, bool may_cache, struct err *e);

/* The engines. f->fd is theirs if they succeed. depth and the rest is checked by blk_open(). */
MUST_CHECK int blk_uring_new_take(const struct blk_file *f, unsigned int depth,
				  struct blk_dev **out, struct err *e);
MUST_CHECK int blk_plain_new_take(const struct blk_file *f, unsigned int depth,
				  struct blk_dev **out, struct err *e);

#endif
