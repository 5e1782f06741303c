/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Output commit without a kernel: the lane book on random sequences under an oracle, then netbuf
 * on fake lanes, then both threads of netbuf at once.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "netbuffer/lane_book.h"
#include "netbuffer/lanes_nl.h"
#include "netbuffer/netbuf.h"

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* ---- lane book: a world with an oracle ------------------------------------ */

#define FRAMES_MAX 4096

struct frame {
	uint64_t epoch;
	uint64_t seq;
	bool free; /* may leave: sent before protection, or freed by open */
};

struct world {
	struct lane_book book;
	struct frame lane[LANES][FRAMES_MAX];
	unsigned int n[LANES];
	bool gate[LANES]; /* open */
	unsigned int word;
	uint64_t epoch;	    /* the guest's */
	uint64_t committed; /* of this session; valid if has */
	bool has;
	bool flowing; /* no switch yet in this session */
	uint64_t seq;
	uint64_t out_seq;
	uint64_t rng;
	unsigned int out;
	unsigned int leaked;
	unsigned int disordered;
	bool broken; /* lets out lanes that were not committed */
};

static void leave(struct world *w, const struct frame *f)
{
	w->out++;
	if (!f->free && !(w->has && f->epoch <= w->committed))
		w->leaked++;
	if (f->seq <= w->out_seq)
		w->disordered++;
	w->out_seq = f->seq;
}

static void flush(struct world *w, unsigned int l)
{
	for (unsigned int i = 0; i < w->n[l]; i++)
		leave(w, &w->lane[l][i]);
	w->n[l] = 0;
}

static void emit(struct world *w)
{
	struct frame f = {.epoch = w->epoch, .seq = ++w->seq, .free = w->flowing};

	if (w->gate[w->word]) {
		/* What is in an open lane has left already. */
		leave(w, &f);
		return;
	}
	if (w->n[w->word] < FRAMES_MAX)
		w->lane[w->word][w->n[w->word]++] = f;
}

static void attempt(struct world *w)
{
	unsigned int lane = LANES;
	int rc = lane_book_prepare(&w->book, w->epoch, &lane);

	if (rc == -EAGAIN)
		return;
	assert_int_equal(rc, 0);
	assert_in_range(lane, 0, LANES - 1);
	if (lane != w->word) {
		assert_false(w->gate[lane]); /* P1 */
		assert_int_equal(w->n[lane], 0);
	}
	if (rnd(&w->rng) % 4 == 0) {
		lane_book_aborted(&w->book, false);
		return;
	}
	w->word = lane;
	lane_book_switched(&w->book);
	if (rnd(&w->rng) % 4 == 0)
		lane_book_aborted(&w->book, true);
	else
		w->epoch++;
	w->flowing = false;
}

static void commit(struct world *w)
{
	uint64_t e = w->epoch - rnd(&w->rng) % 5;
	bool ended = !w->flowing && e < w->epoch && e <= w->epoch;
	bool newer = !w->has || e > w->committed;
	int rc;

	if (e > w->epoch) /* wrapped */
		return;
	if (w->book.opening) /* late, of the session that was given up: no matter */
		return;
	rc = lane_book_commit(&w->book, e);
	if (w->flowing || !ended || !newer) {
		assert_int_equal(rc, -EINVAL);
		return;
	}
	assert_int_equal(rc, 0);
	w->committed = e;
	w->has = true;
}

static bool work(struct world *w)
{
	bool fresh;
	unsigned int l = lane_book_work(&w->book, &fresh);

	if (l == LANES)
		return false;
	if (l == w->book.cur) {
		w->gate[l] = true;
		flush(w, l);
		lane_book_opened(&w->book);
		return true;
	}
	w->gate[l] = true;
	flush(w, l);
	if (rnd(&w->rng) % 3 == 0)
		return false; /* takes its time */
	w->gate[l] = false;
	lane_book_drained(&w->book, l);
	return true;
}

static void go_open(struct world *w)
{
	if (!w->flowing) {
		for (unsigned int l = 0; l < LANES; l++)
			for (unsigned int i = 0; i < w->n[l]; i++)
				w->lane[l][i].free = true;
	}
	lane_book_open(&w->book);
	/* The world's epochs start anew; what was emitted before the next switch may leave. */
	w->flowing = true;
	w->has = false;
	w->epoch = rnd(&w->rng) % 1000;
}

static void break_a_rule(struct world *w)
{
	unsigned int l = (w->book.cur + LANES - 1) % LANES;

	if (w->book.state[l] == LANE_HOLDING)
		flush(w, l);
}

static void world_run(struct world *w, uint64_t seed, unsigned int steps)
{
	memset(w, 0, sizeof(*w));
	w->rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	w->gate[0] = true;
	w->flowing = true;
	lane_book_init(&w->book);
	for (unsigned int i = 0; i < steps; i++) {
		switch (rnd(&w->rng) % 16) {
		case 0 ... 5:
			emit(w);
			break;
		case 6 ... 8:
			attempt(w);
			break;
		case 9 ... 11:
			commit(w);
			break;
		case 12 ... 14:
			while (work(w))
				;
			break;
		default:
			if (rnd(&w->rng) % 16 == 0)
				go_open(w);
			else if (w->broken)
				break_a_rule(w);
		}
	}
}

