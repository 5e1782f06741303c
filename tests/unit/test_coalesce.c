/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <string.h>

#include "disk/coalesce.h"
#include "tests/lib/block_rec.h"

#define PLACES 64
#define MANY 40

static void nothing(void **state)
{
	assert_int_equal(coalesce(NULL, 0, NULL, NULL), 0);
}

static void the_last_one_wins(void **state)
{
	static const struct extent in[] = {{0, 100}, {20, 30}, {25, 60}, {200, 210}, {200, 205}};
	static const struct piece want[] = {{0, 20, 0},	 {20, 5, 1},  {25, 35, 2},
					    {60, 40, 0}, {200, 5, 4}, {205, 5, 3}};
	struct heap_node scratch[10];
	struct piece out[10];
	size_t n = coalesce(in, 5, scratch, out);

	assert_int_equal(n, ARRAY_SIZE(want));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(out[i].off, want[i].off);
		assert_int_equal(out[i].len, want[i].len);
		assert_int_equal(out[i].src, want[i].src);
	}
}

static void hidden_ones_are_gone(void **state)
{
	static const struct extent in[] = {{10, 20}, {12, 14}, {0, 64}};
	struct heap_node scratch[6];
	struct piece out[6];

	assert_int_equal(coalesce(in, 3, scratch, out), 1);
	assert_int_equal(out[0].src, 2);
	assert_int_equal(out[0].len, 64);
}

/* Against an array in which the extents are written one after the other. */
static void as_written_one_by_one(void **state)
{
	uint64_t seed = 5;

	for (int round = 0; round < 3000; round++) {
		struct heap_node scratch[2 * MANY];
		struct piece out[2 * MANY];
		struct extent in[MANY];
		int want[PLACES];
		int got[PLACES];
		uint32_t n = (uint32_t)rec_below(&seed, MANY + 1);
		uint64_t at = 0;
		size_t n_out;

		memset(want, 0xff, sizeof(want));
		memset(got, 0xff, sizeof(got));
		for (uint32_t i = 0; i < n; i++) {
			in[i].off = rec_below(&seed, PLACES);
			in[i].end = in[i].off + 1 + rec_below(&seed, PLACES - in[i].off);
			for (uint64_t k = in[i].off; k < in[i].end; k++)
				want[k] = (int)i;
		}
		n_out = coalesce(in, n, scratch, out);
		assert_true(n_out <= 2 * (size_t)n);
		for (size_t i = 0; i < n_out; i++) {
			assert_true(out[i].off >= at && out[i].len);
			at = out[i].off + out[i].len;
			for (uint64_t k = out[i].off; k < at; k++)
				got[k] = (int)out[i].src;
		}
		assert_memory_equal(want, got, sizeof(want));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing),
		cmocka_unit_test(the_last_one_wins),
		cmocka_unit_test(hidden_ones_are_gone),
		cmocka_unit_test(as_written_one_by_one),
	};

	return RUN_TESTS("coalesce", tests);
}
