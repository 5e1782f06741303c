/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See generation.h. */
#include "disk/generation.h"

#include <stdio.h>

#include "disk/mutant.h"

/* How two tuples relate: who has the newer copy. */
enum relation {
	SAME,
	BEHIND_BITMAP,	/* the other's current is what my bitmap counts from */
	BEHIND_HISTORY, /* the other's current is older than that */
	UNRELATED,
};

static bool in_history(const struct gen_tuple *t, uint64_t current)
{
	return current == t->history[0] || current == t->history[1];
}

/* How far `old` is behind `new`; UNRELATED when it is not. Neither is new. */
static enum relation behind(const struct gen_tuple *old, const struct gen_tuple *new)
{
	/* Rule 2: while it counts from something older nobody else can have its current. */
	if (old->bitmap != 0)
		return UNRELATED;
	if (old->current == new->bitmap)
		return BEHIND_BITMAP;
	if (in_history(new, old->current))
		return BEHIND_HISTORY;
	return UNRELATED;
}

static void verdict(struct gen_plan *plan, enum gen_how how, const char *text)
{
	*plan = (struct gen_plan){.how = how, .direction = GEN_TO_NONE};
	snprintf(plan->text, sizeof(plan->text), "%s", text);
}

/* The copy from source to target, if these two are fit for it. */
static void copy(struct gen_plan *plan, const struct gen_side *source,
		 const struct gen_side *target, enum gen_how how, const char *why)
{
	bool to_peer = plan->direction == GEN_TO_PEER;
	const char *whole = how == GEN_NOTHING	? "nothing to copy"
			    : how == GEN_BITMAP ? "copy what is marked"
			    : how == GEN_HASH	? "compare all by hash and copy what differs"
						: "copy all";

	if (target->runs_guest) {
		verdict(plan, GEN_DIVERGED,
			to_peer ? "the peer runs the guest on an older copy"
				: "this host runs the guest on an older copy");
		return;
	}
	if (source->state == GEN_SYNCING || source->state == GEN_EMPTY) {
		verdict(plan, GEN_REFUSED,
			to_peer ? "this host's copy is the newer one, but was not completed"
				: "the peer's copy is the newer one, but was not completed");
		return;
	}
	plan->how = how;
	snprintf(plan->text, sizeof(plan->text), "%s %s: %s", whole,
		 to_peer ? "to the peer" : "from the peer", why);
}

/* What is marked says all that differs, if both know it. */
static enum gen_how by_marks(const struct gen_side *source, const struct gen_side *target)
{
	bool known = source->dirt_known && target->dirt_known;

	return known || DISK_MUTANT(DISK_MUTANT_TRUST_LOST_INTENT) ? GEN_BITMAP : GEN_HASH;
}

/* Both are of one generation: who is the source, if anything is to be copied? */
static void plan_same(struct gen_plan *plan, const struct gen_side *me, const struct gen_side *peer)
{
	bool mine = me->runs_guest || (!peer->runs_guest && me->state == GEN_ACTIVE);
	const struct gen_side *source = mine ? me : peer;
	const struct gen_side *target = mine ? peer : me;
	enum gen_how how = by_marks(source, target);

	/* A second one would have made a generation of its own, and so would one that counts from another. */
	if ((me->state == GEN_ACTIVE && peer->state == GEN_ACTIVE) || me->gen.bitmap ||
	    peer->gen.bitmap) {
		verdict(plan, GEN_DIVERGED, "both went on alone in the same generation");
		return;
	}
	if (how == GEN_BITMAP && !me->dirt && !peer->dirt)
		how = GEN_NOTHING;
	if (!source->runs_guest && source->state != GEN_ACTIVE) {
		if (how == GEN_NOTHING && me->state != GEN_SYNCING && peer->state != GEN_SYNCING)
			verdict(plan, GEN_NOTHING, "both are equal, and neither runs the guest");
		else
			verdict(plan, GEN_REFUSED, "they may differ, and neither runs the guest");
		return;
	}
	plan->direction = mine ? GEN_TO_PEER : GEN_TO_ME;
	copy(plan, source, target, how, "one generation");
}

/* What the operator gave up counts from its bitmap, if the source knows that one; most of it is equal in any case. */
static enum gen_how how_given_up(const struct gen_side *source, const struct gen_side *target)
{
	uint64_t base = target->gen.bitmap;

	if (base == source->gen.bitmap || base == source->gen.current ||
	    DISK_MUTANT(DISK_MUTANT_MARKS_OF_ANY_BASE))
		return by_marks(source, target);
	return GEN_HASH;
}

static void plan_new(struct gen_plan *plan, const struct gen_side *me, const struct gen_side *peer)
{
	const struct gen_side *target = me->gen.current ? peer : me;
	const struct gen_side *source = target == peer ? me : peer;

	if (!source->gen.current) {
		bool given_up = gen_is_surrendered(&me->gen) || gen_is_surrendered(&peer->gen);

		verdict(plan, GEN_REFUSED,
			given_up
				? "a copy was given up, and there is no other: say which one counts"
				: "neither side has the disk's content yet: start the guest");
		return;
	}
	plan->direction = target == peer ? GEN_TO_PEER : GEN_TO_ME;
	if (gen_is_surrendered(&target->gen))
		copy(plan, source, target, how_given_up(source, target), "it was given up there");
	else /* A first copy that broke has left most of it there. */
		copy(plan, source, target, target->state == GEN_SYNCING ? GEN_HASH : GEN_FULL,
		     "it is new there");
}

