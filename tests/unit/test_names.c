/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <string.h>

#include "lib/names.h"

static void accepts_and_refuses(void **state)
{
	static const struct {
		const char *name;
		bool ok;
	} table[] = {
		{"web", true},	 {"a", true},	       {"9", true},	{"db-1.example_x", true},
		{"", false},	 {NULL, false},	       {".web", false}, {"-web", false},
		{"_web", false}, {"a/b", false},       {"..", false},	{"a b", false},
		{"a\nb", false}, {"w\xc3\xa9", false}, {"a=b", false},	{"a\"b", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(name_ok(table[i].name), table[i].ok);
}

static void length(void **state)
{
	char name[NAME_SIZE + 1];

	memset(name, 'x', sizeof(name));
	name[NAME_SIZE - 1] = 0;
	assert_true(name_ok(name));
	name[NAME_SIZE - 1] = 'x';
	name[NAME_SIZE] = 0;
	assert_false(name_ok(name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_and_refuses),
		cmocka_unit_test(length),
	};

	return RUN_TESTS("names", tests);
}
