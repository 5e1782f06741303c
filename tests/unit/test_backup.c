/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's rules: every state gets every event, and the rules that need more than one step. */
#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/sm.h"
#include "replicator/backup.h"
#include "tests/lib/core_bed.h"

#define START BED_START
#define TERM BED_TERM

static int show(const struct backup_action *a, char *out, size_t size)
{
	if (a->type == BACT_ACK || a->type == BACT_APPLY || a->type == BACT_ACTIVATE ||
	    a->type == BACT_DISKS_COMMIT || a->type == BACT_DISKS_ACTIVATE)
		return snprintf(out, size, ":%d", (int)a->epoch);
	if (a->type == BACT_PERSIST_TERM || a->type == BACT_TAKEOVER || a->type == BACT_HELLO_OK ||
	    a->type == BACT_BYE_OK)
		return snprintf(out, size, ":t%d", (int)a->term);
	if (a->type == BACT_ANSWER)
		return snprintf(out, size, ":%s:%d", backup_event_name(a->request), a->why);
	return 0;
}

static const char *failover(struct backup_bed *t, bool force)
{
	const struct backup_event ev = {.type = BEV_FAILOVER, .force = force};

	return backup_bed_step(t, &ev);
}

static void bed_init(struct backup_bed *t, enum peer_loss_policy policy, uint64_t term)
{
	backup_bed_start(t, (struct backup_conf){.policy = policy, .term = term}, show);
}

static void epoch(struct backup_bed *t, uint64_t n)
{
	backup_bed_feed(t, BEV_EPOCH_COMPLETE, n);
	backup_bed_feed(t, BEV_APPLIED, n);
	assert_true(t->b.applied == n);
}

/* A backup in that state, the link up, epochs 0 and 1 applied where there are any. */
static void bed_in(struct backup_bed *t, enum peer_loss_policy policy, enum backup_state state)
{
	bed_init(t, policy, 0);
	if (state == BACKUP_WAITING)
		return;
	backup_bed_feed(t, BEV_HELLO, 0);
	if (state == BACKUP_BUILDING)
		return;
	epoch(t, 0);
	epoch(t, 1);
	if (state == BACKUP_ACTIVATING || state == BACKUP_ACTIVE)
		failover(t, true);
	if (state == BACKUP_ACTIVE) {
		backup_bed_feed(t, BEV_BUILT, 0);
		backup_bed_feed(t, BEV_ACTIVATED, 0);
	}
	if (state == BACKUP_ABANDONING || state == BACKUP_ENDED)
		backup_bed_feed(t, BEV_BYE, 0);
	if (state == BACKUP_ENDED)
		backup_bed_feed(t, BEV_ABANDONED, 0);
	assert_int_equal(t->b.state, state);
}

/* ---- every state gets every event ---- */

static struct backup_event due(const struct backup *b, enum backup_event_type type)
{
	struct backup_event ev = {.type = type, .term = TERM, .force = true};

	if (type == BEV_EPOCH_COMPLETE)
		ev.epoch = epoch_next(b->committed);
	if (type == BEV_APPLIED)
		ev.epoch = b->committed;
	if (type == BEV_HANDOVER)
		ev.epoch = b->acked;
	if (type == BEV_DISKS) {
		ev.n_disks = 2;
		ev.ack_mode = BACKUP_ACK_MEMORY;
	}
	return ev;
}

/* The next state, and the actions. NULL: ignored. Policy hold; FAILOVER with force. */
struct expected {
	enum backup_state state;
	const char *actions;
};

