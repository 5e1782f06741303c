/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See journal_impl.h. What the disk is, and how it becomes something else: what is committed is applied, then both
 * superblocks say so, one after the other; only then it is done.
 */
#include "disk/journal_impl.h"

#include <errno.h>

static bool may_change(const struct journal *j, int *rc)
{
	*rc = j->rc ? -EIO : j->change.kind != CHANGE_NONE ? -EBUSY : 0;
	return *rc == 0;
}

static void begin(struct journal *j, enum change_kind kind, enum journal_state state)
{
	j->change = (struct change){.kind = kind, .state = state, .gens = j->sb.gens};
}

int journal_copy_begin(struct journal *j, uint64_t session, uint64_t first_epoch)
{
	int rc;

	if (!may_change(j, &rc))
		return rc;
	if (j->sb.state == JOURNAL_ACTIVE)
		return -EPERM;
	if (!session || session == j->session || session == j->sb.session ||
	    first_epoch == JOURNAL_NO_EPOCH)
		return -EINVAL;
	journal_drop(j);
	begin(j, CHANGE_COPY, JOURNAL_SYNCING);
	j->change.session = session;
	j->change.epoch = first_epoch;
	return 0;
}

int journal_copy_end(struct journal *j, uint64_t epoch)
{
	if (j->rc)
		return -EIO;
	if (!j->in_session || (j->sb.state != JOURNAL_SYNCING && j->sb.state != JOURNAL_OUTDATED) ||
	    j->settle_epoch != JOURNAL_NO_EPOCH)
		return -EPERM;
	if (!j->n_pend || !j->pend[j->n_pend - 1].ended || j->pend[j->n_pend - 1].epoch != epoch)
		return -EPROTO;
	j->direct = false;
	j->settle_epoch = epoch;
	return 0;
}

void journal_copy_adopt(struct journal *j, const struct journal_gens *gens)
{
	j->adopted = *gens;
	j->adopts = true;
}

void change_settle(struct journal *j)
{
	uint64_t epoch = j->settle_epoch;

	begin(j, CHANGE_SETTLE, JOURNAL_CONSISTENT);
	j->change.epoch = epoch;
	if (j->adopts)
		j->change.gens = j->adopted;
	j->adopts = false;
	j->settle_epoch = JOURNAL_NO_EPOCH;
}

int journal_activate(struct journal *j, uint64_t epoch, uint64_t generation)
{
	struct journal_gens *g = &j->change.gens;
	int rc;

	if (!may_change(j, &rc))
		return rc;
	if (j->sb.state != JOURNAL_CONSISTENT)
		return -EPERM;
	if (!j->session || epoch == JOURNAL_NO_EPOCH || epoch != j->committed_epoch)
		return -ESTALE;
	journal_drop(j);
	begin(j, CHANGE_ACTIVATE, JOURNAL_ACTIVE);
	if (!generation)
		return 0;
	if (g->bitmap) {
		g->history[1] = g->history[0];
		g->history[0] = g->bitmap;
	}
	g->bitmap = g->current;
	g->current = generation;
	return 0;
}

int journal_leave(struct journal *j)
{
	int rc;

	if (!may_change(j, &rc))
		return rc;
	if (j->sb.state != JOURNAL_CONSISTENT && j->sb.state != JOURNAL_OUTDATED &&
	    j->sb.state != JOURNAL_ACTIVE)
		return -EPERM;
	journal_drop(j);
	begin(j, CHANGE_LEAVE, JOURNAL_OUTDATED);
	return 0;
}

int journal_set(struct journal *j, enum journal_state state, const struct journal_gens *gens)
{
	enum journal_state now = j->sb.state;
	bool of_primary = (now == JOURNAL_EMPTY || now == JOURNAL_ACTIVE) &&
			  (state == JOURNAL_ACTIVE || state == JOURNAL_OUTDATED);
	bool of_nobody = (now == JOURNAL_OUTDATED || now == JOURNAL_SYNCING) && state == now &&
			 !j->in_session;
	int rc;

	if (!may_change(j, &rc))
		return rc;
	if (!of_primary && !of_nobody)
		return -EPERM;
	begin(j, CHANGE_SET, state);
	j->change.gens = *gens;
	return 0;
}

/* ---- the steps ---- */

