/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/persist.h"

static char folder[] = "/tmp/persist-XXXXXX";
static char path[64];
static char temp[64];

/* The system calls that a save makes fail by turn: the fault-th from now. */
static int fault = -1;

static bool fails(void)
{
	if (fault < 0 || fault-- > 0)
		return false;
	errno = EIO;
	return true;
}

#define WRAP(ret, name, params, args)                     \
	ret __real_##name params;                         \
	ret __wrap_##name params;                         \
	ret __wrap_##name params                          \
	{                                                 \
		return fails() ? -1 : __real_##name args; \
	}

WRAP(int, fsync, (int fd), (fd))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n))

static int set_up(void **state)
{
	fault = -1;
	unlink(path);
	unlink(temp);
	return 0;
}

static void round_trip(void **state)
{
	struct err e = ERR_INIT;
	uint64_t generation;
	char buf[16];
	size_t size;
	struct stat st;

	assert_int_equal(persist_load(path, buf, sizeof(buf), &size, &generation, &e), -ENOENT);
	assert_int_equal(persist_save(path, "term 7", 6, 41, &e), 0);
	assert_int_equal(persist_save(path, "term 8", 6, 42, &e), 0);
	assert_int_equal(persist_load(path, buf, sizeof(buf), &size, &generation, &e), 0);
	assert_int_equal(size, 6);
	assert_int_equal(generation, 42);
	assert_memory_equal(buf, "term 8", 6);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(access(temp, F_OK), -1);
	assert_int_equal(persist_load(path, buf, 5, &size, &generation, &e), -EFBIG);
	assert_int_equal(persist_remove(path, &e), 0);
	assert_int_equal(persist_remove(path, &e), 0);
	assert_int_equal(access(path, F_OK), -1);
}

static void golden_bytes(void **state)
{
	static const unsigned char golden[] = {
		'p', 's', 't', '1', 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
	};
	unsigned char file[64];
	autofd fd = -1;

	assert_int_equal(persist_save(path, "ab", 2, 7, NULL), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, file, sizeof(file)), 42);
	assert_memory_equal(file, golden, sizeof(golden));
	assert_memory_equal(file + 40, "ab", 2);
}

static void empty_payload(void **state)
{
	uint64_t generation;
	size_t size = 9;

	assert_int_equal(persist_save(path, NULL, 0, 1, NULL), 0);
	assert_int_equal(persist_load(path, NULL, 0, &size, &generation, NULL), 0);
	assert_int_equal(size, 0);
}

/* Each length and each flipped bit of a saved file is torn, never half read. */
static void every_tear_is_seen(void **state)
{
	unsigned char file[64];
	uint64_t generation;
	char buf[16];
	size_t size;
	ssize_t n;
	int fd;

	assert_int_equal(persist_save(path, "promise", 7, 3, NULL), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	n = read(fd, file, sizeof(file));
	assert_int_equal(n, 47);
	for (int bit = 0; bit < n * 8; bit++) {
		file[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_int_equal(pwrite(fd, file, (size_t)n, 0), n);
		assert_int_equal(persist_load(path, buf, sizeof(buf), &size, &generation, NULL),
				 -EBADMSG);
		file[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	assert_int_equal(pwrite(fd, file, (size_t)n, 0), n);
	assert_int_equal(persist_load(path, buf, sizeof(buf), &size, &generation, NULL), 0);
	/* Longer, then ever shorter. */
	for (int len = (int)n + 1; len >= 0; len--) {
		if (len == n)
			continue;
		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(persist_load(path, buf, sizeof(buf), &size, &generation, NULL),
				 -EBADMSG);
	}
	close(fd);
}

static void tear_is_explained(void **state)
{
	struct err e = ERR_INIT;
	uint64_t generation;
	char buf[16];
	char want[128];
	size_t size;

	assert_int_equal(persist_save(path, "promise", 7, 3, &e), 0);
	assert_int_equal(truncate(path, 44), 0);
	assert_int_equal(persist_load(path, buf, sizeof(buf), &size, &generation, &e), -EBADMSG);
	snprintf(want, sizeof(want), "%s is torn: 4 of 7 bytes are there", path);
	assert_string_equal(e.text, want);
	assert_int_equal(persist_load("/dev/null", buf, sizeof(buf), &size, &generation, &e),
			 -EBADMSG);
	assert_string_equal(e.text, "/dev/null is not a plain file");
}

/* Whatever fails, one whole state is there: the old one, or after the rename the new one. */
static void every_failure_leaves_a_whole_state(void **state)
{
	uint64_t generation;
	int rc = -EIO;
	char buf[16];
	size_t size;
	int i;

	for (i = 0; rc; i++) {
		assert_int_equal(persist_save(path, "old", 3, 1, NULL), 0);
		fault = i;
		rc = persist_save(path, "newer", 5, 2, NULL);
		fault = -1;
		assert_true(rc == 0 || rc == -EIO);
		assert_int_equal(persist_load(path, buf, sizeof(buf), &size, &generation, NULL), 0);
		/* write, chmod, sync, rename; then the folder's sync */
		assert_int_equal(generation, i < 4 ? 1 : 2);
		assert_int_equal(access(temp, F_OK), -1);
	}
	assert_int_equal(i, 6);
}

static void no_memory(void **state)
{
	uint64_t generation;
	char buf[16];
	size_t size;
	int saved;
	int loaded;

	assert_int_equal(persist_save(path, "old", 3, 1, NULL), 0);
	mem_fail_after(0);
	saved = persist_save(path, "new", 3, 2, NULL);
	loaded = persist_load(path, buf, sizeof(buf), &size, &generation, NULL);
	mem_fail_after(MEM_NEVER);
	assert_int_equal(saved, -ENOMEM);
	assert_int_equal(loaded, -ENOMEM);
}

static void limits(void **state)
{
	struct err e = ERR_INIT;
	char long_path[5000];

	assert_int_equal(persist_save(path, "", PERSIST_MAX + 1, 0, &e), -EFBIG);
	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = 0;
	assert_int_equal(persist_save(long_path, "", 0, 0, &e), -ENAMETOOLONG);
	assert_int_equal(persist_save("/no/such/folder/x", "", 0, 0, &e), -ENOENT);
}

static void plain_file(void **state)
{
	struct stat st;

	assert_int_equal(persist_replace(path, "hello\n", 6, 0644, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 6);
	assert_int_equal(st.st_mode & 0777, 0644);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(round_trip, set_up),
		cmocka_unit_test_setup(golden_bytes, set_up),
		cmocka_unit_test_setup(empty_payload, set_up),
		cmocka_unit_test_setup(every_tear_is_seen, set_up),
		cmocka_unit_test_setup(tear_is_explained, set_up),
		cmocka_unit_test_setup(every_failure_leaves_a_whole_state, set_up),
		cmocka_unit_test_setup(no_memory, set_up),
		cmocka_unit_test_setup(limits, set_up),
		cmocka_unit_test_setup(plain_file, set_up),
	};
	int rc;

	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/state", folder);
	snprintf(temp, sizeof(temp), "%s/state.new", folder);
	rc = RUN_TESTS("persist", tests);
	set_up(NULL);
	rmdir(folder);
	return rc;
}
