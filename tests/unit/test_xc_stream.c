/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte for byte what the two specifications draw. */
#include "tests/lib/test.h"

#include <string.h>

#include "replicator/xc_stream.h"

#define EXPECT(w, ...)                                                \
	do {                                                          \
		static const uint8_t golden[] = {__VA_ARGS__};        \
		assert_true(wr_ok(&(w)));                             \
		assert_int_equal(wr_used(&(w)), sizeof(golden));      \
		assert_memory_equal((w).buf, golden, sizeof(golden)); \
	} while (0)

static void headers(void **state)
{
	uint8_t buf[128];
	struct wr w = wr_init(buf, sizeof(buf));

	xcs_put_headers(&w, 4, 17);
	assert_int_equal(wr_used(&w), XCS_HEADERS_SIZE);
	EXPECT(w, 'L', 'i', 'b', 'x', 'l', 'F', 'm', 't', 0, 0, 0, 2, 0, 0, 0, 0, /* libxl */
	       1, 0, 0, 0, 0, 0, 0, 0, /* LIBXC_CONTEXT */
	       255, 255, 255, 255, 255, 255, 255, 255, 'X', 'E', 'N', 'F', 0, 0, 0, 3, 0, 0, 0, 0,
	       0, 0, 0, 0,					  /* libxc image */
	       2, 0, 0, 0, 12, 0, 0, 0, 4, 0, 0, 0, 17, 0, 0, 0); /* libxc domain */
}

static void static_data(void **state)
{
	const struct wire_leaf leaf[] = {{1, 2, 3, 4, 5, 0x01020304}};
	const struct wire_msr msr[] = {{0xce, 0, 0x80000000}};
	uint8_t buf[256];
	struct wr w = wr_init(buf, sizeof(buf));

	xcs_put_cpuid(&w, leaf, 1);
	xcs_put_msrs(&w, msr, 1);
	xcs_put_static_end(&w);
	EXPECT(w, 0x11, 0, 0, 0, 24, 0, 0, 0,					       /**/
	       1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 4, 3, 2, 1, /**/
	       0x12, 0, 0, 0, 16, 0, 0, 0, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0,
	       0, /**/
	       0x10, 0, 0, 0, 0, 0, 0, 0);

	w = wr_init(buf, sizeof(buf));
	xcs_put_cpuid(&w, leaf, 0);
	xcs_put_msrs(&w, msr, 0);
	xcs_put_params(&w, NULL, 0);
	assert_int_equal(wr_used(&w), 0);
}

static void pages(void **state)
{
	const uint64_t pfn[] = {5, UINT64_C(0x0000feff0)};
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	xcs_put_pages(&w, pfn, 2);
	assert_int_equal(wr_used(&w), XCS_PAGES_HEAD_SIZE(2));
	/* 8 + 2 * 8 + 2 * 4096 = 0x2018 */
	EXPECT(w, 1, 0, 0, 0, 0x18, 0x20, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, /**/
	       5, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0xef, 0x0f, 0, 0, 0, 0, 0);
}

static void pages_out_of_range(void **state)
{
	static uint64_t pfn[XCS_BATCH_PAGES + 1];
	static uint8_t buf[XCS_PAGES_HEAD_SIZE(XCS_BATCH_PAGES + 1)];
	static const struct {
		uint64_t first;
		size_t room;
		uint32_t n;
		bool ok;
	} cases[] = {
		{0, sizeof(buf), 1, true},
		{0, sizeof(buf), XCS_BATCH_PAGES, true},
		{0, XCS_PAGES_HEAD_SIZE(XCS_BATCH_PAGES), XCS_BATCH_PAGES, true},
		{0, XCS_PAGES_HEAD_SIZE(XCS_BATCH_PAGES) - 1, XCS_BATCH_PAGES, false},
		{XCS_PFN_LIMIT - 1, sizeof(buf), 1, true},
		{0, sizeof(buf), 0, false},
		{0, sizeof(buf), XCS_BATCH_PAGES + 1, false},
		{XCS_PFN_LIMIT, sizeof(buf), 1, false},
		{UINT64_MAX, sizeof(buf), 1, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wr w = wr_init(buf, cases[i].room);

		pfn[0] = cases[i].first;
		xcs_put_pages(&w, pfn, cases[i].n);
		assert_int_equal(wr_ok(&w), cases[i].ok);
	}
}

static void guest_state(void **state)
{
	const struct wire_tsc_info tsc = {.mode = 1, .khz = 2, .nsec = 3, .incarnation = 4};
	const struct wire_param param[] = {{1, 0xfeffc}, {17, 0xfeffe}};
	uint8_t buf[256];
	struct wr w = wr_init(buf, sizeof(buf));

	xcs_put_tsc(&w, &tsc);
	assert_int_equal(wr_used(&w), XCS_TSC_SIZE);
	EXPECT(w, 8, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0,
	       0, 0, 0, 0, 0);
	w = wr_init(buf, sizeof(buf));
	xcs_put_params(&w, param, 2);
	assert_int_equal(wr_used(&w), XCS_PARAMS_SIZE(2));
	EXPECT(w, 10, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,	/**/
	       1, 0, 0, 0, 0, 0, 0, 0, 0xfc, 0xef, 0x0f, 0, 0, 0, 0, 0, /**/
	       17, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xef, 0x0f, 0, 0, 0, 0, 0);
	w = wr_init(buf, sizeof(buf));
	xcs_put_context(&w, "abcdefghi", 9);
	assert_int_equal(wr_used(&w), XCS_BLOB_SIZE(9));
	EXPECT(w, 9, 0, 0, 0, 9, 0, 0, 0, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 0, 0, 0, 0,
	       0, 0, 0);
	w = wr_init(buf, sizeof(buf));
	xcs_put_context(&w, "abcdefgh", 8);
	EXPECT(w, 9, 0, 0, 0, 8, 0, 0, 0, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
	w = wr_init(buf, sizeof(buf));
	xcs_put_checkpoint(&w);
	assert_int_equal(wr_used(&w), XCS_CHECKPOINT_SIZE);
	EXPECT(w, 14, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0);
}

static void record_too_long(void **state)
{
	static uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	xcs_put_context(&w, buf, (size_t)XCS_RECORD_MAX + 1);
	assert_false(wr_ok(&w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),     cmocka_unit_test(static_data),
		cmocka_unit_test(pages),       cmocka_unit_test(pages_out_of_range),
		cmocka_unit_test(guest_state), cmocka_unit_test(record_too_long),
	};

	return RUN_TESTS("xc_stream", tests);
}
