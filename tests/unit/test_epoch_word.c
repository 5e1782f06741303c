/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk/epoch_word.h"
#include "lib/cleanup.h"
#include "lib/err.h"

static void is_seen_on_the_other_side(void **state)
{
	struct epoch_word worker = EPOCH_WORD_INIT;
	struct epoch_word server = EPOCH_WORD_INIT;
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(epoch_word_create(&worker, &fd, &e), 0);
	assert_int_equal(epoch_word_map(&server, fd, &e), 0);
	assert_true(epoch_word_load(&server) == 0);
	epoch_word_store(&worker, 17);
	assert_true(epoch_word_load(&server) == 17);
	assert_true(epoch_word_load(&worker) == 17);
	close(fd);
	epoch_word_store(&worker, EPOCH_WORD_VOID);
	epoch_word_fini(&worker);
	epoch_word_fini(&worker);
	assert_true(epoch_word_load(&server) == EPOCH_WORD_VOID);
	epoch_word_fini(&server);
}

/* The server cannot write it, nobody can cut it off. */
static void is_sealed(void **state)
{
	struct epoch_word worker = EPOCH_WORD_INIT;
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(epoch_word_create(&worker, &fd, &e), 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 8192), -1);
	assert_ptr_equal(mmap(NULL, EPOCH_WORD_SIZE, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	epoch_word_store(&worker, 3);
	assert_true(epoch_word_load(&worker) == 3);
	close(fd);
	epoch_word_fini(&worker);
}

static int odd_page(off_t size, unsigned int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void refuses_what_is_none(void **state)
{
	const unsigned int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	const struct {
		off_t size;
		unsigned int seals;
		const char *says;
	} cases[] = {
		{0, all, "0 bytes"},
		{4095, all, "4095 bytes"},
		{8192, all, "8192 bytes"},
		{4096, 0, "seals"},
		{4096, F_SEAL_GROW | F_SEAL_SEAL, "seals"},
		{4096, F_SEAL_SHRINK | F_SEAL_GROW, "seals"},
		{4096, all, "version"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct epoch_word w = EPOCH_WORD_INIT;
		struct err e = ERR_INIT;
		int fd = odd_page(cases[i].size, cases[i].seals);

		assert_int_equal(epoch_word_map(&w, fd, &e), -EBADMSG);
		assert_non_null(strstr(e.text, cases[i].says));
		assert_null(w.page);
		close(fd);
	}
}

static void refuses_other_descriptors(void **state)
{
	struct epoch_word w = EPOCH_WORD_INIT;
	struct err e = ERR_INIT;
	autofd fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(epoch_word_map(&w, -1, &e), -EBADF);
	assert_int_equal(epoch_word_map(&w, fd, &e), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_seen_on_the_other_side),
		cmocka_unit_test(is_sealed),
		cmocka_unit_test(refuses_what_is_none),
		cmocka_unit_test(refuses_other_descriptors),
	};

	return RUN_TESTS("epoch_word", tests);
}
