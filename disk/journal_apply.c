/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See journal_impl.h. From memory, or from the ring where memory did not suffice, to the disk. A round takes all epochs
 * up to a COMMIT, in passes of what fits; a pass is coalesced. Direct batches need no COMMIT, no mark and no sync.
 */
#include "disk/journal_impl.h"

#include <errno.h>

#include "lib/clock.h"
#include "lib/digest.h"

/* ---- requests ---- */

static void io_done(struct block_req *r, int rc)
{
	struct journal *j = r->arg;

	j->in_flight--;
	j->io_busy &= ~(1ull << (r - j->io));
	if (rc == 0)
		return;
	if (r->op == BLOCK_READ)
		journal_fail_with(j, rc, "read the journal at %llu", (unsigned long long)r->off);
	else if (r->op == BLOCK_SYNC)
		journal_fail_with(j, rc, "sync the disk");
	else
		journal_fail_with(j, rc, "write %llu bytes at %llu of the disk",
				  (unsigned long long)r->len, (unsigned long long)r->off);
}

struct block_req *io_get(struct journal *j, enum block_op op, uint64_t off)
{
	for (uint32_t i = 0; i < j->o.depth; i++) {
		if (j->io_busy & 1ull << i)
			continue;
		j->io[i] = (struct block_req){.op = op, .off = off, .done = io_done, .arg = j};
		return &j->io[i];
	}
	return NULL;
}

void io_submit(struct journal *j, struct block_store *s, struct block_req *r)
{
	j->io_busy |= 1ull << (r - j->io);
	j->in_flight++;
	block_submit(s, r);
}

/* ---- a pass ---- */

/* Does the round bring this item's records to the disk? */
static bool takes(const struct journal *j, const struct item *it)
{
	const struct item *commit;

	if (it->type != JOURNAL_BATCH || it->copied || it->done || it->open)
		return false;
	if (j->round.direct)
		return it->direct;
	commit = item_at(j, j->round.end - 1);
	/* What an older session left without COMMIT is done already. */
	return it->session_no != commit->session_no || it->epoch <= commit->epoch;
}

static void take(struct journal *j, struct item *it)
{
	struct round *r = &j->round;
	const uint8_t *payload = j->ram + it->ram_pos % j->ram_size + JOURNAL_BLOCK;

	if (it->spilled) {
		it->load_off = r->n_load++ * j->o.batch_bytes;
		payload = j->load + it->load_off;
		j->spilled++;
	}
	for (uint32_t i = 0; i < it->n_recs; i++) {
		const struct rec *rec = rec_at(j, it->rec_first + i);

		j->ext[r->n_recs] = (struct extent){.off = rec->off, .end = rec->off + rec->len};
		j->src[r->n_recs] =
			(struct pass_rec){.data = payload + rec->payload_off, .op = rec->op};
		r->n_recs++;
	}
}

/* The next items of the round, as many as fit. False: there are none. */
static bool pass_begin(struct journal *j)
{
	struct round *r = &j->round;

	r->pass_first = MAX(r->pass_next, j->it_first);
	r->pass_next = r->pass_first;
	r->n_recs = 0;
	r->n_load = 0;
	for (; r->pass_next < r->end; r->pass_next++) {
		struct item *it = item_at(j, r->pass_next);

		if (!takes(j, it))
			continue;
		if (r->n_recs + it->n_recs > j->pass_records ||
		    (it->spilled && r->n_load == LOAD_BATCHES))
			break;
		take(j, it);
	}
	r->next_load = r->pass_first;
	r->step = ROUND_LOAD;
	return r->n_recs > 0;
}

static void pass_plan(struct journal *j)
{
	struct round *r = &j->round;
	uint64_t before = 0;
	uint64_t after = 0;

	r->n_pieces = coalesce(j->ext, r->n_recs, j->scratch, j->pieces);
	r->next_piece = 0;
	r->step = ROUND_WRITE;
	for (uint32_t i = 0; i < r->n_recs; i++)
		before += j->ext[i].end - j->ext[i].off;
	for (size_t i = 0; i < r->n_pieces; i++)
		after += j->pieces[i].len;
	j->merged += before - after;
}

