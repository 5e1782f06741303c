/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See journal_fmt.h. */
#include "disk/journal_fmt.h"

#include <errno.h>
#include <string.h>

#include "disk/journal_mutant.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/rd.h"
#include "lib/wr.h"

#define SB_MAGIC 0x42534a52	/* "RJSB" */
#define ITEM_MAGIC 0x49314a52	/* "RJ1I" */
#define INTENT_MAGIC 0x4c494a52 /* "RJIL" */
#define FORMAT_VERSION 1
#define DIGEST_AT (JOURNAL_BLOCK - 8)

const char *journal_state_name(enum journal_state s)
{
	static const char *const names[] = {"?",      "empty",	  "syncing", "consistent",
					    "active", "outdated", "failed"};

	return names[(unsigned int)s < ARRAY_SIZE(names) ? s : 0];
}

/* ---- the block around each ---- */

/* Zeroes to the digest, then the digest, which is returned. */
static uint64_t seal(struct wr *w)
{
	uint64_t digest;
	bool ok;

	wr_zero(w, DIGEST_AT - MIN(wr_used(w), (size_t)DIGEST_AT));
	digest = digest_of(w->buf, DIGEST_AT);
	wr_u64(w, digest);
	ok = wr_ok(w) && wr_used(w) == JOURNAL_BLOCK;
	assert(ok);
	return digest;
}

/* A reader of what the digest covers, bad when it is wrong. */
static struct rd unseal(const void *block, uint64_t *digest)
{
	struct rd tail = rd_init((const uint8_t *)block + DIGEST_AT, 8);
	struct rd r = rd_init(block, DIGEST_AT);

	*digest = rd_u64(&tail);
	if (*digest != digest_of(block, DIGEST_AT) && !JOURNAL_MUTANT(JM_NO_BLOCK_DIGEST))
		rd_set_bad(&r);
	return r;
}

/* ---- geometry ---- */

uint64_t journal_intent_blocks(const struct journal_geometry *g)
{
	uint64_t span = INTENT_REGION * INTENT_BITS;

	return g->disk_size / span + (g->disk_size % span != 0);
}

uint64_t journal_ring_off(const struct journal_geometry *g)
{
	return JOURNAL_INTENT_OFF + journal_intent_blocks(g) * JOURNAL_BLOCK;
}

int journal_geometry_check(const struct journal_geometry *g, struct err *e)
{
	static const uint8_t none[JOURNAL_UUID_SIZE];

	if (g->block_size != 512 && g->block_size != 4096)
		return err_setx(e, -EINVAL,
				"a disk with blocks of %u bytes; 512 and 4096 are known",
				g->block_size);
	if (!g->disk_size || g->disk_size > JOURNAL_DISK_MAX || g->disk_size % g->block_size)
		return err_setx(e, -EINVAL, "a disk of %llu bytes cannot be followed",
				(unsigned long long)g->disk_size);
	if (g->ring_size < JOURNAL_RING_MIN || g->ring_size > JOURNAL_RING_MAX ||
	    g->ring_size % JOURNAL_BLOCK)
		return err_setx(e, -EINVAL, "a journal with a ring of %llu bytes; at least %llu",
				(unsigned long long)g->ring_size, JOURNAL_RING_MIN);
	if (memcmp(g->uuid, none, sizeof(none)) == 0)
		return err_setx(e, -EINVAL, "a disk without a uuid");
	return 0;
}

/* ---- superblock ---- */

void journal_sb_encode(const struct journal_sb *sb, void *block)
{
	struct wr w = wr_init(block, JOURNAL_BLOCK);

	wr_u32(&w, SB_MAGIC);
	wr_u16(&w, FORMAT_VERSION);
	wr_u8(&w, (uint8_t)sb->state);
	wr_zero(&w, 1);
	wr_u64(&w, sb->seq);
	wr_bytes(&w, sb->geo.uuid, JOURNAL_UUID_SIZE);
	wr_u64(&w, sb->geo.disk_size);
	wr_u32(&w, sb->geo.block_size);
	wr_zero(&w, 4);
	wr_u64(&w, sb->gens.current);
	wr_u64(&w, sb->gens.bitmap);
	wr_u64(&w, sb->gens.history[0]);
	wr_u64(&w, sb->gens.history[1]);
	wr_u64(&w, sb->incarnation);
	wr_u64(&w, sb->tail_off);
	wr_u64(&w, sb->tail_lsn);
	wr_u64(&w, sb->tail_prev);
	wr_u64(&w, sb->session);
	wr_u64(&w, sb->applied_epoch);
	wr_u64(&w, sb->applying_lsn);
	wr_u64(&w, journal_intent_blocks(&sb->geo));
	wr_u64(&w, journal_ring_off(&sb->geo));
	wr_u64(&w, sb->geo.ring_size);
	(void)seal(&w);
}

