/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See intent_log.h. Three bitmaps of regions: want is what the next write of a block will say, disk what the
 * file is known to say, flight what the block under way says. A region is set durably when all of
 * them that apply say so.
 */
#include "disk/intent_log.h"

#include <errno.h>
#include <string.h>

#include "disk/dirty_map.h"
#include "disk/lru.h"
#include "lib/err.h"
#include "lib/mem.h"

/* What the file lacks of a block. */
enum block_need {
	BLOCK_CLEAN,
	BLOCK_LAZY, /* bits are to be cleared */
	BLOCK_NOW,  /* bits are to be set: a write waits */
};

#define NO_BLOCK UINT32_MAX

struct intent_log {
	struct intent_log_conf conf;
	uint64_t regions;
	uint32_t blocks;
	uint64_t *want;
	uint64_t *disk;
	uint64_t *flight; /* of one block */
	uint8_t *bytes;	  /* the same as the file has it */
	uint8_t *need;	  /* enum block_need of each */
	uint32_t under_way;
	bool given_up;

	struct lru hot;
	uint64_t settled; /* INTENT_EPOCH_NONE: nothing yet */
	uint64_t
		placeless_to; /* newest epoch of a region without a place; INTENT_EPOCH_NONE: none */
	uint64_t sweep_at;
	struct intent_log_stats stats;
};

/* ---- bits --------------------------------------------------------------- */

