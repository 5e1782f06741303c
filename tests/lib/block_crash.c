/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See block_crash.h. */
#include "tests/lib/block_crash.h"

#include <stdlib.h>
#include <string.h>

#define SECTOR 512

void block_crash_init(struct block_crash *c, const struct rec_log *log)
{
	c->log = log;
	c->at = 0;
	c->n_live = 0;
	for (int i = 0; i < CRASH_STORES; i++)
		c->safe[i] = NULL;
}

void block_crash_store(struct block_crash *c, int id, const uint8_t *image, uint64_t size)
{
	c->safe[id] = malloc(size);
	assert(c->safe[id]);
	memcpy(c->safe[id], image, size);
	c->size[id] = size;
}

void block_crash_fini(struct block_crash *c)
{
	for (int i = 0; i < CRASH_STORES; i++)
		free(c->safe[i]);
}

static void put(const struct block_crash *c, const struct rec_entry *e, uint8_t *image)
{
	memcpy(image + e->off, c->log->bytes + e->data, e->len);
}

static void sync_begins(struct block_crash *c, int store)
{
	for (size_t i = 0; i < c->n_live; i++) {
		if (c->log->e[c->live[i].entry].store == store)
			c->live[i].covered = c->live[i].done;
	}
}

static void sync_ends(struct block_crash *c, int store)
{
	size_t left = 0;

	for (size_t i = 0; i < c->n_live; i++) {
		const struct rec_entry *e = &c->log->e[c->live[i].entry];

		if (e->store == store && c->live[i].covered)
			put(c, e, c->safe[store]);
		else
			c->live[left++] = c->live[i];
	}
	c->n_live = left;
}

static size_t find(const struct block_crash *c, size_t entry)
{
	size_t i = 0;

	while (c->live[i].entry != entry) {
		i++;
		assert(i < c->n_live);
	}
	return i;
}

const struct rec_entry *block_crash_step(struct block_crash *c)
{
	const struct rec_entry *e;
	size_t i;

	if (c->at == c->log->n)
		return NULL;
	e = &c->log->e[c->at++];
	if (e->kind == REC_NOTE)
		return e;
	if (e->op == BLOCK_SYNC) {
		if (e->kind == REC_SUBMIT)
			sync_begins(c, e->store);
		else if (e->kind == REC_DONE)
			sync_ends(c, e->store);
		return e;
	}
	if (e->kind == REC_SUBMIT) {
		assert(c->n_live < CRASH_LIVE);
		c->live[c->n_live].entry = c->at - 1;
		c->live[c->n_live].done = false;
		c->live[c->n_live++].covered = false;
		return e;
	}
	i = find(c, e->ref);
	c->live[i].done = true;
	if (e->kind == REC_CANCEL) {
		c->n_live--;
		memmove(&c->live[i], &c->live[i + 1], (c->n_live - i) * sizeof(c->live[0]));
	}
	return e;
}

/* Some of its sectors: the first ones, the last ones, or any. */
static void tear(const struct block_crash *c, const struct rec_entry *e, uint8_t *image,
		 uint64_t *seed)
{
	uint64_t n = e->len / SECTOR;
	uint64_t cut = rec_below(seed, n);
	uint64_t how = rec_below(seed, 3);

	for (uint64_t i = 0; i < n; i++) {
		if (how == 0 ? i >= cut : how == 1 ? i < cut : rec_below(seed, 2))
			continue;
		memcpy(image + e->off + i * SECTOR, c->log->bytes + e->data + i * SECTOR, SECTOR);
	}
}

unsigned int block_crash_image(const struct block_crash *c, uint8_t *const image[CRASH_STORES],
			       uint64_t *seed)
{
	/* How much got through: nearly nothing, half, nearly all. */
	uint64_t through = 1 + rec_below(seed, 3) * 7;
	unsigned int torn = 0;

	for (int i = 0; i < CRASH_STORES; i++)
		memcpy(image[i], c->safe[i], c->size[i]);
	for (size_t i = 0; i < c->n_live; i++) {
		const struct rec_entry *e = &c->log->e[c->live[i].entry];

		if (rec_below(seed, 16) >= through)
			continue;
		if (rec_below(seed, 8)) {
			put(c, e, image[e->store]);
		} else {
			tear(c, e, image[e->store], seed);
			torn++;
		}
	}
	return torn;
}
