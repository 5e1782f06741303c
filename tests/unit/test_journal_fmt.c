/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "disk/journal_fmt.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "tests/lib/golden.h"

static const struct journal_geometry geo = {
	.uuid = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
	.disk_size = 10ull << 30,
	.block_size = 512,
	.ring_size = 1ull << 20,
};

static struct journal_sb example_sb(void)
{
	return (struct journal_sb){
		.seq = 7,
		.state = JOURNAL_CONSISTENT,
		.geo = geo,
		.gens = {.current = 0xa1, .bitmap = 0xa2, .history = {0xa3, 0xa4}},
		.incarnation = 0x1122334455667788,
		.tail_off = 8192,
		.tail_lsn = 99,
		.tail_prev = 0x1234,
		.session = 5,
		.applied_epoch = 17,
		.applying_lsn = 98,
	};
}

static void mend(uint8_t block[JOURNAL_BLOCK])
{
	uint64_t d = digest_of(block, JOURNAL_BLOCK - 8);

	for (int i = 0; i < 8; i++)
		block[JOURNAL_BLOCK - 8 + i] = (uint8_t)(d >> 8 * i);
}

static void superblock_there_and_back(void **state)
{
	struct journal_sb sb = example_sb();
	struct journal_sb back;
	uint8_t block[JOURNAL_BLOCK];
	uint8_t again[JOURNAL_BLOCK];

	journal_sb_encode(&sb, block);
	golden_check("journal_superblock", block, sizeof(block));
	assert_int_equal(journal_sb_decode(&back, block, 0, NULL), 0);
	assert_int_equal(back.seq, 7);
	assert_int_equal(back.state, JOURNAL_CONSISTENT);
	assert_int_equal(back.gens.history[1], 0xa4);
	assert_int_equal(back.applying_lsn, 98);
	journal_sb_encode(&back, again);
	assert_memory_equal(block, again, sizeof(block));
}

static void a_torn_or_turned_superblock_is_not_there(void **state)
{
	struct journal_sb sb = example_sb();
	struct journal_sb back;
	uint8_t block[JOURNAL_BLOCK];

	journal_sb_encode(&sb, block);
	for (unsigned int bit = 0; bit < JOURNAL_BLOCK * 8; bit += bit < 2000 ? 1 : 37) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(journal_sb_decode(&back, block, 0, NULL), -EBADMSG);
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	memset(block + 3584, 0, 512);
	assert_int_equal(journal_sb_decode(&back, block, 0, NULL), -EBADMSG);
	memset(block, 0, sizeof(block));
	assert_int_equal(journal_sb_decode(&back, block, 0, NULL), -EBADMSG);
}

static void superblocks_that_make_no_sense(void **state)
{
	/* offset, what is put there */
	static const struct {
		unsigned int at;
		uint8_t v;
	} bad[] = {{6, 0},   {6, 7},	   {7, 1},   {8, 8},   {40, 1},	 {44, 1},  {88, 1},
		   {91, 16}, {128 + 8, 9}, {144, 1}, {152, 1}, {158, 1}, {160, 1}, {4087, 1}};
	uint8_t block[JOURNAL_BLOCK];
	struct journal_sb sb = example_sb();
	struct journal_sb back;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		journal_sb_encode(&sb, block);
		block[bad[i].at] = bad[i].v;
		mend(block);
		assert_int_equal(journal_sb_decode(&back, block, 0, NULL), -EBADMSG);
	}
	/* An odd one lies in A. */
	journal_sb_encode(&sb, block);
	assert_int_equal(journal_sb_decode(&back, block, 1, NULL), -EBADMSG);
}

static void another_version_is_named(void **state)
{
	struct journal_sb sb = example_sb();
	struct journal_sb back;
	struct err e = ERR_INIT;
	uint8_t block[JOURNAL_BLOCK];

	journal_sb_encode(&sb, block);
	block[4] = 2;
	mend(block);
	assert_int_equal(journal_sb_decode(&back, block, 0, &e), -EPROTO);
	assert_string_equal(e.text, "a journal of version 2, this program knows 1");
}

static struct journal_item example_batch(void)
{
	struct journal_item it = {
		.type = JOURNAL_BATCH,
		.incarnation = 9,
		.lsn = 4,
		.prev = 0x77,
		.session = 5,
		.epoch = 18,
		.n_descs = 3,
		.payload_len = 1024,
		.payload_digest = 0x42,
	};

	it.descs[0] = (struct journal_desc){.off = 512, .len = 1024, .op = JOURNAL_WRITE};
	it.descs[1] = (struct journal_desc){.off = 8192, .len = 1u << 30, .op = JOURNAL_ZERO};
	it.descs[2] = (struct journal_desc){
		.off = geo.disk_size - 512, .len = 512, .op = JOURNAL_DISCARD};
	return it;
}

