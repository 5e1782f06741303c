/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's rules: every state gets every event, and the rules that need more than one step. */
#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/sm.h"
#include "replicator/primary.h"
#include "tests/lib/core_bed.h"

#define START BED_START
#define TERM BED_TERM
#define ARENA BED_ARENA

static int show(const struct primary_action *a, char *out, size_t size)
{
	if (a->type == PACT_PERSIST_HANDOVER)
		return snprintf(out, size, ":%d", a->handed);
	if (a->type == PACT_CHECKPOINT || a->type == PACT_RELEASE || a->type == PACT_SEND_HANDOVER)
		return snprintf(out, size, ":%d", (int)a->epoch);
	if (a->type == PACT_SEND_BYE || a->type == PACT_END_GUEST)
		return snprintf(out, size, ":%s", leave_reason_name(a->leave));
	if (a->type == PACT_THROTTLE)
		return snprintf(out, size, ":%u", a->percent);
	return 0;
}

static const char *feed_leave(struct primary_bed *b, enum primary_event_type type,
			      enum leave_reason leave)
{
	const struct primary_event ev = {.type = type, .leave = leave};

	return primary_bed_step(b, &ev);
}

static const char *unprotect(struct primary_bed *b, bool force)
{
	const struct primary_event ev = {.type = PEV_UNPROTECT, .force = force};

	return primary_bed_step(b, &ev);
}

static const char *activated(struct primary_bed *b, uint64_t term)
{
	const struct primary_event ev = {.type = PEV_PEER_ACTIVATED, .term = term};

	return primary_bed_step(b, &ev);
}

static void bed_init(struct primary_bed *b, enum peer_loss_policy policy, bool adopt)
{
	primary_bed_start(b, (struct primary_conf){.policy = policy, .adopt = adopt}, show);
}

/* Checkpoint n is due: taken and sent. */
static void epoch(struct primary_bed *b, uint64_t n)
{
	if (b->now < b->p.next_checkpoint_ns)
		b->now = b->p.next_checkpoint_ns;
	primary_bed_feed(b, PEV_TICK, 0);
	assert_true(b->p.checkpointing);
	primary_bed_feed(b, PEV_CHECKPOINT_TAKEN, n);
	primary_bed_feed(b, PEV_EPOCH_SENT, n);
	assert_true(b->p.sent == n);
}

/* A primary in that state, epochs 0 and 1 sent where there are any, 0 acknowledged from PROTECTED on. */
static void bed_of(struct primary_bed *b, enum peer_loss_policy policy, enum primary_state state,
		   bool disks)
{
	primary_bed_start(b, (struct primary_conf){.policy = policy, .disks = disks}, show);
	primary_bed_feed(b, PEV_TICK, 0);
	if (state == PRIMARY_CONNECTING)
		return;
	if (state == PRIMARY_ENDED) {
		unprotect(b, false);
		return;
	}
	primary_bed_feed(b, PEV_LINK_UP, 0);
	if (state == PRIMARY_COPYING)
		return;
	primary_bed_feed(b, PEV_DISKS_SYNCED, 0);
	primary_bed_feed(b, PEV_COPY_DONE, 0);
	primary_bed_feed(b, PEV_CHECKPOINT_TAKEN, 0);
	primary_bed_feed(b, PEV_EPOCH_SENT, 0);
	if (state == PRIMARY_SYNCING)
		return;
	primary_bed_feed(b, PEV_ACK, 0);
	epoch(b, 1);
	if (state == PRIMARY_LOST) {
		primary_bed_feed(b, PEV_LINK_DOWN, 0);
		assert_string_equal(primary_bed_wait(b, 200 * MS), "connect");
	}
	if (state == PRIMARY_LEAVING)
		unprotect(b, false);
	if (state == PRIMARY_HANDING)
		primary_bed_feed(b, PEV_DISK_ERROR, 0);
	if (state == PRIMARY_DEPOSED)
		activated(b, TERM + 1);
	assert_int_equal(b->p.state, state);
}

static void bed_in(struct primary_bed *b, enum peer_loss_policy policy, enum primary_state state)
{
	bed_of(b, policy, state, false);
}

/* ---- every state gets every event ---- */

/* The event as it would come in that state, were it due there. */
static struct primary_event due(const struct primary *p, enum primary_event_type type)
{
	struct primary_event ev = {.type = type, .term = TERM};

	if (type == PEV_PEER_ACTIVATED)
		ev.term = TERM + 1;
	if (type == PEV_COPY_FAILED)
		ev.leave = LEAVE_RESYNC;
	if (type == PEV_GUEST_EVENT)
		ev.leave = LEAVE_GUEST_SHUTDOWN;
	if (type == PEV_CHECKPOINT_TAKEN || type == PEV_CHECKPOINT_ABORTED)
		ev.epoch = p->next_epoch;
	if (type == PEV_EPOCH_SENT)
		ev.epoch = p->taken;
	if (type == PEV_ACK)
		ev.epoch = p->sent;
	return ev;
}

/* The next state, and the actions. NULL: ignored. Policy hold. */
struct expected {
	enum primary_state state;
	const char *actions;
};

