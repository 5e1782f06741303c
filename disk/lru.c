/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See lru.h: a list in an array, and chains by hash through it. */
#include "disk/lru.h"

#include <errno.h>

#include "lib/mem.h"

int lru_init(struct lru *l, uint32_t size)
{
	uint32_t heads = 1;

	assert(size > 0 && size <= UINT32_C(1) << 30);
	while (heads < size)
		heads *= 2;
	*l = (struct lru){.size = size, .mask = heads - 1};
	l->entries = mem_array(size, sizeof(*l->entries));
	l->heads = mem_array(heads, sizeof(*l->heads));
	if (!l->entries || !l->heads) {
		lru_fini(l);
		return -ENOMEM;
	}
	lru_reset(l);
	return 0;
}

void lru_fini(struct lru *l)
{
	mem_free(l->entries);
	mem_free(l->heads);
	*l = LRU_INIT;
}

void lru_reset(struct lru *l)
{
	for (uint32_t i = 0; i <= l->mask; i++)
		l->heads[i] = LRU_NIL;
	for (uint32_t i = 0; i < l->size; i++)
		l->entries[i].next = i + 1 < l->size ? i + 1 : LRU_NIL;
	l->count = 0;
	l->free = 0;
	l->newest = l->oldest = LRU_NIL;
}

static uint32_t *head_of(const struct lru *l, uint64_t key)
{
	return &l->heads[(uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & l->mask];
}

static uint32_t find(const struct lru *l, uint64_t key)
{
	uint32_t i = *head_of(l, key);

	while (i != LRU_NIL && l->entries[i].key != key)
		i = l->entries[i].next;
	return i;
}

static void link_newest(struct lru *l, uint32_t i)
{
	l->entries[i].newer = LRU_NIL;
	l->entries[i].older = l->newest;
	if (l->newest != LRU_NIL)
		l->entries[l->newest].newer = i;
	else
		l->oldest = i;
	l->newest = i;
}

static void unlink_entry(struct lru *l, uint32_t i)
{
	const struct lru_entry *x = &l->entries[i];

	*(x->newer != LRU_NIL ? &l->entries[x->newer].older : &l->newest) = x->older;
	*(x->older != LRU_NIL ? &l->entries[x->older].newer : &l->oldest) = x->newer;
}

bool lru_has(const struct lru *l, uint64_t key)
{
	return find(l, key) != LRU_NIL;
}

bool lru_touch(struct lru *l, uint64_t key, uint64_t value)
{
	uint32_t i = find(l, key);

	if (i == LRU_NIL)
		return false;
	l->entries[i].value = value;
	unlink_entry(l, i);
	link_newest(l, i);
	return true;
}

void lru_add(struct lru *l, uint64_t key, uint64_t value)
{
	uint32_t *head = head_of(l, key);
	uint32_t i = l->free;

	assert(i != LRU_NIL);
	l->free = l->entries[i].next;
	l->entries[i] = (struct lru_entry){.key = key, .value = value, .next = *head};
	*head = i;
	link_newest(l, i);
	l->count++;
}

void lru_oldest(const struct lru *l, uint64_t *key, uint64_t *value)
{
	assert(l->oldest != LRU_NIL);
	*key = l->entries[l->oldest].key;
	*value = l->entries[l->oldest].value;
}

void lru_drop(struct lru *l, uint64_t key)
{
	uint32_t *at = head_of(l, key);
	uint32_t i;

	while (*at != LRU_NIL && l->entries[*at].key != key)
		at = &l->entries[*at].next;
	i = *at;
	if (i == LRU_NIL)
		return;
	*at = l->entries[i].next;
	unlink_entry(l, i);
	l->entries[i].next = l->free;
	l->free = i;
	l->count--;
}