static const struct expected table[BACKUP_ENDED + 1][BEV_COUNT] = {
	[BACKUP_WAITING] =
		{
			[BEV_HELLO] = {BACKUP_BUILDING, "hello-ok:t7"},
			[BEV_LINK_DOWN] = {BACKUP_ENDED, "end"},
			[BEV_BYE] = {BACKUP_ENDED, "disconnect end"},
			[BEV_SUPERSEDE] = {BACKUP_ENDED, "answer:supersede:0 disconnect end"},
			[BEV_FAILOVER] = {BACKUP_WAITING, "answer:failover:1"},
		},
	[BACKUP_BUILDING] =
		{
			[BEV_EPOCH_COMPLETE] = {BACKUP_STANDING, "ack:0 apply:0"},
			[BEV_STANDBY_FAILED] = {BACKUP_ABANDONING, "disconnect abandon"},
			[BEV_LINK_DOWN] = {BACKUP_ABANDONING, "abandon"},
			[BEV_BYE] = {BACKUP_ABANDONING, "abandon"},
			[BEV_SUPERSEDE] = {BACKUP_ABANDONING, "disconnect abandon"},
			[BEV_FAILOVER] = {BACKUP_BUILDING, "answer:failover:1"},
			[BEV_DISKS] = {BACKUP_BUILDING, ""},
			[BEV_DISK_FAILED] = {BACKUP_ABANDONING, "refuse abandon"},
			[BEV_BUILT] = {BACKUP_ABANDONING, "disconnect abandon"},
		},
	[BACKUP_STANDING] =
		{
			[BEV_EPOCH_COMPLETE] = {BACKUP_STANDING, "ack:2 apply:2"},
			[BEV_STANDBY_FAILED] = {BACKUP_ABANDONING, "disconnect abandon"},
			[BEV_LINK_DOWN] = {BACKUP_STANDING, "drop-partial"},
			[BEV_BYE] = {BACKUP_ABANDONING, "abandon"},
			[BEV_SUPERSEDE] = {BACKUP_ABANDONING, "disconnect abandon"},
			[BEV_FAILOVER] =
				{BACKUP_ACTIVATING,
				 "answer:failover:0 drop-partial persist-term:t8 activate:1"},
			[BEV_DISK_FAILED] = {BACKUP_ABANDONING, "refuse abandon"},
			[BEV_HANDOVER] = {BACKUP_ACTIVATING,
					  "drop-partial persist-term:t8 activate:1"},
			[BEV_BUILT] = {BACKUP_ABANDONING, "disconnect abandon"},
		},
	[BACKUP_ACTIVATING] =
		{
			[BEV_STANDBY_FAILED] = {BACKUP_ABANDONING, "disconnect abandon"},
			[BEV_FAILOVER] = {BACKUP_ACTIVATING, "answer:failover:4"},
			[BEV_DISK_FAILED] = {BACKUP_ABANDONING, "refuse abandon"},
			[BEV_BUILT] = {BACKUP_ACTIVATING, "run"},
		},
	[BACKUP_ACTIVE] =
		{
			[BEV_BYE] = {BACKUP_ACTIVE, "takeover:t8"},
			[BEV_SUPERSEDE] = {BACKUP_ACTIVE, "answer:supersede:4"},
			[BEV_FAILOVER] = {BACKUP_ACTIVE, "answer:failover:4"},
		},
	[BACKUP_ABANDONING] =
		{
			[BEV_FAILOVER] = {BACKUP_ABANDONING, "answer:failover:5"},
			[BEV_ABANDONED] = {BACKUP_ENDED, "bye-ok:t7 end"},
		},
	[BACKUP_ENDED] =
		{
			[BEV_SUPERSEDE] = {BACKUP_ENDED, "answer:supersede:0"},
			[BEV_FAILOVER] = {BACKUP_ENDED, "answer:failover:5"},
		},
};

/* ACTIVATING, after `run`: no disk takes back what may run by now. */
static const struct expected let_run[BEV_COUNT] = {
	[BEV_STANDBY_FAILED] = {BACKUP_ABANDONING, "disconnect abandon"},
	[BEV_FAILOVER] = {BACKUP_ACTIVATING, "answer:failover:4"},
	[BEV_ACTIVATED] = {BACKUP_ACTIVE, "takeover:t8"},
};

static void expect(struct backup_bed *t, enum backup_event_type type, const struct expected *x)
{
	struct backup_event ev = due(&t->b, type);
	enum backup_state before = t->b.state;
	const char *said = backup_bed_step(t, &ev);

	if (strcmp(said, x->actions ? x->actions : "") != 0 ||
	    t->b.state != (x->actions ? x->state : before))
		fail_msg("%s on %s: %s, \"%s\"", backup_state_name(before), backup_event_name(type),
			 backup_state_name(t->b.state), said);
}

static void every_state_gets_every_event(void **state)
{
	struct backup_bed t;

	for (int e = 0; e < BEV_COUNT; e++) {
		for (int s = 0; s <= BACKUP_ENDED; s++) {
			bed_in(&t, POLICY_HOLD, s);
			expect(&t, e, &table[s][e]);
		}
		bed_in(&t, POLICY_HOLD, BACKUP_ACTIVATING);
		backup_bed_feed(&t, BEV_BUILT, 0);
		expect(&t, e, &let_run[e]);
	}
}

static void the_end_is_quiet(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_ENDED);
	assert_true(backup_next_deadline(&t.b) == UINT64_MAX);
	t.now += UINT64_C(1000000) * MS;
	assert_string_equal(backup_bed_feed(&t, BEV_TICK, 0), "");
}

/* ---- commit ---- */

static void a_whole_life(void **state)
{
	struct backup_bed t;

	bed_init(&t, POLICY_BACKUP_WINS, 3);
	assert_string_equal(backup_bed_feed(&t, BEV_HELLO, 0), "hello-ok:t7");
	assert_false(backup_is_protecting(&t.b, t.now));
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 0), "ack:0 apply:0");
	assert_int_equal(t.b.state, BACKUP_STANDING);
	assert_true(backup_is_protecting(&t.b, t.now));
	assert_string_equal(backup_bed_feed(&t, BEV_APPLIED, 0), "");
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 1), "ack:1 apply:1");
	assert_string_equal(backup_bed_feed(&t, BEV_APPLIED, 1), "");
	assert_string_equal(backup_bed_feed(&t, BEV_BYE, 0), "abandon");
	assert_false(backup_is_protecting(&t.b, t.now));
	assert_string_equal(backup_bed_feed(&t, BEV_ABANDONED, 0), "bye-ok:t7 end");
}

/* Out of order, again, with holes, of another term, before the arena is free: the session ends. */
static void only_the_next_epoch_is_committed(void **state)
{
	static const struct {
		uint64_t epoch;
		uint64_t term;
		bool applying;
	} bad[] = {
		{1, TERM, false}, {3, TERM, false},	{EPOCH_NONE, TERM, false},
		{0, TERM, false}, {2, TERM - 1, false}, {2, TERM + 1, false},
		{2, TERM, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct backup_event ev = {
			.type = BEV_EPOCH_COMPLETE, .epoch = bad[i].epoch, .term = bad[i].term};
		struct backup_bed t;

		bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
		if (bad[i].applying) {
			t.b.applying = true;
			t.b.applied = 0;
		}
		assert_string_equal(backup_bed_step(&t, &ev), "disconnect drop-partial");
		assert_int_equal(t.b.state, BACKUP_STANDING);
		assert_true(t.b.committed == 1);
		/* Nothing more is taken from that connection. */
		assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2), "");
	}
}

