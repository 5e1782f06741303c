/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both engines on a real file; faults of the disk by standing in for the system calls of the plain one. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk/blk_io.h"
#include "disk/blk_step.h"
#include "disk/buf_pool.h"
#include "lib/err.h"
#include "lib/mem.h"

#define KIB(n) ((n) << 10)
#define SIZE KIB(4096)

/* ---- the system calls of blk_plain.c ---- */

ssize_t __real_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __real_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags);
int __real_fallocate(int fd, int mode, off_t off, off_t len);
int __real_fdatasync(int fd);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fdatasync(int fd);

static struct {
	size_t most;	  /* bytes of one call; 0: all */
	int fail;	  /* errno of the next calls */
	int fail_after;	  /* so many go well before */
	int fails;	  /* how many fail then */
	int no_fallocate; /* its errno */
	int writes, syncs, dsyncs;
} sys;

static bool must_fail(void)
{
	if (!sys.fail || sys.fail_after-- > 0 || sys.fails-- <= 0)
		return false;
	errno = sys.fail;
	return true;
}

ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct iovec one = iov[0];

	if (must_fail())
		return -1;
	if (sys.most)
		one.iov_len = MIN(one.iov_len, sys.most);
	return __real_preadv2(fd, &one, 1, off, flags);
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct iovec one = iov[0];

	sys.writes++;
	sys.dsyncs += !!(flags & RWF_DSYNC);
	if (must_fail())
		return -1;
	if (sys.most)
		one.iov_len = MIN(one.iov_len, sys.most);
	return __real_pwritev2(fd, &one, 1, off, flags);
}

int __wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
	if (must_fail())
		return -1;
	if (sys.no_fallocate) {
		errno = sys.no_fallocate;
		return -1;
	}
	return __real_fallocate(fd, mode, off, len);
}

int __wrap_fdatasync(int fd)
{
	sys.syncs++;
	return must_fail() ? -1 : __real_fdatasync(fd);
}

/* ---- one device ---- */

static char path[64];

struct one {
	struct blk_req r;
	bool is_done;
	int rc;
};

static void on_done(struct blk_req *r, int rc)
{
	struct one *o = container_of(r, struct one, r);

	assert_false(o->is_done);
	o->is_done = true;
	o->rc = rc;
}

