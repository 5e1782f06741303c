/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/mem.h"
#include "tests/lib/journal_rig.h"

static int set_up(void **state)
{
	*state = rig_new(64);
	return 0;
}

static int tear_down(void **state)
{
	rig_free(*state);
	return 0;
}

static int set_up_consistent(void **state)
{
	struct rig *r = rig_new(64);

	assert_int_equal(rig_open(r), 0);
	rig_copy(r);
	*state = r;
	return 0;
}

/* ---- making and opening ---- */

static void a_new_one_is_empty(void **state)
{
	struct rig *r = *state;
	struct journal_stats st;

	assert_int_equal(rig_open(r), 0);
	journal_stats(r->j, &st);
	assert_int_equal(st.state, JOURNAL_EMPTY);
	assert_true(st.committed_epoch == JOURNAL_NO_EPOCH);
	assert_int_equal(rig_write(r, 0, 0, 512, 1), -EPERM);
	assert_int_equal(journal_begin(r->j, 1, 0), -EPERM);
	assert_int_equal(journal_activate(r->j, 0, 7), -EPERM);
	assert_int_equal(journal_leave(r->j), -EPERM);
	assert_true(journal_run(r->j, r->now) == CLOCK_NEVER);
	assert_true(journal_idle(r->j));
}

static void a_file_too_small_is_one_error(void **state)
{
	struct rig *r = *state;

	r->file.base.size = 50 * JOURNAL_BLOCK;
	assert_int_equal(journal_format(&r->file.base, &r->o.geo, 5, &r->e), -ENOSPC);
	assert_non_null(strstr(r->e.text, "needs"));
	assert_int_equal(rig_open(r), -EINVAL);
	assert_non_null(strstr(r->e.text, "was cut"));
}

static void two_bad_superblocks_are_one_error(void **state)
{
	struct rig *r = *state;

	r->file_image[100] ^= 4;
	assert_int_equal(rig_open(r), 0);
	rig_close(r);
	r->file_image[100] ^= 4;
	r->file_image[4096 + 100] ^= 4;
	assert_int_equal(rig_open(r), -EBADMSG);
	assert_non_null(strstr(r->e.text, "no valid superblock"));
	assert_null(r->j);
}

static void not_this_disk(void **state)
{
	struct rig *r = *state;

	r->o.geo.uuid[0] = 9;
	assert_int_equal(rig_open(r), -EINVAL);
	assert_string_equal(r->e.text, "the journal is another disk's");
	r->o.geo.uuid[0] = 1;
	r->o.geo.block_size = 4096;
	assert_int_equal(rig_open(r), -EINVAL);
	r->o.geo.block_size = 512;
	r->disk.base.size = 4096;
	assert_int_equal(rig_open(r), -EINVAL);
	r->disk.base.size = RIG_DISK;
	r->disk.base.block_size = 4096;
	assert_int_equal(rig_open(r), -EINVAL);
	r->disk.base.block_size = 512;
	r->o.ram_bytes = 4096;
	assert_int_equal(rig_open(r), -EINVAL);
}

static void no_memory_is_an_error(void **state)
{
	struct rig *r = *state;
	long n = 0;
	int rc;

	do {
		mem_fail_after(n++);
		rc = rig_open(r);
		mem_fail_after(MEM_NEVER);
		assert_true(rc == 0 || rc == -ENOMEM);
	} while (rc);
	assert_true(n > 10);
}

static void no_io_at_opening_is_an_error(void **state)
{
	struct rig *r = *state;

	block_rec_fail(&r->file, BLOCK_READ, 1, 1, -EIO);
	assert_int_equal(rig_open(r), -EIO);
	assert_non_null(strstr(r->e.text, "superblock B"));
	block_rec_fail(&r->file, BLOCK_WRITE, 0, 1, -EIO);
	assert_int_equal(rig_open(r), -EIO);
	block_rec_fail(&r->file, BLOCK_SYNC, 1, 1, -EIO);
	assert_int_equal(rig_open(r), -EIO);
	block_rec_fail(&r->file, BLOCK_WRITE, 2, 1, -ENOSPC);
	assert_int_equal(journal_format(&r->file.base, &r->o.geo, 5, &r->e), -ENOSPC);
	/* What is half made is no journal. */
	assert_int_equal(rig_open(r), -EBADMSG);
}

/* ---- epochs ---- */

