/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One seed, from beginning to end. */
#include "tests/sim/sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"

/* After the faults everything must be in order within the sum of all waits there are. */
#define SETTLE (150 * SEC)
/* Events at the same instant before we call it a loop. */
#define SAME_TIME 2000
/* And so must a drill: all limits of its life together (five minutes to copy), lease and kill, and one that is stuck and nobody's. */
#define DRILLS_END (600 * SEC)

void sim_trace(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->trace)
		return;
	printf("%9.3f ms  ", (double)s->now / (double)MS);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void sim_fail(struct sim *s, const char *promise, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (s->failed)
		return;
	s->failed = true;
	n = snprintf(s->why, sizeof(s->why), "%s at %llu us: ", promise,
		     (unsigned long long)(s->now / US));
	va_start(ap, fmt);
	vsnprintf(s->why + n, sizeof(s->why) - n, fmt, ap);
	va_end(ap);
	sim_trace(s, "## %s", s->why);
}

uint64_t sim_delay(struct sim *s, uint64_t min, uint64_t max)
{
	uint64_t span = max - min + 1;

	/* Seven of eight in the first eighth. */
	if (rng_below(&s->rng, 8))
		span = span / 8 + 1;
	return MIN(min + rng_below(&s->rng, span), max);
}

bool host_daemon(const struct sim *s, enum side side)
{
	return s->host[side].up && s->now >= s->host[side].daemon_back;
}

uint64_t host_clock(const struct sim *s, enum side side)
{
	const struct host *h = &s->host[side];
	uint64_t t = s->now - h->stopped;

	return h->base + t + (uint64_t)((int64_t)(t / 1000000) * h->ppm);
}

uint64_t host_when(const struct sim *s, enum side side, uint64_t at)
{
	const struct host *h = &s->host[side];
	uint64_t clock = host_clock(s, side);
	uint64_t left = at > clock ? at - clock : 0;

	/* Woken a little late, as a real timer does; never before the time on any clock here. */
	return s->now + left + left / 1000 + (h->ppm ? US : 0);
}

/* ---- who may run ---- */

static const struct process *process_of(const struct sim *s, const struct ev *ev)
{
	if (ev->where == AT_A_WORKER)
		return &s->a.proc;
	return ev->where == AT_B_WORKER ? &s->b[ev->slot].proc : NULL;
}

/* False if the event is void, or was put off because its owner sleeps. */
static bool may_run(struct sim *s, const struct ev *ev)
{
	enum side side = ev->where == AT_A_HOST || ev->where == AT_A_WORKER ? SIDE_A : SIDE_B;
	struct host *h = &s->host[side];
	const struct process *p = process_of(s, ev);

	if (ev->where == AT_NONE)
		return true;
	if (!h->up || (p && (!p->alive || p->gen != ev->gen)))
		return false;
	if (h->frozen) {
		ev_push(s, h->thaw, ev);
		return false;
	}
	if (!p || !p->frozen)
		return true;
	if (s->now < p->thaw) {
		ev_push(s, p->thaw, ev);
		return false;
	}
	if (side == SIDE_A)
		s->a.proc.frozen = false;
	else
		s->b[ev->slot].proc.frozen = false;
	return true;
}

static void dispatch(struct sim *s, const struct ev *ev)
{
	switch (ev->kind) {
	case EV_A_CORE:
	case EV_A_TICK:
	case EV_A_DATA:
	case EV_A_HEART:
	case EV_A_EXEC:
	case EV_A_RESTART:
	case EV_A_GONE:
	case EV_A_SYNCED:
		a_event(s, ev);
		break;
	case EV_B_CORE:
	case EV_B_TICK:
	case EV_B_HEART:
	case EV_B_EXEC:
	case EV_B_ANSWER:
	case EV_B_APPLIED:
	case EV_B_COMPLETED:
	case EV_B_ACTIVATED:
	case EV_B_ABANDONED:
		b_event(s, ev);
		break;
	case EV_B_DISK_HELD:
	case EV_B_DISK_DURABLE:
	case EV_B_DISK_APPLIED:
	case EV_B_DISK_ACTIVE:
		disks_event(s, ev);
		break;
	case EV_VOTE_ASKED:
	case EV_VOTE_ANSWER:
	case EV_VOTE_TIMEOUT:
		arbiter_event(s, ev);
		break;
	case EV_MSG:
		net_arrive(s, ev);
		break;
	case EV_HEARTBEAT:
		net_heartbeat_arrive(s, ev);
		break;
	case EV_GUEST:
		guest_speak(s);
		break;
	case EV_FAULT:
		if (s->plan.fault[ev->fault].upon && !ev->ok)
			s->armed |= 1u << ev->fault;
		else if (!ev->ok || !s->faults_over) /* its moment came too late */
			fault_strike(s, ev->fault);
		break;
	case EV_THAW:
		fault_thaw(s, ev->side);
		break;
	case EV_BOOT:
		fault_boot(s, ev->side);
		break;
	case EV_END_OF_FAULTS:
		faults_end(s);
		break;
	}
}

/* ---- the run ---- */

