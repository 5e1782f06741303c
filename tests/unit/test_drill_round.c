/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In which order a standby is copied, step by step; test_drill_copy has it under a worker that feeds in all gaps. */
#include "tests/lib/test.h"

#include <string.h>
#include <unistd.h>

#include "replicator/drill_round.h"
#include "replicator/drill_share.h"
#include "replicator/epoch.h"

#define PAGES 64
#define LAST 4

static struct world {
	struct drill_share *s;
	struct drill_round r;
	uint64_t marked[1];
	uint64_t pfn[PAGES];
	struct drill_state state;
} w;

static void begin(bool disks)
{
	static const struct wire_static statics = {.n_leaves = 1};
	int fd;

	memset(&w, 0, sizeof(w));
	assert_int_equal(drill_share_make(&w.s, PAGES, &fd, NULL), 0);
	close(fd);
	w.r = (struct drill_round){.disks = disks,
				   .marked = w.marked,
				   .pfn = w.pfn,
				   .max = LAST,
				   .batch = 2,
				   .state = &w.state};
	drill_share_begin(w.s, &statics, 7);
}

static void feed(uint64_t epoch, uint32_t n)
{
	uint64_t pfn[PAGES];

	for (uint32_t i = 0; i < n; i++)
		pfn[i] = i * 3;
	drill_share_feeding(w.s, epoch, pfn, n);
	drill_share_state_of(w.s, epoch)->tsc.khz = (uint32_t)epoch;
}

static void fed(uint64_t epoch, uint32_t n)
{
	feed(epoch, n);
	drill_share_settled(w.s, epoch);
}

static enum drill_todo next(void)
{
	return drill_round_next(&w.r, w.s);
}

/* Over what is only a look. */
static enum drill_todo next_work(void)
{
	enum drill_todo todo = next();

	for (int i = 0; i < 3 && todo == DRILL_TODO_AGAIN; i++)
		todo = next();
	if (todo == DRILL_TODO_ROUND)
		w.marked[0] = 0;
	return todo;
}

static void copied_once(void)
{
	assert_int_equal(next(), DRILL_TODO_NAP);
	drill_share_settled(w.s, 7);
	assert_int_equal(next(), DRILL_TODO_ALL);
	/* The state of the epoch that was there is not known. */
	assert_int_equal(next_work(), w.r.disks ? DRILL_TODO_HOLD : DRILL_TODO_NAP);
}

static void to_the_end(void **state)
{
	begin(false);
	copied_once();
	fed(8, 3);
	assert_int_equal(next_work(), DRILL_TODO_READ);
	assert_int_equal(w.r.from, 0);
	assert_int_equal(w.r.count, 2);
	assert_int_equal(next(), DRILL_TODO_READ);
	assert_int_equal(w.r.from, 2);
	assert_int_equal(w.r.count, 1);
	assert_int_equal(next_work(), DRILL_TODO_SEND);
	assert_int_equal(w.r.epoch, 8);
	assert_int_equal(w.r.n, 3);
	assert_true(w.pfn[0] == 0 && w.pfn[1] == 3 && w.pfn[2] == 6);
	assert_int_equal(w.state.tsc.khz, 8);
	assert_int_equal(w.r.rounds, 2);
	drill_share_close(w.s);
}

/* An epoch comes while another one is read: its pages are not lost, and those that were read are copied again. */
static void an_epoch_comes_meanwhile(void **state)
{
	begin(false);
	copied_once();
	fed(8, 3);
	assert_int_equal(next_work(), DRILL_TODO_READ);
	feed(9, 2);
	assert_int_equal(next(), DRILL_TODO_ROUND);
	assert_int_equal(w.marked[0], 0x49);
	w.marked[0] = 0;
	assert_int_equal(next(), DRILL_TODO_NAP);
	drill_share_settled(w.s, 9);
	assert_int_equal(next_work(), DRILL_TODO_READ);
	assert_int_equal(w.r.n, 2);
	assert_int_equal(next_work(), DRILL_TODO_SEND);
	assert_int_equal(w.r.epoch, 9);
	drill_share_close(w.s);
}

/* ... between the look at the epoch and the one at the marks: they stay until they are of an epoch that is there. */
static void marks_of_the_next(void **state)
{
	begin(false);
	copied_once();
	fed(8, 1);
	assert_int_equal(next(), DRILL_TODO_AGAIN);
	feed(9, 2);
	assert_int_equal(next(), DRILL_TODO_AGAIN);
	assert_int_equal(next(), DRILL_TODO_NAP);
	assert_int_equal(w.marked[0], 0x9);
	drill_share_settled(w.s, 9);
	assert_int_equal(next_work(), DRILL_TODO_READ);
	assert_int_equal(w.r.n, 2);
	drill_share_close(w.s);
}

static void too_many_pages(void **state)
{
	begin(false);
	copied_once();
	fed(8, LAST + 1);
	assert_int_equal(next_work(), DRILL_TODO_ROUND);
	assert_int_equal(w.r.last_pages, LAST + 1);
	fed(9, LAST);
	assert_int_equal(next_work(), DRILL_TODO_READ);
	drill_share_close(w.s);
}

/* Held once, before the first try; an epoch that a disk has left behind is not tried. */
static void the_disks_go_before(void **state)
{
	begin(true);
	copied_once();
	w.r.least = 9;
	fed(8, 1);
	assert_int_equal(next_work(), DRILL_TODO_NAP);
	fed(9, 1);
	assert_int_equal(next_work(), DRILL_TODO_READ);
	assert_int_equal(next(), DRILL_TODO_DISKS);
	assert_int_equal(w.r.epoch, 9);
	assert_int_equal(next(), DRILL_TODO_SEND);
	drill_share_close(w.s);
}

static void the_standby_is_completed(void **state)
{
	begin(false);
	copied_once();
	fed(8, 1);
	assert_int_equal(next_work(), DRILL_TODO_READ);
	drill_share_end(w.s);
	assert_int_equal(next(), DRILL_TODO_ROUND);
	w.marked[0] = 0;
	for (int i = 0; i < 10; i++)
		assert_int_equal(next(), DRILL_TODO_NAP);
	drill_share_close(w.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(to_the_end),	       cmocka_unit_test(an_epoch_comes_meanwhile),
		cmocka_unit_test(marks_of_the_next),   cmocka_unit_test(too_many_pages),
		cmocka_unit_test(the_disks_go_before), cmocka_unit_test(the_standby_is_completed),
	};

	return RUN_TESTS("drill_round", tests);
}
