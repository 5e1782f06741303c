/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out what lane_book decides, on the lanes of all vifs of a VM: see netbuf.h. The data
 * thread runs only what is under "data thread", everything else is the control thread's.
 */
#include "netbuffer/netbuf.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "netbuffer/lane_group.h"

/* teardown() waits no longer than this for what open() let out. */
#define TEARDOWN_WAIT_NS UINT64_C(500000000)

/*
 * The attempt of a checkpoint, all that both threads share: phase, lane and epoch in one word.
 * prepare() writes PREPARED. The data thread moves it on; open() may take it away (IDLE), so that
 * a switch and an open cannot both win.
 */
enum turn_phase {
	TURN_IDLE,
	TURN_PREPARED,
	TURN_SWITCHED, /* postsuspend() */
	TURN_KEPT,     /* abort() without a switch */
	TURN_MERGED,   /* abort() after the switch */
};

#define TURN_PHASE_MASK UINT64_C(7)
#define TURN_LANE_SHIFT 3
#define TURN_EPOCH_SHIFT 8

struct netbuf {
	struct ckpt_device dev;
	struct netbuf_conf conf;
	_Atomic uint64_t turn;
	struct lane_group lanes; /* data thread: ops, ctx and n only */

	/* control thread only */
	struct lane_book book;
	bool applied_switch; /* of the turn, to the book */
	bool applied_end;
	bool adopted_held;
	bool half_full;
	unsigned int draining; /* the lane that the next three are about, or LANES */
	uint64_t drain_frames;
	uint64_t drain_since; /* when that number last fell */
	uint64_t open_deadline;
	uint64_t measure_at;
	uint64_t deadline;
	struct netbuf_counters counters;
};

static uint64_t turn_make(enum turn_phase phase, unsigned int lane, uint64_t epoch)
{
	return (uint64_t)phase | (uint64_t)lane << TURN_LANE_SHIFT | epoch << TURN_EPOCH_SHIFT;
}

static enum turn_phase turn_phase(uint64_t turn)
{
	return (enum turn_phase)(turn & TURN_PHASE_MASK);
}

static unsigned int turn_lane(uint64_t turn)
{
	return (turn >> TURN_LANE_SHIFT) & 31;
}

static uint64_t turn_epoch(uint64_t turn)
{
	return turn >> TURN_EPOCH_SHIFT;
}

/* Moves the turn to the phase unless somebody else moved it meanwhile. */
static bool turn_move(struct netbuf *nb, uint64_t from, enum turn_phase to)
{
	uint64_t turn = turn_make(to, turn_lane(from), turn_epoch(from));

	return atomic_compare_exchange_strong_explicit(&nb->turn, &from, turn, memory_order_acq_rel,
						       memory_order_acquire);
}

/* ---- data thread -------------------------------------------------------- */

static int nb_postsuspend(struct ckpt_device *d, uint64_t epoch)
{
	struct netbuf *nb = d->priv;
	uint64_t turn = atomic_load_explicit(&nb->turn, memory_order_acquire);

	if (turn_phase(turn) != TURN_PREPARED || turn_epoch(turn) != epoch)
		return -EINVAL;
	if (!turn_move(nb, turn, TURN_SWITCHED))
		return -EINVAL;
	for (unsigned int i = 0; i < nb->lanes.n; i++)
		nb->lanes.ops->set(nb->lanes.ctx, i, turn_lane(turn));
	return 0;
}

static int nb_preresume(struct ckpt_device *d, uint64_t epoch)
{
	return 0;
}

static void nb_abort(struct ckpt_device *d, uint64_t epoch)
{
	struct netbuf *nb = d->priv;
	uint64_t turn = atomic_load_explicit(&nb->turn, memory_order_acquire);

	if (turn_epoch(turn) != epoch)
		return;
	/* Whoever took the turn away from us leaves nothing to abort. */
	if (turn_phase(turn) == TURN_PREPARED)
		(void)turn_move(nb, turn, TURN_KEPT);
	else if (turn_phase(turn) == TURN_SWITCHED)
		(void)turn_move(nb, turn, TURN_MERGED);
}

