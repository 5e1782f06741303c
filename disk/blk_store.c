/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See blk_store.h. */
#include "disk/blk_store.h"

#include <errno.h>
#include <poll.h>

#include "lib/mem.h"

#define PARTS 128u
#define JOBS 64u
#define BARE_MAX (UINT64_C(1) << 30) /* of a ZERO or DISCARD */

/* A request of which something is under way. */
struct job {
	struct block_req *r; /* NULL: free */
	unsigned int left;
	int rc;
};

struct part {
	struct blk_req req;
	struct blk_store *store;
	struct job *job; /* NULL: free */
	struct part *next;
};

struct blk_store {
	struct block_store base;
	struct blk_dev *dev;
	struct block_req *first; /* waits; the first one may have parts under way */
	struct block_req **last;
	struct job *splitting; /* of the first */
	int iov;	       /* the next piece of the first */
	uint64_t done;	       /* bytes of it that were handed on */
	struct part *free;
	unsigned int ended; /* requests, since wait() began */
	struct job jobs[JOBS];
	struct part parts[PARTS];
};

static const enum blk_op ops[] = {
	[BLOCK_READ] = BLK_READ,       [BLOCK_WRITE] = BLK_WRITE, [BLOCK_ZERO] = BLK_ZERO,
	[BLOCK_DISCARD] = BLK_DISCARD, [BLOCK_SYNC] = BLK_FLUSH,
};

static void put_part(struct blk_store *s, struct part *p)
{
	p->job = NULL;
	p->next = s->free;
	s->free = p;
}

static void end_job(struct blk_store *s, struct job *j)
{
	struct block_req *r = j->r;

	j->r = NULL;
	s->ended++;
	r->done(r, j->rc);
}

static void on_part(struct blk_req *req, int rc)
{
	struct part *p = container_of(req, struct part, req);
	struct blk_store *s = p->store;
	struct job *j = p->job;

	put_part(s, p);
	if (rc < 0 && !j->rc)
		j->rc = rc;
	j->left--;
	if (!j->left && j != s->splitting)
		end_job(s, j);
	blk_store_go_on(s);
}

static struct job *free_job(struct blk_store *s)
{
	for (unsigned int i = 0; i < JOBS; i++)
		if (!s->jobs[i].r)
			return &s->jobs[i];
	return NULL;
}

/* The next part of the first request: false when that was all of it. */
static bool describe(const struct blk_store *s, struct blk_req *req, uint64_t *len)
{
	const struct block_req *r = s->first;
	bool data = r->op == BLOCK_READ || r->op == BLOCK_WRITE;

	*len = r->op == BLOCK_SYNC ? 0 : MIN(r->len - s->done, BARE_MAX);
	if (r->op == BLOCK_SYNC ? s->iov : s->done == r->len)
		return false;
	if (data)
		*len = r->iov[s->iov].iov_len;
	*req = (struct blk_req){
		.op = ops[r->op],
		.off = r->off + s->done,
		.len = (uint32_t)*len,
		.buf = data ? r->iov[s->iov].iov_base : NULL,
		.done = on_part,
	};
	return true;
}

/* True: the first request is handed on, all of it. */
static bool split(struct blk_store *s)
{
	struct blk_req req;
	uint64_t len;

	while (describe(s, &req, &len)) {
		struct part *p = s->free;

		if (!p)
			return false;
		p->req = req;
		p->job = s->splitting;
		if (blk_submit(s->dev, &p->req) == -EAGAIN) {
			p->job = NULL;
			return false;
		}
		s->free = p->next;
		s->splitting->left++;
		s->done += len;
		s->iov++;
	}
	return true;
}

void blk_store_go_on(struct blk_store *s)
{
	while (s->first) {
		struct job *j;

		if (!s->splitting) {
			s->splitting = free_job(s);
			if (!s->splitting)
				return;
			*s->splitting = (struct job){.r = s->first};
			s->iov = 0;
			s->done = 0;
		}
		if (!split(s))
			return;
		j = s->splitting;
		s->first = s->first->next;
		if (!s->first)
			s->last = &s->first;
		s->splitting = NULL;
		/* Its parts may have ended while others waited for room. */
		if (!j->left)
			end_job(s, j);
	}
}

static void store_submit(struct block_store *base, struct block_req *r)
{
	struct blk_store *s = container_of(base, struct blk_store, base);

	r->next = NULL;
	*s->last = r;
	s->last = &r->next;
	if (s->first == r)
		blk_store_go_on(s);
}

static bool in_flight(const struct blk_store *s)
{
	bool some = s->first != NULL;

	for (unsigned int i = 0; i < JOBS && !some; i++)
		some = s->jobs[i].r != NULL;
	return some;
}

static int store_wait(struct block_store *base)
{
	struct blk_store *s = container_of(base, struct blk_store, base);

	if (!in_flight(s))
		return -ENOENT;
	s->ended = 0;
	while (!s->ended) {
		struct pollfd p = {.fd = s->dev->event_fd, .events = POLLIN};

		blk_store_go_on(s);
		blk_kick(s->dev);
		if (poll(&p, 1, -1) > 0)
			blk_reap(s->dev);
	}
	return 0;
}

static const struct block_store_ops store_ops = {.submit = store_submit, .wait = store_wait};

int blk_store_new(struct blk_store **out, struct blk_dev *d)
{
	struct blk_store *s = mem_zalloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->base = (struct block_store){.ops = &store_ops, .size = d->size, .block_size = d->block};
	s->dev = d;
	s->last = &s->first;
	for (unsigned int i = 0; i < PARTS; i++) {
		s->parts[i].store = s;
		put_part(s, &s->parts[i]);
	}
	*out = s;
	return 0;
}

void blk_store_free(struct blk_store *s)
{
	if (!s)
		return;
	assert(!in_flight(s));
	mem_free(s);
}

struct block_store *blk_store_blocks(struct blk_store *s)
{
	return &s->base;
}
