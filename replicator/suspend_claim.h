/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which suspension of the guest is ours: to be resumed by us (P4: it is never left suspended), and which is somebody
 * else's (xl save: to be left alone, or his image is torn). A request that was given up may still be obeyed, and two
 * that are out are obeyed twice, one after the other. Pure. Data thread.
 *
 * Two ways, told apart by what the guest says in its hypercall (SUSPEND_SELF_AWARE: it came over the channel):
 *
 * - The store's. A request that the guest has taken is obeyed within the time that it may take to freeze its tasks, or
 *   never. It looks like anybody's, so it is ours for no longer than that.
 * - The channel's. With our end closed the guest refuses, unless it has looked at the channel before: between
 *   that look and the hypercall its vCPU may be kept from running for as long as somebody pauses the domain. A request
 *   that it did not look at yet is obeyed after all when we bind again. Nobody else can ask that way, because we keep the
 *   toolstacks' lock of the channel: so it may be ours for long.
 */
#ifndef REPLICATOR_SUSPEND_CLAIM_H
#define REPLICATOR_SUSPEND_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"

/* A guest that has taken a request freezes its tasks for 20 s at most, then it gives up. */
#define CLAIM_TAKEN_NS (30 * NS_PER_SEC)
/* From the guest's look at the channel to the hypercall: interrupts are off, but vCPUs wait for CPUs. */
#define CLAIM_CLOSED_NS (250 * NS_PER_MS)
#define CLAIM_CHANNEL_NS (600 * NS_PER_SEC)

enum claim_way {
	CLAIM_NONE, /* not known, or none */
	CLAIM_STORE,
	CLAIM_CHANNEL,
};

/* Begins with all zeroes. */
struct suspend_claim {
	enum claim_way out; /* the newest request, until it is obeyed or withdrawn */
	bool owed; /* one that was given up may be obeyed any moment: wait for it before leaving */
	bool unsure;	/* ... or not: no reason to put the next one off */
	bool inherited; /* ... because a worker before us may have made it, on either way */
	bool left; /* ours may lie in control/shutdown though the guest has suspended: take it back */
	uint64_t owed_until;	/* later than this it will not come */
	uint64_t any_until;	/* until then any suspension is ours, but none is waited for */
	uint64_t channel_until; /* until then one over the channel is */
};

/* A request was made. */
void claim_asked(struct suspend_claim *c, enum claim_way way);
/* It was withdrawn: the guest has not taken it and never will. */
void claim_withdrawn(struct suspend_claim *c);
/* It was given up: the guest has taken it, or this is not known. */
void claim_taken(struct suspend_claim *c, uint64_t now);
/* It was withdrawn by closing our end of the channel. */
void claim_closed(struct suspend_claim *c, uint64_t now);
/* A worker before us may have asked; taken: and it is not in control/shutdown. */
void claim_inherited(struct suspend_claim *c, bool taken, uint64_t now);
/* Time in which the guest's vCPUs are paused by somebody does not count. */
void claim_paused(struct suspend_claim *c, uint64_t now);
/* What is not owed any more is forgotten. */
void claim_expire(struct suspend_claim *c, uint64_t now);

/* The guest is found suspended, by this way as far as it is known. */
bool claim_is_ours(const struct suspend_claim *c, enum claim_way came, uint64_t now);
/* It is, and it is ours. */
void claim_arrived(struct suspend_claim *c);
/* ... and was resumed. Says what else may come. */
void claim_resumed(struct suspend_claim *c, enum claim_way came, uint64_t now);
/* c->left was looked after; there: it lay in control/shutdown and was withdrawn. Else the guest may be at it. */
void claim_left_taken_back(struct suspend_claim *c, bool there, uint64_t now);

#endif
