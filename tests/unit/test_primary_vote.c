/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary under policy arbiter: when it asks, what an answer may do, what it never does. */
#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "replicator/primary.h"
#include "tests/lib/core_bed.h"

#define START BED_START
#define TERM BED_TERM

static int show(const struct primary_action *a, char *out, size_t size)
{
	if (a->type == PACT_PERSIST_TERM)
		return snprintf(out, size, ":%d:%d", (int)a->term, (int)a->asked);
	if (a->type == PACT_ASK_VOTE || a->type == PACT_CONNECT)
		return snprintf(out, size, ":%d", (int)a->term);
	return 0;
}

static const char *link_up(struct primary_bed *b, uint64_t term)
{
	const struct primary_event ev = {.type = PEV_LINK_UP, .term = term};

	return primary_bed_step(b, &ev);
}

static const char *vote(struct primary_bed *b, enum vote v, uint64_t asked, uint64_t term)
{
	const struct primary_event ev = {.type = PEV_VOTE, .vote = v, .asked = asked, .term = term};

	return primary_bed_step(b, &ev);
}

static const char *unprotect(struct primary_bed *b, bool force)
{
	const struct primary_event ev = {.type = PEV_UNPROTECT, .force = force};

	return primary_bed_step(b, &ev);
}

static void bed_init(struct primary_bed *b, struct primary_conf conf)
{
	conf.policy = POLICY_ARBITER;
	primary_bed_start(b, conf, show);
}

static void bed_in(struct primary_bed *b, enum primary_state state)
{
	bed_init(b, (struct primary_conf){.disks = false});
	primary_bed_feed(b, PEV_TICK, 0);
	if (state == PRIMARY_CONNECTING)
		return;
	if (state == PRIMARY_ENDED) {
		unprotect(b, false);
		return;
	}
	link_up(b, TERM);
	if (state == PRIMARY_COPYING)
		return;
	primary_bed_feed(b, PEV_COPY_DONE, 0);
	primary_bed_feed(b, PEV_CHECKPOINT_TAKEN, 0);
	primary_bed_feed(b, PEV_EPOCH_SENT, 0);
	if (state == PRIMARY_SYNCING)
		return;
	primary_bed_feed(b, PEV_ACK, 0);
	if (state == PRIMARY_LOST)
		primary_bed_feed(b, PEV_LINK_DOWN, 0);
	if (state == PRIMARY_LEAVING)
		unprotect(b, false);
	if (state == PRIMARY_HANDING)
		primary_bed_feed(b, PEV_DISK_ERROR, 0);
	if (state == PRIMARY_DEPOSED) {
		const struct primary_event ev = {.type = PEV_PEER_ACTIVATED, .term = TERM + 1};

		primary_bed_step(b, &ev);
	}
	assert_int_equal(b->p.state, state);
}

/* LOST, silent, the question under way, no attempt to connect. */
static void bed_asking(struct primary_bed *b)
{
	bed_in(b, PRIMARY_LOST);
	assert_string_equal(primary_bed_wait(b, 200 * MS), "connect:7");
	assert_string_equal(primary_bed_wait(b, 5000 * MS), "persist-term:7:8 ask-vote:8");
}

/* ---- */

static void only_who_asks_is_answered(void **state)
{
	static const enum vote votes[] = {VOTE_UNKNOWN, VOTE_GRANTED, VOTE_REFUSED};

	for (int s = 0; s <= PRIMARY_ENDED; s++) {
		for (size_t v = 0; v < ARRAY_SIZE(votes); v++) {
			struct primary_bed b;

			bed_in(&b, s);
			assert_string_equal(vote(&b, votes[v], TERM + 1, TERM + 1), "");
			assert_int_equal(b.p.state, s);
			assert_false(b.p.outvoted);
			assert_true(b.p.conf.term == TERM || s == PRIMARY_DEPOSED);
		}
	}
}

