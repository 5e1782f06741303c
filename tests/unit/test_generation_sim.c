/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two hosts with a disk of a few blocks each live through random histories: writes, epochs, breaks, going
 * alone, activations, crashes, lost intent logs, the operator. After each connection the oracle, which sees
 * both disks and knows who has seen what, demands:
 *
 *	- two histories are never joined without the operator;
 *	- the source is the newer one, and every block that differs is going to be copied;
 *	- when the copy is done both disks are equal;
 *	- nothing is refused for two histories when there is one.
 *
 * The rules are compiled once more with mutants in them (disk/mutant.h), and each must be caught.
 */
#include "tests/lib/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DISK_MUTATION
#include "disk/mutant.h"

int disk_mutant;

/* The .c on purpose: the same rules compiled a second time, not a copy that drifts. */
#include "disk/generation.c" /* NOLINT(bugprone-suspicious-include) */

#define BLOCKS 16
#define REGION 2 /* blocks of the intent log's bit */
#define REGIONS (BLOCKS / REGION)
#define LINEAGE 64
#define PENDING 256
#define STEPS 400

struct side {
	struct gen_side g; /* state, tuple, runs_guest */
	bool up;
	int disk[BLOCKS];
	bool map[BLOCKS];      /* in memory */
	int unsettled[BLOCKS]; /* writes under way; in memory */
	bool intent[REGIONS];  /* durable */
	bool intent_lost;      /* until a copy is complete */
	bool alone;	       /* its current history is its own */
	int lineage[LINEAGE];  /* which lives this content has seen */
	int lives;
};

struct pend {
	int block;
	int value;
};

struct world {
	uint64_t seed;
	struct side s[2];
	bool linked;
	int source;		   /* of the session */
	struct pend sent[PENDING]; /* not committed: [committed, n) */
	int committed;		   /* held by the target, in memory: [0, committed) */
	int n;
	int values;
	int next_life;
	uint64_t generations;
	bool unlucky;
	unsigned long made; /* by going alone */
	unsigned long finished;
	unsigned long copies[GEN_REFUSED + 1];
	const char *why; /* NULL: all is well */
};

