/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See page_codec.h and "PAGES" in docs/protocol.md. */
#include "replicator/page_codec.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#include <lz4.h>

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/mem.h"

#define WORDS (PAGE_BYTES / sizeof(uint64_t))
#define PFN_BITS 48
#define KIND_SHIFT 56
#define PFN_MASK ((UINT64_C(1) << PFN_BITS) - 1)
/* With its length in front still shorter than a raw page. */
#define PACKED_MAX (PAGE_BYTES - 3)
#define NO_PFN UINT64_MAX
/* A page that could not be packed is sent raw so many times before it is tried again. */
#define SKIP_TRIES 8
/* After so many failures in a row only each eighth page is tried: a region of noise. */
#define NOISE_RUN 16
/* When more of a page has changed, its difference does not pack better than the page. */
#define DELTA_WORDS (WORDS / 4 * 3)
/* When so little has changed, it always does. */
#define DELTA_SURE (WORDS / 4)

struct page_buf {
	uint64_t word[WORDS];
};

/* The cache that both sides have. */
struct cache {
	uint32_t slots;
	uint64_t *tag; /* the page in the slot, NO_PFN: none */
	struct page_buf *page;
};

/* What both sides count. */
struct tally {
	struct digest digest;
	struct page_counters counters;
};

struct page_enc {
	struct tally tally;
	struct cache cache;
	uint8_t *skip;	   /* by slot: how many more times not to try packing */
	uint32_t failures; /* in a row */
	LZ4_stream_t lz4;
	struct page_buf live; /* the one reading of a page that may change */
	struct page_buf diff;
	uint8_t packed[PACKED_MAX];
};

struct page_dec {
	struct tally tally;
	struct cache cache;
	uint64_t mem_pages;
	struct page_buf diff;
	struct page_buf zero;
};

/* ---- loops over a page, in words that the compiler makes vectors of ----- */

static bool is_zero(const uint64_t *p)
{
	/* Most pages that are not zero say so in their first line. */
	for (size_t i = 0; i < WORDS; i += 64) {
		uint64_t any = 0;

		for (size_t k = 0; k < 64; k++)
			any |= p[i + k];
		if (any)
			return false;
	}
	return true;
}

/* out = a XOR b. Returns how many words differ. */
static size_t subtract(uint64_t *out, const uint64_t *a, const uint64_t *b)
{
	uint64_t changed = 0;

	for (size_t i = 0; i < WORDS; i++) {
		uint64_t d = a[i] ^ b[i];

		out[i] = d;
		changed += d != 0;
	}
	return (size_t)changed;
}

static void add(uint64_t *to, const uint64_t *diff)
{
	for (size_t i = 0; i < WORDS; i++)
		to[i] ^= diff[i];
}

/* ---- what both sides have ------------------------------------------------ */

static int cache_init(struct cache *c, uint32_t slots)
{
	c->slots = slots;
	c->tag = mem_array(slots, sizeof(*c->tag));
	c->page = mem_array(slots, sizeof(*c->page));
	if (!c->tag || !c->page)
		return -ENOMEM;
	for (uint32_t i = 0; i < slots; i++)
		c->tag[i] = NO_PFN;
	return 0;
}

static void cache_fini(struct cache *c)
{
	mem_free(c->tag);
	mem_free(c->page);
}

/* The page of this number in the cache, or NULL. */
static struct page_buf *cache_find(const struct cache *c, uint64_t pfn)
{
	size_t slot = pfn % c->slots;

	return c->tag[slot] == pfn ? &c->page[slot] : NULL;
}

/* After a ZERO record. */
static void cache_forget(struct cache *c, uint64_t pfn)
{
	size_t slot = pfn % c->slots;

	if (c->tag[slot] == pfn)
		c->tag[slot] = NO_PFN;
}

/* After any other record; the caller fills the page. */
static struct page_buf *cache_take(struct cache *c, uint64_t pfn)
{
	size_t slot = pfn % c->slots;

	c->tag[slot] = pfn;
	return &c->page[slot];
}

static void tally_add(struct tally *t, enum page_kind kind, uint64_t pfn, const void *page,
		      size_t wire_bytes)
{
	uint64_t wire_pfn = htole64(pfn);

	t->counters.pages[kind]++;
	t->counters.raw_bytes += PAGE_BYTES;
	t->counters.wire_bytes += wire_bytes;
	if (kind == PAGE_UNCHANGED)
		return;
	digest_update(&t->digest, &wire_pfn, sizeof(wire_pfn));
	digest_update(&t->digest, page, PAGE_BYTES);
}

