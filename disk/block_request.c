/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A request from its arrival to its answer: see block_server.h. */
#include <errno.h>

#include "disk/block_impl.h"
#include "lib/clock.h"

/* ---- queues ---- */

void place_push(struct place_queue *q, struct place *p)
{
	p->next = NULL;
	if (q->last)
		q->last->next = p;
	else
		q->first = p;
	q->last = p;
}

struct place *place_pop(struct place_queue *q)
{
	struct place *p = q->first;

	if (!p)
		return NULL;
	q->first = p->next;
	if (!q->first)
		q->last = NULL;
	return p;
}

void place_remove(struct place_queue *q, struct place *p)
{
	struct place *before = NULL;
	struct place **at = &q->first;

	while (*at != p) {
		before = *at;
		at = &before->next;
	}
	*at = p->next;
	if (q->last == p)
		q->last = before;
}

void place_move(struct place *p, enum place_state state)
{
	struct block_server *s = p->session->server;

	s->count[p->state]--;
	s->count[state]++;
	p->state = state;
}

/* ---- the answer ---- */

static void reply(struct place *p, enum nbdwire_error error)
{
	nbdwire_reply_encode(p->reply, p->rq.cookie, error);
	p->reply_data = error == NBDWIRE_OK && p->rq.type == NBDWIRE_READ ? p->rq.len : 0;
	place_move(p, PLACE_REPLY);
	place_push(&p->session->tx, p);
}

static void note_answer(const struct place *p)
{
	struct block_stats *st = &p->session->server->stats;
	uint64_t took_ns = clock_now() - p->arrived_ns;

	st->errors += p->rc < 0;
	switch (p->rq.type) {
	case NBDWIRE_READ:
		st->reads++;
		st->read_bytes += p->rq.len;
		hist_add(&st->read_ns, took_ns);
		return;
	case NBDWIRE_FLUSH:
		st->flushes++;
		hist_add(&st->flush_ns, took_ns);
		return;
	case NBDWIRE_WRITE:
		st->writes++;
		st->write_bytes += p->rq.len;
		break;
	case NBDWIRE_ZEROES:
		st->zeroes++;
		break;
	default:
		st->discards++;
		break;
	}
	hist_add(&st->write_ns, took_ns);
}

static void answer(struct place *p)
{
	note_answer(p);
	reply(p, nbdwire_error_of(p->rc));
}

void request_refuse(struct place *p, enum nbdwire_error error)
{
	p->session->server->stats.refused++;
	reply(p, error);
}

/* ---- on the disk ---- */

static void on_disk_done(struct blk_req *r, int rc);

static void to_disk(struct place *p)
{
	struct block_server *s = p->session->server;

	place_move(p, PLACE_ON_DISK);
	p->blk.done = on_disk_done;
	/* Nobody overtakes those that the disk had no room for. */
	if (s->to_disk.first || blk_submit(s->blk, &p->blk) == -EAGAIN)
		place_push(&s->to_disk, p);
}

static void disk_has_room(struct block_server *s)
{
	while (s->to_disk.first && blk_submit(s->blk, &s->to_disk.first->blk) == 0)
		place_pop(&s->to_disk);
}

/* ---- the sink ---- */

static int admit(const struct place *p)
{
	struct write_sink *sink = p->session->server->sink;
	int rc = sink ? sink->ops->admit(sink, &p->write) : 0;

	assert(rc == 0 || rc == -EAGAIN);
	return rc;
}

/* Its range is granted: it is the sink's turn. */
static void to_sink(struct place *p)
{
	struct block_server *s = p->session->server;

	place_move(p, PLACE_WAITING);
	if (s->waiting.first || admit(p) == -EAGAIN)
		place_push(&s->waiting, p);
	else
		to_disk(p);
}

static void ask_sink_again(struct block_server *s)
{
	s->woken = false;
	while (s->waiting.first && admit(s->waiting.first) == 0)
		to_disk(place_pop(&s->waiting));
}

static void on_granted(void *arg, struct range *r)
{
	struct block_hold *h = container_of(r, struct block_hold, range);
	struct place *p = container_of(r, struct place, range);

	if (r->is_hold)
		h->granted(h);
	else if (!p->session->forgetting)
		to_sink(p);
}

static bool has_range(const struct place *p)
{
	return p->rq.type != NBDWIRE_READ && p->rq.type != NBDWIRE_FLUSH;
}

static void drop_range(struct place *p)
{
	if (has_range(p))
		range_lock_drop(&p->session->server->ranges, &p->range, on_granted, NULL);
}