/* The target is older, by a generation or more. */
static void plan_behind(struct gen_plan *plan, const struct gen_side *source,
			const struct gen_side *target, enum relation how_far)
{
	enum gen_how how = by_marks(source, target);

	if (how_far == BEHIND_HISTORY)
		how = GEN_HASH;
	copy(plan, source, target, how,
	     how_far == BEHIND_BITMAP ? "it is one generation behind"
				      : "it is more than one generation behind");
}

static void decide(struct gen_plan *plan, const struct gen_side *me, const struct gen_side *peer)
{
	enum relation mine;
	enum relation theirs;

	if (me->state == GEN_FAILED || peer->state == GEN_FAILED) {
		verdict(plan, GEN_REFUSED,
			me->state == GEN_FAILED ? "this host's disk has failed"
						: "the peer's disk has failed");
		return;
	}
	if (me->runs_guest && peer->runs_guest) {
		verdict(plan, GEN_DIVERGED, "both run the guest");
		return;
	}
	if (!me->gen.current || !peer->gen.current) {
		plan_new(plan, me, peer);
		return;
	}
	if (me->gen.current == peer->gen.current) {
		plan_same(plan, me, peer);
		return;
	}
	mine = behind(&me->gen, &peer->gen);
	theirs = behind(&peer->gen, &me->gen);
	if ((mine == UNRELATED) == (theirs == UNRELATED)) {
		verdict(plan, GEN_DIVERGED, "each has a history that the other does not know");
		return;
	}
	if (theirs != UNRELATED) {
		plan->direction = GEN_TO_PEER;
		plan_behind(plan, me, peer, theirs);
	} else {
		plan->direction = GEN_TO_ME;
		plan_behind(plan, peer, me, mine);
	}
}

void gen_plan(const struct gen_side *me, const struct gen_side *peer, struct gen_plan *plan)
{
	*plan = (struct gen_plan){.how = GEN_REFUSED, .direction = GEN_TO_NONE};
	decide(plan, me, peer);
	if (plan->how != GEN_BITMAP)
		return;
	plan->use_mine = me->dirt;
	plan->use_peer = peer->dirt;
	if (DISK_MUTANT(DISK_MUTANT_OWN_DIRT_ONLY))
		*(plan->direction == GEN_TO_PEER ? &plan->use_peer : &plan->use_mine) = false;
}

const char *gen_how_name(enum gen_how how)
{
	static const char *const names[] = {
		[GEN_NOTHING] = "nothing", [GEN_BITMAP] = "bitmap",	[GEN_HASH] = "hash",
		[GEN_FULL] = "full",	   [GEN_DIVERGED] = "diverged", [GEN_REFUSED] = "refused",
	};

	return (unsigned int)how < ARRAY_SIZE(names) ? names[how] : "?";
}

/* ---- new generations ---------------------------------------------------- */

static void remember(struct gen_tuple *t, uint64_t generation)
{
	t->history[1] = t->history[0];
	t->history[0] = generation;
}

bool gen_alone(struct gen_tuple *t, uint64_t fresh)
{
	assert(fresh != 0);
	/* Rule 2: nobody else has it, so it is still this side's own. */
	if (t->bitmap != 0 || (t->current != 0 && DISK_MUTANT(DISK_MUTANT_ALONE_SAME_CURRENT)))
		return false;
	t->bitmap = t->current;
	t->current = fresh;
	return true;
}

void gen_activate(struct gen_tuple *t, uint64_t fresh)
{
	assert(fresh != 0);
	if (t->bitmap != 0)
		remember(t, t->bitmap);
	t->bitmap = DISK_MUTANT(DISK_MUTANT_ACTIVATE_KEEPS_BASE) ? 0 : t->current;
	t->current = fresh;
}

void gen_finish(struct gen_tuple *t, uint64_t target)
{
	/* The target may never adopt. By what it has it is found again; my own bitmap then nobody else has. */
	uint64_t base = target != 0 && !DISK_MUTANT(DISK_MUTANT_FINISH_FORGETS_TARGET) ? target
										       : t->bitmap;

	if (DISK_MUTANT(DISK_MUTANT_FINISH_AFTER_PEER))
		return;
	if (base != 0 && base != t->current && base != t->history[0])
		remember(t, base);
	t->bitmap = 0;
}

void gen_adopt(struct gen_tuple *t, const struct gen_tuple *source)
{
	*t = *source;
	t->bitmap = 0;
}

void gen_surrender(struct gen_tuple *t)
{
	uint64_t base = t->bitmap != 0 ? t->bitmap : t->current;

	*t = (struct gen_tuple){.bitmap = base};
}

bool gen_is_surrendered(const struct gen_tuple *t)
{
	return t->current == 0 && t->bitmap != 0;
}
