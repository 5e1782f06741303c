/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/dirty_map.h"
#include "disk/intent_log.h"
#include "disk/lru.h"
#include "lib/err.h"
#include "lib/mem.h"

#define REGION INTENT_REGION_SIZE
#define BITS 64
#define BLOCK_BYTES (BITS / 8)

struct rig {
	struct dirty_map *map;
	struct intent_log *il;
	uint8_t file[8][BLOCK_BYTES]; /* what is durable */
};

static void rig_start(struct rig *r, uint64_t regions, uint32_t hot)
{
	struct intent_log_conf conf = {.bits_per_block = BITS, .hot_max = hot};
	struct err e = ERR_INIT;

	memset(r, 0, sizeof(*r));
	assert_int_equal(dirty_map_new(&r->map, regions * REGION - 512, &e), 0);
	conf.map = r->map;
	assert_int_equal(intent_log_new(&r->il, &conf, &e), 0);
	assert_int_equal(intent_log_blocks(r->il), (regions + BITS - 1) / BITS);
}

static void rig_stop(struct rig *r)
{
	intent_log_free(r->il);
	dirty_map_free(r->map);
}

static bool in_file(const struct rig *r, uint64_t region)
{
	return r->file[region / BITS][region % BITS / 8] >> (region % 8) & 1;
}

/* Writes all that is to be written; how many blocks. */
static int flush(struct rig *r, bool idle)
{
	const uint8_t *bits;
	uint32_t k;
	int n = 0;

	while (intent_log_next_write(r->il, idle, &k, &bits)) {
		memcpy(r->file[k], bits, BLOCK_BYTES);
		intent_log_written(r->il, 0);
		n++;
	}
	return n;
}

static int admit(struct rig *r, uint64_t region)
{
	return intent_log_admit(r->il, region * REGION + 512, 512);
}

/* One write of the guest, all the way. */
static void guest_write(struct rig *r, uint64_t region, uint64_t epoch)
{
	if (admit(r, region) == -EAGAIN) {
		assert_int_equal(flush(r, false), 1);
		assert_int_equal(admit(r, region), 0);
	}
	assert_true(in_file(r, region));
	intent_log_touch(r->il, region * REGION + 512, 512, epoch);
}

static void a_cold_region_waits_for_its_block(void **state)
{
	const uint8_t *bits;
	struct rig r;
	uint32_t k;

	rig_start(&r, 200, 8);
	assert_false(intent_log_any(r.il));
	assert_false(intent_log_next_write(r.il, true, &k, &bits));
	assert_int_equal(admit(&r, 70), -EAGAIN);
	assert_true(intent_log_next_write(r.il, false, &k, &bits));
	assert_int_equal(k, 1);
	assert_int_equal(bits[0], 1 << 6);
	/* Under way, twice asked: no second write. One that comes later needs one. */
	assert_int_equal(admit(&r, 70), -EAGAIN);
	assert_false(intent_log_next_write(r.il, false, &k, &bits));
	assert_int_equal(admit(&r, 71), -EAGAIN);
	intent_log_written(r.il, 0);
	assert_int_equal(admit(&r, 70), 0);
	assert_int_equal(admit(&r, 71), -EAGAIN);
	assert_true(intent_log_next_write(r.il, false, &k, &bits));
	assert_int_equal(bits[0], 3 << 6);
	/* While the block is being rewritten what it had already is durable. */
	assert_int_equal(admit(&r, 70), 0);
	intent_log_written(r.il, 0);
	assert_int_equal(admit(&r, 71), 0);
	assert_false(intent_log_next_write(r.il, true, &k, &bits));
	assert_true(intent_log_any(r.il));
	rig_stop(&r);
}

static void a_write_may_span_regions_and_blocks(void **state)
{
	struct rig r;

	rig_start(&r, 200, 8);
	assert_int_equal(intent_log_admit(r.il, 63 * REGION, 2 * REGION + 512), -EAGAIN);
	assert_int_equal(flush(&r, false), 2);
	assert_int_equal(intent_log_admit(r.il, 63 * REGION, 2 * REGION + 512), 0);
	for (uint64_t i = 60; i < 70; i++)
		assert_true(in_file(&r, i) == (i >= 63 && i <= 65));
	assert_int_equal(intent_log_admit(r.il, 0, 0), 0);
	assert_int_equal(intent_log_admit(r.il, 200 * REGION, 512), 0);
	assert_int_equal(intent_log_admit(r.il, 199 * REGION, UINT64_MAX), -EAGAIN);
	rig_stop(&r);
}