/* ---- control thread: lanes ---------------------------------------------- */

/* Tells the book what the data thread did. */
static void sync_turn(struct netbuf *nb)
{
	uint64_t turn = atomic_load_explicit(&nb->turn, memory_order_acquire);
	enum turn_phase phase = turn_phase(turn);

	if ((phase == TURN_SWITCHED || phase == TURN_MERGED) && !nb->applied_switch) {
		nb->applied_switch = true;
		nb->counters.switches++;
		lane_book_switched(&nb->book);
	}
	if ((phase == TURN_KEPT || phase == TURN_MERGED) && !nb->applied_end) {
		nb->applied_end = true;
		lane_book_aborted(&nb->book, phase == TURN_MERGED);
	}
}

static int drain_start(struct netbuf *nb, unsigned int lane, uint64_t now)
{
	nb->draining = lane;
	nb->drain_frames = UINT64_MAX;
	nb->drain_since = now;
	return lane_group_release(&nb->lanes, lane);
}

/*
 * One look at a lane that was let out: 1 when it is empty and closed again, 0 when it is not yet,
 * or negative errno; then we look again later.
 */
static int drain_step(struct netbuf *nb, unsigned int lane, uint64_t now)
{
	uint64_t frames[LANES];
	int rc = lane_group_frames(&nb->lanes, frames);

	if (rc == 0 && frames[lane] == 0) {
		rc = lane_group_close(&nb->lanes, lane);
		if (rc == 0)
			rc = lane_group_frames(&nb->lanes, frames);
		if (rc == 0 && frames[lane] == 0)
			return 1;
	} else if (rc == 0 && frames[lane] < nb->drain_frames) {
		nb->drain_frames = frames[lane];
		nb->drain_since = now;
		return 0;
	} else if (rc == 0 && now - nb->drain_since < NETBUF_RELEASE_AGAIN_NS) {
		return 0;
	}
	if (rc < 0)
		return rc;
	/*
	 * Closed on one that was still on its way, or the plug shut itself: a dequeue that ran
	 * into the release can do that.
	 */
	nb->drain_since = now;
	nb->counters.again++;
	return lane_group_release(&nb->lanes, lane);
}

/* Lets out what may go and closes what is empty, as far as that goes without waiting. */
static int advance(struct netbuf *nb, uint64_t now)
{
	for (;;) {
		bool fresh;
		unsigned int lane = lane_book_work(&nb->book, &fresh);
		int rc = 0;

		if (lane == LANES)
			return 0;
		if (lane == nb->book.cur) {
			rc = lane_group_release(&nb->lanes, lane);
			if (rc < 0)
				return rc;
			lane_group_mark_held(&nb->lanes, false);
			lane_book_opened(&nb->book);
			continue;
		}
		/* Also where a lane became DRAINING without us: open_now. */
		if (fresh || nb->draining != lane)
			rc = drain_start(nb, lane, now);
		if (rc == 0)
			rc = drain_step(nb, lane, now);
		if (rc <= 0)
			return rc;
		nb->draining = LANES;
		lane_book_drained(&nb->book, lane);
	}
}

/* The order of lanes has been waited for long enough: out with everything. */
static int open_now(struct netbuf *nb)
{
	int rc = 0;

	for (unsigned int i = 1; i <= LANES; i++) {
		int r = lane_group_release(&nb->lanes, (nb->book.cur + i) % LANES);

		if (rc == 0)
			rc = r;
	}
	if (rc < 0)
		return rc;
	lane_group_mark_held(&nb->lanes, false);
	lane_book_open_now(&nb->book);
	nb->counters.again++;
	return 0;
}

static void measure(struct netbuf *nb, uint64_t now)
{
	uint64_t most = lane_group_measure(&nb->lanes, nb->book.cur);

	nb->measure_at = clock_add(now, NETBUF_PRESSURE_POLL_NS);
	nb->half_full = !nb->book.open && most > nb->conf.lane_bytes / 2;
	if (!nb->book.open)
		lane_group_cap(&nb->lanes, nb->book.cur);
}

