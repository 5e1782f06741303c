/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See journal.h and journal_impl.h. Life, session, events. */
#include "disk/journal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "disk/journal_impl.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"

/* ---- failure ---- */

void journal_fail_with(struct journal *j, int rc, const char *fmt, ...)
{
	struct err e = ERR_INIT;
	char what[JOURNAL_WHY_SIZE];
	va_list args;

	if (j->rc)
		return;
	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	err_set(&e, rc, "%s", what);
	snprintf(j->why, sizeof(j->why), "%.*s", JOURNAL_WHY_SIZE - 1, e.text);
	j->rc = rc;
	j->fail_sbs = 2;
	j->sb.state = JOURNAL_FAILED;
}

void journal_fail(struct journal *j, int rc, const char *what)
{
	journal_fail_with(j, rc, "%s", what);
}

/* ---- making one ---- */

void journal_opts_init(struct journal_opts *o)
{
	*o = (struct journal_opts){
		.ack = JOURNAL_ACK_MEMORY,
		.batch_bytes = JOURNAL_PAYLOAD_MAX,
		.ram_bytes = 64ull << 20,
		.max_items = 8192,
		.max_records = 131072,
		.sync_ns = 250 * NS_PER_MS,
		.sync_bytes = 64ull << 20,
		.apply_ns = 100 * NS_PER_MS,
		.apply_bytes = 8ull << 20,
		.superblock_ns = NS_PER_SEC,
		.superblock_bytes = 64ull << 20,
		.depth = 32,
	};
}

uint64_t journal_file_size(const struct journal_geometry *g)
{
	return journal_ring_off(g) + g->ring_size;
}

static int format_intent(struct block_store *file, const struct journal_geometry *g, void *block)
{
	autofree struct intent_block *b = mem_zalloc(sizeof(*b));
	int rc = b ? 0 : -ENOMEM;

	for (uint64_t i = 0; !rc && i < journal_intent_blocks(g); i++) {
		b->index = i;
		intent_block_encode(b, g->uuid, block);
		rc = block_do(file, BLOCK_WRITE, JOURNAL_INTENT_OFF + i * JOURNAL_BLOCK, block,
			      JOURNAL_BLOCK);
	}
	return rc;
}

int journal_format(struct block_store *file, const struct journal_geometry *g, uint64_t incarnation,
		   struct err *e)
{
	autofree uint8_t *block = mem_aligned(JOURNAL_BLOCK, JOURNAL_BLOCK);
	struct journal_sb sb = {
		.state = JOURNAL_EMPTY,
		.geo = *g,
		.incarnation = incarnation,
		.tail_lsn = 1,
		.applied_epoch = JOURNAL_NO_EPOCH,
	};
	int rc = journal_geometry_check(g, e);

	if (rc < 0)
		return rc;
	if (!incarnation)
		return err_setx(e, -EINVAL, "a journal needs a random number");
	if (file->size < journal_file_size(g))
		return err_setx(e, -ENOSPC, "the journal's file has %llu bytes and needs %llu",
				(unsigned long long)file->size,
				(unsigned long long)journal_file_size(g));
	rc = block ? 0 : -ENOMEM;
	/* First nothing is there: a crash in between leaves no journal rather than half of one. */
	for (unsigned int i = 0; !rc && i < 2; i++)
		rc = block_do(file, BLOCK_WRITE, (uint64_t)i * JOURNAL_BLOCK, block, JOURNAL_BLOCK);
	if (!rc)
		rc = format_intent(file, g, block);
	if (!rc)
		rc = block_do(file, BLOCK_SYNC, 0, NULL, 0);
	if (!rc)
		rc = recover_put_both(file, &sb, block);
	return rc ? err_set(e, rc, "write an empty journal") : 0;
}

int journal_peek(struct block_store *file, struct journal_sb *sb, struct err *e)
{
	return recover_sb(file, sb, e);
}

/* ---- opening ---- */

static bool power_of_2(uint64_t n)
{
	return n && !(n & (n - 1));
}