static void asks_after_the_failure_timeout(void **state)
{
	struct primary_bed b;

	bed_in(&b, PRIMARY_LOST);
	assert_string_equal(primary_bed_wait(&b, 999 * MS), "connect:7");
	assert_true(b.now < START + 999 * MS);
	assert_string_equal(primary_bed_wait(&b, START + 999 * MS - b.now), "");
	assert_string_equal(primary_bed_wait(&b, 2 * MS), "persist-term:7:8 ask-vote:8");
	assert_true(b.p.held);
	/* One question at a time. */
	assert_string_equal(primary_bed_wait(&b, 60000 * MS), "");
}

static void granted(void **state)
{
	struct primary_bed b;

	bed_asking(&b);
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1),
			    "persist-term:8:8 open-output");
	assert_int_equal(b.p.state, PRIMARY_CONNECTING);
	assert_false(primary_heartbeats(&b.p));
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "");
	/* The next session has the new term, and is asked for the one after. */
	assert_string_equal(primary_bed_wait(&b, 10000 * MS), "connect:8");
	assert_string_equal(link_up(&b, TERM + 1), "persist-term:8:8 start-copy");
}

static void refused(void **state)
{
	struct primary_bed b;

	bed_asking(&b);
	assert_true(primary_heartbeats(&b.p));
	assert_string_equal(vote(&b, VOTE_REFUSED, TERM + 1, TERM + 1), "");
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_true(b.p.outvoted && b.p.held);
	/* It falls silent, so that who has the vote uses it. */
	assert_false(primary_heartbeats(&b.p));
	/* A refusal is for good: nothing that the arbiter says later counts in this session. */
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_string_equal(primary_bed_wait(&b, 60000 * MS), "");
	assert_string_equal(primary_bed_feed(&b, PEV_LINK_DOWN, 0), "");
	assert_string_equal(primary_bed_wait(&b, 200 * MS), "connect:8");
}

/* P4: only the peer's word destroys. */
static void outvoted_and_then(void **state)
{
	const struct primary_event gone = {.type = PEV_PEER_ACTIVATED, .term = TERM + 1};
	struct primary_bed b;

	bed_asking(&b);
	vote(&b, VOTE_REFUSED, TERM + 1, TERM + 1);
	assert_string_equal(primary_bed_step(&b, &gone), "destroy-guest");

	bed_asking(&b);
	vote(&b, VOTE_REFUSED, TERM + 1, TERM + 1);
	assert_string_equal(link_up(&b, TERM + 1), "open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0),
			    "persist-term:8:8 start-copy");
	assert_false(b.p.outvoted);
}

/* A refusal that is older than the question says nothing. */
static void an_old_refusal(void **state)
{
	struct primary_bed b;

	bed_asking(&b);
	assert_string_equal(vote(&b, VOTE_REFUSED, TERM + 1, TERM), "");
	assert_false(b.p.outvoted);
	assert_string_equal(vote(&b, VOTE_REFUSED, TERM, TERM), "");
	assert_false(b.p.outvoted);
}

/* The next question; the attempts to connect meanwhile fail. */
static void next_question(struct primary_bed *b)
{
	for (int i = 0; i < 100 && !b->p.asking; i++) {
		if (strstr(primary_bed_wait(b, 100 * MS), "connect"))
			primary_bed_feed(b, PEV_LINK_DOWN, 0);
	}
	assert_true(b->p.asking);
}

static void unknown_is_asked_again(void **state)
{
	struct primary_bed b;
	uint64_t asked;

	bed_asking(&b);
	asked = b.now;
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	vote(&b, VOTE_UNKNOWN, TERM + 1, 0);
	assert_true(b.p.held && !b.p.asking && !b.p.outvoted);
	next_question(&b);
	assert_true(b.now == asked + 1000 * MS && b.p.asked == TERM + 1);
	/* An answer that took longer than the pause is followed by the next question at once. */
	b.now += 1500 * MS;
	vote(&b, VOTE_UNKNOWN, TERM + 1, 0);
	assert_true(b.p.asking && b.p.asked == TERM + 1);
	/* A question that was given up may be answered after all. */
	assert_non_null(
		strstr(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1), "persist-term:8:8 open-output"));
}

