/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/mem.h"

static void zeroed(void **state)
{
	autofree unsigned char *p = mem_array(10, 100);
	autofree unsigned char *q = mem_zalloc(100);

	assert_non_null(p);
	assert_non_null(q);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(p[i], 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(q[i], 0);
}

static void overflow_is_refused(void **state)
{
	volatile size_t huge = SIZE_MAX / 2;

	assert_null(mem_array(huge, 3));
}

static void empty(void **state)
{
	autofree void *a = mem_alloc(0);
	autofree void *b = mem_array(0, 8);
	autofree void *c = mem_dup("", 0);

	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	mem_free(NULL);
}

static void copies(void **state)
{
	autofree char *s = mem_strdup("plug");
	autofree char *d = mem_dup("plug", 2);

	assert_string_equal(s, "plug");
	assert_memory_equal(d, "pl", 2);
}

static void fails_after_n(void **state)
{
	autofree void *a = NULL;
	autofree void *b = NULL;
	autofree void *c = NULL;
	autofree void *d = NULL;

	mem_fail_after(2);
	a = mem_alloc(1);
	b = mem_zalloc(1);
	c = mem_alloc(1);
	d = mem_strdup("x");
	mem_fail_after(MEM_NEVER);
	assert_non_null(a);
	assert_non_null(b);
	assert_null(c);
	assert_null(d);
	c = mem_alloc(1);
	assert_non_null(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zeroed),	 cmocka_unit_test(overflow_is_refused),
		cmocka_unit_test(empty),	 cmocka_unit_test(copies),
		cmocka_unit_test(fails_after_n),
	};

	return RUN_TESTS("mem", tests);
}