static int check_opts(const struct journal_opts *o, struct err *e)
{
	int rc = journal_geometry_check(&o->geo, e);

	if (rc < 0)
		return rc;
	if (!o->incarnation || !o->batch_bytes || o->batch_bytes % JOURNAL_BLOCK ||
	    o->batch_bytes > JOURNAL_PAYLOAD_MAX ||
	    o->ram_bytes < 4ull * (o->batch_bytes + JOURNAL_BLOCK) || !power_of_2(o->max_items) ||
	    !power_of_2(o->max_records) || o->max_records < 1024 || o->max_items < 256 ||
	    !o->depth || o->depth > IO_DEPTH_MAX)
		return err_setx(e, -EINVAL, "bounds of the journal that cannot work");
	return 0;
}

static int allocate(struct journal *j)
{
	const struct journal_opts *o = &j->o;

	j->pass_records = MIN(PASS_RECORDS, o->max_records);
	j->sb_block = mem_aligned(JOURNAL_BLOCK, JOURNAL_BLOCK);
	j->items = mem_array(o->max_items, sizeof(*j->items));
	j->recs = mem_array(o->max_records, sizeof(*j->recs));
	j->ram_size = o->ram_bytes & ~(uint64_t)(JOURNAL_BLOCK - 1);
	j->ram = mem_aligned(JOURNAL_BLOCK, j->ram_size);
	j->ext = mem_array(j->pass_records, sizeof(*j->ext));
	j->src = mem_array(j->pass_records, sizeof(*j->src));
	j->scratch = mem_array(2 * (size_t)j->pass_records, sizeof(*j->scratch));
	j->pieces = mem_array(2 * (size_t)j->pass_records, sizeof(*j->pieces));
	j->load = mem_aligned(JOURNAL_BLOCK, (size_t)LOAD_BATCHES * o->batch_bytes);
	if (!j->sb_block || !j->items || !j->recs || !j->ram || !j->ext || !j->src || !j->scratch ||
	    !j->pieces || !j->load)
		return -ENOMEM;
	return 0;
}

static int check_stores(const struct journal *j, struct err *e)
{
	const struct journal_geometry *want = &j->o.geo;
	const struct journal_geometry *is = &j->sb.geo;

	if (memcmp(want->uuid, is->uuid, JOURNAL_UUID_SIZE) != 0)
		return err_setx(e, -EINVAL, "the journal is another disk's");
	if (want->disk_size != is->disk_size || want->block_size != is->block_size ||
	    want->ring_size != is->ring_size)
		return err_setx(
			e, -EINVAL,
			"the journal was made for a disk of %llu bytes in blocks of %u and %llu "
			"bytes of ring",
			(unsigned long long)is->disk_size, is->block_size,
			(unsigned long long)is->ring_size);
	if (j->file->size < journal_file_size(is))
		return err_setx(e, -EINVAL, "the journal's file was cut to %llu bytes",
				(unsigned long long)j->file->size);
	if (j->disk->size < is->disk_size || is->block_size % j->disk->block_size)
		return err_setx(e, -EINVAL,
				"the disk has %llu bytes in blocks of %u, not %llu of %u",
				(unsigned long long)j->disk->size, j->disk->block_size,
				(unsigned long long)is->disk_size, is->block_size);
	return 0;
}

static void start(struct journal *j)
{
	j->ring_off = journal_ring_off(&j->o.geo);
	j->next_lsn = 1;
	j->unsynced_since = CLOCK_NEVER;
	j->committed_since = CLOCK_NEVER;
	j->committed_epoch = JOURNAL_NO_EPOCH;
	j->durable_epoch = j->durable_told = JOURNAL_NO_EPOCH;
	j->applied_epoch = j->applied_told = JOURNAL_NO_EPOCH;
	j->settle_epoch = JOURNAL_NO_EPOCH;
}

int journal_open(struct block_store *file, struct block_store *disk, const struct journal_opts *o,
		 struct journal **out, struct err *e)
{
	struct journal *j;
	int rc = check_opts(o, e);

