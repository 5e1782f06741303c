/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages to records and back. Both sides keep the same direct-mapped cache of what was sent last,
 * so that a page that did not change is not sent and one that changed a little goes as an LZ4
 * packed difference. The record and the cache's rules are in docs/protocol.md.
 *
 * Each side's object belongs to one thread, the data thread. Nothing is allocated after _new.
 * After an error of page_decode() the two caches differ: the session is over.
 */
#ifndef REPLICATOR_PAGE_CODEC_H
#define REPLICATOR_PAGE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/rd.h"
#include "lib/wr.h"

struct err;
struct page_dec;
struct page_enc;

#define PAGE_BYTES 4096
/* The longest record. */
#define PAGE_RECORD_MAX (8 + PAGE_BYTES)
#define PAGE_MAX_SLOTS (UINT32_C(1) << 28)

/* Values from 1 on are on the wire. */
enum page_kind {
	PAGE_UNCHANGED = 0, /* no record: the other side has it */
	PAGE_ZERO = 1,
	PAGE_RAW = 2,
	PAGE_LZ4 = 3,	/* the page, packed */
	PAGE_DELTA = 4, /* what differs from the cached copy, packed */
};

#define PAGE_KINDS 5

struct page_counters {
	uint64_t pages[PAGE_KINDS]; /* by enum page_kind */
	uint64_t raw_bytes;	    /* PAGE_BYTES for each page, unchanged ones too */
	uint64_t wire_bytes;	    /* of the records */
};

/* What EPOCH_END counts: pages that were not left out. */
static inline uint64_t page_records(const struct page_counters *c)
{
	return c->pages[PAGE_ZERO] + c->pages[PAGE_RAW] + c->pages[PAGE_LZ4] + c->pages[PAGE_DELTA];
}

/* slots: 1..PAGE_MAX_SLOTS, PAGE_BYTES and a little of memory each. 0, -EINVAL or -ENOMEM. */
MUST_CHECK int page_enc_new(struct page_enc **out, uint32_t slots, struct err *e);
void page_enc_free(struct page_enc *enc);

/*
 * Encode one page into out. Returns its enum page_kind, or -ENOSPC when out has less than
 * PAGE_RECORD_MAX left: then nothing happened, neither there nor in the cache. The page is aligned to
 * 8 bytes at least and must not change meanwhile. pfn < 2^48. A page that is encoded must reach the peer: there is no way back.
 */
MUST_CHECK int page_encode(struct page_enc *enc, uint64_t pfn, const void *page, struct wr *out);
/* The same for a page that the guest may be writing: it is read once, and that copy is sent. */
MUST_CHECK int page_encode_live(struct page_enc *enc, uint64_t pfn, const volatile void *page,
				struct wr *out);

/* The digest over (pfn, content) of all records since the last call; starts anew. */
uint64_t page_enc_digest(struct page_enc *enc);
/* Since page_enc_new(). */
void page_enc_counters(const struct page_enc *enc, struct page_counters *out);

/* slots as the encoder has them; mem_pages: every pfn is below. */
MUST_CHECK int page_dec_new(struct page_dec **out, uint32_t slots, uint64_t mem_pages,
			    struct err *e);
void page_dec_free(struct page_dec *dec);

/*
 * Read one record. 0 with *pfn and *page (PAGE_BYTES, 16-byte aligned, valid until the next call;
 * copy it), or -EBADMSG with a text. No byte of the record is trusted.
 */
MUST_CHECK int page_decode(struct page_dec *dec, struct rd *in, uint64_t *pfn, const uint8_t **page,
			   struct err *e);

uint64_t page_dec_digest(struct page_dec *dec);
void page_dec_counters(const struct page_dec *dec, struct page_counters *out);

#endif
