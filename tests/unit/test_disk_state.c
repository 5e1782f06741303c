/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk is, over a file that knows what would survive: after each single request that ends, what disk_state.h says and
 * what it lets happen must be what a loss of power would leave.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "disk/block_server.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "tests/lib/disk_bed.h"

static struct disk_bed bed;

static int set_up(void **state)
{
	log_set_fd(-1);
	disk_bed_make(&bed, true);
	bed.d->starts_alone = false;
	bed.file.by_hand = true;
	return 0;
}

static int tear_down(void **state)
{
	disk_bed_free(&bed);
	return 0;
}

static bool same(const struct journal_gens *a, const struct journal_gens *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Goes on, a request at a time, until nothing is left. Never is anything said that is not durable. */
static void go_on(void)
{
	struct journal_gens gens = bed.d->gens;
	enum journal_state state = bed.d->state;

	/* What has just ended may have something follow it. */
	for (unsigned int idle = 0; idle < 3;) {
		struct journal_sb sb;

		disk_go_on(bed.d, clock_now());
		disk_bed_stable(&bed, &sb);
		if (bed.d->state != state && bed.d->state != JOURNAL_FAILED)
			assert_int_equal(bed.d->state, sb.state);
		if (!same(&bed.d->gens, &gens))
			assert_true(same(&bed.d->gens, &sb.gens));
		state = bed.d->state;
		gens = bed.d->gens;
		idle = mem_disk_step(&bed.file) ? 0 : idle + 1;
	}
}

static void wish(enum disk_wish w)
{
	struct journal_gens before = bed.d->gens;

	disk_want(bed.d, w);
	disk_go_on(bed.d, clock_now());
	/* Wished for, and nothing more yet. */
	assert_true(disk_wants(bed.d, w));
	assert_false(disk_settled(bed.d));
	assert_true(same(&bed.d->gens, &before));
	go_on();
	assert_false(disk_wants(bed.d, w));
	assert_true(disk_settled(bed.d));
}

static void alone_and_finish(void **state)
{
	uint64_t first = bed.d->gens.current;

	wish(DISK_WISH_ALONE);
	assert_true(bed.d->gens.current != first);
	assert_true(bed.d->gens.bitmap == first);
	wish(DISK_WISH_FINISH);
	assert_int_equal(bed.d->gens.bitmap, 0);
	assert_true(bed.d->gens.history[0] == first);
	assert_int_equal(bed.d->state, JOURNAL_ACTIVE);
}

/* What changes nothing is not written down. */
static void finish_of_nothing(void **state)
{
	unsigned int ops = bed.file.ops;

	disk_want(bed.d, DISK_WISH_FINISH);
	go_on();
	assert_true(disk_settled(bed.d));
	assert_int_equal(bed.file.ops, ops);
}

static void outdated(void **state)
{
	disk_want(bed.d, DISK_WISH_OUTDATED);
	/* The peer runs the guest: at once, whatever the journal says. */
	assert_false(bed.d->serving);
	assert_int_equal(bed.d->state, JOURNAL_ACTIVE);
	go_on();
	assert_int_equal(bed.d->state, JOURNAL_OUTDATED);
	assert_false(bed.d->serving);
}

static void wishes_in_their_order(void **state)
{
	uint64_t first = bed.d->gens.current;

	disk_want(bed.d, DISK_WISH_OUTDATED);
	disk_want(bed.d, DISK_WISH_FINISH);
	disk_want(bed.d, DISK_WISH_ALONE);
	go_on();
	assert_int_equal(bed.d->state, JOURNAL_OUTDATED);
	assert_int_equal(bed.d->gens.bitmap, 0);
	assert_true(bed.d->gens.history[0] == first);
	assert_true(disk_settled(bed.d));
}

static int admit(uint64_t off, enum write_op op)
{
	static const uint8_t data[4096];
	const struct write_req w = {.op = op,
				    .off = off,
				    .len = op == WRITE_FLUSH ? 0 : 4096,
				    .data = op == WRITE_DATA ? data : NULL};
	int rc = bed.d->gate.ops->admit(&bed.d->gate, &w);

	if (!rc)
		assert_true(bed.d->gate.ops->done(&bed.d->gate, &w, 0));
	return rc;
}

/* Is the intent for this offset where a crash would find it? */
static bool intent_is_durable(uint64_t off)
{
	struct intent_block b;
	uint64_t bit = off / INTENT_REGION;

	return intent_block_decode(&b, 0, &bed.d->geo, bed.file.stable + JOURNAL_INTENT_OFF) == 0 &&
	       b.bits[bit / 8] >> bit % 8 & 1;
}

static void a_write_waits_for_its_intent(void **state)
{
	assert_false(intent_is_durable(4 << 20));
	assert_int_equal(admit(4 << 20, WRITE_DATA), -EAGAIN);
	for (unsigned int steps = 0; admit(4 << 20, WRITE_DATA) == -EAGAIN; steps++) {
		assert_true(steps < 10);
		disk_go_on(bed.d, clock_now());
		(void)mem_disk_step(&bed.file);
	}
	assert_true(intent_is_durable(4 << 20));
	/* The region is known now; another is not. */
	assert_int_equal(admit((4 << 20) + 4096, WRITE_ZERO), 0);
	assert_int_equal(admit(0, WRITE_DATA), -EAGAIN);
}

/* A guest that nobody told us of goes alone with its first write, which waits for the new generation. */
static void starts_alone(void **state)
{
	uint64_t first = bed.d->gens.current;
	unsigned int steps = 0;

	bed.d->starts_alone = true;
	assert_int_equal(admit(0, WRITE_FLUSH), 0);
	assert_true(disk_settled(bed.d));
	while (admit(0, WRITE_DATA) == -EAGAIN) {
		assert_true(steps++ < 20);
		disk_go_on(bed.d, clock_now());
		(void)mem_disk_step(&bed.file);
	}
	struct journal_sb sb;

	disk_bed_stable(&bed, &sb);
	assert_true(sb.gens.bitmap == first);
	assert_true(same(&sb.gens, &bed.d->gens));
}

/* The first write after an activation is what makes its generation. */
static void activated(void **state)
{
	unsigned int steps = 0;

	bed.d->pending_generation = 77;
	go_on();
	assert_true(bed.d->gens.current != 77);
	while (admit(0, WRITE_DATA) == -EAGAIN) {
		assert_true(steps++ < 20);
		disk_go_on(bed.d, clock_now());
		(void)mem_disk_step(&bed.file);
	}
	struct journal_sb sb;

	disk_bed_stable(&bed, &sb);
	assert_int_equal(sb.gens.current, 77);
	assert_int_equal(bed.d->pending_generation, 0);
}

/* A journal that fails takes no disk away from a guest that runs, and no wish hangs. */
static void the_file_fails(void **state)
{
	struct journal_gens before = bed.d->gens;

	bed.file.fails = -ENOSPC;
	disk_want(bed.d, DISK_WISH_ALONE);
	go_on();
	assert_int_equal(bed.d->state, JOURNAL_FAILED);
	assert_non_null(strstr(bed.d->why, "No space left on device"));
	assert_true(bed.d->serving);
	assert_true(disk_settled(bed.d));
	assert_true(same(&bed.d->gens, &before));
	assert_int_equal(admit(0, WRITE_DATA), 0);
	/* There it is as before: nothing was half written. */
	struct journal_sb sb;

	disk_bed_stable(&bed, &sb);
	assert_true(same(&sb.gens, &before));
}

static void the_intent_cannot_be_written(void **state)
{
	assert_int_equal(admit(0, WRITE_DATA), -EAGAIN);
	bed.file.fails = -EIO;
	go_on();
	assert_int_equal(bed.d->state, JOURNAL_FAILED);
	assert_int_equal(admit(0, WRITE_DATA), 0);
	assert_true(bed.d->serving);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(alone_and_finish),
		TEST(finish_of_nothing),
		TEST(outdated),
		TEST(wishes_in_their_order),
		TEST(a_write_waits_for_its_intent),
		TEST(starts_alone),
		TEST(activated),
		TEST(the_file_fails),
		TEST(the_intent_cannot_be_written),
	};

	return RUN_TESTS("disk_state", tests);
}