/* Nothing is held for ever: with acknowledgements coming, everything gets out. */
static void world_finish(struct world *w)
{
	unsigned int rounds = 0;
	unsigned int held = 1;

	w->rng |= 1;
	while (held > 0 && ++rounds < 200) {
		uint64_t ended = w->epoch;

		for (int i = 0; i < 20; i++)
			(void)work(w);
		attempt(w);
		if (w->epoch > ended && (!w->has || ended > w->committed)) {
			assert_int_equal(lane_book_commit(&w->book, ended), 0);
			w->committed = ended;
			w->has = true;
		} else if (w->epoch > 0 && !w->flowing &&
			   (!w->has || w->epoch - 1 > w->committed) &&
			   lane_book_commit(&w->book, w->epoch - 1) == 0) {
			w->committed = w->epoch - 1;
			w->has = true;
		}
		held = 0;
		for (unsigned int l = 0; l < LANES; l++)
			held += w->n[l];
	}
	assert_int_equal(held, 0);
}

static void book_keeps_p1(void **state)
{
	struct world *w = malloc(sizeof(*w));
	unsigned int out = 0;

	assert_non_null(w);
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		world_run(w, seed, 400);
		world_finish(w);
		if (w->leaked || w->disordered)
			fail_msg("seed %lu: %u leaked, %u out of order", (unsigned long)seed,
				 w->leaked, w->disordered);
		assert_int_equal(w->out, w->seq);
		out += w->out;
	}
	assert_true(out > 100000);
	free(w);
}

/* The oracle sees what it is there for. */
static void oracle_can_fail(void **state)
{
	struct world *w = malloc(sizeof(*w));
	unsigned int leaked = 0;

	assert_non_null(w);
	for (uint64_t seed = 1; seed <= 20; seed++) {
		world_run(w, seed, 0);
		w->broken = true;
		for (int i = 0; i < 400; i++) {
			emit(w);
			attempt(w);
			break_a_rule(w);
		}
		leaked += w->leaked;
	}
	assert_true(leaked > 0);
	free(w);
}

static void book_waits_for_a_lane(void **state)
{
	struct lane_book b;
	unsigned int lane;
	bool fresh;

	lane_book_init(&b);
	for (uint64_t n = 0; n + 1 < LANES; n++) {
		assert_int_equal(lane_book_prepare(&b, n, &lane), 0);
		assert_int_equal(lane, n + 1);
		lane_book_switched(&b);
	}
	assert_int_equal(lane_book_prepare(&b, LANES - 1, &lane), -EAGAIN);
	assert_int_equal(lane_book_work(&b, &fresh), LANES);
	assert_int_equal(lane_book_commit(&b, 0), 0);
	assert_int_equal(lane_book_prepare(&b, LANES - 1, &lane), -EAGAIN);
	assert_int_equal(lane_book_work(&b, &fresh), 0);
	assert_true(fresh);
	assert_int_equal(lane_book_prepare(&b, LANES - 1, &lane), -EAGAIN);
	lane_book_drained(&b, 0);
	assert_int_equal(lane_book_prepare(&b, LANES - 1, &lane), 0);
	assert_int_equal(lane, 0);
	assert_int_equal(lane_book_prepare(&b, 7, &lane), -EINVAL);
}

/* Aborts use up the lanes; checkpoints must go on all the same. */
static void book_survives_aborts(void **state)
{
	struct lane_book b;
	unsigned int lane;
	bool fresh;

	lane_book_init(&b);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(lane_book_prepare(&b, 5, &lane), 0);
		lane_book_switched(&b);
		lane_book_aborted(&b, true);
		assert_int_equal(lane_book_commit(&b, 5), -EINVAL);
		assert_int_equal(lane_book_work(&b, &fresh), LANES);
	}
	assert_int_equal(lane_book_prepare(&b, 5, &lane), 0);
	lane_book_switched(&b);
	assert_int_equal(lane_book_commit(&b, 5), 0);
	for (unsigned int i = 0; i + 1 < LANES; i++) {
		unsigned int l = lane_book_work(&b, &fresh);

		assert_int_equal(l, i); /* oldest first */
		lane_book_drained(&b, l);
	}
	assert_int_equal(lane_book_work(&b, &fresh), LANES); /* the last one waits for 6 */
	assert_int_equal(lane_book_commit(&b, 6), -EINVAL);
}

static void book_adopts(void **state)
{
	const bool busy[LANES] = {[1] = true, [2] = true};
	struct lane_book b;
	unsigned int lane;
	bool fresh;

	lane_book_adopt(&b, 2, busy);
	assert_false(lane_book_is_open(&b));
	assert_int_equal(lane_book_work(&b, &fresh), LANES);
	assert_int_equal(lane_book_commit(&b, 3), -EINVAL);
	assert_int_equal(lane_book_prepare(&b, 40, &lane), 0);
	assert_int_equal(lane, 3);
	lane_book_aborted(&b, false);
	lane_book_open(&b);
	assert_int_equal(lane_book_prepare(&b, 0, &lane), -EAGAIN);
	assert_int_equal(lane_book_work(&b, &fresh), 1);
	lane_book_drained(&b, 1);
	assert_int_equal(lane_book_work(&b, &fresh), 2);
	lane_book_opened(&b);
	assert_true(lane_book_is_open(&b));
	assert_int_equal(lane_book_work(&b, &fresh), LANES);
	assert_int_equal(lane_book_prepare(&b, 0, &lane), 0);
}