static void the_first_epoch_is_0(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_HOLD, BACKUP_BUILDING);
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 1), "disconnect abandon");
	assert_int_equal(t.b.state, BACKUP_ABANDONING);
}

static void a_used_term_is_passed_over(void **state)
{
	struct backup_bed t;

	bed_init(&t, POLICY_HOLD, TERM + 2);
	assert_string_equal(backup_bed_feed(&t, BEV_HELLO, 0), "hello-ok:t9");
}

/* ---- going alone ---- */

static void only_backup_wins_goes_alone(void **state)
{
	static const enum peer_loss_policy policies[] = {POLICY_HOLD, POLICY_PRIMARY_WINS,
							 POLICY_BACKUP_WINS};

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		bool alone = policies[i] == POLICY_BACKUP_WINS;
		struct backup_bed t;

		bed_in(&t, policies[i], BACKUP_STANDING);
		assert_string_equal(backup_bed_feed(&t, BEV_LINK_DOWN, 0), "drop-partial");
		assert_string_equal(backup_bed_wait(&t, 999 * MS), "");
		assert_string_equal(backup_bed_wait(&t, 10000 * MS),
				    alone ? "persist-term:t8 activate:1" : "");
		assert_int_equal(t.b.state, alone ? BACKUP_ACTIVATING : BACKUP_STANDING);
	}
}

/* A dead host closes no connection: silence alone decides. */
static void a_silent_link(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_STANDING);
	assert_string_equal(backup_bed_wait(&t, 2000 * MS),
			    "disconnect drop-partial persist-term:t8 activate:1");
	assert_string_equal(backup_bed_feed(&t, BEV_BUILT, 0), "run");
	assert_string_equal(backup_bed_feed(&t, BEV_ACTIVATED, 0), "");
	bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
	assert_string_equal(backup_bed_wait(&t, 2000 * MS), "disconnect drop-partial");
	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_BUILDING);
	assert_string_equal(backup_bed_wait(&t, 2000 * MS), "disconnect abandon");
}

static void heartbeats_keep_it_standing(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_STANDING);
	backup_bed_feed(&t, BEV_LINK_DOWN, 0);
	for (int i = 0; i < 100; i++) {
		t.now += 100 * MS;
		assert_string_equal(backup_bed_feed(&t, BEV_HEARTBEAT, 0), "");
	}
	assert_int_equal(t.b.state, BACKUP_STANDING);
	assert_false(backup_is_protecting(&t.b, t.now));
}

/* P5: one that waited to be read. Nobody goes alone on it. */
static void a_late_heartbeat_is_no_news(void **state)
{
	struct backup_event late = {.type = BEV_HEARTBEAT};
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_STANDING);
	late.at_ns = t.now;
	t.now += 500 * MS;
	backup_step(&t.b, t.now, &late, &t.out);
	assert_int_equal(t.out.n, 0);
	assert_false(backup_is_protecting(&t.b, t.now));
	late.at_ns = t.now;
	backup_step(&t.b, t.now, &late, &t.out);
	assert_true(backup_is_protecting(&t.b, t.now));
}

/* P3: the lease on an epoch's output outlives the heartbeats before it. */
static void an_epoch_is_a_word(void **state)
{
	struct backup_bed t;
	uint64_t heard;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_STANDING);
	heard = t.b.peer.heard_ns;
	assert_string_equal(backup_bed_wait(&t, 900 * MS), "");
	epoch(&t, 2);
	assert_false(backup_is_protecting(&t.b, t.now)); /* it may have come out of a stall */
	assert_string_equal(backup_bed_wait(&t, 999 * MS), "");
	assert_string_equal(backup_bed_wait(&t, 2 * MS),
			    "disconnect drop-partial persist-term:t8 activate:2");
	assert_true(t.b.peer.heard_ns == heard);
}

static void heard_at_the_last_moment(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_STANDING);
	backup_bed_wait(&t, 950 * MS);
	t.now = t.b.peer.not_lost_ns;
	assert_string_equal(backup_bed_feed(&t, BEV_HEARTBEAT, 0), "");
	assert_int_equal(t.b.state, BACKUP_STANDING);
}

static void sleep_is_not_silence(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_STANDING);
	t.now += 60000 * MS;
	assert_string_equal(backup_bed_feed(&t, BEV_TICK, 0), "");
	assert_false(backup_is_protecting(&t.b, t.now));
	assert_string_equal(backup_bed_wait(&t, 999 * MS), "");
	assert_string_equal(backup_bed_wait(&t, 2 * MS),
			    "disconnect drop-partial persist-term:t8 activate:1");
}

