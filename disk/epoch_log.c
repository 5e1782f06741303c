/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See epoch_log.h. Three rings: records not taken, extents and epochs not settled. */
#include "disk/epoch_log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk/data_ring.h"
#include "disk/dirty_map.h"
#include "disk/epoch_word.h"
#include "disk/mutant.h"
#include "disk/span.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"

#define EPOCHS_MAX 4096U

struct rec {
	struct epoch_rec r;
	uint64_t data_end; /* in the ring */
};

struct extent {
	uint64_t off;
	uint64_t epoch;
	uint64_t len;
};

/* An epoch with records. The newest one is still counted. */
struct epoch_entry {
	uint64_t epoch;
	struct epoch_numbers numbers;
};

struct epoch_log {
	struct write_sink sink;
	struct epoch_log_conf conf;
	const struct epoch_word *word; /* NULL: ALONE */
	uint64_t last_tag;
	uint64_t ended;	  /* newest END, or EPOCH_LOG_NONE */
	uint64_t settled; /* or EPOCH_LOG_NONE */

	struct data_ring data;
	struct span recs_at;
	struct span extents_at;
	struct span epochs_at;
	struct rec *recs;
	struct extent *extents;
	struct epoch_entry *epochs;
	struct epoch_count count; /* of the newest entry of epochs */

	bool refused; /* the last admit() said -EAGAIN */
	uint64_t stalled_since;
	uint64_t extent_bytes;
	uint64_t first;		   /* epoch of this stream */
	struct dirty_map *carried; /* extents of the first epoch that were folded */
	struct epoch_log_stats stats;
};

static struct rec *rec_at(const struct epoch_log *l, uint64_t i)
{
	return &l->recs[i % l->recs_at.size];
}

static struct extent *extent_at(const struct epoch_log *l, uint64_t i)
{
	return &l->extents[i % l->extents_at.size];
}

static struct epoch_entry *epoch_at(const struct epoch_log *l, uint64_t i)
{
	return &l->epochs[i % l->epochs_at.size];
}

/* ---- leaving ------------------------------------------------------------ */

/* There may be room again. */
static void wake(struct epoch_log *l)
{
	if (!l->refused)
		return;
	l->refused = false;
	if (l->conf.wake)
		l->conf.wake(l->conf.arg);
}

void epoch_log_leave(struct epoch_log *l)
{
	if (!l->word)
		return;
	for (uint64_t i = l->extents_at.tail; i < l->extents_at.head; i++) {
		const struct extent *x = extent_at(l, i);

		if (!DISK_MUTANT(DISK_MUTANT_FORGET_EXTENTS))
			dirty_map_set(l->conf.map, x->off, x->len);
	}
	if (!DISK_MUTANT(DISK_MUTANT_FORGET_EXTENTS))
		(void)!dirty_map_or(l->conf.map, l->carried);
	dirty_map_clear_all(l->carried);
	span_reset(&l->recs_at);
	span_reset(&l->extents_at);
	span_reset(&l->epochs_at);
	data_ring_reset(&l->data);
	l->extent_bytes = 0;
	l->word = NULL;
	l->stalled_since = CLOCK_NEVER;
	wake(l);
}

COLD static void drop(struct epoch_log *l, const char *why)
{
	l->stats.drops++;
	epoch_log_leave(l);
	if (l->conf.dropped)
		l->conf.dropped(l->conf.arg, why);
}

/* ---- queueing ----------------------------------------------------------- */

