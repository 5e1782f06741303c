/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bounded set of numbers, each with a value, in the order in which they were last touched. Pure; memory is
 * taken once; every operation takes constant time. One thread.
 */
#ifndef DISK_LRU_H
#define DISK_LRU_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct lru_entry {
	uint64_t key;
	uint64_t value;
	uint32_t newer; /* in the order of touching, or LRU_NIL */
	uint32_t older;
	uint32_t next; /* with the same hash, or the next free one */
};

#define LRU_NIL UINT32_MAX

struct lru {
	struct lru_entry *entries;
	uint32_t *heads; /* by hash; as many as entries, rounded up to a power of 2 */
	uint32_t size;
	uint32_t mask;
	uint32_t count;
	uint32_t newest;
	uint32_t oldest;
	uint32_t free;
};

#define LRU_INIT ((struct lru){.entries = NULL})

/* Up to size numbers, 1 to 2^30. 0 or -ENOMEM. */
MUST_CHECK int lru_init(struct lru *l, uint32_t size);
void lru_fini(struct lru *l);

bool lru_has(const struct lru *l, uint64_t key);
/* Makes it the newest, with this value; false when it is not there. */
MUST_CHECK bool lru_touch(struct lru *l, uint64_t key, uint64_t value);
/* One that is not there; not when full. */
void lru_add(struct lru *l, uint64_t key, uint64_t value);
/* Not of an empty one. */
void lru_oldest(const struct lru *l, uint64_t *key, uint64_t *value);
/* A no-op when it is not there. */
void lru_drop(struct lru *l, uint64_t key);
void lru_reset(struct lru *l);

static inline bool lru_full(const struct lru *l)
{
	return l->count == l->size;
}

static inline uint32_t lru_count(const struct lru *l)
{
	return l->count;
}

#endif
