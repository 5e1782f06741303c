/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules of generations one by one, and what must hold for every combination. Histories: test_generation_sim. */
#include "tests/lib/test.h"

#include <string.h>

#include "disk/generation.h"

#define G1 0x1111
#define G2 0x2222
#define G3 0x3333
#define G4 0x4444
#define G5 0x5555

#define T(current, bitmap, newer, older) \
	{                                \
		current, bitmap,         \
		{                        \
			newer, older     \
		}                        \
	}

static struct gen_side side(struct gen_tuple t, enum gen_state state, bool runs, bool dirt)
{
	return (struct gen_side){
		.gen = t, .state = state, .runs_guest = runs, .dirt = dirt, .dirt_known = true};
}

static enum gen_direction turned(enum gen_direction d)
{
	return d == GEN_TO_NONE ? d : d == GEN_TO_ME ? GEN_TO_PEER : GEN_TO_ME;
}

/* Both sides' view, which must be one plan. */
static struct gen_plan plan_of(const struct gen_side *me, const struct gen_side *peer)
{
	struct gen_plan a;
	struct gen_plan b;

	gen_plan(me, peer, &a);
	gen_plan(peer, me, &b);
	assert_int_equal(a.how, b.how);
	assert_int_equal(a.direction, turned(b.direction));
	assert_true(a.use_mine == b.use_peer && a.use_peer == b.use_mine);
	assert_true(a.text[0] != 0 && memchr(a.text, 0, sizeof(a.text)));
	return a;
}