/* P2: what was acknowledged is applied before the standby runs. */
static void the_committed_epoch_first(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_STANDING);
	backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2);
	backup_bed_feed(&t, BEV_LINK_DOWN, 0);
	assert_string_equal(backup_bed_wait(&t, 2000 * MS), "persist-term:t8");
	assert_string_equal(backup_bed_feed(&t, BEV_APPLIED, 1), "");
	assert_string_equal(backup_bed_feed(&t, BEV_APPLIED, 2), "activate:2");
}

/* Nothing is committed or acknowledged after the decision. */
static void no_ack_after_the_decision(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_HOLD, BACKUP_ACTIVATING);
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2), "");
	assert_true(t.b.committed == 1);
}

/* P5: two heartbeats. */
static void suspect(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
	assert_true(backup_is_protecting(&t.b, t.now + 200 * MS - 1));
	assert_false(backup_is_protecting(&t.b, t.now + 200 * MS));
}

static void heartbeats(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
	assert_true(backup_heartbeats(&t.b));
	bed_in(&t, POLICY_HOLD, BACKUP_ABANDONING);
	assert_true(backup_heartbeats(&t.b)); /* the primary waits for BYE_OK */
	bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
	backup_bed_feed(&t, BEV_STANDBY_FAILED, 0);
	assert_false(backup_heartbeats(&t.b));
	bed_in(&t, POLICY_HOLD, BACKUP_ACTIVATING);
	assert_false(backup_heartbeats(&t.b));
}

/* ---- the operator ---- */

static void failover_table(void **state)
{
	static const struct {
		enum peer_loss_policy policy;
		bool silent;
		bool force;
		enum backup_refusal why;
	} cases[] = {
		{POLICY_HOLD, false, false, REFUSED_PRIMARY_ALIVE},
		{POLICY_HOLD, false, true, REFUSED_NOT},
		{POLICY_HOLD, true, false, REFUSED_NOT},
		{POLICY_PRIMARY_WINS, false, false, REFUSED_PRIMARY_ALIVE},
		{POLICY_PRIMARY_WINS, true, false, REFUSED_POLICY},
		{POLICY_PRIMARY_WINS, true, true, REFUSED_NOT},
		{POLICY_BACKUP_WINS, false, false, REFUSED_PRIMARY_ALIVE},
		{POLICY_BACKUP_WINS, false, true, REFUSED_NOT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backup_bed t;

		bed_in(&t, cases[i].policy, BACKUP_STANDING);
		if (cases[i].silent) {
			backup_bed_feed(&t, BEV_LINK_DOWN, 0);
			backup_bed_wait(&t, 2000 * MS);
		}
		failover(&t, cases[i].force);
		assert_int_equal(t.out.a[0].type, BACT_ANSWER);
		assert_int_equal(t.out.a[0].request, BEV_FAILOVER);
		assert_int_equal(t.out.a[0].why, cases[i].why);
		assert_int_equal(t.out.a[0].ok, cases[i].why == REFUSED_NOT);
		assert_int_equal(t.b.state,
				 cases[i].why == REFUSED_NOT ? BACKUP_ACTIVATING : BACKUP_STANDING);
	}
}

/* The answer to a patient operator does not change because he waited. */
static void failover_long_after(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
	backup_bed_feed(&t, BEV_LINK_DOWN, 0);
	backup_bed_wait(&t, 2000 * MS);
	t.now += UINT64_C(3600000) * MS;
	assert_string_equal(failover(&t, false), "answer:failover:0 persist-term:t8 activate:1");
}

/* P4: "the VM runs here" destroys the other copy: it is told once it is true. */
static void told_when_it_is_true(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
	assert_string_equal(failover(&t, true),
			    "answer:failover:0 drop-partial persist-term:t8 activate:1");
	assert_string_equal(backup_bed_feed(&t, BEV_SUPERSEDE, 0), "");
	assert_string_equal(backup_bed_feed(&t, BEV_BUILT, 0), "run");
	assert_string_equal(backup_bed_feed(&t, BEV_ACTIVATED, 0),
			    "takeover:t8 answer:supersede:4");
	assert_int_equal(t.out.a[1].term, TERM + 1);
}

static void a_failed_activation_stands_down(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_HOLD, BACKUP_ACTIVATING);
	backup_bed_feed(&t, BEV_SUPERSEDE, 0);
	assert_string_equal(backup_bed_feed(&t, BEV_STANDBY_FAILED, 0), "disconnect abandon");
	assert_string_equal(backup_bed_feed(&t, BEV_ABANDONED, 0), "answer:supersede:0 end");
	/* It could not be let run, for certain. */
	bed_in(&t, POLICY_HOLD, BACKUP_ACTIVATING);
	backup_bed_feed(&t, BEV_BUILT, 0);
	backup_bed_feed(&t, BEV_BYE, 0);
	assert_string_equal(backup_bed_feed(&t, BEV_STANDBY_FAILED, 0), "disconnect abandon");
	assert_false(backup_may_run(&t.b));
	assert_string_equal(backup_bed_feed(&t, BEV_BUILT, 0), "");
}

/* ---- standing down ---- */

static void superseded(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_STANDING);
	assert_string_equal(backup_bed_feed(&t, BEV_SUPERSEDE, 0), "disconnect abandon");
	assert_string_equal(failover(&t, true), "answer:failover:5");
	assert_string_equal(backup_bed_wait(&t, 5000 * MS), "");
	assert_string_equal(backup_bed_feed(&t, BEV_ABANDONED, 0), "answer:supersede:0 end");
}

