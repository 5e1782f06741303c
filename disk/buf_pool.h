/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers for disk I/O, allocated once: a few sizes, so that many small requests or some large ones fit. All aligned to
 * BLK_ALIGN. One thread.
 */
#ifndef DISK_BUF_POOL_H
#define DISK_BUF_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

#define BUF_POOL_SIZES 3

struct buf_pool_size {
	uint32_t bytes; /* multiple of BLK_ALIGN, rising */
	uint32_t n;
};

struct buf_pool {
	void *arena;
	void **stack;
	struct {
		uint32_t bytes;
		uint32_t n;
		char *start;
		void **free; /* part of the stack */
		uint32_t n_free;
	} size[BUF_POOL_SIZES];
};

/* 0 or -ENOMEM. */
MUST_CHECK int buf_pool_init(struct buf_pool *p, const struct buf_pool_size sizes[BUF_POOL_SIZES]);
/* All zeroes is fine. */
void buf_pool_fini(struct buf_pool *p);

/* The smallest free one of at least so many bytes; NULL: none. */
void *buf_pool_get(struct buf_pool *p, uint32_t bytes);
/* NULL is a no-op. */
void buf_pool_put(struct buf_pool *p, void *buf);

#endif