static const struct expected table[PRIMARY_ENDED + 1][PEV_COUNT] = {
	[PRIMARY_CONNECTING] =
		{
			[PEV_LINK_UP] = {PRIMARY_COPYING, "start-copy"},
			[PEV_PEER_ACTIVATED] = {PRIMARY_DEPOSED, "destroy-guest"},
			[PEV_GUEST_EVENT] = {PRIMARY_ENDED, "end-guest:guest-shutdown end"},
			[PEV_UNPROTECT] = {PRIMARY_ENDED, "end"},
		},
	[PRIMARY_COPYING] =
		{
			[PEV_LINK_DOWN] = {PRIMARY_CONNECTING, ""},
			[PEV_PEER_ACTIVATED] = {PRIMARY_DEPOSED, "disconnect destroy-guest"},
			[PEV_COPY_DONE] = {PRIMARY_SYNCING, "checkpoint:0"},
			[PEV_COPY_FAILED] = {PRIMARY_CONNECTING, "disconnect"},
			[PEV_GUEST_EVENT] =
				{PRIMARY_ENDED,
				 "send-bye:guest-shutdown end-guest:guest-shutdown end"},
			[PEV_UNPROTECT] = {PRIMARY_ENDED, "send-bye:unprotect end"},
		},
	[PRIMARY_SYNCING] =
		{
			[PEV_LINK_DOWN] = {PRIMARY_LOST, ""},
			[PEV_PEER_ACTIVATED] = {PRIMARY_DEPOSED, "disconnect destroy-guest"},
			[PEV_ACK] = {PRIMARY_PROTECTED, "release:0"},
			[PEV_GUEST_EVENT] = {PRIMARY_LEAVING, "send-bye:guest-shutdown"},
			[PEV_UNPROTECT] = {PRIMARY_LEAVING, "send-bye:unprotect"},
		},
	[PRIMARY_PROTECTED] =
		{
			[PEV_LINK_DOWN] = {PRIMARY_LOST, ""},
			[PEV_PEER_ACTIVATED] = {PRIMARY_DEPOSED, "disconnect destroy-guest"},
			[PEV_ACK] = {PRIMARY_PROTECTED, "release:1"},
			[PEV_OUTPUT_PRESSURE] = {PRIMARY_PROTECTED, "checkpoint:2"},
			[PEV_GUEST_EVENT] = {PRIMARY_LEAVING, "send-bye:guest-shutdown"},
			[PEV_UNPROTECT] = {PRIMARY_LEAVING, "send-bye:unprotect"},
			[PEV_DISK_ERROR] = {PRIMARY_HANDING, "send-handover:0"},
		},
	[PRIMARY_LOST] =
		{
			[PEV_LINK_UP] = {PRIMARY_LOST, "open-output"},
			[PEV_PEER_ACTIVATED] = {PRIMARY_DEPOSED, "destroy-guest"},
		},
	[PRIMARY_LEAVING] =
		{
			[PEV_LINK_DOWN] = {PRIMARY_LOST, ""},
			[PEV_PEER_ACTIVATED] = {PRIMARY_DEPOSED, "disconnect destroy-guest"},
			[PEV_BYE_OK] = {PRIMARY_LEAVING, "disconnect open-output"},
		},
	[PRIMARY_HANDING] =
		{
			[PEV_LINK_DOWN] = {PRIMARY_LOST, ""},
			[PEV_PEER_ACTIVATED] = {PRIMARY_DEPOSED, "disconnect destroy-guest"},
		},
	[PRIMARY_DEPOSED] =
		{
			[PEV_GUEST_GONE_DONE] = {PRIMARY_ENDED, "end"},
		},
};

static void every_state_gets_every_event(void **state)
{
	for (int s = 0; s <= PRIMARY_ENDED; s++) {
		for (int e = 0; e < PEV_COUNT; e++) {
			const struct expected *x = &table[s][e];
			struct primary_event ev;
			struct primary_bed b;
			const char *said;

			bed_in(&b, POLICY_HOLD, s);
			ev = due(&b.p, e);
			said = primary_bed_step(&b, &ev);
			if (strcmp(said, x->actions ? x->actions : "") != 0 ||
			    b.p.state != (x->actions ? x->state : (enum primary_state)s))
				fail_msg("%s on %s: %s, \"%s\"", primary_state_name(s),
					 primary_event_name(e), primary_state_name(b.p.state),
					 said);
		}
	}
}

/* A final state asks for nothing, whatever the time. */
static void the_end_is_quiet(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_ENDED);
	assert_true(primary_next_deadline(&b.p) == UINT64_MAX);
	b.now += UINT64_C(1000000) * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "");
	assert_false(primary_is_protected(&b.p, b.now));
}

/* ---- the life of a session ---- */

static void a_whole_life(void **state)
{
	struct primary_bed b;

	bed_init(&b, POLICY_HOLD, false);
	assert_true(primary_next_deadline(&b.p) <= b.now);
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "connect");
	assert_true(primary_next_deadline(&b.p) == UINT64_MAX);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "start-copy");
	assert_false(b.p.held);
	assert_string_equal(primary_bed_feed(&b, PEV_COPY_DONE, 0), "checkpoint:0");
	assert_true(b.p.held);
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_EPOCH_SENT, 0), "");
	assert_false(primary_is_protected(&b.p, b.now));
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 0), "release:0");
	assert_true(primary_is_protected(&b.p, b.now));
	b.now += 50 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "checkpoint:1");
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 1), "");
	assert_string_equal(primary_bed_feed(&b, PEV_EPOCH_SENT, 1), "");
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 1), "release:1");
	assert_string_equal(unprotect(&b, false), "send-bye:unprotect");
	assert_false(primary_is_protected(&b.p, b.now));
	assert_string_equal(primary_bed_feed(&b, PEV_BYE_OK, 0), "disconnect open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "end");
	assert_int_equal(b.p.state, PRIMARY_ENDED);
}