static void bye_and_the_link_breaks(void **state)
{
	struct backup_bed t;

	bed_in(&t, POLICY_BACKUP_WINS, BACKUP_ABANDONING);
	assert_string_equal(backup_bed_feed(&t, BEV_LINK_DOWN, 0), "");
	assert_false(*backup_bed_wait(&t, 5000 * MS));
	assert_string_equal(backup_bed_feed(&t, BEV_ABANDONED, 0), "end");
}

static void no_hello(void **state)
{
	struct backup_bed t;

	bed_init(&t, POLICY_HOLD, 0);
	assert_string_equal(backup_bed_wait(&t, 4999 * MS), "");
	assert_string_equal(backup_bed_wait(&t, 1 * MS), "disconnect end");
}

/* A standby that completes itself runs only if that was decided, and only with the newest epoch. */
static void runs_only_when_decided(void **state)
{
	struct backup_bed t;

	for (int s = 0; s <= BACKUP_ENDED; s++) {
		bed_in(&t, POLICY_HOLD, s);
		assert_int_equal(backup_may_run(&t.b), s == BACKUP_ACTIVATING);
	}
	bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
	backup_bed_feed(&t, BEV_EPOCH_COMPLETE, t.b.committed + 1);
	failover(&t, true);
	assert_int_equal(t.b.state, BACKUP_ACTIVATING);
	assert_false(backup_may_run(&t.b));
	backup_bed_feed(&t, BEV_APPLIED, t.b.committed);
	assert_true(backup_may_run(&t.b));
	/* Decided, but complete before it was told to be: without the newest epoch. */
	bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
	backup_bed_feed(&t, BEV_EPOCH_COMPLETE, t.b.committed + 1);
	failover(&t, true);
	assert_string_equal(backup_bed_feed(&t, BEV_BUILT, 0), "disconnect abandon");
}

static void welcome(void **state)
{
	static const struct {
		struct backup_found found;
		enum backup_welcome welcome;
	} cases[] = {
		{{.old_worker = false}, WELCOME_BUILD},
		{{.old_worker = true}, WELCOME_SUPERSEDE},
		{{.vm_runs = true}, WELCOME_BUILD}, /* never let run: a leftover */
		{{.vm_runs = true, .old_worker = true}, WELCOME_SUPERSEDE},
		{{.role_active = true, .vm_runs = true}, WELCOME_ACTIVATED},
		{{.role_active = true, .vm_runs = true, .old_worker = true}, WELCOME_ACTIVATED},
		{{.role_active = true}, WELCOME_OPERATOR},
		{{.role_active = true, .old_worker = true}, WELCOME_OPERATOR},
		{{.other_vm = true}, WELCOME_BUILD},
		{{.other_vm = true, .vm_runs = true}, WELCOME_BUILD},
		{{.other_vm = true, .old_worker = true}, WELCOME_NAME_TAKEN},
		{{.other_vm = true, .role_active = true, .vm_runs = true}, WELCOME_NAME_TAKEN},
		{{.other_vm = true, .role_active = true}, WELCOME_NAME_TAKEN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(backup_welcome(&cases[i].found), cases[i].welcome);
}

/* Both hosts believe to protect it. */
static void welcome_at_a_primary(void **state)
{
	struct backup_found f = {.role_primary = true};

	for (unsigned int bits = 0; bits < 64; bits++) {
		enum backup_welcome w;

		f.vm_runs = bits & 1;
		f.taken = bits & 2;
		f.primary_worker = bits & 4;
		f.newer = bits & 8;
		f.older = bits & 16;
		f.other_vm = bits & 32;
		if (f.newer && f.older)
			continue;
		w = backup_welcome(&f);
		/* P4: the word that destroys the other copy is said of a VM that runs, was taken over, and is newer. */
		assert_int_equal(w == WELCOME_ACTIVATED,
				 f.vm_runs && f.taken && f.newer && !f.other_vm);
		/* A standby is built where nothing of the older term is left. */
		assert_int_equal(w == WELCOME_BUILD,
				 f.older && !f.vm_runs && !f.primary_worker && !f.other_vm);
		assert_int_equal(w == WELCOME_NAME_TAKEN, f.other_vm);
		assert_true(w != WELCOME_SUPERSEDE);
	}
}

static void names(void **state)
{
	assert_null(sm_flaw(&backup_table));
	assert_string_equal(backup_state_name((enum backup_state)99), "?");
	assert_string_equal(backup_event_name((enum backup_event_type)99), "?");
	assert_string_equal(backup_action_name((enum backup_action_type)99), "?");
	assert_string_equal(backup_refusal_text((enum backup_refusal)99), "?");
	for (int i = 0; i <= REFUSED_ENDING; i++)
		assert_true(strlen(backup_refusal_text(i)) > 5);
}

/* ---- disks ---- */

static const char *disks(struct backup_bed *t, uint8_t n, enum backup_ack_mode mode)
{
	const struct backup_event ev = {.type = BEV_DISKS, .n_disks = n, .ack_mode = mode};

	return backup_bed_step(t, &ev);
}

static const char *disk(struct backup_bed *t, enum backup_event_type type, uint8_t n,
			uint64_t epoch)
{
	const struct backup_event ev = {.type = type, .disk = n, .epoch = epoch};

	return backup_bed_step(t, &ev);
}

static const char *flushed(struct backup_bed *t, uint8_t n, uint64_t epoch)
{
	const struct backup_event ev = {
		.type = BEV_DISK_HELD, .disk = n, .epoch = epoch, .flush = true};

	return backup_bed_step(t, &ev);
}

/* Two disks, epochs 0 and 1 committed, applied, durable and acknowledged. */
static void bed_with_disks(struct backup_bed *t, enum peer_loss_policy policy,
			   enum backup_ack_mode mode)
{
	bed_init(t, policy, 0);
	backup_bed_feed(t, BEV_HELLO, 0);
	assert_string_equal(disks(t, 2, mode), "");
	for (uint64_t n = 0; n < 2; n++) {
		disk(t, BEV_DISK_HELD, 0, n);
		disk(t, BEV_DISK_HELD, 1, n);
		backup_bed_feed(t, BEV_EPOCH_COMPLETE, n);
		disk(t, BEV_DISK_DURABLE, 0, n);
		disk(t, BEV_DISK_DURABLE, 1, n);
		backup_bed_feed(t, BEV_APPLIED, n);
	}
	assert_int_equal(t->b.state, BACKUP_STANDING);
	assert_true(t->b.acked == 1 && t->b.applied == 1);
}

/* P1, P2: memory and every disk, in whatever order they come. */
static void one_decision(void **state)
{
	struct backup_bed t;

	bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_MEMORY);
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2), "");
	assert_string_equal(disk(&t, BEV_DISK_HELD, 1, 2), "");
	assert_string_equal(disk(&t, BEV_DISK_HELD, 1, 2), "");
	assert_string_equal(disk(&t, BEV_DISK_HELD, 0, 1), ""); /* old */
	assert_string_equal(disk(&t, BEV_DISK_HELD, 0, 3), ""); /* not yet */
	assert_string_equal(disk(&t, BEV_DISK_HELD, 2, 2), ""); /* no such disk */
	assert_string_equal(disk(&t, BEV_DISK_HELD, 0, 2), "disks-commit:2 ack:2 apply:2");
	backup_bed_feed(&t, BEV_APPLIED, 2);
	assert_string_equal(disk(&t, BEV_DISK_HELD, 0, 3), "");
	assert_string_equal(disk(&t, BEV_DISK_HELD, 1, 3), "");
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 3),
			    "disks-commit:3 ack:3 apply:3");
}

