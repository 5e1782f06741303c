/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The promises P1 to P6 as predicates over the true state of the world; docs/promises.md has them in words. */
#include "tests/sim/sim.h"

#define U(x) ((unsigned long long)(x))

static bool standing(const struct sim *s, const struct backup_side *w)
{
	return w->proc.alive && s->host[SIDE_B].up && w->core.state == BACKUP_STANDING;
}

/* Somebody at host B could go alone from what he has, or has. */
bool standby_can_run(const struct sim *s)
{
	if (s->standby.exists && (s->standby.runs || s->standby.completing))
		return true;
	for (int i = 0; i < MAX_WORKERS; i++) {
		const struct backup_side *w = &s->b[i];

		if (standing(s, w) || (w->proc.alive && w->core.state == BACKUP_ACTIVATING))
			return true;
	}
	return false;
}

/* ---- P1, P3: a frame leaves host A ---- */

/* docs/promises.md: known holes. */
static void two_lives(struct sim *s, bool open)
{
	if (vote_was_overridden(s) || (s->host_a_slept && !open)) {
		s->p3_holes++;
		return;
	}
	sim_fail(s, "P3", "a frame leaves host A although the VM runs at host B since %llu us",
		 U(s->b_activated_at / US));
}

void oracle_emit(struct sim *s, uint64_t newest, bool open)
{
	struct output *o = &s->out;

	s->last_emit = s->now;
	if (s->vm_ran_at_b) {
		two_lives(s, open);
		return;
	}
	if (!open) {
		if (o->session != s->commit_conn || newest > s->commit_state)
			sim_fail(s, "P1", "frame %llu is let out, session %u committed %llu",
				 U(newest), s->commit_conn, U(s->commit_state));
		s->plain_newest = MAX(s->plain_newest, newest);
		return;
	}
	if (o->reason != OPEN_PLAIN) {
		s->alone_newest = MAX(s->alone_newest, newest);
		return;
	}
	if (standby_can_run(s))
		sim_fail(s, "P1", "frame %llu passes an open lane while a standby could run",
			 U(newest));
	s->plain_newest = MAX(s->plain_newest, newest);
}

uint64_t oracle_silence(const struct sim *s, enum side side, const struct process *p,
			uint64_t heard)
{
	uint64_t since = MAX(heard, MAX(p->listens_since, s->host[side].listens_since));

	/* A sleep in which the clock stood cannot be seen. */
	if (s->host[side].stopped)
		return NEVER;
	/* A clock may go a little faster than ours. */
	return s->now - since + s->t.failure_timeout_ns / 1000;
}

/* A backup goes alone, nobody told it to. */
void oracle_decided(struct sim *s, const struct backup_side *w)
{
	uint64_t silent = oracle_silence(s, SIDE_B, &w->proc, w->last_heard);

	if (by_vote(s)) {
		oracle_decided_by_vote(s, w);
		return;
	}
	if (s->plan.policy != POLICY_BACKUP_WINS)
		sim_fail(s, "P3", "the backup activates by itself under %s",
			 policy_name(s->plan.policy));
	if (silent < s->t.failure_timeout_ns)
		sim_fail(s, "P4", "the backup activates after %llu us of silence", U(silent / US));
}

/* Held output is about to be let out, all of it. */
void oracle_open(struct sim *s)
{
	struct primary_side *a = &s->a;

	if (by_vote(s)) {
		oracle_alone_by_vote(s);
		return;
	}
	s->out.reason = OPEN_PLAIN;
	if (a->core.leave_force)
		s->out.reason = OPEN_FORCED;
	else if (s->plan.policy == POLICY_PRIMARY_WINS && a->core.alone_decided &&
		 a->alone_after >= s->t.failure_timeout_ns)
		s->out.reason = OPEN_ALONE;
	else if (standby_can_run(s))
		sim_fail(s, "P1", "output is opened while a standby could run (silent for %llu ms)",
			 U(a->alone_after / MS));
	if (s->out.reason == OPEN_ALONE && s->handed && standby_can_run(s))
		sim_fail(s, "P3", "the primary goes alone although it handed the VM over");
}

/* ---- P2: a VM begins to run at host B ---- */

/* P4: the guest stands still for one epoch, not for all that are on their way. */
void oracle_last(struct sim *s)
{
	const struct primary *p = &s->a.core;

	if (p->taken != p->acked)
		sim_fail(s, "P4", "the last checkpoint is taken while %llu epochs are outstanding",
			 U(epoch_distance(p->taken, p->acked)));
}

/* P2: whatever it did from here on would be lost. */
void oracle_hands_over(struct sim *s)
{
	if (!s->guest.parked || !s->guest.suspended)
		sim_fail(s, "P2", "the guest is handed over as planned, and runs on");
}

void oracle_stays(struct sim *s)
{
	if (s->plan.well && s->guest.exists && !s->guest.ended)
		sim_fail(s, "P4", "nothing comes of a switchover in a world that is well");
}

