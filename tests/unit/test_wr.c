/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include "lib/rd.h"
#include "lib/wr.h"

static void layout(void **state)
{
	static const uint8_t golden[] = {1,  3,	 2,  7, 6, 5,	4,   15, 14, 13,
					 12, 11, 10, 9, 8, 'x', 'y', 0,	 0};
	uint8_t buf[sizeof(golden)];
	struct wr w = wr_init(buf, sizeof(buf));

	wr_u8(&w, 1);
	wr_u16(&w, 0x0203);
	wr_u32(&w, 0x04050607);
	wr_u64(&w, UINT64_C(0x08090a0b0c0d0e0f));
	wr_bytes(&w, "xy", 2);
	wr_zero(&w, 2);
	assert_true(wr_ok(&w));
	assert_int_equal(wr_used(&w), sizeof(golden));
	assert_int_equal(wr_left(&w), 0);
	assert_memory_equal(buf, golden, sizeof(golden));
}

static void overrun_sticks(void **state)
{
	uint8_t buf[8] = {0};
	struct wr w = wr_init(buf, 6);

	wr_u32(&w, 1);
	wr_u32(&w, 0xffffffff);
	wr_u8(&w, 0xff);
	assert_false(wr_ok(&w));
	assert_int_equal(buf[4] | buf[5] | buf[6] | buf[7], 0);
	assert_int_equal(wr_left(&w), 0);
}

static void sizes_do_not_wrap(void **state)
{
	uint8_t buf[8];
	struct wr w = wr_init(buf, sizeof(buf));

	wr_u32(&w, 1);
	assert_null(wr_ptr(&w, SIZE_MAX));
	assert_false(wr_ok(&w));
}

static void patch(void **state)
{
	uint8_t buf[12];
	struct wr w = wr_init(buf, sizeof(buf));
	struct rd r;

	wr_zero(&w, 12);
	wr_patch_u32(&w, 8, 77);
	wr_patch_u64(&w, 0, 88);
	assert_true(wr_ok(&w));
	r = rd_init(buf, sizeof(buf));
	assert_true(rd_u64(&r) == 88);
	assert_int_equal(rd_u32(&r), 77);
	wr_patch_u32(&w, 9, 1);
	assert_false(wr_ok(&w));

	w = wr_init(buf, sizeof(buf));
	wr_patch_u64(&w, SIZE_MAX, 1);
	assert_false(wr_ok(&w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout),
		cmocka_unit_test(overrun_sticks),
		cmocka_unit_test(sizes_do_not_wrap),
		cmocka_unit_test(patch),
	};

	return RUN_TESTS("wr", tests);
}