static uint64_t tally_digest(struct tally *t)
{
	uint64_t sum = digest_final(&t->digest);

	digest_init(&t->digest);
	return sum;
}

static int check_slots(uint32_t slots, struct err *e)
{
	if (slots && slots <= PAGE_MAX_SLOTS)
		return 0;
	return err_setx(e, -EINVAL, "a page cache of %u slots", slots);
}

/* ---- encoding ----------------------------------------------------------- */

int page_enc_new(struct page_enc **out, uint32_t slots, struct err *e)
{
	struct page_enc *enc;
	int rc = check_slots(slots, e);

	if (rc < 0)
		return rc;
	enc = mem_aligned(alignof(struct page_enc), sizeof(*enc));
	if (enc)
		enc->skip = mem_array(slots, sizeof(*enc->skip));
	if (!enc || !enc->skip || cache_init(&enc->cache, slots) < 0) {
		page_enc_free(enc);
		return err_set(e, -ENOMEM, "a page cache of %u slots", slots);
	}
	digest_init(&enc->tally.digest);
	(void)LZ4_initStream(&enc->lz4, sizeof(enc->lz4));
	*out = enc;
	return 0;
}

void page_enc_free(struct page_enc *enc)
{
	if (!enc)
		return;
	cache_fini(&enc->cache);
	mem_free(enc->skip);
	mem_free(enc);
}

/* Size of what is in enc->packed then, or 0: does not get shorter. */
static size_t pack(struct page_enc *enc, const struct page_buf *page)
{
	int n;

	/* The cheap way to forget the page before: the table is not cleared each time. */
	LZ4_resetStream_fast(&enc->lz4);
	n = LZ4_compress_fast_continue(&enc->lz4, (const char *)page, (char *)enc->packed,
				       PAGE_BYTES, PACKED_MAX, 1);
	return n > 0 ? (size_t)n : 0;
}

/* Packing costs the most where it gains nothing: noise is left alone for a while. */
static bool worth_a_try(struct page_enc *enc, size_t slot)
{
	if (enc->skip[slot]) {
		enc->skip[slot]--;
		return false;
	}
	return enc->failures < NOISE_RUN || enc->failures++ % 8 == 0;
}

/* Chooses how the page goes; what is packed lies in enc->packed, *size of it. */
static enum page_kind choose(struct page_enc *enc, uint64_t pfn, const struct page_buf *page,
			     size_t *size)
{
	const struct page_buf *old = cache_find(&enc->cache, pfn);
	size_t slot = pfn % enc->cache.slots;
	size_t changed = WORDS;
	bool try;

	if (is_zero(page->word))
		return PAGE_ZERO;
	if (old)
		changed = subtract(enc->diff.word, page->word, old->word);
	else
		enc->skip[slot] = 0;
	if (!changed)
		return PAGE_UNCHANGED;
	try = changed <= DELTA_SURE || worth_a_try(enc, slot);
	if (!try)
		return PAGE_RAW;
	if (changed <= DELTA_WORDS) {
		*size = pack(enc, &enc->diff);
		if (*size)
			return PAGE_DELTA;
	}
	*size = pack(enc, page);
	enc->failures = *size ? 0 : enc->failures + 1;
	enc->skip[slot] = *size ? 0 : SKIP_TRIES;
	return *size ? PAGE_LZ4 : PAGE_RAW;
}

static void put_record(const struct page_enc *enc, uint64_t pfn, enum page_kind kind,
		       const struct page_buf *page, size_t size, struct wr *out)
{
	wr_u64(out, pfn | (uint64_t)kind << KIND_SHIFT);
	if (kind == PAGE_RAW) {
		wr_bytes(out, page, PAGE_BYTES);
	} else if (kind != PAGE_ZERO) {
		wr_u16(out, (uint16_t)size);
		wr_bytes(out, enc->packed, size);
	}
}

int page_encode(struct page_enc *enc, uint64_t pfn, const void *page, struct wr *out)
{
	const struct page_buf *buf = page;
	size_t before = wr_used(out);
	enum page_kind kind;
	size_t size = 0;

	assert(pfn <= PFN_MASK && (uintptr_t)page % sizeof(uint64_t) == 0);
	if (wr_left(out) < PAGE_RECORD_MAX)
		return -ENOSPC;
	kind = choose(enc, pfn, buf, &size);
	if (kind != PAGE_UNCHANGED) {
		put_record(enc, pfn, kind, buf, size, out);
		if (kind == PAGE_ZERO)
			cache_forget(&enc->cache, pfn);
		else
			*cache_take(&enc->cache, pfn) = *buf;
	}
	tally_add(&enc->tally, kind, pfn, page, wr_used(out) - before);
	return (int)kind;
}

