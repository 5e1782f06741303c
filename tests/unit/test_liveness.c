/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Times here are small numbers: suspect after 20, lost after 100, a heartbeat is 10. */
#include "tests/lib/test.h"

#include "replicator/liveness.h"

#define START 1000

static void begin(struct liveness *l)
{
	liveness_init(l, 20, 100, START);
}

/* Awake all the time from one instant to another. */
static void listen_until(struct liveness *l, uint64_t from, uint64_t to)
{
	for (uint64_t now = from; now <= to; now++)
		liveness_listen(l, now);
}

static void verdicts(void **state)
{
	static const struct {
		uint64_t after;
		enum liveness_verdict verdict;
	} cases[] = {
		{0, LIVENESS_ALIVE},	{19, LIVENESS_ALIVE}, {20, LIVENESS_SUSPECT},
		{99, LIVENESS_SUSPECT}, {100, LIVENESS_LOST}, {100000, LIVENESS_LOST},
	};
	struct liveness l;

	begin(&l);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(liveness_verdict(&l, START + cases[i].after), cases[i].verdict);
}

static void a_heartbeat_renews_both(void **state)
{
	struct liveness l;

	begin(&l);
	liveness_heard(&l, START + 50);
	assert_int_equal(liveness_verdict(&l, START + 69), LIVENESS_ALIVE);
	assert_int_equal(liveness_verdict(&l, START + 70), LIVENESS_SUSPECT);
	assert_int_equal(liveness_verdict(&l, START + 149), LIVENESS_SUSPECT);
	assert_int_equal(liveness_verdict(&l, START + 150), LIVENESS_LOST);
	/* Lost is not for ever. */
	liveness_heard(&l, START + 500);
	assert_int_equal(liveness_verdict(&l, START + 500), LIVENESS_ALIVE);
}

/* P5: a word that may be old is no sign of life, but nobody goes alone on it. */
static void an_old_word_only_excuses(void **state)
{
	struct liveness l;

	begin(&l);
	liveness_excuse(&l, START + 90);
	assert_int_equal(liveness_verdict(&l, START + 90), LIVENESS_SUSPECT);
	assert_int_equal(liveness_verdict(&l, START + 189), LIVENESS_SUSPECT);
	assert_int_equal(liveness_verdict(&l, START + 190), LIVENESS_LOST);
}

/* It lay in the queue of a thread that had no time. */
static void a_word_is_as_old_as_it_came(void **state)
{
	struct liveness l;

	begin(&l);
	liveness_heard_at(&l, START + 50, START + 90);
	assert_int_equal(liveness_verdict(&l, START + 69), LIVENESS_ALIVE);
	assert_int_equal(liveness_verdict(&l, START + 90), LIVENESS_SUSPECT);
	assert_int_equal(liveness_verdict(&l, START + 189), LIVENESS_SUSPECT);
	assert_int_equal(liveness_verdict(&l, START + 190), LIVENESS_LOST);
	/* Nor from the future. */
	liveness_heard_at(&l, START + 900, START + 200);
	assert_int_equal(liveness_verdict(&l, START + 219), LIVENESS_ALIVE);
	assert_int_equal(liveness_verdict(&l, START + 220), LIVENESS_SUSPECT);
}

static void time_does_not_go_back(void **state)
{
	struct liveness l;

	begin(&l);
	liveness_heard(&l, START - 500);
	assert_int_equal(liveness_verdict(&l, START + 19), LIVENESS_ALIVE);
	assert_int_equal(liveness_verdict(&l, START + 99), LIVENESS_SUSPECT);
}

static void awake_and_silent(void **state)
{
	struct liveness l;

	begin(&l);
	listen_until(&l, START, START + 100);
	assert_int_equal(liveness_verdict(&l, START + 100), LIVENESS_LOST);
	assert_true(liveness_next(&l) == UINT64_MAX);
}

static void asleep_and_silent(void **state)
{
	struct liveness l;

	begin(&l);
	listen_until(&l, START, START + 30);
	liveness_listen(&l, START + 400);
	assert_int_equal(liveness_verdict(&l, START + 400), LIVENESS_SUSPECT);
	listen_until(&l, START + 400, START + 499);
	assert_int_equal(liveness_verdict(&l, START + 499), LIVENESS_SUSPECT);
	assert_int_equal(liveness_verdict(&l, START + 500), LIVENESS_LOST);
}

/* Two heartbeats late is what a busy host may be. */
static void a_nap_is_no_sleep(void **state)
{
	struct liveness l;

	begin(&l);
	for (uint64_t now = START; now <= START + 100; now += 20)
		liveness_listen(&l, now);
	assert_int_equal(liveness_verdict(&l, START + 100), LIVENESS_LOST);
	begin(&l);
	liveness_listen(&l, START + 21);
	assert_int_equal(liveness_verdict(&l, START + 120), LIVENESS_SUSPECT);
}

/* What was said while awake stays said. */
static void asleep_after_it_was_lost(void **state)
{
	struct liveness l;

	begin(&l);
	listen_until(&l, START, START + 100);
	liveness_listen(&l, START + 5000);
	assert_int_equal(liveness_verdict(&l, START + 5000), LIVENESS_LOST);
}

static void when_to_listen(void **state)
{
	struct liveness l;

	begin(&l);
	assert_true(liveness_next(&l) == START + 10);
	liveness_listen(&l, START + 15);
	assert_true(liveness_next(&l) == START + 25);
	listen_until(&l, START + 15, START + 95);
	assert_true(liveness_next(&l) == START + 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts),
		cmocka_unit_test(a_heartbeat_renews_both),
		cmocka_unit_test(an_old_word_only_excuses),
		cmocka_unit_test(a_word_is_as_old_as_it_came),
		cmocka_unit_test(time_does_not_go_back),
		cmocka_unit_test(awake_and_silent),
		cmocka_unit_test(asleep_and_silent),
		cmocka_unit_test(a_nap_is_no_sleep),
		cmocka_unit_test(asleep_after_it_was_lost),
		cmocka_unit_test(when_to_listen),
	};

	return RUN_TESTS("liveness", tests);
}
