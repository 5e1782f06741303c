/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a decision is said to be based on: the real cores are stepped, and what is told about the step is compared word
 * for word, for it is what an operator gets to read.
 */
#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "replicator/story.h"

#define MS UINT64_C(1000000)
#define START (UINT64_C(1000) * MS)
#define WALL_US UINT64_C(1795694400000000) /* 2026-11-26T12:00:00Z, at START */
#define TERM 7

struct bed {
	struct primary p;
	struct backup b;
	struct story story;
	struct event ev;
	struct event last; /* that was told */
	const struct vote_answer *said;
	uint64_t now;
	bool told;
	char texts[4096]; /* "kind: text\n" of each that was told since the last look */
};

static void note(struct bed *b)
{
	size_t n = strlen(b->texts);

	if (b->told) {
		b->last = b->ev;
		snprintf(b->texts + n, sizeof(b->texts) - n, "%s: %s\n", b->ev.kind, b->ev.text);
	}
}

static const char *told(struct bed *b)
{
	static char text[sizeof(b->texts)];

	memcpy(text, b->texts, sizeof(text));
	b->texts[0] = '\0';
	return text;
}

static void stamp(struct bed *b)
{
	b->ev.at_ns = b->now;
	b->ev.wall_us = WALL_US + (b->now - START) / 1000;
}

static void step(struct bed *b, const struct primary_event *cause)
{
	struct primary was = b->p;
	struct primary_actions out;

	primary_step(&b->p, b->now, cause, &out);
	for (int i = 0; i < 2; i++) {
		stamp(b);
		/* An answer comes before what comes of it, a question after what led to it; as the shells do it. */
		if ((i == 0) == (cause->type == PEV_VOTE))
			b->told =
				story_primary_vote(&b->story, &was, &b->p, cause, b->said, &b->ev);
		else
			b->told = story_primary(&b->story, &was, &b->p, cause, &b->ev);
		note(b);
	}
}

static void feed(struct bed *b, enum primary_event_type type, uint64_t epoch)
{
	const struct primary_event ev = {.type = type, .epoch = epoch, .term = TERM, .pages = 10};

	step(b, &ev);
}

static void feed_backup(struct bed *b, const struct backup_event *cause)
{
	struct backup was = b->b;
	struct backup_actions out;

	backup_step(&b->b, b->now, cause, &out);
	for (int i = 0; i < 2; i++) {
		stamp(b);
		if ((i == 0) == (cause->type == BEV_VOTE))
			b->told = story_backup_vote(&b->story, &was, &b->b, cause, b->said, &b->ev);
		else
			b->told = story_backup(&b->story, &was, &b->b, cause, &b->ev);
		note(b);
	}
}

static void derive(struct timing *t)
{
	const struct timing_conf tc = {.heartbeat_period_ns = 100 * MS,
				       .failure_timeout_ns = 1000 * MS,
				       .epoch_period_ns = 50 * MS};

	timing_derive(t, &tc);
}

static void begin(struct bed *b, enum peer_loss_policy policy)
{
	struct primary_conf pc = {
		.policy = policy, .term = TERM, .arena_pages = 1000, .max_outstanding = 3};

	*b = (struct bed){.now = START};
	derive(&pc.timing);
	primary_init(&b->p, &pc, b->now);
	feed(b, PEV_TICK, 0);
}

/* To PROTECTED with epoch 1 sent and not acknowledged; the peer was heard at START. */
static void protect(struct bed *b, enum peer_loss_policy policy)
{
	begin(b, policy);
	feed(b, PEV_LINK_UP, 0);
	feed(b, PEV_COPY_DONE, 0);
	feed(b, PEV_CHECKPOINT_TAKEN, 0);
	feed(b, PEV_EPOCH_SENT, 0);
	feed(b, PEV_ACK, 0);
	assert_int_equal(b->p.state, PRIMARY_PROTECTED);
	b->now += 50 * MS;
	feed(b, PEV_HEARTBEAT, 0);
	feed(b, PEV_TICK, 0);
	feed(b, PEV_CHECKPOINT_TAKEN, 1);
	feed(b, PEV_EPOCH_SENT, 1);
}

static void until_lost(struct bed *b, bool heard)
{
	for (int i = 0; i < 30 && b->p.state == PRIMARY_PROTECTED; i++) {
		b->now += 50 * MS;
		feed(b, heard ? PEV_HEARTBEAT : PEV_TICK, 0);
	}
	assert_int_equal(b->p.state, PRIMARY_LOST);
}