static uint32_t rnd(struct world *w, uint32_t below)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return (uint32_t)((w->seed * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % below;
}

static bool chance(struct world *w, uint32_t percent)
{
	return rnd(w, 100) < percent;
}

static uint64_t fresh(struct world *w)
{
	return ++w->generations * 1000;
}

static void violated(struct world *w, const char *why)
{
	if (!w->why)
		w->why = why;
}

/* ---- what the oracle knows ---------------------------------------------- */

static void new_life(struct world *w, struct side *s)
{
	if (s->lives == LINEAGE) {
		memmove(&s->lineage[0], &s->lineage[1], sizeof(int) * (LINEAGE - 1));
		s->lives--;
	}
	s->lineage[s->lives++] = ++w->next_life;
	s->alone = true;
}

static bool knows(const struct side *s, int life)
{
	for (int i = 0; i < s->lives; i++)
		if (s->lineage[i] == life)
			return true;
	return false;
}

/* Everything that `old` has lived through is part of what `new` has. */
static bool prefix(const struct side *old, const struct side *new)
{
	return old->lives == 0 || knows(new, old->lineage[old->lives - 1]);
}

static bool diverged(const struct world *w)
{
	return !prefix(&w->s[0], &w->s[1]) && !prefix(&w->s[1], &w->s[0]);
}

/* ---- a side ------------------------------------------------------------- */

static bool any_mark(const struct side *s)
{
	for (int b = 0; b < BLOCKS; b++)
		if (s->map[b] || s->unsettled[b] || s->intent[b / REGION])
			return true;
	return false;
}

static void marks_from_intent(struct side *s)
{
	for (int b = 0; b < BLOCKS; b++) {
		s->map[b] = s->intent[b / REGION];
		s->unsettled[b] = 0;
	}
}

static void forget_memory(struct side *s)
{
	memset(s->map, 0, sizeof(s->map));
	memset(s->unsettled, 0, sizeof(s->unsettled));
}

/* ---- the session -------------------------------------------------------- */

static struct side *target_of(struct world *w)
{
	return &w->s[!w->source];
}

/* The target keeps what is committed, drops the rest; the source marks what is not settled. */
static void link_break(struct world *w, bool target_keeps)
{
	struct side *s = &w->s[w->source];

	if (!w->linked)
		return;
	for (int i = 0; target_keeps && i < w->committed; i++)
		target_of(w)->disk[w->sent[i].block] = w->sent[i].value;
	w->n = w->committed = 0;
	for (int b = 0; b < BLOCKS; b++) {
		s->map[b] = s->map[b] || s->unsettled[b];
		s->unsettled[b] = 0;
	}
	w->linked = false;
}

static void put(struct world *w, struct side *s, int b, int value)
{
	s->disk[b] = value;
	/* Marked blocks are left to the copier. */
	if (!w->linked || s != &w->s[w->source] || s->map[b] || w->n == PENDING) {
		s->map[b] = true;
		return;
	}
	w->sent[w->n++] = (struct pend){b, value};
	s->unsettled[b]++;
}

static void guest_write(struct world *w, struct side *s)
{
	int b = (int)rnd(w, BLOCKS);

	s->intent[b / REGION] = true;
	put(w, s, b, ++w->values);
}

/* The target holds it in memory: acknowledged, not settled. */
static void commit(struct world *w)
{
	for (int i = w->committed; i < w->n; i++)
		if (DISK_MUTANT(DISK_MUTANT_SETTLE_WHEN_ACKED))
			w->s[w->source].unsettled[w->sent[i].block]--;
	w->committed = w->n;
}

static void settle(struct world *w)
{
	struct side *s = &w->s[w->source];

	for (int i = 0; i < w->committed; i++) {
		target_of(w)->disk[w->sent[i].block] = w->sent[i].value;
		if (!DISK_MUTANT(DISK_MUTANT_SETTLE_WHEN_ACKED))
			s->unsettled[w->sent[i].block]--;
	}
	memmove(w->sent, w->sent + w->committed,
		sizeof(w->sent[0]) * (size_t)(w->n - w->committed));
	w->n -= w->committed;
	w->committed = 0;
}

static void copy_block(struct world *w)
{
	struct side *s = &w->s[w->source];

	for (int b = 0; b < BLOCKS && w->n < PENDING; b++) {
		if (!s->map[b] || !chance(w, 50))
			continue;
		s->map[b] = false;
		put(w, s, b, s->disk[b]);
	}
}

/* Cold regions leave the intent log when all that they have is settled. */
static void clear_intent(struct world *w)
{
	struct side *s = &w->s[w->source];

	for (int r = 0; r < REGIONS; r++) {
		bool used = s->intent_lost || chance(w, 50);

		for (int b = r * REGION; b < (r + 1) * REGION; b++)
			used = used || s->map[b] || s->unsettled[b];
		if (!used)
			s->intent[r] = false;
	}
}

/* The oracle decides by itself whether that is a life of its own. */
static void be_alone(struct world *w, struct side *s)
{
	if (gen_alone(&s->g.gen, fresh(w)))
		w->made++;
	if (!s->alone)
		new_life(w, s);
}

static void finish(struct world *w)
{
	struct side *s = &w->s[w->source];
	struct side *t = target_of(w);

	if (w->n > 0)
		return;
	for (int b = 0; b < BLOCKS; b++)
		if (s->map[b])
			return;
	if (memcmp(s->disk, t->disk, sizeof(s->disk)) != 0) {
		violated(w, "the copy is done, and the disks differ");
		return;
	}
	if (t->g.state == GEN_CONSISTENT)
		return;
	gen_finish(&s->g.gen, t->g.gen.current);
	s->intent_lost = false;
	/* The crash between the two; to some it happens again and again. */
	if (chance(w, w->unlucky ? 90 : 5)) {
		link_break(w, true);
		if (w->unlucky && s->g.runs_guest)
			be_alone(w, s);
		return;
	}
	gen_adopt(&t->g.gen, &s->g.gen);
	t->g.state = GEN_CONSISTENT;
	t->intent_lost = false;
	forget_memory(t);
	memset(t->intent, 0, sizeof(t->intent));
	memcpy(t->lineage, s->lineage, sizeof(t->lineage));
	t->lives = s->lives;
	t->alone = s->alone = false;
	w->finished++;
}

/* ---- connecting --------------------------------------------------------- */

static void operator_chooses(struct world *w)
{
	int v = w->s[0].g.runs_guest ? 1 : w->s[1].g.runs_guest ? 0 : (int)rnd(w, 2);
	struct side *victim = &w->s[v];

	/* Of one that has no history there is nothing to give up; that of a guest that runs is not given up. */
	if (victim->g.state == GEN_EMPTY || victim->g.runs_guest)
		return;
	gen_surrender(&victim->g.gen);
	if (victim->g.state != GEN_SYNCING)
		victim->g.state = GEN_OUTDATED;
	victim->alone = false;
	/* Whatever the other has by then overwrites it. */
	victim->lives = 0;
}

/* romulus-disk --format=source --force: what is here counts, and what is known of it is gone. */
static void make_it_count(struct world *w, struct side *s)
{
	if (w->linked || s->g.runs_guest || !s->up ||
	    (s->g.state != GEN_OUTDATED && s->g.state != GEN_ACTIVE))
		return;
	s->g.gen = (struct gen_tuple){.current = fresh(w)};
	s->g.state = GEN_ACTIVE;
	forget_memory(s);
	memset(s->intent, 0, sizeof(s->intent));
	s->intent_lost = false;
	s->lives = 0;
	new_life(w, s);
}

static void check_refused(struct world *w, const struct gen_plan *p)
{
	const struct side *a = &w->s[0];
	const struct side *b = &w->s[1];

	if (p->how == GEN_REFUSED || diverged(w))
		return;
	/* The older one runs the guest: one history, but not for long. */
	if ((a->g.runs_guest && !prefix(b, a)) || (b->g.runs_guest && !prefix(a, b)))
		return;
	violated(w, "refused for two histories, and there is one");
}

/* The plan says from s to t. */
static void check_copy(struct world *w, const struct gen_plan *p, struct side *s, struct side *t)
{
	if (diverged(w))
		violated(w, "two histories were joined");
	if (!prefix(t, s))
		violated(w, "the newer copy would be overwritten by the older");
	if (t->g.runs_guest)
		violated(w, "the target runs the guest");
	for (int b = 0; b < BLOCKS; b++) {
		bool theirs = t->map[b] || t->intent[b / REGION];

		if (p->how == GEN_HASH || p->how == GEN_FULL ||
		    ((s == &w->s[0] ? p->use_peer : p->use_mine) && theirs))
			s->map[b] = true;
		if (s->disk[b] != t->disk[b] && !s->map[b])
			violated(w, "a block that differs is not copied");
	}
}

static void connect_both(struct world *w)
{
	struct gen_plan p;

	for (int i = 0; i < 2; i++) {
		w->s[i].g.dirt = any_mark(&w->s[i]);
		w->s[i].g.dirt_known = !w->s[i].intent_lost;
	}
	/* The core sees to it that one gives in before the disks are looked at. */
	if (w->s[0].g.runs_guest && w->s[1].g.runs_guest)
		w->s[rnd(w, 2)].g.runs_guest = false;
	gen_plan(&w->s[0].g, &w->s[1].g, &p);
	w->copies[p.how]++;
	if (p.how == GEN_DIVERGED || p.how == GEN_REFUSED) {
		check_refused(w, &p);
		if (p.how == GEN_DIVERGED && chance(w, 50)) {
			w->s[rnd(w, 2)].g.runs_guest = false; /* the operator ends that one */
			operator_chooses(w);
		}
		return;
	}
	if (p.direction == GEN_TO_NONE)
		return;
	w->source = p.direction == GEN_TO_PEER ? 0 : 1;
	check_copy(w, &p, &w->s[w->source], target_of(w));
	if (!w->s[w->source].g.runs_guest)
		return; /* no session without a guest; the plan was good all the same */
	target_of(w)->g.state = p.how == GEN_NOTHING ? GEN_OUTDATED : GEN_SYNCING;
	w->linked = true;
}

/* ---- what happens ------------------------------------------------------- */

static void crash(struct world *w, int i, bool guest_too)
{
	struct side *s = &w->s[i];

	link_break(w, i == w->source);
	if (guest_too) {
		s->up = false;
		s->g.runs_guest = false;
	}
	forget_memory(s);
	if (s->g.state == GEN_CONSISTENT)
		s->g.state = GEN_OUTDATED;
	if (chance(w, 3)) {
		s->intent_lost = true;
		memset(s->intent, 0, sizeof(s->intent));
	}
	if (!guest_too)
		marks_from_intent(s);
}

static void boot(struct side *s)
{
	s->up = true;
	marks_from_intent(s);
}

/* The guest is started here, without the peer. */
static void start_guest(struct world *w, struct side *s)
{
	if (w->linked || s->g.runs_guest)
		return;
	if (s->g.state == GEN_ACTIVE || s->g.state == GEN_EMPTY) {
		if (s->g.state == GEN_EMPTY && (w->s[0].g.gen.current || w->s[1].g.gen.current))
			return;
		be_alone(w, s);
	} else if (s->g.state == GEN_CONSISTENT ||
		   (s->g.state == GEN_OUTDATED && !gen_is_surrendered(&s->g.gen) &&
		    chance(w, 10))) {
		gen_activate(&s->g.gen, fresh(w));
		new_life(w, s);
		/* What is marked from now on counts from the generation before. */
		forget_memory(s);
		marks_from_intent(s);
	} else {
		return;
	}
	s->g.state = GEN_ACTIVE;
	s->g.runs_guest = true;
}

static void go_alone(struct world *w, struct side *s)
{
	if (!s->g.runs_guest || w->linked)
		return;
	be_alone(w, s);
}

static void session_step(struct world *w)
{
	switch (rnd(w, 6)) {
	case 0:
	case 1:
		copy_block(w);
		break;
	case 2:
		commit(w);
		break;
	case 3:
		settle(w);
		break;
	case 4:
		finish(w);
		break;
	default:
		clear_intent(w);
	}
}

static void step(struct world *w)
{
	int i = (int)rnd(w, 2);
	struct side *s = &w->s[i];

	if (w->linked && chance(w, 60))
		session_step(w);
	else if (!s->up) {
		if (chance(w, 20))
			boot(s);
	} else if (s->g.runs_guest && chance(w, 50))
		guest_write(w, s);
	else if (chance(w, 4))
		crash(w, i, chance(w, 70) || !s->g.runs_guest);
	else if (chance(w, 6))
		link_break(w, true);
	else if (chance(w, 10))
		go_alone(w, s);
	else if (chance(w, !w->s[!i].g.runs_guest ? 20 : 8))
		start_guest(w, s);
	/* Whether there was a need or not. */
	else if (chance(w, 1) && !w->linked)
		operator_chooses(w);
	else if (chance(w, 1))
		make_it_count(w, s);
	else if (chance(w, 30) && !w->linked && w->s[0].up && w->s[1].up)
		connect_both(w);
}

static bool run(uint64_t seed, struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->seed = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	w->unlucky = seed % 8 == 7;
	for (int i = 0; i < 2; i++) {
		w->s[i].g.state = GEN_EMPTY;
		w->s[i].up = true;
	}
	for (int i = 0; i < STEPS && !w->why; i++)
		step(w);
	return !w->why;
}

#define SEEDS 20000

static void histories_are_kept(void **state)
{
	unsigned long copies[GEN_REFUSED + 1] = {0};
	unsigned long made = 0;
	unsigned long finished = 0;
	static struct world w;

	disk_mutant = DISK_MUTANT_NONE;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		if (!run(seed, &w))
			fail_msg("seed %llu: %s", (unsigned long long)seed, w.why);
		for (int i = 0; i <= GEN_REFUSED; i++)
			copies[i] += w.copies[i];
		made += w.made;
		finished += w.finished;
	}
	printf("  copies complete: %lu, gone alone: %lu\n", finished, made);
	assert_true(made > SEEDS / 2 && finished > SEEDS / 2);
	for (int i = 0; i <= GEN_REFUSED; i++) {
		printf("  %s: %lu\n", gen_how_name((enum gen_how)i), copies[i]);
		assert_true(copies[i] > 0);
	}
}