/* The peer was heard: no need to go alone. The vote is not lost: it is asked for again, and given again. */
static void heard_before_the_answer(void **state)
{
	struct primary_bed b;

	bed_asking(&b);
	assert_string_equal(primary_bed_feed(&b, PEV_HEARTBEAT, 0), "");
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_true(b.p.conf.term == TERM);
	assert_string_equal(primary_bed_wait(&b, 999 * MS), "");
	assert_string_equal(primary_bed_wait(&b, 2 * MS), "persist-term:7:8 ask-vote:8");
}

/* ... under a new session it is of no use, and the next question is for the next term. */
static void a_new_session_before_the_answer(void **state)
{
	struct primary_bed b;

	bed_in(&b, PRIMARY_LOST);
	next_question(&b);
	assert_string_equal(primary_bed_wait(&b, 200 * MS), "connect:8");
	assert_string_equal(link_up(&b, TERM + 1), "open-output");
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0),
			    "persist-term:8:8 start-copy");
	primary_bed_feed(&b, PEV_COPY_DONE, 0);
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	next_question(&b);
	assert_true(b.p.asked == TERM + 2);
}

/* HELLO left under the old term, the vote for the new one came first: that session would not fit. */
static void an_overtaken_session(void **state)
{
	struct primary_bed b;

	bed_asking(&b);
	vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1);
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "");
	assert_string_equal(link_up(&b, TERM), "disconnect");
	assert_int_equal(b.p.state, PRIMARY_CONNECTING);
	assert_true(b.p.conf.term == TERM + 1);
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	assert_string_equal(primary_bed_wait(&b, 10000 * MS), "connect:8");

	/* Even if there is no vote yet: the peer has stood down, so the output may go. */
	bed_asking(&b);
	assert_string_equal(link_up(&b, TERM), "disconnect open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "");
	assert_int_equal(b.p.state, PRIMARY_CONNECTING);
}

/* A worker that died with a vote under way asks for the same term again. */
static void adopts_with_a_vote_under_way(void **state)
{
	struct primary_bed b;

	bed_init(&b, (struct primary_conf){.adopt = true, .asked = TERM + 1});
	assert_string_equal(primary_bed_feed(&b, PEV_TICK, 0), "connect:8");
	assert_string_equal(primary_bed_wait(&b, 5000 * MS), "persist-term:7:8 ask-vote:8");
	assert_true(b.now == START + 1000 * MS);
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1),
			    "persist-term:8:8 open-output");
}

static void the_operator_asks_first(void **state)
{
	struct primary_bed b;

	/* At once, whatever was heard. */
	bed_in(&b, PRIMARY_LOST);
	assert_string_equal(primary_bed_wait(&b, 200 * MS), "connect:7");
	assert_string_equal(unprotect(&b, true), "persist-term:7:8 ask-vote:8");
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1),
			    "persist-term:8:8 open-output");
	assert_string_equal(primary_bed_feed(&b, PEV_OUTPUT_OPENED, 0), "end");

	/* His word counts where the arbiter has none. */
	bed_in(&b, PRIMARY_LOST);
	primary_bed_wait(&b, 200 * MS);
	unprotect(&b, true);
	assert_string_equal(vote(&b, VOTE_UNKNOWN, TERM + 1, 0), "open-output");

	/* Against a refusal it must be said again, and takes the term after. */
	bed_in(&b, PRIMARY_LOST);
	primary_bed_wait(&b, 200 * MS);
	unprotect(&b, true);
	assert_string_equal(vote(&b, VOTE_REFUSED, TERM + 1, TERM + 3), "");
	assert_true(b.p.outvoted && b.p.held);
	assert_string_equal(unprotect(&b, false), "");
	assert_string_equal(unprotect(&b, true), "persist-term:7:11 ask-vote:11");
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 4, TERM + 4),
			    "persist-term:11:11 open-output");
}

