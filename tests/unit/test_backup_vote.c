/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup under policy arbiter: when it asks, what an answer may do, what it never does. */
#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>

#include "replicator/backup.h"
#include "tests/lib/core_bed.h"

#define START BED_START
#define TERM BED_TERM

static int show(const struct backup_action *a, char *out, size_t size)
{
	if (a->type == BACT_PERSIST_TERM || a->type == BACT_ASK_VOTE)
		return snprintf(out, size, ":%d", (int)a->term);
	if (a->type == BACT_ANSWER)
		return snprintf(out, size, ":%d:t%d", a->why, (int)a->term);
	return 0;
}

static const char *vote(struct backup_bed *t, enum vote v, uint64_t asked, uint64_t term)
{
	const struct backup_event ev = {.type = BEV_VOTE, .vote = v, .asked = asked, .term = term};

	return backup_bed_step(t, &ev);
}

static const char *failover(struct backup_bed *t, bool force)
{
	const struct backup_event ev = {.type = BEV_FAILOVER, .force = force};

	return backup_bed_step(t, &ev);
}

static void bed_init(struct backup_bed *t)
{
	backup_bed_start(t, (struct backup_conf){.policy = POLICY_ARBITER}, show);
}

static void epoch(struct backup_bed *t, uint64_t n)
{
	backup_bed_feed(t, BEV_EPOCH_COMPLETE, n);
	backup_bed_feed(t, BEV_APPLIED, n);
	assert_true(t->b.applied == n);
}

static void bed_in(struct backup_bed *t, enum backup_state state)
{
	bed_init(t);
	if (state == BACKUP_WAITING)
		return;
	backup_bed_feed(t, BEV_HELLO, 0);
	if (state == BACKUP_BUILDING)
		return;
	epoch(t, 0);
	epoch(t, 1);
	if (state == BACKUP_ACTIVATING || state == BACKUP_ACTIVE) {
		failover(t, true);
		vote(t, VOTE_GRANTED, TERM + 1, TERM + 1);
	}
	if (state == BACKUP_ACTIVE) {
		backup_bed_wait(t, 2000 * MS);
		backup_bed_feed(t, BEV_BUILT, 0);
		backup_bed_feed(t, BEV_ACTIVATED, 0);
	}
	if (state == BACKUP_ABANDONING || state == BACKUP_ENDED)
		backup_bed_feed(t, BEV_BYE, 0);
	if (state == BACKUP_ENDED)
		backup_bed_feed(t, BEV_ABANDONED, 0);
	assert_int_equal(t->b.state, state);
}

/* The primary is silent, the link is gone, the question is under way. */
static void bed_asking(struct backup_bed *t)
{
	bed_in(t, BACKUP_STANDING);
	assert_string_equal(backup_bed_feed(t, BEV_LINK_DOWN, 0), "drop-partial");
	assert_string_equal(backup_bed_wait(t, 5000 * MS), "persist-term:8 ask-vote:8");
	assert_true(t->now == START + 1000 * MS);
}

/* ---- */

static void only_who_asks_is_answered(void **state)
{
	static const enum vote votes[] = {VOTE_UNKNOWN, VOTE_GRANTED, VOTE_REFUSED};

	for (int s = 0; s <= BACKUP_ENDED; s++) {
		for (size_t v = 0; v < ARRAY_SIZE(votes); v++) {
			struct backup_bed t;

			bed_in(&t, s);
			assert_string_equal(vote(&t, votes[v], TERM + 1, TERM + 1), "");
			assert_int_equal(t.b.state, s);
			assert_false(t.b.outvoted);
		}
	}
}

static void granted(void **state)
{
	struct backup_bed t;

	bed_asking(&t);
	assert_string_equal(backup_bed_wait(&t, 60000 * MS), "");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "persist-term:8 activate");
	assert_true(t.b.term == TERM + 1);
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "");
}

static void refused(void **state)
{
	struct backup_bed t;

	bed_asking(&t);
	assert_true(backup_heartbeats(&t.b));
	assert_string_equal(vote(&t, VOTE_REFUSED, TERM + 1, TERM + 1), "");
	assert_int_equal(t.b.state, BACKUP_STANDING);
	assert_true(t.b.outvoted);
	/* It falls silent, so that who has the vote uses it. */
	assert_false(backup_heartbeats(&t.b));
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_string_equal(backup_bed_wait(&t, 60000 * MS), "");
	assert_string_equal(failover(&t, false), "answer:7:t8");
	assert_string_equal(backup_bed_feed(&t, BEV_SUPERSEDE, 0), "abandon");
}

