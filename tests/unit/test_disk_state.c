/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk is, over a file that knows what would survive: after each single request that ends, what disk_state.h says and
 * what it lets happen must be what a loss of power would leave.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/block_server.h"
#include "disk/dirty_map.h"
#include "lib/clock.h"
#include "lib/err.h"
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

static void wish_of_nothing(enum disk_wish w)
{
	unsigned int ops = bed.file.ops;

	disk_want(bed.d, w);
	go_on();
	assert_true(disk_settled(bed.d));
	assert_int_equal(bed.file.ops, ops);
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
	wish_of_nothing(DISK_WISH_FINISH);
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

/* ---- the operator gives it up ---- */

static void refuses_to_surrender(const char *why)
{
	struct err e = ERR_INIT;

	assert_true(disk_may_surrender(bed.d, &e) < 0);
	if (!strstr(e.text, why))
		fail_msg("'%s' lacks '%s'", e.text, why);
}

static void surrendered(void **state)
{
	uint64_t first = bed.d->gens.current;
	struct err e = ERR_INIT;
	struct journal_sb sb;

	assert_int_equal(disk_may_surrender(bed.d, &e), 0);
	wish(DISK_WISH_ALONE);
	assert_false(disk_is_surrendered(bed.d));
	bed.d->pending_generation = 77;
	disk_want(bed.d, DISK_WISH_SURRENDER);
	/* At once: nobody is to write into what is given up. */
	assert_false(bed.d->serving);
	go_on();
	assert_int_equal(bed.d->state, JOURNAL_OUTDATED);
	assert_true(disk_is_surrendered(bed.d));
	assert_int_equal(bed.d->gens.current, 0);
	assert_true(bed.d->gens.bitmap == first);
	assert_int_equal(bed.d->pending_generation, 0);
	assert_non_null(strstr(bed.d->why, "given up"));
	disk_bed_stable(&bed, &sb);
	assert_int_equal(sb.state, JOURNAL_OUTDATED);
	assert_true(same(&sb.gens, &bed.d->gens));
	/* Again, and by another server: nothing changes. */
	assert_int_equal(disk_may_surrender(bed.d, &e), 0);
	wish_of_nothing(DISK_WISH_SURRENDER);
	disk_bed_reopen(&bed);
	bed.file.by_hand = true;
	assert_true(disk_is_surrendered(bed.d));
	assert_false(bed.d->serving);
	assert_non_null(strstr(bed.d->why, "given up"));
	wish_of_nothing(DISK_WISH_SURRENDER);
	assert_true(bed.d->gens.bitmap == first);
}

/* What it has marked is what will be copied: it stays. */
static void surrendered_with_its_marks(void **state)
{
	for (unsigned int steps = 0; admit(4 << 20, WRITE_DATA) == -EAGAIN; steps++) {
		assert_true(steps < 10);
		disk_go_on(bed.d, clock_now());
		(void)mem_disk_step(&bed.file);
	}
	wish(DISK_WISH_OUTDATED);
	assert_false(disk_is_surrendered(bed.d));
	wish(DISK_WISH_SURRENDER);
	assert_true(disk_is_surrendered(bed.d));
	assert_true(dirty_map_any(bed.d->map, 4 << 20, 4096));
	assert_true(bed.d->dirt_known);
	disk_bed_reopen(&bed);
	assert_true(dirty_map_any(bed.d->map, 4 << 20, 4096));
	assert_true(bed.d->dirt_known);
}

static void not_surrendered(void **state)
{
	static const struct {
		enum journal_state state;
		const char *why;
	} cases[] = {
		{JOURNAL_EMPTY, "disk \"web\" is empty here"},
		{JOURNAL_CONSISTENT, "disk \"web\" follows the other host's already"},
		{JOURNAL_FAILED, "make it anew with romulus-disk --format=target --force web"},
	};
	char used[] = "/tmp/test_disk_state.XXXXXX";
	int fd = mkstemp(used);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bed.d->state = cases[i].state;
		refuses_to_surrender(cases[i].why);
	}
	bed.d->state = JOURNAL_ACTIVE;
	bed.d->conf.used_path = used;
	assert_true(fd >= 0);
	refuses_to_surrender("a guest of this host has disk \"web\"");
	close(fd);
	unlink(used);
	assert_int_equal(disk_may_surrender(bed.d, NULL), 0);
}

/* It cannot be written down: nothing is given up. */
static void surrender_fails(void **state)
{
	struct journal_gens before = bed.d->gens;
	struct journal_sb sb;

	bed.file.fails = -ENOSPC;
	disk_want(bed.d, DISK_WISH_SURRENDER);
	go_on();
	assert_true(disk_settled(bed.d));
	assert_false(disk_is_surrendered(bed.d));
	assert_int_equal(bed.d->state, JOURNAL_FAILED);
	disk_bed_stable(&bed, &sb);
	assert_true(same(&sb.gens, &before));
	assert_int_equal(sb.state, JOURNAL_ACTIVE);
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
		TEST(surrendered),
		TEST(surrendered_with_its_marks),
		TEST(not_surrendered),
		TEST(surrender_fails),
		TEST(the_file_fails),
		TEST(the_intent_cannot_be_written),
	};

	return RUN_TESTS("disk_state", tests);
}
