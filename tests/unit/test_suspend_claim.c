/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include "replicator/suspend_claim.h"

#define T0 (1000 * NS_PER_SEC)

static void nothing_is_ours_without_a_request(void **state)
{
	struct suspend_claim c = {0};

	assert_false(claim_is_ours(&c, CLAIM_NONE, T0));
	assert_false(claim_is_ours(&c, CLAIM_STORE, T0));
	assert_false(claim_is_ours(&c, CLAIM_CHANNEL, T0));
	/* ... or after it was obeyed on its own way, or withdrawn. */
	for (enum claim_way way = CLAIM_STORE; way <= CLAIM_CHANNEL; way++) {
		claim_asked(&c, way);
		assert_true(claim_is_ours(&c, way, T0));
		claim_arrived(&c);
		claim_resumed(&c, way, T0);
		assert_false(claim_is_ours(&c, way, T0));
		assert_false(c.left);
	}
	claim_asked(&c, CLAIM_STORE);
	claim_withdrawn(&c);
	assert_false(claim_is_ours(&c, CLAIM_STORE, T0));
}

static void a_taken_one_is_ours_for_a_time(void **state)
{
	struct suspend_claim c = {0};

	claim_asked(&c, CLAIM_STORE);
	claim_taken(&c, T0);
	assert_true(c.owed && !c.unsure);
	claim_expire(&c, T0 + CLAIM_TAKEN_NS - 1);
	assert_true(c.owed && claim_is_ours(&c, CLAIM_STORE, T0 + CLAIM_TAKEN_NS - 1));
	assert_false(claim_is_ours(&c, CLAIM_STORE, T0 + CLAIM_TAKEN_NS));
	/* The time in which somebody pauses it does not count, but nobody waits for longer. */
	claim_paused(&c, T0 + CLAIM_TAKEN_NS - 1);
	claim_expire(&c, T0 + CLAIM_TAKEN_NS);
	assert_false(c.owed);
	assert_true(claim_is_ours(&c, CLAIM_STORE, T0 + 2 * CLAIM_TAKEN_NS - 2));
	assert_false(claim_is_ours(&c, CLAIM_STORE, T0 + 2 * CLAIM_TAKEN_NS));
	/* Once it has come it is done. */
	claim_taken(&c, T0);
	claim_arrived(&c);
	claim_resumed(&c, CLAIM_STORE, T0);
	assert_false(claim_is_ours(&c, CLAIM_STORE, T0 + 1));
}

static void a_closed_one_is_ours_by_its_way(void **state)
{
	struct suspend_claim c = {0};
	uint64_t late = T0 + CLAIM_CHANNEL_NS - 1;

	claim_asked(&c, CLAIM_CHANNEL);
	claim_closed(&c, T0);
	/* The next request need not wait. */
	assert_true(c.owed && c.unsure);
	assert_true(claim_is_ours(&c, CLAIM_NONE, T0 + CLAIM_CLOSED_NS - 1));
	assert_false(claim_is_ours(&c, CLAIM_NONE, T0 + CLAIM_CLOSED_NS));
	assert_false(claim_is_ours(&c, CLAIM_STORE, T0 + CLAIM_CLOSED_NS));
	assert_true(claim_is_ours(&c, CLAIM_CHANNEL, late));
	assert_false(claim_is_ours(&c, CLAIM_CHANNEL, late + 1));
	claim_paused(&c, late);
	assert_true(claim_is_ours(&c, CLAIM_CHANNEL, late + CLAIM_CHANNEL_NS - 1));
	/* A pause does not bring back what is over. */
	claim_paused(&c, late + CLAIM_CHANNEL_NS);
	assert_false(claim_is_ours(&c, CLAIM_CHANNEL, late + CLAIM_CHANNEL_NS));
	assert_false(claim_is_ours(&c, CLAIM_STORE, late));
}

/* The newest request, what was obeyed, and what is out then. */
static void of_two_the_other_comes(void **state)
{
	static const struct {
		enum claim_way asked;
		enum claim_way came;
		bool left;
		bool channel;
	} table[] = {
		{CLAIM_STORE, CLAIM_CHANNEL, true, true},
		{CLAIM_STORE, CLAIM_NONE, true, true}, /* it is not known */
		{CLAIM_STORE, CLAIM_STORE, false, true},
		{CLAIM_CHANNEL, CLAIM_STORE, false, true},
		{CLAIM_CHANNEL, CLAIM_CHANNEL, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct suspend_claim c = {0};
		uint64_t now = T0 + NS_PER_SEC;

		claim_closed(&c, T0);
		claim_expire(&c, now);
		claim_asked(&c, table[i].asked);
		claim_arrived(&c);
		claim_resumed(&c, table[i].came, now);
		assert_int_equal(c.left, table[i].left);
		assert_int_equal(claim_is_ours(&c, CLAIM_STORE, now), table[i].left);
		assert_int_equal(claim_is_ours(&c, CLAIM_CHANNEL, now), table[i].channel);
		if (!c.left)
			continue;
		claim_left_taken_back(&c, false, now);
		assert_true(claim_is_ours(&c, CLAIM_STORE, now + CLAIM_TAKEN_NS - 1));
		claim_left_taken_back(&c, true, now);
		assert_false(c.left || claim_is_ours(&c, CLAIM_STORE, now));
	}
}

static void of_another_worker(void **state)
{
	struct suspend_claim c = {0};

	/* It lay in control/shutdown, or the guest was found suspended. */
	claim_taken(&c, T0);
	claim_inherited(&c, false, T0);
	assert_false(c.owed || claim_is_ours(&c, CLAIM_STORE, T0));
	assert_true(claim_is_ours(&c, CLAIM_CHANNEL, T0));
	/* Nobody knows. */
	claim_inherited(&c, true, T0);
	assert_true(c.owed && c.unsure);
	claim_asked(&c, CLAIM_STORE);
	claim_arrived(&c);
	claim_resumed(&c, CLAIM_STORE, T0);
	/* His or ours: the other may follow, but not for ever. */
	assert_true(c.left && !c.owed);
	assert_true(claim_is_ours(&c, CLAIM_STORE, T0 + CLAIM_TAKEN_NS - 1));
	assert_false(claim_is_ours(&c, CLAIM_STORE, T0 + CLAIM_TAKEN_NS));
	claim_left_taken_back(&c, false, T0);
	claim_asked(&c, CLAIM_STORE);
	claim_arrived(&c);
	claim_resumed(&c, CLAIM_STORE, T0 + NS_PER_SEC);
	assert_false(c.left);
	assert_false(claim_is_ours(&c, CLAIM_STORE, T0 + CLAIM_TAKEN_NS));
	/* Ours over the channel is given up: his stays. */
	claim_inherited(&c, true, T0);
	claim_asked(&c, CLAIM_CHANNEL);
	claim_closed(&c, T0 + NS_PER_SEC);
	assert_true(claim_is_ours(&c, CLAIM_STORE, T0 + CLAIM_TAKEN_NS - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_ours_without_a_request),
		cmocka_unit_test(a_taken_one_is_ours_for_a_time),
		cmocka_unit_test(a_closed_one_is_ours_by_its_way),
		cmocka_unit_test(of_two_the_other_comes),
		cmocka_unit_test(of_another_worker),
	};

	return RUN_TESTS("suspend_claim", tests);
}