static int make_file(off_t size)
{
	int fd;

	strcpy(path, "/tmp/test_blk_io.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
	memset(&sys, 0, sizeof(sys));
	return 0;
}

static int set_up(void **state)
{
	return make_file(SIZE);
}

static int tear_down(void **state)
{
	return unlink(path);
}

static struct blk_dev *open_as(enum blk_engine engine)
{
	const struct blk_conf c = {.path = path, .engine = engine, .depth = 8, .may_cache = true};
	struct blk_dev *d = NULL;
	struct err e = ERR_INIT;
	int rc = blk_open(&c, &d, &e);

	if (engine == BLK_URING && (rc == -EPERM || rc == -ENOSYS)) {
		print_message("io_uring is not permitted here\n");
		skip();
	}
	if (rc < 0)
		fail_msg("%s", e.text);
	return d;
}

static void submit(struct blk_dev *d, struct one *o)
{
	o->r.done = on_done;
	o->is_done = false;
	assert_int_equal(blk_submit(d, &o->r), 0);
	assert_false(o->is_done);
}

static void wait_all(struct blk_dev *d)
{
	blk_kick(d);
	while (d->in_flight) {
		struct pollfd p = {.fd = d->event_fd, .events = POLLIN};

		assert_int_equal(poll(&p, 1, 10000), 1);
		blk_reap(d);
	}
}

static int run(struct blk_dev *d, enum blk_op op, bool fua, uint64_t off, uint32_t len, void *buf)
{
	struct one o = {.r = {.op = op, .fua = fua, .off = off, .len = len, .buf = buf}};

	submit(d, &o);
	wait_all(d);
	assert_true(o.is_done);
	return o.rc;
}

static void *buffer(size_t size, int fill)
{
	void *p = mem_aligned(BLK_ALIGN, size);

	assert_non_null(p);
	return memset(p, fill, size);
}

/* Is the range all of this byte? */
static bool is_all(struct blk_dev *d, uint64_t off, uint32_t len, int fill)
{
	uint8_t *got = buffer(len, ~fill);
	bool same = true;

	assert_int_equal(run(d, BLK_READ, false, off, len, got), 0);
	for (uint32_t i = 0; i < len; i++)
		same = same && got[i] == fill;
	mem_free(got);
	return same;
}

static void round_trip(enum blk_engine engine)
{
	struct blk_dev *d = open_as(engine);
	uint8_t *a = buffer(KIB(1024), 0xaa);

	assert_true(d->size == SIZE);
	assert_true(d->block == 512 || d->block == 4096);
	for (int fua = 0; fua < 2; fua++) {
		assert_int_equal(run(d, BLK_WRITE, fua, KIB(4), KIB(1024), a), 0);
		assert_true(is_all(d, 0, KIB(4), 0));
		assert_true(is_all(d, KIB(4), KIB(1024), 0xaa));
		assert_int_equal(run(d, BLK_ZERO, fua, KIB(8), KIB(8), NULL), 0);
		assert_true(is_all(d, KIB(4), KIB(4), 0xaa));
		assert_true(is_all(d, KIB(8), KIB(8), 0));
		assert_true(is_all(d, KIB(16), KIB(4), 0xaa));
		assert_int_equal(run(d, BLK_DISCARD, fua, KIB(64), KIB(64), NULL), 0);
		assert_int_equal(run(d, BLK_FLUSH, fua, 0, 0, NULL), 0);
	}
	assert_int_equal(run(d, BLK_WRITE, true, SIZE - KIB(4), KIB(4), a), 0);
	mem_free(a);
	blk_close(d);
}

static void many_at_once(enum blk_engine engine)
{
	struct blk_dev *d = open_as(engine);
	struct one o[9] = {0};
	uint8_t *buf = buffer(9 * KIB(4), 0);

	for (unsigned int i = 0; i < 8; i++) {
		memset(buf + i * KIB(4), (int)i + 1, KIB(4));
		o[i].r = (struct blk_req){
			.op = BLK_WRITE, .off = i * KIB(4), .len = KIB(4), .buf = buf + i * KIB(4)};
		submit(d, &o[i]);
	}
	assert_int_equal(blk_submit(d, &o[8].r), -EAGAIN);
	wait_all(d);
	for (unsigned int i = 0; i < 8; i++) {
		assert_true(o[i].is_done);
		assert_int_equal(o[i].rc, 0);
		assert_true(is_all(d, i * KIB(4), KIB(4), (int)i + 1));
	}
	mem_free(buf);
	blk_close(d);
}

/* The disk gets shorter: an error, and no endless loop. */
static void cut(enum blk_engine engine)
{
	struct blk_dev *d = open_as(engine);
	uint8_t *buf = buffer(KIB(8), 0);

	assert_int_equal(truncate(path, KIB(4)), 0);
	assert_int_equal(run(d, BLK_READ, false, 0, KIB(8), buf), -EIO);
	assert_int_equal(run(d, BLK_READ, false, KIB(64), KIB(8), buf), -EIO);
	mem_free(buf);
	blk_close(d);
}

static void plain_round_trip(void **state)
{
	round_trip(BLK_PLAIN);
}

static void uring_round_trip(void **state)
{
	round_trip(BLK_URING);
}

static void plain_many(void **state)
{
	many_at_once(BLK_PLAIN);
}

static void uring_many(void **state)
{
	many_at_once(BLK_URING);
}

static void plain_cut(void **state)
{
	cut(BLK_PLAIN);
}

static void uring_cut(void **state)
{
	cut(BLK_URING);
}

/* ---- opening ---- */

static int try_open(const char *what)
{
	const struct blk_conf c = {.path = what, .engine = BLK_AUTO, .depth = 8, .may_cache = true};
	struct blk_dev *d = NULL;
	struct err e = ERR_INIT;
	int rc = blk_open(&c, &d, &e);

	assert_true(rc == 0 || *e.text);
	blk_close(d);
	return rc;
}

static void refusals(void **state)
{
	struct blk_dev *d;

	assert_int_equal(try_open("/nonexistent/disk"), -ENOENT);
	assert_int_equal(try_open("/tmp"), -EINVAL);
	assert_int_equal(try_open("/dev/null"), -EINVAL);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(try_open(path), -EINVAL);
	assert_int_equal(truncate(path, SIZE + 100), 0);
	assert_int_equal(try_open(path), -EINVAL);
	assert_int_equal(truncate(path, SIZE), 0);
	d = open_as(BLK_PLAIN);
	assert_int_equal(try_open(path), -EBUSY);
	blk_close(d);
	assert_int_equal(try_open(path), 0);
}

static void no_memory(void **state)
{
	static const enum blk_engine engines[] = {BLK_PLAIN, BLK_URING};

	blk_close(open_as(BLK_PLAIN));
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		const struct blk_conf c = {
			.path = path, .engine = engines[i], .depth = 8, .may_cache = true};

		for (long n = 0; n < 3; n++) {
			struct blk_dev *d = NULL;
			struct err e = ERR_INIT;
			int rc;

			mem_fail_after(n);
			rc = blk_open(&c, &d, &e);
			mem_fail_after(MEM_NEVER);
			assert_int_equal(rc, -ENOMEM);
			assert_null(d);
		}
	}
	assert_int_equal(try_open(path), 0); /* and nothing stayed locked */
}