/* ---- fake lanes ------------------------------------------------------------ */

#define FAKE_VIFS 2U
#define FAKE_FRAME 1000U

struct fake_vif {
	struct lane_stats lane[LANES];
	bool gate[LANES];
	uint32_t limit[LANES]; /* 0: the usual one */
	_Atomic unsigned int word;
	bool held;
	enum lane_found found;
	bool attached;
};

struct fake {
	struct fake_vif vif[FAKE_VIFS];
	unsigned int n;
	unsigned int drain_per_look; /* frames that leave an open lane between two looks; 0: all */
	int fail_release;	     /* so many releases fail with -EBUSY */
	int deaf_release;	     /* so many are ignored */
	int fail_limit;		     /* so many changes of a limit fail with -EBUSY */
	bool gone[FAKE_VIFS];
	int fail_attach; /* vif whose attach fails, -1 */
	unsigned int detached;
	bool detach_kept;
	char order[64]; /* lanes of vif 0 in the order of release */
	unsigned int tampered;
	enum lane_tamper how;
};

static void fake_run(struct fake *f)
{
	for (unsigned int v = 0; v < f->n; v++) {
		for (unsigned int l = 0; l < LANES; l++) {
			struct lane_stats *s = &f->vif[v].lane[l];
			uint32_t n = s->frames;

			if (!f->vif[v].gate[l])
				continue;
			if (f->drain_per_look && n > f->drain_per_look)
				n = f->drain_per_look;
			s->frames -= n;
			s->bytes = s->frames ? s->bytes - n * FAKE_FRAME : 0;
			s->released += n;
		}
	}
}

#define FAKE_LIMIT (1000 * FAKE_FRAME)

static void fake_send_sized(struct fake *f, unsigned int vif, unsigned int n, uint32_t size)
{
	unsigned int lane = f->vif[vif].word;
	struct lane_stats *s = &f->vif[vif].lane[lane];
	uint32_t limit = f->vif[vif].limit[lane] ? f->vif[vif].limit[lane] : FAKE_LIMIT;

	for (unsigned int i = 0; i < n; i++) {
		if (!f->vif[vif].gate[lane] && s->bytes + size > limit) {
			s->dropped++;
			continue;
		}
		s->frames++;
		s->bytes += size;
	}
	if (f->drain_per_look == 0)
		fake_run(f);
}

static void fake_send(struct fake *f, unsigned int vif, unsigned int n)
{
	fake_send_sized(f, vif, n, FAKE_FRAME);
}

static unsigned int fake_count(void *ctx)
{
	const struct fake *f = ctx;

	return f->n;
}

static const char *fake_name(void *ctx, unsigned int vif)
{
	return vif == 0 ? "vif1.0" : "vif1.1";
}

static int fake_attach(void *ctx, unsigned int vif, enum lane_found *found, unsigned int *cur,
		       struct err *e)
{
	struct fake *f = ctx;

	if (f->fail_attach == (int)vif)
		return err_set(e, -ENODEV, "fake");
	*found = f->vif[vif].found;
	*cur = f->vif[vif].word;
	if (*found == LANES_NEW)
		f->vif[vif].gate[0] = true;
	f->vif[vif].attached = true;
	return 0;
}

static int fake_detach(void *ctx, unsigned int vif, bool keep_flow, struct err *e)
{
	struct fake *f = ctx;

	f->vif[vif].attached = false;
	f->detached++;
	f->detach_kept = keep_flow;
	return 0;
}

static void fake_set(void *ctx, unsigned int vif, unsigned int lane)
{
	struct fake *f = ctx;

	f->vif[vif].word = lane;
}

static void fake_mark_held(void *ctx, unsigned int vif, bool held)
{
	struct fake *f = ctx;

	f->vif[vif].held = held;
}

static int fake_release(void *ctx, unsigned int vif, unsigned int lane)
{
	struct fake *f = ctx;
	size_t n = strlen(f->order);

	if (f->gone[vif])
		return -ENODEV;
	if (f->fail_release > 0) {
		f->fail_release--;
		return -EBUSY;
	}
	if (f->deaf_release > 0) {
		f->deaf_release--;
		return 0;
	}
	if (vif == 0 && n + 1 < sizeof(f->order))
		f->order[n] = (char)('0' + lane);
	f->vif[vif].gate[lane] = true;
	if (f->drain_per_look == 0)
		fake_run(f);
	return 0;
}

static int fake_close(void *ctx, unsigned int vif, unsigned int lane)
{
	struct fake *f = ctx;

	if (f->gone[vif])
		return -ENODEV;
	f->vif[vif].gate[lane] = false;
	return 0;
}

static int fake_limit(void *ctx, unsigned int vif, unsigned int lane, uint32_t bytes)
{
	struct fake *f = ctx;

	if (f->gone[vif])
		return -ENODEV;
	if (f->fail_limit > 0) {
		f->fail_limit--;
		return -EBUSY;
	}
	f->vif[vif].limit[lane] = bytes;
	return 0;
}

static int fake_stats(void *ctx, unsigned int vif, struct lane_stats out[LANES])
{
	struct fake *f = ctx;

	if (f->gone[vif])
		return -ENODEV;
	fake_run(f);
	memcpy(out, f->vif[vif].lane, sizeof(f->vif[vif].lane));
	return 0;
}

