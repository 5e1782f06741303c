/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes wrong, when; and that it ends. */
#include "tests/sim/sim.h"

#include "lib/err.h"

#include <assert.h>

/* ---- a plan from the seed ---- */

static const struct {
	enum fault_type type;
	unsigned int weight;
} weights[] = {
	{FAULT_CUT, 10},	{FAULT_UDP_CUT, 4},
	{FAULT_TCP_STALL, 8},	{FAULT_RESET, 6},
	{FAULT_SLOW, 3},	{FAULT_KILL_WORKER, 5},
	{FAULT_KILL_AT, 10},	{FAULT_STOP_WORKER, 6},
	{FAULT_STOP_AT, 5},	{FAULT_KILL_HOST, 7},
	{FAULT_FREEZE_HOST, 4}, {FAULT_KILL_DAEMON, 3},
	{FAULT_UNPROTECT, 4},	{FAULT_FAILOVER, 3},
	{FAULT_GUEST, 3},	{FAULT_NO_SUSPEND, 2},
	{FAULT_BURST, 2},	{FAULT_DIRTY, 2},
	{FAULT_STANDBY, 2},	{FAULT_SLOW_APPLY, 2},
	{FAULT_FALSE_ACK, 2},	{FAULT_FALSE_ACTIVATED, 1},
	{FAULT_SKIP_EPOCH, 2},	{FAULT_DISK_ERROR, 10},
	{FAULT_DISK_SERVER, 5}, {FAULT_DISK_DROP, 3},
	{FAULT_DISK_SLOW, 3},
};

static enum fault_type random_type(struct rng *r)
{
	uint64_t sum = 0;
	uint64_t pick;

	for (unsigned int i = 0; i < ARRAY_SIZE(weights); i++)
		sum += weights[i].weight;
	pick = rng_below(r, sum);
	for (unsigned int i = 0; i < ARRAY_SIZE(weights); i++) {
		if (pick < weights[i].weight)
			return weights[i].type;
		pick -= weights[i].weight;
	}
	return FAULT_NONE;
}

/* From shorter than a heartbeat to longer than everything. */
static uint64_t random_duration(struct rng *r, const struct timing_conf *t)
{
	switch (rng_below(r, 4)) {
	case 0:
		return rng_between(r, MS, t->heartbeat_period_ns);
	case 1:
		return rng_between(r, t->heartbeat_period_ns, t->failure_timeout_ns);
	case 2:
		return rng_between(r, t->failure_timeout_ns - t->failure_timeout_ns / 8,
				   t->failure_timeout_ns + t->failure_timeout_ns / 8);
	default:
		return rng_between(r, t->failure_timeout_ns, 6 * t->failure_timeout_ns);
	}
}

static uint64_t random_arg(struct rng *r, enum fault_type type)
{
	if (type == FAULT_KILL_AT || type == FAULT_STOP_AT)
		return rng_between(r, 1, rng_percent(r, 50) ? 6 : 40);
	if (type == FAULT_GUEST)
		return rng_between(r, LEAVE_GUEST_SHUTDOWN, LEAVE_GUEST_CHANGED);
	if (type == FAULT_CUT)
		return rng_percent(r, 60);
	if (type == FAULT_UNPROTECT || type == FAULT_FAILOVER)
		return rng_percent(r, 30);
	return rng_below(r, 2);
}

static void random_timing(struct rng *r, struct timing_conf *t)
{
	static const uint64_t hearts[] = {10 * MS, 20 * MS, 50 * MS, 100 * MS, 200 * MS};
	uint64_t hb = hearts[rng_below(r, ARRAY_SIZE(hearts))];

	t->heartbeat_period_ns = hb;
	t->failure_timeout_ns = hb * rng_between(r, 3, 10);
	t->epoch_period_ns = rng_between(r, hb / 2, t->failure_timeout_ns / 2);
}

