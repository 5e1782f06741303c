/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VM's disks add to the primary's decisions (docs/disk.md); a part of its core, see primary.h. Pure. */
#include "replicator/primary_impl.h"

#include <stddef.h>

#include "replicator/mutant.h"
#include "replicator/throttle.h"

/*
 * Disks first: their copy may take hours, in which the memory's would grow old and log-dirty would slow the guest.
 * What is written meanwhile is in the stream, so they stay in sync while the memory follows.
 */
void primary_start_copy__(struct primary *p, uint64_t now, struct primary_actions *out)
{
	p->streaming = p->conf.disks;
	if (!MUTANT(MUTANT_TERM_NOT_KEPT))
		primary_keep_term__(p, out);
	act(out, p->streaming ? PACT_DISKS_SYNC : PACT_START_COPY);
	if (p->streaming && MUTANT(MUTANT_COPY_UNSYNCED)) {
		p->synced = true;
		act(out, PACT_START_COPY);
	}
	go(p, PRIMARY_COPYING, now);
}

void primary_disks_leave__(struct primary *p, struct primary_actions *out)
{
	if (!p->streaming)
		return;
	p->streaming = false;
	if (!MUTANT(MUTANT_NO_DISKS_LEAVE))
		act(out, PACT_DISKS_LEAVE);
}

void primary_copy_over__(struct primary *p, uint64_t now, struct primary_actions *out)
{
	primary_disks_leave__(p, out);
	go(p, PRIMARY_CONNECTING, now);
}

/* Only under primary-wins does anything follow from it, after a crash too. Under arbiter the vote decides. */
void primary_set_handed__(struct primary *p, bool handed, struct primary_actions *out)
{
	if (p->handed != handed && p->conf.policy == POLICY_PRIMARY_WINS &&
	    !MUTANT(MUTANT_HANDOVER_FORGOTTEN))
		act(out, PACT_PERSIST_HANDOVER)->handed = handed;
	p->handed = handed;
}

void primary_disks_synced__(struct primary *p, struct primary_actions *out)
{
	if (p->state != PRIMARY_COPYING || !has_session(p) || !p->streaming || p->synced)
		return;
	p->synced = true;
	act(out, PACT_START_COPY);
}

/* P5: the peer's disks will lack what is written from now on. The guest goes on. */
void primary_disk_dropped__(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (!MUTANT(MUTANT_DROP_IGNORED) && p->streaming)
		primary_resync__(p, now, LEAVE_RESYNC, out);
}

/*
 * P4: the guest is spared the error where a peer can run it from an epoch before the error. It runs on here,
 * heard by nobody, in case that peer is lost as well: then it gets the error after all. With nobody to hand it
 * to, or with disks that are not in sync, it gets it at once.
 */
void primary_disk_error__(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (p->state != PRIMARY_PROTECTED || MUTANT(MUTANT_ERROR_TO_GUEST)) {
		primary_disk_dropped__(p, now, out);
		return;
	}
	primary_unpark__(p, out);
	primary_hand_over__(p, now, false, out);
	primary_throttle__(p, THROTTLE_NONE, out);
}