static int fake_watch_fd(void *ctx)
{
	return -1;
}

static void fake_watch(void *ctx, lane_tampered_fn *fn, void *arg)
{
	fn(arg, 0, LANE_REDIRECT_GONE, "fake");
}

static const struct lane_ops fake_ops = {
	.count = fake_count,
	.name = fake_name,
	.attach = fake_attach,
	.detach = fake_detach,
	.set = fake_set,
	.mark_held = fake_mark_held,
	.release = fake_release,
	.close = fake_close,
	.limit = fake_limit,
	.stats = fake_stats,
	.watch_fd = fake_watch_fd,
	.watch = fake_watch,
};

static void on_tampered(void *arg, unsigned int vif, enum lane_tamper how, const char *what)
{
	struct fake *f = arg;

	f->tampered++;
	f->how = how;
}

struct rig {
	struct fake f;
	struct netbuf *nb;
	struct ckpt_device *d;
};

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->f.n = FAKE_VIFS;
	r->f.fail_attach = -1;
}

static void rig_start(struct rig *r)
{
	struct err e = ERR_INIT;
	struct netbuf_conf conf = {
		.ops = &fake_ops,
		.ctx = &r->f,
		.lane_bytes = FAKE_LIMIT,
		.tampered = on_tampered,
		.arg = &r->f,
	};

	r->nb = netbuf_new(&conf, &e);
	assert_non_null(r->nb);
	r->d = netbuf_device(r->nb);
	assert_int_equal(r->d->ops->setup(r->d, &e), 0);
}

static void checkpoint(struct rig *r, uint64_t epoch)
{
	assert_int_equal(r->d->ops->prepare(r->d, epoch), 0);
	assert_int_equal(r->d->ops->postsuspend(r->d, epoch), 0);
	assert_int_equal(r->d->ops->preresume(r->d, epoch), 0);
}

static unsigned int held(const struct rig *r)
{
	unsigned int n = 0;

	for (unsigned int v = 0; v < r->f.n; v++)
		for (unsigned int l = 0; l < LANES; l++)
			n += r->f.vif[v].lane[l].frames;
	return n;
}

static void holds_until_commit(void **state)
{
	struct netbuf_stats s;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	fake_send(&r.f, 0, 5);
	assert_int_equal(held(&r), 0); /* unprotected: it flows */
	assert_true(netbuf_is_open(r.nb));
	assert_int_equal(netbuf_next_deadline(r.nb), CLOCK_NEVER);

	checkpoint(&r, 0);
	assert_true(r.f.vif[0].held && r.f.vif[1].held);
	for (uint64_t n = 1; n < 50; n++) {
		fake_send(&r.f, 0, 3);
		fake_send(&r.f, 1, 4);
		checkpoint(&r, n);
		fake_send(&r.f, 0, 1);
		assert_int_equal(held(&r), n == 1 ? 8 : 9);
		assert_int_equal(r.d->ops->commit(r.d, n + 1), -EINVAL);
		if (n % 2 == 0)
			assert_int_equal(r.d->ops->commit(r.d, n - 1), -EINVAL);
		assert_int_equal(held(&r), n == 1 ? 8 : 9);
		assert_int_equal(r.d->ops->commit(r.d, n), 0);
		assert_int_equal(held(&r), 1);
	}
	netbuf_poll(r.nb, clock_now() + NETBUF_PRESSURE_POLL_NS * 2);
	netbuf_get_stats(r.nb, 0, &s);
	assert_string_equal(s.name, "vif1.0");
	assert_int_equal(s.held_frames, 1);
	assert_int_equal(s.held_bytes, FAKE_FRAME);
	assert_int_equal(s.released_frames, 5 + 49 * 4 - 1);
	netbuf_free(r.nb);
}

static void a_switch_needs_its_prepare(void **state)
{
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	assert_int_equal(r.d->ops->postsuspend(r.d, 0), -EINVAL);
	assert_int_equal(r.d->ops->prepare(r.d, 3), 0);
	assert_int_equal(r.d->ops->postsuspend(r.d, 4), -EINVAL);
	assert_int_equal(r.f.vif[0].word, 0);
	assert_int_equal(r.d->ops->postsuspend(r.d, 3), 0);
	assert_int_equal(r.d->ops->postsuspend(r.d, 3), -EINVAL);
	assert_int_equal(r.f.vif[0].word, 1);
	assert_int_equal(r.f.vif[1].word, 1);
	assert_int_equal(r.d->ops->prepare(r.d, 9), -EINVAL);
	assert_int_equal(r.d->ops->prepare(r.d, UINT64_MAX), -EINVAL);
	netbuf_free(r.nb);
}

static void waits_when_lanes_are_used_up(void **state)
{
	struct netbuf_counters c;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	for (uint64_t n = 0; n + 1 < LANES; n++) {
		checkpoint(&r, n);
		fake_send(&r.f, 0, 1);
	}
	assert_int_equal(r.d->ops->prepare(r.d, LANES - 1), -EAGAIN);
	assert_int_equal(r.d->ops->commit(r.d, 1), 0); /* and 0 with it */
	checkpoint(&r, LANES - 1);
	checkpoint(&r, LANES);
	assert_int_equal(r.d->ops->prepare(r.d, LANES + 1), -EAGAIN);
	netbuf_get_counters(r.nb, &c);
	assert_int_equal(c.waits, 2);
	assert_int_equal(c.switches, LANES + 1);
	netbuf_free(r.nb);
}

