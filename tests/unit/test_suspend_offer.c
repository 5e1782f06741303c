/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include "lib/clock.h"
#include "replicator/suspend_offer.h"

#define T0 (1000 * NS_PER_SEC)

static void what_is_a_port(void **state)
{
	static const struct {
		const char *text;
		uint32_t port;
	} table[] = {
		{NULL, 0},	    {"", 0},	   {"9", 9},   {"0", 0},
		{"131071", 131071}, {"131072", 0}, {"-1", 0},  {"+1", 0},
		{" 1", 0},	    {"1 ", 0},	   {"0x9", 0}, {"99999999999999999999999", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(suspend_offer_parse(table[i].text), table[i].port);
}

static void looks_are_rationed(void **state)
{
	struct suspend_offer o = {0};
	unsigned int looks = 0;

	/* The guest writes at each of 20 checkpoints a second. */
	for (uint64_t i = 0; i < 1200; i++)
		looks += suspend_offer_look(&o, T0 + i * 50 * NS_PER_MS);
	assert_in_range(looks, 60, 60 + SUSPEND_OFFER_LOOKS);
	assert_false(suspend_offer_look(&o, T0 + 1199 * 50 * NS_PER_MS));
	suspend_offer_forgive(&o);
	assert_true(suspend_offer_look(&o, T0 + 1199 * 50 * NS_PER_MS));
	/* Those who write seldom are never put off. */
	o = (struct suspend_offer){0};
	for (uint64_t i = 0; i < 100; i++)
		assert_true(suspend_offer_look(&o, T0 + i * NS_PER_SEC));
}

static void what_failed_waits(void **state)
{
	struct suspend_offer o = {0};
	uint64_t now = T0;
	uint64_t wait = 60 * NS_PER_SEC;

	assert_false(suspend_offer_due(&o, now));
	assert_true(suspend_offer_take(&o, 5, now));
	for (int i = 0; i < 10; i++) {
		suspend_offer_failed(&o, 5, now);
		assert_false(suspend_offer_take(&o, 5, now + wait - 1));
		assert_false(suspend_offer_due(&o, now + wait - 1));
		now += wait;
		assert_true(suspend_offer_due(&o, now));
		assert_true(suspend_offer_take(&o, 5, now));
		wait = MIN(2 * wait, 3600 * NS_PER_SEC);
	}
	/* Another number is another offer. */
	suspend_offer_failed(&o, 5, now);
	assert_true(suspend_offer_take(&o, 6, now));
	/* So is the same one that was taken back between. */
	suspend_offer_failed(&o, 6, now);
	assert_false(suspend_offer_take(&o, 6, now));
	assert_false(suspend_offer_take(&o, 0, now));
	assert_false(suspend_offer_due(&o, CLOCK_NEVER));
	assert_true(suspend_offer_take(&o, 6, now));
	/* One that has served begins with the short wait. */
	suspend_offer_served(&o);
	suspend_offer_failed(&o, 6, now);
	assert_true(suspend_offer_take(&o, 6, now + 60 * NS_PER_SEC));
}

/* A guest that writes one deaf port after the other, and nothing between, costs a suspend timeout a minute. */
static void failures_are_rationed(void **state)
{
	struct suspend_offer o = {0};
	unsigned int failures = 0;
	uint64_t now = T0;

	for (uint32_t i = 0; i < 12000; i++, now += 50 * NS_PER_MS) {
		assert_false(suspend_offer_take(&o, 0, now));
		if (!suspend_offer_take(&o, 5 + i % 7, now))
			continue;
		failures++;
		suspend_offer_failed(&o, 5 + i % 7, now);
		/* A good one between does not buy another bad one. */
		suspend_offer_served(&o);
	}
	assert_in_range(failures, 10, 10 + SUSPEND_OFFER_FAILURES);
	/* Asked to wait, a good one is looked at without being written again, and taken, a minute after at the latest. */
	for (uint32_t i = 0; suspend_offer_take(&o, 5 + i, now); i++)
		suspend_offer_failed(&o, 5 + i, now);
	assert_false(suspend_offer_take(&o, 99, now));
	assert_false(suspend_offer_due(&o, now));
	assert_true(suspend_offer_due(&o, now + 60 * NS_PER_SEC));
	assert_true(suspend_offer_take(&o, 99, now + 60 * NS_PER_SEC));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_a_port),
		cmocka_unit_test(looks_are_rationed),
		cmocka_unit_test(what_failed_waits),
		cmocka_unit_test(failures_are_rationed),
	};

	return RUN_TESTS("suspend_offer", tests);
}