/* Reads what was spilled; when all of it has come, checks it. False: wait. */
static bool pass_load(struct journal *j)
{
	struct round *r = &j->round;

	for (; r->n_load && r->next_load < r->pass_next; r->next_load++) {
		struct item *it = item_at(j, r->next_load);
		uint64_t off = it->pos % j->o.geo.ring_size;
		struct block_req *req;

		if (!takes(j, it) || !it->spilled || !it->payload_len)
			continue;
		req = io_get(j, BLOCK_READ, j->ring_off + off + JOURNAL_BLOCK);
		if (!req)
			return false;
		req->len = journal_whole(it->payload_len);
		req->n_iov = 1;
		req->iov[0].iov_base = j->load + it->load_off;
		req->iov[0].iov_len = req->len;
		io_submit(j, j->file, req);
	}
	if (j->io_busy)
		return false;
	for (uint64_t n = r->pass_first; r->n_load && n < r->pass_next; n++) {
		struct item *it = item_at(j, n);

		if (!takes(j, it) || !it->spilled || j->rc)
			continue;
		if (digest_of(j->load + it->load_off, journal_whole(it->payload_len)) !=
			    it->payload_digest &&
		    !JOURNAL_MUTANT(JM_NO_PAYLOAD_DIGEST))
			journal_fail_with(
				j, -EBADMSG,
				"the journal lost a part of epoch %llu: its digest is wrong",
				(unsigned long long)it->epoch);
	}
	return !j->rc;
}

static enum block_op op_of(enum journal_op op)
{
	if (op == JOURNAL_WRITE)
		return BLOCK_WRITE;
	return op == JOURNAL_ZERO ? BLOCK_ZERO : BLOCK_DISCARD;
}

enum block_op piece_op(const struct journal *j, const struct piece *p)
{
	return op_of(j->src[p->src].op);
}

bool piece_add(const struct journal *j, struct block_req *req, const struct piece *p)
{
	const struct pass_rec *src = &j->src[p->src];

	if (req->len && (op_of(src->op) != req->op || req->off + req->len != p->off))
		return false;
	if (src->op == JOURNAL_WRITE) {
		if (req->n_iov == BLOCK_IOVS ||
		    (req->len && req->len + p->len > JOURNAL_PAYLOAD_MAX))
			return false;
		/* pwritev() does not write there, it only lacks the const. */
		req->iov[req->n_iov++] = (struct iovec){
			.iov_base = (void *)(uintptr_t)(src->data + (p->off - j->ext[p->src].off)),
			.iov_len = p->len,
		};
	}
	req->len += p->len;
	return true;
}

/* True: all of the pass is written. */
static bool pass_write(struct journal *j)
{
	struct round *r = &j->round;

	while (r->next_piece < r->n_pieces) {
		const struct piece *p = &j->pieces[r->next_piece];
		struct block_req *req = io_get(j, piece_op(j, p), p->off);

		if (!req)
			return false;
		while (r->next_piece < r->n_pieces && piece_add(j, req, &j->pieces[r->next_piece]))
			r->next_piece++;
		io_submit(j, j->disk, req);
	}
	return !j->io_busy;
}

static void pass_end(struct journal *j)
{
	struct round *r = &j->round;

	for (uint64_t n = r->pass_first; n < r->pass_next; n++) {
		struct item *it = item_at(j, n);

		if (takes(j, it))
			it->copied = true;
	}
}

/* ---- a round ---- */

static void finish_direct(struct journal *j)
{
	for (uint64_t n = j->it_first; n < j->round.end; n++) {
		struct item *it = item_at(j, n);

		if (!it->copied || it->done)
			continue;
		it->done = true;
		j->n_direct--;
	}
	j->round.step = ROUND_NONE;
}

static void mark_done(struct journal *j)
{
	const struct item *commit = item_at(j, j->round.end - 1);

	for (uint64_t n = j->it_first; n < j->round.end; n++) {
		struct item *it = item_at(j, n);

		if (it->done || (it->type == JOURNAL_BATCH && !it->copied))
			continue;
		it->done = true;
		j->sb_waiting += it->size;
		j->lag_bytes -= it->payload_len;
		j->lag_records -= it->n_recs;
	}
	j->sb.applied_epoch = commit->epoch;
	j->sb.session = commit->session;
	j->sb_dirty = true;
}

static void finish(struct journal *j)
{
	const struct item *commit = item_at(j, j->round.end - 1);

	mark_done(j);
	if (commit->session_no == j->session_no)
		j->applied_epoch = commit->epoch;
	j->committed_since = j->it_commit > j->round.end ? j->now : CLOCK_NEVER;
	j->round.step = ROUND_NONE;
}

/* There is a COMMIT in the ring that is not applied. */
static bool has_work(const struct journal *j)
{
	if (j->sb.state != JOURNAL_CONSISTENT && j->sb.state != JOURNAL_OUTDATED)
		return false;
	return j->it_commit > j->it_first && !item_at(j, j->it_commit - 1)->done;
}

/* And a durable one: the superblock must never name one that a loss of power takes away. */
static uint64_t safe_end(const struct journal *j)
{
	uint64_t end = JOURNAL_MUTANT(JM_APPLY_UNDURABLE) ? j->it_commit : j->it_commit_safe;

	if (hold_counts(j))
		return hold_end(j, end);

	return end > j->it_first && !item_at(j, end - 1)->done ? end : 0;
}

