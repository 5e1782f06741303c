/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A journal file from hostile hands: the decoders, and reading it back onto a disk. The input describes blocks in a few
 * bytes each, digests are made right unless the input says otherwise, or the fuzzer would never get past them.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "disk/journal.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "tests/lib/block_rec.h"

#define BLOCKS 67 /* two superblocks, one of intent, 64 of ring */
#define DISK (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t image[BLOCKS * JOURNAL_BLOCK];
static uint8_t disk_image[DISK];

static const struct journal_geometry geo = {
	.uuid = {1}, .disk_size = DISK, .block_size = 512, .ring_size = 64ull * JOURNAL_BLOCK};

static void mend(uint8_t *block)
{
	uint64_t d = digest_of(block, JOURNAL_BLOCK - 8);

	memcpy(block + JOURNAL_BLOCK - 8, &d, 8);
}

/* A superblock that is right but for what the input says: the walk begins where it wants. */
static void lay_superblock(unsigned int slot, const uint8_t *p)
{
	struct journal_sb sb = {
		.seq = 2 + (slot == 0) + 2 * (p[0] & 3),
		.state = (enum journal_state)(p[1] % 8),
		.geo = geo,
		.incarnation = 7,
		.tail_off = (uint64_t)(p[2] % 66) * JOURNAL_BLOCK,
		.tail_lsn = p[3],
		.session = p[4],
		.applied_epoch = p[5] == 255 ? JOURNAL_NO_EPOCH : p[5],
		.applying_lsn = p[6],
	};

	journal_sb_encode(&sb, image + slot * JOURNAL_BLOCK);
	if (p[7]) {
		image[slot * JOURNAL_BLOCK + p[7]] ^= p[0];
		if (p[7] & 1)
			mend(image + slot * JOURNAL_BLOCK);
	}
}

/* An item at a block of the ring, its chain that of the item laid before if the input likes. Returns its digest. */
static uint64_t lay_item(const uint8_t *p, uint64_t prev)
{
	enum journal_item_type type = (enum journal_item_type)(p[1] % 5);
	struct journal_item it = {
		.type = type,
		.incarnation = p[2] == 99 ? 6 : 7,
		.lsn = p[3],
		.prev = p[4] & 1 ? p[4] : prev,
		.session = p[5] & 7,
		.epoch = p[6] & 15,
		.n_descs = type == JOURNAL_BATCH ? 1 + p[7] % 4 : 0,
		.batches = type == JOURNAL_COMMIT ? p[7] & 3 : 0,
		.records = type == JOURNAL_COMMIT ? p[8] & 7 : 0,
		.bytes = type == JOURNAL_COMMIT ? 512ull * (p[9] & 31) : 0,
	};
	uint8_t *block = image + (3 + p[0] % 64) * JOURNAL_BLOCK;
	uint32_t whole;

	for (unsigned int i = 0; i < it.n_descs; i++) {
		struct journal_desc *d = &it.descs[i];

		d->op = (enum journal_op)(1 + (p[8] >> 2 * i & 3));
		d->off = 512ull * p[9 + i];
		d->len = 512u * (p[12 + i] & 31);
		if (d->op == JOURNAL_WRITE)
			it.payload_len += d->len;
	}
	whole = journal_whole(it.payload_len);
	if (block + JOURNAL_BLOCK + whole <= image + sizeof(image))
		it.payload_digest = whole ? digest_of(block + JOURNAL_BLOCK, whole) : 0;
	if (it.type == JOURNAL_BATCH && !whole)
		it.payload_digest = digest_of(block, 0);
	prev = journal_item_encode(&it, block);
	if (p[10] == 77) {
		block[p[11]] ^= p[12];
		mend(block);
	}
	return prev;
}

static void decode_all(void)
{
	static struct journal_item it;
	static struct intent_block intent;
	static uint8_t again[JOURNAL_BLOCK];
	struct journal_sb sb;

	for (unsigned int i = 0; i < BLOCKS; i++) {
		const uint8_t *block = image + (size_t)i * JOURNAL_BLOCK;

		for (unsigned int slot = 0; slot < 2; slot++) {
			if (journal_sb_decode(&sb, block, slot, NULL) < 0)
				continue;
			journal_sb_encode(&sb, again);
			assert(!memcmp(block, again, JOURNAL_BLOCK));
		}
		if (!journal_item_decode(&it, block, &geo)) {
			assert(journal_item_encode(&it, again) == it.digest);
			assert(!memcmp(block, again, JOURNAL_BLOCK));
		}
		if (!intent_block_decode(&intent, 0, &geo, block)) {
			intent_block_encode(&intent, geo.uuid, again);
			assert(!memcmp(block, again, JOURNAL_BLOCK));
		}
	}
}

static int read_back(uint64_t incarnation, struct journal_stats *st)
{
	struct block_rec file;
	struct block_rec disk;
	struct journal_opts o;
	struct journal *j = NULL;
	struct err e = ERR_INIT;
	int rc;

	block_rec_init(&file, image, sizeof(image), 4096);
	block_rec_init(&disk, disk_image, sizeof(disk_image), 512);
	journal_opts_init(&o);
	o.geo = geo;
	o.incarnation = incarnation;
	o.batch_bytes = 4096;
	o.ram_bytes = 4 * 8192;
	o.max_items = 256;
	o.max_records = 1024;
	rc = journal_open(&file.base, &disk.base, &o, &j, &e);
	if (rc < 0) {
		assert(*e.text);
		assert(rc == -EBADMSG || rc == -EPROTO || rc == -EINVAL);
		return rc;
	}
	journal_stats(j, st);
	journal_free(j);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t saved[DISK];
	struct journal_stats first;
	struct journal_stats second;
	uint64_t prev = 0;
	int rc;

	if (size < 17)
		return 0;
	memset(image, data[16], sizeof(image));
	memset(disk_image, 0, sizeof(disk_image));
	lay_superblock(0, data);
	lay_superblock(1, data + 8);
	for (size_t at = 17; at + 16 <= size; at += 16)
		prev = lay_item(data + at, prev);
	decode_all();
	if (read_back(1000, &first) < 0)
		return 0;
	assert(first.state >= JOURNAL_EMPTY && first.state <= JOURNAL_FAILED);
	assert(first.state != JOURNAL_CONSISTENT && (first.state != JOURNAL_FAILED || *first.why));
	memcpy(saved, disk_image, DISK);
	/* Once more: the same, and nothing left to do. */
	rc = read_back(1001, &second);
	assert(rc == 0);
	assert(second.state == first.state && !second.replayed);
	assert(!memcmp(saved, disk_image, DISK));
	return 0;
}
