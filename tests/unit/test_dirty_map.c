/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/dirty_map.h"
#include "lib/err.h"
#include "lib/mem.h"

#define K UINT64_C(4096)
#define GIB (UINT64_C(1) << 30)

static struct dirty_map *map_of(uint64_t bytes)
{
	struct dirty_map *m = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(dirty_map_new(&m, bytes, &e), 0);
	assert_true(dirty_map_disk_bytes(m) == bytes);
	assert_true(dirty_map_count(m) == 0);
	return m;
}

static void rounds_to_the_safe_side(void **state)
{
	static const struct {
		uint64_t off, len, set, left; /* left: of a full map after clearing the range */
	} cases[] = {
		{0, 0, 0, 11},
		{0, K, 1, 10},
		{0, 1, 1, 11},
		{512, K, 2, 11},
		{512, 2 * K, 3, 10},
		{K - 512, 1024, 2, 11},
		{K, 2 * K, 2, 9},
		{0, 11 * K, 11, 0},
		{0, 10 * K + 512, 11, 0}, /* the disk's end: the short block is whole */
		{10 * K, 512, 1, 10},
		{10 * K, 511, 1, 11},
		{10 * K + 1, 511, 1, 11},
		{10 * K, UINT64_MAX, 1, 10},
		{11 * K, 512, 0, 11},
		{UINT64_MAX, UINT64_MAX, 0, 11},
		{0, UINT64_MAX, 11, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dirty_map *m = map_of(10 * K + 512);

		dirty_map_set(m, cases[i].off, cases[i].len);
		assert_true(dirty_map_count(m) == cases[i].set);
		assert_true(dirty_map_any(m, cases[i].off, cases[i].len) == (cases[i].set > 0));
		assert_true(dirty_map_all(m, cases[i].off, cases[i].len));
		dirty_map_set_all(m);
		assert_true(dirty_map_count(m) == 11);
		assert_true(dirty_map_bytes(m) == 10 * K + 512);
		dirty_map_clear(m, cases[i].off, cases[i].len);
		assert_true(dirty_map_count(m) == cases[i].left);
		dirty_map_clear_all(m);
		assert_true(dirty_map_count(m) == 0);
		assert_false(dirty_map_any(m, 0, UINT64_MAX));
		dirty_map_free(m);
	}
}

/* Everything against an array of bytes, over the border of two chunks. */
static void does_what_an_array_does(void **state)
{
	enum {
		SPAN = 512
	};
	const uint64_t first = (UINT64_C(1) << 20) - SPAN / 2; /* blocks around 4 GiB */
	struct dirty_map *m = map_of(6 * GIB);
	bool want[SPAN] = {false};

	srand(7);
	for (int round = 0; round < 20000; round++) {
		uint64_t at = (uint64_t)(rand() % SPAN);
		uint64_t n = (uint64_t)rand() % MIN((uint64_t)SPAN - at, UINT64_C(130)) + 1;
		bool on = rand() % 2;
		uint64_t count = 0, off = 0, len = 0, next, same;
		bool marked;

		for (uint64_t i = at; i < at + n; i++)
			want[i] = on;
		if (on)
			dirty_map_set(m, (first + at) * K, n * K);
		else
			dirty_map_clear(m, (first + at) * K, n * K);
		for (uint64_t i = 0; i < SPAN; i++)
			count += want[i];
		assert_true(dirty_map_count(m) == count);
		at = (uint64_t)(rand() % SPAN);
		next = same = at;
		while (next < SPAN && !want[next])
			next++;
		assert_true(dirty_map_next_run(m, (first + at) * K, UINT64_MAX, 64 * K, &off,
					       &len) == (next < SPAN));
		for (n = 0; next + n < SPAN && want[next + n] && n < 64; n++)
			;
		assert_true(next == SPAN || (off == (first + next) * K && len == n * K));
		while (same < SPAN && want[same] == want[at])
			same++;
		assert_true(dirty_map_same(m, (first + at) * K, (SPAN - at) * K, &marked) ==
			    (same - at) * K);
		assert_true(marked == want[at]);
	}
	dirty_map_free(m);
}

static void says_what_is_the_same(void **state)
{
	struct dirty_map *m = map_of(100 * K);
	bool marked;

	dirty_map_set(m, 2 * K, 3 * K);
	assert_true(dirty_map_same(m, 512, 4 * K, &marked) == 2 * K - 512);
	assert_false(marked);
	assert_true(dirty_map_same(m, 3 * K + 512, 512, &marked) == 512);
	assert_true(marked);
	assert_true(dirty_map_same(m, 3 * K + 512, 50 * K, &marked) == 2 * K - 512);
	assert_true(marked);
	assert_true(dirty_map_same(m, 5 * K, 95 * K, &marked) == 95 * K);
	assert_false(marked);
	assert_true(dirty_map_same(m, 2 * K, 0, &marked) == 0);
	dirty_map_free(m);
}

static void finds_runs_up_to_an_end(void **state)
{
	struct dirty_map *m = map_of(16 * GIB + 512);
	uint64_t off, len;

	assert_false(dirty_map_next_run(m, 0, UINT64_MAX, K, &off, &len));
	dirty_map_set(m, 16 * GIB, 512);
	dirty_map_set(m, 8 * GIB - 2 * K, 4 * K);
	assert_true(dirty_map_next_run(m, 0, UINT64_MAX, 256 * K, &off, &len));
	assert_true(off == 8 * GIB - 2 * K && len == 4 * K);
	assert_true(dirty_map_next_run(m, 0, 8 * GIB - K, 256 * K, &off, &len));
	assert_true(off == 8 * GIB - 2 * K && len == K);
	assert_false(dirty_map_next_run(m, 0, 8 * GIB - 2 * K, 256 * K, &off, &len));
	assert_true(dirty_map_next_run(m, 8 * GIB + 2 * K, UINT64_MAX, 1, &off, &len));
	assert_true(off == 16 * GIB && len == 512);
	dirty_map_free(m);
}

static void joins_and_compares(void **state)
{
	struct dirty_map *a = map_of(9 * GIB);
	struct dirty_map *b = map_of(9 * GIB);
	struct dirty_map *c = map_of(9 * GIB + 512);

	dirty_map_set(a, 0, 3 * K);
	dirty_map_set(b, 2 * K, 3 * K);
	dirty_map_set(b, 8 * GIB, K);
	assert_false(dirty_map_equal(a, b));
	assert_false(dirty_map_covers(a, b));
	assert_int_equal(dirty_map_or(a, b), 0);
	assert_true(dirty_map_count(a) == 6);
	assert_true(dirty_map_covers(a, b));
	assert_false(dirty_map_covers(b, a));
	dirty_map_set(b, 0, 2 * K);
	assert_true(dirty_map_equal(a, b));
	assert_int_equal(dirty_map_or(c, b), -EINVAL);
	assert_false(dirty_map_covers(c, b));
	dirty_map_free(a);
	dirty_map_free(b);
	dirty_map_free(c);
	dirty_map_free(NULL);
}

static void travels_in_pieces(void **state)
{
	struct dirty_map *a = map_of(100 * K);
	struct dirty_map *b = map_of(100 * K);
	uint8_t bits[16];

	dirty_map_set(a, 3 * K, 70 * K);
	dirty_map_set(a, 99 * K, K);
	dirty_map_get_bits(a, 0, bits, sizeof(bits));
	assert_int_equal(bits[0], 0xf8);
	assert_int_equal(bits[12], 0x08);
	assert_int_equal(bits[13], 0);
	assert_int_equal(dirty_map_or_bits(b, 0, bits, sizeof(bits)), 0);
	assert_true(dirty_map_equal(a, b));
	dirty_map_get_bits(a, 64, bits, 5);
	dirty_map_clear_all(b);
	assert_int_equal(dirty_map_or_bits(b, 64, bits, 5), 0);
	assert_true(dirty_map_count(b) == 10);
	/* A peer that claims blocks beyond the end. */
	memset(bits, 0xff, sizeof(bits));
	assert_int_equal(dirty_map_or_bits(b, 96, bits, 2), -EBADMSG);
	assert_true(dirty_map_count(b) == 13);
	assert_int_equal(dirty_map_or_bits(b, UINT64_MAX - 7, bits, 1), -EBADMSG);
	dirty_map_free(a);
	dirty_map_free(b);
}

static void refuses_and_fails_in_a_defined_way(void **state)
{
	struct dirty_map *m = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(dirty_map_new(&m, 0, &e), -EINVAL);
	assert_int_equal(dirty_map_new(&m, DIRTY_DISK_MAX + 1, &e), -EINVAL);
	for (long n = 0; n < 5; n++) {
		mem_fail_after(n);
		assert_int_equal(dirty_map_new(&m, 5 * GIB, &e), -ENOMEM);
		mem_fail_after(MEM_NEVER);
		assert_null(m);
	}
	assert_non_null(strstr(e.text, "5120 MiB"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rounds_to_the_safe_side),
		cmocka_unit_test(does_what_an_array_does),
		cmocka_unit_test(says_what_is_the_same),
		cmocka_unit_test(finds_runs_up_to_an_end),
		cmocka_unit_test(joins_and_compares),
		cmocka_unit_test(travels_in_pieces),
		cmocka_unit_test(refuses_and_fails_in_a_defined_way),
	};

	return RUN_TESTS("dirty_map", tests);
}