static void epochs_reach_the_disk(void **state)
{
	struct rig *r = *state;
	struct journal_stats st;

	rig_holds(r, 0, RIG_DISK, 0x11);
	assert_int_equal(rig_write(r, 1, 0, 4096, 0x22), 0);
	assert_int_equal(rig_write(r, 1, 2048, 4096, 0x33), 0);
	rig_commit(r, 1);
	assert_int_equal(rig_write(r, 2, 512, 512, 0x44), 0);
	rig_commit(r, 2);
	rig_run(r, 0);
	/* Due after 100 ms only. */
	rig_holds(r, 0, 4096, 0x11);
	rig_run(r, 100);
	assert_int_equal(r->applied, 2);
	assert_int_equal(r->durable, 2);
	rig_holds(r, 0, 512, 0x22);
	rig_holds(r, 512, 512, 0x44);
	rig_holds(r, 1024, 1024, 0x22);
	rig_holds(r, 2048, 4096, 0x33);
	rig_holds(r, 6144, 2048, 0x11);
	journal_stats(r->j, &st);
	assert_int_equal(st.lag_bytes, 0);
	assert_int_equal(st.merged, 2048 + 512);
	rig_run(r, 2000);
	journal_stats(r->j, &st);
	assert_int_equal(st.ring_used, 0);
	assert_int_equal(st.ram_used, 0);
}

static void zero_and_discard(void **state)
{
	struct rig *r = *state;
	struct journal_rec zero = {.op = JOURNAL_ZERO, .off = 0, .len = 8192};
	struct journal_rec discard = {.op = JOURNAL_DISCARD, .off = 65536, .len = 65536};

	assert_int_equal(journal_append(r->j, 1, &zero), 0);
	assert_int_equal(rig_write(r, 1, 4096, 512, 0x55), 0);
	assert_int_equal(journal_append(r->j, 1, &discard), 0);
	rig_commit(r, 1);
	rig_run(r, 100);
	rig_holds(r, 0, 4096, 0);
	rig_holds(r, 4096, 512, 0x55);
	rig_holds(r, 4608, 3584, 0);
	assert_int_equal(r->disk.count[BLOCK_DISCARD], 1);
}

static void neighbours_are_one_request(void **state)
{
	struct rig *r = *state;
	unsigned long before = r->disk.count[BLOCK_WRITE];

	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(rig_write(r, 1, (7 - i) * 512, 512, (uint8_t)i), 0);
	rig_commit(r, 1);
	rig_run(r, 100);
	assert_int_equal(r->disk.count[BLOCK_WRITE] - before, 1);
	rig_holds(r, 0, 512, 7);
	rig_holds(r, 3584, 512, 0);
}

static void only_what_is_committed(void **state)
{
	struct rig *r = *state;

	assert_int_equal(rig_write(r, 1, 0, 512, 0x22), 0);
	rig_end(r, 1);
	assert_int_equal(rig_write(r, 2, 512, 512, 0x33), 0);
	journal_push(r->j);
	rig_run(r, 5000);
	rig_holds(r, 0, 1024, 0x11);
	assert_int_equal(journal_commit(r->j, 1), 0);
	rig_run(r, 100);
	rig_holds(r, 0, 512, 0x22);
	rig_holds(r, 512, 512, 0x11);
	/* The rest is dropped, and does not come back. */
	journal_drop(r->j);
	assert_int_equal(rig_write(r, 2, 512, 512, 0x33), -EPERM);
	assert_int_equal(journal_begin(r->j, 2, 10), 0);
	assert_int_equal(rig_write(r, 10, 1024, 512, 0x44), 0);
	rig_commit(r, 10);
	rig_run(r, 100);
	rig_holds(r, 512, 512, 0x11);
	rig_holds(r, 1024, 512, 0x44);
}

static void whose_turn_it_is(void **state)
{
	struct rig *r = *state;
	struct journal_count count;

	assert_int_equal(rig_write(r, 2, 0, 512, 1), -EPROTO);
	assert_int_equal(journal_commit(r->j, 1), -EPROTO);
	assert_int_equal(rig_write(r, 1, 0, 512, 1), 0);
	assert_int_equal(rig_write(r, 2, 0, 512, 1), -EPROTO);
	assert_int_equal(journal_commit(r->j, 1), -EPROTO);
	assert_int_equal(journal_end(r->j, 1, &count), 0);
	assert_true(count.records == 1 && count.bytes == 512 && !count.flushed);
	assert_int_equal(journal_end(r->j, 1, &count), -EPROTO);
	assert_int_equal(journal_commit(r->j, 2), -EPROTO);
	/* Not writes of this disk. */
	assert_int_equal(rig_write(r, 2, 100, 512, 1), -EINVAL);
	assert_int_equal(rig_write(r, 2, RIG_DISK - 512, 1024, 1), -EINVAL);
	assert_int_equal(rig_write(r, 2, 0, 32768, 1), -EINVAL);
	assert_int_equal(rig_write(r, 2, 0, 0, 1), -EINVAL);
	/* A session is never begun twice. */
	assert_int_equal(journal_begin(r->j, 1, 5), -EINVAL);
}