/* From start to start, whatever the checkpoint took; a missed beat is not caught up. */
static void paced_from_start_to_start(void **state)
{
	struct primary_bed b;
	uint64_t start;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	start = b.p.busy_since_ns;
	assert_true(primary_next_deadline(&b.p) == start + 50 * MS);
	b.now = start + 49 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "");
	b.now = start + 120 * MS;
	primary_bed_feed(&b, PEV_HEARTBEAT, 0);
	assert_true(b.p.checkpointing);
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 2);
	primary_bed_feed(&b, PEV_EPOCH_SENT, 2);
	assert_true(primary_next_deadline(&b.p) == b.now + 50 * MS);
}

/* P6: no checkpoint while one is under way, while one is being sent, or with all lanes in use. */
static void outstanding_is_bounded(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	b.now += 50 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "checkpoint:2");
	b.now += 50 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_PRESSURE, 0), "");
	primary_bed_feed(&b, PEV_HEARTBEAT, 0);
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 2), "");
	assert_string_equal(primary_bed_feed(&b, PEV_EPOCH_SENT, 2), "checkpoint:3");
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 3);
	b.now += 50 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_EPOCH_SENT, 3), "");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_PRESSURE, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 1), "release:1 checkpoint:4");
	/* One ACK may stand for several epochs: they go one by one, in order. */
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 3), "release:2 release:3");
}

static void pressure_hurries(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_PRESSURE, 0), "checkpoint:2");
	assert_false(b.p.pressure);
}

/* ---- ACK ---- */

static void a_false_ack_ends_the_session(void **state)
{
	static const struct primary_event lies[] = {
		{.type = PEV_ACK, .epoch = 1, .term = TERM - 1}, /* another term */
		{.type = PEV_ACK, .epoch = 1, .term = TERM + 1},
		{.type = PEV_ACK, .epoch = 0, .term = TERM},	      /* again */
		{.type = PEV_ACK, .epoch = 2, .term = TERM},	      /* never sent */
		{.type = PEV_ACK, .epoch = EPOCH_NONE, .term = TERM}, /* not an epoch */
	};

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct primary_bed b;

		bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
		assert_string_equal(primary_bed_step(&b, &lies[i]), "disconnect");
		assert_int_equal(b.p.state, PRIMARY_LOST);
	}
}

/* An epoch that is taken but not sent cannot have been committed. */
static void an_ack_before_its_time(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 2);
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 2), "disconnect");
}

/* P3: the lease counts from before EPOCH_END was sent, and a late ACK is no ACK. */
static void a_late_ack_is_no_ack(void **state)
{
	struct primary_event sent = {.type = PEV_EPOCH_SENT, .epoch = 2};
	struct primary_bed b;
	uint64_t at;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	primary_bed_feed(&b, PEV_ACK, 1);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 2);
	at = b.now;
	sent.at_ns = at;
	b.now += 30 * MS;
	primary_bed_step(&b, &sent);
	b.now = at + 900 * MS - 1;
	primary_bed_feed(&b, PEV_HEARTBEAT, 0);
	assert_int_equal(b.p.state, PRIMARY_PROTECTED);
	b.now = at + 900 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 2), "disconnect");
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 2), "");
}

/* The lease of the next epoch counts from its own sending. */
static void leases_follow_each_other(void **state)
{
	struct primary_bed b;
	uint64_t sent;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 2);
	primary_bed_feed(&b, PEV_EPOCH_SENT, 2);
	sent = b.now;
	b.now += 800 * MS;
	primary_bed_feed(&b, PEV_HEARTBEAT, 0);
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 1), "release:1");
	assert_true(b.p.oldest_unacked_since_ns == sent);
	b.now = sent + 900 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	assert_int_equal(b.p.state, PRIMARY_LOST);
}

/* ---- silence ---- */

/* P5: two heartbeats; the session ends at the failure timeout. */
static void silence(void **state)
{
	struct primary_bed b;
	uint64_t heard;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	primary_bed_feed(&b, PEV_ACK, 1);
	heard = b.p.peer.heard_ns;
	assert_true(primary_is_protected(&b.p, heard + 200 * MS - 1));
	assert_false(primary_is_protected(&b.p, heard + 200 * MS));
	while (b.p.state == PRIMARY_PROTECTED && b.now < heard + 2000 * MS) {
		b.now += 10 * MS;
		primary_bed_feed(&b, PEV_TICK, 0);
		if (b.p.checkpointing) {
			primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, b.p.next_epoch);
			primary_bed_feed(&b, PEV_EPOCH_SENT, b.p.taken);
			primary_bed_feed(&b, PEV_ACK,
					 b.p.sent); /* a stalled connection may still speak */
		}
	}
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_true(b.now >= heard + 1000 * MS && b.now <= heard + 1010 * MS);
}

/* No first copy for a peer that is not heard, and nothing is held for it. */
static void silence_in_the_first_copy(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_COPYING);
	assert_string_equal(primary_bed_wait(&b, 999 * MS), "");
	assert_string_equal(primary_bed_wait(&b, 2 * MS), "disconnect");
	assert_int_equal(b.p.state, PRIMARY_CONNECTING);
	assert_string_equal(primary_bed_feed(&b, PEV_COPY_DONE, 0), "");
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	assert_string_equal(primary_bed_wait(&b, 1000 * MS), "connect");
}

