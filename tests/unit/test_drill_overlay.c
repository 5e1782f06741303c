/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a drill's copy sees of a disk is what it was, and what the copy wrote; whatever is written to the disk meanwhile. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk/drill_overlay.h"
#include "lib/err.h"
#include "lib/mem.h"

#define SIZE (9 * DRILL_CHUNK + 1536) /* the last chunk is a short one */

/* What its file system has free. */
static uint64_t free_bytes = UINT64_C(1) << 40;

int __wrap_fstatvfs(int fd, struct statvfs *st);
int __wrap_fstatvfs(int fd, struct statvfs *st)
{
	*st = (struct statvfs){.f_frsize = 512, .f_bavail = free_bytes / 512};
	st->f_blocks = free_bytes == UINT64_MAX ? 0 : 1 << 30;
	return 0;
}

struct world {
	char path[32];
	int base;
	struct blk_dev *d;
	uint8_t *seen; /* what the copy must see */
	uint8_t *buf;
	unsigned int seed;
};

static unsigned int chance(struct world *w, unsigned int n)
{
	w->seed = w->seed * 1103515245 + 12345;
	return (w->seed >> 8) % n;
}

static void begin(struct world *w, uint64_t limit)
{
	struct drill_overlay_conf c = {.base = w->path,
				       .dir = "/tmp",
				       .limit = limit,
				       .spare = 100 * DRILL_CHUNK,
				       .may_cache = true};
	struct err e = ERR_INIT;

	*w = (struct world){.seed = 1};
	snprintf(w->path, sizeof(w->path), "/tmp/overlay.XXXXXX");
	w->base = mkstemp(w->path);
	assert_true(w->base >= 0);
	w->seen = mem_alloc(SIZE);
	w->buf = mem_aligned(BLK_ALIGN, SIZE);
	for (unsigned int i = 0; i < SIZE; i++)
		w->seen[i] = (uint8_t)(i / 512 * 7 + i);
	assert_int_equal(pwrite(w->base, w->seen, SIZE, 0), SIZE);
	if (drill_overlay_new(&w->d, &c, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(w->d->size, SIZE);
	assert_int_equal(w->d->block, 512);
}

static void over(struct world *w)
{
	blk_close(w->d);
	close(w->base);
	unlink(w->path);
	mem_free(w->seen);
	mem_free(w->buf);
}

static int result;

static void done(struct blk_req *r, int rc)
{
	result = rc;
}

static int ask(struct world *w, enum blk_op op, uint64_t off, uint32_t len)
{
	struct blk_req r = {.op = op, .off = off, .len = len, .done = done};

	if (op == BLK_READ || op == BLK_WRITE)
		r.buf = w->buf;
	result = 1;
	assert_int_equal(blk_submit(w->d, &r), 0);
	assert_int_equal(result, 1);
	blk_kick(w->d);
	blk_reap(w->d);
	assert_true(result <= 0);
	return result;
}

static void all_is_seen(struct world *w)
{
	memset(w->buf, 0xee, SIZE);
	assert_int_equal(ask(w, BLK_READ, 0, SIZE), 0);
	assert_memory_equal(w->buf, w->seen, SIZE);
}

/* As romulus-disk does it: said first, then overwritten. */
static void overwrite(struct world *w, uint64_t off, uint32_t len)
{
	static uint8_t junk[SIZE];

	memset(junk, (int)chance(w, 256), len);
	assert_int_equal(drill_overlay_save(w->d, off, len), 0);
	assert_int_equal(pwrite(w->base, junk, len, (off_t)off), (ssize_t)len);
}

static void the_disk_may_change(void **state)
{
	struct world w;

	begin(&w, 64 * DRILL_CHUNK);
	all_is_seen(&w);
	assert_int_equal(drill_overlay_used(w.d), 0);
	overwrite(&w, 512, 512);
	all_is_seen(&w);
	assert_int_equal(drill_overlay_used(w.d), DRILL_CHUNK);
	/* The same part once more costs nothing more. */
	overwrite(&w, 0, 1024);
	assert_int_equal(drill_overlay_used(w.d), DRILL_CHUNK);
	/* Over the edge of a part, and the end. */
	overwrite(&w, 2 * DRILL_CHUNK - 512, 1024);
	overwrite(&w, SIZE - 512, 512);
	all_is_seen(&w);
	assert_int_equal(drill_overlay_used(w.d), 4 * DRILL_CHUNK);
	for (int i = 0; i < 200; i++) {
		uint64_t off = chance(&w, SIZE / 512) * 512;
		uint32_t len = (1 + chance(&w, 200)) * 512;

		overwrite(&w, off, (uint32_t)MIN((uint64_t)len, SIZE - off));
	}
	all_is_seen(&w);
	over(&w);
}

/* Both write; neither sees the other. */
static void the_copy_writes_for_itself(void **state)
{
	struct world w;

	begin(&w, 64 * DRILL_CHUNK);
	for (int i = 0; i < 300; i++) {
		uint64_t off = chance(&w, SIZE / 512) * 512;
		uint32_t len = (uint32_t)MIN((uint64_t)(1 + chance(&w, 150)) * 512, SIZE - off);

		switch (chance(&w, 4)) {
		case 0:
			overwrite(&w, off, len);
			break;
		case 1:
			memset(w.buf, i, len);
			memset(w.seen + off, i, len);
			assert_int_equal(ask(&w, BLK_WRITE, off, len), 0);
			break;
		case 2:
			memset(w.seen + off, 0, len);
			assert_int_equal(ask(&w, BLK_ZERO, off, len), 0);
			break;
		default:
			assert_int_equal(ask(&w, BLK_READ, off, len), 0);
			assert_memory_equal(w.buf, w.seen + off, len);
		}
	}
	assert_int_equal(ask(&w, BLK_FLUSH, 0, 0), 0);
	assert_int_equal(ask(&w, BLK_DISCARD, 0, 4096), 0);
	all_is_seen(&w);
	over(&w);
}

static void has_a_limit(void **state)
{
	struct world w;

	begin(&w, 2 * DRILL_CHUNK);
	overwrite(&w, 0, 2 * DRILL_CHUNK);
	assert_false(drill_overlay_is_full(w.d));
	assert_int_equal(drill_overlay_save(w.d, 2 * DRILL_CHUNK, 512), -ENOSPC);
	assert_true(drill_overlay_is_full(w.d));
	memset(w.buf, 1, 512);
	assert_int_equal(ask(&w, BLK_WRITE, 3 * DRILL_CHUNK, 512), -ENOSPC);
	/* What is there is there. */
	assert_int_equal(ask(&w, BLK_WRITE, 0, 512), 0);
	memset(w.seen, 1, 512);
	all_is_seen(&w);
	over(&w);
}

/* Its file system is other people's, too: whoever writes, it leaves room. */
static void leaves_room_for_others(void **state)
{
	struct drill_overlay_conf c = {.dir = "/tmp",
				       .limit = 8 * DRILL_CHUNK,
				       .spare = UINT64_C(256) << 20,
				       .may_cache = true};
	struct blk_dev *d = NULL;
	struct err e = ERR_INIT;
	struct world w;

	begin(&w, 64 * DRILL_CHUNK);
	overwrite(&w, 0, 512);
	free_bytes = 100 * DRILL_CHUNK + DRILL_CHUNK - 512;
	memset(w.buf, 1, 512);
	assert_int_equal(ask(&w, BLK_WRITE, 3 * DRILL_CHUNK, 512), -ENOSPC);
	assert_true(drill_overlay_is_full(w.d));
	assert_int_equal(drill_overlay_save(w.d, 4 * DRILL_CHUNK, 512), -ENOSPC);
	all_is_seen(&w);
	free_bytes = 101 * DRILL_CHUNK;
	overwrite(&w, 4 * DRILL_CHUNK, 512);
	/* And none is begun where there is none. */
	c.base = w.path;
	free_bytes = 100 << 20;
	assert_int_equal(drill_overlay_new(&d, &c, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "/tmp: a drill leaves 256 MiB free"));
	assert_null(d);
	/* Of one without a size nothing is known. */
	free_bytes = UINT64_MAX;
	assert_int_equal(drill_overlay_new(&d, &c, &e), 0);
	blk_close(d);
	free_bytes = UINT64_C(1) << 40;
	over(&w);
}

static unsigned int answered;

static void count(struct blk_req *r, int rc)
{
	answered += rc == 0;
}

/* A copy that asks for much does not keep the loop from saving. */
static void takes_turns(void **state)
{
	struct blk_req r[40];
	struct world w;

	begin(&w, 64 * DRILL_CHUNK);
	answered = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++) {
		r[i] = (struct blk_req){
			.op = BLK_READ, .off = i * 512, .len = 512, .buf = w.buf, .done = count};
		assert_int_equal(blk_submit(w.d, &r[i]), 0);
	}
	blk_kick(w.d);
	blk_reap(w.d);
	assert_in_range(answered, 1, 16);
	/* The rest is not forgotten: each turn asks for the next one. */
	for (unsigned int i = 0; answered < ARRAY_SIZE(r); i++) {
		struct pollfd p = {.fd = w.d->event_fd, .events = POLLIN};

		assert_in_range(i, 0, 40);
		assert_int_equal(poll(&p, 1, 0), 1);
		blk_reap(w.d);
	}
	assert_int_equal(w.d->in_flight, 0);
	over(&w);
}

static void is_spoilt_for_good(void **state)
{
	struct world w;

	begin(&w, 8 * DRILL_CHUNK);
	overwrite(&w, 0, 512);
	drill_overlay_break(w.d);
	assert_int_equal(ask(&w, BLK_READ, 0, 512), -EIO);
	assert_int_equal(ask(&w, BLK_READ, 5 * DRILL_CHUNK, 512), -EIO);
	assert_int_equal(ask(&w, BLK_FLUSH, 0, 0), -EIO);
	assert_int_equal(drill_overlay_save(w.d, 5 * DRILL_CHUNK, 512), -EIO);
	over(&w);
}

static void ranges_are_looked_at(void **state)
{
	struct world w;

	begin(&w, 8 * DRILL_CHUNK);
	assert_int_equal(drill_overlay_save(w.d, SIZE, 1), -EINVAL);
	assert_int_equal(drill_overlay_save(w.d, SIZE + 512, 0), -EINVAL);
	assert_int_equal(drill_overlay_save(w.d, 512, UINT64_MAX), -EINVAL);
	assert_int_equal(drill_overlay_save(w.d, SIZE, 0), 0);
	assert_int_equal(drill_overlay_used(w.d), 0);
	over(&w);
}

static void cannot_be_made(void **state)
{
	struct drill_overlay_conf c = {.base = "/nowhere/disk", .dir = "/tmp", .limit = 1};
	struct blk_dev *d = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(drill_overlay_new(&d, &c, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere/disk"));
	c.base = "/proc/self/exe";
	c.dir = "/nowhere";
	c.may_cache = true;
	assert_true(drill_overlay_new(&d, &c, &e) < 0);
	assert_null(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_disk_may_change),
		cmocka_unit_test(the_copy_writes_for_itself),
		cmocka_unit_test(has_a_limit),
		cmocka_unit_test(leaves_room_for_others),
		cmocka_unit_test(takes_turns),
		cmocka_unit_test(is_spoilt_for_good),
		cmocka_unit_test(ranges_are_looked_at),
		cmocka_unit_test(cannot_be_made),
	};

	return RUN_TESTS("drill_overlay", tests);
}