static void too_many_open_epochs(void **state)
{
	struct rig *r = *state;
	struct journal_count count;

	uint64_t n = 1;
	int rc;

	/* As many as there is memory for their COMMITs. */
	while (!(rc = journal_end(r->j, n, &count)))
		n++;
	assert_int_equal(rc, -EFBIG);
	assert_int_equal(n, 40);
	rig_close(r);
	/* Or as many as may be. */
	r->o.ram_bytes = 1u << 20;
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(journal_begin(r->j, 2, 1), 0);
	rig_run(r, 2000);
	for (n = 1; n < JOURNAL_UNCOMMITTED; n++)
		rig_end(r, n);
	assert_int_equal(journal_end(r->j, n, &count), -EFBIG);
	for (n = 1; n < JOURNAL_UNCOMMITTED; n++)
		assert_int_equal(journal_commit(r->j, n), 0);
	/* Room comes with the second superblock that is past them. */
	rig_run(r, 3000);
	assert_int_equal(r->applied, JOURNAL_UNCOMMITTED - 1);
	assert_int_equal(journal_end(r->j, n, &count), 0);
}

/* ---- when it is durable ---- */

static void memory_waits_for_nothing(void **state)
{
	struct rig *r = *state;

	assert_int_equal(rig_write(r, 1, 0, 512, 1), 0);
	rig_end(r, 1);
	assert_false(journal_ack_waits(r->j, 1));
	assert_int_equal(journal_commit(r->j, 1), 0);
	rig_run(r, 0);
	assert_int_equal(r->durable, 0);
	rig_run(r, 250);
	assert_int_equal(r->durable, 1);
}

static void flush_waits_for_a_flush(void **state)
{
	struct rig *r = *state;
	struct journal_rec flush = {.op = JOURNAL_FLUSH};

	rig_close(r);
	r->o.ack = JOURNAL_ACK_FLUSH;
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(journal_begin(r->j, 2, 1), 0);
	assert_int_equal(rig_write(r, 1, 0, 512, 1), 0);
	rig_end(r, 1);
	assert_false(journal_ack_waits(r->j, 1));
	assert_int_equal(journal_commit(r->j, 1), 0);
	rig_run(r, 0);
	assert_true(r->durable == JOURNAL_NO_EPOCH);
	assert_int_equal(journal_append(r->j, 2, &flush), 0);
	rig_end(r, 2);
	assert_true(journal_ack_waits(r->j, 2));
	assert_int_equal(journal_commit(r->j, 2), 0);
	rig_run(r, 0);
	assert_int_equal(r->durable, 2);
}

static void epoch_waits_always(void **state)
{
	struct rig *r = *state;

	rig_close(r);
	r->o.ack = JOURNAL_ACK_EPOCH;
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(journal_begin(r->j, 2, 1), 0);
	rig_end(r, 1);
	assert_true(journal_ack_waits(r->j, 1));
	assert_int_equal(journal_commit(r->j, 1), 0);
	rig_run(r, 0);
	assert_int_equal(r->durable, 1);
}

/* The order of the requests itself: the disk is not touched before the COMMIT is durable and named. */
static void nothing_before_the_commit_is_durable(void **state)
{
	struct rig *r = *state;
	unsigned long syncs = r->file.count[BLOCK_SYNC];
	unsigned long writes = r->disk.count[BLOCK_WRITE];

	assert_int_equal(rig_write(r, 1, 0, 512, 1), 0);
	rig_commit(r, 1);
	while (r->file.count[BLOCK_SYNC] < syncs + 2 || r->file.n) {
		assert_int_equal(r->disk.count[BLOCK_WRITE], writes);
		(void)r->file.base.ops->wait(&r->file.base);
		r->now += 10 * NS_PER_MS;
		(void)journal_run(r->j, r->now);
	}
	assert_int_equal(r->disk.count[BLOCK_WRITE], writes + 1);
}

/* ---- room ---- */