static uint64_t fact(const struct event *ev, const char *key)
{
	for (unsigned int i = 0; i < ev->n_facts; i++) {
		if (!strcmp(ev->fact[i].key, key) && !ev->fact[i].is_text)
			return ev->fact[i].n;
	}
	fail_msg("no fact %s", key);
	return 0;
}

static const char *fact_text(const struct event *ev, const char *key)
{
	for (unsigned int i = 0; i < ev->n_facts; i++) {
		if (!strcmp(ev->fact[i].key, key) && ev->fact[i].is_text)
			return ev->fact[i].text;
	}
	fail_msg("no fact %s", key);
	return "";
}

/* ---- primary ---- */

static void the_way_to_protection(void **state)
{
	struct bed b;

	protect(&b, POLICY_HOLD);
	assert_string_equal(
		told(&b),
		"copying: connecting -> copying on link-up\n"
		"syncing: copying -> syncing on copy-done\n"
		"protected: syncing -> protected on ack: the backup holds epoch 0, output "
		"is released epoch by epoch\n");
}

static void epochs_and_heartbeats_are_no_news(void **state)
{
	struct bed b;

	protect(&b, POLICY_HOLD);
	told(&b);
	for (int i = 1; i < 100; i++) {
		b.now += 50 * MS;
		feed(&b, PEV_HEARTBEAT, 0);
		feed(&b, PEV_ACK, (uint64_t)i);
		feed(&b, PEV_TICK, 0);
		feed(&b, PEV_CHECKPOINT_TAKEN, (uint64_t)i + 1);
		feed(&b, PEV_EPOCH_SENT, (uint64_t)i + 1);
	}
	assert_string_equal(told(&b), "");
}

static void lost_by_the_lease(void **state)
{
	struct bed b;

	protect(&b, POLICY_BACKUP_WINS);
	told(&b);
	until_lost(&b, true);
	assert_string_equal(
		told(&b),
		"lost: the oldest epoch sent was not acknowledged for 0.90 s (lease 0.90 s); last heartbeat at "
		"2026-11-26T12:00:00.900000Z; epoch 0 acknowledged, epoch 1 taken, policy backup-wins -> "
		"output held: the backup may run the VM\n");
	assert_int_equal(b.last.flight, EVENT_FLIGHT);
	assert_int_equal(fact(&b.last, "acked"), 0);
	assert_int_equal(fact(&b.last, "sent"), 1);
	assert_int_equal(fact(&b.last, "unacked_ms"), 900);
	assert_int_equal(fact(&b.last, "term"), TERM);
	assert_string_equal(fact_text(&b.last, "output"), "held");
	assert_string_equal(fact_text(&b.last, "from"), "protected");
}

static void lost_by_the_connection(void **state)
{
	struct bed b;

	protect(&b, POLICY_HOLD);
	told(&b);
	b.now += 20 * MS;
	feed(&b, PEV_LINK_DOWN, 0);
	assert_string_equal(
		told(&b),
		"lost: the connection to the backup ended; last heartbeat at 2026-11-26T12:00:00.050000Z; epoch "
		"0 acknowledged, epoch 1 taken, policy hold -> output held until both hosts talk again or "
		"somebody decides\n");
}

static void alone_after_silence(void **state)
{
	struct bed b;

	protect(&b, POLICY_PRIMARY_WINS);
	told(&b);
	b.now += 20 * MS;
	feed(&b, PEV_LINK_DOWN, 0);
	assert_string_equal(
		told(&b),
		"lost: the connection to the backup ended; last heartbeat at 2026-11-26T12:00:00.050000Z; epoch "
		"0 acknowledged, epoch 1 taken, policy primary-wins -> output held until the failure timeout "
		"has passed\n");
	for (int i = 0; i < 30 && !b.p.alone_decided; i++) {
		b.now += 50 * MS;
		feed(&b, PEV_TICK, 0);
	}
	assert_true(b.p.alone_decided);
	assert_string_equal(
		told(&b),
		"alone: backup silent for 1.02 s (failure timeout 1.00 s), last heartbeat at "
		"2026-11-26T12:00:00.050000Z, policy primary-wins -> output is opened, the VM "
		"goes on here alone\n");
	feed(&b, PEV_OUTPUT_OPENED, 0);
	assert_non_null(strstr(told(&b), "output-open: "));
}

