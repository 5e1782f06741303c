/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See journal_impl.h. Records into batches, batches into memory and ring; what is freed again and when. */
#include "disk/journal_impl.h"

#include <errno.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/err.h"

/* ---- room ---- */

/* What `bytes` in one piece take from head on, in a ring of `size`. */
static uint64_t stretch(uint64_t head, uint64_t bytes, uint64_t size)
{
	uint64_t left = size - head % size;

	return bytes <= left ? bytes : left + bytes;
}

static uint64_t place(uint64_t *head, uint64_t bytes, uint64_t size)
{
	uint64_t pos = *head + stretch(*head, bytes, size) - bytes;

	*head = pos + bytes;
	return pos;
}

/* Its memory is not needed: the bytes are in the ring, and on the disk or will be read again. */
static bool ram_is_free(const struct item *it)
{
	return it->written && (it->type != JOURNAL_BATCH || it->copied || it->done || it->spilled);
}

static void free_ram(struct journal *j)
{
	while (j->it_ram < j->it_head && ram_is_free(item_at(j, j->it_ram)))
		j->it_ram++;
	j->ram_tail = j->it_ram < j->it_head ? item_at(j, j->it_ram)->ram_pos : j->ram_head;
}

static bool ram_fits(const struct journal *j, uint32_t bytes)
{
	uint64_t need =
		stretch(j->ram_head, bytes, j->ram_size) + (uint64_t)j->n_pend * JOURNAL_BLOCK;

	return need <= j->ram_size - (j->ram_head - j->ram_tail);
}

/* The oldest copies are given up, as long as that helps. */
static void spill(struct journal *j, uint32_t bytes)
{
	while (!ram_fits(j, bytes) && j->it_ram < j->it_head) {
		struct item *it = item_at(j, j->it_ram);
		bool in_pass = j->round.step != ROUND_NONE && j->it_ram >= j->round.pass_first &&
			       j->it_ram < j->round.pass_next;

		if (!ram_is_free(it)) {
			if (!it->written || it->direct || in_pass)
				return;
			it->spilled = true;
		}
		free_ram(j);
	}
}

/* Nothing will be freed unless the owner commits something. */
static bool stuck(const struct journal *j)
{
	const struct item *front;

	if (j->it_first == j->it_head)
		return true;
	front = item_at(j, j->it_first);
	if (front->done || front->direct)
		return false;
	for (uint64_t n = j->it_head; n > j->it_first; n--) {
		const struct item *it = item_at(j, n - 1);

		if (it->type == JOURNAL_COMMIT)
			return it->done;
	}
	return true;
}

int ring_room(struct journal *j, uint32_t bytes)
{
	uint64_t ring = j->o.geo.ring_size;
	uint64_t need = stretch(j->pos_head, bytes, ring) + (uint64_t)j->n_pend * JOURNAL_BLOCK;
	bool fits = j->direct || need <= ring - (j->pos_head - j->pos_free);

	if (j->it_head - j->it_first + 1 + j->n_pend > j->o.max_items ||
	    j->rec_head - j->rec_first + JOURNAL_DESCS > j->o.max_records)
		fits = false;
	if (!fits)
		return stuck(j) ? -EFBIG : -EAGAIN;
	/* Not even an empty memory would do; half of it may be lost to where it ends. */
	if (2ull * bytes + (uint64_t)j->n_pend * JOURNAL_BLOCK > j->ram_size)
		return -EFBIG;
	spill(j, bytes);
	return ram_fits(j, bytes) ? 0 : -EAGAIN;
}

/* ---- items ---- */

static void written(struct block_req *r, int rc)
{
	struct item *it = r->arg;
	struct journal *j = it->j;

	j->in_flight--;
	it->written = true;
	if (rc < 0)
		journal_fail_with(j, rc, "write %u bytes of epoch %llu to the journal", it->size,
				  (unsigned long long)it->epoch);
}

static uint8_t *ram_of(const struct journal *j, const struct item *it)
{
	return j->ram + it->ram_pos % j->ram_size;
}