static void the_hot_set_is_bounded(void **state)
{
	struct intent_log_stats st;
	struct rig r;

	rig_start(&r, 200, 4);
	for (uint64_t i = 0; i < 4; i++)
		guest_write(&r, i, 1);
	/* Nothing is settled: the fifth stays without a place. */
	guest_write(&r, 4, 2);
	intent_log_get_stats(r.il, &st);
	assert_true(st.set == 5 && st.hot == 4 && st.placeless == 1 && st.evicted == 0);
	intent_log_sweep(r.il, 200);
	intent_log_get_stats(r.il, &st);
	assert_true(st.set == 5);
	intent_log_settle(r.il, 1);
	/* The one that was not written for longest makes way. */
	guest_write(&r, 0, 3);
	guest_write(&r, 5, 3);
	intent_log_get_stats(r.il, &st);
	assert_true(st.set == 5 && st.hot == 4 && st.evicted == 1);
	/* It is cleared in the file when there is time. */
	assert_int_equal(flush(&r, false), 0);
	assert_int_equal(flush(&r, true), 1);
	assert_true(in_file(&r, 0) && !in_file(&r, 1) && in_file(&r, 4));
	/* And what had no place, by a sweep, once it is settled. */
	intent_log_settle(r.il, 2);
	intent_log_sweep(r.il, 200);
	assert_int_equal(flush(&r, true), 1);
	assert_false(in_file(&r, 4));
	assert_true(in_file(&r, 5));
	rig_stop(&r);
}

static void what_is_marked_stays(void **state)
{
	struct rig r;

	rig_start(&r, 64, 1);
	guest_write(&r, 3, 0);
	guest_write(&r, 3, 1);
	dirty_map_set(r.map, 3 * REGION + 8192, 512);
	intent_log_settle(r.il, 5);
	guest_write(&r, 9, 6); /* takes the place */
	intent_log_sweep(r.il, 64);
	assert_int_equal(flush(&r, true), 0);
	assert_true(in_file(&r, 3));
	dirty_map_clear_all(r.map);
	intent_log_sweep(r.il, 64);
	assert_int_equal(flush(&r, true), 1);
	assert_false(in_file(&r, 3));
	assert_true(in_file(&r, 9));
	rig_stop(&r);
}

/* Numbers of the next stream say nothing about the last one. */
static void leaving_begins_anew(void **state)
{
	struct rig r;

	rig_start(&r, 64, 4);
	guest_write(&r, 1, 100);
	intent_log_settle(r.il, 99);
	dirty_map_set(r.map, REGION, 512);
	intent_log_leave(r.il);
	intent_log_sweep(r.il, 64);
	assert_int_equal(flush(&r, true), 0);
	guest_write(&r, 2, 0);
	dirty_map_clear_all(r.map);
	intent_log_sweep(r.il, 64);
	assert_int_equal(flush(&r, true), 1);
	assert_true(!in_file(&r, 1) && in_file(&r, 2));
	intent_log_clear(r.il);
	assert_int_equal(flush(&r, true), 1);
	assert_false(in_file(&r, 2) || intent_log_any(r.il));
	rig_stop(&r);
}

/* A region that was chosen to be cleared is written again. */
static void a_clear_may_be_overtaken(void **state)
{
	const uint8_t *bits;
	struct rig r;
	uint32_t k;

	for (int when = 0; when < 2; when++) {
		rig_start(&r, 64, 4);
		guest_write(&r, 1, 0);
		intent_log_clear(r.il);
		if (when == 0) {
			/* Before: nothing needs to be written. */
			assert_int_equal(admit(&r, 1), 0);
			rig_stop(&r);
			continue;
		}
		assert_true(intent_log_next_write(r.il, true, &k, &bits));
		assert_int_equal(bits[0], 0);
		/* While it is being cleared: set again first, then go on. */
		assert_int_equal(admit(&r, 1), -EAGAIN);
		intent_log_written(r.il, 0);
		assert_int_equal(admit(&r, 1), -EAGAIN);
		assert_int_equal(flush(&r, false), 1);
		assert_int_equal(admit(&r, 1), 0);
		rig_stop(&r);
	}
}

