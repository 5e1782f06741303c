/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest of host A and the lanes of its output. The guest's whole memory is a number that rises
 * with all that it does; a frame carries the number at which it was sent, so that a frame is explained
 * by each epoch whose number is at least as high.
 */
#include "tests/sim/sim.h"

#define HOLD_LIMIT 200 /* frames */

void guest_start(struct sim *s)
{
	const struct ev speak = {.kind = EV_GUEST, .where = AT_A_HOST};

	s->guest = (struct guest){
		.exists = true,
		.state = 1,
		.dirty_rate = rng_between(&s->rng, 1, 600),
	};
	ev_push(s, s->now + MS, &speak);
}

void guest_end(struct sim *s, enum leave_reason reason)
{
	const struct primary_event ev = {.type = PEV_GUEST_EVENT, .leave = reason};

	if (!s->guest.exists || s->guest.ended)
		return;
	if (reason != LEAVE_GUEST_CHANGED) {
		s->guest.ended = true;
		s->guest.reason = reason;
		s->wants_out = true;
	}
	if (reason == LEAVE_GUEST_DESTROYED)
		s->guest.exists = false;
	if (s->a.proc.alive)
		a_post(s, &ev);
}

/* A frame leaves the guest. */
void output_say(struct sim *s)
{
	const struct primary_event pressure = {.type = PEV_OUTPUT_PRESSURE};
	struct output *o = &s->out;
	uint64_t state = ++s->guest.state;

	if (!o->held) {
		oracle_emit(s, state, true);
		return;
	}
	if (o->frames >= HOLD_LIMIT) {
		o->dropped++;
		return;
	}
	o->frames++;
	if (!o->lane[o->n - 1].frames++)
		o->lane[o->n - 1].since = s->now;
	o->lane[o->n - 1].newest = state;
	if (o->frames >= HOLD_LIMIT / 2 && !o->pressure_told && s->a.proc.alive) {
		o->pressure_told = true;
		a_post(s, &pressure);
	}
}

void guest_speak(struct sim *s)
{
	const struct ev speak = {.kind = EV_GUEST, .where = AT_A_HOST};

	if (!s->guest.exists || s->guest.ended)
		return;
	if (!s->guest.suspended) {
		output_say(s);
		disks_write(s);
	}
	ev_push(s, s->now + rng_between(&s->rng, MS / 2, s->t.epoch_period_ns + MS), &speak);
}

/* In the pause of checkpoint `epoch`: what is said from now on belongs to the next. */
void output_switch(struct sim *s, uint32_t session, uint64_t epoch)
{
	struct output *o = &s->out;

	if (!o->held) {
		o->held = true;
		o->n = 0;
		o->frames = 0;
		o->pressure_told = false;
	} else if (o->session != session) {
		sim_fail(s, "P1", "session %u switches lanes that session %u holds", session,
			 o->session);
		return;
	}
	o->session = session;
	if (o->n == MAX_LANES) {
		sim_fail(s, "P6", "checkpoint %llu: no lane is free", (unsigned long long)epoch);
		return;
	}
	o->lane[o->n++] = (struct lane){.epoch = epoch + 1};
}

void output_release(struct sim *s, uint64_t epoch)
{
	struct output *o = &s->out;

	if (epoch == 0 && o->held)
		return; /* it was never held */
	if (!o->held || o->n < 2 || o->lane[0].epoch != epoch) {
		sim_fail(s, "P1", "release of epoch %llu, which is not the oldest one held",
			 (unsigned long long)epoch);
		return;
	}
	if (o->lane[0].frames)
		oracle_emit(s, o->lane[0].newest, false);
	if (o->lane[0].frames && s->plan.n == 0 && s->plan.loss == 0 &&
	    s->now > o->lane[0].since + 2 * s->t.epoch_period_ns + 4 * s->net.delay_max + 50 * MS)
		sim_fail(s, "P4", "a frame was held for %llu ms in a world that is well",
			 (unsigned long long)((s->now - o->lane[0].since) / MS));
	o->frames -= o->lane[0].frames;
	if (o->frames < HOLD_LIMIT / 2)
		o->pressure_told = false;
	for (unsigned int i = 1; i < o->n; i++)
		o->lane[i - 1] = o->lane[i];
	o->n--;
}

/* Everything goes, and nothing is held any more. */
void output_open(struct sim *s)
{
	struct output *o = &s->out;
	uint64_t newest = 0;

	if (!o->held)
		return;
	oracle_open(s);
	for (unsigned int i = 0; i < o->n; i++) {
		if (o->lane[i].frames)
			newest = o->lane[i].newest;
	}
	o->held = false;
	if (newest)
		oracle_emit(s, newest, true);
	o->frames = 0;
	o->n = 0;
}