static void a_full_ring_waits_and_goes_on(void **state)
{
	struct rig *r = *state;
	uint64_t epoch = 1;
	unsigned int again = 0;

	for (; epoch < 200; epoch++) {
		int rc = rig_write(r, epoch, epoch % 16 * 16384, 16384, (uint8_t)epoch);

		if (rc == -EAGAIN) {
			unsigned int spaces = r->spaces;

			again++;
			rig_run(r, 0);
			assert_int_equal(r->spaces, spaces + 1);
			rc = rig_write(r, epoch, epoch % 16 * 16384, 16384, (uint8_t)epoch);
		}
		assert_int_equal(rc, 0);
		rig_commit(r, epoch);
	}
	assert_true(again > 5);
	rig_run(r, 100);
	assert_int_equal(r->applied, 199);
	rig_holds(r, 199 % 16 * 16384, 16384, 199);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	rig_holds(r, 184 % 16 * 16384, 16384, 184);
}

static void an_epoch_bigger_than_the_ring(void **state)
{
	struct rig *r = *state;
	int rc = 0;
	int n = 0;

	while (!rc && n < 100) {
		rc = rig_write(r, 1, 0, 16384, (uint8_t)n++);
		rig_run(r, 0);
	}
	assert_int_equal(rc, -EFBIG);
	assert_true(n > 8 && n < 16);
	journal_drop(r->j);
	/* All of its room comes back. */
	assert_int_equal(journal_begin(r->j, 2, 1), 0);
	assert_int_equal(rig_write(r, 1, 0, 16384, 0x77), -EAGAIN);
	rig_run(r, 0);
	assert_int_equal(r->spaces, 1);
	assert_int_equal(rig_write(r, 1, 0, 16384, 0x77), 0);
	rig_commit(r, 1);
	rig_run(r, 100);
	rig_holds(r, 0, 16384, 0x77);
}

static void sessions_come_and_go(void **state)
{
	struct rig *r = *state;
	struct journal_stats st;

	for (uint64_t s = 2; s < 400; s++) {
		int rc = journal_begin(r->j, s, 1);

		if (rc == -EAGAIN) {
			rig_run(r, 0);
			rc = journal_begin(r->j, s, 1);
		}
		assert_int_equal(rc, 0);
		rc = rig_write(r, 1, 0, 512, 0x99);
		assert_true(rc == 0 || rc == -EAGAIN);
		rig_run(r, 0);
	}
	journal_drop(r->j);
	rig_run(r, 5000);
	journal_stats(r->j, &st);
	assert_int_equal(st.ring_used, 0);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	rig_holds(r, 0, RIG_DISK, 0x11);
}

static void what_memory_lacks_the_ring_has(void **state)
{
	struct rig *r = *state;
	struct journal_stats st;

	rig_close(r);
	r->o.ram_bytes = 4ull * (16384 + 4096);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(journal_begin(r->j, 2, 1), 0);
	for (unsigned int i = 0; i < 9; i++) {
		assert_int_equal(rig_write(r, 1, i * 8192, 16384, (uint8_t)(0x80 + i)), 0);
		rig_run(r, 0);
	}
	rig_commit(r, 1);
	rig_run(r, 100);
	journal_stats(r->j, &st);
	assert_true(st.spilled >= 5);
	for (unsigned int i = 0; i < 9; i++)
		rig_holds(r, i * 8192, 8192, (uint8_t)(0x80 + i));
	rig_holds(r, 9 * 8192, 8192, 0x88);
}

static struct journal_stats stats(const struct rig *r)
{
	struct journal_stats st;

	journal_stats(r->j, &st);
	return st;
}

/* That it was activated, and nothing has come of it yet, survives whoever asked for it. */
static void activated_until_something_is_set(void **state)
{
	struct rig *r = *state;
	struct journal_gens gens;

	assert_false(stats(r).activated);
	assert_int_equal(journal_activate(r->j, 0, 0), 0);
	assert_false(stats(r).activated);
	rig_run(r, 100);
	assert_int_equal(r->state, JOURNAL_ACTIVE);
	assert_true(stats(r).activated);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(stats(r).state, JOURNAL_ACTIVE);
	assert_true(stats(r).activated);
	gens = stats(r).gens;
	gens.bitmap = gens.current;
	gens.current = 77;
	assert_int_equal(journal_set(r->j, JOURNAL_ACTIVE, &gens), 0);
	rig_run(r, 100);
	assert_false(stats(r).activated);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(stats(r).state, JOURNAL_ACTIVE);
	assert_false(stats(r).activated);
	/* The other host runs it by now: it is as it was. */
	assert_int_equal(journal_set(r->j, JOURNAL_OUTDATED, &gens), 0);
	rig_run(r, 100);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(stats(r).state, JOURNAL_OUTDATED);
	assert_true(stats(r).gens.current == 77);
	rig_holds(r, 0, RIG_DISK, 0x11);
}