static bool drained(const struct journal *j)
{
	const struct change *c = &j->change;

	if (c->kind == CHANGE_SET && j->sb.state != JOURNAL_OUTDATED)
		return true;
	if (c->kind == CHANGE_ACTIVATE && JOURNAL_MUTANT(JM_ACTIVATE_UNAPPLIED))
		return true;
	if (c->kind != CHANGE_SETTLE)
		return apply_finished(j);
	if (j->sb.state == JOURNAL_SYNCING)
		return !j->n_direct && j->round.step == ROUND_NONE;
	return j->applied_epoch != JOURNAL_NO_EPOCH && j->applied_epoch >= c->epoch;
}

/* A first copy was written directly: nobody has synced the disk yet. */
static bool disk_synced(struct journal *j)
{
	struct change *c = &j->change;
	struct block_req *req;

	if (c->kind != CHANGE_SETTLE || j->sb.state != JOURNAL_SYNCING ||
	    JOURNAL_MUTANT(JM_CONSISTENT_UNSYNCED))
		return true;
	if (c->started)
		return !j->io_busy;
	req = io_get(j, BLOCK_SYNC, 0);
	assert(req);
	io_submit(j, j->disk, req);
	c->started = true;
	return false;
}

static void open_copy(struct journal *j)
{
	j->in_session = true;
	j->direct = true;
	j->session_no++;
	j->session = j->change.session;
	j->next_epoch = j->change.epoch;
	j->committed_epoch = JOURNAL_NO_EPOCH;
	j->durable_epoch = j->durable_told = JOURNAL_NO_EPOCH;
	j->applied_epoch = j->applied_told = JOURNAL_NO_EPOCH;
}

/* What the superblock says from now on. */
static void write_down(struct journal *j)
{
	const struct change *c = &j->change;

	if (c->kind == CHANGE_SETTLE && j->sb.state == JOURNAL_SYNCING) {
		j->sb.session = j->session;
		j->sb.applied_epoch = c->epoch;
	} else if (c->kind == CHANGE_COPY) {
		j->sb.session = c->session;
		j->sb.applied_epoch = JOURNAL_NO_EPOCH;
	} else if (c->kind == CHANGE_SET && j->sb.state == JOURNAL_ACTIVE) {
		/* What the guest writes from here on is of no session, and the ring has nothing to do with it. */
		j->sb.session = 0;
		j->sb.applied_epoch = JOURNAL_NO_EPOCH;
		j->sb.applying_lsn = 0;
	}
	j->sb.state = c->state;
	j->sb.gens = c->gens;
}

/* True: a superblock is durable that was written in this step. */
static bool superblock_written(struct journal *j)
{
	struct change *c = &j->change;

	if (!c->sb_seq) {
		if (j->sb_busy)
			return false;
		if (c->step == CHANGE_SB1)
			write_down(j);
		if (sb_put(j))
			c->sb_seq = j->sb.seq;
		return false;
	}
	return j->sb_durable_seq >= c->sb_seq;
}

static void finish(struct journal *j)
{
	enum journal_state state = j->change.state;

	if (j->change.kind == CHANGE_COPY && !j->in_session)
		open_copy(j);
	if (j->change.kind == CHANGE_SETTLE) {
		uint64_t epoch = j->change.epoch;

		if (j->durable_epoch == JOURNAL_NO_EPOCH || j->durable_epoch < epoch)
			j->durable_epoch = epoch;
		if (j->applied_epoch == JOURNAL_NO_EPOCH || j->applied_epoch < epoch)
			j->applied_epoch = epoch;
	}
	j->change.kind = CHANGE_NONE;
	if (j->ev.state)
		j->ev.state(j->ev_arg, state, "");
}

void change_advance(struct journal *j)
{
	struct change *c = &j->change;

	if (j->rc || c->kind == CHANGE_NONE)
		return;
	if (c->step == CHANGE_DRAIN && drained(j)) {
		c->step = CHANGE_SYNC;
		if (c->kind == CHANGE_COPY && JOURNAL_MUTANT(JM_COPY_BEFORE_SYNCING)) {
			open_copy(j);
			j->ev.state(j->ev_arg, c->state, "");
		}
	}
	if (c->step == CHANGE_SYNC && disk_synced(j))
		c->step = CHANGE_SB1;
	if (c->step == CHANGE_SB1 && superblock_written(j)) {
		c->step = CHANGE_SB2;
		c->sb_seq = 0;
		if (JOURNAL_MUTANT(JM_CHANGE_ONE))
			c->sb_seq = 1;
	}
	if (c->step == CHANGE_SB2 && superblock_written(j))
		finish(j);
}
