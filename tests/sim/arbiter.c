/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arbiter, on a third machine, and the program that a worker runs to ask it. What it has granted is durable; what it
 * was about to answer dies with it. A question and its answer may be lost, late and doubled each for itself.
 */
#include "tests/sim/sim.h"

/* How long the shell gives the program before it counts as unanswered. */
static uint64_t patience(const struct sim *s)
{
	return 2 * s->t.failure_timeout_ns;
}

static uint64_t way(struct sim *s)
{
	uint64_t most = s->now < s->arbiter.slow_until ? 3 * patience(s) : 5 * MS;

	return sim_delay(s, 200 * US, most);
}

static struct process *worker(struct sim *s, enum side side, int slot)
{
	return side == SIDE_A ? &s->a.proc : &s->b[slot].proc;
}

static struct ev worker_event(struct sim *s, enum ev_kind kind, enum side side, int slot)
{
	return (struct ev){
		.kind = kind,
		.where = side == SIDE_A ? AT_A_WORKER : AT_B_WORKER,
		.slot = slot,
		.gen = worker(s, side, slot)->gen,
		.side = side,
	};
}

static void post(struct sim *s, const struct ev *ev, enum vote vote)
{
	const struct primary_event p = {
		.type = PEV_VOTE, .vote = vote, .asked = ev->m.epoch, .term = ev->m.term};
	const struct backup_event b = {
		.type = BEV_VOTE, .vote = vote, .asked = ev->m.epoch, .term = ev->m.term};

	if (ev->side == SIDE_A)
		a_post(s, &p);
	else
		b_post(s, ev->slot, &b);
}

void arbiter_join(struct sim *s, uint64_t term)
{
	s->arbiter.term = term;
	s->arbiter.holder = SIDE_A;
	s->arbiter.granted[term] = SIDE_A + 1;
}

void arbiter_ask(struct sim *s, enum side side, int slot, uint64_t term)
{
	struct ev timeout = worker_event(s, EV_VOTE_TIMEOUT, side, slot);
	struct ev ask = timeout;

	s->arbiter.asks[side]++;
	timeout.token = ++worker(s, side, slot)->vote_token;
	timeout.m = (struct msg){.epoch = term};
	ev_push(s, s->now + patience(s), &timeout);
	if (s->now < s->arbiter.cut_until[side])
		return;
	/* The program is on its way whatever becomes of who started it. */
	ask.kind = EV_VOTE_ASKED;
	ask.where = AT_NONE;
	ask.token = timeout.token;
	ask.m = timeout.m;
	ev_push(s, s->now + way(s), &ask);
}

static bool holds(const struct sim *s, enum side side, uint64_t term)
{
	return s->arbiter.term == term && s->arbiter.holder == side;
}

static void grant(struct sim *s, enum side side, uint64_t term)
{
	struct arbiter *a = &s->arbiter;

	if (term >= MAX_TERMS) {
		sim_fail(s, "P6", "more than %d terms", MAX_TERMS);
		return;
	}
	if (a->granted[term])
		sim_fail(s, "P3", "term %llu is granted twice", (unsigned long long)term);
	a->term = term;
	a->holder = side;
	a->granted[term] = side + 1;
	a->granted_at[term] = s->now;
}

static void send(struct sim *s, const struct ev *ask, bool granted)
{
	struct ev answer = *ask;

	answer.kind = EV_VOTE_ANSWER;
	answer.where = ask->side == SIDE_A ? AT_A_WORKER : AT_B_WORKER;
	answer.ok = granted;
	answer.conn = s->arbiter.gen;
	answer.m.term = s->arbiter.term;
	ev_push(s, s->now + way(s), &answer);
}

static void asked(struct sim *s, const struct ev *ev)
{
	struct arbiter *a = &s->arbiter;
	uint64_t term = ev->m.epoch;
	bool granted;

	if (s->now < a->down_until || s->now < a->cut_until[ev->side])
		return;
	if (term > a->term)
		grant(s, ev->side, term);
	granted = holds(s, ev->side, term);
	sim_trace(s, "   arbiter: term %llu to %c: %s", (unsigned long long)term, "AB"[ev->side],
		  granted ? "granted" : "refused");
	if (s->now < a->mute_until)
		return;
	send(s, ev, granted);
	if (s->now < a->double_until) {
		send(s, ev, granted);
		send(s, ev, granted);
	}
}

static void answered(struct sim *s, const struct ev *ev)
{
	struct process *p = worker(s, ev->side, ev->slot);

	/* The connection broke with the arbiter. */
	if (ev->conn != s->arbiter.gen)
		return;
	if (ev->token == p->vote_token)
		p->vote_token++;
	post(s, ev, ev->ok ? VOTE_GRANTED : VOTE_REFUSED);
}

void arbiter_dies(struct sim *s, uint64_t until)
{
	s->arbiter.gen++;
	s->arbiter.down_until = MAX(s->arbiter.down_until, until);
}

void arbiter_event(struct sim *s, const struct ev *ev)
{
	switch ((int)ev->kind) {
	case EV_VOTE_ASKED:
		asked(s, ev);
		break;
	case EV_VOTE_ANSWER:
		answered(s, ev);
		break;
	case EV_VOTE_TIMEOUT:
		if (ev->token != worker(s, ev->side, ev->slot)->vote_token)
			break;
		worker(s, ev->side, ev->slot)->vote_token++;
		post(s, ev, VOTE_UNKNOWN);
		break;
	}
}

bool arbiter_gave(const struct sim *s, enum side side, uint64_t term)
{
	return term < MAX_TERMS && s->arbiter.granted[term] == side + 1;
}
