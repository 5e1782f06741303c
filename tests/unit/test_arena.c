/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "replicator/arena.h"

static void fills_and_empties(void **state)
{
	struct arena a;

	assert_int_equal(arena_init(&a, 3, false, NULL), 0);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 3; i++) {
			uint8_t *slot;

			assert_false(arena_full(&a));
			slot = arena_add(&a, 100 + i);
			assert_non_null(slot);
			assert_int_equal((uintptr_t)slot % ARENA_PAGE_SIZE, 0);
			memset(slot, (int)i + 1, ARENA_PAGE_SIZE);
		}
		assert_true(arena_full(&a));
		assert_null(arena_add(&a, 7));
		assert_int_equal(a.count, 3);
		for (uint32_t i = 0; i < 3; i++) {
			assert_true(a.pfn[i] == 100 + i);
			assert_int_equal(arena_slot(&a, i)[0], i + 1);
			assert_int_equal(arena_slot(&a, i)[ARENA_PAGE_SIZE - 1], i + 1);
		}
		assert_ptr_equal(arena_slot(&a, 1), arena_slot(&a, 0) + ARENA_PAGE_SIZE);
		arena_reset(&a);
	}
	arena_fini(&a);
	arena_fini(&a);
	assert_null(arena_add(&a, 1));
}

static void refuses_sizes(void **state)
{
	struct err e = ERR_INIT;
	struct arena a;

	assert_int_equal(arena_init(&a, 0, false, &e), -EINVAL);
	arena_fini(&a);
	assert_non_null(strstr(e.text, "0 pages"));
	/* More than any address space below this test has. */
	assert_true(arena_init(&a, UINT32_MAX, true, &e) < 0);
	assert_non_null(strstr(e.text, "MiB"));
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills_and_empties),
		cmocka_unit_test(refuses_sizes),
	};

	return RUN_TESTS("arena", tests);
}
