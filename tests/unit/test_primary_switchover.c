/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planned move: its steps in order, and each way in which it comes to nothing (docs/promises.md, "Switchover"). */
#include "tests/lib/test.h"

#include <stdio.h>

#include "replicator/primary.h"
#include "tests/lib/core_bed.h"

#define TERM BED_TERM
#define FAILURE (1000 * MS)
#define BYE (10000 * MS)

static int show(const struct primary_action *a, char *out, size_t size)
{
	if (a->type == PACT_CHECKPOINT)
		return snprintf(out, size, ":%d%s", (int)a->epoch, a->last ? "!" : "");
	if (a->type == PACT_RELEASE)
		return snprintf(out, size, ":%d", (int)a->epoch);
	if (a->type == PACT_SEND_HANDOVER)
		return snprintf(out, size, ":%d%s", (int)a->epoch, a->planned ? "!" : "");
	return 0;
}

static const char *guest_event(struct primary_bed *b, enum leave_reason leave)
{
	const struct primary_event ev = {.type = PEV_GUEST_EVENT, .leave = leave};

	return primary_bed_step(b, &ev);
}

/* Time passes, the peer is heard meanwhile. What was said first, or nothing. */
static const char *wait_heard(struct primary_bed *b, uint64_t ns)
{
	uint64_t end = b->now + ns;
	const char *said = "";

	while (b->now < end && !*said) {
		b->now += 50 * MS;
		said = primary_bed_feed(b, PEV_HEARTBEAT, 0);
	}
	return said;
}

/* Protected, epochs 0 and 1 acknowledged, 2 taken and sent. */
static void protect(struct primary_bed *b, enum peer_loss_policy policy, bool disks)
{
	primary_bed_start(b, (struct primary_conf){.policy = policy, .disks = disks}, show);
	primary_bed_feed(b, PEV_TICK, 0);
	primary_bed_feed(b, PEV_LINK_UP, 0);
	primary_bed_feed(b, PEV_DISKS_SYNCED, 0);
	primary_bed_feed(b, PEV_COPY_DONE, 0);
	for (uint64_t n = 0; n < 3; n++) {
		primary_bed_feed(b, PEV_CHECKPOINT_TAKEN, n);
		primary_bed_feed(b, PEV_EPOCH_SENT, n);
		if (n < 2)
			primary_bed_feed(b, PEV_ACK, n);
		if (n == 2)
			break;
		b->now += 50 * MS;
		primary_bed_feed(b, PEV_HEARTBEAT, 0);
		assert_true(b->p.checkpointing);
	}
	assert_int_equal(b->p.state, PRIMARY_PROTECTED);
}

/* ... and a switchover has come to its last checkpoint, which is taken. */
static void park(struct primary_bed *b, enum peer_loss_policy policy, bool disks)
{
	protect(b, policy, disks);
	primary_bed_feed(b, PEV_SWITCHOVER, 0);
	b->now += 50 * MS;
	assert_string_equal(primary_bed_feed(b, PEV_ACK, 2), "release:2 checkpoint:3!");
	assert_string_equal(primary_bed_feed(b, PEV_CHECKPOINT_TAKEN, 3), "");
	assert_true(b->p.parked);
}

/* ... and the peer was asked to take it. */
static void hand_over(struct primary_bed *b, enum peer_loss_policy policy, bool disks)
{
	const bool durable = policy == POLICY_PRIMARY_WINS;

	park(b, policy, disks);
	primary_bed_feed(b, PEV_EPOCH_SENT, 3);
	assert_string_equal(primary_bed_feed(b, PEV_ACK, 3),
			    durable ? "release:3 persist-handover send-handover:3!"
				    : "release:3 send-handover:3!");
	assert_int_equal(b->p.state, PRIMARY_HANDING);
}

/* ---- as it should be ---- */

static void a_move(void **state)
{
	const struct primary_event taken_over = {.type = PEV_PEER_ACTIVATED, .term = TERM + 1};
	struct primary_bed b;

	for (int policy = POLICY_HOLD; policy <= POLICY_ARBITER; policy++) {
		hand_over(&b, policy, true);
		assert_true(primary_heartbeats(&b.p));
		assert_false(primary_is_protected(&b.p, b.now));
		assert_string_equal(primary_bed_feed(&b, PEV_ACK, 4), "");
		assert_string_equal(wait_heard(&b, 5000 * MS), "");
		assert_string_equal(primary_bed_step(&b, &taken_over), "disconnect destroy-guest");
		assert_true(b.p.parked);
		assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "");
		assert_string_equal(primary_bed_feed(&b, PEV_GUEST_GONE_DONE, 0), "end");
	}
}

