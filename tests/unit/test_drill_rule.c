/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When a drill may begin, makes way, is ended and killed. */
#include "tests/lib/test.h"

#include <errno.h>

#include "replicator/backup.h"
#include "replicator/drill_request.h"
#include "replicator/drill_rule.h"

#define LEASE_NS (DRILL_LEASE_MS * NS_PER_MS)
#define T0 (100 * NS_PER_SEC)

static const enum backup_state states[] = {
	BACKUP_WAITING, BACKUP_BUILDING,   BACKUP_STANDING, BACKUP_ACTIVATING,
	BACKUP_ACTIVE,	BACKUP_ABANDONING, BACKUP_ENDED,
};

static void only_beside_a_standby(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct backup core = {.state = states[i], .link_up = true};

		assert_int_equal(drill_rule_may(&core), states[i] == BACKUP_STANDING);
		assert_int_equal(drill_rule_must_end(&core) == NULL, states[i] == BACKUP_STANDING);
		core.link_up = false;
		assert_false(drill_rule_may(&core));
		/* One that is under way goes on when the link breaks: the standby is what it was. */
		assert_int_equal(drill_rule_must_end(&core) == NULL, states[i] == BACKUP_STANDING);
	}
}

static void one_at_a_time(void **state)
{
	struct drill_rule r;

	drill_rule_init(&r);
	assert_int_equal(drill_rule_check(&r, false), -ENOTCONN);
	assert_int_equal(drill_rule_check(&r, true), 0);
	assert_false(drill_rule_end(&r, T0));
	drill_rule_begun(&r, T0);
	assert_int_equal(drill_rule_check(&r, true), -EBUSY);
	assert_true(drill_rule_end(&r, T0));
	assert_int_equal(drill_rule_check(&r, true), -EBUSY);
	/* Told once. */
	assert_false(drill_rule_end(&r, T0 + 1));
	assert_false(drill_rule_gone(&r, true, false));
	assert_int_equal(drill_rule_check(&r, true), 0);
}

static void has_an_end(void **state)
{
	struct drill_rule r;

	drill_rule_init(&r);
	assert_true(drill_rule_deadline(&r) == CLOCK_NEVER);
	drill_rule_begun(&r, T0);
	assert_true(drill_rule_deadline(&r) == T0 + LEASE_NS);
	drill_rule_asked(&r, T0 + NS_PER_SEC);
	assert_int_equal(drill_rule_due(&r, T0 + LEASE_NS), DRILL_DUE_NOTHING);
	assert_int_equal(drill_rule_due(&r, T0 + NS_PER_SEC + LEASE_NS), DRILL_DUE_END);
	assert_true(drill_rule_end(&r, T0));
	/* Asking does not keep one that was told to end. */
	drill_rule_asked(&r, T0 + NS_PER_SEC);
	assert_true(drill_rule_deadline(&r) == T0 + DRILL_KILL_NS);
	assert_int_equal(drill_rule_due(&r, T0 + DRILL_KILL_NS - 1), DRILL_DUE_NOTHING);
	assert_int_equal(drill_rule_due(&r, T0 + DRILL_KILL_NS), DRILL_DUE_KILL);
	/* Once. */
	assert_int_equal(drill_rule_due(&r, T0 + DRILL_KILL_NS), DRILL_DUE_NOTHING);
	assert_true(drill_rule_deadline(&r) == CLOCK_NEVER);
}

static void what_is_left_is_removed(void **state)
{
	struct drill_rule r;

	drill_rule_init(&r);
	drill_rule_begun(&r, T0);
	/* Another one has the lock: nothing of ours is there. */
	assert_false(drill_rule_gone(&r, false, true));
	drill_rule_begun(&r, T0);
	assert_true(drill_rule_gone(&r, false, false));
	drill_rule_cleaning(&r);
	assert_int_equal(drill_rule_check(&r, true), -EBUSY);
	assert_false(drill_rule_end(&r, T0));
	assert_true(drill_rule_deadline(&r) == CLOCK_NEVER);
	/* In vain: not again and again, but by the next drill. */
	assert_false(drill_rule_gone(&r, false, false));
	assert_true(r.left);
	drill_rule_cleaning(&r);
	assert_false(drill_rule_gone(&r, true, false));
	assert_false(r.left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_beside_a_standby),
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(has_an_end),
		cmocka_unit_test(what_is_left_is_removed),
	};

	return RUN_TESTS("drill_rule", tests);
}