static struct item *item_new(struct journal *j, enum journal_item_type type, uint64_t epoch,
			     uint32_t size)
{
	struct item *it = item_at(j, j->it_head);

	assert(j->it_head - j->it_first < j->o.max_items);
	*it = (struct item){.j = j, .type = type, .epoch = epoch, .size = size};
	it->session = j->session;
	it->session_no = j->session_no;
	it->rec_first = j->rec_head;
	it->ram_pos = place(&j->ram_head, size, j->ram_size);
	it->open = type == JOURNAL_BATCH;
	it->direct = j->direct;
	assert(j->ram_head - j->ram_tail <= j->ram_size);
	j->it_head++;
	return it;
}

/* The item's bytes are encoded in its memory, but for the head; gives it its place and writes it. */
static void send(struct journal *j, struct item *it, struct journal_item *head)
{
	it->pos = place(&j->pos_head, it->size, j->o.geo.ring_size);
	assert(j->pos_head - j->pos_free <= j->o.geo.ring_size);
	it->lsn = j->next_lsn++;
	it->prev = j->chain;
	head->type = it->type;
	head->incarnation = j->sb.incarnation;
	head->lsn = it->lsn;
	head->prev = it->prev;
	head->session = it->session;
	head->epoch = it->epoch;
	j->chain = journal_item_encode(head, ram_of(j, it));
	it->req = (struct block_req){
		.op = BLOCK_WRITE,
		.off = j->ring_off + it->pos % j->o.geo.ring_size,
		.len = it->size,
		.n_iov = 1,
		.iov = {{.iov_base = ram_of(j, it), .iov_len = it->size}},
		.done = written,
		.arg = it,
	};
	j->in_flight++;
	block_submit(j->file, &it->req);
}

void ring_mark(struct journal *j, enum journal_item_type type, const struct pending *p)
{
	struct item *it = item_new(j, type, p->epoch, JOURNAL_BLOCK);
	struct journal_item head = {.batches = p->batches};

	head.records = p->count.records;
	head.bytes = p->count.bytes;
	send(j, it, &head);
}

void ring_close(struct journal *j)
{
	struct item *it = j->it_head > j->it_first ? item_at(j, j->it_head - 1) : NULL;
	struct journal_item head;
	uint8_t *payload;
	uint32_t whole;

	if (!it || !it->open)
		return;
	payload = ram_of(j, it) + JOURNAL_BLOCK;
	whole = journal_whole(it->payload_len);
	memset(payload + it->payload_len, 0, whole - it->payload_len);
	it->size = JOURNAL_BLOCK + whole;
	it->open = false;
	j->ram_head = it->ram_pos + it->size;
	if (it->direct) {
		it->written = true;
		j->n_direct++;
		return;
	}
	it->payload_digest = digest_of(payload, whole);
	head = (struct journal_item){.n_descs = (uint16_t)it->n_recs};
	head.payload_len = it->payload_len;
	head.payload_digest = it->payload_digest;
	for (uint32_t i = 0; i < it->n_recs; i++) {
		const struct rec *r = rec_at(j, it->rec_first + i);

		head.descs[i] = (struct journal_desc){.off = r->off, .len = r->len, .op = r->op};
	}
	send(j, it, &head);
}

/* The batch that takes the record, or NULL with why in *rc. */
static struct item *batch_for(struct journal *j, uint64_t epoch, uint32_t payload, int *rc)
{
	struct item *it = j->it_head > j->it_first ? item_at(j, j->it_head - 1) : NULL;

	*rc = 0;
	if (it && it->open) {
		if (it->n_recs < JOURNAL_DESCS && it->payload_len + payload <= j->o.batch_bytes)
			return it;
		ring_close(j);
	}
	*rc = ring_room(j, batch_max(j));
	return *rc ? NULL : item_new(j, JOURNAL_BATCH, epoch, batch_max(j));
}