static void a_block_that_cannot_be_written(void **state)
{
	const uint8_t *bits;
	struct rig r;
	uint32_t k;

	rig_start(&r, 64, 4);
	guest_write(&r, 1, 0);
	assert_int_equal(admit(&r, 2), -EAGAIN);
	assert_true(intent_log_next_write(r.il, false, &k, &bits));
	intent_log_written(r.il, -EIO);
	assert_int_equal(admit(&r, 2), -EAGAIN);
	assert_int_equal(admit(&r, 1), 0); /* set in what was there and in what was written */
	/* It is said again. */
	assert_true(intent_log_next_write(r.il, false, &k, &bits));
	intent_log_written(r.il, -EIO);
	intent_log_give_up(r.il);
	assert_int_equal(admit(&r, 2), 0);
	assert_int_equal(admit(&r, 30), 0);
	assert_false(intent_log_next_write(r.il, true, &k, &bits));
	rig_stop(&r);
	/* A clear that failed may have happened. */
	rig_start(&r, 64, 4);
	guest_write(&r, 1, 0);
	intent_log_clear(r.il);
	assert_true(intent_log_next_write(r.il, true, &k, &bits));
	intent_log_written(r.il, -EIO);
	assert_int_equal(admit(&r, 1), -EAGAIN);
	rig_stop(&r);
}

static void comes_back_from_the_file(void **state)
{
	uint8_t bits[BLOCK_BYTES] = {[1] = 2, [7] = 0x80};
	struct rig r;

	rig_start(&r, 150, 4);
	intent_log_load(r.il, 0, bits);
	memset(bits, 0xff, sizeof(bits));
	intent_log_load(r.il, 2, bits); /* beyond the end: ignored */
	intent_log_mark(r.il, r.map);
	assert_true(dirty_map_count(r.map) == (2 + 22) * (REGION / DIRTY_BLOCK_SIZE));
	assert_true(dirty_map_all(r.map, 9 * REGION, REGION));
	assert_false(dirty_map_any(r.map, 10 * REGION, 53 * REGION));
	assert_int_equal(admit(&r, 9), 0);
	assert_int_equal(flush(&r, true), 0);
	/* Not readable: all of it, and not durable until it is written. */
	intent_log_load(r.il, 1, NULL);
	dirty_map_clear_all(r.map);
	intent_log_mark(r.il, r.map);
	assert_true(dirty_map_all(r.map, 64 * REGION, 64 * REGION));
	assert_int_equal(admit(&r, 64), -EAGAIN);
	assert_int_equal(flush(&r, false), 1);
	assert_int_equal(admit(&r, 64), 0);
	assert_true(in_file(&r, 127));
	rig_stop(&r);
}

/* A range larger than all places, written again and again: no bit of it may go. */
static void one_write_cannot_evict_itself(void **state)
{
	struct rig r;

	rig_start(&r, 64, 3);
	for (uint64_t epoch = 0; epoch < 10; epoch++) {
		if (intent_log_admit(r.il, 0, 8 * REGION) == -EAGAIN)
			flush(&r, false);
		assert_int_equal(intent_log_admit(r.il, 0, 8 * REGION), 0);
		intent_log_touch(r.il, 0, 8 * REGION, epoch);
		flush(&r, true);
		for (uint64_t i = 0; i < 8; i++)
			assert_true(in_file(&r, i));
		intent_log_settle(r.il, epoch);
	}
	rig_stop(&r);
}

/*
 * Random writes, epochs, breaks and crashes: whatever happens, a region with a write that is not settled, or
 * with a mark, is set in the file.
 */
static void a_crash_finds_all_that_is_not_settled(void **state)
{
	enum {
		REGIONS = 96
	};
	static uint64_t newest[REGIONS]; /* epoch + 1 of the last write; 0: all settled */
	struct intent_log_stats st;
	uint64_t epoch = 0, settled = 0; /* settled: epochs below it */
	bool stream = true;
	struct rig r;

	memset(newest, 0, sizeof(newest));
	srand(11);
	rig_start(&r, REGIONS, 6);
	for (int i = 0; i < 200000; i++) {
		uint64_t reg = (uint64_t)(rand() % (rand() % 4 ? 8 : REGIONS));

		switch (rand() % 12) {
		default:
			guest_write(&r, reg, epoch);
			if (stream)
				newest[reg] = epoch + 1;
			else
				dirty_map_set(r.map, reg * REGION, 512);
			break;
		case 0:
			epoch++;
			break;
		case 1:
			if (settled == epoch || !stream)
				break;
			settled += 1 + (uint64_t)rand() % (epoch - settled);
			intent_log_settle(r.il, settled - 1);
			for (uint64_t x = 0; x < REGIONS; x++)
				if (newest[x] <= settled)
					newest[x] = 0;
			break;
		case 2:
			intent_log_sweep(r.il, 20);
			break;
		case 3:
			flush(&r, true);
			break;
		case 4:
			/* Copied: the record is in the stream, so the mark becomes an extent. */
			if (!stream || !dirty_map_any(r.map, reg * REGION, REGION))
				break;
			dirty_map_clear(r.map, reg * REGION, REGION);
			intent_log_touch(r.il, reg * REGION, REGION, epoch);
			newest[reg] = epoch + 1;
			break;
		case 5:
			if (rand() % 20)
				break;
			for (uint64_t x = 0; stream && x < REGIONS; x++)
				if (newest[x])
					dirty_map_set(r.map, x * REGION, 512);
			memset(newest, 0, sizeof(newest));
			intent_log_leave(r.il);
			stream = !stream;
			epoch = settled = 0;
			break;
		}
		for (uint64_t x = 0; x < REGIONS; x++)
			if (newest[x] || dirty_map_any(r.map, x * REGION, REGION))
				assert_true(in_file(&r, x));
	}
	intent_log_get_stats(r.il, &st);
	assert_true(st.evicted > 1000 && st.placeless > 1000);
	rig_stop(&r);
}