static void items_there_and_back(void **state)
{
	struct journal_item it = example_batch();
	struct journal_item back;
	uint8_t block[JOURNAL_BLOCK];
	uint64_t digest = journal_item_encode(&it, block);

	golden_check("journal_batch", block, sizeof(block));
	assert_int_equal(journal_item_decode(&back, block, &geo), 0);
	assert_true(back.digest == digest && back.n_descs == 3);
	assert_int_equal(back.descs[2].op, JOURNAL_DISCARD);
	assert_int_equal(journal_item_size(&back), 2 * JOURNAL_BLOCK);

	it = (struct journal_item){.type = JOURNAL_COMMIT,
				   .incarnation = 9,
				   .lsn = 5,
				   .session = 5,
				   .epoch = 18,
				   .batches = 1,
				   .records = 3,
				   .bytes = 1024};
	(void)journal_item_encode(&it, block);
	golden_check("journal_commit", block, sizeof(block));
	assert_int_equal(journal_item_decode(&back, block, &geo), 0);
	assert_int_equal(back.records, 3);
	for (unsigned int bit = 0; bit < JOURNAL_BLOCK * 8; bit += 13) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(journal_item_decode(&back, block, &geo), -EBADMSG);
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void refuse(struct journal_item it)
{
	struct journal_item back;
	uint8_t block[JOURNAL_BLOCK];

	(void)journal_item_encode(&it, block);
	assert_int_equal(journal_item_decode(&back, block, &geo), -EBADMSG);
}

static void items_that_make_no_sense(void **state)
{
	struct journal_item it = example_batch();

	it.descs[0].off = 513;
	refuse(it);
	it = example_batch();
	it.descs[0].len = 0;
	refuse(it);
	it = example_batch();
	it.descs[2].off = geo.disk_size;
	refuse(it);
	it = example_batch();
	it.descs[2].len = 1024;
	refuse(it);
	it = example_batch();
	it.descs[1].off = UINT64_MAX - 511;
	refuse(it);
	it = example_batch();
	it.descs[1].op = JOURNAL_FLUSH;
	refuse(it);
	it = example_batch();
	it.payload_len = 512;
	refuse(it);
	it = example_batch();
	it.n_descs = 0;
	refuse(it);
	it = example_batch();
	it.batches = 1;
	refuse(it);
	it = example_batch();
	it.type = (enum journal_item_type)4;
	refuse(it);
	it = example_batch();
	it.lsn = 0;
	refuse(it);
	it = (struct journal_item){.type = JOURNAL_BEGIN,
				   .incarnation = 1,
				   .lsn = 1,
				   .session = 1,
				   .epoch = UINT64_MAX};
	refuse(it);
	it.epoch = 0;
	it.payload_len = 512;
	refuse(it);
}

static void intent_bits(void **state)
{
	static struct intent_block b;
	static struct intent_block back;
	uint8_t block[JOURNAL_BLOCK];
	struct journal_geometry g = geo;

	assert_int_equal(journal_intent_blocks(&geo), 1);
	b = (struct intent_block){.seq = 3};
	b.bits[0] = 0x81;
	b.bits[319] = 0xff;
	intent_block_encode(&b, geo.uuid, block);
	golden_check("journal_intent", block, sizeof(block));
	assert_int_equal(intent_block_decode(&back, 0, &geo, block), 0);
	assert_memory_equal(b.bits, back.bits, INTENT_BYTES);
	/* Of another place or disk, or torn: all of the disk's regions are marked, and no more. */
	assert_int_equal(intent_block_decode(&back, 1, &geo, block), -EBADMSG);
	g.uuid[0] ^= 1;
	assert_int_equal(intent_block_decode(&back, 0, &g, block), -EBADMSG);
	block[100] ^= 1;
	assert_int_equal(intent_block_decode(&back, 0, &geo, block), -EBADMSG);
	assert_int_equal(back.bits[319], 0xff);
	assert_int_equal(back.bits[320], 0);
	/* A bit past the end. */
	b.bits[320] = 1;
	intent_block_encode(&b, geo.uuid, block);
	assert_int_equal(intent_block_decode(&back, 0, &geo, block), -EBADMSG);
	g = geo;
	g.disk_size = INTENT_REGION * INTENT_BITS + 512;
	assert_int_equal(journal_intent_blocks(&g), 2);
	assert_int_equal(intent_block_decode(&back, 1, &g, block), -EBADMSG);
	assert_int_equal(back.bits[0], 1);
	assert_int_equal(back.index, 1);
}

static void geometries(void **state)
{
	struct journal_geometry g = geo;
	struct err e = ERR_INIT;

	assert_int_equal(journal_geometry_check(&g, &e), 0);
	assert_int_equal(journal_ring_off(&g), 3 * JOURNAL_BLOCK);
	g.block_size = 1024;
	assert_int_equal(journal_geometry_check(&g, &e), -EINVAL);
	g = geo;
	g.disk_size = 513;
	assert_int_equal(journal_geometry_check(&g, &e), -EINVAL);
	g = geo;
	g.ring_size = JOURNAL_RING_MIN - 4096;
	assert_int_equal(journal_geometry_check(&g, &e), -EINVAL);
	g = geo;
	memset(g.uuid, 0, sizeof(g.uuid));
	assert_int_equal(journal_geometry_check(&g, &e), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(superblock_there_and_back),
		cmocka_unit_test(a_torn_or_turned_superblock_is_not_there),
		cmocka_unit_test(superblocks_that_make_no_sense),
		cmocka_unit_test(another_version_is_named),
		cmocka_unit_test(items_there_and_back),
		cmocka_unit_test(items_that_make_no_sense),
		cmocka_unit_test(intent_bits),
		cmocka_unit_test(geometries),
	};

	return RUN_TESTS("journal_fmt", tests);
}