/* What is rare by chance and must be seen: a VM is handed over while the link breaks and a worker dies. */
static void plot_handover(struct rng *r, struct plan *p, uint64_t begin)
{
	uint64_t soon = p->timing.failure_timeout_ns;

	for (int i = 0; i < 3; i++) {
		struct fault *f = &p->fault[i];

		f->side = SIDE_A;
		f->at = i ? p->fault[0].at + rng_below(r, soon)
			  : rng_between(r, begin + soon, p->end_of_faults - soon);
	}
	p->fault[0].type = FAULT_DISK_ERROR;
	p->fault[0].arg = rng_below(r, 2);
	p->fault[0].duration = soon;
	p->fault[1].type = rng_percent(r, 50) ? FAULT_CUT : FAULT_TCP_STALL;
	p->fault[1].arg = rng_percent(r, 50);
	p->fault[2].type = rng_percent(r, 50) ? FAULT_KILL_AT : FAULT_KILL_WORKER;
	p->fault[2].arg = rng_between(r, 1, 6);
}

/* Other numbers than the rest of the plan, so that the plans of all other seeds stay what they are. */
#define ARBITER_PLANS (UINT64_C(1625) << 32)

static const enum fault_type arbiter_faults[] = {
	FAULT_ARBITER_CUT,  FAULT_ARBITER_CUT,	  FAULT_ARBITER_DIES, FAULT_ARBITER_SLOW,
	FAULT_ARBITER_MUTE, FAULT_ARBITER_DOUBLE, FAULT_CLOCK_JUMP,
};

static struct fault *add(struct plan *p, enum fault_type type, enum side side, uint64_t at,
			 uint64_t duration)
{
	struct fault *f = &p->fault[p->n++];

	assert(p->n <= MAX_FAULTS);
	*f = (struct fault){.type = type, .side = side, .at = at, .duration = duration};
	p->end_of_faults = MAX(p->end_of_faults, at + duration);
	return f;
}

/* The link between the hosts is cut, and the arbiter is seen by one, by none or by both. */
static void plot_cut(struct rng *r, struct plan *p, uint64_t at)
{
	uint64_t f = p->timing.failure_timeout_ns;
	enum fault_type unseen = arbiter_faults[rng_below(r, ARRAY_SIZE(arbiter_faults))];

	add(p, FAULT_CUT, rng_below(r, 2), at, rng_between(r, f / 2, 4 * f))->arg =
		rng_percent(r, 70);
	add(p, unseen, rng_below(r, 2), at + rng_below(r, 2 * f), rng_between(r, f / 2, 4 * f))
		->arg = rng_percent(r, 30);
}

/* The operators of both hosts say what they want, while this and that is out of reach. */
static void plot_operators(struct rng *r, struct plan *p, uint64_t at)
{
	uint64_t f = p->timing.failure_timeout_ns;

	if (rng_percent(r, 70))
		add(p, rng_percent(r, 50) ? FAULT_CUT : FAULT_TCP_STALL, SIDE_A, at,
		    rng_between(r, f / 4, 4 * f))
			->arg = rng_percent(r, 50);
	if (rng_percent(r, 50))
		add(p, FAULT_ARBITER_CUT, rng_below(r, 2), at, rng_between(r, f / 2, 4 * f));
	if (rng_percent(r, 70))
		add(p, FAULT_FAILOVER, SIDE_B, at + rng_below(r, 2 * f), 0)->arg =
			rng_percent(r, 80);
	if (rng_percent(r, 50))
		add(p, FAULT_UNPROTECT, SIDE_A, at + rng_below(r, 2 * f), 0)->arg =
			rng_percent(r, 80);
}

/* Terms are asked for in vain; under the next one, the primary's worker dies while the arbiter is seen by one only. */
static void plot_terms(struct rng *r, struct plan *p, uint64_t at)
{
	uint64_t f = p->timing.failure_timeout_ns;
	uint64_t again = at + 3 * f + rng_below(r, 60 * p->timing.heartbeat_period_ns);

	add(p, rng_percent(r, 50) ? FAULT_ARBITER_CUT : FAULT_ARBITER_MUTE, SIDE_A, at, 2 * f)
		->arg = rng_percent(r, 70);
	add(p, FAULT_CUT, rng_below(r, 2), at, f + rng_below(r, f))->arg = rng_percent(r, 50);
	add(p, FAULT_KILL_WORKER, SIDE_A, again, 0);
	add(p, FAULT_CUT, SIDE_A, again, 4 * f)->arg = 1;
	add(p, FAULT_ARBITER_CUT, rng_below(r, 2), again, rng_between(r, f, 3 * f));
}