/* What is not decided when the link breaks is dropped, of the disks too. */
static void an_epoch_without_its_disks(void **state)
{
	struct backup_bed t;

	bed_with_disks(&t, POLICY_BACKUP_WINS, BACKUP_ACK_MEMORY);
	disk(&t, BEV_DISK_HELD, 0, 2);
	backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2);
	assert_string_equal(backup_bed_feed(&t, BEV_LINK_DOWN, 0), "drop-partial");
	assert_string_equal(disk(&t, BEV_DISK_HELD, 1, 2), "");
	assert_string_equal(backup_bed_wait(&t, 2000 * MS), "persist-term:t8 disks-activate:1");
}

/* An epoch comes once; the next one when this one is decided. */
static void a_second_epoch_before_the_first(void **state)
{
	struct backup_bed t;

	bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_MEMORY);
	backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2);
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2), "disconnect drop-partial");
	assert_true(t.b.committed == 1);
}

static void only_disks_that_may_be(void **state)
{
	static const struct {
		uint8_t n;
		enum backup_ack_mode mode;
	} bad[] = {{0, BACKUP_ACK_MEMORY}, {17, BACKUP_ACK_MEMORY}, {1, 0}, {1, 4}};
	struct backup_bed t;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bed_in(&t, POLICY_HOLD, BACKUP_BUILDING);
		assert_string_equal(disks(&t, bad[i].n, bad[i].mode), "disconnect abandon");
	}
	bed_in(&t, POLICY_HOLD, BACKUP_BUILDING);
	assert_string_equal(disks(&t, BACKUP_MAX_DISKS, BACKUP_ACK_EPOCH), "");
	assert_string_equal(disks(&t, 1, BACKUP_ACK_EPOCH), "disconnect disks-leave abandon");
}

/* epoch: each ACK waits for all journals, in order. */
static void acks_wait_for_the_journals(void **state)
{
	struct backup_bed t;

	bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_EPOCH);
	disk(&t, BEV_DISK_HELD, 0, 2);
	disk(&t, BEV_DISK_HELD, 1, 2);
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2), "disks-commit:2 apply:2");
	backup_bed_feed(&t, BEV_APPLIED, 2);
	disk(&t, BEV_DISK_HELD, 0, 3);
	backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 3);
	assert_string_equal(disk(&t, BEV_DISK_HELD, 1, 3), "disks-commit:3 apply:3");
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 0, 3), ""); /* stands for 2 as well */
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 1, 4), ""); /* never committed */
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 1, 2), "ack:2");
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 1, 2), "");
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 1, 3), "ack:3");
	/* Nothing is acknowledged once the link is gone or the decision made. */
	backup_bed_feed(&t, BEV_APPLIED, 3);
	disk(&t, BEV_DISK_HELD, 0, 4);
	disk(&t, BEV_DISK_HELD, 1, 4);
	backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 4);
	backup_bed_feed(&t, BEV_APPLIED, 4);
	disk(&t, BEV_DISK_DURABLE, 0, 4);
	assert_string_equal(failover(&t, true), "answer:failover:0 drop-partial persist-term:t8 "
						"disks-activate:4");
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 1, 4), "");
}

