/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include "lib/digest.h"

static void known(void **state)
{
	/* XXH3_64bits of nothing with seed 0, as the specification gives it. */
	assert_true(digest_of("", 0) == UINT64_C(0x2d06800538d394c2));
}

static void pieces_give_the_whole(void **state)
{
	unsigned char data[5000];
	struct digest d;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7 + i / 256);
	for (size_t step = 1; step < sizeof(data); step = step * 3 + 1) {
		digest_init(&d);
		for (size_t at = 0; at < sizeof(data); at += step)
			digest_update(&d, data + at, MIN(step, sizeof(data) - at));
		assert_true(digest_final(&d) == digest_of(data, sizeof(data)));
	}
}

static void final_leaves_it(void **state)
{
	struct digest d;

	digest_init(&d);
	digest_update(&d, "ab", 2);
	assert_true(digest_final(&d) == digest_of("ab", 2));
	digest_update(&d, NULL, 0);
	digest_update(&d, "c", 1);
	assert_true(digest_final(&d) == digest_of("abc", 3));
}

static void one_bit_shows(void **state)
{
	unsigned char page[4096] = {0};
	uint64_t before = digest_of(page, sizeof(page));

	for (size_t i = 0; i < sizeof(page); i += 97) {
		page[i] ^= 1;
		assert_true(digest_of(page, sizeof(page)) != before);
		page[i] ^= 1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(pieces_give_the_whole),
		cmocka_unit_test(final_leaves_it),
		cmocka_unit_test(one_bit_shows),
	};

	return RUN_TESTS("digest", tests);
}