/* As ARBITER_PLANS. */
#define SWITCHOVER_PLANS (UINT64_C(2718) << 32)

/* The VM is to be moved, more often than not when something breaks. */
static void plan_switchover(uint64_t seed, struct plan *p)
{
	static const enum fault_type beside[] = {
		FAULT_CUT,	 FAULT_TCP_STALL,   FAULT_RESET,     FAULT_KILL_AT,
		FAULT_STOP_AT,	 FAULT_KILL_WORKER, FAULT_KILL_HOST, FAULT_STANDBY,
		FAULT_FAILOVER,	 FAULT_UNPROTECT,   FAULT_GUEST,     FAULT_NO_SUSPEND,
		FAULT_SLOW,	 FAULT_SLOW_APPLY,  FAULT_DIRTY,     FAULT_DISK_ERROR,
		FAULT_DISK_DROP, FAULT_DISK_SERVER, FAULT_DISK_SLOW, FAULT_FREEZE_HOST,
	};
	struct rng r;
	struct fault *f;
	uint64_t at;

	rng_seed(&r, seed ^ SWITCHOVER_PLANS);
	if (!rng_percent(&r, 20) || p->n + 3 > MAX_FAULTS)
		return;
	at = rng_below(&r, p->end_of_faults);
	p->well = rng_percent(&r, 20);
	if (p->well) {
		p->n = 0;
		p->loss = 0;
		p->no_persist = 0;
	}
	add(p, FAULT_SWITCHOVER, SIDE_A, at, 0);
	for (int i = 0; i < 2 && !p->well && rng_percent(&r, 60); i++) {
		f = add(p, beside[rng_below(&r, ARRAY_SIZE(beside))], rng_below(&r, 2),
			at + rng_below(&r, 2 * p->timing.epoch_period_ns + 500 * MS),
			random_duration(&r, &p->timing));
		f->arg = random_arg(&r, f->type);
		f->flag = rng_percent(&r, 50);
	}
}

static void plan_arbiter(uint64_t seed, struct plan *p, uint64_t begin)
{
	uint64_t hb = p->timing.heartbeat_period_ns;
	struct rng r;
	uint64_t at;

	rng_seed(&r, seed ^ ARBITER_PLANS);
	if (!rng_percent(&r, 25))
		return;
	p->policy = POLICY_ARBITER;
	for (int i = 0; i < p->n; i++) {
		struct fault *f = &p->fault[i];

		if (!rng_percent(&r, 30))
			continue;
		f->type = arbiter_faults[rng_below(&r, ARRAY_SIZE(arbiter_faults))];
		f->duration = random_duration(&r, &p->timing);
		f->side = rng_below(&r, 2);
		f->arg = rng_percent(&r, 30);
	}
	at = begin + rng_between(&r, 20 * hb, 60 * hb);
	switch (rng_below(&r, 10)) {
	case 0:
	case 1:
		plot_cut(&r, p, at);
		break;
	case 2:
	case 3:
		plot_operators(&r, p, at);
		break;
	case 4:
		plot_terms(&r, p, at);
		break;
	default:
		break;
	}
}

