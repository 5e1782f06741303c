/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include "lib/clock.h"

struct outer {
	char pad[12];
	int inner;
};

ASSERT_SIZE(struct outer, 16);

static int calls;

static int next(void)
{
	return ++calls;
}

static void min_max(void **state)
{
	assert_int_equal(MIN(3, 5), 3);
	assert_int_equal(MAX(3, 5), 5);
	assert_int_equal(MAX(MIN(3, 5), MIN(7, 4)), 4);
	assert_int_equal(MIN(next(), 100), 1);
	assert_int_equal(calls, 1);
}

static void containers(void **state)
{
	struct outer o = {.inner = 1};
	int *p = &o.inner;

	assert_ptr_equal(container_of(p, struct outer, inner), &o);
	assert_int_equal(ARRAY_SIZE(o.pad), 12);
	assert_int_equal(SIZEOF_FIELD(struct outer, pad), 12);
}

static void times(void **state)
{
	uint64_t a = clock_now();
	uint64_t b = clock_now();

	assert_true(b >= a && a > 0);
	assert_true(clock_add(CLOCK_NEVER, 1) == CLOCK_NEVER);
	assert_int_equal(clock_add(2, 3), 5);
	assert_int_equal(clock_until(7, 5), 2);
	assert_int_equal(clock_until(5, 7), 0);
	assert_int_equal(clock_poll_ms(0), 0);
	assert_int_equal(clock_poll_ms(1), 1);
	assert_int_equal(clock_poll_ms(2 * NS_PER_MS), 2);
	assert_int_equal(clock_poll_ms(CLOCK_NEVER), -1);
	assert_int_equal(clock_poll_ms(CLOCK_NEVER - 1), INT32_MAX);
	assert_int_equal(clock_timespec(3 * NS_PER_SEC + 7).tv_sec, 3);
	assert_int_equal(clock_timespec(3 * NS_PER_SEC + 7).tv_nsec, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(min_max),
		cmocka_unit_test(containers),
		cmocka_unit_test(times),
	};

	return RUN_TESTS("compiler", tests);
}