/* flush: only an epoch with a flush waits, and what comes after it. */
static void flushes_are_waited_for(void **state)
{
	struct backup_bed t;

	bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_FLUSH);
	disk(&t, BEV_DISK_HELD, 0, 2);
	disk(&t, BEV_DISK_HELD, 1, 2);
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2),
			    "disks-commit:2 ack:2 apply:2");
	backup_bed_feed(&t, BEV_APPLIED, 2);
	flushed(&t, 1, 3);
	disk(&t, BEV_DISK_HELD, 0, 3);
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 3), "disks-commit:3 apply:3");
	backup_bed_feed(&t, BEV_APPLIED, 3);
	disk(&t, BEV_DISK_HELD, 0, 4);
	disk(&t, BEV_DISK_HELD, 1, 4);
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 4), "disks-commit:4 apply:4");
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 1, 3), "");
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 0, 3), "ack:3 ack:4");
}

/* P6: a primary has so many lanes; one that sends more does not keep to the protocol. */
static void unacknowledged_is_bounded(void **state)
{
	struct backup_bed t;

	bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_EPOCH);
	for (uint64_t n = 2; n < 2 + PRIMARY_MAX_OUTSTANDING; n++) {
		disk(&t, BEV_DISK_HELD, 0, n);
		disk(&t, BEV_DISK_HELD, 1, n);
		backup_bed_feed(&t, BEV_EPOCH_COMPLETE, n);
		backup_bed_feed(&t, BEV_APPLIED, n);
		assert_true(t.b.committed == n);
	}
	disk(&t, BEV_DISK_DURABLE, 0, 7);
	assert_string_equal(disk(&t, BEV_DISK_DURABLE, 1, 7),
			    "ack:2 ack:3 ack:4 ack:5 ack:6 ack:7");
	bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_EPOCH);
	for (uint64_t n = 2; n < 2 + PRIMARY_MAX_OUTSTANDING; n++) {
		disk(&t, BEV_DISK_HELD, 0, n);
		disk(&t, BEV_DISK_HELD, 1, n);
		backup_bed_feed(&t, BEV_EPOCH_COMPLETE, n);
		backup_bed_feed(&t, BEV_APPLIED, n);
	}
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 8), "disconnect drop-partial");
}

/* P2: memory and disks of the same epoch, or nothing runs. */
static void the_disks_first(void **state)
{
	struct backup_bed t;

	bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_MEMORY);
	disk(&t, BEV_DISK_HELD, 0, 2);
	disk(&t, BEV_DISK_HELD, 1, 2);
	backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 2);
	assert_string_equal(failover(&t, true), "answer:failover:0 drop-partial persist-term:t8 "
						"disks-activate:2");
	assert_string_equal(backup_bed_feed(&t, BEV_DISKS_ACTIVE, 1), "");
	assert_false(backup_may_run(&t.b));
	assert_string_equal(backup_bed_feed(&t, BEV_DISKS_ACTIVE, 2), "");
	assert_false(backup_may_run(&t.b));
	assert_string_equal(backup_bed_feed(&t, BEV_APPLIED, 2), "activate:2");
	assert_true(backup_may_run(&t.b));
	assert_string_equal(backup_bed_feed(&t, BEV_DISKS_ACTIVE, 2), "");
	/* The other way round. */
	bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_MEMORY);
	failover(&t, true);
	assert_false(backup_may_run(&t.b));
	assert_string_equal(backup_bed_feed(&t, BEV_DISKS_ACTIVE, 1), "activate:1");
	assert_string_equal(backup_bed_feed(&t, BEV_BUILT, 0), "run");
	/* It is the VM's own disk by now, though nobody has seen the VM run yet. */
	assert_string_equal(backup_bed_feed(&t, BEV_DISK_FAILED, 0), "");
	assert_string_equal(backup_bed_feed(&t, BEV_ACTIVATED, 0), "takeover:t8");
	assert_string_equal(backup_bed_feed(&t, BEV_DISK_FAILED, 0), "");
}

static void a_disk_fails(void **state)
{
	struct backup_bed t;

	bed_with_disks(&t, POLICY_BACKUP_WINS, BACKUP_ACK_MEMORY);
	assert_string_equal(backup_bed_feed(&t, BEV_DISK_FAILED, 0), "refuse disks-leave abandon");
	assert_false(backup_heartbeats(&t.b));
	assert_string_equal(failover(&t, true), "answer:failover:5");
	assert_string_equal(backup_bed_feed(&t, BEV_ABANDONED, 0), "end");
	/* Without a link nobody can be told. */
	bed_with_disks(&t, POLICY_BACKUP_WINS, BACKUP_ACK_MEMORY);
	backup_bed_feed(&t, BEV_LINK_DOWN, 0);
	assert_string_equal(backup_bed_feed(&t, BEV_DISK_FAILED, 0), "disks-leave abandon");
	bed_with_disks(&t, POLICY_BACKUP_WINS, BACKUP_ACK_MEMORY);
	backup_bed_feed(&t, BEV_LINK_DOWN, 0);
	failover(&t, true);
	assert_string_equal(backup_bed_feed(&t, BEV_DISK_FAILED, 0), "disks-leave abandon");
	assert_string_equal(backup_bed_feed(&t, BEV_DISKS_ACTIVE, 1), "");
	/* Complete is not yet let run. */
	bed_with_disks(&t, POLICY_BACKUP_WINS, BACKUP_ACK_MEMORY);
	failover(&t, true);
	assert_string_equal(backup_bed_feed(&t, BEV_DISKS_ACTIVE, 1), "activate:1");
	assert_string_equal(backup_bed_feed(&t, BEV_DISK_FAILED, 0), "refuse disks-leave abandon");
	assert_string_equal(backup_bed_feed(&t, BEV_BUILT, 0), "");
}