static void begin(struct sim *s)
{
	const struct ev end = {.kind = EV_END_OF_FAULTS};
	struct err e = ERR_INIT;

	if (timing_check(&s->plan.timing, &e))
		sim_fail(s, "plan", "%s", e.text);
	timing_derive(&s->t, &s->plan.timing);
	ev_init(s);
	for (int i = 0; i < 2; i++) {
		s->host[i].up = true;
		s->host[i].base = rng_below(&s->rng, 1000 * SEC);
		s->host[i].ppm = (int64_t)rng_below(&s->rng, 401) - 200;
	}
	s->net.delay_min = 50 * US;
	s->net.delay_max = rng_between(&s->rng, 200 * US, s->t.heartbeat_period_ns / 2);
	s->net.udp_late_max = s->net.delay_max;
	s->net.loss = s->plan.loss;
	s->net.doubled = 2;
	for (int i = 0; i < s->plan.n; i++) {
		const struct ev ev = {.kind = EV_FAULT, .fault = i};

		ev_push(s, s->plan.fault[i].at, &ev);
	}
	ev_push(s, s->plan.end_of_faults, &end);
	drills_begin(s);
	twin_begin(s);
	guest_start(s);
	arbiter_join(s, 1);
	a_start(s);
}

static const char *state_text(const struct sim *s)
{
	static _Thread_local char text[128];
	int cur = b_current(s);

	snprintf(text, sizeof(text), "A %s%s%s%s, B %s%s%s, %s",
		 s->host[SIDE_A].up ? "" : "(dead) ",
		 s->a.proc.alive ? primary_state_name(s->a.core.state) : "no worker",
		 s->out.held ? " (held)" : "", s->a.core.outvoted ? " (outvoted)" : "",
		 s->host[SIDE_B].up ? "" : "(dead) ",
		 cur < 0 ? "no worker" : backup_state_name(s->b[cur].core.state),
		 cur >= 0 && s->b[cur].core.outvoted ? " (outvoted)" : "",
		 policy_name(s->plan.policy));
	return text;
}

/* Lets come what comes of drills before the world's next event. */
static bool drills_first(struct sim *s)
{
	while (s->drilling && !s->failed && drills_next(s) < ev_next(s))
		drills_step(s);
	return !s->failed;
}

/* Runs until all is settled and has been for a while, or it should be and is not. */
static void run(struct sim *s)
{
	uint64_t linger = 4 * s->t.epoch_period_ns + 2 * s->t.suspect_ns;
	uint64_t settled_at = NEVER;
	uint64_t last = 0;
	unsigned int same = 0;
	struct ev ev;

	while (!s->failed && drills_first(s) && ev_pop(s, &ev)) {
		same = s->now == last ? same + 1 : 0;
		last = s->now;
		if (same > SAME_TIME)
			sim_fail(s, "P6", "the world stands still");
		oracle_before(s);
		if (!may_run(s, &ev))
			continue;
		s->n_events++;
		dispatch(s, &ev);
		oracle_after(s);
		twin_saw(s, &ev);
		drills_go_on(s);
		if (!s->faults_over)
			continue;
		if (!oracle_settled(s))
			settled_at = NEVER;
		else if (settled_at == NEVER)
			settled_at = s->now;
		else if (s->now >= settled_at + linger)
			return;
		if (s->now > s->plan.end_of_faults + SETTLE)
			break;
	}
	if (!s->failed && !oracle_settled(s))
		sim_fail(s, "P4", "not settled after the faults: %s", state_text(s));
}

/* The world goes on as long as a drill needs it to come to its copy. */
static bool needs_world(const struct sim *s)
{
	for (int i = 0; i < MAX_PROCESSES; i++) {
		const struct drill_process *p = &s->drills.process[i];

		if (p->alive && !p->stuck &&
		    (p->phase == PROCESS_COPYING || p->phase == PROCESS_PREPARING))
			return true;
	}
	return false;
}

static bool drills_alive(const struct sim *s)
{
	for (int i = 0; i < MAX_PROCESSES; i++) {
		if (s->drills.process[i].alive || s->drills.process[i].copy_there)
			return true;
	}
	return false;
}

/* All is settled but drills, which have an end as well. */
static void wind_up(struct sim *s)
{
	uint64_t bound = s->now + DRILLS_END;
	struct ev ev;

	s->winding_up = true;
	while (!s->failed && drills_alive(s) && s->now < bound) {
		if (drills_next(s) < ev_next(s) || !needs_world(s)) {
			drills_step(s);
		} else if (ev_pop(s, &ev) && may_run(s, &ev)) {
			dispatch(s, &ev);
			drills_go_on(s);
		}
	}
	oracle_drills_over(s);
}

static void run_once(struct sim *s, uint64_t seed, const struct plan *plan, bool aimed,
		     bool drilling)
{
	bool trace = s->trace;

	memset(s, 0, drilling ? sizeof(*s) : offsetof(struct sim, drills));
	s->seed = seed;
	s->trace = trace;
	s->drilling = drilling;
	rng_seed(&s->rng, seed);
	if (plan)
		s->plan = *plan;
	else
		plan_random(s, &s->plan);
	if (aimed)
		plan_aim(seed, &s->plan);
	begin(s);
	run(s);
	twin_end(s);
	sim_trace(s, "-- end: %s", state_text(s));
	if (drilling && !s->failed)
		wind_up(s);
	drills_end(s);
}

static bool run_it(struct sim *s, uint64_t seed, const struct plan *plan, bool aimed, bool trace)
{
	s->trace = trace;
	run_once(s, seed, plan, aimed, false);
	if (s->failed || !s->plan.n_drills)
		return !s->failed;
	sim_trace(s, "-- and with drills:");
	run_once(s, seed, plan, aimed, true);
	return !s->failed;
}

bool sim_run_plan(struct sim *s, uint64_t seed, const struct plan *plan, bool trace)
{
	return run_it(s, seed, plan, false, trace);
}

bool sim_run(struct sim *s, uint64_t seed, bool trace)
{
	return run_it(s, seed, NULL, false, trace);
}

bool sim_run_aimed(struct sim *s, uint64_t seed, bool trace)
{
	return run_it(s, seed, NULL, true, trace);
}
