/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See journal.h. A hold is a wish: what changes the disk's state, and what makes room for epochs, goes before it. Nothing durable
 * knows of it.
 */
#include <errno.h>

#include "disk/journal_impl.h"

bool hold_counts(const struct journal *j)
{
	return j->held && j->change.kind == CHANGE_NONE;
}

uint64_t hold_end(const struct journal *j, uint64_t end)
{
	uint64_t last = 0;

	if (j->hold_epoch == JOURNAL_NO_EPOCH)
		return 0;
	for (uint64_t n = j->it_first; n < end; n++) {
		const struct item *it = item_at(j, n);

		/* What an older session has left is older than all of this one. */
		if (it->type == JOURNAL_COMMIT && !it->done &&
		    (it->session_no != j->session_no || it->epoch <= j->hold_epoch))
			last = n + 1;
	}
	return last;
}

bool journal_may_hold(const struct journal *j)
{
	return !j->rc && j->in_session && !j->direct && j->sb.state == JOURNAL_CONSISTENT &&
	       j->change.kind == CHANGE_NONE;
}

/* The epoch that the disk is at, or on its way to. */
static uint64_t leads_to(const struct journal *j)
{
	const struct item *commit;

	if (j->round.step == ROUND_NONE || j->round.direct)
		return j->applied_epoch;
	commit = item_at(j, j->round.end - 1);
	return commit->session_no == j->session_no ? commit->epoch : j->applied_epoch;
}

uint64_t journal_hold(struct journal *j)
{
	j->held = true;
	j->hold_epoch = JOURNAL_NO_EPOCH;
	return leads_to(j);
}

int journal_hold_at(struct journal *j, uint64_t epoch)
{
	uint64_t now = leads_to(j);

	if (!j->held || (now != JOURNAL_NO_EPOCH && epoch < now))
		return -ERANGE;
	if (j->committed_epoch == JOURNAL_NO_EPOCH || epoch > j->committed_epoch)
		return -EAGAIN;
	j->hold_epoch = epoch;
	/* A COMMIT must be durable before it is applied. */
	j->sync_urgent = MAX(j->sync_urgent, j->it_commit);
	return 0;
}

bool journal_is_at(const struct journal *j, uint64_t epoch)
{
	return j->round.step == ROUND_NONE && j->applied_epoch == epoch;
}

void journal_release(struct journal *j)
{
	j->held = false;
}

/* What waits to be saved is often a round that was begun because half was used: that alone is no reason. */
bool journal_must_go_on(const struct journal *j, bool waiting)
{
	return !journal_may_hold(j) || ((j->held || waiting) && j->starved) ||
	       (j->held && apply_pressed(j));
}