static void rearm(struct netbuf *nb, uint64_t now)
{
	bool turn = turn_phase(atomic_load_explicit(&nb->turn, memory_order_relaxed)) != TURN_IDLE;

	if (nb->draining != LANES || nb->book.opening)
		nb->deadline = clock_add(now, NETBUF_DRAIN_POLL_NS);
	else if (!nb->book.open || turn)
		nb->deadline = nb->measure_at;
	else
		nb->deadline = CLOCK_NEVER;
}

/* ---- control thread: the device ----------------------------------------- */

/* What a dead worker left: close all but, if it was open, the current lane; which have frames? */
static int adopt(struct netbuf *nb, unsigned int cur, bool held, struct err *e)
{
	uint64_t frames[LANES] = {0};
	bool busy[LANES];
	int rc = 0;

	for (unsigned int l = 0; l < LANES && rc == 0; l++)
		if (held || l != cur)
			rc = lane_group_close(&nb->lanes, l);
	if (rc == 0)
		rc = lane_group_frames(&nb->lanes, frames);
	if (rc < 0)
		return err_set(e, rc, "take over the lanes of a worker that died");
	for (unsigned int l = 0; l < LANES; l++)
		busy[l] = frames[l] > 0;
	lane_book_adopt(&nb->book, cur, busy);
	lane_group_mark_held(&nb->lanes, true);
	nb->adopted_held = held;
	if (!held)
		lane_book_open(&nb->book);
	return 0;
}

/*
 * The lane of all vifs. A worker that died in the middle of a switch leaves them in two
 * neighbouring lanes, and the guest paused; all go to the later one. One that is new goes along.
 */
static unsigned int common_lane(struct netbuf *nb, const enum lane_found found[],
				const unsigned int cur[])
{
	unsigned int lane = LANES;

	for (unsigned int i = 0; i < nb->lanes.n; i++)
		if (found[i] != LANES_NEW && (lane == LANES || cur[i] == (lane + 1) % LANES))
			lane = cur[i];
	for (unsigned int i = 0; i < nb->lanes.n; i++)
		if (cur[i] != lane)
			nb->lanes.ops->set(nb->lanes.ctx, i, lane);
	return lane;
}

/* Takes back what this setup made. */
static void detach_new(struct netbuf *nb, unsigned int n, const enum lane_found found[])
{
	for (unsigned int i = 0; i < n; i++) {
		struct err e = ERR_INIT;

		if (found[i] == LANES_NEW && nb->lanes.ops->detach(nb->lanes.ctx, i, true, &e) < 0)
			log_warn("%s: left behind by a failed start: %s",
				 nb->lanes.vifs[i].stats.name, e.text);
	}
}

static int nb_setup(struct ckpt_device *d, struct err *e)
{
	struct netbuf *nb = d->priv;
	enum lane_found found[NETBUF_VIFS_MAX];
	unsigned int cur[NETBUF_VIFS_MAX];
	bool adopting = false;
	bool held = false;
	uint64_t now = clock_now();
	unsigned int n;
	int rc = 0;

	for (n = 0; n < nb->lanes.n; n++) {
		rc = nb->lanes.ops->attach(nb->lanes.ctx, n, &found[n], &cur[n], e);
		if (rc < 0)
			break;
		held = held || found[n] == LANES_FOUND_HELD;
		adopting = adopting || found[n] != LANES_NEW;
	}
	if (rc < 0)
		err_wrap(e, rc, "hold the output of %s", nb->lanes.vifs[n].stats.name);
	else if (adopting)
		rc = adopt(nb, common_lane(nb, found, cur), held, e);
	if (rc == 0) {
		rc = advance(nb, now);
		if (rc < 0)
			err_set(e, rc, "let the output of the guest pass");
	}
	if (rc < 0) {
		detach_new(nb, n, found);
		/* P1: what was found held is held, and teardown is not for us to call. */
		nb->book.open = false;
	}
	nb->measure_at = now;
	rearm(nb, now);
	return rc;
}

