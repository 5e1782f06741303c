/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdbool.h>

#include "lib/cleanup.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int fd_in_scope(bool take, int *seen)
{
	autofd fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	*seen = fd;
	errno = ENOTTY;
	return take ? take_fd(&fd) : -1;
}

static void fds(void **state)
{
	int seen;
	int taken;

	assert_int_equal(fd_in_scope(false, &seen), -1);
	assert_int_equal(errno, ENOTTY);
	assert_true(seen >= 0);
	assert_false(is_open(seen));
	taken = fd_in_scope(true, &seen);
	assert_int_equal(taken, seen);
	assert_true(is_open(taken));
	close(taken);
}

static char *text_in_scope(bool take)
{
	autofree char *text = mem_strdup("kept");

	return take ? take_ptr(&text) : NULL;
}

static void pointers(void **state)
{
	autofree char *text = text_in_scope(true);

	/* What was not taken is freed: the address sanitizer tells otherwise. */
	assert_null(text_in_scope(false));
	assert_string_equal(text, "kept");
}

static void locks(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	{
		autolock(&lock);

		assert_int_equal(pthread_mutex_trylock(&lock), EBUSY);
	}
	assert_int_equal(pthread_mutex_trylock(&lock), 0);
	pthread_mutex_unlock(&lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fds),
		cmocka_unit_test(pointers),
		cmocka_unit_test(locks),
	};

	return RUN_TESTS("cleanup", tests);
}