void plan_random(struct sim *s, struct plan *p)
{
	struct rng *r = &s->rng;
	uint64_t begin;

	*p = (struct plan){
		.policy = rng_between(r, POLICY_HOLD, POLICY_BACKUP_WINS),
		.max_outstanding = rng_between(r, 1, PRIMARY_MAX_OUTSTANDING),
		.loss = rng_percent(r, 30) ? rng_below(r, 30) : 0,
		.hearts_outlive_link = rng_percent(r, 50),
		.n = rng_below(r, 8),
		.n_disks = rng_percent(r, 50) ? 0 : (int)rng_between(r, 1, MAX_DISKS),
		.ack_mode = rng_between(r, BACKUP_ACK_MEMORY, BACKUP_ACK_EPOCH),
		.no_persist = rng_percent(r, 20) ? 50 : 0,
	};
	random_timing(r, &p->timing);
	begin = rng_below(r, 20 * p->timing.heartbeat_period_ns);
	p->end_of_faults = begin + p->timing.failure_timeout_ns * 4 +
			   rng_below(r, 40 * p->timing.heartbeat_period_ns);
	/* Long enough for the times that do not shrink with the heartbeat. */
	if (rng_percent(r, 10))
		p->end_of_faults += 12 * SEC;
	for (int i = 0; i < p->n; i++) {
		struct fault *f = &p->fault[i];

		f->type = random_type(r);
		f->side = rng_below(r, 2);
		f->at = rng_between(r, begin, p->end_of_faults);
		/* Some come in quick succession. */
		if (i && rng_percent(r, 30))
			f->at = MIN(p->fault[i - 1].at + rng_below(r, p->timing.failure_timeout_ns),
				    p->end_of_faults);
		f->duration = random_duration(r, &p->timing);
		f->arg = random_arg(r, f->type);
		f->flag = rng_percent(r, 50);
	}
	if (p->n_disks && p->n >= 3 && rng_percent(r, 20))
		plot_handover(r, p, begin);
	plan_arbiter(s->seed, p, begin);
	plan_switchover(s->seed, p);
	plan_drills(s->seed, p);
}

/* As ARBITER_PLANS. */
#define DRILL_PLANS (UINT64_C(3141) << 32)

static uint64_t random_drill(struct rng *r)
{
	uint64_t arg = 0;

	arg |= rng_percent(r, 25) ? DRILL_IS_ASKED_TWICE : 0;
	arg |= rng_percent(r, 3) ? DRILL_IS_FORGOTTEN : 0;
	arg |= rng_percent(r, 2) ? DRILL_IS_STUCK : 0;
	arg |= rng_percent(r, 5) ? DRILL_IS_KILLED : 0;
	arg |= rng_percent(r, 10) ? DRILL_SAVES_SLOWLY : 0;
	arg |= rng_percent(r, 4) ? DRILL_SAVES_NOTHING : 0;
	arg |= rng_percent(r, 25) ? DRILL_READS_SLOWLY : 0;
	return arg;
}

/* At any time, just before or while something else goes wrong, or when a worker does what it does then. */
static void time_drill(struct rng *r, const struct plan *p, struct fault *d)
{
	uint64_t lead = rng_below(r, 600 * MS);

	d->at = rng_below(r, p->end_of_faults);
	if (p->n && rng_percent(r, 60)) {
		const struct fault *f = &p->fault[rng_below(r, (uint64_t)p->n)];

		d->at = f->at > lead ? f->at - lead : 0;
		if (rng_percent(r, 40))
			d->at = f->at + rng_below(r, 1 + MIN(f->duration, 2 * SEC));
	} else if (rng_percent(r, 30)) {
		d->at = d->at / 2;
		d->upon = (unsigned int)rng_between(r, MOMENT_NONE + 1, MOMENT_COUNT - 1);
		d->after = rng_below(r, UINT64_C(1) << rng_below(r, 24));
	}
}

void plan_drills(uint64_t seed, struct plan *p)
{
	struct rng r;

	rng_seed(&r, seed ^ DRILL_PLANS);
	/* Each of them runs twice. */
	if (!rng_percent(&r, 8))
		return;
	p->n_drills = (int)rng_between(&r, 1, 2);
	for (int i = 0; i < p->n_drills; i++) {
		struct fault *d = &p->drill[i];

		*d = (struct fault){.type = FAULT_DRILL, .side = SIDE_B};
		d->arg = random_drill(&r);
		d->duration = rng_between(&r, 5 * MS, rng_percent(&r, 80) ? 500 * MS : 2 * SEC);
		/* Nobody asks, so it must outlive the lease to be ended by it. */
		if (d->arg & DRILL_IS_FORGOTTEN)
			d->duration = 30 * SEC;
		time_drill(&r, p, d);
	}
}

