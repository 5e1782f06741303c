/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one commit decision for memory and disks, and the acknowledgement that follows it (docs/disk.md); a part of the
 * backup's core, see backup.h. Pure.
 */
#include "replicator/backup_impl.h"

#include <stddef.h>

#include "replicator/mutant.h"

static bool commits(const struct backup *b)
{
	if (MUTANT(MUTANT_ACK_AFTER_DECISION) && b->state == BACKUP_ACTIVATING)
		return true;
	return b->link_up && (b->state == BACKUP_BUILDING || b->state == BACKUP_STANDING);
}

static void ack(struct backup_actions *out, uint64_t epoch, uint64_t term)
{
	struct backup_action *a = act(out, BACT_ACK);

	a->epoch = epoch;
	a->term = term;
}

static bool is_durable(const struct backup *b, uint64_t epoch)
{
	for (unsigned int i = 0; i < b->n_disks; i++) {
		if (!epoch_reached(b->durable[i], epoch))
			return false;
	}
	return true;
}

static uint16_t harden_bit(uint64_t epoch)
{
	return (uint16_t)(1u << epoch % 16);
}

/* What is committed, in order, as far as it is as durable as the mode wants it. */
static void ack_committed(struct backup *b, struct backup_actions *out)
{
	while (b->acked != b->committed) {
		uint64_t n = epoch_next(b->acked);

		if (b->to_harden & harden_bit(n) && !is_durable(b, n))
			break;
		b->to_harden &= (uint16_t)~harden_bit(n);
		b->acked = n;
		if (!MUTANT(MUTANT_ACK_BEFORE_HELD))
			ack(out, n, b->complete_term);
		if (MUTANT(MUTANT_ACK_AHEAD))
			ack(out, epoch_next(n), b->complete_term);
	}
}

/* The one decision for memory and disks. */
static void commit(struct backup *b, uint64_t now, struct backup_actions *out)
{
	bool memory = b->complete != EPOCH_NONE;
	bool disks = b->held == all_disks(b);

	if (MUTANT(MUTANT_COMMIT_WITHOUT_MEMORY) && disks && b->n_disks && !memory &&
	    b->committed != EPOCH_NONE) {
		b->complete = epoch_next(b->committed);
		b->complete_term = b->term;
		memory = true;
	}
	if (!memory || (!disks && !MUTANT(MUTANT_COMMIT_WITHOUT_DISKS)))
		return;
	b->committed = b->complete;
	b->complete = EPOCH_NONE;
	if (MUTANT(MUTANT_COMMIT_ANY_EPOCH))
		b->acked = b->committed - 1;
	if (b->ack_mode == BACKUP_ACK_EPOCH || (b->ack_mode == BACKUP_ACK_FLUSH && b->flushed))
		b->to_harden |= MUTANT(MUTANT_ACK_NOT_DURABLE) ? 0 : harden_bit(b->committed);
	b->held = 0;
	b->flushed = false;
	b->applying = true;
	if (b->n_disks)
		act(out, BACT_DISKS_COMMIT)->epoch = b->committed;
	ack_committed(b, out);
	act(out, BACT_APPLY)->epoch = b->committed;
	if (b->state == BACKUP_BUILDING)
		go(b, BACKUP_STANDING, now);
}

void backup_epoch_complete__(struct backup *b, uint64_t now, const struct backup_event *ev,
			     struct backup_actions *out)
{
	bool in_order = ev->epoch == epoch_next(b->committed) || MUTANT(MUTANT_COMMIT_ANY_EPOCH);

	if (!commits(b))
		return;
	/* P6: more than so many the primary may not have outstanding. */
	if (!in_order || b->applying || b->complete != EPOCH_NONE ||
	    epoch_distance(b->committed, b->acked) >= PRIMARY_MAX_OUTSTANDING ||
	    (ev->term != b->term && !MUTANT(MUTANT_ACK_AFTER_DECISION))) {
		backup_protocol_error__(b, now, out);
		return;
	}
	/*
	 * P3: the primary's lease on this epoch's output began before we got it, and it ends before we
	 * may go alone. The word may have waited in a stall, so it is no sign of life for P5.
	 */
	liveness_excuse(&b->peer, now);
	b->complete_ns = now;
	b->complete = ev->epoch;
	b->complete_term = ev->term;
	if (MUTANT(MUTANT_ACK_BEFORE_HELD))
		ack(out, ev->epoch, ev->term);
	commit(b, now, out);
}

void backup_disks__(struct backup *b, uint64_t now, const struct backup_event *ev,
		    struct backup_actions *out)
{
	if (b->state != BACKUP_BUILDING)
		return;
	if (b->n_disks || b->complete != EPOCH_NONE || !ev->n_disks ||
	    ev->n_disks > BACKUP_MAX_DISKS || ev->ack_mode < BACKUP_ACK_MEMORY ||
	    ev->ack_mode > BACKUP_ACK_EPOCH) {
		backup_protocol_error__(b, now, out);
		return;
	}
	b->n_disks = ev->n_disks;
	b->ack_mode = ev->ack_mode;
}

void backup_disk_held__(struct backup *b, uint64_t now, const struct backup_event *ev,
			struct backup_actions *out)
{
	if (!commits(b) || ev->disk >= b->n_disks || ev->epoch != epoch_next(b->committed))
		return;
	b->held |= (uint16_t)(1u << ev->disk);
	b->flushed = b->flushed || ev->flush;
	commit(b, now, out);
}

void backup_disk_durable__(struct backup *b, const struct backup_event *ev,
			   struct backup_actions *out)
{
	if (ev->disk >= b->n_disks || !epoch_reached(b->committed, ev->epoch) ||
	    epoch_reached(b->durable[ev->disk], ev->epoch))
		return;
	b->durable[ev->disk] = ev->epoch;
	if (commits(b))
		ack_committed(b, out);
}