static void unknown_is_asked_again(void **state)
{
	struct backup_bed t;

	bed_asking(&t);
	assert_string_equal(vote(&t, VOTE_UNKNOWN, TERM + 1, 0), "");
	assert_string_equal(backup_bed_wait(&t, 999 * MS), "");
	assert_string_equal(backup_bed_wait(&t, 1 * MS), "persist-term:8 ask-vote:8");
	t.now += 1500 * MS;
	assert_string_equal(vote(&t, VOTE_UNKNOWN, TERM + 1, 0), "persist-term:8 ask-vote:8");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "persist-term:8 activate");
}

static void heard_before_the_answer(void **state)
{
	struct backup_bed t;

	bed_asking(&t);
	assert_string_equal(backup_bed_feed(&t, BEV_HEARTBEAT, 0), "");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_int_equal(t.b.state, BACKUP_STANDING);
	assert_string_equal(backup_bed_wait(&t, 999 * MS), "");
	assert_string_equal(backup_bed_wait(&t, 2 * MS), "persist-term:8 ask-vote:8");
}

/* A superseded standby has used the term up; its successor is told (backup_conf.term). */
static void superseded_before_the_answer(void **state)
{
	struct backup_bed t;

	bed_asking(&t);
	assert_string_equal(backup_bed_feed(&t, BEV_SUPERSEDE, 0), "abandon");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_int_equal(t.b.state, BACKUP_ABANDONING);
}

/* The primary leaves while the question is under way: it hears what was used up. */
static void left_before_the_answer(void **state)
{
	struct backup_bed t;

	bed_in(&t, BACKUP_STANDING);
	assert_string_equal(failover(&t, true), "persist-term:8 ask-vote:8");
	assert_string_equal(backup_bed_feed(&t, BEV_BYE, 0), "answer:5:t7 abandon");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_string_equal(backup_bed_feed(&t, BEV_ABANDONED, 0), "bye-ok end");
	assert_int_equal(t.out.a[0].term, TERM + 1);
	bed_in(&t, BACKUP_ABANDONING);
	assert_string_equal(backup_bed_feed(&t, BEV_ABANDONED, 0), "bye-ok end");
	assert_int_equal(t.out.a[0].term, TERM);
}

static void forced(void **state)
{
	struct backup_bed t;

	/* What was acknowledged last may still be let out: not before that is over. */
	bed_in(&t, BACKUP_STANDING);
	assert_string_equal(failover(&t, true), "persist-term:8 ask-vote:8");
	t.now += 10 * MS;
	epoch(&t, 2);
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1),
			    "answer:0:t7 drop-partial persist-term:8");
	assert_int_equal(t.b.state, BACKUP_ACTIVATING);
	assert_false(backup_may_run(&t.b));
	assert_string_equal(backup_bed_feed(&t, BEV_EPOCH_COMPLETE, 3), "");
	assert_string_equal(backup_bed_wait(&t, 999 * MS), "");
	assert_string_equal(backup_bed_wait(&t, 1 * MS), "activate");
	assert_true(backup_may_run(&t.b));
	assert_true(t.now == START + 1010 * MS);

	/* His word counts where the arbiter has none, under a term that nobody can be given for this session. */
	bed_in(&t, BACKUP_STANDING);
	failover(&t, true);
	assert_string_equal(vote(&t, VOTE_UNKNOWN, TERM + 1, 0),
			    "answer:0:t7 drop-partial persist-term:9");

	/* Against a refusal it must be said again, and takes the term after. */
	bed_in(&t, BACKUP_STANDING);
	failover(&t, true);
	assert_string_equal(vote(&t, VOTE_REFUSED, TERM + 1, TERM + 3), "answer:7:t10");
	assert_int_equal(t.b.state, BACKUP_STANDING);
	assert_false(backup_is_protecting(&t.b, t.now));
	assert_string_equal(failover(&t, true), "persist-term:11 ask-vote:11");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 4, TERM + 4),
			    "answer:0:t7 drop-partial persist-term:11");
}

