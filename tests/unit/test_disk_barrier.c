/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <unistd.h>

#include "disk/disk_barrier.h"
#include "disk/epoch_word.h"
#include "lib/err.h"

struct rig {
	struct epoch_word word;
	struct disk_barrier b;
	struct ckpt_device *d;
	const struct ckpt_device_ops *ops;
};

static void rig_start(struct rig *r)
{
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(epoch_word_create(&r->word, &fd, &e), 0);
	close(fd);
	disk_barrier_init(&r->b, &r->word);
	r->d = disk_barrier_device(&r->b);
	r->ops = r->d->ops;
	assert_int_equal(r->ops->setup(r->d, &e), 0);
	assert_int_equal(disk_barrier_begin(&r->b, 0), 0);
}

static void rig_stop(struct rig *r)
{
	struct err e = ERR_INIT;

	assert_int_equal(r->ops->teardown(r->d, &e), 0);
	epoch_word_fini(&r->word);
}

static void checkpoint(struct rig *r, uint64_t n)
{
	assert_int_equal(r->ops->prepare(r->d, n), 0);
	assert_int_equal(r->ops->postsuspend(r->d, n), 0);
	assert_true(epoch_word_load(&r->word) == n);
	assert_int_equal(r->ops->preresume(r->d, n), 0);
	assert_true(epoch_word_load(&r->word) == n + 1);
	assert_true(disk_barrier_ended(&r->b) == n);
}

static void moves_right_before_the_resume(void **state)
{
	struct rig r;

	rig_start(&r);
	assert_true(disk_barrier_ended(&r.b) == UINT64_MAX);
	for (uint64_t n = 0; n < 5; n++)
		checkpoint(&r, n);
	assert_int_equal(r.ops->commit(r.d, 5), -EINVAL);
	assert_int_equal(r.ops->commit(r.d, 2), 0);
	assert_int_equal(r.ops->commit(r.d, 2), -EINVAL);
	assert_int_equal(r.ops->commit(r.d, 1), -EINVAL);
	assert_int_equal(r.ops->commit(r.d, 4), 0);
	rig_stop(&r);
}

static void an_abort_leaves_the_epoch(void **state)
{
	struct rig r;

	rig_start(&r);
	assert_int_equal(r.ops->prepare(r.d, 0), 0);
	r.ops->abort(r.d, 0);
	assert_int_equal(r.ops->postsuspend(r.d, 0), -EINVAL);
	assert_int_equal(r.ops->prepare(r.d, 0), 0);
	assert_int_equal(r.ops->postsuspend(r.d, 0), 0);
	r.ops->abort(r.d, 0);
	assert_int_equal(r.ops->preresume(r.d, 0), -EINVAL);
	assert_true(epoch_word_load(&r.word) == 0);
	assert_true(disk_barrier_ended(&r.b) == UINT64_MAX);
	checkpoint(&r, 0);
	rig_stop(&r);
}

/* The number cannot be taken back: a write may have come with it. */
static void an_abort_after_the_store_voids_the_word(void **state)
{
	struct rig r;

	rig_start(&r);
	checkpoint(&r, 0);
	checkpoint(&r, 1);
	r.ops->abort(r.d, 1);
	assert_true(epoch_word_load(&r.word) == EPOCH_WORD_VOID);
	assert_int_equal(r.ops->prepare(r.d, 1), -EINVAL);
	assert_int_equal(r.ops->prepare(r.d, 2), -EINVAL);
	assert_int_equal(r.ops->prepare(r.d, EPOCH_WORD_VOID), -EINVAL);
	assert_int_equal(disk_barrier_begin(&r.b, 0), 0);
	checkpoint(&r, 0);
	rig_stop(&r);
}

static void wants_the_order(void **state)
{
	struct rig r;

	rig_start(&r);
	assert_int_equal(r.ops->commit(r.d, 0), -EINVAL);
	assert_int_equal(r.ops->postsuspend(r.d, 0), -EINVAL);
	assert_int_equal(r.ops->preresume(r.d, 0), -EINVAL);
	assert_int_equal(r.ops->prepare(r.d, 1), -EINVAL);
	assert_int_equal(r.ops->prepare(r.d, 0), 0);
	assert_int_equal(r.ops->postsuspend(r.d, 1), -EINVAL);
	assert_int_equal(r.ops->preresume(r.d, 0), -EINVAL);
	assert_int_equal(disk_barrier_begin(&r.b, 7), -EBUSY);
	r.ops->abort(r.d, 1);
	assert_int_equal(r.ops->postsuspend(r.d, 0), 0);
	assert_int_equal(r.ops->postsuspend(r.d, 0), -EINVAL);
	assert_int_equal(r.ops->preresume(r.d, 0), 0);
	assert_int_equal(r.ops->preresume(r.d, 0), -EINVAL);
	assert_true(epoch_word_load(&r.word) == 1);
	rig_stop(&r);
}

static void a_full_stream_delays(void **state)
{
	struct rig r;

	rig_start(&r);
	disk_barrier_set_full(&r.b, true);
	/* Nothing earlier is under way: only this checkpoint can make room. */
	checkpoint(&r, 0);
	assert_int_equal(r.ops->prepare(r.d, 1), -EAGAIN);
	assert_int_equal(r.ops->postsuspend(r.d, 1), -EINVAL);
	assert_int_equal(r.ops->commit(r.d, 0), 0);
	assert_int_equal(r.ops->prepare(r.d, 1), 0);
	r.ops->abort(r.d, 1);
	checkpoint(&r, 1);
	assert_int_equal(r.ops->prepare(r.d, 2), -EAGAIN);
	disk_barrier_set_full(&r.b, false);
	checkpoint(&r, 2);
	rig_stop(&r);
}

static void open_takes_the_attempt_away(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	rig_start(&r);
	assert_int_equal(r.ops->prepare(r.d, 0), 0);
	assert_int_equal(r.ops->postsuspend(r.d, 0), 0);
	assert_int_equal(r.ops->open(r.d, &e), 0);
	assert_int_equal(r.ops->preresume(r.d, 0), -EINVAL);
	assert_true(epoch_word_load(&r.word) == 0);
	assert_int_equal(disk_barrier_begin(&r.b, 40), 0);
	checkpoint(&r, 40);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_right_before_the_resume),
		cmocka_unit_test(an_abort_leaves_the_epoch),
		cmocka_unit_test(an_abort_after_the_store_voids_the_word),
		cmocka_unit_test(wants_the_order),
		cmocka_unit_test(a_full_stream_delays),
		cmocka_unit_test(open_takes_the_attempt_away),
	};

	return RUN_TESTS("disk_barrier", tests);
}