/* ---- faults ---- */

static void short_calls_are_resumed(void **state)
{
	struct blk_dev *d = open_as(BLK_PLAIN);
	uint8_t *buf = buffer(KIB(64), 0x5a);

	sys.most = d->block;
	assert_int_equal(run(d, BLK_WRITE, true, KIB(8), KIB(64), buf), 0);
	assert_int_equal(sys.writes, KIB(64) / (int)d->block);
	assert_int_equal(sys.dsyncs, sys.writes); /* each piece */
	assert_true(is_all(d, KIB(8), KIB(64), 0x5a));
	sys.most = 0;
	assert_true(is_all(d, KIB(8), KIB(64), 0x5a));
	assert_true(is_all(d, KIB(72), KIB(4), 0));
	mem_free(buf);
	blk_close(d);
}

static void errors_are_told(void **state)
{
	static const struct {
		enum blk_op op;
		bool fua;
		int after;
		int error;
		int rc;
	} table[] = {
		{BLK_READ, false, 0, EIO, -EIO},
		{BLK_READ, false, 0, EINTR, 0},
		{BLK_WRITE, false, 0, ENOSPC, -ENOSPC},
		{BLK_WRITE, false, 1, EIO, -EIO}, /* the second piece */
		{BLK_WRITE, true, 1, EINTR, 0},
		{BLK_ZERO, false, 0, EIO, -EIO},
		{BLK_ZERO, true, 1, EIO, -EIO}, /* its sync */
		{BLK_DISCARD, false, 0, EIO, -EIO},
		{BLK_DISCARD, true, 1, ENOSPC, -ENOSPC},
		{BLK_FLUSH, false, 0, EIO, -EIO},
		{BLK_FLUSH, false, 0, EINTR, 0},
		{BLK_FLUSH, false, 0, EOPNOTSUPP, -EOPNOTSUPP}, /* never taken for done */
	};
	struct blk_dev *d = open_as(BLK_PLAIN);
	uint8_t *buf = buffer(KIB(16), 1);

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int rc;

		sys.most = KIB(8);
		sys.fail = table[i].error;
		sys.fail_after = table[i].after;
		sys.fails = 1;
		rc = run(d, table[i].op, table[i].fua, 0, KIB(16), buf);
		if (rc != table[i].rc)
			fail_msg("row %zu gave %d", i, rc);
		sys.fail = 0;
	}
	mem_free(buf);
	blk_close(d);
}

