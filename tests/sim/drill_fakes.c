/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What drill_feed.c and drill_guard.c call of the real apply.h and journal.h, as the simulator has it; see drill.h. Linked with the
 * programs and not in an archive: a unit test has the real ones.
 */
#include <errno.h>

#include "disk/journal.h"
#include "lib/err.h"
#include "replicator/apply.h"
#include "tests/sim/sim.h"

_Static_assert(JOURNAL_NO_EPOCH == EPOCH_NONE, "the same word for none");

/* ---- the stream to the standby ---- */

uint64_t apply_fed(const struct apply *ap)
{
	return ap->fed;
}

void apply_sealed(const struct apply *ap, struct apply_sealed *out)
{
	*out = (struct apply_sealed){
		.pfn = ap->pfn,
		.n = ap->n,
		.tsc = &ap->tsc,
		.param = &ap->param,
		.n_params = 1,
		.hvm = ap->hvm,
		.hvm_size = sizeof(ap->hvm),
	};
}

int apply_mark(struct apply *ap)
{
	if (!ap->s->standby.exists)
		return -EPIPE;
	if (ap->s->now < ap->taken_at || drills_percent(ap->s, 10))
		return -EAGAIN;
	ap->marked = true;
	ap->mark_at = MAX(ap->worked_at, ap->s->now) + drills_delay(ap->s, 1 * US, 500 * US);
	return 0;
}

/* The reader comes to the mark when it has worked in all that is before it; what it has taken it may not have. */
int apply_drained(struct apply *ap, struct err *e)
{
	if (!ap->s->standby.exists)
		return -EPIPE;
	return ap->s->now >= (ap->marked ? ap->mark_at : ap->taken_at) ? 0 : -EAGAIN;
}

/* ---- a disk's journal ---- */

static struct drill_disk *drilled(const struct journal *j)
{
	return &j->s->drills.disk[j->n];
}

static uint64_t leads_to(const struct journal *j)
{
	const struct drill_disk *d = drilled(j);
	const struct disk_b *b = &j->s->disk_b[j->n];

	return d->round != EPOCH_NONE && d->round_token == b->token ? d->round : d->applied;
}

static uint64_t committed(const struct journal *j)
{
	const struct disk_b *b = &j->s->disk_b[j->n];
	uint64_t epoch = drilled(j)->applied;

	for (unsigned int i = 0; i < b->n && b->j[i].committed; i++)
		epoch = b->j[i].epoch;
	return epoch;
}

bool journal_may_hold(const struct journal *j)
{
	const struct disk_b *b = &j->s->disk_b[j->n];

	return b->state == DISK_CONSISTENT && b->owner && !drilled(j)->changing;
}

uint64_t journal_hold(struct journal *j)
{
	struct drill_disk *d = drilled(j);

	d->held = true;
	d->held_since = j->s->now;
	d->hold_epoch = EPOCH_NONE;
	return leads_to(j);
}

int journal_hold_at(struct journal *j, uint64_t epoch)
{
	struct drill_disk *d = drilled(j);
	uint64_t now = leads_to(j);

	if (!d->held || (now != EPOCH_NONE && epoch < now))
		return -ERANGE;
	if (!epoch_reached(committed(j), epoch))
		return -EAGAIN;
	d->hold_epoch = epoch;
	return 0;
}

bool journal_is_at(const struct journal *j, uint64_t epoch)
{
	return drilled(j)->round == EPOCH_NONE && drilled(j)->applied == epoch;
}

void journal_release(struct journal *j)
{
	drilled(j)->held = false;
}

bool journal_must_go_on(const struct journal *j, bool waiting)
{
	const struct disk_b *b = &j->s->disk_b[j->n];
	bool held = drilled(j)->held;

	return !journal_may_hold(j) || ((held || waiting) && b->waits) ||
	       (held && b->n * 2 > JOURNAL_EPOCHS);
}
