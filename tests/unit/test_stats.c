/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <stdlib.h>

#include "lib/stats.h"

static void empty(void **state)
{
	struct hist h;

	hist_init(&h);
	assert_int_equal(hist_mean(&h), 0);
	assert_int_equal(hist_percentile(&h, 0.5), 0);
}

static void buckets_tile_the_numbers(void **state)
{
	for (unsigned int i = 0; i + 1 < HIST_BUCKETS; i++)
		assert_true(hist_bucket_low(i) + hist_bucket_width(i) == hist_bucket_low(i + 1));
	assert_true(hist_bucket_low(HIST_BUCKETS - 1) + (hist_bucket_width(HIST_BUCKETS - 1) - 1) ==
		    UINT64_MAX);
}

static void value_goes_to_its_bucket(void **state)
{
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		struct hist h;

		hist_init(&h);
		hist_add(&h, hist_bucket_low(i));
		hist_add(&h, hist_bucket_low(i) + (hist_bucket_width(i) - 1));
		assert_int_equal(h.bucket[i], 2);
	}
}

static void exact_when_small(void **state)
{
	struct hist h;

	hist_init(&h);
	for (uint64_t v = 1; v <= 10; v++)
		hist_add(&h, v);
	assert_int_equal(h.count, 10);
	assert_int_equal(h.sum, 55);
	assert_int_equal(h.min, 1);
	assert_int_equal(h.max, 10);
	assert_int_equal(hist_percentile(&h, 0), 1);
	assert_int_equal(hist_percentile(&h, 0.5), 5);
	assert_int_equal(hist_percentile(&h, 0.9), 9);
	assert_int_equal(hist_percentile(&h, 1), 10);
}

static void percentiles_are_close(void **state)
{
	static const double shares[] = {0.01, 0.1, 0.5, 0.9, 0.99, 0.999};
	struct hist h;

	hist_init(&h);
	for (uint64_t v = 1; v <= 1000000; v++)
		hist_add(&h, v);
	for (unsigned int i = 0; i < ARRAY_SIZE(shares); i++) {
		double truth = shares[i] * 1000000;
		double got = (double)hist_percentile(&h, shares[i]);

		assert_true(got > truth * 0.99 && got < truth * 1.01);
	}
	assert_int_equal(hist_mean(&h), 500000);
}

static void one_value(void **state)
{
	struct hist h;

	hist_init(&h);
	hist_add(&h, 123456789);
	assert_int_equal(hist_percentile(&h, 0.01), 123456789);
	assert_int_equal(hist_percentile(&h, 0.99), 123456789);
}

static void extremes(void **state)
{
	struct hist h;

	hist_init(&h);
	hist_add(&h, UINT64_MAX);
	hist_add(&h, UINT64_MAX);
	hist_add(&h, 0);
	assert_true(h.sum == UINT64_MAX);
	assert_true(hist_percentile(&h, 0.99) > UINT64_MAX / 2);
	assert_int_equal(hist_percentile(&h, 0.01), 0);
}

static void merged(void **state)
{
	struct hist a;
	struct hist b;
	struct hist both;

	hist_init(&a);
	hist_init(&b);
	hist_init(&both);
	for (uint64_t v = 0; v < 1000; v++) {
		hist_add(v % 3 ? &a : &b, v * v);
		hist_add(&both, v * v);
	}
	hist_merge(&a, &b);
	assert_memory_equal(&a, &both, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(buckets_tile_the_numbers),
		cmocka_unit_test(value_goes_to_its_bucket),
		cmocka_unit_test(exact_when_small),
		cmocka_unit_test(percentiles_are_close),
		cmocka_unit_test(one_value),
		cmocka_unit_test(extremes),
		cmocka_unit_test(merged),
	};

	return RUN_TESTS("stats", tests);
}