/* Every wait wakes us in time. */
static void deadlines(void **state)
{
	struct primary_bed b;
	uint64_t since;

	bed_in(&b, POLICY_HOLD, PRIMARY_LEAVING);
	assert_true(primary_next_deadline(&b.p) <= b.now + 100 * MS);
	unprotect(&b, true);
	assert_true(primary_next_deadline(&b.p) == UINT64_MAX); /* opening: the shell says when */
	bed_in(&b, POLICY_HOLD, PRIMARY_SYNCING);
	since = b.p.oldest_unacked_since_ns;
	while (b.now < since + 59950 * MS) {
		b.now += 50 * MS;
		assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "");
	}
	assert_true(primary_next_deadline(&b.p) == since + 60000 * MS);
	b.now = since + 60000 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "disconnect");
	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	primary_bed_feed(&b, PEV_ACK, 1);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	assert_true(primary_next_deadline(&b.p) <= b.now + 100 * MS);
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 2);
	assert_true(primary_next_deadline(&b.p) <= b.now + 100 * MS);
}

/* A session that lasted makes up for the attempts before it. */
static void a_good_session_forgives(void **state)
{
	struct primary_bed b;
	uint64_t n = 2;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	b.p.failures = 9;
	primary_bed_feed(&b, PEV_ACK, 1);
	while (b.now < b.p.state_since_ns + 9900 * MS) {
		epoch(&b, n);
		primary_bed_feed(&b, PEV_HEARTBEAT, 0);
		primary_bed_feed(&b, PEV_ACK, n++);
		assert_int_equal(b.p.failures, 9);
	}
	b.now = b.p.state_since_ns + 10000 * MS;
	primary_bed_feed(&b, PEV_HEARTBEAT, 0);
	epoch(&b, n);
	primary_bed_feed(&b, PEV_ACK, n);
	assert_int_equal(b.p.failures, 0);
}

/* P5: one that waited to be read says nothing of now, but that the peer is not silent. */
static void a_late_heartbeat_is_no_news(void **state)
{
	struct primary_event late = {.type = PEV_HEARTBEAT};
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	late.at_ns = b.now;
	b.now += 500 * MS;
	primary_bed_step(&b, &late);
	assert_int_equal(b.p.state, PRIMARY_PROTECTED);
	assert_false(primary_is_protected(&b.p, b.now));
	late.at_ns = b.now;
	primary_bed_step(&b, &late);
	assert_true(primary_is_protected(&b.p, b.now));
}

/* A heartbeat in hand counts at the very last moment. */
static void heard_at_the_last_moment(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_PRIMARY_WINS, PRIMARY_LOST);
	while (b.now < b.p.peer.not_lost_ns - 50 * MS) {
		b.now += 50 * MS;
		primary_bed_feed(&b, PEV_TICK, 0);
	}
	b.now = b.p.peer.not_lost_ns;
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "");
	assert_int_equal(b.p.state, PRIMARY_LOST);
}

static void only_primary_wins_goes_alone(void **state)
{
	static const enum peer_loss_policy policies[] = {POLICY_HOLD, POLICY_PRIMARY_WINS,
							 POLICY_BACKUP_WINS};

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		bool alone = policies[i] == POLICY_PRIMARY_WINS;
		struct primary_bed b;

		bed_in(&b, policies[i], PRIMARY_LOST);
		assert_string_equal(primary_bed_wait(&b, 10000 * MS), alone ? "open-output" : "");
		assert_true(b.p.held);
		assert_int_equal(b.p.alone_decided, alone);
		assert_int_equal(b.p.state, alone ? PRIMARY_CONNECTING : PRIMARY_LOST);
		if (!alone)
			continue;
		primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0);
		assert_false(b.p.held);
		assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "");
		assert_string_equal(primary_bed_wait(&b, 10000 * MS), "connect");
		assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "start-copy");
		assert_false(b.p.alone_decided);
	}
}

/* Time in which we slept is not silence of the peer. */
static void sleep_is_not_silence(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_PRIMARY_WINS, PRIMARY_LOST);
	b.now += 60000 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "");
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_string_equal(primary_bed_wait(&b, 999 * MS), "");
	assert_string_equal(primary_bed_wait(&b, 2 * MS), "open-output");
}

/* Held output and a sleep: the late ACK still does not count. */
static void an_ack_after_a_sleep(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_BACKUP_WINS, PRIMARY_PROTECTED);
	b.now += 5000 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 1), "disconnect");
	assert_int_equal(b.p.state, PRIMARY_LOST);
}

/* ---- LOST and back ---- */

static void the_peer_comes_back(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_BACKUP_WINS, PRIMARY_LOST);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "open-output");
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "start-copy");
	assert_int_equal(b.p.state, PRIMARY_COPYING);
	assert_true(b.p.acked == EPOCH_NONE && b.p.next_epoch == 0);
}

static void the_peer_comes_back_and_goes(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_BACKUP_WINS, PRIMARY_LOST);
	primary_bed_feed(&b, PEV_LINK_UP, 0);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "");
	assert_int_equal(b.p.state, PRIMARY_CONNECTING);
}