/* Random numbers of its own: what a seed means without it does not change. */
void plan_aim(uint64_t seed, struct plan *p)
{
	struct rng r;

	rng_seed(&r, ~seed);
	for (int i = 0; i < p->n; i++) {
		struct fault *f = &p->fault[i];

		if (rng_percent(&r, 50))
			continue;
		f->upon = (unsigned int)rng_between(&r, MOMENT_NONE + 1, MOMENT_COUNT - 1);
		f->after = rng_below(&r, UINT64_C(1) << rng_below(&r, 22));
		/* What it waits for should come yet. */
		f->at = f->at / 2;
	}
}

const char *fault_name(enum fault_type t)
{
	static const char *const names[FAULT_COUNT] = {
		[FAULT_NONE] = "none",
		[FAULT_CUT] = "cut",
		[FAULT_UDP_CUT] = "heartbeats-cut",
		[FAULT_TCP_STALL] = "stall",
		[FAULT_RESET] = "reset",
		[FAULT_SLOW] = "slow-link",
		[FAULT_KILL_WORKER] = "kill-worker",
		[FAULT_KILL_AT] = "kill-worker-at-action",
		[FAULT_STOP_WORKER] = "stop-worker",
		[FAULT_STOP_AT] = "stop-worker-at-action",
		[FAULT_KILL_HOST] = "kill-host",
		[FAULT_FREEZE_HOST] = "freeze-host",
		[FAULT_KILL_DAEMON] = "kill-romulusd",
		[FAULT_UNPROTECT] = "unprotect",
		[FAULT_FAILOVER] = "failover",
		[FAULT_SWITCHOVER] = "switchover",
		[FAULT_GUEST] = "guest-event",
		[FAULT_NO_SUSPEND] = "guest-does-not-suspend",
		[FAULT_BURST] = "output-burst",
		[FAULT_DIRTY] = "dirty-guest",
		[FAULT_STANDBY] = "standby-fails",
		[FAULT_SLOW_APPLY] = "slow-apply",
		[FAULT_FALSE_ACK] = "false-ack",
		[FAULT_FALSE_ACTIVATED] = "false-activated",
		[FAULT_SKIP_EPOCH] = "skip-epoch",
		[FAULT_DISK_ERROR] = "disk-error",
		[FAULT_DISK_SERVER] = "disk-server-dies",
		[FAULT_DISK_DROP] = "disk-drops-out",
		[FAULT_DISK_SLOW] = "slow-disk",
		[FAULT_CLOCK_JUMP] = "clock-jumps",
		[FAULT_ARBITER_CUT] = "arbiter-cut",
		[FAULT_ARBITER_DIES] = "arbiter-dies",
		[FAULT_ARBITER_SLOW] = "arbiter-slow",
		[FAULT_ARBITER_MUTE] = "arbiter-mute",
		[FAULT_ARBITER_DOUBLE] = "arbiter-doubled",
		[FAULT_DRILL] = "drill",
	};

	return (unsigned int)t < FAULT_COUNT ? names[t] : "?";
}

/* ---- one fault ---- */

static void kill_host(struct sim *s, const struct fault *f)
{
	enum side side = f->side;
	const struct ev boot = {.kind = EV_BOOT, .side = side};
	struct host *h = &s->host[side];

	if (!h->up)
		return;
	h->up = false;
	h->frozen = false;
	h->thaw = 0;
	h->listens_since = 0;
	if (side == SIDE_B) {
		b_host_died(s);
		s->b_duty = false;
	} else {
		int cur = b_current(s);

		s->b_duty = cur >= 0 && s->b[cur].core.state == BACKUP_STANDING &&
			    !s->b[cur].asked_to_abandon && s->guest.exists && !s->guest.ended;
		s->a.proc.alive = false;
		s->guest.exists = false;
		s->out = (struct output){.held = false};
		disks_a_host_died(s);
		for (int i = 0; i < MAX_CONNS; i++)
			s->net.conn[i].open[SIDE_A] = false;
	}
	if (f->flag)
		ev_push(s, s->now + f->duration, &boot);
}

