/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host B's disks and their journals; see disks_a.c. */
#include "tests/sim/sim.h"

#define U(x) ((unsigned long long)(x))

static bool at_b_alive(const struct sim *s, const struct disk_b *d)
{
	return s->host[SIDE_B].up && s->now >= d->dead_until;
}

bool disks_b_owned(const struct sim *s, const struct disk_b *d, int slot)
{
	return d->owner && d->owner == s->b[slot].proc.gen;
}

static void tell_b(struct sim *s, int n, enum backup_event_type type, uint64_t epoch, bool flush)
{
	struct disk_b *d = &s->disk_b[n];
	const struct backup_event ev = {
		.type = type, .epoch = epoch, .disk = (uint8_t)n, .flush = flush};

	if (!d->owner || !s->b[d->slot].proc.alive || !disks_b_owned(s, d, d->slot))
		return;
	if (type == BEV_DISK_FAILED) {
		s->b[d->slot].asked_to_abandon = true;
		s->b[d->slot].disk_news++;
		s->b_duty = false;
	}
	b_post(s, d->slot, &ev);
}

static void later(struct sim *s, int n, enum ev_kind kind, uint64_t epoch, uint64_t delay)
{
	struct ev ev = {.kind = kind, .where = AT_B_HOST, .fault = n};

	ev.token = s->disk_b[n].token;
	ev.m.epoch = epoch;
	ev_push(s, s->now + delay, &ev);
}

static uint64_t disk_time(struct sim *s)
{
	return s->now < s->slow_disk_until ? sim_delay(s, MS, s->t.failure_timeout_ns)
					   : sim_delay(s, 50 * US, 3 * MS);
}

static void receive(struct sim *s, int n, const struct msg *m)
{
	struct disk_b *d = &s->disk_b[n];

	d->j[d->n++] = (struct disk_epoch){
		.epoch = m->epoch, .newest = m->state, .flush = m->flush, .whole = m->whole};
	later(s, n, EV_B_DISK_HELD, m->epoch, sim_delay(s, 20 * US, 2 * MS));
}

/* DISK_END: all of an epoch's writes are here. With the journal full it is taken in when there is room. */
void disks_b_end(struct sim *s, int slot, const struct msg *m)
{
	struct disk_b *d = &s->disk_b[m->disk];

	if (!disks_b_owned(s, d, slot) || !at_b_alive(s, d) || d->state == DISK_FAILED)
		return;
	if (d->n < JOURNAL_EPOCHS) {
		receive(s, m->disk, m);
		return;
	}
	if (d->waits)
		sim_fail(s, "P6", "two epochs wait for the journal of disk %u", m->disk);
	d->waits = true;
	d->waiting = *m;
	drill_disk_goes_on(s, m->disk);
}

/* Nothing of what is not committed remains; what is committed goes into the volume. */
static void settle(struct disk_b *d, bool durable_only)
{
	for (unsigned int i = 0; i < d->n; i++) {
		if (d->j[i].committed && (d->j[i].durable || !durable_only))
			d->content = d->j[i].newest;
		else
			break;
	}
	d->n = 0;
	d->waits = false;
	d->token++;
}

/* The session is over. What is ACTIVE stays so in its journal. */
static void outdate(struct disk_b *d)
{
	if (d->state == DISK_CONSISTENT)
		d->state = DISK_OUTDATED;
	d->owner = 0;
}

/* The VM never ran: nobody else may run it from here either. */
static void leave_active(struct sim *s, int n)
{
	struct disk_b *d = &s->disk_b[n];

	if (s->standby.runs)
		sim_fail(s, "P4", "disk %d is taken away from the VM that runs at B", n);
	if (d->state == DISK_ACTIVE)
		d->state = DISK_OUTDATED;
	d->serves = false;
	if (s->faults_over)
		disks_b_repaired(s, n);
}

static void leave_one(struct sim *s, int n, bool by_word)
{
	struct disk_b *d = &s->disk_b[n];

	if (d->serves && !by_word) {
		d->owner = 0;
		return;
	}
	if (d->serves)
		leave_active(s, n);
	settle(d, false);
	d->before = 0;
	outdate(d);
}