/* May the guest hear of it? */
static bool may_answer(const struct place *p, int rc)
{
	struct write_sink *sink = p->session->server->sink;

	if (!sink)
		return true;
	if (p->rq.type != NBDWIRE_READ)
		return sink->ops->done(sink, &p->write, rc);
	return rc == 0 || sink->ops->read_failed(sink, p->rq.off, p->rq.len, rc);
}

static void on_disk_done(struct blk_req *r, int rc)
{
	struct place *p = container_of(r, struct place, blk);
	bool may = may_answer(p, rc);

	p->rc = rc;
	drop_range(p);
	if (p->session->state == SESSION_CLOSED) {
		session_put_place(p);
	} else if (may) {
		answer(p);
	} else {
		place_move(p, PLACE_HELD);
		place_push(&p->session->server->held, p);
	}
}

bool block_server_hold(struct block_server *s, struct block_hold *h)
{
	h->range.is_hold = true;
	return range_lock_take(&s->ranges, &h->range);
}

void block_server_let_go(struct block_server *s, struct block_hold *h)
{
	range_lock_drop(&s->ranges, &h->range, on_granted, NULL);
	server_kick(s);
}

/* ---- arrival ---- */

static void start(struct place *p)
{
	struct block_server *s = p->session->server;

	if (p->rq.type == NBDWIRE_READ) {
		to_disk(p);
	} else if (!has_range(p) || range_lock_take(&s->ranges, &p->range)) {
		to_sink(p);
	} else {
		place_move(p, PLACE_BLOCKED);
	}
}

static void describe(struct place *p)
{
	static const enum blk_op blk[] = {
		[NBDWIRE_READ] = BLK_READ,   [NBDWIRE_WRITE] = BLK_WRITE,
		[NBDWIRE_FLUSH] = BLK_FLUSH, [NBDWIRE_TRIM] = BLK_DISCARD,
		[NBDWIRE_ZEROES] = BLK_ZERO,
	};
	static const enum write_op write[] = {
		[NBDWIRE_WRITE] = WRITE_DATA,
		[NBDWIRE_FLUSH] = WRITE_FLUSH,
		[NBDWIRE_TRIM] = WRITE_DISCARD,
		[NBDWIRE_ZEROES] = WRITE_ZERO,
	};
	bool fua = p->rq.flags & NBDWIRE_FUA;

	p->blk = (struct blk_req){
		.op = blk[p->rq.type],
		.fua = fua,
		.off = p->rq.off,
		.len = p->rq.len,
		.buf = p->buf,
	};
	p->write = (struct write_req){
		.op = write[p->rq.type],
		.fua = fua && has_range(p),
		.off = p->rq.off,
		.len = p->rq.len,
		.data = p->rq.type == NBDWIRE_WRITE ? p->buf : NULL,
	};
	p->range = (struct range){.off = p->rq.off, .len = p->rq.len, .is_hold = false};
}

void request_arrived(struct place *p)
{
	struct block_server *s = p->session->server;

	describe(p);
	p->arrived_ns = clock_now();
	if (!s->is_parked) {
		start(p);
		return;
	}
	place_move(p, PLACE_PARKED);
	place_push(&s->parked, p);
	if (s->refuses)
		server_kick(s);
}

/* ---- going on, and giving up ---- */

static void answer_held(struct block_server *s)
{
	struct place *p;

	s->answer_held = false;
	while ((p = place_pop(&s->held)))
		answer(p);
}

void requests_go_on(struct block_server *s)
{
	struct place *p;

	while (!s->is_parked && (p = place_pop(&s->parked)))
		start(p);
	while (s->refuses && (p = place_pop(&s->parked)))
		request_refuse(p, NBDWIRE_EIO);
	if (s->answer_held)
		answer_held(s);
	if (s->woken)
		ask_sink_again(s);
	disk_has_room(s);
}

void request_forget(struct place *p)
{
	struct block_server *s = p->session->server;

	switch (p->state) {
	case PLACE_ON_DISK: /* the sink knows of it: it has to be done */
	case PLACE_FREE:
		return;
	case PLACE_PARKED:
		place_remove(&s->parked, p);
		break;
	case PLACE_WAITING:
		place_remove(&s->waiting, p);
		drop_range(p);
		break;
	case PLACE_BLOCKED:
		drop_range(p);
		break;
	case PLACE_HELD:
		place_remove(&s->held, p);
		break;
	case PLACE_REPLY:
		place_remove(&p->session->tx, p);
		break;
	case PLACE_FILLING:
		break;
	}
	session_put_place(p);
}
