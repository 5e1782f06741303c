/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which times are refused, what is said about them, and what follows from those that are not. */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/timing.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

static const struct {
	struct timing_conf conf;
	const char *says; /* NULL: accepted */
} cases[] = {
	{{100 * MS, 1 * S, 50 * MS}, NULL},
	{{10 * MS, 30 * MS, 5 * MS}, NULL},
	{{10 * S, 300 * S, 10 * S}, NULL},
	{{100 * MS, 300 * MS, 150 * MS}, NULL},
	{{9999 * US, 1 * S, 50 * MS}, "heartbeat period is 9.999 ms"},
	{{10 * S + 1, 100 * S, 50 * MS}, "heartbeat period is 10000.000 ms"},
	{{0, 1 * S, 50 * MS}, "heartbeat period is 0.000 ms"},
	{{100 * MS, 1 * S, 5 * MS - 1}, "epoch period is 4.999 ms"},
	{{100 * MS, 100 * S, 10 * S + 1}, "epoch period"},
	{{100 * MS, 1 * S, UINT64_MAX}, "epoch period"},
	{{100 * MS, 300 * S + 1, 50 * MS}, "failure timeout is 300000 ms, at most 300000 ms"},
	{{100 * MS, UINT64_MAX, 50 * MS}, "failure timeout"},
	{{100 * MS, 300 * MS - 1, 50 * MS},
	 "failure timeout 299 ms < 3 x heartbeat 100 ms = 300 ms"},
	{{100 * MS, 0, 50 * MS}, "3 x heartbeat"},
	{{100 * MS, 1 * S, 501 * MS}, "failure timeout 1000 ms < 2 x epoch 501 ms = 1002 ms"},
};

static void accepted_and_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		int rc = timing_check(&cases[i].conf, &e);

		assert_int_equal(rc, cases[i].says ? -EINVAL : 0);
		if (cases[i].says && !strstr(e.text, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].says);
	}
}

/* The error need not be wanted. */
static void refused_in_silence(void **state)
{
	const struct timing_conf c = {1, 2, 3};

	assert_int_equal(timing_check(&c, NULL), -EINVAL);
}

/* What docs/promises.md builds on, for everything that is accepted. */
static void the_sums_hold(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct timing_conf *c = &cases[i].conf;
		struct timing t;

		if (cases[i].says)
			continue;
		timing_derive(&t, c);
		assert_true(t.heartbeat_period_ns == c->heartbeat_period_ns);
		assert_true(t.failure_timeout_ns == c->failure_timeout_ns);
		assert_true(t.epoch_period_ns == c->epoch_period_ns);
		assert_true(t.suspect_ns == 2 * c->heartbeat_period_ns);
		assert_true(t.suspect_ns < t.failure_timeout_ns);
		/* The lease ends a heartbeat before the peer may go alone, and an epoch fits into it. */
		assert_true(t.ack_timeout_ns + t.heartbeat_period_ns <= t.failure_timeout_ns);
		assert_true(t.ack_timeout_ns >= t.epoch_period_ns);
		assert_true(t.sync_timeout_ns > t.ack_timeout_ns);
		assert_true(t.suspend_timeout_ns >= 1 * S && t.suspend_timeout_ns <= 10 * S);
		assert_true(t.send_timeout_ns >= 10 * S &&
			    t.send_timeout_ns > t.failure_timeout_ns);
		assert_true(t.handshake_timeout_ns > 0 && t.handshake_timeout_ns <= 10 * S);
		assert_true(t.reconnect_ns >= 100 * MS && t.reconnect_ns <= t.reconnect_max_ns);
		assert_true(t.bye_timeout_ns >= t.failure_timeout_ns);
	}
}

static void the_defaults(void **state)
{
	const struct timing_conf c = {100 * MS, 1 * S, 50 * MS};
	struct timing t;

	timing_derive(&t, &c);
	assert_true(t.ack_timeout_ns == 900 * MS);
	assert_true(t.suspend_timeout_ns == 1 * S);
	assert_true(t.send_timeout_ns == 10 * S);
	assert_true(t.handshake_timeout_ns == 5 * S);
	assert_true(t.reconnect_ns == 100 * MS);
	assert_true(t.reconnect_max_ns == 5 * S);
	assert_true(t.bye_timeout_ns == 10 * S);
	assert_true(t.vote_retry_ns == 1 * S);
	assert_true(t.sync_timeout_ns == 60 * S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted_and_refused),
		cmocka_unit_test(refused_in_silence),
		cmocka_unit_test(the_sums_hold),
		cmocka_unit_test(the_defaults),
	};

	return RUN_TESTS("timing", tests);
}