void fault_boot(struct sim *s, enum side side)
{
	const struct ev restart = {.kind = EV_A_RESTART, .where = AT_A_HOST};

	s->host[side].up = true;
	s->host[side].daemon_back = s->now + 10 * MS;
	if (side == SIDE_A)
		ev_push(s, s->now + 20 * MS, &restart);
}

static void freeze_host(struct sim *s, const struct fault *f, uint64_t until)
{
	const struct ev thaw = {.kind = EV_THAW, .side = f->side};
	struct host *h = &s->host[f->side];

	if (!h->up || h->frozen || until <= s->now)
		return;
	h->frozen = true;
	h->frozen_at = s->now;
	h->thaw = until;
	h->clock_stops = f->arg;
	if (!h->clock_stops && until - s->now > s->t.suspect_ns + s->t.heartbeat_period_ns)
		h->listens_since = until;
	if (f->side == SIDE_A && h->clock_stops)
		s->host_a_slept = true;
	ev_push(s, until, &thaw);
}

void fault_thaw(struct sim *s, enum side side)
{
	struct host *h = &s->host[side];

	if (!h->frozen || s->now < h->thaw)
		return;
	h->frozen = false;
	if (h->clock_stops)
		h->stopped += s->now - h->frozen_at;
}

static void set_trap(struct sim *s, const struct fault *f)
{
	const struct trap trap = {
		.countdown = f->arg,
		.after = f->flag,
		.freeze = f->type == FAULT_STOP_AT,
		.duration = f->duration,
	};
	int cur = b_current(s);

	if (f->side == SIDE_A)
		s->a.proc.trap = trap;
	else if (cur >= 0)
		s->b[cur].proc.trap = trap;
	else
		s->b_trap = trap;
}

static void operator_says(struct sim *s, const struct fault *f)
{
	const struct primary_event unprotect = {.type = PEV_UNPROTECT, .force = f->arg};
	const struct primary_event switchover = {.type = PEV_SWITCHOVER};
	const struct backup_event failover = {.type = BEV_FAILOVER, .force = f->arg};
	int cur = b_current(s);

	if (f->type == FAULT_UNPROTECT && s->a.proc.alive) {
		s->operator_forced = s->operator_forced || f->arg;
		a_post(s, &unprotect);
	} else if (f->type == FAULT_SWITCHOVER && s->a.proc.alive) {
		a_post(s, &switchover);
	} else if (f->type == FAULT_FAILOVER && cur >= 0) {
		s->operator_forced = s->operator_forced || f->arg;
		b_post(s, cur, &failover);
	}
}

static void worker_fault(struct sim *s, const struct fault *f)
{
	int cur = b_current(s);
	bool die = f->type == FAULT_KILL_WORKER;

	if (f->side == SIDE_A && die)
		a_crash(s);
	else if (f->side == SIDE_A)
		a_freeze(s, f->duration);
	else if (cur >= 0 && die)
		b_crash(s, cur);
	else if (cur >= 0)
		b_freeze(s, cur, f->duration);
}

/* What no peer that keeps to the protocol says. One that lies about epochs it got cannot be seen through. */
static void false_word(struct sim *s, const struct fault *f)
{
	const struct primary *p = &s->a.core;
	struct ev ev = {
		.kind = EV_A_CORE,
		.where = AT_A_WORKER,
		.gen = s->a.proc.gen,
		.p = {.type = PEV_PEER_ACTIVATED, .term = p->conf.term},
	};

	if (!s->a.conn || s->a.conn != s->a.session)
		return;
	if (f->type == FAULT_FALSE_ACK) {
		bool sending = s->a.phase == DATA_SENDING && p->taken != p->sent;

		ev.p.type = PEV_ACK;
		ev.p.epoch = !f->arg ? p->sent : p->taken + !sending;
		ev.p.term = p->conf.term - !f->arg;
	}
	ev_push(s, s->now, &ev);
}