/* While output is held each attempt counts; else the pauses grow, up to their limit. */
static void attempts_and_their_pauses(void **state)
{
	static const unsigned int pauses_ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
	struct primary_bed b;

	bed_init(&b, POLICY_HOLD, false);
	primary_bed_feed(&b, PEV_TICK, 0);
	for (size_t i = 0; i < ARRAY_SIZE(pauses_ms); i++) {
		assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "");
		assert_true(primary_next_deadline(&b.p) == b.now + pauses_ms[i] * MS);
		assert_string_equal(primary_bed_wait(&b, 6000 * MS), "connect");
	}
	bed_in(&b, POLICY_HOLD, PRIMARY_LOST);
	for (int i = 0; i < 10; i++) {
		uint64_t down = b.now;

		primary_bed_feed(&b, PEV_LINK_DOWN, 0);
		assert_string_equal(primary_bed_wait(&b, 6000 * MS), "connect");
		assert_true(b.now == down + 100 * MS);
	}
}

static void adopts_after_a_crash(void **state)
{
	struct primary_bed b;

	bed_init(&b, POLICY_BACKUP_WINS, true);
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "connect");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "open-output");
	bed_init(&b, POLICY_BACKUP_WINS, true);
	primary_bed_feed(&b, PEV_TICK, 0);
	assert_string_equal(activated(&b, TERM + 1), "destroy-guest");
	assert_string_equal(primary_bed_feed(&b, PEV_GUEST_GONE_DONE, 0), "end");
}

/* A term of the past deposes nobody; in an attempt it counts as a refusal. */
static void stale_activation(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_BACKUP_WINS, PRIMARY_LOST);
	assert_string_equal(activated(&b, TERM), "");
	assert_false(b.p.connecting);
	assert_string_equal(primary_bed_wait(&b, 200 * MS), "connect");
	bed_in(&b, POLICY_BACKUP_WINS, PRIMARY_PROTECTED);
	assert_string_equal(activated(&b, TERM), "");
	assert_int_equal(b.p.state, PRIMARY_PROTECTED);
}

/* The peer has used up a term on an activation that never ran: the session goes on with it. */
static void the_session_takes_the_higher_term(void **state)
{
	const struct primary_event up = {.type = PEV_LINK_UP, .term = TERM + 3};
	const struct primary_event ack = {.type = PEV_ACK, .epoch = 0, .term = TERM + 3};
	struct primary_bed b;

	bed_init(&b, POLICY_HOLD, false);
	primary_bed_feed(&b, PEV_TICK, 0);
	primary_bed_step(&b, &up);
	primary_bed_feed(&b, PEV_COPY_DONE, 0);
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 0);
	primary_bed_feed(&b, PEV_EPOCH_SENT, 0);
	assert_string_equal(primary_bed_step(&b, &ack), "release:0");
}

/* ---- checkpoints that fail ---- */

static void aborted_checkpoints(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	primary_bed_feed(&b, PEV_ACK, 1);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	for (int i = 0; i < 4; i++) {
		assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_ABORTED, 2), "");
		b.now = primary_next_deadline(&b.p);
		assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "checkpoint:2");
	}
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_ABORTED, 2), "send-bye:resync");
	assert_string_equal(primary_bed_feed(&b, PEV_BYE_OK, 0), "disconnect open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "");
	assert_int_equal(b.p.state, PRIMARY_CONNECTING);
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	assert_string_equal(primary_bed_wait(&b, 1000 * MS), "connect");
}

static void one_good_checkpoint_forgives(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	primary_bed_feed(&b, PEV_ACK, 1);
	for (uint64_t n = 2; n < 12; n++) {
		b.now = b.p.next_checkpoint_ns;
		primary_bed_feed(&b, PEV_TICK, 0);
		primary_bed_feed(&b, PEV_CHECKPOINT_ABORTED, n);
		primary_bed_feed(&b, PEV_HEARTBEAT, 0);
		epoch(&b, n);
		primary_bed_feed(&b, PEV_ACK, n);
	}
	assert_int_equal(b.p.state, PRIMARY_PROTECTED);
}

/* A checkpoint under way would close a lane behind an opened output. */
static void opening_waits_for_the_checkpoint(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	b.now += 50 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "checkpoint:2");
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	assert_string_equal(unprotect(&b, true), "");
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_ABORTED, 2), "open-output");

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	b.now += 100 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "connect");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 2), "open-output");
}

static void a_stuck_checkpoint_ends_the_session(void **state)
{
	struct primary_bed b;
	uint64_t since;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	primary_bed_feed(&b, PEV_ACK, 1);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	since = b.now;
	while (b.now < since + 1900 * MS) {
		b.now += 100 * MS;
		primary_bed_feed(&b, PEV_HEARTBEAT, 0);
	}
	b.now = since + 2000 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "disconnect");
}

static void a_stuck_send_ends_the_session(void **state)
{
	struct primary_bed b;
	uint64_t since;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	primary_bed_feed(&b, PEV_ACK, 1);
	b.now += 50 * MS;
	primary_bed_feed(&b, PEV_TICK, 0);
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 2);
	since = b.now;
	while (b.now < since + 9900 * MS) {
		b.now += 100 * MS;
		assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "");
	}
	b.now = since + 10000 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "disconnect");
}

/* ---- the guest is slowed ---- */

static const char *dirty(struct primary_bed *b, uint32_t pages)
{
	const struct primary_event ev = {
		.type = PEV_CHECKPOINT_TAKEN, .epoch = b->p.next_epoch, .pages = pages};
	static char said[256];

	b->now = b->p.next_checkpoint_ns;
	primary_bed_feed(b, PEV_HEARTBEAT, 0);
	assert_true(b->p.checkpointing);
	snprintf(said, sizeof(said), "%s", primary_bed_step(b, &ev));
	primary_bed_feed(b, PEV_EPOCH_SENT, b->p.taken);
	primary_bed_feed(b, PEV_ACK, b->p.sent);
	return said;
}