	if (rc < 0)
		return rc;
	j = mem_zalloc(sizeof(*j));
	if (!j)
		return err_set(e, -ENOMEM, "open the journal");
	j->file = file;
	j->disk = disk;
	j->o = *o;
	rc = recover_sb(file, &j->sb, e);
	if (!rc)
		rc = check_stores(j, e);
	if (!rc && allocate(j) < 0)
		rc = err_set(e, -ENOMEM, "open the journal");
	if (!rc) {
		start(j);
		rc = recover(j, e);
	}
	if (rc < 0) {
		journal_free(j);
		return rc;
	}
	*out = j;
	return 0;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	assert(!j->in_flight);
	mem_free(j->sb_block);
	mem_free(j->items);
	mem_free(j->recs);
	mem_free(j->ram);
	mem_free(j->ext);
	mem_free(j->src);
	mem_free(j->scratch);
	mem_free(j->pieces);
	mem_free(j->load);
	mem_free(j);
}

void journal_set_events(struct journal *j, const struct journal_events *ev, void *arg)
{
	j->ev = *ev;
	j->ev_arg = arg;
}

/* ---- a session ---- */

void journal_drop(struct journal *j)
{
	j->in_session = false;
	j->direct = false;
	j->settle_epoch = JOURNAL_NO_EPOCH;
	j->adopts = false;
	j->n_pend = 0;
	ring_drop(j);
}

int journal_begin(struct journal *j, uint64_t session, uint64_t first_epoch)
{
	struct pending first = {.epoch = first_epoch};
	int rc;

	if (j->rc)
		return -EIO;
	if (j->sb.state != JOURNAL_CONSISTENT && j->sb.state != JOURNAL_OUTDATED)
		return -EPERM;
	if (!session || session == j->session || session == j->sb.session ||
	    first_epoch == JOURNAL_NO_EPOCH)
		return -EINVAL;
	journal_drop(j);
	rc = j->change.kind != CHANGE_NONE ? -EAGAIN : ring_room(j, JOURNAL_BLOCK);
	if (rc < 0) {
		/* All that is there will be applied or was dropped. */
		j->starved = true;
		return -EAGAIN;
	}
	j->session = session;
	j->session_no++;
	j->in_session = true;
	j->next_epoch = first_epoch;
	j->committed_epoch = JOURNAL_NO_EPOCH;
	j->durable_epoch = j->durable_told = JOURNAL_NO_EPOCH;
	j->applied_epoch = j->applied_told = JOURNAL_NO_EPOCH;
	if (!JOURNAL_MUTANT(JM_KEEP_DROPPED))
		ring_mark(j, JOURNAL_BEGIN, &first);
	return 0;
}

int journal_epoch_open(struct journal *j, uint64_t epoch)
{
	const struct pending *last = j->n_pend ? &j->pend[j->n_pend - 1] : NULL;
	int rc = 0;

	if (j->rc)
		return -EIO;
	if (change_seals(j)) {
		j->starved = true;
		return -EAGAIN;
	}
	if (!j->in_session)
		return -EPERM;
	if (last && !last->ended)
		return epoch == last->epoch ? 0 : -EPROTO;
	if (epoch != j->next_epoch || epoch == JOURNAL_NO_EPOCH)
		return -EPROTO;
	if (j->n_pend == JOURNAL_UNCOMMITTED)
		return -EFBIG;
	/* Its COMMIT must never lack room. */
	if (!j->direct)
		rc = ring_room(j, JOURNAL_BLOCK);
	if (rc < 0) {
		j->starved = j->starved || rc == -EAGAIN;
		return rc;
	}
	j->pend[j->n_pend++] = (struct pending){.epoch = epoch, .direct = j->direct};
	j->next_epoch++;
	return 0;
}

void journal_push(struct journal *j)
{
	if (!j->rc)
		ring_close(j);
}

int journal_end(struct journal *j, uint64_t epoch, struct journal_count *count)
{
	struct pending *p;
	int rc = journal_epoch_open(j, epoch);

	if (rc < 0)
		return rc;
	p = &j->pend[j->n_pend - 1];
	ring_close(j);
	p->ended = true;
	*count = p->count;
	return 0;
}

