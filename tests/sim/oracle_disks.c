/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The promises of a VM with disks; see oracle.c. */
#include "tests/sim/sim.h"

#define U(x) ((unsigned long long)(x))

/* P1, by the mode: said when an ACK leaves. */
void oracle_ack(struct sim *s, int slot, uint64_t epoch)
{
	bool harden = s->plan.ack_mode == BACKUP_ACK_EPOCH;

	for (int i = 0; i < s->plan.n_disks; i++) {
		const struct disk_b *d = &s->disk_b[i];

		if (d->holder != s->b[slot].proc.gen)
			return; /* it could not begin, which is on its way to the core */
		if (!epoch_reached(d->held, epoch))
			sim_fail(s, "P1", "epoch %llu is acknowledged, disk %d does not hold it",
				 U(epoch), i);
		if (s->plan.ack_mode == BACKUP_ACK_FLUSH && d->flushes & UINT64_C(1) << epoch % 64)
			harden = true;
	}
	for (int i = 0; harden && i < s->plan.n_disks; i++) {
		if (!epoch_reached(s->disk_b[i].durable, epoch))
			sim_fail(s, "P1", "epoch %llu is acknowledged, disk %d is not durable",
				 U(epoch), i);
	}
}

/* After BEV_ABANDONED. */
void oracle_disks_left(struct sim *s, int slot)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		const struct disk_b *d = &s->disk_b[i];

		if ((disks_b_owned(s, d, slot) || d->leaver == s->b[slot].proc.gen) &&
		    s->now >= d->dead_until &&
		    (d->state == DISK_CONSISTENT || d->state == DISK_ACTIVE))
			sim_fail(s, "P3", "disk %d of an abandoned standby could still be run", i);
	}
}

/* P2: the VM runs at B with memory of this state. */
void oracle_disks_activated(struct sim *s, uint64_t state)
{
	const struct truth *t = NULL;

	if (!s->plan.n_disks)
		return;
	for (unsigned int i = 0; i < MIN(s->n_truths, (uint64_t)MAX_TRUTHS); i++) {
		if (s->truth[i].state == state)
			t = &s->truth[i];
	}
	if (!t) {
		sim_fail(s, "P2", "the memory at B is of no epoch");
		return;
	}
	for (int i = 0; i < s->plan.n_disks; i++) {
		const struct disk_b *d = &s->disk_b[i];

		if (!d->serves)
			sim_fail(s, "P2", "the VM runs at B while disk %d is not active", i);
		else if (d->content != t->disk[i])
			sim_fail(s, "P2",
				 "disk %d is at %llu, the memory's epoch %llu has it at %llu", i,
				 U(d->content), U(t->epoch), U(t->disk[i]));
	}
}

/* P4: no request of the guest is kept waiting for ever. */
void oracle_disks_move(struct sim *s)
{
	uint64_t bound = s->t.bye_timeout_ns + 2 * s->t.failure_timeout_ns + SEC;
	uint64_t awake = MAX(s->a.started, MAX(s->a.proc.thawed_at, s->host[SIDE_A].thaw));

	if (!s->guest.exists || s->guest.dying || s->guest.ended || !s->a.proc.alive ||
	    s->a.proc.frozen || s->host[SIDE_A].frozen)
		return;
	for (int i = 0; i < s->plan.n_disks; i++) {
		const struct disk_a *d = &s->disk_a[i];

		if (d->error_since && s->now > MAX(d->error_since, awake) + bound)
			sim_fail(s, "P4", "the guest waits for disk %d for %llu ms", i,
				 U((s->now - d->error_since) / MS));
	}
}

bool disks_quiet(const struct sim *s)
{
	for (int i = 0; i < s->plan.n_disks; i++) {
		if (s->disk_a[i].error_since && !s->guest.dying && !s->guest.ended)
			return false;
	}
	return true;
}