int journal_append(struct journal *j, uint64_t epoch, const struct journal_rec *rec)
{
	uint32_t payload = rec->op == JOURNAL_WRITE ? rec->len : 0;
	struct journal_desc d = {.off = rec->off, .len = rec->len, .op = rec->op};
	struct pending *p;
	struct item *it;
	bool first;
	int rc = journal_epoch_open(j, epoch);

	if (rc < 0)
		return rc;
	p = &j->pend[j->n_pend - 1];
	if (rec->op == JOURNAL_FLUSH) {
		p->count.flushed = true;
		return 0;
	}
	if (!journal_desc_ok(&d, &j->o.geo) || payload > j->o.batch_bytes)
		return -EINVAL;
	it = batch_for(j, epoch, payload, &rc);
	if (!it) {
		j->starved = j->starved || rc == -EAGAIN;
		return rc;
	}
	first = it->n_recs == 0;
	*rec_at(j, j->rec_head++) = (struct rec){
		.off = rec->off, .len = rec->len, .payload_off = it->payload_len, .op = rec->op};
	if (payload)
		memcpy(ram_of(j, it) + JOURNAL_BLOCK + it->payload_len, rec->data, payload);
	it->n_recs++;
	it->payload_len += payload;
	p->batches += first;
	p->count.records++;
	p->count.bytes += payload;
	return 0;
}

/* ---- the end of items ---- */

static bool is_uncommitted(const struct journal *j, const struct item *it)
{
	return it->type == JOURNAL_BATCH && it->session_no == j->session_no &&
	       (j->committed_epoch == JOURNAL_NO_EPOCH || it->epoch > j->committed_epoch);
}

static void give_up(struct journal *j, struct item *it)
{
	it->copied = true;
	it->done = true;
	j->sb_waiting += it->size;
	j->sb_dirty = true;
}

/* A BEGIN after which nothing was committed says nothing; sessions that come and go must not fill the ring. */
static void drop_begins(struct journal *j)
{
	for (uint64_t n = j->it_head; n > j->it_first; n--) {
		struct item *it = item_at(j, n - 1);

		if (it->done)
			continue;
		if (it->type == JOURNAL_COMMIT)
			return;
		if (it->type == JOURNAL_BEGIN)
			give_up(j, it);
	}
}

void ring_drop(struct journal *j)
{
	struct item *last = j->it_head > j->it_first ? item_at(j, j->it_head - 1) : NULL;
	/* Where nothing of the ring will ever be applied, committed ones are void as well. */
	bool all = j->sb.state != JOURNAL_CONSISTENT && j->sb.state != JOURNAL_OUTDATED &&
		   j->change.kind != CHANGE_SETTLE;

	if (last && last->open) {
		j->rec_head = last->rec_first;
		j->ram_head = last->ram_pos;
		j->it_head--;
	}
	for (uint64_t n = j->it_first; n < j->it_head; n++) {
		struct item *it = item_at(j, n);

		if (!it->direct && !it->done && (all || is_uncommitted(j, it)))
			give_up(j, it);
	}
	drop_begins(j);
}

static void free_item(struct journal *j)
{
	const struct item *it = item_at(j, j->it_first);

	assert(it->written && it->done);
	j->rec_first = it->rec_first + it->n_recs;
	j->it_first++;
	j->it_durable = MAX(j->it_durable, j->it_first);
	j->it_ram = MAX(j->it_ram, j->it_first);
}

void ring_free_until(struct journal *j, uint64_t item, uint64_t pos)
{
	while (j->it_first < item)
		free_item(j);
	j->pos_free = pos;
	free_ram(j);
}

void ring_advance(struct journal *j)
{
	while (j->it_written < j->it_head && item_at(j, j->it_written)->written) {
		const struct item *it = item_at(j, j->it_written++);

		if (it->type == JOURNAL_COMMIT) {
			j->it_commit = j->it_written;
			j->committed_since = MIN(j->committed_since, j->now);
		}
		if (!it->direct) {
			j->unsynced_bytes += it->size;
			j->unsynced_since = MIN(j->unsynced_since, j->now);
		}
	}
	free_ram(j);
	while (j->it_first < j->it_written && item_at(j, j->it_first)->direct &&
	       item_at(j, j->it_first)->done)
		free_item(j);
}