static void disks_that_cannot_zero(void **state)
{
	struct blk_dev *d = open_as(BLK_PLAIN);
	uint8_t *buf = buffer(KIB(1024), 0x77);

	sys.no_fallocate = EOPNOTSUPP;
	assert_int_equal(run(d, BLK_WRITE, false, 0, KIB(1024), buf), 0);
	sys.writes = sys.syncs = 0;
	assert_int_equal(run(d, BLK_ZERO, true, KIB(4), KIB(1000), NULL), 0);
	assert_int_equal(sys.writes, 4); /* pieces of BLK_ZEROES_SIZE */
	assert_int_equal(sys.syncs, 1);
	assert_true(is_all(d, 0, KIB(4), 0x77));
	assert_true(is_all(d, KIB(4), KIB(1000), 0));
	assert_true(is_all(d, KIB(1004), KIB(20), 0x77));
	assert_int_equal(run(d, BLK_DISCARD, false, 0, KIB(4), NULL), 0);
	assert_true(is_all(d, 0, KIB(4), 0x77));
	sys.syncs = 0;
	assert_int_equal(run(d, BLK_DISCARD, true, 0, KIB(4), NULL), 0);
	assert_int_equal(sys.syncs, 1);
	mem_free(buf);
	blk_close(d);
}

/* What io_uring may return, too: more than was asked for is not believed. */
static void nonsense_results(void **state)
{
	struct blk_req r = {.op = BLK_READ, .len = KIB(8)};

	assert_false(blk_step_result(&r, KIB(4)));
	assert_int_equal(blk_step_next(&r, NULL).off, KIB(4));
	assert_int_equal(blk_step_next(&r, NULL).len, KIB(4));
	assert_true(blk_step_result(&r, KIB(8)));
	assert_int_equal(r.rc, -EIO);
}

/* ---- buffers ---- */

static const struct buf_pool_size sizes[BUF_POOL_SIZES] = {{4096, 2}, {8192, 1}, {16384, 1}};

static void buffers(void **state)
{
	struct buf_pool p;
	void *b[4];

	assert_int_equal(buf_pool_init(&p, sizes), 0);
	for (int i = 0; i < 4; i++) {
		b[i] = buf_pool_get(&p, 512); /* the small ones, then larger ones */
		assert_non_null(b[i]);
		assert_int_equal((uintptr_t)b[i] % BLK_ALIGN, 0);
		memset(b[i], i, 4096);
	}
	assert_null(buf_pool_get(&p, 512));
	buf_pool_put(&p, b[0]);
	assert_null(buf_pool_get(&p, 4097));
	buf_pool_put(&p, b[3]);
	assert_ptr_equal(buf_pool_get(&p, 4097), b[3]);
	assert_null(buf_pool_get(&p, 16385));
	assert_ptr_equal(buf_pool_get(&p, 4096), b[0]);
	buf_pool_put(&p, NULL);
	for (int i = 0; i < 4; i++)
		buf_pool_put(&p, b[i]);
	assert_non_null(buf_pool_get(&p, 8192));
	buf_pool_fini(&p);
	buf_pool_fini(&p);
}

static void buffers_without_memory(void **state)
{
	struct buf_pool p;

	for (long n = 0; n < 2; n++) {
		int rc;

		mem_fail_after(n);
		rc = buf_pool_init(&p, sizes);
		mem_fail_after(MEM_NEVER);
		assert_int_equal(rc, -ENOMEM);
	}
}

#define ON_FILE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_FILE(plain_round_trip),
		ON_FILE(uring_round_trip),
		ON_FILE(plain_many),
		ON_FILE(uring_many),
		ON_FILE(plain_cut),
		ON_FILE(uring_cut),
		ON_FILE(refusals),
		ON_FILE(no_memory),
		ON_FILE(short_calls_are_resumed),
		ON_FILE(errors_are_told),
		ON_FILE(disks_that_cannot_zero),
		cmocka_unit_test(nonsense_results),
		cmocka_unit_test(buffers),
		cmocka_unit_test(buffers_without_memory),
	};

	return RUN_TESTS("blk_io", tests);
}
