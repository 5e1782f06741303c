/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include "replicator/throttle.h"

#define ARENA 1000

static void harder(void **state)
{
	static const uint32_t steps[] = {100, 70, 50, 35, 25, 18, 13, 10, 10};

	for (size_t i = 0; i + 1 < ARRAY_SIZE(steps); i++)
		assert_int_equal(throttle_harder(steps[i]), steps[i + 1]);
}

static void by_the_size_of_the_epoch(void **state)
{
	static const struct {
		uint32_t percent;
		uint32_t pages;
		uint32_t next;
		uint32_t calm;
	} cases[] = {
		{100, 0, 100, 6},   {100, 249, 100, 6}, {100, 250, 100, 0},
		{100, 500, 100, 0}, {100, 501, 70, 0},	{70, 1000, 50, 0},
		{10, 1000, 10, 0},  {10, 250, 10, 0},	{50, UINT32_MAX, 35, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t calm = 5;

		assert_int_equal(throttle_next(cases[i].percent, &calm, cases[i].pages, ARENA),
				 cases[i].next);
		assert_int_equal(calm, cases[i].calm);
	}
}

static void relaxes_after_a_while(void **state)
{
	uint32_t percent = 50;
	uint32_t calm = 0;

	for (int i = 0; i < 31; i++)
		percent = throttle_next(percent, &calm, 1, ARENA);
	assert_int_equal(percent, 50);
	percent = throttle_next(percent, &calm, 1, ARENA);
	assert_int_equal(percent, 70);
	for (int i = 0; i < 32; i++)
		percent = throttle_next(percent, &calm, 1, ARENA);
	assert_int_equal(percent, 100);
	for (int i = 0; i < 64; i++)
		percent = throttle_next(percent, &calm, 1, ARENA);
	assert_int_equal(percent, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(harder),
		cmocka_unit_test(by_the_size_of_the_epoch),
		cmocka_unit_test(relaxes_after_a_while),
	};

	return RUN_TESTS("throttle", tests);
}