static void refuses_and_fails_in_a_defined_way(void **state)
{
	struct intent_log_conf conf = {.bits_per_block = 32256, .hot_max = 0};
	struct intent_log *il = NULL;
	struct dirty_map *map = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(dirty_map_new(&map, UINT64_C(1) << 40, &e), 0);
	conf.map = map;
	assert_int_equal(intent_log_new(&il, &conf, &e), -EINVAL);
	conf.hot_max = INTENT_HOT_MAX + 1;
	assert_int_equal(intent_log_new(&il, &conf, &e), -EINVAL);
	conf.hot_max = INTENT_HOT_DEFAULT;
	conf.bits_per_block = 100;
	assert_int_equal(intent_log_new(&il, &conf, &e), -EINVAL);
	conf.bits_per_block = 32256;
	for (long n = 0; n < 8; n++) {
		mem_fail_after(n);
		assert_int_equal(intent_log_new(&il, &conf, &e), -ENOMEM);
		mem_fail_after(MEM_NEVER);
	}
	assert_int_equal(intent_log_new(&il, &conf, &e), 0);
	assert_int_equal(intent_log_blocks(il), 9);
	intent_log_free(il);
	intent_log_free(NULL);
	dirty_map_free(map);
}

/* The set of places alone, against an array. */
static void the_lru_keeps_its_order(void **state)
{
	enum {
		KEYS = 40,
		SIZE = 7
	};
	uint64_t when[KEYS] = {0}; /* 0: not in it */
	uint64_t tick = 0;
	uint32_t count = 0;
	struct lru l;

	assert_int_equal(lru_init(&l, SIZE), 0);
	srand(3);
	for (int i = 0; i < 50000; i++) {
		uint64_t key = (uint64_t)(rand() % KEYS);

		assert_true(lru_has(&l, key) == (when[key] != 0));
		if (rand() % 5 == 0) {
			lru_drop(&l, key);
			count -= when[key] != 0;
			when[key] = 0;
		} else if (lru_touch(&l, key, ++tick)) {
			when[key] = tick;
		} else if (!lru_full(&l)) {
			lru_add(&l, key, tick);
			when[key] = tick;
			count++;
		}
		assert_int_equal(lru_count(&l), count);
		if (count) {
			uint64_t old, value, want = UINT64_MAX;

			lru_oldest(&l, &old, &value);
			for (int k = 0; k < KEYS; k++)
				if (when[k] && when[k] < want)
					want = when[k];
			assert_true(value == want && when[old] == want);
		}
	}
	lru_reset(&l);
	assert_int_equal(lru_count(&l), 0);
	lru_fini(&l);
	lru_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cold_region_waits_for_its_block),
		cmocka_unit_test(a_write_may_span_regions_and_blocks),
		cmocka_unit_test(the_hot_set_is_bounded),
		cmocka_unit_test(what_is_marked_stays),
		cmocka_unit_test(leaving_begins_anew),
		cmocka_unit_test(a_clear_may_be_overtaken),
		cmocka_unit_test(a_block_that_cannot_be_written),
		cmocka_unit_test(comes_back_from_the_file),
		cmocka_unit_test(one_write_cannot_evict_itself),
		cmocka_unit_test(a_crash_finds_all_that_is_not_settled),
		cmocka_unit_test(refuses_and_fails_in_a_defined_way),
		cmocka_unit_test(the_lru_keeps_its_order),
	};

	return RUN_TESTS("intent_log", tests);
}