static bool all_zero(const void *data, size_t len)
{
	const uint8_t *p = data;

	/* Each byte is the one before it, and the first is 0. */
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* The epoch of what arrives now; false: the word cannot be followed, and the stream is left. */
static bool tag(struct epoch_log *l, uint64_t *epoch)
{
	uint64_t now = epoch_word_load(l->word);

	if (now == EPOCH_WORD_VOID) {
		drop(l, "the worker voided the epoch word");
		return false;
	}
	if (now < l->last_tag) {
		drop(l, "the epoch word went back");
		return false;
	}
	l->last_tag = *epoch = now;
	return true;
}

static bool epoch_fits(const struct epoch_log *l, uint64_t epoch)
{
	return span_fits(&l->epochs_at, 1) || epoch_at(l, l->epochs_at.head - 1)->epoch == epoch;
}

/* Has the entry that is counted be this epoch's; there is room for it. */
static void epoch_open(struct epoch_log *l, uint64_t epoch)
{
	if (span_used(&l->epochs_at) > 0) {
		struct epoch_entry *x = epoch_at(l, l->epochs_at.head - 1);

		if (x->epoch == epoch)
			return;
		x->numbers = epoch_count_get(&l->count);
	}
	*epoch_at(l, l->epochs_at.head++) = (struct epoch_entry){.epoch = epoch};
	epoch_count_init(&l->count);
}

/*
 * The first epoch is as long as the copy that it carries, hours perhaps, and none of it is settled meanwhile: its extents
 * move into a map of their own before they fill the table.
 */
static void fold(struct epoch_log *l)
{
	while (span_used(&l->extents_at) > 0) {
		const struct extent *x = extent_at(l, l->extents_at.tail++);

		dirty_map_set(l->carried, x->off, x->len);
	}
	l->extent_bytes = 0;
}

static void add_extent(struct epoch_log *l, uint64_t off, uint64_t len, uint64_t epoch)
{
	struct extent *x;

	l->extent_bytes += len;
	if (span_used(&l->extents_at) > 0) {
		x = extent_at(l, l->extents_at.head - 1);
		if (x->epoch == epoch && x->off + x->len == off) {
			x->len += len;
			return;
		}
	}
	x = extent_at(l, l->extents_at.head++);
	*x = (struct extent){.off = off, .epoch = epoch, .len = len};
	if (epoch == l->first && span_used(&l->extents_at) >= l->extents_at.size / 4)
		fold(l);
}

/* There is room. The data is copied. */
static void add_rec(struct epoch_log *l, const struct write_req *w, uint64_t epoch, bool sync)
{
	struct rec *x = rec_at(l, l->recs_at.head++);
	const void *data = w->op == WRITE_DATA ? w->data : NULL;

	*x = (struct rec){.r = {.w = *w, .epoch = epoch, .sync = sync}};
	x->r.w.data = NULL;
	if (data && all_zero(data, w->len)) {
		data = NULL;
		x->r.w.op = WRITE_ZERO;
		x->r.sync = false;
		l->stats.zeroes += w->len;
	}
	if (data)
		x->r.w.data = memcpy(data_ring_take(&l->data, w->len, &x->data_end), data, w->len);
	else
		x->data_end = l->data.head;
	epoch_open(l, epoch);
	epoch_count_add(&l->count, &x->r.w, x->r.sync);
	if (w->len > 0)
		add_extent(l, w->off, w->len, epoch);
	*(sync ? &l->stats.synced : &l->stats.streamed) += w->len;
}

/* The next part of w that is to be sent, from *done bytes on: false when there is none. */
static bool next_piece(const struct epoch_log *l, const struct write_req *w, uint32_t *done,
		       struct write_req *piece)
{
	while (*done < w->len) {
		uint64_t off = w->off + *done;
		bool marked;
		uint64_t same = dirty_map_same(l->conf.map, off, w->len - *done, &marked);

		if (!marked)
			same = MIN(same, (uint64_t)(w->op == WRITE_DATA ? EPOCH_REC_MAX
									: EPOCH_REC_BARE_MAX));
		*piece = (struct write_req){.op = w->op, .off = off, .len = (uint32_t)same};
		if (w->op == WRITE_DATA)
			piece->data = (const uint8_t *)w->data + *done;
		*done += (uint32_t)same;
		if (!marked)
			return true;
	}
	return false;
}

/* What a write needs of the tables. */
struct need {
	uint64_t records;
	uint64_t bytes;
};

static struct need need_of(const struct epoch_log *l, const struct write_req *w)
{
	struct need n = {.records = w->op == WRITE_FLUSH};
	struct write_req piece;
	uint32_t done = 0;

	while (next_piece(l, w, &done, &piece)) {
		n.records++;
		n.bytes += piece.op == WRITE_DATA ? piece.len : 0;
	}
	return n;
}

static bool could_ever_fit(const struct epoch_log *l, struct need n)
{
	return n.bytes <= l->data.size - EPOCH_REC_MAX && n.records <= l->recs_at.size &&
	       n.records <= l->extents_at.size;
}

static bool fits_now(const struct epoch_log *l, struct need n, uint64_t epoch)
{
	return data_ring_fits(&l->data, n.bytes, EPOCH_REC_MAX) &&
	       span_fits(&l->recs_at, n.records) && span_fits(&l->extents_at, n.records) &&
	       epoch_fits(l, epoch);
}

/* ---- the sink ----------------------------------------------------------- */

static struct epoch_log *log_of(struct write_sink *s)
{
	return container_of(s, struct epoch_log, sink);
}

static int refuse(struct epoch_log *l)
{
	l->refused = true;
	l->stats.refused++;
	return -EAGAIN;
}

/* 0, -EAGAIN, or -ENOTCONN when the stream was left. */
static int stream_write(struct epoch_log *l, const struct write_req *w)
{
	struct write_req piece;
	struct need need;
	uint64_t epoch;
	uint32_t done = 0;
	uint64_t sent = 0;

	if (!tag(l, &epoch))
		return -ENOTCONN;
	need = need_of(l, w);
	if (!could_ever_fit(l, need)) {
		drop(l, "a write is larger than the queue");
		return -ENOTCONN;
	}
	if (!fits_now(l, need, epoch))
		return refuse(l);
	if (w->op == WRITE_FLUSH)
		add_rec(l, w, epoch, false);
	while (next_piece(l, w, &done, &piece)) {
		add_rec(l, &piece, epoch, false);
		sent += piece.len;
	}
	l->stats.skipped += w->len - sent;
	return 0;
}

static int log_admit(struct write_sink *s, const struct write_req *w)
{
	struct epoch_log *l = log_of(s);
	int rc;

	/* Who asks needs no wake-up, and gets none while it asks. */
	l->refused = false;
	rc = l->word ? stream_write(l, w) : -ENOTCONN;
	if (rc == -EAGAIN)
		return rc;
	l->stalled_since = CLOCK_NEVER;
	if (rc == -ENOTCONN && w->op != WRITE_FLUSH)
		dirty_map_set(l->conf.map, w->off, w->len);
	return 0;
}

static bool answer_error(struct epoch_log *l, int rc)
{
	if (!l->word)
		return true;
	/* P4: the guest must not see it, the epoch's other effects are not out yet. */
	if (l->conf.failed)
		l->conf.failed(l->conf.arg, rc);
	return false;
}

static bool log_done(struct write_sink *s, const struct write_req *w, int rc)
{
	return rc == 0 || answer_error(log_of(s), rc);
}

static bool log_read_failed(struct write_sink *s, uint64_t off, uint32_t len, int rc)
{
	return answer_error(log_of(s), rc);
}

static const struct write_sink_ops log_sink_ops = {
	.admit = log_admit,
	.done = log_done,
	.read_failed = log_read_failed,
};

struct write_sink *epoch_log_sink(struct epoch_log *l)
{
	return &l->sink;
}

/* ---- the copier's part -------------------------------------------------- */

bool epoch_log_sync_room(const struct epoch_log *l, uint64_t bytes)
{
	return l->word && data_ring_used(&l->data) + bytes + EPOCH_REC_MAX <= l->data.size / 2 &&
	       span_used(&l->recs_at) < l->recs_at.size / 2 &&
	       span_used(&l->extents_at) < l->extents_at.size / 2 &&
	       span_used(&l->epochs_at) < l->epochs_at.size / 2;
}

int epoch_log_add_sync(struct epoch_log *l, uint64_t off, uint32_t len, const void *data,
		       uint64_t *epoch)
{
	const struct write_req w = {.op = WRITE_DATA, .off = off, .len = len, .data = data};

	assert(off % DIRTY_BLOCK_SIZE == 0 && len > 0 && len <= EPOCH_REC_MAX);
	if (!l->word || !tag(l, epoch))
		return -ENOTCONN;
	if (!epoch_log_sync_room(l, len))
		return -EAGAIN;
	add_rec(l, &w, *epoch, true);
	/* From here on the extent says that the peer may not have them. */
	dirty_map_clear(l->conf.map, off, len);
	return 0;
}

uint64_t epoch_log_epoch(const struct epoch_log *l)
{
	/* EPOCH_WORD_VOID is no epoch either. */
	return l->word ? epoch_word_load(l->word) : EPOCH_LOG_NONE;
}

uint64_t epoch_log_last_tag(const struct epoch_log *l)
{
	return l->last_tag;
}

/* ---- the worker's part -------------------------------------------------- */

int epoch_log_begin(struct epoch_log *l, const struct epoch_word *word)
{
	uint64_t epoch = epoch_word_load(word);

	if (l->word)
		return -EBUSY;
	if (epoch == EPOCH_WORD_VOID)
		return -EINVAL;
	l->word = word;
	l->last_tag = l->first = epoch;
	l->ended = l->settled = EPOCH_LOG_NONE;
	l->stats.streamed = l->stats.synced = l->stats.zeroes = l->stats.skipped = 0;
	return 0;
}

bool epoch_log_streaming(const struct epoch_log *l)
{
	return l->word != NULL;
}

size_t epoch_log_next(const struct epoch_log *l, uint64_t upto, struct epoch_rec *out, size_t max,
		      uint64_t max_bytes)
{
	uint64_t bytes = 0;
	size_t n = 0;

	for (uint64_t i = l->recs_at.tail; i < l->recs_at.head && n < max; i++) {
		const struct epoch_rec *r = &rec_at(l, i)->r;

		if (r->epoch > upto || (n > 0 && r->epoch != out[0].epoch))
			break;
		if (r->w.op == WRITE_DATA)
			bytes += r->w.len;
		if (n > 0 && bytes > max_bytes)
			break;
		out[n++] = *r;
	}
	return n;
}

void epoch_log_taken(struct epoch_log *l, size_t n)
{
	if (n == 0)
		return;
	assert(n <= span_used(&l->recs_at));
	l->recs_at.tail += n;
	data_ring_release(&l->data, rec_at(l, l->recs_at.tail - 1)->data_end);
	wake(l);
}

/* The entry of this epoch, or NULL: it has no records. */
static const struct epoch_entry *find_epoch(const struct epoch_log *l, uint64_t epoch)
{
	for (uint64_t i = l->epochs_at.head; i > l->epochs_at.tail; i--) {
		const struct epoch_entry *x = epoch_at(l, i - 1);

		if (x->epoch <= epoch)
			return x->epoch == epoch ? x : NULL;
	}
	return NULL;
}

int epoch_log_end(struct epoch_log *l, uint64_t epoch, struct epoch_numbers *out)
{
	const struct epoch_entry *x;
	struct epoch_count none;
	uint64_t now;

	if (!l->word || !tag(l, &now))
		return -ENOTCONN;
	if (epoch >= now || (l->ended != EPOCH_LOG_NONE && epoch < l->ended) ||
	    (l->settled != EPOCH_LOG_NONE && epoch <= l->settled))
		return -EINVAL;
	if (span_used(&l->recs_at) > 0 && rec_at(l, l->recs_at.tail)->r.epoch <= epoch)
		return -EAGAIN;
	l->ended = epoch;
	x = find_epoch(l, epoch);
	epoch_count_init(&none);
	if (!x)
		*out = epoch_count_get(&none);
	else if (x == epoch_at(l, l->epochs_at.head - 1))
		*out = epoch_count_get(&l->count);
	else
		*out = x->numbers;
	return 0;
}

int epoch_log_settle(struct epoch_log *l, uint64_t epoch)
{
	uint64_t upto = epoch + (DISK_MUTANT(DISK_MUTANT_SETTLE_TOO_MUCH) ? 1 : 0);

	if (!l->word || l->ended == EPOCH_LOG_NONE || epoch > l->ended ||
	    (l->settled != EPOCH_LOG_NONE && epoch <= l->settled))
		return -EINVAL;
	l->settled = epoch;
	if (dirty_map_count(l->carried))
		dirty_map_clear_all(l->carried);
	while (span_used(&l->extents_at) > 0 && extent_at(l, l->extents_at.tail)->epoch <= upto)
		l->extent_bytes -= extent_at(l, l->extents_at.tail++)->len;
	while (span_used(&l->epochs_at) > 0 && epoch_at(l, l->epochs_at.tail)->epoch <= epoch)
		l->epochs_at.tail++;
	wake(l);
	return 0;
}

uint64_t epoch_log_settled(const struct epoch_log *l)
{
	return l->word ? l->settled : EPOCH_LOG_NONE;
}

/* ---- time and numbers --------------------------------------------------- */

void epoch_log_poll(struct epoch_log *l, uint64_t now)
{
	char why[96];

	if (!l->refused || !l->word)
		return;
	if (l->stalled_since == CLOCK_NEVER)
		l->stalled_since = now;
	if (now < clock_add(l->stalled_since, l->conf.stall_ns))
		return;
	snprintf(why, sizeof(why), "writes waited %llu ms for room in the queue",
		 (unsigned long long)((now - l->stalled_since) / NS_PER_MS));
	drop(l, why);
}

uint64_t epoch_log_deadline(const struct epoch_log *l)
{
	if (l->stalled_since == CLOCK_NEVER || !l->refused || !l->word)
		return CLOCK_NEVER;
	return clock_add(l->stalled_since, l->conf.stall_ns);
}

static unsigned int percent(uint64_t used, uint64_t size)
{
	return (unsigned int)(used * 100 / size);
}

unsigned int epoch_log_fill(const struct epoch_log *l)
{
	unsigned int data = percent(data_ring_used(&l->data), l->data.size);
	unsigned int recs = percent(span_used(&l->recs_at), l->recs_at.size);
	unsigned int extents = percent(span_used(&l->extents_at), l->extents_at.size);
	unsigned int epochs = percent(span_used(&l->epochs_at), l->epochs_at.size);

	return MAX(MAX(data, recs), MAX(extents, epochs));
}

void epoch_log_get_stats(const struct epoch_log *l, struct epoch_log_stats *out)
{
	*out = l->stats;
	out->queued_bytes = data_ring_used(&l->data);
	out->queued_records = span_used(&l->recs_at);
	out->extents = span_used(&l->extents_at);
	out->epochs = span_used(&l->epochs_at);
}

uint64_t epoch_log_behind(const struct epoch_log *l)
{
	return dirty_map_bytes(l->conf.map) + dirty_map_bytes(l->carried) + l->extent_bytes;
}

/* ---- life --------------------------------------------------------------- */

static int make_tables(struct epoch_log *l)
{
	uint64_t records = l->conf.queue_bytes / DIRTY_BLOCK_SIZE;
	uint64_t extents = l->conf.extents ? l->conf.extents : records;

	l->recs_at.size = (uint32_t)records;
	l->extents_at.size = (uint32_t)extents;
	l->epochs_at.size = EPOCHS_MAX;
	l->recs = mem_array(records, sizeof(*l->recs));
	l->extents = mem_array(extents, sizeof(*l->extents));
	l->epochs = mem_array(EPOCHS_MAX, sizeof(*l->epochs));
	if (!l->recs || !l->extents || !l->epochs)
		return -ENOMEM;
	return data_ring_init(&l->data, l->conf.queue_bytes);
}

int epoch_log_new(struct epoch_log **out, const struct epoch_log_conf *conf, struct err *e)
{
	struct epoch_log *l;
	int rc;

	if (conf->queue_bytes < EPOCH_LOG_QUEUE_MIN || conf->queue_bytes > EPOCH_LOG_QUEUE_MAX)
		return err_setx(e, -EINVAL, "a queue of %llu bytes; %llu to %llu are right",
				(unsigned long long)conf->queue_bytes,
				(unsigned long long)EPOCH_LOG_QUEUE_MIN,
				(unsigned long long)EPOCH_LOG_QUEUE_MAX);
	/* struct digest wants its alignment. */
	l = mem_aligned(alignof(struct epoch_log), sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "queue of a disk");
	l->conf = *conf;
	l->sink.ops = &log_sink_ops;
	l->stalled_since = CLOCK_NEVER;
	l->ended = l->settled = EPOCH_LOG_NONE;
	rc = dirty_map_new(&l->carried, dirty_map_disk_bytes(conf->map), e);
	if (!rc)
		rc = make_tables(l);
	if (rc < 0) {
		epoch_log_free(l);
		return err_set(e, rc, "queue of %llu MiB for a disk",
			       (unsigned long long)(conf->queue_bytes >> 20));
	}
	*out = l;
	return 0;
}

void epoch_log_free(struct epoch_log *l)
{
	if (!l)
		return;
	data_ring_fini(&l->data);
	dirty_map_free(l->carried);
	mem_free(l->recs);
	mem_free(l->extents);
	mem_free(l->epochs);
	mem_free(l);
}