int page_encode_live(struct page_enc *enc, uint64_t pfn, const volatile void *page, struct wr *out)
{
	const volatile uint64_t *word = page;

	for (size_t i = 0; i < WORDS; i++)
		enc->live.word[i] = word[i];
	return page_encode(enc, pfn, &enc->live, out);
}

uint64_t page_enc_digest(struct page_enc *enc)
{
	return tally_digest(&enc->tally);
}

void page_enc_counters(const struct page_enc *enc, struct page_counters *out)
{
	*out = enc->tally.counters;
}

/* ---- decoding ----------------------------------------------------------- */

int page_dec_new(struct page_dec **out, uint32_t slots, uint64_t mem_pages, struct err *e)
{
	struct page_dec *dec;
	int rc = check_slots(slots, e);

	if (rc < 0)
		return rc;
	if (!mem_pages || mem_pages > PFN_MASK)
		return err_setx(e, -EINVAL, "%llu pages of memory", (unsigned long long)mem_pages);
	dec = mem_aligned(alignof(struct page_dec), sizeof(*dec));
	if (!dec || cache_init(&dec->cache, slots) < 0) {
		page_dec_free(dec);
		return err_set(e, -ENOMEM, "a page cache of %u slots", slots);
	}
	dec->mem_pages = mem_pages;
	digest_init(&dec->tally.digest);
	*out = dec;
	return 0;
}

void page_dec_free(struct page_dec *dec)
{
	if (!dec)
		return;
	cache_fini(&dec->cache);
	mem_free(dec);
}

static bool unpack(struct rd *in, struct page_buf *out)
{
	uint16_t size = rd_u16(in);
	const uint8_t *packed = rd_ptr(in, size);

	return packed && size && size <= PACKED_MAX &&
	       LZ4_decompress_safe((const char *)packed, (char *)out, size, PAGE_BYTES) ==
		       PAGE_BYTES;
}

static const struct page_buf *get_page(struct page_dec *dec, struct rd *in, uint64_t pfn,
				       unsigned int kind)
{
	struct page_buf *old = cache_find(&dec->cache, pfn);
	struct page_buf *page;

	switch (kind) {
	case PAGE_ZERO:
		cache_forget(&dec->cache, pfn);
		return &dec->zero;
	case PAGE_RAW:
		page = cache_take(&dec->cache, pfn);
		rd_bytes(in, page, PAGE_BYTES);
		return page;
	case PAGE_LZ4:
		page = cache_take(&dec->cache, pfn);
		return unpack(in, page) ? page : NULL;
	case PAGE_DELTA:
		if (!old || !unpack(in, &dec->diff))
			return NULL;
		add(old->word, dec->diff.word);
		return old;
	default:
		return NULL;
	}
}

int page_decode(struct page_dec *dec, struct rd *in, uint64_t *pfn, const uint8_t **page,
		struct err *e)
{
	size_t before = rd_left(in);
	uint64_t head = rd_u64(in);
	unsigned int kind = (unsigned int)(head >> KIND_SHIFT);
	const struct page_buf *buf = NULL;

	*pfn = head & ((UINT64_C(1) << KIND_SHIFT) - 1);
	if (!rd_ok(in))
		return err_setx(e, -EBADMSG, "PAGES from the peer end within a record");
	if (*pfn >= dec->mem_pages)
		return err_setx(e, -EBADMSG, "PAGES from the peer: page 0x%llx of 0x%llx",
				(unsigned long long)*pfn, (unsigned long long)dec->mem_pages);
	buf = get_page(dec, in, *pfn, kind);
	if (!buf || !rd_ok(in))
		return err_setx(e, -EBADMSG,
				"PAGES from the peer: bad record of kind %u for page 0x%llx", kind,
				(unsigned long long)*pfn);
	tally_add(&dec->tally, (enum page_kind)kind, *pfn, buf, before - rd_left(in));
	*page = (const uint8_t *)buf;
	return 0;
}

uint64_t page_dec_digest(struct page_dec *dec)
{
	return tally_digest(&dec->tally);
}

void page_dec_counters(const struct page_dec *dec, struct page_counters *out)
{
	*out = dec->tally.counters;
}
