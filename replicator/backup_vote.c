/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an arbiter adds to the backup's decisions (docs/promises.md, "Votes"); a part of its core, see backup.h. Pure.
 * The rules are those of primary_vote.c; what differs is what a standby may do.
 */
#include "replicator/backup_impl.h"

#include <stddef.h>

#include "replicator/mutant.h"

static uint64_t wanted_term(const struct backup *b)
{
	return MAX(b->term, b->over) + 1;
}

static bool is_silent(const struct backup *b, uint64_t now)
{
	return liveness_verdict(&b->peer, now) == LIVENESS_LOST;
}

/* A vote would be used now. Not one that comes when the primary was heard again: then there is no need to go alone. */
static bool wants_vote(const struct backup *b, uint64_t now)
{
	if (!by_vote(b) || b->state != BACKUP_STANDING || b->outvoted)
		return false;
	return b->takes_over || b->forced || is_silent(b, now) || MUTANT(MUTANT_VOTE_UNNEEDED);
}

static void answer_owed(struct backup *b, enum backup_refusal why, struct backup_actions *out)
{
	if (b->failover_owed)
		backup_answer__(b, BEV_FAILOVER, why, out);
	b->failover_owed = false;
}

static void go_alone(struct backup *b, uint64_t now, struct backup_actions *out)
{
	answer_owed(b, REFUSED_NOT, out);
	b->term = wanted_term(b) - 1;
	/* P3: it lets nothing out any more if it was silent for so long, or handed the VM over. */
	b->lease_runs = b->forced && !b->takes_over && !is_silent(b, now) &&
			!MUTANT(MUTANT_LEASE_CUT_SHORT);
	backup_decide__(b, now, out);
}

/* P3: the primary went alone, or will. P4: the standby stays, until it is superseded, or the operator wants it. */
static void refused(struct backup *b, uint64_t now, const struct backup_event *ev,
		    struct backup_actions *out)
{
	if (MUTANT(MUTANT_OUTBID_PRIMARY)) {
		b->over = ev->term;
		return;
	}
	b->outvoted = true;
	b->outvoted_term = ev->term;
	b->forced = false;
	answer_owed(b, REFUSED_OUTVOTED, out);
	/* Who handed the VM over must hear that it is not taken. */
	if (b->takes_over || MUTANT(MUTANT_ABANDON_OUTVOTED))
		backup_protocol_error__(b, now, out);
}

static void no_answer(struct backup *b, uint64_t now, struct backup_actions *out)
{
	if (!b->forced && !MUTANT(MUTANT_ACTIVATE_WITHOUT_VOTE)) {
		answer_owed(b, REFUSED_NO_VOTE, out);
		/* P4: the guest stands still at the primary, which can go on with it. */
		if (b->takes_over && b->planned)
			backup_protocol_error__(b, now, out);
		return;
	}
	/*
	 * The operator's word, where the arbiter has none. Under a term that no vote on this session can be for: a primary
	 * that the arbiter lets go alone learns that it is not the one.
	 */
	if (!MUTANT(MUTANT_FORCED_TERM))
		b->over = wanted_term(b);
	go_alone(b, now, out);
}

void backup_vote__(struct backup *b, uint64_t now, const struct backup_event *ev,
		   struct backup_actions *out)
{
	if (ev->asked == b->asked)
		b->asking = false;
	if (!wants_vote(b, now)) {
		answer_owed(b, REFUSED_PRIMARY_ALIVE, out);
		return;
	}
	if (ev->asked != wanted_term(b))
		return;
	switch (ev->vote) {
	case VOTE_GRANTED:
		go_alone(b, now, out);
		break;
	case VOTE_REFUSED:
		if (ev->term >= ev->asked)
			refused(b, now, ev, out);
		break;
	case VOTE_UNKNOWN:
		no_answer(b, now, out);
		break;
	}
}

void backup_vote_failover__(struct backup *b, uint64_t now, bool force, struct backup_actions *out)
{
	if (!force && !is_silent(b, now)) {
		backup_answer__(b, BEV_FAILOVER, REFUSED_PRIMARY_ALIVE, out);
		return;
	}
	if (!force && b->outvoted) {
		backup_answer__(b, BEV_FAILOVER, REFUSED_OUTVOTED, out);
		return;
	}
	/* Said by who knows that the arbiter is against it. */
	if (b->outvoted)
		b->over = b->outvoted_term;
	b->outvoted = false;
	b->forced = b->forced || force;
	b->failover_owed = true;
	b->vote_retry_ns = now;
}

void backup_vote_void__(struct backup *b, struct backup_actions *out)
{
	answer_owed(b, REFUSED_ENDING, out);
}

void backup_vote_pump__(struct backup *b, uint64_t now, struct backup_actions *out)
{
	if (!wants_vote(b, now) || b->asking || now < b->vote_retry_ns)
		return;
	b->asking = true;
	b->asked = wanted_term(b);
	b->vote_retry_ns = now + b->conf.timing.vote_retry_ns;
	if (!MUTANT(MUTANT_ASKED_NOT_KEPT))
		act(out, BACT_PERSIST_TERM)->term = b->asked;
	act(out, BACT_ASK_VOTE)->term = b->asked;
}

uint64_t backup_vote_deadline__(const struct backup *b)
{
	if (!by_vote(b) || b->outvoted || b->asking)
		return UINT64_MAX;
	if (b->takes_over || b->forced || liveness_next(&b->peer) == UINT64_MAX)
		return b->vote_retry_ns;
	return UINT64_MAX;
}