/* Whatever ends the standby, its disks cannot be run after it. */
static void the_disks_leave(void **state)
{
	static const struct {
		enum backup_event_type type;
		const char *said;
	} ends[] = {
		{BEV_BYE, "disks-leave abandon"},
		{BEV_SUPERSEDE, "disconnect disks-leave abandon"},
		{BEV_STANDBY_FAILED, "disconnect disks-leave abandon"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct backup_bed t;

		bed_with_disks(&t, POLICY_HOLD, BACKUP_ACK_MEMORY);
		assert_string_equal(backup_bed_feed(&t, ends[i].type, 0), ends[i].said);
	}
}

/* ---- HANDOVER ---- */

/* Asked by the primary itself: no policy, no silence. What was committed after its word counts too. */
static void handed_over(void **state)
{
	static const enum peer_loss_policy policies[] = {POLICY_HOLD, POLICY_PRIMARY_WINS,
							 POLICY_BACKUP_WINS};

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct backup_bed t;

		bed_with_disks(&t, policies[i], BACKUP_ACK_MEMORY);
		assert_string_equal(backup_bed_feed(&t, BEV_HANDOVER, 0),
				    "drop-partial persist-term:t8 disks-activate:1");
		/* P4: it waits for as long as we are at it. */
		assert_true(backup_heartbeats(&t.b));
		assert_string_equal(backup_bed_feed(&t, BEV_HANDOVER, 0), "");
		assert_string_equal(backup_bed_feed(&t, BEV_DISKS_ACTIVE, 1), "activate:1");
		assert_string_equal(backup_bed_feed(&t, BEV_BUILT, 0), "run");
		assert_string_equal(backup_bed_feed(&t, BEV_ACTIVATED, 0), "takeover:t8");
	}
}

/* P2: one that let out what we never acknowledged would lose it here. */
static void a_false_handover(void **state)
{
	static const uint64_t epochs[] = {2, EPOCH_NONE};

	for (size_t i = 0; i < ARRAY_SIZE(epochs); i++) {
		struct backup_bed t;

		bed_in(&t, POLICY_HOLD, BACKUP_STANDING);
		assert_string_equal(backup_bed_feed(&t, BEV_HANDOVER, epochs[i]),
				    "disconnect drop-partial");
		assert_int_equal(t.b.state, BACKUP_STANDING);
		assert_string_equal(backup_bed_feed(&t, BEV_HANDOVER, 1),
				    ""); /* the link is gone */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_decision),
		cmocka_unit_test(an_epoch_without_its_disks),
		cmocka_unit_test(a_second_epoch_before_the_first),
		cmocka_unit_test(only_disks_that_may_be),
		cmocka_unit_test(acks_wait_for_the_journals),
		cmocka_unit_test(flushes_are_waited_for),
		cmocka_unit_test(unacknowledged_is_bounded),
		cmocka_unit_test(the_disks_first),
		cmocka_unit_test(a_disk_fails),
		cmocka_unit_test(the_disks_leave),
		cmocka_unit_test(handed_over),
		cmocka_unit_test(a_false_handover),
		cmocka_unit_test(every_state_gets_every_event),
		cmocka_unit_test(the_end_is_quiet),
		cmocka_unit_test(a_whole_life),
		cmocka_unit_test(only_the_next_epoch_is_committed),
		cmocka_unit_test(the_first_epoch_is_0),
		cmocka_unit_test(a_used_term_is_passed_over),
		cmocka_unit_test(only_backup_wins_goes_alone),
		cmocka_unit_test(a_silent_link),
		cmocka_unit_test(heartbeats_keep_it_standing),
		cmocka_unit_test(a_late_heartbeat_is_no_news),
		cmocka_unit_test(an_epoch_is_a_word),
		cmocka_unit_test(heard_at_the_last_moment),
		cmocka_unit_test(sleep_is_not_silence),
		cmocka_unit_test(the_committed_epoch_first),
		cmocka_unit_test(no_ack_after_the_decision),
		cmocka_unit_test(suspect),
		cmocka_unit_test(heartbeats),
		cmocka_unit_test(failover_table),
		cmocka_unit_test(failover_long_after),
		cmocka_unit_test(told_when_it_is_true),
		cmocka_unit_test(a_failed_activation_stands_down),
		cmocka_unit_test(superseded),
		cmocka_unit_test(bye_and_the_link_breaks),
		cmocka_unit_test(no_hello),
		cmocka_unit_test(runs_only_when_decided),
		cmocka_unit_test(welcome),
		cmocka_unit_test(welcome_at_a_primary),
		cmocka_unit_test(names),
	};

	return RUN_TESTS("backup", tests);
}
