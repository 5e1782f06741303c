/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an arbiter adds to the primary's decisions (docs/promises.md, "Votes"); a part of its core, see primary.h. Pure.
 *
 * Both sides of a session know its term s. Whoever wants to go alone from it asks for s + 1, and only one of them gets
 * it. A term that was asked for is used up: the next session has it, and then s + 2 is asked for.
 */
#include "replicator/primary_impl.h"

#include <stddef.h>

#include "replicator/mutant.h"

static uint64_t wanted_term(const struct primary *p)
{
	return MAX(p->conf.term, p->over) + 1;
}

/* A vote would be used now. Not one that comes when the peer was heard again: then there is no need to go alone. */
static bool wants_vote(const struct primary *p, uint64_t now)
{
	if (!by_vote(p) || p->state != PRIMARY_LOST || has_session(p) || will_open(p) ||
	    p->outvoted)
		return false;
	return p->leave_force || liveness_verdict(&p->peer, now) == LIVENESS_LOST;
}

static void granted(struct primary *p, uint64_t now, struct primary_actions *out)
{
	p->conf.term = wanted_term(p);
	p->over = 0;
	primary_keep_term__(p, out);
	primary_go_alone__(p, now);
}

/* P3: the peer runs the VM, or will. P4: our copy stays, until the peer says that it does, or the operator. */
static void refused(struct primary *p, const struct primary_event *ev)
{
	if (MUTANT(MUTANT_OUTBID)) {
		p->over = ev->term;
		return;
	}
	p->outvoted = true;
	p->outvoted_term = ev->term;
	p->leave_force = false;
}

void primary_vote__(struct primary *p, uint64_t now, const struct primary_event *ev,
		    struct primary_actions *out)
{
	if (ev->asked == p->asked)
		p->asking = false;
	if (!wants_vote(p, now) || ev->asked != wanted_term(p))
		return;
	switch (ev->vote) {
	case VOTE_GRANTED:
		granted(p, now, out);
		break;
	case VOTE_REFUSED:
		if (ev->term >= ev->asked)
			refused(p, ev);
		break;
	case VOTE_UNKNOWN:
		if (MUTANT(MUTANT_ALONE_WITHOUT_VOTE))
			granted(p, now, out);
		/* The operator's word, where the arbiter has none. */
		else if (p->leave_force)
			primary_want_open__(p);
		break;
	}
}

void primary_vote_force__(struct primary *p, uint64_t now)
{
	if (MUTANT(MUTANT_FORCE_UNASKED)) {
		primary_want_open__(p);
		return;
	}
	/* Said by who knows that the arbiter is against it. */
	if (p->outvoted)
		p->over = p->outvoted_term;
	p->outvoted = false;
	p->vote_retry_ns = now;
}

void primary_vote_pump__(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (!wants_vote(p, now) || p->asking || now < p->vote_retry_ns)
		return;
	p->asking = true;
	p->asked = wanted_term(p);
	p->vote_retry_ns = now + p->conf.timing.vote_retry_ns;
	primary_keep_term__(p, out);
	act(out, PACT_ASK_VOTE)->term = p->asked;
}

uint64_t primary_vote_deadline__(const struct primary *p)
{
	uint64_t listen = liveness_next(&p->peer);

	if (!by_vote(p) || has_session(p) || will_open(p) || p->outvoted)
		return UINT64_MAX;
	if (p->asking || (listen != UINT64_MAX && !p->leave_force))
		return listen;
	return MIN(listen, p->vote_retry_ns);
}

void primary_vote_settled__(struct primary *p)
{
	p->asking = false;
	p->outvoted = false;
	p->over = 0;
	p->vote_retry_ns = 0;
}

uint64_t primary_hello_term__(const struct primary *p)
{
	if (MUTANT(MUTANT_ASKED_FORGOTTEN))
		return p->conf.term;
	return MAX(p->conf.term, p->asked);
}

void primary_keep_term__(struct primary *p, struct primary_actions *out)
{
	struct primary_action *a;

	if (!by_vote(p))
		return;
	a = act(out, PACT_PERSIST_TERM);
	a->term = p->conf.term;
	a->asked = p->asked;
}
