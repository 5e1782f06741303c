/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "replicator/dirty.h"

#define WORDS 40
#define BITS (WORDS * 64)

/* One bit at a time: what the fast one must agree with. */
static size_t slow_scan(const uint64_t *bits, const uint64_t *present, size_t words, uint64_t *pfns,
			size_t *holes)
{
	size_t n = 0;

	*holes = 0;
	for (uint64_t i = 0; i < words * 64; i++) {
		if (!dirty_test(bits, i))
			continue;
		if (dirty_test(present, i))
			pfns[n++] = i;
		else
			(*holes)++;
	}
	return n;
}

static void check_scan(const uint64_t *bits, const uint64_t *present, size_t words)
{
	uint64_t want[BITS];
	uint64_t got[BITS + 1];
	struct dirty_found found;
	size_t holes;
	size_t n = slow_scan(bits, present, words, want, &holes);

	got[n] = 0x1234;
	assert_int_equal(dirty_scan(bits, present, words, got, n, &found), 0);
	assert_int_equal(found.pages, n);
	assert_int_equal(found.holes, holes);
	assert_memory_equal(got, want, n * sizeof(got[0]));
	assert_int_equal(got[n], 0x1234);
	if (n == 0)
		return;
	/* One too few: the rest is listed and counted, nothing is written behind. */
	got[n - 1] = 0x1234;
	assert_int_equal(dirty_scan(bits, present, words, got, n - 1, &found), -ENOSPC);
	assert_int_equal(found.pages, n);
	assert_int_equal(found.holes, holes);
	assert_memory_equal(got, want, (n - 1) * sizeof(got[0]));
	assert_int_equal(got[n - 1], 0x1234);
}

static void each_single_bit(void **state)
{
	uint64_t bits[WORDS];
	uint64_t all[WORDS];

	dirty_fill(all, WORDS, BITS);
	for (uint64_t i = 0; i < BITS; i++) {
		dirty_clear(bits, WORDS);
		dirty_set(bits, i);
		check_scan(bits, all, WORDS);
		assert_int_equal(dirty_next(bits, WORDS, 0), i);
		assert_int_equal(dirty_next(bits, WORDS, i), i);
		assert_true(dirty_next(bits, WORDS, i + 1) == UINT64_MAX);
		dirty_unset(bits, i);
		assert_int_equal(dirty_count(bits, WORDS), 0);
	}
}

/* Every length, so that the strides and the rest behind them all come. */
static void random_patterns(void **state)
{
	uint64_t bits[WORDS];
	uint64_t present[WORDS];

	srand48(7);
	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < WORDS; i++) {
			bits[i] = 0;
			present[i] = 0;
			for (int k = 0; k < round % 9; k++)
				bits[i] |= UINT64_C(1) << (lrand48() % 64);
			if (lrand48() % 3)
				bits[i] = 0;
			for (int k = 0; k < 90; k++)
				present[i] |= UINT64_C(1) << (lrand48() % 64);
		}
		for (size_t words = 0; words <= WORDS; words++)
			check_scan(bits, present, words);
	}
}

static void full(void **state)
{
	uint64_t all[WORDS];

	dirty_fill(all, WORDS, BITS);
	check_scan(all, all, WORDS);
}

static void no_room_at_all(void **state)
{
	const uint64_t bits[1] = {0xf0};
	const uint64_t present[1] = {0x7f};
	struct dirty_found found;

	assert_int_equal(dirty_scan(bits, present, 1, NULL, 0, &found), -ENOSPC);
	assert_int_equal(found.pages, 3);
	assert_int_equal(found.holes, 1);
}

static void fills(void **state)
{
	static const uint64_t cases[] = {0, 1, 63, 64, 65, 127, 128, BITS - 1, BITS};
	uint64_t bits[WORDS];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(bits, 0xa5, sizeof(bits));
		dirty_fill(bits, WORDS, cases[i]);
		assert_int_equal(dirty_count(bits, WORDS), cases[i]);
		for (uint64_t b = 0; b < BITS; b++)
			assert_int_equal(dirty_test(bits, b), b < cases[i]);
	}
}

static void combine(void **state)
{
	uint64_t a[3] = {0x1, 0, 0xf0};
	uint64_t b[3] = {0x3, 0, 0x0f};

	dirty_or(a, b, 3);
	assert_true(a[0] == 0x3 && a[1] == 0 && a[2] == 0xff);
	assert_true(b[0] == 0x3 && b[2] == 0x0f);
	a[0] = 0;
	dirty_take(a, b, 3);
	assert_true(a[0] == 0x3 && a[2] == 0xff);
	assert_int_equal(dirty_count(b, 3), 0);
	b[2] = 0x3c;
	dirty_drop(a, b, 3);
	assert_true(a[0] == 0x3 && a[2] == 0xc3);
}

static void next_walks_all(void **state)
{
	uint64_t bits[WORDS] = {0};
	static const uint64_t set[] = {0, 1, 63, 64, 700, BITS - 1};
	uint64_t at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		dirty_set(bits, set[i]);
	for (size_t i = 0; i < ARRAY_SIZE(set); i++) {
		at = dirty_next(bits, WORDS, at);
		assert_int_equal(at, set[i]);
		at++;
	}
	assert_true(dirty_next(bits, WORDS, at) == UINT64_MAX);
	assert_true(dirty_next(bits, WORDS, BITS + 1000) == UINT64_MAX);
	assert_true(dirty_next(bits, 0, 0) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_single_bit),
		cmocka_unit_test(random_patterns),
		cmocka_unit_test(full),
		cmocka_unit_test(no_room_at_all),
		cmocka_unit_test(fills),
		cmocka_unit_test(combine),
		cmocka_unit_test(next_walks_all),
	};

	return RUN_TESTS("dirty", tests);
}