void disks_b_leave(struct sim *s, int slot, bool by_word)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_b *d = &s->disk_b[i];

		if (!by_word && d->leaver == s->b[slot].proc.gen)
			d->leaver = 0;
		if (!disks_b_owned(s, d, slot))
			continue;
		if (d->holder == d->owner)
			leave_one(s, i, by_word);
		else /* it could not begin */
			outdate(d);
	}
}

uint64_t disks_b_left(struct sim *s, int slot)
{
	uint64_t again = 0;

	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_b *d = &s->disk_b[i];

		if (d->leaver != s->b[slot].proc.gen)
			continue;
		if (!at_b_alive(s, d)) {
			again = MAX(again, d->dead_until);
			continue;
		}
		d->leaver = 0;
		leave_active(s, i);
	}
	return again;
}

/* Blocks that differ and that nobody knows of would stay so for ever. */
static void check_bitmap(struct sim *s, int n)
{
	const struct disk_b *d = &s->disk_b[n];

	/* The plan says so, and all of it is dirty before the copy begins: it may break off. */
	if (!d->current)
		s->disk_a[n].clean = 0;
	if (d->content < s->disk_a[n].clean)
		sim_fail(s, "P2",
			 "disk %d of B holds writes up to %llu, A has marked none before %llu", n,
			 U(d->content), U(s->disk_a[n].clean));
}

/* Whose blocks are newer is never left to the operator by what happens by itself. */
static void compare_generations(struct sim *s, int n, uint32_t conn)
{
	const struct generations *a = &s->disk_a[n].said[conn % MAX_CONNS];
	struct disk_b *d = &s->disk_b[n];

	d->peer_current = a->current;
	/* None: fresh, or its first copy was never complete. */
	if (!d->current)
		return;
	if (d->current == a->current) {
		/* That A goes on alone was not written down before its output was opened. */
		if (d->state == DISK_ACTIVE)
			sim_fail(s, "P4", "disk %d is active at both hosts in generation %llu", n,
				 U(a->current));
		/* gen_finish() was not before gen_adopt(). */
		if (a->bitmap)
			sim_fail(s, "P4", "disk %d has A's generation, and A counts from %llu", n,
				 U(a->bitmap));
		return;
	}
	if (d->current != a->bitmap && d->current != a->history[0] && d->current != a->history[1])
		sim_fail(s, "P4", "disk %d has two histories: %llu here, %llu %llu at A", n,
			 U(d->current), U(a->current), U(a->bitmap));
}

/* DISKS: a session begins. */
void disks_b_begin(struct sim *s, int slot)
{
	const struct backup_event ev = {
		.type = BEV_DISKS,
		.n_disks = (uint8_t)s->plan.n_disks,
		.ack_mode = s->plan.ack_mode,
	};
	bool all = true;

	b_post(s, slot, &ev);
	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_b *d = &s->disk_b[i];

		/* The newest connection wins. */
		if (d->owner && !disks_b_owned(s, d, slot))
			outdate(d);
		d->owner = s->b[slot].proc.gen;
		d->slot = slot;
		if (!at_b_alive(s, d) || d->state == DISK_FAILED) {
			tell_b(s, i, BEV_DISK_FAILED, 0, false);
			all = false;
			continue;
		}
		if (s->b[slot].conn == s->a.conn)
			s->disk_a[i].target = d->current;
		compare_generations(s, i, s->b[slot].conn);
		check_bitmap(s, i);
		settle(d, false);
		d->state = DISK_SYNCING;
		d->serves = false;
		d->leaver = 0;
		d->holder = d->owner;
		d->held = EPOCH_NONE;
		d->durable = EPOCH_NONE;
		d->flushes = 0;
	}
	if (all)
		s->disks_ok = s->b[slot].conn;
}

static struct disk_epoch *find(struct disk_b *d, uint64_t epoch)
{
	for (unsigned int i = 0; i < d->n; i++) {
		if (d->j[i].epoch == epoch)
			return &d->j[i];
	}
	return NULL;
}

