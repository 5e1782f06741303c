/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See journal_impl.h. Superblocks, one at a time, and the syncs that make them and the items durable. */
#include "disk/journal_impl.h"

#include <errno.h>

#include "lib/clock.h"

/* ---- superblock ---- */

static void sb_done(struct block_req *r, int rc)
{
	struct journal *j = r->arg;

	j->in_flight--;
	j->sb_complete = true;
	if (rc == 0)
		return;
	j->sb_busy = false;
	j->fail_sbs = 0;
	journal_fail_with(j, rc, "write a superblock of the journal");
}

/* The first item that is still needed, and where reading would begin. */
static void find_tail(struct journal *j)
{
	uint64_t n = j->it_first;
	const struct item *it;

	while (n < j->it_head && item_at(j, n)->done && item_at(j, n)->written)
		n++;
	it = n < j->it_head ? item_at(j, n) : NULL;
	j->sb_tail_item = n;
	if (it && !it->open && !it->direct) {
		j->sb_tail_pos = it->pos;
		j->sb.tail_lsn = it->lsn;
		j->sb.tail_prev = it->prev;
	} else {
		j->sb_tail_pos = j->pos_head;
		j->sb.tail_lsn = j->next_lsn;
		j->sb.tail_prev = j->chain;
	}
	j->sb.tail_off = j->sb_tail_pos % j->o.geo.ring_size;
}

bool sb_put(struct journal *j)
{
	if (j->sb_busy)
		return false;
	find_tail(j);
	j->sb.seq++;
	journal_sb_encode(&j->sb, j->sb_block);
	j->sb_req = (struct block_req){
		.op = BLOCK_WRITE,
		.off = (uint64_t)journal_sb_slot(j->sb.seq) * JOURNAL_BLOCK,
		.len = JOURNAL_BLOCK,
		.n_iov = 1,
		.iov = {{.iov_base = j->sb_block, .iov_len = JOURNAL_BLOCK}},
		.done = sb_done,
		.arg = j,
	};
	j->sb_busy = true;
	j->sb_complete = false;
	j->sb_dirty = false;
	j->sb_waiting = 0;
	j->sb_at = j->now;
	j->in_flight++;
	block_submit(j->file, &j->sb_req);
	if (JOURNAL_MUTANT(JM_SPACE_EARLY))
		ring_free_until(j, j->sb_tail_item, j->sb_tail_pos);
	return true;
}

static uint64_t sb_due(const struct journal *j)
{
	if (!j->sb_dirty || j->sb_busy || j->rc)
		return CLOCK_NEVER;
	if (j->starved || j->sb_waiting >= j->o.superblock_bytes)
		return 0;
	return clock_add(j->sb_at, j->o.superblock_ns);
}

void sb_advance(struct journal *j)
{
	if (j->rc) {
		/* Best effort: what failed may be the file itself. */
		if (j->fail_sbs && sb_put(j))
			j->fail_sbs--;
		return;
	}
	if (sb_due(j) <= j->now)
		(void)sb_put(j);
}

/* ---- sync ---- */

/* Of the items before `end` that were not known to be durable: the newest COMMIT of this session. */
static void note_durable(struct journal *j, uint64_t end)
{
	for (uint64_t n = j->it_durable; n < end; n++) {
		const struct item *it = item_at(j, n);

		if (it->type != JOURNAL_COMMIT)
			continue;
		j->it_commit_safe = n + 1;
		if (it->session_no == j->session_no)
			j->durable_epoch = it->epoch;
	}
	j->it_durable = MAX(j->it_durable, end);
}

/*
 * A superblock is durable. What is behind both tails is free: the older one must be able to read all of its ring as
 * well, should a bit turn in this one. So the last space comes with the superblock after it.
 */
static void free_behind(struct journal *j)
{
	if (JOURNAL_MUTANT(JM_SPACE_ONE)) {
		j->sb_older_item = j->sb_tail_item;
		j->sb_older_pos = j->sb_tail_pos;
	}
	ring_free_until(j, j->sb_older_item, j->sb_older_pos);
	j->sb_older_item = j->sb_tail_item;
	j->sb_older_pos = j->sb_tail_pos;
	if (j->sb_older_pos == j->pos_free && j->sb_older_item <= j->it_first)
		return;
	j->sb_waiting += j->sb_older_pos - j->pos_free;
	j->sb_dirty = true;
}

static void sync_done(struct block_req *r, int rc)
{
	struct journal *j = r->arg;

	j->in_flight--;
	j->sync_busy = false;
	if (rc < 0) {
		j->sb_busy = j->sb_busy && !j->sb_complete;
		j->fail_sbs = 0;
		journal_fail_with(j, rc, "sync the journal");
		return;
	}
	note_durable(j, JOURNAL_MUTANT(JM_DURABLE_INFLIGHT) ? j->it_head : j->sync_items);
	if (!j->sb_synced_seq)
		return;
	j->sb_durable_seq = j->sb_synced_seq;
	j->sb_busy = false;
	if (!j->rc)
		free_behind(j);
}

static uint64_t sync_due(const struct journal *j)
{
	if (j->sync_busy)
		return CLOCK_NEVER;
	if (j->sb_busy && j->sb_complete)
		return 0;
	if (j->rc || j->it_written <= j->it_durable)
		return CLOCK_NEVER;
	if (j->unsynced_bytes >= j->o.sync_bytes)
		return 0;
	if (j->sync_urgent > j->it_durable && j->it_written >= j->sync_urgent)
		return 0;
	return clock_add(j->unsynced_since, j->o.sync_ns);
}

void sync_advance(struct journal *j)
{
	if (JOURNAL_MUTANT(JM_DURABLE_WHEN_WRITTEN))
		note_durable(j, j->it_written);
	if (sync_due(j) > j->now)
		return;
	j->sync_items = j->it_written;
	j->sb_synced_seq = j->sb_busy && j->sb_complete ? j->sb.seq : 0;
	j->unsynced_since = CLOCK_NEVER;
	j->unsynced_bytes = 0;
	j->sync_req = (struct block_req){.op = BLOCK_SYNC, .done = sync_done, .arg = j};
	j->sync_busy = true;
	j->in_flight++;
	block_submit(j->file, &j->sync_req);
}

uint64_t sb_deadline(const struct journal *j)
{
	return MIN(sb_due(j), sync_due(j));
}