bool apply_finished(const struct journal *j)
{
	return j->round.step == ROUND_NONE && !j->n_direct && j->it_written == j->it_head &&
	       !has_work(j);
}

bool apply_pressed(const struct journal *j)
{
	return (j->pos_head - j->pos_free) * 2 > j->o.geo.ring_size ||
	       (j->ram_head - j->ram_tail) * 2 > j->ram_size ||
	       (j->rec_head - j->rec_first) * 2 > j->o.max_records ||
	       (j->it_head - j->it_first) * 2 > j->o.max_items;
}

static uint64_t round_due(const struct journal *j)
{
	if (j->rc || j->round.step != ROUND_NONE)
		return CLOCK_NEVER;
	if (j->n_direct)
		return 0;
	if (!has_work(j))
		return CLOCK_NEVER;
	if (hold_counts(j))
		return safe_end(j) ? 0 : CLOCK_NEVER;
	if (apply_pressed(j) || j->starved || j->change.kind != CHANGE_NONE ||
	    j->lag_bytes >= j->o.apply_bytes)
		return 0;
	return clock_add(j->committed_since, j->o.apply_ns);
}

static bool has_writes(const struct journal *j)
{
	for (uint64_t n = j->it_first; n < j->round.end; n++) {
		if (takes(j, item_at(j, n)))
			return true;
	}
	return false;
}

static void round_begin(struct journal *j)
{
	struct round *r = &j->round;

	*r = (struct round){.step = ROUND_MARK, .direct = j->n_direct > 0};
	r->pass_next = j->it_first;
	if (r->direct) {
		for (r->end = j->it_first; r->end < j->it_head; r->end++) {
			if (!item_at(j, r->end)->direct || item_at(j, r->end)->open)
				break;
		}
		return;
	}
	r->end = safe_end(j);
	if (JOURNAL_MUTANT(JM_COMMIT_NOT_WAITED)) {
		/* Not even a mutant of the ends: everything that was written is taken for committed. */
		for (uint64_t n = j->it_first; n < j->it_written; n++)
			r->end = item_at(j, n)->type == JOURNAL_BATCH ? n + 1 : r->end;
	}
	r->empty = !has_writes(j);
}

/* Write-ahead: true when the superblock that names the round's COMMIT, which is durable, is durable as well. */
static bool round_marked(struct journal *j)
{
	struct round *r = &j->round;

	if (r->direct || r->empty || JOURNAL_MUTANT(JM_NO_APPLYING_WRITTEN))
		return true;
	if (JOURNAL_MUTANT(JM_APPLY_UNDURABLE))
		return true;
	if (!r->sb_seq) {
		if (j->sb_busy)
			return false;
		j->sb.applying_lsn = item_at(j, r->end - 1)->lsn;
		if (sb_put(j))
			r->sb_seq = j->sb.seq;
		return false;
	}
	return j->sb_durable_seq >= r->sb_seq;
}

/* True: the disk is synced. */
static bool round_synced(struct journal *j)
{
	struct block_req *req;

	if (j->round.synced)
		return !j->io_busy;
	if (JOURNAL_MUTANT(JM_TAIL_EARLY)) {
		mark_done(j);
		j->sb_dirty = true;
		j->sb_at = 0;
	}
	req = io_get(j, BLOCK_SYNC, 0);
	assert(req);
	io_submit(j, j->disk, req);
	j->round.synced = true;
	return false;
}

static void next_pass(struct journal *j)
{
	struct round *r = &j->round;

	if (pass_begin(j))
		return;
	if (r->direct)
		finish_direct(j);
	else if (r->empty)
		finish(j);
	else
		r->step = ROUND_SYNC;
}

void apply_advance(struct journal *j)
{
	struct round *r = &j->round;

	if (j->rc)
		return;
	if (round_due(j) <= j->now) {
		if (j->n_direct || safe_end(j))
			round_begin(j);
		else if (j->lag_records || j->starved || j->change.kind != CHANGE_NONE)
			j->sync_urgent = MAX(j->sync_urgent, j->it_commit);
	}
	if (r->step == ROUND_MARK && round_marked(j))
		next_pass(j);
	if (r->step == ROUND_LOAD && pass_load(j))
		pass_plan(j);
	if (r->step == ROUND_WRITE && pass_write(j)) {
		pass_end(j);
		next_pass(j);
	}
	if (r->step == ROUND_SYNC && round_synced(j))
		finish(j);
}

uint64_t apply_deadline(const struct journal *j)
{
	uint64_t due = round_due(j);

	/* What is due but not durable waits for the sync. */
	return due <= j->now && !j->n_direct && !safe_end(j) ? CLOCK_NEVER : due;
}