/* A lane that drains slowly is not used again, and the next one waits for it. */
static void drains_in_order(void **state)
{
	uint64_t now = clock_now();
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	r.f.drain_per_look = 2;
	checkpoint(&r, 0);
	fake_send(&r.f, 0, 9);
	checkpoint(&r, 1);
	fake_send(&r.f, 0, 3);
	checkpoint(&r, 2);
	fake_send(&r.f, 0, 7);
	assert_int_equal(r.d->ops->commit(r.d, 2), 0);
	assert_true(netbuf_next_deadline(r.nb) <= clock_now() + NETBUF_DRAIN_POLL_NS);
	while (r.f.vif[0].lane[1].frames > 0) {
		assert_int_equal(r.f.vif[0].lane[2].frames, 3);
		netbuf_poll(r.nb, now += NETBUF_DRAIN_POLL_NS);
	}
	for (int i = 0; i < 20; i++)
		netbuf_poll(r.nb, now += NETBUF_DRAIN_POLL_NS);
	assert_int_equal(held(&r), 7);
	assert_string_equal(r.f.order, "012");
	assert_false(r.f.vif[0].gate[1] || r.f.vif[0].gate[2] || r.f.vif[0].gate[3]);
	netbuf_free(r.nb);
}

static void lets_out_again(void **state)
{
	uint64_t now = clock_now();
	struct netbuf_counters c;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	checkpoint(&r, 0);
	fake_send(&r.f, 0, 9);
	checkpoint(&r, 1);
	r.f.deaf_release = 4; /* both vifs, for both lanes */
	assert_int_equal(r.d->ops->commit(r.d, 1), 0);
	for (int i = 0; i < 30 && held(&r) > 0; i++)
		netbuf_poll(r.nb, now += NETBUF_DRAIN_POLL_NS);
	assert_int_equal(held(&r), 0);
	netbuf_get_counters(r.nb, &c);
	assert_true(c.again > 0);

	fake_send(&r.f, 1, 9);
	checkpoint(&r, 2);
	r.f.fail_release = 5;
	assert_int_equal(r.d->ops->commit(r.d, 2), 0);
	for (int i = 0; i < 60 && held(&r) > 0; i++)
		netbuf_poll(r.nb, now += NETBUF_DRAIN_POLL_NS);
	assert_int_equal(held(&r), 0);
	netbuf_get_counters(r.nb, &c);
	assert_int_equal(c.failures, 5);
	netbuf_free(r.nb);
}

static void aborts(void **state)
{
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	/* Before the switch, unprotected: output flows on. */
	assert_int_equal(r.d->ops->prepare(r.d, 0), 0);
	r.d->ops->abort(r.d, 0);
	netbuf_poll(r.nb, clock_now());
	assert_false(r.f.vif[0].held);
	fake_send(&r.f, 0, 1);
	assert_int_equal(held(&r), 0);

	checkpoint(&r, 0);
	fake_send(&r.f, 0, 1);
	/* After the switch: held, with the same epoch. */
	assert_int_equal(r.d->ops->prepare(r.d, 1), 0);
	assert_int_equal(r.d->ops->postsuspend(r.d, 1), 0);
	r.d->ops->abort(r.d, 1);
	fake_send(&r.f, 0, 1);
	assert_int_equal(r.d->ops->commit(r.d, 1), -EINVAL);
	assert_int_equal(r.d->ops->commit(r.d, 0), 0);
	assert_int_equal(held(&r), 2);
	/* Another one for another epoch changes nothing. */
	assert_int_equal(r.d->ops->prepare(r.d, 1), 0);
	r.d->ops->abort(r.d, 0);
	assert_int_equal(r.d->ops->postsuspend(r.d, 1), 0);
	fake_send(&r.f, 0, 1);
	assert_int_equal(r.d->ops->commit(r.d, 1), 0);
	assert_int_equal(held(&r), 1);
	netbuf_free(r.nb);
}

static void opens_in_order_and_starts_anew(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	for (int round = 0; round < 3; round++) {
		uint64_t base = (uint64_t)round * 1000;

		checkpoint(&r, base);
		fake_send(&r.f, 0, 1);
		checkpoint(&r, base + 1);
		fake_send(&r.f, 0, 1);
		assert_int_equal(r.d->ops->commit(r.d, base), 0);
		memset(r.f.order, 0, sizeof(r.f.order));
		assert_int_equal(r.d->ops->open(r.d, &e), 0);
		assert_true(netbuf_is_open(r.nb));
		assert_int_equal(strlen(r.f.order), 2);
		assert_int_equal((r.f.order[0] - '0' + 1) % (int)LANES, r.f.order[1] - '0');
		assert_int_equal(held(&r), 0);
		assert_false(r.f.vif[0].held);
		fake_send(&r.f, 0, 1);
		assert_int_equal(held(&r), 0);
		assert_int_equal(netbuf_next_deadline(r.nb), CLOCK_NEVER);
	}
	/* What was prepared is taken back. */
	assert_int_equal(r.d->ops->prepare(r.d, 77), 0);
	assert_int_equal(r.d->ops->open(r.d, &e), 0);
	assert_int_equal(r.d->ops->postsuspend(r.d, 77), -EINVAL);
	r.d->ops->abort(r.d, 77);
	assert_true(netbuf_is_open(r.nb));
	assert_false(r.f.vif[0].held);
	netbuf_free(r.nb);
}