/* P2, and more than that: of a guest that was parked for it nothing at all is lost, and what it sent is out. */
static void check_moved(struct sim *s)
{
	int cur = b_current(s);

	/* Else it is a failover that came in between. */
	if (!s->guest.parked || cur < 0 || !s->b[cur].core.takes_over || !s->b[cur].core.planned)
		return;
	s->pause_ns = s->now - s->guest.suspended_at;
	if (s->standby.state != s->guest.state)
		sim_fail(s, "P2", "the guest was parked at %llu, %llu is what was moved",
			 U(s->guest.state), U(s->standby.state));
	if (s->out.frames)
		sim_fail(s, "P1", "%u frames of a guest that was moved are still held",
			 s->out.frames);
}

void oracle_activated(struct sim *s)
{
	const struct standby *d = &s->standby;

	if (s->vm_ran_at_b)
		sim_fail(s, "P3", "the VM is activated for the second time");
	if (!d->good)
		sim_fail(s, "P2", "an epoch is missing in the activated VM");
	if (d->state != d->due)
		sim_fail(s, "P2", "state %llu is activated, the newest committed epoch is %llu",
			 U(d->state), U(d->due));
	if (s->plain_newest > d->state)
		sim_fail(s, "P2", "frame %llu was let out, state %llu is activated",
			 U(s->plain_newest), U(d->state));
	check_moved(s);
	if (s->alone_newest > d->state && by_vote(s) && !s->forced_over)
		sim_fail(s, "P3", "frame %llu was let out alone, state %llu is activated",
			 U(s->alone_newest), U(d->state));
	else if (s->alone_newest > d->state)
		s->p3_holes++;
	oracle_disks_activated(s, d->state);
	s->vm_ran_at_b = true;
	s->b_activated_at = s->now;
}

/* ---- P4 ---- */

void oracle_destroy(struct sim *s)
{
	if (!s->vm_ran_at_b && !s->guest.ended)
		sim_fail(s, "P4", "the only copy of the VM is destroyed");
}

void oracle_abandon(struct sim *s, const struct backup_side *b)
{
	bool committed = b->core.committed != EPOCH_NONE;

	if (s->standby.runs)
		sim_fail(s, "P4", "the running VM of host B is abandoned");
	if (committed && !b->asked_to_abandon && !b->hole)
		sim_fail(s, "P4", "a good standby is destroyed and nobody asked for it");
}

/* Its last epoch is sent, acknowledged, the peer takes it; and the worker may be slow to give it up. */
uint64_t oracle_park_max(const struct sim *s)
{
	return 2 * s->t.failure_timeout_ns + s->t.bye_timeout_ns + 10 * MS;
}

static void check_pause(struct sim *s)
{
	const struct guest *g = &s->guest;
	uint64_t max = g->parked ? oracle_park_max(s) : 10 * MS;

	if (!g->exists || !g->suspended || g->dying || !s->a.proc.alive || s->a.proc.frozen ||
	    s->host[SIDE_A].frozen)
		return;
	if (s->now > MAX(g->suspended_at, s->a.proc.thawed_at) + max &&
	    s->now > s->host[SIDE_A].thaw + max)
		sim_fail(s, "P4", "the guest is suspended for %llu ms",
			 U((s->now - g->suspended_at) / MS));
}

/* ---- P5 ---- */

static bool runs_now(const struct sim *s, enum side side, const struct process *p)
{
	return p->alive && !p->frozen && s->host[side].up && !s->host[side].frozen;
}

/* The standby of the primary's session protects it, in truth. */
static bool standby_good(const struct sim *s)
{
	for (int i = 0; i < MAX_WORKERS; i++) {
		const struct backup_side *w = &s->b[i];

		if (w->conn == s->a.session && standing(s, w) && runs_now(s, SIDE_B, &w->proc))
			return (w->disk_news || disks_b_good(s, i)) &&
			       (s->a.disk_news || disks_a_good(s));
	}
	return false;
}

static bool primary_good(const struct sim *s, const struct backup_side *w)
{
	const struct primary *core = &s->a.core;

	return runs_now(s, SIDE_A, &s->a.proc) && s->a.session == w->conn && core->held;
}

/* What two heartbeats, the network and a thaw of the host explain. */
static bool excused(const struct sim *s, enum side side, uint64_t truth)
{
	uint64_t grace = s->t.suspect_ns + s->t.suspect_ns / 100 + s->net.udp_late_max + MS;

	/* A thaw of the process does not: what its socket kept is as old as it came. */
	return s->now <= MAX(truth, s->host[side].thaw) + grace;
}