static int nb_prepare(struct ckpt_device *d, uint64_t epoch)
{
	struct netbuf *nb = d->priv;
	uint64_t now = clock_now();
	unsigned int lane;
	int rc;

	if (epoch >= UINT64_MAX >> TURN_EPOCH_SHIFT)
		return -EINVAL;
	sync_turn(nb);
	(void)advance(nb, now); /* may free a lane; what failed comes again */
	atomic_store_explicit(&nb->turn, TURN_IDLE, memory_order_release);
	nb->applied_switch = nb->applied_end = false;
	rc = lane_book_prepare(&nb->book, epoch, &lane);
	if (rc == 0) {
		/* A worker that dies after the switch must not take the lanes for open ones. */
		lane_group_mark_held(&nb->lanes, true);
		atomic_store_explicit(&nb->turn, turn_make(TURN_PREPARED, lane, epoch),
				      memory_order_release);
		nb->measure_at = MIN(nb->measure_at, clock_add(now, NETBUF_PRESSURE_POLL_NS));
	} else if (rc == -EAGAIN) {
		nb->counters.waits++;
	}
	rearm(nb, now);
	return rc;
}

static int nb_commit(struct ckpt_device *d, uint64_t epoch)
{
	struct netbuf *nb = d->priv;
	uint64_t now = clock_now();
	int rc;

	sync_turn(nb);
	rc = lane_book_commit(&nb->book, epoch);
	if (rc < 0)
		return rc;
	(void)advance(nb, now); /* failures are logged, counted and tried again by netbuf_poll() */
	rearm(nb, now);
	return 0;
}

/* Takes a prepared turn away from the data thread, or learns that it was faster. */
static void cancel_turn(struct netbuf *nb)
{
	uint64_t turn = atomic_load_explicit(&nb->turn, memory_order_acquire);

	if (turn_phase(turn) == TURN_PREPARED)
		(void)turn_move(nb, turn, TURN_IDLE);
	sync_turn(nb);
	atomic_store_explicit(&nb->turn, TURN_IDLE, memory_order_release);
}

static int nb_open(struct ckpt_device *d, struct err *e)
{
	struct netbuf *nb = d->priv;
	uint64_t now = clock_now();
	int rc;

	cancel_turn(nb);
	if (nb->book.open)
		lane_group_mark_held(&nb->lanes, false);
	lane_book_open(&nb->book);
	nb->open_deadline = clock_add(now, NETBUF_OPEN_ORDERED_NS);
	nb->half_full = false;
	rc = advance(nb, now);
	rearm(nb, now);
	return rc < 0 ? err_set(e, rc, "let out the held output") : 0;
}

static void wait_until_open(struct netbuf *nb)
{
	const struct timespec nap = {.tv_nsec = NETBUF_DRAIN_POLL_NS};
	uint64_t end = clock_add(clock_now(), TEARDOWN_WAIT_NS);
	uint64_t now;

	while ((now = clock_now()) < end && (nb->book.opening || nb->draining != LANES)) {
		netbuf_poll(nb, now);
		nanosleep(&nap, NULL);
	}
}

static int nb_teardown(struct ckpt_device *d, struct err *e)
{
	struct netbuf *nb = d->priv;
	bool keep_flow;
	int rc = 0;

	cancel_turn(nb);
	keep_flow = nb->book.open || nb->book.opening;
	if (keep_flow)
		wait_until_open(nb);
	for (unsigned int i = 0; i < nb->lanes.n; i++) {
		struct err one = ERR_INIT;
		int r = nb->lanes.ops->detach(nb->lanes.ctx, i, keep_flow, &one);

		if (r < 0 && rc == 0)
			rc = err_setx(e, r, "%s: %s", nb->lanes.vifs[i].stats.name, one.text);
		nb->lanes.vifs[i].gone = nb->lanes.vifs[i].told = true;
	}
	nb->deadline = CLOCK_NEVER;
	nb->draining = LANES;
	return rc;
}