static bool test(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static void assign(uint64_t *bits, uint64_t i, bool on)
{
	uint64_t bit = UINT64_C(1) << (i % 64);

	bits[i / 64] = on ? bits[i / 64] | bit : bits[i / 64] & ~bit;
}

static uint32_t block_of(const struct intent_log *il, uint64_t region)
{
	return (uint32_t)(region / il->conf.bits_per_block);
}

static uint32_t words_per_block(const struct intent_log *il)
{
	return il->conf.bits_per_block / 64;
}

/* The words of block k. */
static uint64_t *words_of(const struct intent_log *il, uint64_t *bits, uint32_t k)
{
	return &bits[(size_t)k * words_per_block(il)];
}

static bool durable(const struct intent_log *il, uint64_t region)
{
	uint32_t k = block_of(il, region);

	if (!test(il->want, region) || !test(il->disk, region))
		return false;
	/* What is being written may be there already, or torn. */
	return il->under_way != k || test(il->flight, region % il->conf.bits_per_block);
}

static void need_block(struct intent_log *il, uint32_t k, enum block_need need)
{
	if (il->need[k] < need)
		il->need[k] = (uint8_t)need;
}

static void clear_region(struct intent_log *il, uint64_t region)
{
	if (!test(il->want, region))
		return;
	assign(il->want, region, false);
	il->stats.set--;
	need_block(il, block_of(il, region), BLOCK_LAZY);
}

/* ---- epochs ------------------------------------------------------------- */

static bool is_settled(const struct intent_log *il, uint64_t epoch)
{
	return epoch == INTENT_EPOCH_NONE ||
	       (il->settled != INTENT_EPOCH_NONE && epoch <= il->settled);
}

static bool is_marked(const struct intent_log *il, uint64_t region)
{
	return dirty_map_any(il->conf.map, region * INTENT_REGION_SIZE, INTENT_REGION_SIZE);
}

/* A place, by taking that of the region that was not written for longest. */
static bool make_place(struct intent_log *il)
{
	uint64_t region;
	uint64_t epoch;

	if (!lru_full(&il->hot))
		return true;
	lru_oldest(&il->hot, &region, &epoch);
	/* It was written before all others, so none of them is settled either. */
	if (!is_settled(il, epoch))
		return false;
	lru_drop(&il->hot, region);
	il->stats.evicted++;
	if (!is_marked(il, region))
		clear_region(il, region);
	return true;
}

/* The regions that the range touches: *first to *last; false when there are none. */
static bool range_of(const struct intent_log *il, uint64_t off, uint64_t len, uint64_t *first,
		     uint64_t *last)
{
	uint64_t disk = dirty_map_disk_bytes(il->conf.map);

	if (len == 0 || off >= disk)
		return false;
	*first = off / INTENT_REGION_SIZE;
	*last = (len > disk - off ? disk - 1 : off + len - 1) / INTENT_REGION_SIZE;
	return true;
}

int intent_log_admit(struct intent_log *il, uint64_t off, uint64_t len)
{
	uint64_t first;
	uint64_t last;
	bool wait = false;

	if (il->given_up || !range_of(il, off, len, &first, &last))
		return 0;
	for (uint64_t r = first; r <= last; r++) {
		uint32_t k = block_of(il, r);

		if (!test(il->want, r)) {
			assign(il->want, r, true);
			il->stats.set++;
		}
		/* Set again before it was cleared in the file: nothing to write. */
		if (durable(il, r))
			continue;
		wait = true;
		if (il->under_way != k || !test(il->flight, r % il->conf.bits_per_block))
			need_block(il, k, BLOCK_NOW);
	}
	if (!wait)
		return 0;
	il->stats.cold_writes++;
	return -EAGAIN;
}

void intent_log_touch(struct intent_log *il, uint64_t off, uint64_t len, uint64_t epoch)
{
	uint64_t first;
	uint64_t last;

	if (!range_of(il, off, len, &first, &last))
		return;
	/* Those that have a place first: not settled now, none of them makes way for another of the range. */
	for (uint64_t r = first; r <= last; r++)
		(void)!lru_touch(&il->hot, r, epoch);
	for (uint64_t r = first; r <= last; r++) {
		if (lru_has(&il->hot, r) || !test(il->want, r))
			continue;
		if (make_place(il)) {
			lru_add(&il->hot, r, epoch);
			continue;
		}
		il->placeless_to = epoch;
		il->stats.placeless++;
	}
}

void intent_log_settle(struct intent_log *il, uint64_t epoch)
{
	il->settled = epoch;
	if (is_settled(il, il->placeless_to))
		il->placeless_to = INTENT_EPOCH_NONE;
}

void intent_log_leave(struct intent_log *il)
{
	/* Numbers begin again with the next stream; what they stood for is marked. */
	lru_reset(&il->hot);
	il->settled = il->placeless_to = INTENT_EPOCH_NONE;
}

void intent_log_sweep(struct intent_log *il, uint32_t n)
{
	if (il->placeless_to != INTENT_EPOCH_NONE)
		return;
	for (uint64_t i = 0; i < MIN((uint64_t)n, il->regions); i++) {
		uint64_t r = il->sweep_at;

		il->sweep_at = (r + 1) % il->regions;
		if (test(il->want, r) && !lru_has(&il->hot, r) && !is_marked(il, r))
			clear_region(il, r);
	}
}

void intent_log_clear(struct intent_log *il)
{
	for (uint64_t r = 0; r < il->regions; r++)
		clear_region(il, r);
	intent_log_leave(il);
}

/* ---- the file ----------------------------------------------------------- */

static void encode(const struct intent_log *il)
{
	for (uint32_t j = 0; j < il->conf.bits_per_block / 8; j++)
		il->bytes[j] = (uint8_t)(il->flight[j / 8] >> (j % 8 * 8));
}

bool intent_log_next_write(struct intent_log *il, bool idle, uint32_t *k, const uint8_t **bits)
{
	uint32_t found = NO_BLOCK;

	if (il->under_way != NO_BLOCK || il->given_up)
		return false;
	for (uint32_t i = 0; i < il->blocks; i++) {
		if (il->need[i] == BLOCK_NOW || (idle && il->need[i] == BLOCK_LAZY)) {
			found = i;
			break;
		}
	}
	if (found == NO_BLOCK)
		return false;
	memcpy(il->flight, words_of(il, il->want, found), il->conf.bits_per_block / 8);
	encode(il);
	il->need[found] = BLOCK_CLEAN;
	il->under_way = found;
	il->stats.block_writes++;
	*k = found;
	*bits = il->bytes;
	return true;
}

void intent_log_written(struct intent_log *il, int rc)
{
	uint32_t k = il->under_way;
	uint64_t *disk;

	assert(k != NO_BLOCK);
	disk = words_of(il, il->disk, k);
	il->under_way = NO_BLOCK;
	for (uint32_t i = 0; i < words_per_block(il); i++)
		disk[i] = rc < 0 ? disk[i] & il->flight[i] : il->flight[i];
	if (rc < 0)
		need_block(il, k, BLOCK_NOW);
}

void intent_log_give_up(struct intent_log *il)
{
	il->given_up = true;
}

void intent_log_load(struct intent_log *il, uint32_t k, const uint8_t *bits)
{
	assert(k < il->blocks);
	for (uint32_t i = 0; i < il->conf.bits_per_block; i++) {
		uint64_t r = (uint64_t)k * il->conf.bits_per_block + i;
		bool on = !bits || (bits[i / 8] >> (i % 8) & 1);

		if (r >= il->regions || !on || test(il->want, r))
			continue;
		assign(il->want, r, true);
		/* One that could not be read says nothing until it is written. */
		assign(il->disk, r, bits != NULL);
		il->stats.set++;
	}
	if (!bits)
		need_block(il, k, BLOCK_NOW);
}

void intent_log_mark(const struct intent_log *il, struct dirty_map *map)
{
	for (uint64_t r = 0; r < il->regions; r++)
		if (test(il->want, r))
			dirty_map_set(map, r * INTENT_REGION_SIZE, INTENT_REGION_SIZE);
}

bool intent_log_any(const struct intent_log *il)
{
	return il->stats.set > 0;
}

/* ---- life --------------------------------------------------------------- */

uint32_t intent_log_blocks(const struct intent_log *il)
{
	return il->blocks;
}

void intent_log_get_stats(const struct intent_log *il, struct intent_log_stats *out)
{
	*out = il->stats;
	out->hot = lru_count(&il->hot);
}

static int make_tables(struct intent_log *il)
{
	size_t words = (size_t)il->blocks * words_per_block(il);

	il->want = mem_array(words, sizeof(uint64_t));
	il->disk = mem_array(words, sizeof(uint64_t));
	il->flight = mem_array(words_per_block(il), sizeof(uint64_t));
	il->bytes = mem_zalloc(il->conf.bits_per_block / 8);
	il->need = mem_zalloc(il->blocks);
	if (!il->want || !il->disk || !il->flight || !il->bytes || !il->need)
		return -ENOMEM;
	return lru_init(&il->hot, il->conf.hot_max);
}

int intent_log_new(struct intent_log **out, const struct intent_log_conf *conf, struct err *e)
{
	uint64_t disk = dirty_map_disk_bytes(conf->map);
	struct intent_log *il;
	int rc;

	if (conf->hot_max == 0 || conf->hot_max > INTENT_HOT_MAX || conf->bits_per_block == 0 ||
	    conf->bits_per_block % 64 != 0)
		return err_setx(e, -EINVAL, "an intent log of %u hot regions, %u bits a block",
				conf->hot_max, conf->bits_per_block);
	il = mem_zalloc(sizeof(*il));
	if (!il)
		return err_set(e, -ENOMEM, "intent log of a disk");
	il->conf = *conf;
	il->regions = (disk + INTENT_REGION_SIZE - 1) / INTENT_REGION_SIZE;
	il->blocks = (uint32_t)((il->regions + conf->bits_per_block - 1) / conf->bits_per_block);
	il->under_way = NO_BLOCK;
	il->settled = il->placeless_to = INTENT_EPOCH_NONE;
	rc = make_tables(il);
	if (rc < 0) {
		intent_log_free(il);
		return err_set(e, rc, "intent log of a disk of %llu MiB",
			       (unsigned long long)(disk >> 20));
	}
	*out = il;
	return 0;
}

void intent_log_free(struct intent_log *il)
{
	if (!il)
		return;
	lru_fini(&il->hot);
	mem_free(il->want);
	mem_free(il->disk);
	mem_free(il->flight);
	mem_free(il->bytes);
	mem_free(il->need);
	mem_free(il);
}
