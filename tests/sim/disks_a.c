/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host A's disks. All that a disk holds is the number of the newest write in it, as the guest's memory is the number of
 * its newest act. A block server outlives the worker, hears of its death, and tells it things as events.
 */
#include "tests/sim/sim.h"

static bool a_alive(const struct sim *s, const struct disk_a *d)
{
	return s->host[SIDE_A].up && s->now >= d->dead_until;
}

static void tell_a(struct sim *s, enum primary_event_type type)
{
	const struct primary_event ev = {.type = type};

	if (!s->a.proc.alive)
		return;
	s->a.disk_news += type == PEV_DISK_DROPPED;
	a_post(s, &ev);
}

/* Whether the peer takes the VM is tried, or cannot be: the guest may be shown the errors that were kept back. */
void disks_a_asked(struct sim *s)
{
	for (int i = 0; i < MAX_DISKS; i++)
		s->disk_a[i].owed = false;
}

/* An error that was kept back is answered, and the guest's I/O goes on without anybody's leave. */
void disks_a_leave(struct sim *s)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_a *d = &s->disk_a[i];

		if (d->error_since && d->owed)
			sim_fail(s, "P4",
				 "the guest is shown an error of disk %d, the peer was not asked",
				 i);
		d->streaming = false;
		d->error_since = 0;
		d->owed = false;
		d->left_at = s->now;
	}
}

/* Output is about to be opened: from here on the history of these disks is their own. */
void disks_a_alone(struct sim *s)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		struct generations *g = &s->disk_a[i].gen;

		/* While it counts from an older one nobody else has the current one. */
		if (g->bitmap)
			continue;
		g->bitmap = g->current;
		g->current = ++s->n_generations;
	}
}

void disks_a_begin(struct sim *s)
{
	bool dropped = false;

	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_a *d = &s->disk_a[i];

		d->streaming = a_alive(s, d);
		d->synced = false;
		d->flushed = false;
		dropped = dropped || !d->streaming;
	}
	if (dropped)
		tell_a(s, PEV_DISK_DROPPED);
}

/* What DISKS says is of this instant, however late it is read. */
void disks_a_say(struct sim *s, uint32_t conn)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_a *d = &s->disk_a[i];

		if (!d->gen.current)
			d->gen.current = ++s->n_generations;
		d->said[conn % MAX_CONNS] = d->gen;
	}
}

bool disks_a_streaming(const struct sim *s)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		if (!s->disk_a[i].streaming)
			return false;
	}
	return true;
}

bool disks_a_welcome(const struct sim *s, uint32_t conn)
{
	uint64_t held_up = MAX(s->net.cut_until[SIDE_A], s->net.tcp_stall_until[SIDE_A]);

	return s->disks_ok == conn && s->now >= held_up;
}

/* The copiers are done; one whose disk left has told that. */
void disks_a_synced(struct sim *s)
{
	const struct primary_event ev = {.type = PEV_DISKS_SYNCED};

	if (!disks_a_streaming(s))
		return;
	for (int i = 0; i < s->plan.n_disks; i++)
		s->disk_a[i].synced = true;
	a_post(s, &ev);
}

bool disks_a_good(const struct sim *s)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		if (!s->disk_a[i].streaming || !s->disk_a[i].synced)
			return false;
	}
	return true;
}

static void write_fails(struct sim *s, int n)
{
	struct disk_a *d = &s->disk_a[n];
	const struct primary *p = &s->a.core;

	if (d->streaming && s->a.proc.alive) {
		d->error_since = s->now;
		tell_a(s, PEV_DISK_ERROR);
		return;
	}
	if (s->a.proc.alive && !s->a.proc.frozen && s->now > d->left_at + 50 * MS &&
	    s->now > MAX(s->a.proc.thawed_at, s->host[SIDE_A].thaw) + 50 * MS &&
	    primary_is_protected(p, host_clock(s, SIDE_A)))
		sim_fail(s, "P4", "a protected guest is shown an error of disk %d", n);
}

/* The guest writes to one of its disks, now and then with a flush. */
void disks_write(struct sim *s)
{
	struct disk_a *d;
	int n;

	if (!s->plan.n_disks || rng_percent(&s->rng, 30))
		return;
	n = (int)rng_below(&s->rng, s->plan.n_disks);
	d = &s->disk_a[n];
	/* It waits for a server that is not there, and for an answer that is kept back. */
	if (!a_alive(s, d) || d->error_since)
		return;
	if (s->now < d->broken_until) {
		write_fails(s, n);
		return;
	}
	d->newest = ++s->guest.state;
	d->flushed = d->flushed || rng_percent(&s->rng, 20);
}

/* In the pause: what is written from now on is of the next epoch. */
void disks_barrier(struct sim *s, uint64_t epoch, uint64_t state)
{
	struct truth *t = &s->truth[s->n_truths++ % MAX_TRUTHS];

	*t = (struct truth){.epoch = epoch, .state = state};
	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_a *d = &s->disk_a[i];

		d->at_barrier = d->newest;
		d->flush_at_barrier = d->flushed;
		d->flushed = false;
		t->disk[i] = d->newest;
	}
}

/* Before the end of the first epoch is said, with whose commit the target takes over: see disk/generation.h, rule 3. */
static void finish(struct disk_a *d)
{
	struct generations *g = &d->gen;
	uint64_t base = d->target ? d->target : g->bitmap;

	if (base && base != g->current && base != g->history[0]) {
		g->history[1] = g->history[0];
		g->history[0] = base;
	}
	g->bitmap = 0;
}

/* The ends of this epoch, of every disk; false if one of them has none. */
bool disks_send_ends(struct sim *s, uint32_t conn, uint64_t epoch)
{
	struct msg m = {.type = MSG_DISK_END, .epoch = epoch};

	if (!disks_a_streaming(s))
		return false;
	for (int i = 0; i < s->plan.n_disks; i++) {
		if (s->disk_a[i].synced)
			finish(&s->disk_a[i]);
		m.disk = (uint8_t)i;
		m.state = s->disk_a[i].at_barrier;
		m.flush = s->disk_a[i].flush_at_barrier;
		m.whole = s->disk_a[i].synced;
		net_send(s, conn, SIDE_B, &m);
	}
	return true;
}

/* DISK_PROGRESS: what B holds durably is not dirty any more. An ACK alone would say too little. */
void disks_a_progress(struct sim *s, const struct msg *m)
{
	struct disk_a *d = &s->disk_a[m->disk];

	if (!d->streaming)
		return;
	d->clean = MAX(d->clean, m->state);
}

static void drop_out(struct sim *s, struct disk_a *d)
{
	if (!d->streaming)
		return;
	d->streaming = false;
	d->error_since = 0;
	d->owed = false;
	d->left_at = s->now;
	tell_a(s, PEV_DISK_DROPPED);
}

void disks_a_host_died(struct sim *s)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		s->disk_a[i].streaming = false;
		s->disk_a[i].error_since = 0;
		s->disk_a[i].owed = false;
	}
}

void disks_a_server_dies(struct sim *s, int n, uint64_t until)
{
	drop_out(s, &s->disk_a[n]);
	s->disk_a[n].dead_until = until;
}

void disks_a_drop_out(struct sim *s, int n)
{
	drop_out(s, &s->disk_a[n]);
}