static void deposed(void **state)
{
	const struct primary_event ev = {.type = PEV_PEER_ACTIVATED, .term = TERM + 1};
	struct bed b;

	protect(&b, POLICY_BACKUP_WINS);
	told(&b);
	step(&b, &ev);
	assert_string_equal(
		told(&b),
		"deposed: the backup runs the VM under term 8, ours was 7; epoch 0 acknowledged -> the copy "
		"here is destroyed, what it sent since is not let out\n");
	assert_int_equal(b.last.flight, EVENT_FLIGHT);
	assert_int_equal(fact(&b.last, "peer_term"), TERM + 1);
}

static void a_link_that_flaps_is_told_seldom(void **state)
{
	struct bed b;
	int doubts = 0;

	protect(&b, POLICY_HOLD);
	told(&b);
	for (int i = 1; i < 400; i++) {
		b.now += 50 * MS;
		/* 250 ms of silence in each half second. */
		if (i % 10 < 5)
			feed(&b, PEV_HEARTBEAT, 0);
		feed(&b, PEV_ACK, (uint64_t)i);
		feed(&b, PEV_TICK, 0);
		feed(&b, PEV_CHECKPOINT_TAKEN, (uint64_t)i + 1);
		feed(&b, PEV_EPOCH_SENT, (uint64_t)i + 1);
		doubts += strstr(told(&b), "suspect: ") != NULL;
	}
	assert_int_equal(b.p.state, PRIMARY_PROTECTED);
	assert_int_equal(doubts, 2);
}

static void the_operator_ends_it(void **state)
{
	const struct primary_event force = {.type = PEV_UNPROTECT, .force = true};
	struct bed b;

	protect(&b, POLICY_HOLD);
	told(&b);
	feed(&b, PEV_UNPROTECT, 0);
	assert_string_equal(told(&b),
			    "leaving: protected -> leaving on unprotect: protection is left "
			    "(unprotect); epoch 0 acknowledged\n");
	step(&b, &force);
	assert_string_equal(told(&b),
			    "unprotect: the operator ends protection, by force: without the "
			    "backup's word\n");
}

/* ---- backup ---- */

static void stand_by(struct bed *b, enum peer_loss_policy policy)
{
	struct backup_conf bc = {.policy = policy, .term = 1};
	const struct backup_event hello = {.type = BEV_HELLO, .term = 1};
	struct backup_event ev = {.type = BEV_EPOCH_COMPLETE, .term = 1};

	*b = (struct bed){.now = START};
	derive(&bc.timing);
	backup_init(&b->b, &bc, b->now);
	feed_backup(b, &hello);
	for (ev.epoch = 0; ev.epoch < 124; ev.epoch++) {
		const struct backup_event applied = {.type = BEV_APPLIED, .epoch = ev.epoch};

		feed_backup(b, &ev);
		feed_backup(b, &applied);
	}
	assert_int_equal(b->b.state, BACKUP_STANDING);
	assert_string_equal(told(b), "building: waiting -> building: no epoch committed\n"
				     "standing: building -> standing: epoch 0 committed\n");
}

static void silence(struct bed *b)
{
	const struct backup_event heard = {.type = BEV_HEARTBEAT, .term = 1};
	const struct backup_event tick = {.type = BEV_TICK};

	feed_backup(b, &heard);
	for (int i = 0; i < 17; i++) {
		b->now += 60 * MS;
		feed_backup(b, &tick);
	}
}

static void it_activates(void **state)
{
	struct bed b;

	stand_by(&b, POLICY_BACKUP_WINS);
	silence(&b);
	assert_string_equal(
		told(&b),
		"activating: primary silent for 1.02 s (failure timeout 1.00 s), last heartbeat "
		"at 2026-11-26T12:00:00.000000Z, policy backup-wins, epoch 123 committed, term 2 "
		"-> activating\n");
	assert_int_equal(b.last.flight, EVENT_FLIGHT);
	assert_int_equal(fact(&b.last, "committed"), 123);
	assert_int_equal(fact(&b.last, "silent_ms"), 1020);
	assert_string_equal(fact_text(&b.last, "last_heard"), "2026-11-26T12:00:00.000000Z");
	feed_backup(&b, &(const struct backup_event){.type = BEV_BUILT});
	assert_string_equal(told(&b),
			    "let-run: the standby is complete, epoch 123 committed; it is "
			    "let run under term 2\n");
	feed_backup(&b, &(const struct backup_event){.type = BEV_ACTIVATED});
	assert_string_equal(told(&b),
			    "active: activating -> active: the VM runs here under term 2; epoch "
			    "123 committed\n");
}