void disks_b_commit(struct sim *s, int slot, uint64_t epoch)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_b *d = &s->disk_b[i];
		struct disk_epoch *j = find(d, epoch);

		if (!disks_b_owned(s, d, slot) || !at_b_alive(s, d) || d->state == DISK_FAILED)
			continue; /* that it has failed is on its way */
		if (!j || !j->held) {
			sim_fail(s, "P2", "disk %d is to commit epoch %llu, which it does not hold",
				 i, U(epoch));
			return;
		}
		if (!j->whole)
			sim_fail(s, "P2", "disk %d is committed although its copy is not complete",
				 i);
		j->committed = true;
		if (d->state == DISK_SYNCING) {
			d->state = DISK_CONSISTENT;
			d->before = d->current;
			d->current = d->peer_current;
		}
		later(s, i, EV_B_DISK_DURABLE, epoch, disk_time(s));
	}
}

void disks_b_activate(struct sim *s, int slot, uint64_t epoch)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		struct disk_b *d = &s->disk_b[i];

		if (!disks_b_owned(s, d, slot) || !at_b_alive(s, d) || d->state != DISK_CONSISTENT)
			continue;
		while (d->n && (!d->j[d->n - 1].committed || d->j[d->n - 1].epoch > epoch))
			d->n--;
		d->waits = false;
		d->token++;
		drill_disk_activates(s, i);
		later(s, i, EV_B_DISK_ACTIVE, epoch, disk_time(s) + sim_delay(s, 0, 100 * MS));
	}
}

static void held(struct sim *s, int n, uint64_t epoch)
{
	struct disk_b *d = &s->disk_b[n];
	struct disk_epoch *j = find(d, epoch);

	if (!j)
		return;
	j->held = true;
	d->held = epoch;
	if (j->flush)
		d->flushes |= UINT64_C(1) << epoch % 64;
	else
		d->flushes &= ~(UINT64_C(1) << epoch % 64);
	tell_b(s, n, BEV_DISK_HELD, epoch, j->flush);
	fault_moment(s, MOMENT_HELD);
}

static void durable(struct sim *s, int n, uint64_t epoch)
{
	struct disk_b *d = &s->disk_b[n];
	struct disk_epoch *j = find(d, epoch);
	struct msg m = {.type = MSG_DISK_PROGRESS, .epoch = epoch, .disk = (uint8_t)n};

	/* A later one was durable before it, and applied: but for a drill it would not be here. */
	if (!j || drill_disk_keeps(s, n, epoch))
		return;
	for (unsigned int i = 0; i < d->n && d->j[i].epoch <= epoch; i++)
		d->j[i].durable = true;
	d->before = 0;
	if (!epoch_reached(d->durable, epoch))
		d->durable = epoch;
	tell_b(s, n, BEV_DISK_DURABLE, epoch, false);
	fault_moment(s, MOMENT_DURABLE);
	m.state = j->newest;
	if (d->owner && s->b[d->slot].proc.alive && disks_b_owned(s, d, d->slot))
		net_send(s, s->b[d->slot].conn, SIDE_A, &m);
	later(s, n, EV_B_DISK_APPLIED, epoch, disk_time(s));
}

void disks_b_applied(struct sim *s, int n, uint64_t epoch)
{
	struct disk_b *d = &s->disk_b[n];
	unsigned int k = 0;

	while (k < d->n && d->j[k].epoch <= epoch)
		d->content = d->j[k++].newest;
	for (unsigned int i = k; i < d->n; i++)
		d->j[i - k] = d->j[i];
	d->n -= k;
	if (d->waits && d->n < JOURNAL_EPOCHS) {
		d->waits = false;
		receive(s, n, &d->waiting);
	}
}

static void active(struct sim *s, int n, uint64_t epoch)
{
	struct disk_b *d = &s->disk_b[n];
	struct backup_event ev = {.type = BEV_DISKS_ACTIVE, .epoch = epoch};

	settle(d, false);
	d->before = 0;
	d->state = DISK_ACTIVE;
	d->serves = true;
	fault_moment(s, MOMENT_ACTIVE);
	for (int i = 0; i < s->plan.n_disks; i++) {
		if (s->disk_b[i].state != DISK_ACTIVE)
			return;
	}
	if (s->b[d->slot].proc.alive && disks_b_owned(s, d, d->slot))
		b_post(s, d->slot, &ev);
}