static void throttled_in_steps(void **state)
{
	static const char *const steps[] = {"throttle:70", "throttle:50",
					    "throttle:35", "throttle:25",
					    "throttle:18", "throttle:13",
					    "throttle:10", ""};
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	primary_bed_feed(&b, PEV_ACK, 1);
	assert_string_equal(dirty(&b, ARENA / 2), "");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		assert_string_equal(dirty(&b, ARENA / 2 + 1), steps[i]);
	for (int i = 0; i < 31; i++)
		assert_string_equal(dirty(&b, ARENA / 4 - 1), "");
	assert_string_equal(dirty(&b, ARENA / 4 - 1), "throttle:13");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "throttle:100");
}

/* An epoch did not fit: the new session begins with the cap that the old one should have had. */
static void overflow_starts_slower(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
	assert_string_equal(feed_leave(&b, PEV_GUEST_EVENT, LEAVE_RESYNC), "send-bye:resync");
	primary_bed_feed(&b, PEV_BYE_OK, 0);
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0);
	primary_bed_wait(&b, 1000 * MS);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "start-copy");
	assert_string_equal(primary_bed_feed(&b, PEV_COPY_DONE, 0), "throttle:70 checkpoint:0");
}

/* ---- leaving ---- */

static void bye_without_an_answer(void **state)
{
	struct primary_bed b;
	uint64_t since;

	bed_in(&b, POLICY_HOLD, PRIMARY_LEAVING);
	since = b.now;
	while (b.now < since + 9950 * MS) {
		b.now += 50 * MS;
		assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "");
	}
	b.now = since + 10000 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "disconnect");
	assert_int_equal(b.p.state, PRIMARY_LOST);
	/* The wish is not forgotten: as soon as the peer confirms, it is done. */
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	assert_string_equal(primary_bed_wait(&b, 1000 * MS), "connect");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "send-bye:unprotect end");
}

static void force_needs_no_answer(void **state)
{
	struct primary_bed b;

	/* The peer is there: it is asked first. */
	bed_in(&b, POLICY_BACKUP_WINS, PRIMARY_PROTECTED);
	assert_string_equal(unprotect(&b, true), "send-bye:unprotect");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "end");
	/* Asked again, or without a peer: the operator's word is enough. */
	bed_in(&b, POLICY_BACKUP_WINS, PRIMARY_LEAVING);
	assert_string_equal(unprotect(&b, true), "open-output");
	bed_in(&b, POLICY_BACKUP_WINS, PRIMARY_LOST);
	assert_string_equal(unprotect(&b, false), "");
	assert_string_equal(unprotect(&b, true), "open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "end");
}

static void the_guest_outweighs_the_operator(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_LEAVING);
	feed_leave(&b, PEV_GUEST_EVENT, LEAVE_GUEST_CRASH);
	unprotect(&b, false);
	primary_bed_feed(&b, PEV_BYE_OK, 0);
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0),
			    "end-guest:guest-crash end");
}

static void why_the_guest_ends(void **state)
{
	static const struct {
		enum leave_reason leave;
		const char *bye;
		const char *end;
	} cases[] = {
		{LEAVE_GUEST_SHUTDOWN, "send-bye:guest-shutdown", "end-guest:guest-shutdown end"},
		{LEAVE_GUEST_CRASH, "send-bye:guest-crash", "end-guest:guest-crash end"},
		{LEAVE_GUEST_DESTROYED, "send-bye:guest-destroyed", "end"},
		{LEAVE_GUEST_SUSPENDED, "send-bye:guest-suspended", "end"},
		{LEAVE_GUEST_CHANGED, "send-bye:guest-changed", ""},
		{LEAVE_RESYNC, "send-bye:resync", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct primary_bed b;

		bed_in(&b, POLICY_HOLD, PRIMARY_PROTECTED);
		assert_string_equal(feed_leave(&b, PEV_GUEST_EVENT, cases[i].leave), cases[i].bye);
		primary_bed_feed(&b, PEV_BYE_OK, 0);
		assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), cases[i].end);
	}
}

/* An operator who wants out while the way back is being prepared. */
static void unprotect_while_opening(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_LOST);
	primary_bed_feed(&b, PEV_LINK_UP, 0);
	assert_string_equal(unprotect(&b, false), "");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "send-bye:unprotect end");
}

static void deposed_while_opening(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_HOLD, PRIMARY_LOST);
	unprotect(&b, true);
	assert_string_equal(activated(&b, TERM + 1), "destroy-guest");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_GUEST_GONE_DONE, 0), "end");
}

/* P5: no heartbeat tells the standby that we wait for it once we do not. */
static void heartbeats_while_held(void **state)
{
	struct primary_bed b;

	bed_in(&b, POLICY_PRIMARY_WINS, PRIMARY_COPYING);
	assert_true(primary_heartbeats(&b.p));
	bed_in(&b, POLICY_PRIMARY_WINS, PRIMARY_LOST);
	assert_true(primary_heartbeats(&b.p));
	primary_bed_wait(&b, 2000 * MS);
	assert_false(primary_heartbeats(&b.p));
	bed_in(&b, POLICY_HOLD, PRIMARY_DEPOSED);
	assert_false(primary_heartbeats(&b.p));
}