/* P4: the guest pays for one epoch: all others are acknowledged before, and none is begun meanwhile. */
static void the_last_one_waits_for_the_others(void **state)
{
	struct primary_bed b;

	protect(&b, POLICY_HOLD, false);
	assert_string_equal(primary_bed_feed(&b, PEV_SWITCHOVER, 0), "");
	assert_string_equal(wait_heard(&b, 500 * MS), "");
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 2), "release:2 checkpoint:3!");
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 3);
	primary_bed_feed(&b, PEV_EPOCH_SENT, 3);
	assert_string_equal(wait_heard(&b, 500 * MS), "");
	/* Still protected: the peer has all but this epoch, and is heard. */
	assert_true(primary_is_protected(&b.p, b.now));
}

static void refused(void **state)
{
	struct primary_bed b;

	protect(&b, POLICY_HOLD, false);
	assert_int_equal(primary_may_switch_over(&b.p, b.now), SWITCHOVER_MAY);
	b.now += 300 * MS;
	assert_int_equal(primary_may_switch_over(&b.p, b.now), SWITCHOVER_SUSPECT);
	primary_bed_feed(&b, PEV_SWITCHOVER, 0);
	assert_false(b.p.moving);
	protect(&b, POLICY_HOLD, false);
	primary_bed_feed(&b, PEV_SWITCHOVER, 0);
	assert_int_equal(primary_may_switch_over(&b.p, b.now), SWITCHOVER_BUSY);
	primary_bed_feed(&b, PEV_UNPROTECT, 0);
	assert_int_equal(primary_may_switch_over(&b.p, b.now), SWITCHOVER_LEAVING);
	protect(&b, POLICY_HOLD, false);
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	assert_int_equal(primary_may_switch_over(&b.p, b.now), SWITCHOVER_NOT_PROTECTED);
	protect(&b, POLICY_HOLD, true);
	primary_bed_feed(&b, PEV_DISK_ERROR, 0);
	assert_int_equal(primary_may_switch_over(&b.p, b.now), SWITCHOVER_HANDED);
	for (int r = SWITCHOVER_NOT_PROTECTED; r <= SWITCHOVER_BUSY; r++)
		assert_true(*switchover_refusal_text(r));
}

/* ---- before HANDOVER: nobody else can run it by our doing ---- */

static void it_does_not_suspend(void **state)
{
	struct primary_bed b;

	protect(&b, POLICY_HOLD, false);
	primary_bed_feed(&b, PEV_SWITCHOVER, 0);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_ACK, 2);
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_ABORTED, 3), "");
	b.now += 50 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "checkpoint:3!");
	for (int i = 0; i < 3; i++) {
		primary_bed_feed(&b, PEV_CHECKPOINT_ABORTED, 3);
		b.now += 50 * MS;
		primary_bed_feed(&b, PEV_HEARTBEAT, 0);
	}
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_ABORTED, 3),
			    "send-bye switchover-failed");
}

/* The last checkpoint never comes, because an older epoch is not acknowledged. */
static void it_takes_too_long(void **state)
{
	struct primary_bed b;

	protect(&b, POLICY_HOLD, false);
	primary_bed_feed(&b, PEV_SWITCHOVER, 0);
	b.p.moving_since_ns -= BYE;
	b.now += MS;
	assert_true(primary_next_deadline(&b.p) <= b.now);
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "switchover-failed");
	assert_int_equal(b.p.state, PRIMARY_PROTECTED);
	/* It goes on as before. */
	b.now += 50 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 2), "release:2 checkpoint:3");
}

/* P4: whatever ends it, a parked guest goes on. */
static void parked_and_given_up(void **state)
{
	struct primary_bed b;

	park(&b, POLICY_HOLD, true);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0),
			    "resume switchover-failed disks-leave");
	assert_int_equal(b.p.state, PRIMARY_LOST);
	park(&b, POLICY_HOLD, true);
	assert_string_equal(primary_bed_feed(&b, PEV_UNPROTECT, 0),
			    "send-bye resume switchover-failed disks-leave");
	park(&b, POLICY_HOLD, true);
	assert_string_equal(guest_event(&b, LEAVE_RESYNC),
			    "send-bye resume switchover-failed disks-leave");
	park(&b, POLICY_HOLD, true);
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_DROPPED, 0),
			    "send-bye resume switchover-failed disks-leave");
	/* The VM is handed over after all, for another reason. */
	park(&b, POLICY_HOLD, true);
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_ERROR, 0), "resume send-handover:2");
	assert_true(b.p.moving);
	park(&b, POLICY_HOLD, true);
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 9),
			    "disconnect resume switchover-failed disks-leave");
}