void disks_event(struct sim *s, const struct ev *ev)
{
	struct disk_b *d = &s->disk_b[ev->fault];

	if (ev->token != d->token)
		return;
	switch ((int)ev->kind) {
	case EV_B_DISK_HELD:
		held(s, ev->fault, ev->m.epoch);
		break;
	case EV_B_DISK_DURABLE:
		durable(s, ev->fault, ev->m.epoch);
		break;
	case EV_B_DISK_APPLIED:
		if (!drill_disk_applies(s, ev->fault, ev->m.epoch))
			disks_b_applied(s, ev->fault, ev->m.epoch);
		break;
	case EV_B_DISK_ACTIVE:
		active(s, ev->fault, ev->m.epoch);
		break;
	}
}

/* ---- what breaks ---- */

/* What a journal gives back after a crash is an epoch that somebody committed. */
static void recover(struct sim *s, int n)
{
	struct disk_b *d = &s->disk_b[n];

	if (d->before)
		d->current = d->before;
	settle(d, true);
	for (unsigned int i = 0; i < MIN(s->n_truths, (uint64_t)MAX_TRUTHS); i++) {
		if (s->truth[i].disk[n] == d->content)
			return;
		if (s->truth[i].disk[n] < d->content && s->n_truths > MAX_TRUTHS)
			return; /* older than what is remembered */
	}
	if (d->content && s->n_truths <= MAX_TRUTHS)
		sim_fail(s, "P2", "disk %d of B is at %llu, which is the end of no epoch", n,
			 U(d->content));
}

void disks_b_host_died(struct sim *s)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		recover(s, i);
		outdate(&s->disk_b[i]);
		s->disk_b[i].leaver = 0;
	}
}

void disks_b_server_dies(struct sim *s, int n, uint64_t until)
{
	struct disk_b *d = &s->disk_b[n];

	/* The VM's I/O waits for the new one. */
	if (d->serves && s->standby.runs)
		return;
	tell_b(s, n, BEV_DISK_FAILED, 0, false);
	recover(s, n);
	if (d->state == DISK_ACTIVE && d->owner)
		d->leaver = d->owner;
	outdate(d);
	d->dead_until = until;
	drill_disk_died(s, n);
}

/* A journal that fails takes no disk away from a guest that it serves. */
void disks_b_break(struct sim *s, int n)
{
	struct disk_b *d = &s->disk_b[n];

	if (d->serves && s->standby.runs)
		return;
	d->token++;
	d->n = 0;
	d->waits = false;
	tell_b(s, n, BEV_DISK_FAILED, 0, false);
	d->state = DISK_FAILED;
	if (d->serves && d->owner)
		d->leaver = d->owner;
	d->owner = 0;
}

/* One that failed is replaced: fresh. What the old one had said to its session is said; nobody takes away one that serves. */
void disks_b_repaired(struct sim *s, int n)
{
	struct disk_b *d = &s->disk_b[n];

	if (d->state != DISK_FAILED || (d->serves && (s->standby.completing || s->standby.runs)))
		return;
	*d = (struct disk_b){
		.token = d->token + 1,
		.holder = d->holder,
		.held = d->held,
		.durable = d->durable,
		.flushes = d->flushes,
	};
}

/* ---- for the oracle ---- */

bool disks_b_hold(const struct sim *s, int slot, uint64_t epoch)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		const struct disk_b *d = &s->disk_b[i];

		/* One that died since had told so. */
		if (d->holder != s->b[slot].proc.gen || !epoch_reached(d->held, epoch))
			return false;
	}
	return true;
}

/* The disks of this worker's session could be activated with its memory. */
bool disks_b_good(const struct sim *s, int slot)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		const struct disk_b *d = &s->disk_b[i];

		if (!disks_b_owned(s, d, slot) || !at_b_alive(s, d) || d->state != DISK_CONSISTENT)
			return false;
	}
	return true;
}