int journal_commit(struct journal *j, uint64_t epoch)
{
	const struct pending p = j->pend[0];

	if (j->rc)
		return -EIO;
	if (!j->in_session)
		return -EPERM;
	if (!j->n_pend || p.epoch != epoch || !p.ended)
		return -EPROTO;
	/* A batch of the next epoch may be open; COMMIT comes after it. */
	ring_close(j);
	j->committed_epoch = epoch;
	if (!p.direct) {
		ring_mark(j, JOURNAL_COMMIT, &p);
		j->lag_bytes += p.count.bytes;
		j->lag_records += p.count.records;
		if (j->o.ack == JOURNAL_ACK_EPOCH ||
		    (j->o.ack == JOURNAL_ACK_FLUSH && p.count.flushed))
			j->sync_urgent = j->it_head;
	}
	j->n_pend--;
	memmove(j->pend, j->pend + 1, j->n_pend * sizeof(*j->pend));
	if (j->settle_epoch == epoch)
		change_settle(j);
	return 0;
}

void journal_set_ack(struct journal *j, enum journal_ack ack)
{
	j->o.ack = ack;
}

bool journal_ack_waits(const struct journal *j, uint64_t epoch)
{
	for (uint32_t i = 0; i < j->n_pend; i++) {
		const struct pending *p = &j->pend[i];

		if (p->epoch == epoch && !p->direct)
			return j->o.ack == JOURNAL_ACK_EPOCH ||
			       (j->o.ack == JOURNAL_ACK_FLUSH && p->count.flushed);
	}
	return false;
}

/* ---- its owner's loop ---- */

static void tell_progress(struct journal *j)
{
	/* The first copy's end is told with the state: until then nothing of it counts. */
	if (j->change.kind == CHANGE_SETTLE)
		return;
	if (j->sb.state != JOURNAL_CONSISTENT && j->sb.state != JOURNAL_OUTDATED)
		return;
	if (j->durable_epoch != j->durable_told) {
		j->durable_told = j->durable_epoch;
		if (j->ev.durable)
			j->ev.durable(j->ev_arg, j->durable_epoch);
	}
	if (j->applied_epoch != j->applied_told) {
		j->applied_told = j->applied_epoch;
		if (j->ev.applied)
			j->ev.applied(j->ev_arg, j->applied_epoch);
	}
}

static void tell(struct journal *j)
{
	if (j->rc) {
		if (!j->fail_told && j->ev.state) {
			j->fail_told = true;
			j->ev.state(j->ev_arg, JOURNAL_FAILED, j->why);
		}
		return;
	}
	tell_progress(j);
	/* EFBIG is for the owner to hear when he asks again. */
	if (j->starved && !change_seals(j) && ring_room(j, batch_max(j)) != -EAGAIN) {
		j->starved = false;
		if (j->ev.space)
			j->ev.space(j->ev_arg);
	}
}

uint64_t journal_run(struct journal *j, uint64_t now)
{
	j->now = now;
	/* Twice: the end of a round is news for all of them. */
	for (int i = 0; i < 2; i++) {
		ring_advance(j);
		apply_advance(j);
		change_advance(j);
		sb_advance(j);
		sync_advance(j);
		tell(j);
	}
	return MIN(sb_deadline(j), apply_deadline(j));
}

bool journal_idle(const struct journal *j)
{
	return !j->in_flight && (j->rc || (apply_finished(j) && j->change.kind == CHANGE_NONE));
}

void journal_stats(const struct journal *j, struct journal_stats *st)
{
	*st = (struct journal_stats){
		.state = j->sb.state,
		.gens = j->sb.gens,
		.activated = j->sb.state == JOURNAL_ACTIVE && j->sb.session && !j->sb.gens.bitmap,
		.session = j->session,
		.committed_epoch = j->committed_epoch,
		.durable_epoch = j->durable_told,
		.applied_epoch = j->applied_told,
		.ring_size = j->o.geo.ring_size,
		.ring_used = j->pos_head - j->pos_free,
		.lag_bytes = j->lag_bytes,
		.ram_used = j->ram_head - j->ram_tail,
		.spilled = j->spilled,
		.merged = j->merged,
		.replayed = j->replayed,
	};
	memcpy(st->why, j->why, sizeof(st->why));
}