static void names(void **state)
{
	assert_null(sm_flaw(&primary_table));
	assert_string_equal(primary_state_name((enum primary_state)99), "?");
	assert_string_equal(primary_event_name((enum primary_event_type)99), "?");
	assert_string_equal(primary_action_name((enum primary_action_type)99), "?");
	assert_string_equal(leave_reason_name((enum leave_reason)99), "?");
	for (int i = 0; i < PEV_COUNT; i++)
		assert_non_null(primary_event_name(i));
}

/* ---- disks ---- */

/* P5: nothing is counted of disks that are not in sync. */
static void disks_first(void **state)
{
	struct primary_bed b;

	bed_of(&b, POLICY_HOLD, PRIMARY_CONNECTING, true);
	assert_string_equal(primary_bed_feed(&b, PEV_DISKS_SYNCED, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "disks-sync");
	assert_string_equal(primary_bed_feed(&b, PEV_COPY_DONE, 0), "");
	assert_int_equal(b.p.state, PRIMARY_COPYING);
	assert_string_equal(primary_bed_feed(&b, PEV_DISKS_SYNCED, 0), "start-copy");
	assert_string_equal(primary_bed_feed(&b, PEV_DISKS_SYNCED, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_COPY_DONE, 0), "checkpoint:0");
	/* The next session begins with them again. */
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "disks-leave");
	assert_string_equal(primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 0), "");
	primary_bed_wait(&b, 200 * MS);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "disks-sync");
	assert_string_equal(primary_bed_feed(&b, PEV_COPY_DONE, 0), "");
}

/* The guest goes on, protection does not. Of what is not in the stream nothing more is heard. */
static void a_disk_drops_out(void **state)
{
	static const char *const said[PRIMARY_ENDED + 1] = {
		[PRIMARY_COPYING] = "disconnect disks-leave",
		[PRIMARY_SYNCING] = "send-bye:resync disks-leave",
		[PRIMARY_PROTECTED] = "send-bye:resync disks-leave",
	};

	for (int s = 0; s <= PRIMARY_ENDED; s++) {
		struct primary_bed b;

		bed_of(&b, POLICY_HOLD, s, true);
		assert_string_equal(primary_bed_feed(&b, PEV_DISK_DROPPED, 0),
				    said[s] ? said[s] : "");
		assert_string_equal(primary_bed_feed(&b, PEV_DISK_DROPPED, 0), "");
		assert_false(primary_is_protected(&b.p, b.now));
	}
}

/* P4: whatever ends the session, nobody waits for it any more. */
static void the_disks_hear_of_every_end(void **state)
{
	struct primary_bed b;

	bed_of(&b, POLICY_HOLD, PRIMARY_COPYING, true);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "disks-leave");
	bed_of(&b, POLICY_HOLD, PRIMARY_COPYING, true);
	assert_string_equal(primary_bed_wait(&b, 2000 * MS), "disconnect disks-leave");
	bed_of(&b, POLICY_HOLD, PRIMARY_COPYING, true);
	assert_string_equal(feed_leave(&b, PEV_COPY_FAILED, LEAVE_RESYNC),
			    "disconnect disks-leave");
	bed_of(&b, POLICY_HOLD, PRIMARY_COPYING, true);
	assert_string_equal(unprotect(&b, false), "send-bye:unprotect disks-leave end");
	bed_of(&b, POLICY_HOLD, PRIMARY_PROTECTED, true);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "disks-leave");
	bed_of(&b, POLICY_HOLD, PRIMARY_PROTECTED, true);
	assert_string_equal(unprotect(&b, false), "send-bye:unprotect disks-leave");
	assert_string_equal(primary_bed_feed(&b, PEV_BYE_OK, 0), "disconnect open-output");
	bed_of(&b, POLICY_HOLD, PRIMARY_PROTECTED, true);
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 7), "disconnect disks-leave");
	/* Deposed: they become OUTDATED with the guest's end. */
	bed_of(&b, POLICY_HOLD, PRIMARY_PROTECTED, true);
	assert_string_equal(activated(&b, TERM + 1), "disconnect destroy-guest");
}

/* P4: with somebody to run it from an epoch before the error, the guest does not see it. */
static void an_error_hands_the_vm_over(void **state)
{
	struct primary_bed b;

	bed_of(&b, POLICY_HOLD, PRIMARY_PROTECTED, true);
	primary_bed_feed(&b, PEV_ACK, 1);
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_ERROR, 0), "send-handover:1");
	assert_int_equal(b.p.state, PRIMARY_HANDING);
	assert_false(primary_is_protected(&b.p, b.now));
	assert_true(primary_heartbeats(&b.p));
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_ERROR, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_DROPPED, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_ACK, 2), ""); /* P3: it may run there by now */
	assert_string_equal(primary_bed_feed(&b, PEV_BYE_OK, 0), "");
	assert_string_equal(feed_leave(&b, PEV_GUEST_EVENT, LEAVE_GUEST_CHANGED), "");
	assert_string_equal(activated(&b, TERM + 1), "disconnect destroy-guest");
	assert_string_equal(primary_bed_feed(&b, PEV_GUEST_GONE_DONE, 0), "end");
}