/* Nobody has decided a second life. */
static void it_completes_itself(void **state)
{
	struct bed b;

	stand_by(&b, POLICY_HOLD);
	feed_backup(&b, &(const struct backup_event){.type = BEV_BUILT});
	assert_string_equal(told(&b), "abandoning: standing -> abandoning: the standby completed "
				      "itself, unasked; epoch 123 committed\n");
	assert_int_equal(b.ev.flight, EVENT_FLIGHT);
}

static void it_stands_by(void **state)
{
	const struct backup_event heard = {.type = BEV_HEARTBEAT, .term = 1};
	struct bed b;

	stand_by(&b, POLICY_HOLD);
	silence(&b);
	assert_string_equal(
		told(&b),
		"primary-lost: primary silent for 1.02 s (failure timeout 1.00 s), last heartbeat "
		"at 2026-11-26T12:00:00.000000Z, policy hold, epoch 123 committed, term 1 -> "
		"stands by until the primary returns or somebody decides\n");
	feed_backup(&b, &heard);
	assert_string_equal(told(&b), "heard-again: the primary is heard again\n");
}

static void the_operator_activates(void **state)
{
	const struct backup_event failover = {.type = BEV_FAILOVER};
	const struct backup_event force = {.type = BEV_FAILOVER, .force = true};
	struct bed b;

	stand_by(&b, POLICY_HOLD);
	feed_backup(&b, &failover);
	assert_string_equal(told(&b),
			    "failover-refused: the operator says failover, and it is not done in "
			    "state standing\n");
	feed_backup(&b, &force);
	assert_string_equal(
		told(&b),
		"activating: the operator says failover --force, last heartbeat at "
		"2026-11-26T12:00:00.000000Z, policy hold, epoch 123 committed, term 2 -> "
		"activating\n");
}

static void it_is_abandoned(void **state)
{
	const struct backup_event bye = {.type = BEV_BYE, .leave = LEAVE_RESYNC};
	const struct backup_event failed = {.type = BEV_STANDBY_FAILED};
	const struct backup_event down = {.type = BEV_LINK_DOWN};
	struct bed b;

	stand_by(&b, POLICY_HOLD);
	feed_backup(&b, &bye);
	assert_non_null(
		strstr(told(&b), "the primary leaves in good order (resync); epoch 123 committed"));
	assert_int_equal(b.last.flight, EVENT_NO_FLIGHT);
	stand_by(&b, POLICY_HOLD);
	feed_backup(&b, &down);
	assert_string_equal(told(&b),
			    "link-down: the connection to the primary ended, last heartbeat at "
			    "2026-11-26T12:00:00.000000Z; epoch 123 committed\n");
	feed_backup(&b, &failed);
	assert_string_equal(told(&b),
			    "abandoning: standing -> abandoning: the standby failed; epoch 123 "
			    "committed\n");
	assert_int_equal(b.last.flight, EVENT_FLIGHT);
}

/* ---- votes ---- */

static void answer_primary(struct bed *b, enum vote v, uint64_t term, const char *holder,
			   const char *text)
{
	struct vote_answer said = {.question = VOTE_ASK_VOTE, .asked = TERM + 1, .vote = v};
	const struct primary_event ev = {
		.type = PEV_VOTE, .vote = v, .asked = TERM + 1, .term = term};

	snprintf(said.holder, sizeof(said.holder), "%s", holder);
	snprintf(said.text, sizeof(said.text), "%s", text);
	b->said = &said;
	step(b, &ev);
	b->said = NULL;
}

static void answer_backup(struct bed *b, enum vote v, uint64_t asked, uint64_t term,
			  const char *holder, const char *text)
{
	struct vote_answer said = {.question = VOTE_ASK_VOTE, .asked = asked, .vote = v};
	const struct backup_event ev = {.type = BEV_VOTE, .vote = v, .asked = asked, .term = term};

	snprintf(said.holder, sizeof(said.holder), "%s", holder);
	snprintf(said.text, sizeof(said.text), "%s", text);
	b->said = &said;
	feed_backup(b, &ev);
	b->said = NULL;
}

