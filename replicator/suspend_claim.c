// SPDX-License-Identifier: GPL-2.0-or-later
/* See suspend_claim.h. */
#include "replicator/suspend_claim.h"

#include "lib/compiler.h"

static void owe(struct suspend_claim *c, bool unsure, uint64_t until)
{
	c->out = CLAIM_NONE;
	c->owed = true;
	c->unsure = unsure;
	c->owed_until = until;
}

static void settle(struct suspend_claim *c)
{
	c->owed = false;
	c->unsure = false;
	c->inherited = false;
}

void claim_asked(struct suspend_claim *c, enum claim_way way)
{
	c->out = way;
}

void claim_withdrawn(struct suspend_claim *c)
{
	c->out = CLAIM_NONE;
	settle(c);
}

void claim_taken(struct suspend_claim *c, uint64_t now)
{
	owe(c, false, clock_add(now, CLAIM_TAKEN_NS));
}

void claim_closed(struct suspend_claim *c, uint64_t now)
{
	/* An older one of another worker does not become younger. */
	if (c->inherited && c->owed)
		c->any_until = MAX(c->any_until, c->owed_until);
	settle(c);
	owe(c, true, clock_add(now, CLAIM_CLOSED_NS));
	c->channel_until = clock_add(now, CLAIM_CHANNEL_NS);
}

void claim_inherited(struct suspend_claim *c, bool taken, uint64_t now)
{
	settle(c);
	c->channel_until = clock_add(now, CLAIM_CHANNEL_NS);
	if (!taken)
		return;
	owe(c, true, clock_add(now, CLAIM_TAKEN_NS));
	c->inherited = true;
}

void claim_paused(struct suspend_claim *c, uint64_t now)
{
	/* The wait itself ends nevertheless. */
	if (now < c->any_until || (c->owed && now < c->owed_until && (!c->unsure || c->inherited)))
		c->any_until = clock_add(now, CLAIM_TAKEN_NS);
	if (now < c->channel_until)
		c->channel_until = clock_add(now, CLAIM_CHANNEL_NS);
}

void claim_expire(struct suspend_claim *c, uint64_t now)
{
	if (c->owed && now >= c->owed_until)
		settle(c);
}

bool claim_is_ours(const struct suspend_claim *c, enum claim_way came, uint64_t now)
{
	if (c->out != CLAIM_NONE || (c->owed && now < c->owed_until) || now < c->any_until)
		return true;
	return came == CLAIM_CHANNEL && now < c->channel_until;
}

void claim_arrived(struct suspend_claim *c)
{
	/* It may have been the other worker's: then ours comes next, or the other way round. */
	if (c->owed && c->inherited) {
		c->any_until = MAX(c->any_until, c->owed_until);
		c->left = c->left || c->out == CLAIM_STORE;
	}
	settle(c);
}

void claim_resumed(struct suspend_claim *c, enum claim_way came, uint64_t now)
{
	enum claim_way out = c->out;

	c->out = CLAIM_NONE;
	/* What else was to come by the store's way has come. */
	if (out == CLAIM_NONE &&
	    (came == CLAIM_STORE || (came == CLAIM_NONE && now >= c->channel_until)))
		c->any_until = 0;
	/* It obeyed an older request, on the other way. The newest is still out. */
	if (out == CLAIM_STORE && now < c->channel_until && came != CLAIM_STORE) {
		c->left = true;
		c->any_until = MAX(c->any_until, clock_add(now, CLAIM_TAKEN_NS));
	}
	if (out == CLAIM_CHANNEL && came == CLAIM_STORE)
		c->channel_until = clock_add(now, CLAIM_CHANNEL_NS);
}

void claim_left_taken_back(struct suspend_claim *c, bool there, uint64_t now)
{
	c->left = false;
	c->any_until = there ? 0 : clock_add(now, CLAIM_TAKEN_NS);
}