static void broken_rules_are_seen(void **state)
{
	static const struct {
		int mutant;
		const char *name;
	} mutants[] = {
		{DISK_MUTANT_OWN_DIRT_ONLY, "own-dirt-only"},
		{DISK_MUTANT_ALONE_SAME_CURRENT, "alone-same-current"},
		{DISK_MUTANT_TRUST_LOST_INTENT, "trust-lost-intent"},
		{DISK_MUTANT_FINISH_AFTER_PEER, "finish-after-peer"},
		{DISK_MUTANT_ACTIVATE_KEEPS_BASE, "activate-keeps-base"},
		{DISK_MUTANT_FINISH_FORGETS_TARGET, "finish-forgets-target"},
		{DISK_MUTANT_MARKS_OF_ANY_BASE, "marks-of-any-base"},
		{DISK_MUTANT_SETTLE_WHEN_ACKED, "settle-when-acked"},
	};
	static struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(mutants); i++) {
		uint64_t seed = 0;

		disk_mutant = mutants[i].mutant;
		while (seed < SEEDS && run(seed, &w))
			seed++;
		if (seed == SEEDS)
			fail_msg("%s is not seen", mutants[i].name);
		printf("  %-20s seed %llu: %s\n", mutants[i].name, (unsigned long long)seed, w.why);
	}
	disk_mutant = DISK_MUTANT_NONE;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histories_are_kept),
		cmocka_unit_test(broken_rules_are_seen),
	};

	return RUN_TESTS("generation_sim", tests);
}