static void opens_all_when_order_takes_too_long(void **state)
{
	struct err e = ERR_INIT;
	uint64_t now = clock_now();
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	checkpoint(&r, 0);
	r.f.drain_per_look = 1;
	fake_send(&r.f, 0, 100000);
	checkpoint(&r, 1);
	fake_send(&r.f, 0, 1);
	assert_int_equal(r.d->ops->open(r.d, &e), 0);
	assert_false(netbuf_is_open(r.nb));
	assert_false(r.f.vif[0].gate[2]);
	assert_int_equal(r.d->ops->prepare(r.d, 0), -EAGAIN);
	netbuf_poll(r.nb, now + 2 * NETBUF_OPEN_ORDERED_NS);
	assert_true(netbuf_is_open(r.nb));
	assert_true(r.f.vif[0].gate[1] && r.f.vif[0].gate[2]);
	assert_false(r.f.vif[0].held);
	r.f.drain_per_look = 0;
	netbuf_poll(r.nb, now + 3 * NETBUF_OPEN_ORDERED_NS);
	assert_int_equal(held(&r), 0);
	assert_false(r.f.vif[0].gate[1]);
	checkpoint(&r, 0);
	netbuf_free(r.nb);
}

static void adopts_held_output(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	rig_init(&r);
	for (unsigned int v = 0; v < FAKE_VIFS; v++) {
		r.f.vif[v].found = LANES_FOUND_HELD;
		r.f.vif[v].word = v == 0 ? 3 : 2; /* died between the two stores */
		r.f.vif[v].lane[2].frames = 4;
		r.f.vif[v].lane[3].frames = 1;
	}
	rig_start(&r);
	assert_true(netbuf_adopted_held(r.nb));
	assert_false(netbuf_is_open(r.nb));
	assert_int_equal(r.f.vif[1].word, 3);
	assert_string_equal(r.f.order, "");
	assert_int_equal(held(&r), 10);
	netbuf_poll(r.nb, clock_now());
	assert_int_equal(held(&r), 10);
	/* A checkpoint of the new worker commits it all. */
	checkpoint(&r, 0);
	fake_send(&r.f, 0, 1);
	assert_int_equal(r.d->ops->commit(r.d, 0), 0);
	assert_int_equal(held(&r), 1);
	assert_string_equal(r.f.order, "23");
	assert_int_equal(r.d->ops->open(r.d, &e), 0);
	assert_int_equal(held(&r), 0);
	netbuf_free(r.nb);
}

static void adopts_open_output(void **state)
{
	struct rig r;

	rig_init(&r);
	for (unsigned int v = 0; v < FAKE_VIFS; v++) {
		r.f.vif[v].found = LANES_FOUND_OPEN;
		r.f.vif[v].word = 1;
		r.f.vif[v].gate[1] = true;
	}
	rig_start(&r);
	assert_false(netbuf_adopted_held(r.nb));
	assert_true(netbuf_is_open(r.nb));
	fake_send(&r.f, 0, 1);
	assert_int_equal(held(&r), 0);
	checkpoint(&r, 9);
	assert_int_equal(r.f.vif[0].word, 2);
	netbuf_free(r.nb);
}

static void half_full_asks_for_a_checkpoint(void **state)
{
	uint64_t now = clock_now() + NETBUF_PRESSURE_POLL_NS;
	struct netbuf_stats s;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	checkpoint(&r, 0);
	fake_send(&r.f, 1, 500); /* of 1000 */
	netbuf_poll(r.nb, now += NETBUF_PRESSURE_POLL_NS);
	assert_false(netbuf_half_full(r.nb));
	fake_send(&r.f, 1, 1);
	r.f.vif[1].lane[1].dropped = 7;
	netbuf_poll(r.nb, now += NETBUF_PRESSURE_POLL_NS);
	assert_true(netbuf_half_full(r.nb));
	checkpoint(&r, 1);
	netbuf_poll(r.nb, now += NETBUF_PRESSURE_POLL_NS);
	assert_false(netbuf_half_full(r.nb)); /* another lane */
	r.f.vif[0].lane[2].frames = 700;      /* empty frames cost, too */
	netbuf_poll(r.nb, now += NETBUF_PRESSURE_POLL_NS);
	assert_true(netbuf_half_full(r.nb));
	r.f.vif[0].lane[2].frames = 0;
	assert_int_equal(r.d->ops->commit(r.d, 1), 0);
	netbuf_poll(r.nb, now + NETBUF_PRESSURE_POLL_NS);
	netbuf_get_stats(r.nb, 1, &s);
	assert_int_equal(s.held_bytes, 0);
	assert_int_equal(s.peak_bytes, 501 * FAKE_FRAME);
	assert_int_equal(s.dropped_frames, 7);
	netbuf_free(r.nb);
}

