/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See data_ring.h. */
#include "disk/data_ring.h"

#include <errno.h>

#include "lib/mem.h"

int data_ring_init(struct data_ring *r, uint64_t size)
{
	*r = (struct data_ring){.size = size};
	/* Touched at once: running out of memory shows here, not in the middle of an epoch. */
	r->mem = mem_aligned(4096, size);
	return r->mem ? 0 : -ENOMEM;
}

void data_ring_fini(struct data_ring *r)
{
	mem_free(r->mem);
	*r = DATA_RING_INIT;
}

uint8_t *data_ring_take(struct data_ring *r, uint64_t len, uint64_t *end)
{
	uint64_t at = r->head % r->size;
	uint64_t gap = len > r->size - at ? r->size - at : 0;

	assert(len <= r->size && r->head - r->tail + gap + len <= r->size);
	r->head += gap + len;
	*end = r->head;
	return r->mem + (gap ? 0 : at);
}