/* Nothing moves, and the peer lives: the guest does not wait for as long as a send may take. */
static void parked_behind_a_stall(void **state)
{
	uint64_t parked;
	struct primary_bed b;

	park(&b, POLICY_HOLD, false);
	parked = b.now;
	assert_string_equal(wait_heard(&b, 60000 * MS), "disconnect resume switchover-failed");
	assert_true(b.now - parked <= FAILURE + 50 * MS);
	/* Sent, and not acknowledged. */
	park(&b, POLICY_HOLD, false);
	primary_bed_feed(&b, PEV_EPOCH_SENT, 3);
	parked = b.now;
	assert_string_equal(wait_heard(&b, 60000 * MS), "disconnect resume switchover-failed");
	assert_true(b.now - parked <= FAILURE);
}

/* P4: the checkpoint was on its way when all was over. */
static void taken_too_late(void **state)
{
	const struct primary_event activated = {.type = PEV_PEER_ACTIVATED, .term = TERM + 1};
	struct primary_bed b;

	for (int i = 0; i < 2; i++) {
		protect(&b, POLICY_HOLD, false);
		primary_bed_feed(&b, PEV_SWITCHOVER, 0);
		b.now += 50 * MS;
		primary_bed_feed(&b, PEV_ACK, 2);
		if (i == 0)
			assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0),
					    "switchover-failed");
		else
			primary_bed_step(&b, &activated);
		/* Who is deposed does not run again. */
		assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 3),
				    i == 0 ? "resume" : "");
	}
}

/* ---- after HANDOVER: only the peer's word says who runs it ---- */

static void the_peer_is_lost(void **state)
{
	uint64_t since;
	struct primary_bed b;

	hand_over(&b, POLICY_HOLD, true);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0),
			    "resume switchover-failed disks-leave");
	assert_true(b.p.held && b.p.handed);
	hand_over(&b, POLICY_HOLD, true);
	for (since = b.now; b.p.state == PRIMARY_HANDING; b.now += 50 * MS)
		primary_bed_feed(&b, PEV_TICK, 0);
	assert_string_equal(b.text, "disconnect resume switchover-failed disks-leave");
	assert_true(b.now - since <= FAILURE + 50 * MS);
	/* It lives, and says nothing. */
	hand_over(&b, POLICY_HOLD, true);
	since = b.now;
	assert_string_equal(wait_heard(&b, 60000 * MS),
			    "disconnect resume switchover-failed disks-leave");
	assert_true(b.now - since <= BYE);
}

/* P3: it may run there although nobody hears of it; P4: until it says that it does not. */
static void held_until_it_is_certain(void **state)
{
	const struct primary_event taken_over = {.type = PEV_PEER_ACTIVATED, .term = TERM + 1};
	struct primary_bed b;

	for (int i = 0; i < 2; i++) {
		hand_over(&b, POLICY_PRIMARY_WINS, true);
		primary_bed_feed(&b, PEV_LINK_DOWN, 0);
		for (int k = 0; k < 100; k++) {
			b.now += 500 * MS;
			primary_bed_feed(&b, PEV_TICK, 0);
			assert_true(b.p.held && !b.p.alone_decided);
		}
		assert_true(b.p.connecting);
		if (i)
			assert_string_equal(primary_bed_step(&b, &taken_over), "destroy-guest");
		else
			assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0),
					    "persist-handover open-output");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_move),
		cmocka_unit_test(the_last_one_waits_for_the_others),
		cmocka_unit_test(refused),
		cmocka_unit_test(it_does_not_suspend),
		cmocka_unit_test(it_takes_too_long),
		cmocka_unit_test(parked_and_given_up),
		cmocka_unit_test(parked_behind_a_stall),
		cmocka_unit_test(taken_too_late),
		cmocka_unit_test(the_peer_is_lost),
		cmocka_unit_test(held_until_it_is_certain),
	};

	return RUN_TESTS("primary_switchover", tests);
}