static bool sb_makes_sense(const struct journal_sb *sb, unsigned int slot)
{
	return sb->seq && journal_sb_slot(sb->seq) == slot && sb->state >= JOURNAL_EMPTY &&
	       sb->state <= JOURNAL_FAILED && sb->incarnation && sb->tail_lsn &&
	       sb->tail_off % JOURNAL_BLOCK == 0 && sb->tail_off < sb->geo.ring_size;
}

int journal_sb_decode(struct journal_sb *sb, const void *block, unsigned int slot, struct err *e)
{
	uint64_t digest;
	struct rd r = unseal(block, &digest);
	uint64_t intent_blocks;
	uint64_t ring_off;
	uint16_t version;

	*sb = (struct journal_sb){.seq = 0};
	if (rd_u32(&r) != SB_MAGIC)
		return err_setx(e, -EBADMSG, "no superblock is there");
	version = rd_u16(&r);
	if (version != FORMAT_VERSION)
		return err_setx(e, -EPROTO, "a journal of version %u, this program knows %u",
				version, FORMAT_VERSION);
	sb->state = (enum journal_state)rd_u8(&r);
	rd_zero(&r, 1);
	sb->seq = rd_u64(&r);
	rd_bytes(&r, sb->geo.uuid, JOURNAL_UUID_SIZE);
	sb->geo.disk_size = rd_u64(&r);
	sb->geo.block_size = rd_u32(&r);
	rd_zero(&r, 4);
	sb->gens.current = rd_u64(&r);
	sb->gens.bitmap = rd_u64(&r);
	sb->gens.history[0] = rd_u64(&r);
	sb->gens.history[1] = rd_u64(&r);
	sb->incarnation = rd_u64(&r);
	sb->tail_off = rd_u64(&r);
	sb->tail_lsn = rd_u64(&r);
	sb->tail_prev = rd_u64(&r);
	sb->session = rd_u64(&r);
	sb->applied_epoch = rd_u64(&r);
	sb->applying_lsn = rd_u64(&r);
	intent_blocks = rd_u64(&r);
	ring_off = rd_u64(&r);
	sb->geo.ring_size = rd_u64(&r);
	rd_zero(&r, rd_left(&r));
	if (!rd_done(&r) || journal_geometry_check(&sb->geo, NULL) < 0 ||
	    intent_blocks != journal_intent_blocks(&sb->geo) ||
	    ring_off != journal_ring_off(&sb->geo) || !sb_makes_sense(sb, slot))
		return err_setx(e, -EBADMSG, "a superblock that makes no sense");
	return 0;
}

/* ---- items of the ring ---- */

bool journal_desc_ok(const struct journal_desc *d, const struct journal_geometry *g)
{
	if (d->op != JOURNAL_WRITE && d->op != JOURNAL_ZERO && d->op != JOURNAL_DISCARD)
		return false;
	if (!d->len || d->len % g->block_size || d->off % g->block_size)
		return false;
	if (d->op == JOURNAL_WRITE && d->len > JOURNAL_PAYLOAD_MAX)
		return false;
	return d->off < g->disk_size && d->len <= g->disk_size - d->off;
}

static void put_descs(struct wr *w, const struct journal_item *it)
{
	for (unsigned int i = 0; i < it->n_descs; i++) {
		wr_u64(w, it->descs[i].off);
		wr_u32(w, it->descs[i].len);
		wr_u8(w, (uint8_t)it->descs[i].op);
		wr_zero(w, 3);
	}
}

uint64_t journal_item_encode(const struct journal_item *it, void *block)
{
	struct wr w = wr_init(block, JOURNAL_BLOCK);

	assert(it->n_descs <= JOURNAL_DESCS && it->payload_len <= JOURNAL_PAYLOAD_MAX);
	wr_u32(&w, ITEM_MAGIC);
	wr_u16(&w, (uint16_t)it->type);
	wr_u16(&w, it->n_descs);
	wr_u64(&w, it->incarnation);
	wr_u64(&w, it->lsn);
	wr_u64(&w, it->prev);
	wr_u64(&w, it->session);
	wr_u64(&w, it->epoch);
	wr_u32(&w, it->payload_len);
	wr_u32(&w, it->batches);
	wr_u64(&w, it->payload_digest);
	wr_u64(&w, it->records);
	wr_u64(&w, it->bytes);
	put_descs(&w, it);
	return seal(&w);
}