/* P6: the bytes of small frames say little of the memory that they hold. */
static void small_frames_fill_a_lane(void **state)
{
	const unsigned int most = FAKE_LIMIT / NETBUF_FRAME_COST;
	uint64_t now = clock_now() + NETBUF_PRESSURE_POLL_NS;
	struct netbuf_stats s;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	/* What passes is not held. */
	fake_send_sized(&r.f, 0, 2 * most, 14);
	netbuf_poll(r.nb, now += NETBUF_PRESSURE_POLL_NS);
	assert_int_equal(r.f.vif[0].limit[0], 0);
	checkpoint(&r, 0);
	fake_send_sized(&r.f, 0, most, 14);
	netbuf_poll(r.nb, now += NETBUF_PRESSURE_POLL_NS);
	assert_int_equal(r.f.vif[0].limit[1], 0);
	r.f.fail_limit = 1;
	fake_send_sized(&r.f, 0, 2, 14);
	netbuf_poll(r.nb, now += NETBUF_PRESSURE_POLL_NS);
	netbuf_poll(r.nb, now += NETBUF_PRESSURE_POLL_NS);
	assert_int_equal(r.f.vif[0].limit[1], (most + 2) * 14);
	fake_send_sized(&r.f, 0, 100000, 14);
	fake_send_sized(&r.f, 1, 10, 14);
	assert_int_equal(held(&r), most + 12);
	/* Let out, it takes as much as any other, also when that had to be tried twice. */
	r.f.fail_limit = 1;
	checkpoint(&r, 1);
	assert_int_equal(r.d->ops->commit(r.d, 1), 0);
	for (int i = 0; i < 20; i++)
		netbuf_poll(r.nb, now += NETBUF_DRAIN_POLL_NS);
	assert_int_equal(held(&r), 0);
	assert_int_equal(r.f.vif[0].limit[1], FAKE_LIMIT);
	assert_int_equal(r.f.vif[1].limit[1], 0);
	netbuf_poll(r.nb, now + NETBUF_PRESSURE_POLL_NS);
	netbuf_get_stats(r.nb, 0, &s);
	assert_int_equal(s.dropped_frames, 100000);
	netbuf_free(r.nb);
}

/* Open output must not keep the limit of the lane that it flows through. */
static void an_opened_lane_takes_all_again(void **state)
{
	uint64_t now = clock_now() + NETBUF_PRESSURE_POLL_NS;
	struct err e = ERR_INIT;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	checkpoint(&r, 0);
	fake_send_sized(&r.f, 0, 10000, 14);
	netbuf_poll(r.nb, now + NETBUF_PRESSURE_POLL_NS);
	assert_int_equal(r.f.vif[0].limit[1], 140000);
	assert_int_equal(r.d->ops->open(r.d, &e), 0);
	assert_true(netbuf_is_open(r.nb));
	assert_int_equal(r.f.vif[0].limit[1], FAKE_LIMIT);
	assert_int_equal(held(&r), 0);
	netbuf_free(r.nb);
}

static void a_lost_vif_does_not_stop_the_others(void **state)
{
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	checkpoint(&r, 0);
	fake_send(&r.f, 0, 2);
	r.f.gone[1] = true;
	checkpoint(&r, 1);
	assert_int_equal(r.d->ops->commit(r.d, 1), 0);
	assert_int_equal(held(&r), 0);
	netbuf_poll(r.nb, clock_now());
	netbuf_poll(r.nb, clock_now());
	assert_int_equal(r.f.tampered, 1);
	assert_int_equal(r.f.how, LANE_QDISC_GONE);
	for (uint64_t n = 2; n < 10; n++) {
		checkpoint(&r, n);
		assert_int_equal(r.d->ops->commit(r.d, n), 0);
	}
	netbuf_watch(r.nb);
	assert_int_equal(r.f.how, LANE_REDIRECT_GONE);
	netbuf_free(r.nb);
}

static void teardown_keeps_or_drops(void **state)
{
	struct err e = ERR_INIT;
	struct rig r;

	rig_init(&r);
	rig_start(&r);
	checkpoint(&r, 0);
	fake_send(&r.f, 0, 1);
	assert_int_equal(r.d->ops->teardown(r.d, &e), 0);
	assert_int_equal(r.f.detached, FAKE_VIFS);
	assert_false(r.f.detach_kept);
	assert_int_equal(held(&r), 1); /* nothing got out */
	netbuf_free(r.nb);

	rig_init(&r);
	rig_start(&r);
	checkpoint(&r, 0);
	r.f.drain_per_look = 3;
	fake_send(&r.f, 0, 20);
	checkpoint(&r, 1);
	assert_int_equal(r.d->ops->open(r.d, &e), 0);
	assert_false(netbuf_is_open(r.nb));
	assert_int_equal(r.d->ops->teardown(r.d, &e), 0);
	assert_true(r.f.vif[0].gate[2]);
	assert_true(r.f.detach_kept);
	assert_int_equal(held(&r), 0);
	netbuf_free(r.nb);
}

