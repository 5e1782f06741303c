/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>

#include "replicator/epoch.h"

#define NONE EPOCH_NONE

static void order(void **state)
{
	static const struct {
		uint64_t have;
		uint64_t want;
		bool reached;
	} cases[] = {
		{NONE, NONE, true}, {NONE, 0, false}, {0, NONE, true},	   {0, 0, true},
		{0, 1, false},	    {1, 0, true},     {NONE - 1, 0, true}, {0, NONE - 1, false},
		{7, NONE, true},    {NONE, 7, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(epoch_reached(cases[i].have, cases[i].want), cases[i].reached);
}

static void next_and_distance(void **state)
{
	assert_true(epoch_next(NONE) == 0);
	assert_true(epoch_next(0) == 1);
	assert_true(epoch_distance(NONE, NONE) == 0);
	assert_true(epoch_distance(0, NONE) == 1);
	assert_true(epoch_distance(5, 2) == 3);
	assert_true(epoch_distance(5, 5) == 0);
}

static void policies(void **state)
{
	static const struct {
		enum peer_loss_policy policy;
		const char *name;
	} cases[] = {
		{POLICY_HOLD, "hold"},
		{POLICY_PRIMARY_WINS, "primary-wins"},
		{POLICY_BACKUP_WINS, "backup-wins"},
		{POLICY_ARBITER, "arbiter"},
	};
	static const char *const bad[] = {"", "Hold", "hold ", "primary", "backup-wins-all"};
	enum peer_loss_policy p;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		p = 0;
		assert_string_equal(policy_name(cases[i].policy), cases[i].name);
		assert_int_equal(policy_parse(cases[i].name, &p), 0);
		assert_int_equal(p, cases[i].policy);
	}
	p = POLICY_HOLD;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(policy_parse(bad[i], &p), -EINVAL);
		assert_int_equal(p, POLICY_HOLD);
	}
	assert_string_equal(policy_name(0), "?");
	assert_string_equal(policy_name(5), "?");
}

static void votes(void **state)
{
	assert_string_equal(vote_name(VOTE_UNKNOWN), "unknown");
	assert_string_equal(vote_name(VOTE_GRANTED), "granted");
	assert_string_equal(vote_name(VOTE_REFUSED), "refused");
	assert_string_equal(vote_name(3), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order),
		cmocka_unit_test(next_and_distance),
		cmocka_unit_test(policies),
		cmocka_unit_test(votes),
	};

	return RUN_TESTS("epoch", tests);
}