/* Lost, and the question is under way. */
static void ask(struct bed *b)
{
	protect(b, POLICY_ARBITER);
	told(b);
	b->now += 20 * MS;
	feed(b, PEV_LINK_DOWN, 0);
	assert_string_equal(
		told(b),
		"lost: the connection to the backup ended; last heartbeat at 2026-11-26T12:00:00.050000Z; epoch "
		"0 acknowledged, epoch 1 taken, policy arbiter -> output held until the hosts talk again or "
		"the arbiter lets one of them go alone\n");
	for (int i = 0; i < 30 && !b->p.asking; i++) {
		b->now += 50 * MS;
		feed(b, PEV_TICK, 0);
	}
	assert_true(b->p.asking);
	assert_string_equal(
		told(b),
		"vote-asked: backup silent for 1.02 s (failure timeout 1.00 s), last heartbeat at "
		"2026-11-26T12:00:00.050000Z -> the arbiter is asked for term 8\n");
	assert_int_equal(fact(&b->last, "asked"), TERM + 1);
	assert_int_equal(fact(&b->last, "silent_ms"), 1020);
}

static void a_vote_is_granted(void **state)
{
	struct bed b;

	ask(&b);
	answer_primary(&b, VOTE_GRANTED, TERM + 1, "", "");
	assert_string_equal(
		told(&b),
		"vote-granted: the arbiter granted term 8\n"
		"alone: backup silent for 1.02 s (failure timeout 1.00 s), last heartbeat at "
		"2026-11-26T12:00:00.050000Z, the arbiter granted term 8, policy arbiter -> output is "
		"opened, the VM goes on here alone\n");
	/* Said twice, it is no news. */
	answer_primary(&b, VOTE_GRANTED, TERM + 1, "", "");
	assert_string_equal(told(&b), "");
}

static void a_vote_is_not_needed(void **state)
{
	struct bed b;

	ask(&b);
	feed(&b, PEV_HEARTBEAT, 0);
	answer_primary(&b, VOTE_GRANTED, TERM + 1, "", "");
	assert_string_equal(
		told(&b),
		"vote-granted: the arbiter granted term 8, which is not needed any more\n");
	assert_string_equal(fact_text(&b.last, "vote"), "granted");
}

static void outvoted(void **state)
{
	struct bed b;

	ask(&b);
	answer_primary(&b, VOTE_REFUSED, TERM + 3, "hostb", "");
	assert_string_equal(
		told(&b),
		"outvoted: the arbiter refused term 8: hostb holds term 10 -> outvoted: nothing is let out "
		"here, nothing is destroyed, until that host or an operator says more\n");
	assert_string_equal(fact_text(&b.last, "holder"), "hostb");
	assert_string_equal(fact_text(&b.last, "vote"), "refused");
	assert_int_equal(fact(&b.last, "held_term"), TERM + 3);
	assert_int_equal(fact(&b.last, "asked"), TERM + 1);
	assert_string_equal(fact_text(&b.last, "output"), "held");
}

/* An arbiter that is gone for a day must not fill the file. */
static void no_answer_is_told_seldom(void **state)
{
	struct bed b;
	int times = 0;

	ask(&b);
	answer_primary(&b, VOTE_UNKNOWN, 0, "", "no route to the witness");
	assert_string_equal(told(&b),
			    "vote-unknown: the arbiter decided nothing on term 8: no route to the "
			    "witness -> nobody goes on alone here\n");
	assert_string_equal(fact_text(&b.last, "vote"), "unknown");
	for (int i = 0; i < 600; i++) {
		b.now += 50 * MS;
		feed(&b, PEV_TICK, 0);
		if (b.p.asking)
			answer_primary(&b, VOTE_UNKNOWN, 0, "",
				       i / 20 % 2 ? "no route to the witness" : "it is silent");
		times += strstr(told(&b), "vote-") != NULL;
	}
	assert_in_range(times, 2, 3);
}

static void the_operator_and_the_arbiter(void **state)
{
	const struct primary_event force = {.type = PEV_UNPROTECT, .force = true};
	struct bed b;

	protect(&b, POLICY_ARBITER);
	b.now += 20 * MS;
	feed(&b, PEV_LINK_DOWN, 0);
	told(&b);
	step(&b, &force);
	assert_string_equal(
		told(&b),
		"unprotect: the operator ends protection, by force: without the backup's word\n"
		"vote-asked: the operator's word, backup silent for 0.02 s (failure timeout 1.00 s), last "
		"heartbeat at 2026-11-26T12:00:00.050000Z -> the arbiter is asked for term 8\n");
	answer_primary(&b, VOTE_UNKNOWN, 0, "", "no route to the witness");
	assert_string_equal(told(&b),
			    "vote-unknown: the arbiter decided nothing on term 8: no route to the "
			    "witness -> the operator's word counts\n");
}

