/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <string.h>

#include "disk/range_lock.h"

#define N 64

struct log {
	struct range *got[N];
	size_t n;
};

static void on_granted(void *arg, struct range *r)
{
	struct log *log = arg;

	assert_true(log->n < N);
	log->got[log->n++] = r;
}

static struct range at(uint64_t off, uint64_t len)
{
	return (struct range){.off = off, .len = len};
}

static void neighbours_do_not_wait(void **state)
{
	struct range a = at(0, 512), b = at(512, 512), c = at(UINT64_MAX - 512, 512);
	struct range_lock l = {0};
	struct log log = {0};

	assert_true(range_lock_take(&l, &a));
	assert_true(range_lock_take(&l, &b));
	assert_true(range_lock_take(&l, &c));
	range_lock_drop(&l, &b, on_granted, &log);
	range_lock_drop(&l, &a, on_granted, &log);
	range_lock_drop(&l, &c, on_granted, &log);
	assert_int_equal(log.n, 0);
	assert_null(l.first);
	assert_null(l.last);
}

/* d overlaps only c, which waits: it may not overtake it, or c could starve. */
static void first_come_first_served(void **state)
{
	struct range a = at(0, 1024), b = at(512, 1024), c = at(1024, 1024), d = at(1536, 512);
	struct range_lock l = {0};
	struct log log = {0};

	assert_true(range_lock_take(&l, &a));
	assert_false(range_lock_take(&l, &b));
	assert_false(range_lock_take(&l, &c));
	assert_false(range_lock_take(&l, &d));
	range_lock_drop(&l, &a, on_granted, &log);
	assert_int_equal(log.n, 1);
	assert_ptr_equal(log.got[0], &b);
	range_lock_drop(&l, &b, on_granted, &log);
	assert_ptr_equal(log.got[1], &c);
	assert_false(range_granted(&d));
	range_lock_drop(&l, &c, on_granted, &log);
	assert_ptr_equal(log.got[2], &d);
	range_lock_drop(&l, &d, on_granted, &log);
	assert_int_equal(log.n, 3);
}

static void one_frees_many(void **state)
{
	struct range big = at(0, 4096), r[4];
	struct range_lock l = {0};
	struct log log = {0};

	assert_true(range_lock_take(&l, &big));
	for (unsigned int i = 0; i < 4; i++) {
		r[i] = at(i * 1024, 1024);
		assert_false(range_lock_take(&l, &r[i]));
	}
	range_lock_drop(&l, &big, on_granted, &log);
	assert_int_equal(log.n, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_ptr_equal(log.got[i], &r[i]);
}

/* Its connection died. */
static void one_that_waits_goes(void **state)
{
	struct range a = at(0, 512), b = at(0, 512), c = at(0, 512);
	struct range_lock l = {0};
	struct log log = {0};

	assert_true(range_lock_take(&l, &a));
	assert_false(range_lock_take(&l, &b));
	assert_false(range_lock_take(&l, &c));
	range_lock_drop(&l, &b, on_granted, &log);
	assert_int_equal(log.n, 0);
	range_lock_drop(&l, &a, on_granted, &log);
	assert_int_equal(log.n, 1);
	assert_ptr_equal(log.got[0], &c);
}

struct taker {
	struct range_lock *l;
	struct range *further;
	struct log log;
};

static void take_another(void *arg, struct range *r)
{
	struct taker *t = arg;

	on_granted(&t->log, r);
	if (t->further)
		assert_false(range_lock_take(t->l, t->further));
	t->further = NULL;
}

static void taking_while_one_is_granted(void **state)
{
	struct range a = at(0, 512), b = at(0, 512), c = at(0, 512);
	struct range_lock l = {0};
	struct taker t = {.l = &l, .further = &c};

	assert_true(range_lock_take(&l, &a));
	assert_false(range_lock_take(&l, &b));
	range_lock_drop(&l, &a, take_another, &t);
	assert_int_equal(t.log.n, 1);
	range_lock_drop(&l, &b, take_another, &t);
	assert_int_equal(t.log.n, 2);
	assert_ptr_equal(t.log.got[1], &c);
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

struct world {
	struct range_lock l;
	struct range r[N];
	uint64_t born[N]; /* 0: free */
	bool held[N];
	uint64_t clock;
};

static void world_granted(void *arg, struct range *r)
{
	struct world *w = arg;

	assert_false(w->held[r - w->r]);
	w->held[r - w->r] = true;
}

/* No two held ones overlap, and whoever waits waits for an earlier one. */
static void world_check(const struct world *w)
{
	for (int i = 0; i < N; i++) {
		bool must_wait = false;

		for (int j = 0; w->born[i] && j < N; j++) {
			if (!w->born[j] || w->born[j] >= w->born[i])
				continue;
			must_wait |= w->r[j].off < w->r[i].off + w->r[i].len &&
				     w->r[i].off < w->r[j].off + w->r[j].len;
		}
		if (w->born[i])
			assert_int_equal(w->held[i], !must_wait);
	}
}

static void random_worlds(void **state)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct world w = {0};
		uint64_t rng = seed * UINT64_C(0x9e3779b97f4a7c15);

		for (int step = 0; step < 400; step++) {
			int i = (int)(rnd(&rng) % N);

			if (w.born[i]) {
				w.born[i] = 0;
				w.held[i] = false;
				range_lock_drop(&w.l, &w.r[i], world_granted, &w);
			} else {
				w.r[i] = at(rnd(&rng) % 64, 1 + rnd(&rng) % 16);
				w.born[i] = ++w.clock;
				w.held[i] = range_lock_take(&w.l, &w.r[i]);
			}
			world_check(&w);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbours_do_not_wait),
		cmocka_unit_test(first_come_first_served),
		cmocka_unit_test(one_frees_many),
		cmocka_unit_test(one_that_waits_goes),
		cmocka_unit_test(taking_while_one_is_granted),
		cmocka_unit_test(random_worlds),
	};

	return RUN_TESTS("range_lock", tests);
}