/* Of an activation that came to nothing nothing is left, and the next session is as good as any. */
static void activated_and_left(void **state)
{
	struct rig *r = *state;

	assert_int_equal(journal_activate(r->j, 0, 0), 0);
	rig_run(r, 100);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(journal_leave(r->j), 0);
	rig_run(r, 100);
	assert_int_equal(r->state, JOURNAL_OUTDATED);
	assert_false(stats(r).activated);
	assert_int_equal(journal_begin(r->j, 9, 0), 0);
	assert_int_equal(rig_write(r, 0, 0, 512, 0x22), 0);
	rig_commit(r, 0);
	rig_run(r, 500);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	rig_holds(r, 0, 512, 0x22);
}

/* Of a copy that nobody follows the generations may change, and nothing else; what was committed stays readable. */
static void set_where_nobody_follows(void **state)
{
	struct rig *r = *state;
	struct journal_gens gens = {.bitmap = 5};

	assert_int_equal(journal_set(r->j, JOURNAL_CONSISTENT, &gens), -EPERM);
	assert_int_equal(journal_begin(r->j, 2, 1), 0);
	assert_int_equal(rig_write(r, 1, 0, 512, 0x22), 0);
	rig_commit(r, 1);
	assert_int_equal(journal_leave(r->j), 0);
	rig_run(r, 100);
	assert_int_equal(r->state, JOURNAL_OUTDATED);
	assert_int_equal(journal_set(r->j, JOURNAL_ACTIVE, &gens), -EPERM);
	assert_int_equal(journal_set(r->j, JOURNAL_OUTDATED, &gens), 0);
	rig_run(r, 100);
	assert_true(stats(r).gens.bitmap == 5 && !stats(r).gens.current);
	/* Not under a session. */
	assert_int_equal(journal_begin(r->j, 3, 0), 0);
	assert_int_equal(journal_set(r->j, JOURNAL_OUTDATED, &gens), -EPERM);
	assert_int_equal(rig_write(r, 0, 512, 512, 0x33), 0);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(stats(r).state, JOURNAL_OUTDATED);
	assert_true(stats(r).gens.bitmap == 5);
	rig_holds(r, 0, 512, 0x22);
	rig_holds(r, 512, 512, 0x11);
	assert_int_equal(journal_copy_begin(r->j, 4, 0), 0);
	rig_run(r, 100);
	assert_int_equal(r->state, JOURNAL_SYNCING);
	assert_int_equal(journal_set(r->j, JOURNAL_SYNCING, &gens), -EPERM);
	journal_drop(r->j);
	gens.bitmap = 6;
	assert_int_equal(journal_set(r->j, JOURNAL_OUTDATED, &gens), -EPERM);
	assert_int_equal(journal_set(r->j, JOURNAL_SYNCING, &gens), 0);
	rig_run(r, 100);
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(stats(r).state, JOURNAL_SYNCING);
	assert_true(stats(r).gens.bitmap == 6);
}

int main(void)
{
#define ON_NEW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define ON_COPY(f) cmocka_unit_test_setup_teardown(f, set_up_consistent, tear_down)
	static const struct CMUnitTest tests[] = {
		ON_NEW(a_new_one_is_empty),
		ON_NEW(a_file_too_small_is_one_error),
		ON_NEW(two_bad_superblocks_are_one_error),
		ON_NEW(not_this_disk),
		ON_NEW(no_memory_is_an_error),
		ON_NEW(no_io_at_opening_is_an_error),
		ON_COPY(epochs_reach_the_disk),
		ON_COPY(zero_and_discard),
		ON_COPY(neighbours_are_one_request),
		ON_COPY(only_what_is_committed),
		ON_COPY(whose_turn_it_is),
		ON_COPY(too_many_open_epochs),
		ON_COPY(memory_waits_for_nothing),
		ON_COPY(flush_waits_for_a_flush),
		ON_COPY(epoch_waits_always),
		ON_COPY(nothing_before_the_commit_is_durable),
		ON_COPY(a_full_ring_waits_and_goes_on),
		ON_COPY(an_epoch_bigger_than_the_ring),
		ON_COPY(sessions_come_and_go),
		ON_COPY(what_memory_lacks_the_ring_has),
		ON_COPY(activated_until_something_is_set),
		ON_COPY(activated_and_left),
		ON_COPY(set_where_nobody_follows),
	};

	return RUN_TESTS("journal", tests);
}