static void check_honest(struct sim *s)
{
	struct primary_side *a = &s->a;

	if (runs_now(s, SIDE_A, &a->proc) &&
	    primary_is_protected(&a->core, host_clock(s, SIDE_A)) &&
	    !excused(s, SIDE_A, s->was_good ? s->now : s->last_good))
		sim_fail(s, "P5", "the primary says protected, the standby is gone for %llu ms",
			 U((s->now - s->last_good) / MS));
	for (int i = 0; i < MAX_WORKERS; i++) {
		struct backup_side *w = &s->b[i];

		if (!w->told_hello || !runs_now(s, SIDE_B, &w->proc))
			continue;
		if (backup_is_protecting(&w->core, host_clock(s, SIDE_B)) &&
		    !excused(s, SIDE_B, w->was_good ? s->now : w->last_good))
			sim_fail(s, "P5",
				 "the backup says protecting, the primary is gone for %llu ms",
				 U((s->now - w->last_good) / MS));
	}
}

/* The world stands still between two events, so what was good until now is known before the event. */
void oracle_before(struct sim *s)
{
	if (s->was_good)
		s->last_good = s->now;
	for (int i = 0; i < MAX_WORKERS; i++) {
		if (s->b[i].proc.alive && s->b[i].was_good)
			s->b[i].last_good = s->now;
	}
}

/* ---- P6 ---- */

static void check_bounds(struct sim *s)
{
	const struct primary *p = &s->a.core;

	if (s->a.proc.alive && epoch_distance(p->taken, p->acked) > p->conf.max_outstanding)
		sim_fail(s, "P6", "%llu epochs are unacknowledged",
			 U(epoch_distance(p->taken, p->acked)));
	if (s->out.held && s->out.n > p->conf.max_outstanding + 1)
		sim_fail(s, "P6", "%u lanes are in use", s->out.n);
	if (s->a.n_connects > s->now / (s->t.reconnect_ns / 2) + 20)
		sim_fail(s, "P6", "%u connects in %llu ms", s->a.n_connects, U(s->now / MS));
}

/* What the core believes of the output is so. */
static void check_output(struct sim *s)
{
	const struct primary *p = &s->a.core;

	if (s->a.proc.alive && !p->held && s->out.held)
		sim_fail(s, "P4", "the primary believes that the output is open, but it is held");
}

void oracle_after(struct sim *s)
{
	s->was_good = standby_good(s);
	for (int i = 0; i < MAX_WORKERS; i++)
		s->b[i].was_good = s->b[i].proc.alive && primary_good(s, &s->b[i]);
	check_honest(s);
	check_bounds(s);
	check_output(s);
	check_pause(s);
	oracle_asks(s);
	oracle_disks_move(s);
}

/* ---- the end ---- */

static bool output_flows(const struct sim *s)
{
	return s->last_emit + 6 * s->t.epoch_period_ns + 100 * MS > s->now;
}

/* Nothing of the VM is left at host A. */
static bool settled_without_a(const struct sim *s)
{
	int cur = b_current(s);

	if (s->host[SIDE_A].up && s->a.proc.alive)
		/* The guest is gone, but the peer, who cannot be asked, may hold a standby. */
		return s->a.core.state == PRIMARY_LOST &&
		       (!s->host[SIDE_B].up || s->b_role == ROLE_ACTIVE);
	if (s->standby.runs || cur < 0)
		return s->standby.runs || !s->b_duty;
	/* hold and primary-wins: the standby waits for the operator; arbiter: the primary may have gone alone. */
	return s->b[cur].core.state == BACKUP_STANDING && s->plan.policy != POLICY_BACKUP_WINS &&
	       (!by_vote(s) || s->b[cur].core.outvoted);
}

static bool settled_alone(const struct sim *s)
{
	const struct primary *p = &s->a.core;

	if (p->held && by_vote(s))
		return p->state == PRIMARY_LOST && p->outvoted;
	if (p->held)
		return p->state == PRIMARY_LOST &&
		       (s->plan.policy != POLICY_PRIMARY_WINS || p->handed);
	return (p->state == PRIMARY_CONNECTING || p->state == PRIMARY_COPYING) && output_flows(s);
}

bool oracle_settled(const struct sim *s)
{
	const struct primary *p = &s->a.core;
	int cur = b_current(s);

	if (!s->host[SIDE_A].up || !s->guest.exists)
		return settled_without_a(s);
	if (!disks_quiet(s))
		return false;
	/* A standby may be left where its primary went alone and was unprotected out of reach. */
	if (!s->a.proc.alive)
		return !s->a.durable_role &&
		       (cur < 0 || s->standby.runs || s->operator_forced ||
			s->plan.policy == POLICY_PRIMARY_WINS || s->b[cur].core.outvoted);
	if (!s->host[SIDE_B].up)
		return settled_alone(s);
	/* The primary must learn it and destroy its copy; or the operator wants two lives, against the arbiter, and ends one. */
	if (s->standby.runs)
		return by_vote(s) && s->forced_over && p->conf.term > s->b_term && settled_alone(s);
	if (s->b_role == ROLE_ACTIVE)
		return settled_alone(s);
	if (s->wants_out)
		return false;
	return cur >= 0 && s->b[cur].core.state == BACKUP_STANDING &&
	       primary_is_protected(p, host_clock(s, SIDE_A)) && output_flows(s) &&
	       disks_a_good(s) && disks_b_good(s, cur);
}
