/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "disk/file_store.h"
#include "disk/journal.h"
#include "lib/err.h"
#include "lib/mem.h"

static int fallocate_errno;
static int write_errno;

int __real_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
	if (!fallocate_errno)
		return __real_fallocate(fd, mode, off, len);
	errno = fallocate_errno;
	return -1;
}

ssize_t __real_pwritev(int fd, const struct iovec *v, int n, off_t off);
ssize_t __wrap_pwritev(int fd, const struct iovec *v, int n, off_t off);
ssize_t __wrap_pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	struct iovec first = *v;

	if (write_errno) {
		errno = write_errno;
		return -1;
	}
	/* Never more than 1024 bytes at once: the rest must follow. */
	first.iov_len = MIN(first.iov_len, (size_t)(off % 4096 ? 1u << 20 : 1024));
	return __real_pwritev(fd, &first, 1, off);
}

struct fixture {
	char dir[64];
	char path[96];
	struct err e;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/test_file_store.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/journal", f->dir);
	fallocate_errno = write_errno = 0;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void made_whole_once(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(file_store_create(f->path, 3u << 20, &f->e), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 3 << 20);
	assert_true(st.st_blocks * 512 >= st.st_size);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_store_create(f->path, 3u << 20, &f->e), -EEXIST);
	assert_int_equal(stat(f->path, &st), 0);
	/* Where the file system cannot allocate, writing does. */
	assert_int_equal(unlink(f->path), 0);
	fallocate_errno = EOPNOTSUPP;
	assert_int_equal(file_store_create(f->path, 1u << 20, &f->e), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
}

static void a_full_file_system_is_one_error(void **state)
{
	struct fixture *f = *state;
	char want[256];

	snprintf(want, sizeof(want), "make the journal %s of 1048576 bytes: %s", f->path,
		 "No space left on device");
	fallocate_errno = ENOSPC;
	assert_int_equal(file_store_create(f->path, 1u << 20, &f->e), -ENOSPC);
	assert_string_equal(f->e.text, want);
	assert_int_equal(access(f->path, F_OK), -1);
	fallocate_errno = 0;
	write_errno = ENOSPC;
	assert_int_equal(file_store_create(f->path, 1u << 20, &f->e), -ENOSPC);
	assert_string_equal(f->e.text, want);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(file_store_create("/no/such/folder/x", 1u << 20, &f->e), -ENOENT);
}

static void requests(void **state)
{
	static alignas(4096) uint8_t data[8192];
	static alignas(4096) uint8_t back[8192];
	struct fixture *f = *state;
	struct file_store *s = NULL;
	struct block_store *b;

	assert_int_equal(file_store_open(f->path, false, false, &s, &f->e), -ENOENT);
	assert_int_equal(file_store_create(f->path, 1u << 20, &f->e), 0);
	mem_fail_after(0);
	assert_int_equal(file_store_open(f->path, false, false, &s, &f->e), -ENOMEM);
	mem_fail_after(1);
	assert_int_equal(file_store_open(f->path, false, false, &s, &f->e), -ENOMEM);
	mem_fail_after(MEM_NEVER);
	assert_int_equal(file_store_open("/dev/null", false, false, &s, &f->e), -EINVAL);
	assert_int_equal(file_store_open(f->path, false, false, &s, &f->e), 0);
	b = file_store_blocks(s);
	assert_true(b->size == 1u << 20 && b->block_size == 512);
	assert_int_equal(b->ops->wait(b), -ENOENT);
	memset(data, 0x5a, sizeof(data));
	assert_int_equal(block_do(b, BLOCK_WRITE, 4096, data, sizeof(data)), 0);
	assert_int_equal(block_do(b, BLOCK_SYNC, 0, NULL, 0), 0);
	assert_int_equal(block_do(b, BLOCK_READ, 4096, back, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(back));
	assert_int_equal(block_do(b, BLOCK_ZERO, 4096, NULL, 512), 0);
	fallocate_errno = EOPNOTSUPP;
	assert_int_equal(block_do(b, BLOCK_ZERO, 4608, NULL, 512), 0);
	assert_int_equal(block_do(b, BLOCK_DISCARD, 8192, NULL, 4096), 0);
	fallocate_errno = EIO;
	assert_int_equal(block_do(b, BLOCK_DISCARD, 8192, NULL, 4096), -EIO);
	fallocate_errno = 0;
	memset(data, 0, 1024);
	assert_int_equal(block_do(b, BLOCK_READ, 4096, back, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(back));
	write_errno = EIO;
	assert_int_equal(block_do(b, BLOCK_WRITE, 0, data, 512), -EIO);
	/* Past the end. */
	assert_int_equal(block_do(b, BLOCK_READ, 1u << 20, back, 512), -EIO);
	file_store_free(s);
	file_store_free(NULL);
}

static void pump(struct journal *j, struct block_store *file, struct block_store *disk,
		 uint64_t now)
{
	do {
		(void)journal_run(j, now);
	} while (!file->ops->wait(file) || !disk->ops->wait(disk));
}

static void write_epochs(struct fixture *f, struct block_store *file, struct block_store *disk,
			 struct journal_opts *o)
{
	static uint8_t data[65536];
	struct journal_rec rec = {.op = JOURNAL_WRITE, .len = sizeof(data), .data = data};
	struct journal_count count;
	struct journal *j = NULL;

	assert_int_equal(journal_open(file, disk, o, &j, &f->e), 0);
	assert_int_equal(journal_copy_begin(j, 1, 0), 0);
	pump(j, file, disk, 1);
	memset(data, 0x11, sizeof(data));
	for (rec.off = 0; rec.off < o->geo.disk_size; rec.off += sizeof(data))
		assert_int_equal(journal_append(j, 0, &rec), 0);
	assert_int_equal(journal_end(j, 0, &count), 0);
	assert_int_equal(count.records, 16);
	assert_int_equal(journal_copy_end(j, 0), 0);
	assert_int_equal(journal_commit(j, 0), 0);
	for (uint64_t n = 1; n <= 30; n++) {
		memset(data, (int)(0x20 + n), sizeof(data));
		rec.off = n % 16 * sizeof(data);
		assert_int_equal(journal_append(j, n, &rec), 0);
		assert_int_equal(journal_end(j, n, &count), 0);
		assert_int_equal(journal_commit(j, n), 0);
		pump(j, file, disk, n * 40000000);
	}
	assert_false(journal_idle(j));
	pump(j, file, disk, 60ull * 40000000);
	assert_true(journal_idle(j));
	journal_free(j);
}

/* All of it on real files, and read back. */
static void a_journal_on_files(void **state)
{
	static alignas(4096) uint8_t back[65536];
	struct fixture *f = *state;
	struct file_store *file = NULL;
	struct file_store *disk = NULL;
	struct journal_opts o;
	struct journal *j = NULL;
	struct journal_sb sb;
	struct journal_stats st;
	char path[96];

	snprintf(path, sizeof(path), "%s/disk", f->dir);
	journal_opts_init(&o);
	o.geo = (struct journal_geometry){
		.uuid = {3}, .disk_size = 1u << 20, .block_size = 512, .ring_size = 1u << 20};
	o.batch_bytes = 65536;
	o.incarnation = 5;
	assert_int_equal(file_store_create(f->path, journal_file_size(&o.geo), &f->e), 0);
	assert_int_equal(file_store_create(path, o.geo.disk_size, &f->e), 0);
	assert_int_equal(file_store_open(f->path, false, true, &file, &f->e), 0);
	assert_int_equal(file_store_open(path, false, false, &disk, &f->e), 0);
	assert_int_equal(journal_peek(file_store_blocks(file), &sb, &f->e), -EBADMSG);
	assert_int_equal(journal_format(file_store_blocks(file), &o.geo, 4, &f->e), 0);
	assert_int_equal(journal_peek(file_store_blocks(file), &sb, &f->e), 0);
	assert_int_equal(sb.state, JOURNAL_EMPTY);
	write_epochs(f, file_store_blocks(file), file_store_blocks(disk), &o);
	o.incarnation++;
	assert_int_equal(
		journal_open(file_store_blocks(file), file_store_blocks(disk), &o, &j, &f->e), 0);
	journal_stats(j, &st);
	assert_int_equal(st.state, JOURNAL_OUTDATED);
	for (uint64_t n = 15; n <= 30; n++) {
		assert_int_equal(block_do(file_store_blocks(disk), BLOCK_READ,
					  n % 16 * sizeof(back), back, sizeof(back)),
				 0);
		assert_true(back[0] == 0x20 + n && back[sizeof(back) - 1] == 0x20 + n);
	}
	journal_free(j);
	file_store_free(file);
	file_store_free(disk);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		WITH_FOLDER(made_whole_once),
		WITH_FOLDER(a_full_file_system_is_one_error),
		WITH_FOLDER(requests),
		WITH_FOLDER(a_journal_on_files),
	};

	return RUN_TESTS("file_store", tests);
}