/* The descriptors, which must be writes of this disk and have the payload together. */
static void get_descs(struct rd *r, struct journal_item *it, const struct journal_geometry *g)
{
	uint32_t payload = 0;

	for (unsigned int i = 0; i < it->n_descs; i++) {
		struct journal_desc *d = &it->descs[i];

		d->off = rd_u64(r);
		d->len = rd_u32(r);
		d->op = (enum journal_op)rd_u8(r);
		rd_zero(r, 3);
		if (!rd_ok(r) || !journal_desc_ok(d, g)) {
			rd_set_bad(r);
			return;
		}
		/* Neither sum can run over: 250 of at most 1 MiB. */
		if (d->op == JOURNAL_WRITE)
			payload += d->len;
	}
	if (payload != it->payload_len)
		rd_set_bad(r);
}

static bool item_makes_sense(const struct journal_item *it)
{
	bool batch = it->type == JOURNAL_BATCH;
	bool commit = it->type == JOURNAL_COMMIT;

	if (!batch && !commit && it->type != JOURNAL_BEGIN)
		return false;
	if (batch != (it->n_descs > 0) || it->n_descs > JOURNAL_DESCS)
		return false;
	if (it->payload_len > JOURNAL_PAYLOAD_MAX ||
	    (!batch && (it->payload_len || it->payload_digest)))
		return false;
	if (!commit && (it->batches || it->records || it->bytes))
		return false;
	return it->incarnation && it->lsn && it->session && it->epoch != JOURNAL_NO_EPOCH;
}

int journal_item_decode(struct journal_item *it, const void *block,
			const struct journal_geometry *g)
{
	uint64_t digest;
	struct rd r = unseal(block, &digest);

	it->digest = digest;
	if (rd_u32(&r) != ITEM_MAGIC)
		return -EBADMSG;
	it->type = (enum journal_item_type)rd_u16(&r);
	it->n_descs = rd_u16(&r);
	it->incarnation = rd_u64(&r);
	it->lsn = rd_u64(&r);
	it->prev = rd_u64(&r);
	it->session = rd_u64(&r);
	it->epoch = rd_u64(&r);
	it->payload_len = rd_u32(&r);
	it->batches = rd_u32(&r);
	it->payload_digest = rd_u64(&r);
	it->records = rd_u64(&r);
	it->bytes = rd_u64(&r);
	if (!rd_ok(&r) || !item_makes_sense(it))
		return -EBADMSG;
	get_descs(&r, it, g);
	rd_zero(&r, rd_left(&r));
	return rd_done(&r) ? 0 : -EBADMSG;
}

/* ---- intent log ---- */

/* How many of the block's bits stand for something. */
static uint64_t bits_used(const struct journal_geometry *g, uint64_t index)
{
	uint64_t regions = g->disk_size / INTENT_REGION + (g->disk_size % INTENT_REGION != 0);
	uint64_t before = index * INTENT_BITS;

	return regions <= before ? 0 : MIN(regions - before, (uint64_t)INTENT_BITS);
}

void intent_block_encode(const struct intent_block *b, const uint8_t uuid[JOURNAL_UUID_SIZE],
			 void *block)
{
	struct wr w = wr_init(block, JOURNAL_BLOCK);

	wr_u32(&w, INTENT_MAGIC);
	wr_zero(&w, 4);
	wr_u64(&w, b->index);
	wr_bytes(&w, uuid, JOURNAL_UUID_SIZE);
	wr_u64(&w, b->seq);
	wr_zero(&w, 16);
	wr_bytes(&w, b->bits, INTENT_BYTES);
	(void)seal(&w);
}

static void set_all(struct intent_block *b, uint64_t index, uint64_t used)
{
	*b = (struct intent_block){.index = index};
	memset(b->bits, 0xff, used / 8);
	if (used % 8)
		b->bits[used / 8] = (uint8_t)((1u << used % 8) - 1);
}

/* No bit at or past used is set. */
static bool rest_is_clear(const struct intent_block *b, uint64_t used)
{
	for (uint64_t i = used; i < INTENT_BITS; i++) {
		if (b->bits[i / 8] & 1u << i % 8)
			return false;
	}
	return true;
}

int intent_block_decode(struct intent_block *b, uint64_t index, const struct journal_geometry *g,
			const void *block)
{
	uint64_t used = bits_used(g, index);
	uint64_t digest;
	struct rd r = unseal(block, &digest);
	uint8_t uuid[JOURNAL_UUID_SIZE];

	if (rd_u32(&r) != INTENT_MAGIC)
		rd_set_bad(&r);
	rd_zero(&r, 4);
	b->index = rd_u64(&r);
	rd_bytes(&r, uuid, sizeof(uuid));
	b->seq = rd_u64(&r);
	rd_zero(&r, 16);
	rd_bytes(&r, b->bits, INTENT_BYTES);
	if (rd_done(&r) && b->index == index && memcmp(uuid, g->uuid, sizeof(uuid)) == 0 &&
	    rest_is_clear(b, used))
		return 0;
	set_all(b, index, used);
	return -EBADMSG;
}
