/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See buf_pool.h. */
#include "disk/buf_pool.h"

#include <errno.h>

#include "disk/blk_io.h"
#include "lib/mem.h"

int buf_pool_init(struct buf_pool *p, const struct buf_pool_size sizes[BUF_POOL_SIZES])
{
	size_t bytes = 0;
	size_t n = 0;
	char *at;

	*p = (struct buf_pool){0};
	for (unsigned int i = 0; i < BUF_POOL_SIZES; i++) {
		assert(sizes[i].bytes % BLK_ALIGN == 0);
		bytes += (size_t)sizes[i].bytes * sizes[i].n;
		n += sizes[i].n;
	}
	p->arena = mem_aligned(BLK_ALIGN, bytes);
	p->stack = mem_array(n, sizeof(*p->stack));
	if (!p->arena || !p->stack) {
		buf_pool_fini(p);
		return -ENOMEM;
	}
	at = p->arena;
	n = 0;
	for (unsigned int i = 0; i < BUF_POOL_SIZES; i++) {
		p->size[i].bytes = sizes[i].bytes;
		p->size[i].n = sizes[i].n;
		p->size[i].start = at;
		p->size[i].free = p->stack + n;
		p->size[i].n_free = sizes[i].n;
		n += sizes[i].n;
		for (uint32_t j = 0; j < sizes[i].n; j++, at += sizes[i].bytes)
			p->size[i].free[j] = at;
	}
	return 0;
}

void buf_pool_fini(struct buf_pool *p)
{
	mem_free(p->arena);
	mem_free(p->stack);
	*p = (struct buf_pool){0};
}

void *buf_pool_get(struct buf_pool *p, uint32_t bytes)
{
	for (unsigned int i = 0; i < BUF_POOL_SIZES; i++) {
		if (p->size[i].bytes >= bytes && p->size[i].n_free)
			return p->size[i].free[--p->size[i].n_free];
	}
	return NULL;
}

void buf_pool_put(struct buf_pool *p, void *buf)
{
	unsigned int i = BUF_POOL_SIZES - 1;

	if (!buf)
		return;
	while ((char *)buf < p->size[i].start)
		i--;
	assert(p->size[i].n_free < p->size[i].n);
	p->size[i].free[p->size[i].n_free++] = buf;
}
