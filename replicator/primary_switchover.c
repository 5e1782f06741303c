/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The planned move of a VM to its backup (docs/promises.md, "Switchover"); a part of the primary's core, see primary.h. Pure.
 *
 * Nothing may be outstanding before the last checkpoint, so that the guest pays for one epoch only. From there on it is
 * parked: suspended, so that nothing happens that the peer does not have. Before HANDOVER the peer cannot run it by our
 * doing, after it only the peer's word says that it does; until that comes, all that goes wrong ends in the same way: the
 * guest goes on here, and what it sends is held for as long as the peer may run it.
 */
#include "replicator/primary_impl.h"

#include <stddef.h>

#include "replicator/mutant.h"
#include "replicator/throttle.h"

enum switchover_refusal primary_may_switch_over(const struct primary *p, uint64_t now)
{
	if (p->moving)
		return SWITCHOVER_BUSY;
	if (p->leaving || p->state == PRIMARY_LEAVING || p->state == PRIMARY_ENDED)
		return SWITCHOVER_LEAVING;
	if (p->state == PRIMARY_HANDING || p->state == PRIMARY_DEPOSED)
		return SWITCHOVER_HANDED;
	if (p->state != PRIMARY_PROTECTED || !has_session(p))
		return SWITCHOVER_NOT_PROTECTED;
	/* A peer that is not heard may not be there to take it. */
	return primary_is_protected(p, now) ? SWITCHOVER_MAY : SWITCHOVER_SUSPECT;
}

void primary_switchover__(struct primary *p, uint64_t now)
{
	if (primary_may_switch_over(p, now) != SWITCHOVER_MAY)
		return;
	p->moving = true;
	p->moving_since_ns = now;
}

bool primary_is_last__(const struct primary *p)
{
	return p->moving && (p->acked == p->taken || MUTANT(MUTANT_LAST_UNDRAINED));
}

void primary_unpark__(struct primary *p, struct primary_actions *out)
{
	if (!p->parked)
		return;
	p->parked = false;
	if (!MUTANT(MUTANT_LEFT_PARKED))
		act(out, PACT_RESUME);
}

void primary_stays__(struct primary *p, struct primary_actions *out)
{
	primary_unpark__(p, out);
	if (!p->moving)
		return;
	p->moving = false;
	act(out, PACT_SWITCHOVER_FAILED);
}

void primary_parked__(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (!p->last)
		return;
	p->last = false;
	p->parked = true;
	/* Nobody waits for it any more. One that is to be destroyed does not run again. */
	if (p->state == PRIMARY_DEPOSED || p->state == PRIMARY_ENDED)
		return;
	if (p->state != PRIMARY_PROTECTED || !p->moving)
		primary_unpark__(p, out);
	else if (MUTANT(MUTANT_HANDOVER_EARLY))
		primary_hand_over__(p, now, true, out);
}

void primary_hand_over__(struct primary *p, uint64_t now, bool planned, struct primary_actions *out)
{
	struct primary_action *a;

	primary_set_handed__(p, true, out);
	a = act(out, PACT_SEND_HANDOVER);
	a->epoch = p->acked;
	a->planned = planned;
	go(p, PRIMARY_HANDING, now);
}

/* P1, P2: all that the guest has ever done is committed at the peer, and what it sent is out. */
void primary_switchover_acked__(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (!p->parked || p->acked != p->taken || p->state != PRIMARY_PROTECTED)
		return;
	if (MUTANT(MUTANT_HANDOVER_RUNNING))
		primary_unpark__(p, out);
	primary_hand_over__(p, now, true, out);
}

bool primary_switchover_late__(const struct primary *p, uint64_t now)
{
	return now >= primary_switchover_deadline__(p);
}

uint64_t primary_switchover_deadline__(const struct primary *p)
{
	if (!p->moving || p->last || p->parked || p->state != PRIMARY_PROTECTED)
		return UINT64_MAX;
	return p->moving_since_ns + p->conf.timing.bye_timeout_ns;
}
