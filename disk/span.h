/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which entries of a table are in use that serves as a ring: those from tail up to head, number i of them
 * at i % size. Pure.
 */
#ifndef DISK_SPAN_H
#define DISK_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct span {
	uint64_t head; /* the next to be used; all ever */
	uint64_t tail; /* the oldest in use */
	uint32_t size;
};

static inline uint64_t span_used(const struct span *s)
{
	return s->head - s->tail;
}

static inline bool span_fits(const struct span *s, uint64_t n)
{
	return n <= s->size - span_used(s);
}

static inline void span_reset(struct span *s)
{
	s->head = s->tail = 0;
}

#endif
