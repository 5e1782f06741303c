/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include "lib/rd.h"

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0};

static void numbers(void **state)
{
	struct rd r = rd_init(bytes, sizeof(bytes));

	assert_int_equal(rd_u8(&r), 1);
	assert_int_equal(rd_u16(&r), 0x0302);
	assert_int_equal(rd_u32(&r), 0x07060504);
	assert_true(rd_u64(&r) == UINT64_C(0x0f0e0d0c0b0a0908));
	assert_int_equal(rd_left(&r), 2);
	assert_false(rd_done(&r));
	rd_zero(&r, 2);
	assert_true(rd_done(&r));
}

static void overrun_sticks(void **state)
{
	struct rd r = rd_init(bytes, 3);
	uint8_t dst[4] = {9, 9, 9, 9};

	assert_int_equal(rd_u32(&r), 0);
	assert_false(rd_ok(&r));
	/* One byte would have been there. */
	assert_int_equal(rd_u8(&r), 0);
	rd_bytes(&r, dst, sizeof(dst));
	assert_int_equal(dst[0] | dst[3], 0);
	assert_int_equal(rd_left(&r), 0);
	assert_null(rd_ptr(&r, 0));
	assert_false(rd_done(&r));
}

static void sizes_do_not_wrap(void **state)
{
	struct rd r = rd_init(bytes, sizeof(bytes));

	rd_skip(&r, 4);
	assert_null(rd_ptr(&r, SIZE_MAX));
	assert_false(rd_ok(&r));
}

static void every_cut(void **state)
{
	for (size_t n = 0; n < 15; n++) {
		struct rd r = rd_init(bytes, n);

		(void)rd_u8(&r);
		(void)rd_u16(&r);
		(void)rd_u32(&r);
		(void)rd_u64(&r);
		assert_false(rd_ok(&r));
	}
}

static void reserved_must_be_zero(void **state)
{
	struct rd r = rd_init(bytes + 14, 3);

	rd_zero(&r, 3);
	assert_false(rd_ok(&r));
}

static void part(void **state)
{
	struct rd r = rd_init(bytes, sizeof(bytes));
	struct rd sub = rd_sub(&r, 4);

	assert_int_equal(rd_u32(&sub), 0x04030201);
	assert_true(rd_done(&sub));
	assert_int_equal(rd_u8(&r), 5);
	sub = rd_sub(&r, 100);
	assert_false(rd_ok(&sub));
	assert_false(rd_ok(&r));
}

static void nothing(void **state)
{
	struct rd r = rd_init(NULL, 0);

	rd_skip(&r, 0);
	rd_zero(&r, 0);
	assert_true(rd_done(&r));
	assert_int_equal(rd_u8(&r), 0);
	assert_false(rd_ok(&r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(overrun_sticks),
		cmocka_unit_test(sizes_do_not_wrap),
		cmocka_unit_test(every_cut),
		cmocka_unit_test(reserved_must_be_zero),
		cmocka_unit_test(part),
		cmocka_unit_test(nothing),
	};

	return RUN_TESTS("rd", tests);
}