/* P3: a clock that jumps, before the decision or after it, ends nothing that the primary may still do. */
static void a_jump_ends_no_lease(void **state)
{
	struct backup_bed t;

	for (int late = 0; late < 2; late++) {
		bed_in(&t, BACKUP_STANDING);
		if (!late) {
			t.now += 3600000 * MS;
			assert_string_equal(backup_bed_feed(&t, BEV_HEARTBEAT, 0), "");
		}
		assert_string_equal(failover(&t, true), "persist-term:8 ask-vote:8");
		vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1);
		assert_int_equal(t.b.state, BACKUP_ACTIVATING);
		if (late) {
			assert_string_equal(backup_bed_wait(&t, 500 * MS), "");
			t.now += 3600000 * MS;
			assert_string_equal(backup_bed_feed(&t, BEV_TICK, 0), "");
		}
		assert_string_equal(backup_bed_wait(&t, 999 * MS), "");
		assert_string_equal(backup_bed_wait(&t, 1 * MS), "activate");
	}
}

static void not_forced(void **state)
{
	struct backup_bed t;

	bed_in(&t, BACKUP_STANDING);
	assert_string_equal(failover(&t, false), "answer:2:t7");

	/* It asks by itself; who wants to know hears how it went. */
	bed_asking(&t);
	assert_string_equal(failover(&t, false), "");
	assert_string_equal(vote(&t, VOTE_UNKNOWN, TERM + 1, 0),
			    "answer:6:t7 persist-term:8 ask-vote:8");
	assert_string_equal(failover(&t, false), "");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1),
			    "answer:0:t7 persist-term:8 activate");

	bed_asking(&t);
	failover(&t, false);
	backup_bed_feed(&t, BEV_HEARTBEAT, 0);
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "answer:2:t7");

	bed_asking(&t);
	failover(&t, false);
	assert_string_equal(backup_bed_feed(&t, BEV_SUPERSEDE, 0), "answer:5:t7 abandon");
}

static void handed_over(void **state)
{
	struct backup_bed t;

	bed_in(&t, BACKUP_STANDING);
	assert_string_equal(backup_bed_feed(&t, BEV_HANDOVER, 1), "persist-term:8 ask-vote:8");
	/* It lets nothing out any more: nothing has to be waited for. */
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1),
			    "drop-partial persist-term:8 activate");

	bed_in(&t, BACKUP_STANDING);
	backup_bed_feed(&t, BEV_HANDOVER, 1);
	assert_string_equal(vote(&t, VOTE_UNKNOWN, TERM + 1, 0), "");
	assert_string_equal(backup_bed_wait(&t, 500 * MS), "");
	assert_string_equal(backup_bed_feed(&t, BEV_HEARTBEAT, 0), "");
	assert_string_equal(backup_bed_wait(&t, 500 * MS), "persist-term:8 ask-vote:8");
	/* With the session ends what was handed over in it. */
	assert_string_equal(backup_bed_feed(&t, BEV_LINK_DOWN, 0), "drop-partial");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1), "");
	assert_int_equal(t.b.state, BACKUP_STANDING);

	/* Who hands over must not wait for what will not be. */
	bed_in(&t, BACKUP_STANDING);
	backup_bed_feed(&t, BEV_HANDOVER, 1);
	assert_string_equal(vote(&t, VOTE_REFUSED, TERM + 1, TERM + 1), "disconnect drop-partial");
}

/* P4: a guest that is moved stands still at the primary, which could go on with it. */
static void moved(void **state)
{
	const struct backup_event planned = {.type = BEV_HANDOVER, .epoch = 1, .planned = true};
	struct backup_bed t;

	bed_in(&t, BACKUP_STANDING);
	assert_string_equal(backup_bed_step(&t, &planned), "persist-term:8 ask-vote:8");
	assert_string_equal(vote(&t, VOTE_GRANTED, TERM + 1, TERM + 1),
			    "drop-partial persist-term:8 activate");
	assert_true(backup_heartbeats(&t.b));
	bed_in(&t, BACKUP_STANDING);
	backup_bed_step(&t, &planned);
	assert_string_equal(vote(&t, VOTE_UNKNOWN, TERM + 1, 0), "disconnect drop-partial");
	assert_int_equal(t.b.state, BACKUP_STANDING);
	assert_false(t.b.takes_over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_who_asks_is_answered),
		cmocka_unit_test(granted),
		cmocka_unit_test(refused),
		cmocka_unit_test(unknown_is_asked_again),
		cmocka_unit_test(heard_before_the_answer),
		cmocka_unit_test(superseded_before_the_answer),
		cmocka_unit_test(left_before_the_answer),
		cmocka_unit_test(forced),
		cmocka_unit_test(a_jump_ends_no_lease),
		cmocka_unit_test(not_forced),
		cmocka_unit_test(handed_over),
		cmocka_unit_test(moved),
	};

	return RUN_TESTS("backup-vote", tests);
}
