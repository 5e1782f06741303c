/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When a VM that was activated is protected again, and how often that is tried. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "replicator/reprotect.h"

#define NOW (1000 * NS_PER_SEC)

static struct reprotect r;

static int set_up(void **state)
{
	memset(&r, 0, sizeof(r));
	return 0;
}

static void once(void **state)
{
	char vm[NAME_SIZE] = "";

	assert_true(reprotect_deadline(&r) == CLOCK_NEVER);
	assert_false(reprotect_due(&r, CLOCK_NEVER - 1, vm));
	assert_true(reprotect_want(&r, "web", NOW));
	assert_true(reprotect_deadline(&r) == NOW + REPROTECT_FIRST_NS);
	assert_false(reprotect_due(&r, NOW + REPROTECT_FIRST_NS - 1, vm));
	assert_true(reprotect_due(&r, NOW + REPROTECT_FIRST_NS, vm));
	assert_string_equal(vm, "web");
	/* Under way. */
	assert_true(reprotect_deadline(&r) == CLOCK_NEVER);
	assert_false(reprotect_due(&r, CLOCK_NEVER - 1, vm));
	reprotect_drop(&r, "web");
	reprotect_drop(&r, "db");
	assert_false(reprotect_failed(&r, "web", NOW));
	assert_false(reprotect_failed(&r, "", NOW));
}

/* P6: each try comes later than the one before, and there is a last one. */
static void a_bounded_number_of_tries(void **state)
{
	uint64_t now = NOW, wait, last = 0;
	char vm[NAME_SIZE];
	int n = 0;

	assert_true(reprotect_want(&r, "web", now));
	do {
		wait = reprotect_deadline(&r) - now;
		assert_true(wait >= last && wait <= REPROTECT_MAX_NS);
		assert_true(wait > last || wait == REPROTECT_MAX_NS);
		last = wait;
		now += wait;
		assert_true(reprotect_due(&r, now, vm));
		n++;
	} while (reprotect_failed(&r, "web", now));
	assert_int_equal(n, REPROTECT_TRIES);
	assert_true(last == REPROTECT_MAX_NS);
	assert_true(reprotect_deadline(&r) == CLOCK_NEVER);
	/* Activated here once more, much later: all is forgotten. */
	assert_true(reprotect_want(&r, "web", now));
	assert_true(reprotect_deadline(&r) == now + REPROTECT_FIRST_NS);
}

static void many(void **state)
{
	char vm[NAME_SIZE], name[16];
	int n = 0;

	for (int i = 0; i < REPROTECT_MAX; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		assert_true(reprotect_want(&r, name, NOW + (uint64_t)i));
	}
	assert_false(reprotect_want(&r, "one-more", NOW));
	assert_true(reprotect_want(&r, "vm7", NOW + NS_PER_SEC));
	while (reprotect_due(&r, NOW + NS_PER_SEC / 2 + REPROTECT_FIRST_NS, vm))
		n++;
	assert_int_equal(n, REPROTECT_MAX - 1);
	reprotect_drop(&r, "vm3");
	assert_true(reprotect_want(&r, "one-more", NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(once, set_up),
		cmocka_unit_test_setup(a_bounded_number_of_tries, set_up),
		cmocka_unit_test_setup(many, set_up),
	};

	return RUN_TESTS("reprotect", tests);
}
