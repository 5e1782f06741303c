/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The promises of a pair that has an arbiter: P3 without exceptions; see oracle.c. */
#include "tests/sim/sim.h"

#define U(x) ((unsigned long long)(x))

bool by_vote(const struct sim *s)
{
	return s->plan.policy == POLICY_ARBITER;
}

bool vote_was_overridden(const struct sim *s)
{
	return by_vote(s) ? s->forced_over : s->operator_forced;
}

/* Host A opens its output although a standby may run. */
void oracle_alone_by_vote(struct sim *s)
{
	const struct primary_side *a = &s->a;
	bool risky = standby_can_run(s) || s->vm_ran_at_b;

	s->out.reason = OPEN_PLAIN;
	if (a->core.alone_decided) {
		s->out.reason = OPEN_ALONE;
		if (!arbiter_gave(s, SIDE_A, a->core.conf.term))
			sim_fail(s, "P3", "the primary goes alone without a vote for term %llu",
				 U(a->core.conf.term));
		if (!a->alone_waited && !a->core.leave_force)
			sim_fail(s, "P4", "the primary goes alone without waiting for the peer");
	} else if (risky && a->core.leave_force) {
		s->out.reason = OPEN_FORCED;
		s->forced_over = true;
		if (a->unasked)
			sim_fail(s, "P3", "the operator's word counts, the arbiter was not asked");
	} else if (standby_can_run(s)) {
		sim_fail(s, "P1", "output is opened while a standby could run, without a vote");
	}
}

void oracle_decided_by_vote(struct sim *s, const struct backup_side *w)
{
	bool voted = arbiter_gave(s, SIDE_B, w->core.term);

	if (!voted && !w->core.forced)
		sim_fail(s, "P3", "the backup activates without a vote for term %llu",
			 U(w->core.term));
	if (!voted && w->unasked)
		sim_fail(s, "P3", "the operator's word counts, the arbiter was not asked");
	s->forced_over = s->forced_over || !voted;
	if (!w->waited && !w->core.forced && !w->core.takes_over)
		sim_fail(s, "P4", "the backup activates without waiting for the primary");
}

/* Only a vote on this session takes a side its chance: one on an older session is settled by the next. */
void oracle_outvoted(struct sim *s, enum side side, uint64_t term, uint64_t session_at)
{
	if (term >= MAX_TERMS || !s->arbiter.granted[term] || arbiter_gave(s, side, term))
		sim_fail(s, "P3", "%c is outvoted by nobody", "AB"[side]);
	else if (s->arbiter.granted_at[term] < session_at && !s->forced_over)
		sim_fail(s, "P4", "%c is outvoted by a vote of an older session, for term %llu",
			 "AB"[side], U(term));
}

void oracle_asks(struct sim *s)
{
	for (int i = 0; i < 2; i++) {
		if (s->arbiter.asks[i] > s->now / s->t.vote_retry_ns + s->net.next_id + 20)
			sim_fail(s, "P6", "%c has asked %llu times", "AB"[i],
				 U(s->arbiter.asks[i]));
	}
}
