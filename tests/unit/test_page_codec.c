/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "replicator/page_codec.h"

#define SLOTS 16
#define PAGES 64

struct page {
	uint64_t word[PAGE_BYTES / 8];
};

static uint64_t seed = 1;

/* xorshift; noise does not pack. */
static uint64_t noise(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void fill_noise(struct page *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->word); i++)
		p->word[i] = noise();
}

static void fill_text(struct page *p)
{
	memset(p, 'a' + (int)(noise() % 26), sizeof(*p));
	p->word[noise() % ARRAY_SIZE(p->word)] = noise();
}

static struct page_enc *enc;
static struct page_dec *dec;
static uint8_t out[PAGE_RECORD_MAX];

static int set_up(void **state)
{
	seed = 88172645463325252u;
	assert_int_equal(page_enc_new(&enc, SLOTS, NULL), 0);
	assert_int_equal(page_dec_new(&dec, SLOTS, PAGES, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	page_enc_free(enc);
	page_dec_free(dec);
	return 0;
}

/* Through both sides; fails unless the page arrives as it was. Returns the kind. */
static enum page_kind through(uint64_t pfn, const struct page *p, bool live)
{
	struct wr w = wr_init(out, sizeof(out));
	int kind = live ? page_encode_live(enc, pfn, p, &w) : page_encode(enc, pfn, p, &w);
	struct rd r = rd_init(out, wr_used(&w));
	struct err e = ERR_INIT;
	const uint8_t *page;
	uint64_t got;

	assert_true(kind >= 0 && wr_ok(&w));
	if (kind == PAGE_UNCHANGED) {
		assert_int_equal(wr_used(&w), 0);
		return PAGE_UNCHANGED;
	}
	if (page_decode(dec, &r, &got, &page, &e) < 0)
		fail_msg("%s", e.text);
	assert_true(rd_done(&r));
	assert_int_equal(got, pfn);
	assert_memory_equal(page, p, PAGE_BYTES);
	assert_int_equal((uintptr_t)page % 16, 0);
	return (enum page_kind)kind;
}

static void each_kind(void **state)
{
	static struct page p;

	assert_int_equal(through(3, &p, false), PAGE_ZERO);
	assert_int_equal(through(3, &p, false), PAGE_ZERO);
	fill_text(&p);
	assert_int_equal(through(3, &p, false), PAGE_LZ4);
	assert_int_equal(through(3, &p, false), PAGE_UNCHANGED);
	p.word[7]++;
	assert_int_equal(through(3, &p, false), PAGE_DELTA);
	/* Another page takes the slot; then there is nothing to compare with. */
	assert_int_equal(through(3 + SLOTS, &p, false), PAGE_LZ4);
	assert_int_equal(through(3, &p, false), PAGE_LZ4);
	fill_noise(&p);
	assert_int_equal(through(3, &p, false), PAGE_RAW);
	p.word[511] ^= 1;
	assert_int_equal(through(3, &p, true), PAGE_DELTA);
	assert_int_equal(through(3, &p, true), PAGE_UNCHANGED);
	/* A zero page empties its own slot and leaves that of another page alone. */
	memset(&p, 0, sizeof(p));
	assert_int_equal(through(3 + SLOTS, &p, false), PAGE_ZERO);
	fill_noise(&p);
	assert_int_equal(through(3, &p, false), PAGE_RAW);
	assert_int_equal(through(3, &p, false), PAGE_UNCHANGED);
	memset(&p, 0, sizeof(p));
	assert_int_equal(through(3, &p, false), PAGE_ZERO);
	fill_text(&p);
	assert_int_equal(through(3, &p, false), PAGE_LZ4);
}

/* Guest memory that is changed at random and sent; the other side must always have the same. */
static void random_pages(void **state)
{
	struct page *memory = mem_array(PAGES, sizeof(*memory));
	struct page *copy = mem_array(PAGES, sizeof(*copy));
	bool sent[PAGES] = {false};
	struct page_counters a;
	struct page_counters b;

	assert_true(memory && copy);
	for (int i = 0; i < 100000; i++) {
		uint64_t pfn = noise() % PAGES;
		struct page *p = &memory[pfn];

		switch (noise() % 12) {
		case 0:
			memset(p, 0, sizeof(*p));
			break;
		case 1:
			fill_noise(p);
			break;
		case 2:
		case 3:
			fill_text(p);
			break;
		case 4: /* half of it new */
			for (size_t k = 0; k < ARRAY_SIZE(p->word); k += 2)
				p->word[k] = noise();
			break;
		case 5:
			break;
		default:
			p->word[noise() % ARRAY_SIZE(p->word)] += noise() % 3;
			break;
		}
		if (through(pfn, p, i % 2) != PAGE_UNCHANGED)
			copy[pfn] = *p;
		else
			assert_true(sent[pfn]);
		sent[pfn] = true;
		assert_memory_equal(&copy[pfn], p, sizeof(*p));
		if (i % 1000 == 0)
			assert_true(page_enc_digest(enc) == page_dec_digest(dec));
	}
	page_enc_counters(enc, &a);
	page_dec_counters(dec, &b);
	for (int k = PAGE_ZERO; k < PAGE_KINDS; k++) {
		assert_true(a.pages[k] > 1000);
		assert_int_equal(a.pages[k], b.pages[k]);
	}
	assert_true(a.pages[PAGE_UNCHANGED] > 1000 && !b.pages[PAGE_UNCHANGED]);
	assert_int_equal(a.wire_bytes, b.wire_bytes);
	assert_int_equal(page_records(&a) * PAGE_BYTES, b.raw_bytes);
	assert_int_equal(a.raw_bytes, UINT64_C(100000) * PAGE_BYTES);
	mem_free(memory);
	mem_free(copy);
}

/* The digest is of what docs/protocol.md says. */
static void digest(void **state)
{
	static const uint8_t number[8] = {5};
	static struct page p;
	struct digest d;

	digest_init(&d);
	fill_noise(&p);
	(void)through(5, &p, false);
	digest_update(&d, number, 8);
	digest_update(&d, &p, sizeof(p));
	(void)through(5, &p, false);
	memset(&p, 0, sizeof(p));
	(void)through(5, &p, false);
	digest_update(&d, number, 8);
	digest_update(&d, &p, sizeof(p));
	assert_true(page_enc_digest(enc) == digest_final(&d));
	assert_true(page_dec_digest(dec) == digest_final(&d));
	digest_init(&d);
	assert_true(page_enc_digest(enc) == digest_final(&d));
}

static void no_room_changes_nothing(void **state)
{
	struct wr w = wr_init(out, PAGE_RECORD_MAX - 1);
	static struct page p;

	fill_noise(&p);
	assert_int_equal(page_encode(enc, 1, &p, &w), -ENOSPC);
	assert_true(wr_ok(&w) && !wr_used(&w));
	assert_int_equal(through(1, &p, false), PAGE_RAW);
	w = wr_init(out, PAGE_RECORD_MAX - 1);
	p.word[0]++;
	assert_int_equal(page_encode_live(enc, 1, &p, &w), -ENOSPC);
	assert_int_equal(through(1, &p, false), PAGE_DELTA);
}

/* A page that is noise each time is left alone for a while, and found again when it packs. */
static void noise_is_not_tried_again(void **state)
{
	static struct page p;
	int tries = 0;

	fill_noise(&p);
	assert_int_equal(through(2, &p, false), PAGE_RAW);
	do {
		memset(&p, ++tries, sizeof(p));
	} while (through(2, &p, false) == PAGE_RAW && tries < 100);
	assert_true(tries > 1 && tries < 20);
	memset(&p, 'z', sizeof(p));
	assert_int_equal(through(2, &p, false), PAGE_LZ4);
}

static uint64_t head(unsigned int kind, uint64_t pfn)
{
	return (uint64_t)kind << 56 | pfn;
}

static void bad_records(void **state)
{
	static const uint8_t ff[PAGE_BYTES] = {0xff};
	static const struct {
		uint64_t head;
		bool with_size;
		uint16_t size;
		size_t bytes; /* that follow */
	} t[] = {
		{UINT64_C(0x0000000000000001), false, 0, 0},	  /* kind 0 */
		{UINT64_C(0x0500000000000001), false, 0, 4096},	  /* kind 5 */
		{UINT64_C(0xff00000000000001), false, 0, 4096},	  /* kind 255 */
		{UINT64_C(0x0100000000000040), false, 0, 0},	  /* beyond memory */
		{UINT64_C(0x0101000000000001), false, 0, 0},	  /* reserved bit */
		{UINT64_C(0x0180000000000001), false, 0, 0},	  /* reserved bit */
		{UINT64_C(0x0200000000000001), false, 0, 4095},	  /* cut */
		{UINT64_C(0x0300000000000001), false, 0, 0},	  /* no length */
		{UINT64_C(0x0300000000000001), true, 0, 0},	  /* empty */
		{UINT64_C(0x0300000000000001), true, 10, 9},	  /* cut */
		{UINT64_C(0x0300000000000001), true, 10, 10},	  /* unpacks to too little */
		{UINT64_C(0x0300000000000001), true, 4094, 4094}, /* longer than raw */
		{UINT64_C(0x0400000000000001), true, 10, 10},	  /* no page to change */
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint8_t buf[PAGE_RECORD_MAX + 8];
		struct wr w = wr_init(buf, sizeof(buf));
		struct err e = ERR_INIT;
		const uint8_t *page;
		uint64_t pfn;
		struct rd r;

		wr_u64(&w, t[i].head);
		if (t[i].with_size)
			wr_u16(&w, t[i].size);
		wr_bytes(&w, ff, t[i].bytes);
		r = rd_init(buf, wr_used(&w));
		if (page_decode(dec, &r, &pfn, &page, &e) != -EBADMSG || !e.text[0])
			fail_msg("row %zu passed", i);
	}
}

/*
 * A record whose block unpacks to PAGE_BYTES + more bytes: LZ4 by hand, 4 literals, a long match of
 * the byte before, 5 literals at the end.
 */
static struct rd packed_record(uint8_t buf[64], unsigned int kind, int more)
{
	static const uint8_t begin[] = {0x4f, 'a', 'a', 'a', 'a', 1, 0};
	static const uint8_t end[] = {0x50, 'b', 'b', 'b', 'b', 'b'};
	struct wr w = wr_init(buf, 64);

	wr_u64(&w, head(kind, 1));
	wr_u16(&w, sizeof(begin) + 16 + sizeof(end));
	wr_bytes(&w, begin, sizeof(begin));
	/* The match: 4 + 15 + 15 * 255 + 243 = 4087 bytes. */
	for (int k = 0; k < 15; k++)
		wr_u8(&w, 255);
	wr_u8(&w, (uint8_t)(243 + more));
	wr_bytes(&w, end, sizeof(end));
	assert_true(wr_ok(&w));
	return rd_init(buf, wr_used(&w));
}

static void wrong_unpacked_size(void **state)
{
	for (int more = -1; more <= 1; more++) {
		uint8_t buf[64];
		struct rd r = packed_record(buf, PAGE_LZ4, more);
		const uint8_t *page;
		uint64_t pfn;

		assert_int_equal(page_decode(dec, &r, &pfn, &page, NULL), more ? -EBADMSG : 0);
		if (!more)
			assert_memory_equal(page + PAGE_BYTES - 6, "abbbbb", 6);
	}
}

/* A good difference to a page that is not there: never sent, or forgotten after a ZERO. */
static void delta_needs_its_page(void **state)
{
	uint8_t buf[64];
	struct rd r = packed_record(buf, PAGE_DELTA, 0);
	uint64_t zero = htole64(head(PAGE_ZERO, 1));
	const uint8_t *page;
	uint64_t pfn;

	assert_int_equal(page_decode(dec, &r, &pfn, &page, NULL), -EBADMSG);
	r = packed_record(buf, PAGE_LZ4, 0);
	assert_int_equal(page_decode(dec, &r, &pfn, &page, NULL), 0);
	r = packed_record(buf, PAGE_DELTA, 0);
	assert_int_equal(page_decode(dec, &r, &pfn, &page, NULL), 0);
	assert_int_equal(page[0] | page[PAGE_BYTES - 1], 0);
	r = rd_init(&zero, sizeof(zero));
	assert_int_equal(page_decode(dec, &r, &pfn, &page, NULL), 0);
	r = packed_record(buf, PAGE_DELTA, 0);
	assert_int_equal(page_decode(dec, &r, &pfn, &page, NULL), -EBADMSG);
}

static void bad_sizes(void **state)
{
	struct page_enc *no_enc;
	struct page_dec *no_dec;

	assert_int_equal(page_enc_new(&no_enc, 0, NULL), -EINVAL);
	assert_int_equal(page_enc_new(&no_enc, PAGE_MAX_SLOTS + 1, NULL), -EINVAL);
	assert_int_equal(page_dec_new(&no_dec, 0, 1, NULL), -EINVAL);
	assert_int_equal(page_dec_new(&no_dec, 1, 0, NULL), -EINVAL);
	assert_int_equal(page_dec_new(&no_dec, 1, UINT64_C(1) << 48, NULL), -EINVAL);
	for (long n = 0; n < 4; n++) {
		mem_fail_after(n);
		assert_int_equal(page_enc_new(&no_enc, 4, NULL), -ENOMEM);
		mem_fail_after(n);
		if (n < 3)
			assert_int_equal(page_dec_new(&no_dec, 4, 9, NULL), -ENOMEM);
		mem_fail_after(MEM_NEVER);
	}
	page_enc_free(NULL);
	page_dec_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_kind),
		TEST(random_pages),
		TEST(digest),
		TEST(no_room_changes_nothing),
		TEST(bad_records),
		TEST(noise_is_not_tried_again),
		TEST(wrong_unpacked_size),
		TEST(delta_needs_its_page),
		TEST(bad_sizes),
	};

	return RUN_TESTS("page_codec", tests);
}