static void a_failed_setup_leaves_nothing(void **state)
{
	const struct {
		enum lane_found first;
		unsigned int detached;
	} cases[] = {
		{LANES_NEW, 1},
		{LANES_FOUND_HELD, 0},
		{LANES_FOUND_OPEN, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		struct netbuf_conf conf = {.ops = &fake_ops, .lane_bytes = 1};
		struct rig r;

		rig_init(&r);
		r.f.vif[0].found = cases[i].first;
		r.f.fail_attach = 1;
		conf.ctx = &r.f;
		r.nb = netbuf_new(&conf, &e);
		assert_non_null(r.nb);
		r.d = netbuf_device(r.nb);
		assert_int_equal(r.d->ops->setup(r.d, &e), -ENODEV);
		assert_non_null(strstr(e.text, "vif1.1"));
		assert_int_equal(r.f.detached, cases[i].detached);
		/* P1: else what a dead worker held would be torn down as if it were open. */
		assert_false(netbuf_is_open(r.nb));
		netbuf_free(r.nb);
	}
}

/* ---- both threads ------------------------------------------------------------ */

struct race {
	struct rig r;
	_Atomic uint64_t go; /* epoch + 1 that the data thread shall take */
	_Atomic uint64_t done;
};

#define RACE_ROUNDS 3000

static void *data_thread(void *arg)
{
	struct race *x = arg;
	struct ckpt_device *d = x->r.d;

	for (uint64_t n = 1; n <= RACE_ROUNDS; n++) {
		while (atomic_load(&x->go) < n)
			sched_yield();
		if (d->ops->postsuspend(d, n) < 0 || n % 7 == 0)
			d->ops->abort(d, n);
		else
			assert_int_equal(d->ops->preresume(d, n), 0);
		atomic_store(&x->done, n);
	}
	return NULL;
}

/* An open at any moment of an attempt leaves everything open. */
static void open_against_switch(void **state)
{
	static struct race x;
	struct err e = ERR_INIT;
	pthread_t t;

	rig_init(&x.r);
	rig_start(&x.r);
	assert_int_equal(pthread_create(&t, NULL, data_thread, &x), 0);
	for (uint64_t n = 1; n <= RACE_ROUNDS; n++) {
		assert_int_equal(x.r.d->ops->prepare(x.r.d, n), 0);
		atomic_store(&x.go, n);
		for (unsigned int i = 0; i < n % 50; i++)
			atomic_signal_fence(memory_order_seq_cst);
		netbuf_poll(x.r.nb, clock_now());
		assert_int_equal(x.r.d->ops->open(x.r.d, &e), 0);
		while (atomic_load(&x.done) < n)
			sched_yield();
		netbuf_poll(x.r.nb, clock_now());
		assert_true(netbuf_is_open(x.r.nb));
		assert_true(x.r.f.vif[0].gate[x.r.f.vif[0].word]);
		assert_true(x.r.f.vif[1].gate[x.r.f.vif[1].word]);
	}
	pthread_join(t, NULL);
	netbuf_free(x.r.nb);
}

static void ifb_names(void **state)
{
	const struct {
		const char *vif;
		const char *ifb;
	} cases[] = {
		{"vif3.0", "rm3.0"},
		{"vif3.0-emu", "rm3.0-emu"},
		{"vif", "rm-vif"},
		{"web0", "rm-web0"},
		{"vif32767.15-emu", "rm32767.15-emu"},
		{"twelve.chars", "rm-twelve.chars"},
		{"thirteen.chars", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[LANES_NL_NAME_SIZE];
		int rc = lanes_nl_ifb_name(cases[i].vif, name);

		assert_int_equal(rc, cases[i].ifb ? 0 : -ENAMETOOLONG);
		if (cases[i].ifb)
			assert_string_equal(name, cases[i].ifb);
	}
}

/* Whatever romulus.conf may say, the lanes can have. */
static void takes_the_largest_limit(void **state)
{
	const char *const vifs[] = {"vif1.0"};
	size_t n;
	const struct conf_key *k = conf_keys(&n);
	struct err e = ERR_INIT;
	struct lanes_nl *l;

	while (n > 0 && strcmp(k->name, "defaults.netbuf-limit") != 0) {
		n--;
		k++;
	}
	assert_true(n > 0);
	l = lanes_nl_new(vifs, 1, (uint32_t)k->max, &e);
	if (!l)
		fail_msg("%s", e.text);
	lanes_nl_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(book_keeps_p1),
		cmocka_unit_test(oracle_can_fail),
		cmocka_unit_test(book_waits_for_a_lane),
		cmocka_unit_test(book_survives_aborts),
		cmocka_unit_test(book_adopts),
		cmocka_unit_test(holds_until_commit),
		cmocka_unit_test(a_switch_needs_its_prepare),
		cmocka_unit_test(waits_when_lanes_are_used_up),
		cmocka_unit_test(drains_in_order),
		cmocka_unit_test(lets_out_again),
		cmocka_unit_test(aborts),
		cmocka_unit_test(opens_in_order_and_starts_anew),
		cmocka_unit_test(opens_all_when_order_takes_too_long),
		cmocka_unit_test(adopts_held_output),
		cmocka_unit_test(adopts_open_output),
		cmocka_unit_test(half_full_asks_for_a_checkpoint),
		cmocka_unit_test(small_frames_fill_a_lane),
		cmocka_unit_test(an_opened_lane_takes_all_again),
		cmocka_unit_test(a_lost_vif_does_not_stop_the_others),
		cmocka_unit_test(teardown_keeps_or_drops),
		cmocka_unit_test(a_failed_setup_leaves_nothing),
		cmocka_unit_test(open_against_switch),
		cmocka_unit_test(ifb_names),
		cmocka_unit_test(takes_the_largest_limit),
	};

	log_set_fd(-1);
	return RUN_TESTS("netbuf", tests);
}