static void the_table_of_the_page(void **state)
{
	static const struct {
		const char *name;
		struct gen_tuple mine, peers;
		bool dirt_mine, dirt_peer, runs;
		enum gen_how how;
		enum gen_direction direction;
	} cases[] = {
		{"equal", T(G1, 0, 0, 0), T(G1, 0, 0, 0), false, false, true, GEN_NOTHING,
		 GEN_TO_PEER},
		{"equal, mine dirty", T(G1, 0, 0, 0), T(G1, 0, 0, 0), true, false, true, GEN_BITMAP,
		 GEN_TO_PEER},
		{"equal, the peer's dirty", T(G1, 0, 0, 0), T(G1, 0, 0, 0), false, true, true,
		 GEN_BITMAP, GEN_TO_PEER},
		{"bitmap", T(G2, G1, 0, 0), T(G1, 0, 0, 0), true, false, true, GEN_BITMAP,
		 GEN_TO_PEER},
		{"bitmap, both dirty", T(G2, G1, 0, 0), T(G1, 0, 0, 0), true, true, true,
		 GEN_BITMAP, GEN_TO_PEER},
		{"bitmap, none dirty", T(G2, G1, 0, 0), T(G1, 0, 0, 0), false, false, true,
		 GEN_BITMAP, GEN_TO_PEER},
		{"history", T(G3, G2, G1, 0), T(G1, 0, 0, 0), true, false, true, GEN_HASH,
		 GEN_TO_PEER},
		{"older history", T(G4, G3, G2, G1), T(G1, 0, 0, 0), true, false, true, GEN_HASH,
		 GEN_TO_PEER},
		{"after finish, before adopt", T(G2, 0, G1, 0), T(G1, 0, 0, 0), false, false, true,
		 GEN_HASH, GEN_TO_PEER},
		{"stale", T(G1, 0, 0, 0), T(G2, G1, 0, 0), true, true, false, GEN_BITMAP,
		 GEN_TO_ME},
		{"very stale", T(G1, 0, 0, 0), T(G3, G2, G1, 0), true, true, false, GEN_HASH,
		 GEN_TO_ME},
		{"new there", T(G1, 0, 0, 0), T(0, 0, 0, 0), true, false, true, GEN_FULL,
		 GEN_TO_PEER},
		{"new here", T(0, 0, 0, 0), T(G1, 0, 0, 0), false, true, false, GEN_FULL,
		 GEN_TO_ME},
		{"new both", T(0, 0, 0, 0), T(0, 0, 0, 0), false, false, true, GEN_REFUSED,
		 GEN_TO_NONE},
		{"two alone", T(G2, G1, 0, 0), T(G3, G1, 0, 0), true, true, true, GEN_DIVERGED,
		 GEN_TO_NONE},
		{"strangers", T(G1, 0, 0, 0), T(G2, 0, 0, 0), false, false, true, GEN_DIVERGED,
		 GEN_TO_NONE},
		{"stale runs the guest", T(G1, 0, 0, 0), T(G2, G1, 0, 0), true, true, true,
		 GEN_DIVERGED, GEN_TO_NONE},
		{"older, with a base of its own", T(G2, G1, 0, 0), T(G3, G2, 0, 0), true, true,
		 false, GEN_DIVERGED, GEN_TO_NONE},
		{"each knows the other", T(G2, G3, 0, 0), T(G3, G2, 0, 0), true, true, true,
		 GEN_DIVERGED, GEN_TO_NONE},
		{"equal with a base", T(G2, G1, 0, 0), T(G2, 0, 0, 0), true, true, true,
		 GEN_DIVERGED, GEN_TO_NONE},
		{"0 is no history", T(G2, 0, 0, 0), T(G1, 0, 0, 0), false, false, true,
		 GEN_DIVERGED, GEN_TO_NONE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gen_side me =
			side(cases[i].mine, GEN_ACTIVE, cases[i].runs, cases[i].dirt_mine);
		struct gen_side peer = side(
			cases[i].peers, cases[i].direction == GEN_TO_ME ? GEN_ACTIVE : GEN_OUTDATED,
			false, cases[i].dirt_peer);
		struct gen_plan p = plan_of(&me, &peer);

		if (p.how != cases[i].how || p.direction != cases[i].direction)
			fail_msg("%s: %s, %d: %s", cases[i].name, gen_how_name(p.how), p.direction,
				 p.text);
		if (p.how == GEN_BITMAP) {
			assert_true(p.use_mine == cases[i].dirt_mine);
			assert_true(p.use_peer == cases[i].dirt_peer);
		}
	}
}

static void what_is_not_known_is_compared(void **state)
{
	for (int unknown = 0; unknown < 2; unknown++) {
		for (int equal = 0; equal < 2; equal++) {
			struct gen_side me =
				side((struct gen_tuple)T(equal ? G1 : G2, equal ? 0 : G1, 0, 0),
				     GEN_ACTIVE, true, false);
			struct gen_side peer =
				side((struct gen_tuple)T(G1, 0, 0, 0), GEN_OUTDATED, false, false);

			*(unknown ? &me.dirt_known : &peer.dirt_known) = false;
			assert_int_equal(plan_of(&me, &peer).how, GEN_HASH);
		}
	}
}

static void equal_ones_without_a_guest(void **state)
{
	struct gen_side a = side((struct gen_tuple)T(G1, 0, 0, 0), GEN_CONSISTENT, false, false);
	struct gen_side b = side((struct gen_tuple)T(G1, 0, 0, 0), GEN_OUTDATED, false, false);
	struct gen_plan p = plan_of(&a, &b);

	assert_int_equal(p.how, GEN_NOTHING);
	assert_int_equal(p.direction, GEN_TO_NONE);
	a.dirt = true;
	assert_int_equal(plan_of(&a, &b).how, GEN_REFUSED);
	/* The one that last ran it is the source, also when its host has just come back. */
	b.state = GEN_ACTIVE;
	p = plan_of(&a, &b);
	assert_int_equal(p.how, GEN_BITMAP);
	assert_int_equal(p.direction, GEN_TO_ME);
	a.state = GEN_ACTIVE;
	assert_int_equal(plan_of(&a, &b).how, GEN_DIVERGED);
	a.state = GEN_SYNCING;
	b.state = GEN_OUTDATED;
	a.dirt = false;
	assert_int_equal(plan_of(&a, &b).how, GEN_REFUSED);
}

static const struct gen_tuple tuples[] = {
	T(0, 0, 0, 0),	 T(G1, 0, 0, 0),   T(G2, 0, 0, 0),    T(G2, G1, 0, 0), T(G3, G1, 0, 0),
	T(G2, 0, G1, 0), T(G3, G2, G1, 0), T(G4, G3, G2, G1), T(G1, G2, 0, 0), T(G5, G4, G3, G2),
};

static void check_any(const struct gen_side *me, const struct gen_side *peer)
{
	struct gen_plan p = plan_of(me, peer);
	const struct gen_side *source = p.direction == GEN_TO_PEER ? me : peer;
	const struct gen_side *target = p.direction == GEN_TO_PEER ? peer : me;

	if (me->state == GEN_FAILED || peer->state == GEN_FAILED)
		assert_int_equal(p.how, GEN_REFUSED);
	if (me->runs_guest && peer->runs_guest)
		assert_true(p.how == GEN_DIVERGED || p.how == GEN_REFUSED);
	if (p.how == GEN_DIVERGED || p.how == GEN_REFUSED)
		assert_int_equal(p.direction, GEN_TO_NONE);
	else if (p.how != GEN_NOTHING)
		assert_int_not_equal(p.direction, GEN_TO_NONE);
	if (p.how != GEN_BITMAP)
		assert_false(p.use_mine || p.use_peer);
	else
		assert_true(me->dirt_known && peer->dirt_known);
	if (p.how == GEN_NOTHING)
		assert_true(!me->dirt && !peer->dirt && me->gen.current == peer->gen.current);
	if (p.direction == GEN_TO_NONE)
		return;
	assert_false(target->runs_guest);
	assert_int_not_equal(source->state, GEN_SYNCING);
	assert_int_not_equal(source->state, GEN_EMPTY);
	assert_true(source->gen.current != 0);
}

static void every_combination_keeps_the_rules(void **state)
{
	unsigned long n = 0;

	for (size_t a = 0; a < ARRAY_SIZE(tuples); a++) {
		for (size_t b = 0; b < ARRAY_SIZE(tuples); b++) {
			for (int s = 0; s < 36 * 64; s++, n++) {
				struct gen_side me = side(tuples[a], (enum gen_state)(s % 6 + 1),
							  s / 36 & 1, s / 36 & 4);
				struct gen_side peer = side(tuples[b],
							    (enum gen_state)(s / 6 % 6 + 1),
							    s / 36 & 2, s / 36 & 8);

				me.dirt_known = s / 36 & 16;
				peer.dirt_known = s / 36 & 32;
				check_any(&me, &peer);
			}
		}
	}
	assert_int_equal(n, 100 * 36 * 64);
}

static void new_generations(void **state)
{
	struct gen_tuple a = {0};
	struct gen_tuple b = {0};

	assert_true(gen_alone(&a, G1));
	assert_true(a.current == G1 && a.bitmap == 0);
	gen_finish(&a, 0);
	gen_adopt(&b, &a);
	assert_memory_equal(&a, &b, sizeof(a));
	/* Alone, and again: the second time nobody else knows the current one. */
	assert_true(gen_alone(&a, G2));
	assert_true(a.current == G2 && a.bitmap == G1);
	assert_false(gen_alone(&a, G3));
	assert_true(a.current == G2 && a.bitmap == G1);
	gen_finish(&a, G1);
	assert_true(a.current == G2 && a.bitmap == 0 && a.history[0] == G1);
	gen_finish(&a, G1);
	assert_true(a.history[0] == G1 && a.history[1] == 0);
	gen_finish(&a, G2);
	assert_true(a.history[0] == G1 && a.history[1] == 0);
	assert_true(gen_alone(&a, G3));
	assert_true(a.bitmap == G2 && a.history[0] == G1);
	gen_finish(&a, G2);
	gen_adopt(&b, &a);
	gen_activate(&b, G4);
	assert_true(b.current == G4 && b.bitmap == G3 && b.history[0] == G2 && b.history[1] == G1);
	gen_activate(&b, G5);
	assert_true(b.current == G5 && b.bitmap == G4 && b.history[0] == G3 && b.history[1] == G2);
}

/* Copy after copy is complete, and none is adopted; in between the source goes on alone: there is still one history. */
static void a_target_that_never_adopts(void **state)
{
	struct gen_tuple a = T(G2, G1, 0, 0);
	struct gen_tuple b = T(G1, 0, 0, 0);

	for (uint64_t i = 0; i < 5; i++) {
		struct gen_side me, peer;

		gen_finish(&a, b.current);
		me = side(a, GEN_ACTIVE, true, true);
		peer = side(b, GEN_SYNCING, false, true);
		assert_int_equal(plan_of(&me, &peer).how, GEN_HASH);
		assert_true(gen_alone(&a, 1000 + i));
		me = side(a, GEN_ACTIVE, true, true);
		assert_int_equal(plan_of(&me, &peer).how, GEN_HASH);
		assert_int_equal(plan_of(&me, &peer).direction, GEN_TO_PEER);
	}
	gen_finish(&a, b.current);
	gen_adopt(&b, &a);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void the_operator_chooses(void **state)
{
	static const struct {
		struct gen_tuple victim, survivor;
		enum gen_how how;
	} cases[] = {
		{T(G2, G1, 0, 0), T(G3, G1, 0, 0), GEN_BITMAP}, /* both alone since G1 */
		{T(G2, G1, 0, 0), T(G4, G3, G1, 0), GEN_HASH},	/* the survivor since later */
		{T(G2, G1, 0, 0), T(G1, 0, 0, 0), GEN_BITMAP},	/* the older one is to survive */
		{T(G2, G4, 0, 0), T(G3, G1, 0, 0), GEN_HASH},	/* strangers */
		{T(G2, 0, 0, 0), T(G3, G1, 0, 0), GEN_HASH},
		{T(G2, 0, G1, 0), T(G3, G1, 0, 0),
		 GEN_HASH}, /* its marks do not reach back so far */
		{T(G1, 0, 0, 0), T(G2, G1, 0, 0), GEN_BITMAP}, /* there was no need */
		{T(G1, 0, 0, 0), T(G1, 0, 0, 0), GEN_BITMAP},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gen_tuple t = cases[i].victim;
		struct gen_side me = side(cases[i].survivor, GEN_ACTIVE, true, true);
		struct gen_tuple again;
		struct gen_side peer;
		struct gen_plan p;

		assert_false(gen_is_surrendered(&t));
		gen_surrender(&t);
		assert_true(gen_is_surrendered(&t));
		again = t;
		gen_surrender(&again);
		assert_memory_equal(&again, &t, sizeof(t));
		peer = side(t, GEN_OUTDATED, false, true);
		p = plan_of(&me, &peer);
		assert_int_equal(p.how, cases[i].how);
		assert_int_equal(p.direction, GEN_TO_PEER);
		assert_non_null(strstr(p.text, "it was given up there"));
		/* Its marks are no use if they are lost. */
		peer.dirt_known = false;
		assert_int_equal(plan_of(&me, &peer).how, GEN_HASH);
		/* It must not run, whatever it is. */
		peer.runs_guest = true;
		assert_int_equal(plan_of(&me, &peer).direction, GEN_TO_NONE);
	}
}

/* Nobody's copy is overwritten by one that was given up, or by none. */
static void both_were_given_up(void **state)
{
	struct gen_tuple t = T(G2, G1, 0, 0);
	struct gen_tuple none = T(0, 0, 0, 0);
	struct gen_side me, peer;

	gen_surrender(&none);
	assert_false(gen_is_surrendered(&none));
	gen_surrender(&t);
	me = side(t, GEN_OUTDATED, false, true);
	peer = side(t, GEN_OUTDATED, false, true);
	assert_int_equal(plan_of(&me, &peer).how, GEN_REFUSED);
	peer = side(none, GEN_EMPTY, false, true);
	assert_int_equal(plan_of(&me, &peer).how, GEN_REFUSED);
	assert_int_equal(plan_of(&peer, &me).how, GEN_REFUSED);
	/* With the copy that it is adopted. */
	gen_adopt(&t, &(struct gen_tuple)T(G3, 0, G1, 0));
	assert_false(gen_is_surrendered(&t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_of_the_page),
		cmocka_unit_test(what_is_not_known_is_compared),
		cmocka_unit_test(equal_ones_without_a_guest),
		cmocka_unit_test(every_combination_keeps_the_rules),
		cmocka_unit_test(new_generations),
		cmocka_unit_test(a_target_that_never_adopts),
		cmocka_unit_test(the_operator_chooses),
		cmocka_unit_test(both_were_given_up),
	};

	return RUN_TESTS("generation", tests);
}