static void the_operator_while_leaving(void **state)
{
	struct primary_bed b;

	bed_in(&b, PRIMARY_LEAVING);
	assert_string_equal(unprotect(&b, true), "disconnect persist-term:7:8 ask-vote:8");
	assert_int_equal(b.p.state, PRIMARY_LOST);

	bed_in(&b, PRIMARY_LEAVING);
	primary_bed_feed(&b, PEV_BYE_OK, 0);
	assert_string_equal(unprotect(&b, true), "");
	assert_int_equal(b.p.state, PRIMARY_LEAVING);
}

/* What the peer was granted and did not use must not be in the way of the next protection. */
static void a_standby_that_asked_is_left(void **state)
{
	const struct primary_event asked = {.type = PEV_BYE_OK, .term = TERM + 1};
	const struct primary_event old = {.type = PEV_BYE_OK, .term = TERM - 1};
	struct primary_bed b;

	bed_in(&b, PRIMARY_LEAVING);
	assert_string_equal(primary_bed_step(&b, &asked),
			    "persist-term:8:0 disconnect open-output");
	assert_int_equal(b.p.conf.term, TERM + 1);
	bed_in(&b, PRIMARY_LEAVING);
	assert_string_equal(primary_bed_step(&b, &old), "disconnect open-output");
	assert_int_equal(b.p.conf.term, TERM);
}

/* A VM that was handed over: the vote says who has it. */
static void a_handover_comes_to_nothing(void **state)
{
	struct primary_bed b;

	bed_in(&b, PRIMARY_HANDING);
	primary_bed_feed(&b, PEV_LINK_DOWN, 0);
	assert_int_equal(b.p.state, PRIMARY_LOST);
	assert_string_equal(primary_bed_wait(&b, 200 * MS), "connect:7");
	assert_string_equal(primary_bed_wait(&b, 5000 * MS), "persist-term:7:8 ask-vote:8");
	assert_string_equal(vote(&b, VOTE_GRANTED, TERM + 1, TERM + 1),
			    "persist-term:8:8 open-output");
}

static void a_release_has_an_end(void **state)
{
	const uint64_t lease = 900 * MS;
	struct primary_bed b;

	bed_in(&b, PRIMARY_SYNCING);
	primary_bed_feed(&b, PEV_ACK, 0);
	assert_int_equal(b.out.a[0].type, PACT_RELEASE);
	assert_true(b.out.a[0].until_ns == UINT64_MAX);
	b.now = b.p.next_checkpoint_ns;
	primary_bed_feed(&b, PEV_TICK, 0);
	primary_bed_feed(&b, PEV_CHECKPOINT_TAKEN, 1);
	primary_bed_feed(&b, PEV_EPOCH_SENT, 1);
	b.now += 10 * MS;
	primary_bed_feed(&b, PEV_ACK, 1);
	assert_int_equal(b.out.a[0].type, PACT_RELEASE);
	assert_true(b.out.a[0].until_ns == b.now - 10 * MS + lease);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_who_asks_is_answered),
		cmocka_unit_test(asks_after_the_failure_timeout),
		cmocka_unit_test(granted),
		cmocka_unit_test(refused),
		cmocka_unit_test(outvoted_and_then),
		cmocka_unit_test(an_old_refusal),
		cmocka_unit_test(unknown_is_asked_again),
		cmocka_unit_test(heard_before_the_answer),
		cmocka_unit_test(a_new_session_before_the_answer),
		cmocka_unit_test(an_overtaken_session),
		cmocka_unit_test(adopts_with_a_vote_under_way),
		cmocka_unit_test(the_operator_asks_first),
		cmocka_unit_test(the_operator_while_leaving),
		cmocka_unit_test(a_standby_that_asked_is_left),
		cmocka_unit_test(a_handover_comes_to_nothing),
		cmocka_unit_test(a_release_has_an_end),
	};

	return RUN_TESTS("primary-vote", tests);
}