static void ask_backup(struct bed *b)
{
	stand_by(b, POLICY_ARBITER);
	silence(b);
	assert_true(b->b.asking);
	assert_string_equal(
		told(b),
		"primary-lost: primary silent for 1.02 s (failure timeout 1.00 s), last heartbeat "
		"at 2026-11-26T12:00:00.000000Z, policy arbiter, epoch 123 committed, term 1 -> "
		"stands by until the primary returns or the arbiter decides\n"
		"vote-asked: primary silent for 1.02 s (failure timeout 1.00 s), last heartbeat at "
		"2026-11-26T12:00:00.000000Z -> the arbiter is asked for term 2\n");
}

static void it_activates_by_vote(void **state)
{
	struct bed b;

	ask_backup(&b);
	answer_backup(&b, VOTE_GRANTED, 2, 2, "", "");
	assert_string_equal(
		told(&b),
		"vote-granted: the arbiter granted term 2\n"
		"activating: primary silent for 1.02 s (failure timeout 1.00 s), last heartbeat at "
		"2026-11-26T12:00:00.000000Z, the arbiter granted term 2, policy arbiter, epoch 123 "
		"committed, term 2 -> activating\n");
	assert_int_equal(b.last.flight, EVENT_FLIGHT);
}

static void the_standby_is_outvoted(void **state)
{
	struct bed b;

	ask_backup(&b);
	answer_backup(&b, VOTE_UNKNOWN, 2, 0, "", "it is silent");
	assert_string_equal(told(&b),
			    "vote-unknown: the arbiter decided nothing on term 2: it is silent -> "
			    "nobody goes on alone here\n");
	for (int i = 0; i < 30 && !b.b.asking; i++) {
		b.now += 50 * MS;
		feed_backup(&b, &(const struct backup_event){.type = BEV_TICK});
	}
	answer_backup(&b, VOTE_REFUSED, 2, 2, "hosta", "");
	assert_string_equal(
		told(&b),
		"outvoted: the arbiter refused term 2: hosta holds term 2 -> outvoted: nothing is let out "
		"here, nothing is destroyed, until that host or an operator says more\n");
	assert_int_equal(fact(&b.last, "held_term"), 2);
}

static void the_operator_forces_by_vote(void **state)
{
	const struct backup_event force = {.type = BEV_FAILOVER, .force = true};
	struct bed b;

	stand_by(&b, POLICY_ARBITER);
	feed_backup(&b, &force);
	assert_string_equal(
		told(&b),
		"failover: the operator says failover --force: the arbiter is asked first, last heartbeat "
		"at 2026-11-26T12:00:00.000000Z\n"
		"vote-asked: the operator's word, primary silent for 0.00 s (failure timeout 1.00 s), last "
		"heartbeat at 2026-11-26T12:00:00.000000Z -> the arbiter is asked for term 2\n");
	answer_backup(&b, VOTE_GRANTED, 2, 2, "", "");
	assert_string_equal(
		told(&b),
		"vote-granted: the arbiter granted term 2\n"
		"activating: the operator says failover --force, primary silent for 0.00 s (failure timeout "
		"1.00 s), last heartbeat at 2026-11-26T12:00:00.000000Z, the arbiter granted term 2, policy "
		"arbiter, epoch 123 committed, term 2 -> activating\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_way_to_protection),
		cmocka_unit_test(epochs_and_heartbeats_are_no_news),
		cmocka_unit_test(lost_by_the_lease),
		cmocka_unit_test(lost_by_the_connection),
		cmocka_unit_test(alone_after_silence),
		cmocka_unit_test(deposed),
		cmocka_unit_test(a_link_that_flaps_is_told_seldom),
		cmocka_unit_test(the_operator_ends_it),
		cmocka_unit_test(it_completes_itself),
		cmocka_unit_test(it_activates),
		cmocka_unit_test(it_stands_by),
		cmocka_unit_test(the_operator_activates),
		cmocka_unit_test(it_is_abandoned),
		cmocka_unit_test(a_vote_is_granted),
		cmocka_unit_test(a_vote_is_not_needed),
		cmocka_unit_test(outvoted),
		cmocka_unit_test(no_answer_is_told_seldom),
		cmocka_unit_test(the_operator_and_the_arbiter),
		cmocka_unit_test(it_activates_by_vote),
		cmocka_unit_test(the_standby_is_outvoted),
		cmocka_unit_test(the_operator_forces_by_vote),
	};

	return RUN_TESTS("story", tests);
}