static void network_fault(struct sim *s, const struct fault *f, uint64_t until)
{
	struct network *n = &s->net;

	switch ((int)f->type) {
	case FAULT_CUT:
		n->cut_until[f->side] = MAX(n->cut_until[f->side], until);
		if (f->arg)
			n->cut_until[!f->side] = MAX(n->cut_until[!f->side], until);
		break;
	case FAULT_UDP_CUT:
		n->udp_cut_until[f->side] = MAX(n->udp_cut_until[f->side], until);
		break;
	case FAULT_TCP_STALL:
		n->tcp_stall_until[f->side] = MAX(n->tcp_stall_until[f->side], until);
		break;
	case FAULT_RESET:
		if (s->a.conn)
			net_reset(s, s->a.conn);
		break;
	case FAULT_SLOW:
		n->slow_until = MAX(n->slow_until, until);
		break;
	}
}

static void guest_fault(struct sim *s, const struct fault *f, uint64_t until)
{
	switch ((int)f->type) {
	case FAULT_GUEST:
		guest_end(s, f->arg);
		break;
	case FAULT_NO_SUSPEND:
		s->no_suspend_until = until;
		break;
	case FAULT_BURST:
		for (int i = 0; i < 150 && s->guest.exists && !s->guest.ended; i++) {
			if (!s->guest.suspended && !s->failed)
				output_say(s);
		}
		break;
	case FAULT_DIRTY:
		s->dirty_until = until;
		break;
	}
}

/* And of what it is fed with. */
static void standby_fault(struct sim *s, const struct fault *f, uint64_t until)
{
	if (f->type == FAULT_SLOW_APPLY) {
		s->slow_apply_until = until;
	} else if (f->type == FAULT_SKIP_EPOCH) {
		s->skip_epoch = true;
	} else {
		s->fail_standby = f->arg == 0;
		s->complete_standby = f->arg == 1;
	}
}

static void disk_fault(struct sim *s, const struct fault *f, uint64_t until)
{
	int n;

	if (!s->plan.n_disks || !s->host[f->side].up)
		return;
	n = (int)(f->arg % (uint64_t)s->plan.n_disks);
	switch ((int)f->type) {
	case FAULT_DISK_ERROR:
		if (f->side == SIDE_B)
			disks_b_break(s, n);
		if (f->side == SIDE_B && f->replaced)
			disks_b_repaired(s, n);
		if (f->side == SIDE_A)
			s->disk_a[n].broken_until = MAX(s->disk_a[n].broken_until, until);
		break;
	case FAULT_DISK_SERVER:
		if (f->side == SIDE_B)
			disks_b_server_dies(s, n, until);
		else
			disks_a_server_dies(s, n, until);
		break;
	case FAULT_DISK_DROP:
		disks_a_drop_out(s, n);
		break;
	case FAULT_DISK_SLOW:
		s->slow_disk_until = MAX(s->slow_disk_until, until);
		break;
	}
}

/* As after a sleep that only the hardware knows of. Shorter ones the clocks that we use do not make. */
static void jump(struct sim *s, const struct fault *f)
{
	struct host *h = &s->host[f->side];

	h->base += f->duration + s->t.suspect_ns + s->t.heartbeat_period_ns;
	h->listens_since = s->now;
}

static void arbiter_fault(struct sim *s, const struct fault *f, uint64_t until)
{
	struct arbiter *a = &s->arbiter;

	switch ((int)f->type) {
	case FAULT_CLOCK_JUMP:
		jump(s, f);
		break;
	case FAULT_ARBITER_CUT:
		a->cut_until[f->side] = MAX(a->cut_until[f->side], until);
		if (f->arg)
			a->cut_until[!f->side] = MAX(a->cut_until[!f->side], until);
		break;
	case FAULT_ARBITER_DIES:
		arbiter_dies(s, until);
		break;
	case FAULT_ARBITER_SLOW:
		a->slow_until = MAX(a->slow_until, until);
		break;
	case FAULT_ARBITER_MUTE:
		a->mute_until = MAX(a->mute_until, until);
		break;
	case FAULT_ARBITER_DOUBLE:
		a->double_until = MAX(a->double_until, until);
		break;
	}
}

