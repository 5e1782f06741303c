/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room for data that is queued and leaves in the order in which it came: each piece lies in one run of
 * memory. Pure; memory is taken once. One thread.
 */
#ifndef DISK_DATA_RING_H
#define DISK_DATA_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

/* Positions count bytes ever taken, gaps at the end of a lap included. */
struct data_ring {
	uint8_t *mem;
	uint64_t size;
	uint64_t head; /* the next piece */
	uint64_t tail; /* the oldest that is still used */
};

#define DATA_RING_INIT ((struct data_ring){.mem = NULL})

/* 0 or -ENOMEM. */
MUST_CHECK int data_ring_init(struct data_ring *r, uint64_t size);
void data_ring_fini(struct data_ring *r);

/* Would `bytes` in pieces of at most `piece` each fit, however they fall? */
static inline bool data_ring_fits(const struct data_ring *r, uint64_t bytes, uint64_t piece)
{
	uint64_t used = r->head - r->tail;

	return bytes == 0 ||
	       (bytes <= r->size && piece <= r->size - bytes && used <= r->size - bytes - piece);
}

/* Room for len bytes, which fits (data_ring_fits() with pieces of at least len). *end: for release. */
uint8_t *data_ring_take(struct data_ring *r, uint64_t len, uint64_t *end);

/* All that was taken up to `end` is free again. */
static inline void data_ring_release(struct data_ring *r, uint64_t end)
{
	r->tail = end;
}

static inline uint64_t data_ring_used(const struct data_ring *r)
{
	return r->head - r->tail;
}

static inline void data_ring_reset(struct data_ring *r)
{
	r->head = r->tail = 0;
}

#endif
