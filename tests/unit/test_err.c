/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"

static void text_and_meaning(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(err_set(&e, -ENOENT, "open %s", "/x"), -ENOENT);
	assert_string_equal(e.text, "open /x: No such file or directory");
	assert_int_equal(e.rc, -ENOENT);
	assert_int_equal(err_setx(&e, -EINVAL, "rate %d", 7), -EINVAL);
	assert_string_equal(e.text, "rate 7");
	err_set(&e, -9999, "odd");
	assert_string_equal(e.text, "odd: error -9999");
}

static void context(void **state)
{
	struct err e = ERR_INIT;

	err_setx(&e, -EINVAL, "bad port %d", 0);
	assert_int_equal(err_wrap(&e, -EINVAL, "vm %s", "web"), -EINVAL);
	assert_int_equal(err_wrap(&e, -EIO, "start"), -EIO);
	assert_string_equal(e.text, "start: vm web: bad port 0");
	assert_int_equal(e.rc, -EIO);
}

static void old_text_as_argument(void **state)
{
	struct err e = ERR_INIT;

	err_setx(&e, -EINVAL, "inner");
	err_setx(&e, -EINVAL, "outer (%s)", e.text);
	assert_string_equal(e.text, "outer (inner)");
}

static void nobody_wants_to_know(void **state)
{
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_setx(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_wrap(NULL, -EIO, "x"), -EIO);
}

static void long_text_is_cut(void **state)
{
	char big[2 * ERR_TEXT_SIZE];
	struct err e = ERR_INIT;

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	err_set(&e, -EIO, "%s", big);
	assert_int_equal(strlen(e.text), ERR_TEXT_SIZE - 1);
	assert_string_equal(e.text + ERR_TEXT_SIZE - 4, "...");

	/* Each length around the limit, for all ways in which a text grows. */
	for (size_t n = ERR_TEXT_SIZE - 30; n < ERR_TEXT_SIZE + 2; n++) {
		err_set(&e, -EIO, "%.*s", (int)n, big);
		assert_in_range(strlen(e.text), n < ERR_TEXT_SIZE ? n : ERR_TEXT_SIZE - 1,
				ERR_TEXT_SIZE - 1);
		err_setx(&e, -EIO, "cause");
		err_wrap(&e, -EIO, "%.*s", (int)n, big);
		assert_in_range(strlen(e.text), ERR_TEXT_SIZE - 30, ERR_TEXT_SIZE - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_and_meaning),	cmocka_unit_test(context),
		cmocka_unit_test(old_text_as_argument), cmocka_unit_test(nobody_wants_to_know),
		cmocka_unit_test(long_text_is_cut),
	};

	return RUN_TESTS("err", tests);
}