/* With nobody to hand it to the guest gets its error, at once. */
static void an_error_without_protection(void **state)
{
	struct primary_bed b;

	bed_of(&b, POLICY_HOLD, PRIMARY_COPYING, true);
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_ERROR, 0), "disconnect disks-leave");
	bed_of(&b, POLICY_HOLD, PRIMARY_SYNCING, true);
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_ERROR, 0), "send-bye:resync disks-leave");
	bed_of(&b, POLICY_HOLD, PRIMARY_LOST, true);
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_ERROR, 0), "");
}

/* ... or after a bounded time, when the peer does not take it. */
static void a_handover_fails(void **state)
{
	struct primary_bed b;

	bed_of(&b, POLICY_HOLD, PRIMARY_HANDING, true);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "disks-leave");
	assert_int_equal(b.p.state, PRIMARY_LOST);
	primary_bed_wait(&b, 200 * MS);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "open-output");
	assert_false(b.p.handed);
	bed_of(&b, POLICY_HOLD, PRIMARY_HANDING, true);
	assert_string_equal(primary_bed_wait(&b, 2000 * MS), "disconnect disks-leave");
	/* A peer that lives and does nothing. */
	bed_of(&b, POLICY_HOLD, PRIMARY_HANDING, true);
	for (int i = 0; i < 99; i++) {
		b.now += 100 * MS;
		assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "");
	}
	b.now += 100 * MS;
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "disconnect disks-leave");
}

/* P3: it may run where nobody hears of it; silence decides nothing any more, and a crash changes nothing. */
static void who_handed_over_never_goes_alone(void **state)
{
	struct primary_conf conf = {.policy = POLICY_PRIMARY_WINS, .adopt = true};
	struct primary_bed b;

	bed_of(&b, POLICY_PRIMARY_WINS, PRIMARY_PROTECTED, true);
	assert_string_equal(primary_bed_feed(&b, PEV_DISK_ERROR, 0),
			    "persist-handover:1 send-handover:0");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "disks-leave");
	assert_string_equal(primary_bed_wait(&b, 60000 * MS), "connect");
	assert_string_equal(primary_bed_wait(&b, 60000 * MS), "");
	assert_true(b.p.held && b.p.state == PRIMARY_LOST);
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_UP, 0), "persist-handover:0 open-output");
	for (int handed = 0; handed < 2; handed++) {
		conf.handed = handed;
		primary_bed_start(&b, conf, show);
		assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "connect");
		assert_string_equal(primary_bed_wait(&b, 60000 * MS), handed ? "" : "open-output");
	}
}

static void the_operator_ends_a_handover(void **state)
{
	struct primary_bed b;

	bed_of(&b, POLICY_HOLD, PRIMARY_HANDING, true);
	assert_string_equal(unprotect(&b, false), "");
	assert_int_equal(b.p.state, PRIMARY_HANDING);
	assert_string_equal(unprotect(&b, true), "disconnect disks-leave open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "end");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_first),
		cmocka_unit_test(a_disk_drops_out),
		cmocka_unit_test(the_disks_hear_of_every_end),
		cmocka_unit_test(an_error_hands_the_vm_over),
		cmocka_unit_test(an_error_without_protection),
		cmocka_unit_test(a_handover_fails),
		cmocka_unit_test(who_handed_over_never_goes_alone),
		cmocka_unit_test(the_operator_ends_a_handover),
		cmocka_unit_test(every_state_gets_every_event),
		cmocka_unit_test(the_end_is_quiet),
		cmocka_unit_test(a_whole_life),
		cmocka_unit_test(paced_from_start_to_start),
		cmocka_unit_test(outstanding_is_bounded),
		cmocka_unit_test(pressure_hurries),
		cmocka_unit_test(a_false_ack_ends_the_session),
		cmocka_unit_test(an_ack_before_its_time),
		cmocka_unit_test(a_late_ack_is_no_ack),
		cmocka_unit_test(leases_follow_each_other),
		cmocka_unit_test(silence),
		cmocka_unit_test(silence_in_the_first_copy),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(a_good_session_forgives),
		cmocka_unit_test(a_late_heartbeat_is_no_news),
		cmocka_unit_test(heard_at_the_last_moment),
		cmocka_unit_test(only_primary_wins_goes_alone),
		cmocka_unit_test(sleep_is_not_silence),
		cmocka_unit_test(an_ack_after_a_sleep),
		cmocka_unit_test(the_peer_comes_back),
		cmocka_unit_test(the_peer_comes_back_and_goes),
		cmocka_unit_test(attempts_and_their_pauses),
		cmocka_unit_test(adopts_after_a_crash),
		cmocka_unit_test(stale_activation),
		cmocka_unit_test(the_session_takes_the_higher_term),
		cmocka_unit_test(aborted_checkpoints),
		cmocka_unit_test(one_good_checkpoint_forgives),
		cmocka_unit_test(opening_waits_for_the_checkpoint),
		cmocka_unit_test(a_stuck_checkpoint_ends_the_session),
		cmocka_unit_test(a_stuck_send_ends_the_session),
		cmocka_unit_test(throttled_in_steps),
		cmocka_unit_test(overflow_starts_slower),
		cmocka_unit_test(bye_without_an_answer),
		cmocka_unit_test(force_needs_no_answer),
		cmocka_unit_test(the_guest_outweighs_the_operator),
		cmocka_unit_test(why_the_guest_ends),
		cmocka_unit_test(unprotect_while_opening),
		cmocka_unit_test(deposed_while_opening),
		cmocka_unit_test(heartbeats_while_held),
		cmocka_unit_test(names),
	};

	return RUN_TESTS("primary", tests);
}
