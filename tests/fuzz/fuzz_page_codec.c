/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records from a hostile peer; and, with the same bytes as a recipe for changing memory, that
 * whatever is encoded arrives. First byte: number of slots.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/compiler.h"
#include "lib/err.h"
#include "replicator/page_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEM_PAGES 40
#define MAX_STEPS 32 /* a long recipe teaches nothing new */

static volatile uint8_t sink;

static void hostile(const uint8_t *data, size_t size, uint32_t slots)
{
	struct rd r = rd_init(data, size);
	struct page_dec *dec;
	struct err e = ERR_INIT;

	if (page_dec_new(&dec, slots, MEM_PAGES, &e) < 0)
		return;
	while (rd_left(&r)) {
		const uint8_t *page;
		uint64_t pfn;

		if (page_decode(dec, &r, &pfn, &page, &e) < 0) {
			assert(e.text[0]);
			break;
		}
		assert(pfn < MEM_PAGES);
		for (size_t i = 0; i < PAGE_BYTES; i += 64)
			sink = page[i];
		sink = page[PAGE_BYTES - 1];
	}
	page_dec_free(dec);
}

static void one_page(struct page_enc *enc, struct page_dec *dec, uint64_t pfn, const uint64_t *page)
{
	uint8_t out[PAGE_RECORD_MAX];
	struct wr w = wr_init(out, sizeof(out));
	int kind = page_encode(enc, pfn, page, &w);
	struct rd r = rd_init(out, wr_used(&w));
	struct err e = ERR_INIT;
	const uint8_t *got;
	uint64_t got_pfn;

	assert(kind >= 0);
	if (kind == PAGE_UNCHANGED)
		return;
	assert(page_decode(dec, &r, &got_pfn, &got, &e) == 0);
	assert(rd_done(&r) && got_pfn == pfn && memcmp(got, page, PAGE_BYTES) == 0);
}

/* Four bytes a step: page, where, how far, what. */
static void honest(const uint8_t *data, size_t size, uint32_t slots)
{
	static uint64_t memory[MEM_PAGES][PAGE_BYTES / 8];
	struct page_enc *enc = NULL;
	struct page_dec *dec = NULL;

	memset(memory, 0, sizeof(memory));
	if (page_enc_new(&enc, slots, NULL) == 0 &&
	    page_dec_new(&dec, slots, MEM_PAGES, NULL) == 0) {
		for (int i = 0; size >= 4 && i < MAX_STEPS; i++, data += 4, size -= 4) {
			uint64_t *page = memory[data[0] % MEM_PAGES];

			for (size_t k = data[1] * 2u; k < PAGE_BYTES / 8; k += data[2] + 1u)
				page[k] =
					page[k] * UINT64_C(6364136223846793005) * (data[3] & 0x7f) +
					data[3];
			one_page(enc, dec, data[0] % MEM_PAGES, page);
		}
		assert(page_enc_digest(enc) == page_dec_digest(dec));
	}
	page_enc_free(enc);
	page_dec_free(dec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t slots;

	if (!size)
		return 0;
	slots = data[0] % 16 + 1u;
	hostile(data + 1, size - 1, slots);
	honest(data + 1, size - 1, slots);
	return 0;
}