/* What was broken is replaced: fresh. */
static void disks_repaired(struct sim *s)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		s->disk_a[i].broken_until = 0;
		disks_b_repaired(s, i);
	}
}

/* Those that wait for it strike now. */
void fault_moment(struct sim *s, unsigned int moment)
{
	for (int i = 0; i < s->plan.n; i++) {
		const struct ev ev = {.kind = EV_FAULT, .fault = i, .ok = true};

		if (!(s->armed & 1u << i) || s->plan.fault[i].upon != moment)
			continue;
		s->armed &= ~(1u << i);
		ev_push(s, s->now + s->plan.fault[i].after, &ev);
	}
	drills_moment(s, moment);
}

void fault_strike(struct sim *s, int n)
{
	const struct fault *f = &s->plan.fault[n];
	uint64_t until = MIN(s->now + f->duration, s->plan.end_of_faults);

	sim_trace(s, "!! %s at %c for %llu ms, %llu", fault_name(f->type), "AB"[f->side],
		  (unsigned long long)(f->duration / MS), (unsigned long long)f -> arg);
	switch (f->type) {
	case FAULT_CUT:
	case FAULT_UDP_CUT:
	case FAULT_TCP_STALL:
	case FAULT_RESET:
	case FAULT_SLOW:
		network_fault(s, f, until);
		break;
	case FAULT_KILL_WORKER:
	case FAULT_STOP_WORKER:
		worker_fault(s, f);
		break;
	case FAULT_KILL_AT:
	case FAULT_STOP_AT:
		set_trap(s, f);
		break;
	case FAULT_KILL_HOST:
		kill_host(s, f);
		break;
	case FAULT_FREEZE_HOST:
		freeze_host(s, f, until);
		break;
	case FAULT_KILL_DAEMON:
		s->host[f->side].daemon_back = until;
		break;
	case FAULT_UNPROTECT:
	case FAULT_FAILOVER:
	case FAULT_SWITCHOVER:
		operator_says(s, f);
		break;
	case FAULT_GUEST:
	case FAULT_NO_SUSPEND:
	case FAULT_BURST:
	case FAULT_DIRTY:
		guest_fault(s, f, until);
		break;
	case FAULT_STANDBY:
	case FAULT_SLOW_APPLY:
	case FAULT_SKIP_EPOCH:
		standby_fault(s, f, until);
		break;
	case FAULT_FALSE_ACK:
	case FAULT_FALSE_ACTIVATED:
		false_word(s, f);
		break;
	case FAULT_DISK_ERROR:
	case FAULT_DISK_SERVER:
	case FAULT_DISK_DROP:
	case FAULT_DISK_SLOW:
		disk_fault(s, f, until);
		break;
	case FAULT_CLOCK_JUMP:
	case FAULT_ARBITER_CUT:
	case FAULT_ARBITER_DIES:
	case FAULT_ARBITER_SLOW:
	case FAULT_ARBITER_MUTE:
	case FAULT_ARBITER_DOUBLE:
		arbiter_fault(s, f, until);
		break;
	case FAULT_DRILL:
	case FAULT_NONE:
	case FAULT_COUNT:
		break;
	}
}

/* From here on nothing goes wrong any more; what is dead for ever stays dead. */
void faults_end(struct sim *s)
{
	s->faults_over = true;
	s->fail_standby = false;
	s->complete_standby = false;
	s->skip_epoch = false;
	s->armed = 0;
	disks_repaired(s);
	s->net.loss = 0;
	s->a.proc.trap.countdown = 0;
	s->b_trap.countdown = 0;
	for (int i = 0; i < MAX_WORKERS; i++)
		s->b[i].proc.trap.countdown = 0;
	sim_trace(s, "!! faults are over");
}