static const struct ckpt_device_ops netbuf_device_ops = {
	.setup = nb_setup,
	.prepare = nb_prepare,
	.postsuspend = nb_postsuspend,
	.preresume = nb_preresume,
	.commit = nb_commit,
	.abort = nb_abort,
	.open = nb_open,
	.teardown = nb_teardown,
};

/* ---- control thread: the rest ------------------------------------------- */

struct netbuf *netbuf_new(const struct netbuf_conf *conf, struct err *e)
{
	struct netbuf *nb = mem_zalloc(sizeof(*nb));
	int rc;

	if (!nb) {
		err_set(e, -ENOMEM, "hold output");
		return NULL;
	}
	rc = lane_group_init(&nb->lanes, conf->ops, conf->ctx, conf->lane_bytes);
	if (rc < 0) {
		err_setx(e, rc, "%u network devices; %u is the most", nb->lanes.n, NETBUF_VIFS_MAX);
		mem_free(nb);
		return NULL;
	}
	nb->conf = *conf;
	nb->dev.ops = &netbuf_device_ops;
	nb->dev.priv = nb;
	lane_book_init(&nb->book);
	atomic_init(&nb->turn, TURN_IDLE);
	nb->draining = LANES;
	nb->measure_at = nb->deadline = nb->open_deadline = CLOCK_NEVER;
	return nb;
}

void netbuf_free(struct netbuf *nb)
{
	mem_free(nb);
}

struct ckpt_device *netbuf_device(struct netbuf *nb)
{
	return &nb->dev;
}

bool netbuf_adopted_held(const struct netbuf *nb)
{
	return nb->adopted_held;
}

bool netbuf_is_open(const struct netbuf *nb)
{
	return lane_book_is_open(&nb->book);
}

static void tell_gone(struct netbuf *nb)
{
	for (unsigned int i = 0; i < nb->lanes.n; i++) {
		struct lane_group_vif *v = &nb->lanes.vifs[i];

		if (!v->gone || v->told)
			continue;
		v->told = true;
		if (nb->conf.tampered)
			nb->conf.tampered(nb->conf.arg, i, LANE_QDISC_GONE,
					  "the lanes do not answer");
	}
}

void netbuf_poll(struct netbuf *nb, uint64_t now)
{
	sync_turn(nb);
	/* An attempt that was given up before its switch leaves an open lane open. */
	if (nb->book.open && nb->applied_end)
		lane_group_mark_held(&nb->lanes, false);
	(void)advance(nb, now);
	if (nb->book.opening && now >= nb->open_deadline)
		(void)open_now(nb);
	if (now >= nb->measure_at || nb->book.open)
		measure(nb, now);
	tell_gone(nb);
	rearm(nb, now);
}

uint64_t netbuf_next_deadline(const struct netbuf *nb)
{
	return nb->deadline;
}

int netbuf_watch_fd(const struct netbuf *nb)
{
	return nb->lanes.ops->watch_fd(nb->lanes.ctx);
}

static void watched(void *arg, unsigned int vif, enum lane_tamper how, const char *what)
{
	struct netbuf *nb = arg;

	nb->lanes.vifs[vif].told = true;
	if (nb->conf.tampered)
		nb->conf.tampered(nb->conf.arg, vif, how, what);
}

void netbuf_watch(struct netbuf *nb)
{
	nb->lanes.ops->watch(nb->lanes.ctx, watched, nb);
}

bool netbuf_half_full(const struct netbuf *nb)
{
	return nb->half_full;
}

unsigned int netbuf_vifs(const struct netbuf *nb)
{
	return nb->lanes.n;
}

void netbuf_get_stats(const struct netbuf *nb, unsigned int i, struct netbuf_stats *out)
{
	assert(i < nb->lanes.n);
	*out = nb->lanes.vifs[i].stats;
}

void netbuf_get_counters(const struct netbuf *nb, struct netbuf_counters *out)
{
	*out = nb->counters;
	out->failures = nb->lanes.failures;
}
