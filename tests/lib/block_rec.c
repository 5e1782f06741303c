/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See block_rec.h. */
#include "tests/lib/block_rec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/digest.h"

uint64_t rec_random(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* ---- log ---- */

void rec_log_free(struct rec_log *l)
{
	free(l->e);
	free(l->bytes);
	*l = (struct rec_log){.e = NULL};
}

void rec_log_clear(struct rec_log *l)
{
	l->n = 0;
	l->n_bytes = 0;
}

static size_t add(struct rec_log *l, struct rec_entry e)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 1024;
		l->e = reallocarray(l->e, l->cap, sizeof(*l->e));
		assert(l->e);
	}
	l->e[l->n] = e;
	return l->n++;
}

static size_t add_bytes(struct rec_log *l, size_t n)
{
	size_t at = l->n_bytes;

	while (l->n_bytes + n > l->cap_bytes) {
		l->cap_bytes = l->cap_bytes ? 2 * l->cap_bytes : 1u << 20;
		l->bytes = realloc(l->bytes, l->cap_bytes);
		assert(l->bytes);
	}
	l->n_bytes += n;
	return at;
}

void rec_log_note(struct rec_log *l, int what, uint64_t value)
{
	(void)add(l, (struct rec_entry){.kind = REC_NOTE, .what = what, .value = value});
}

/* ---- requests ---- */

static bool changes(enum block_op op)
{
	return op == BLOCK_WRITE || op == BLOCK_ZERO || op == BLOCK_DISCARD;
}

static void gather(const struct block_req *r, uint8_t *to)
{
	for (int i = 0; i < r->n_iov; i++) {
		memcpy(to, r->iov[i].iov_base, r->iov[i].iov_len);
		to += r->iov[i].iov_len;
	}
}

static void scatter(const struct block_req *r, const uint8_t *from)
{
	for (int i = 0; i < r->n_iov; i++) {
		memcpy(r->iov[i].iov_base, from, r->iov[i].iov_len);
		from += r->iov[i].iov_len;
	}
}

/* What is there after a change. */
static void outcome(const struct block_req *r, uint8_t *to)
{
	if (r->op == BLOCK_WRITE)
		gather(r, to);
	else
		memset(to, r->op == BLOCK_ZERO ? 0 : 0xdb, r->len);
}

static uint64_t sum_of(const struct block_req *r)
{
	uint64_t sum = 0;

	for (int i = 0; r->op == BLOCK_WRITE && i < r->n_iov; i++)
		sum = sum * 31 + digest_of(r->iov[i].iov_base, r->iov[i].iov_len);
	return sum;
}

static void check(const struct block_rec *s, const struct block_req *r)
{
	bool bare = r->op != BLOCK_READ && r->op != BLOCK_WRITE;
	uint64_t len = 0;

	for (int i = 0; i < r->n_iov; i++) {
		len += r->iov[i].iov_len;
		assert(r->iov[i].iov_len && r->iov[i].iov_len % s->base.block_size == 0);
		assert((uintptr_t)r->iov[i].iov_base % 512 == 0);
	}
	assert(r->n_iov <= BLOCK_IOVS && len == (bare ? 0 : r->len));
	if (r->op == BLOCK_SYNC) {
		assert(!r->off && !r->len);
		return;
	}
	assert(r->len && r->len % s->base.block_size == 0 && r->off % s->base.block_size == 0);
	assert(r->off < s->base.size && r->len <= s->base.size - r->off);
	for (size_t i = 0; i < s->n; i++) {
		const struct block_req *o = s->pending[i].r;

		assert(o->op == BLOCK_SYNC || (!changes(o->op) && !changes(r->op)) ||
		       o->off + o->len <= r->off || r->off + r->len <= o->off);
	}
}

static void rec_submit(struct block_store *base, struct block_req *r)
{
	struct block_rec *s = container_of(base, struct block_rec, base);
	size_t entry = 0;

	check(s, r);
	assert(s->n < REC_PENDING);
	s->count[r->op]++;
	r->rc = 0;
	if (s->dies_after == 0)
		r->rc = -ESHUTDOWN;
	else if (s->dies_after > 0)
		s->dies_after--;
	if (s->fail[r->op].n) {
		if (s->fail[r->op].after-- <= 0) {
			s->fail[r->op].n--;
			r->rc = s->fail[r->op].rc;
		}
	}
	if (s->log && r->op != BLOCK_READ && !r->rc) {
		struct rec_entry e = {.kind = REC_SUBMIT, .op = r->op, .store = s->id};

		e.off = r->off;
		e.len = r->len;
		e.data = changes(r->op) ? add_bytes(s->log, r->len) : 0;
		if (changes(r->op))
			outcome(r, s->log->bytes + e.data);
		entry = add(s->log, e);
	}
	s->pending[s->n].r = r;
	s->pending[s->n].entry = entry;
	s->pending[s->n].sum = sum_of(r);
	s->n++;
}

static void take_place(struct block_rec *s, const struct block_req *r)
{
	if (changes(r->op))
		outcome(r, s->view + r->off);
	else if (r->op == BLOCK_READ)
		scatter(r, s->view + r->off);
}

static void settle(struct block_rec *s, enum rec_kind kind, enum block_op op, size_t entry)
{
	if (s->log && op != BLOCK_READ)
		(void)add(s->log,
			  (struct rec_entry){.kind = kind, .op = op, .store = s->id, .ref = entry});
}

static int rec_wait(struct block_store *base)
{
	struct block_rec *s = container_of(base, struct block_rec, base);
	size_t i = 0;
	struct block_req *r;
	size_t entry;

	if (!s->n)
		return -ENOENT;
	if (s->seed)
		i = rec_below(s->seed, s->n);
	r = s->pending[i].r;
	entry = s->pending[i].entry;
	/* The buffers are the store's until now. */
	assert(s->pending[i].sum == sum_of(r));
	s->n--;
	memmove(&s->pending[i], &s->pending[i + 1], (s->n - i) * sizeof(s->pending[0]));
	if (!r->rc) {
		take_place(s, r);
		settle(s, REC_DONE, r->op, entry);
	}
	r->done(r, r->rc);
	return 0;
}

static const struct block_store_ops rec_ops = {.submit = rec_submit, .wait = rec_wait};

void block_rec_init(struct block_rec *s, uint8_t *view, uint64_t size, uint32_t block_size)
{
	*s = (struct block_rec){.view = view, .dies_after = -1};
	s->base = (struct block_store){.ops = &rec_ops, .size = size, .block_size = block_size};
}

void block_rec_fail(struct block_rec *s, enum block_op op, long after, long n, int rc)
{
	s->fail[op].after = after;
	s->fail[op].n = n;
	s->fail[op].rc = rc;
}

void block_rec_kill(struct block_rec *s, uint64_t *seed)
{
	while (s->n) {
		size_t i = --s->n;
		struct block_req *r = s->pending[i].r;
		bool happens = !r->rc && rec_below(seed, 2);

		if (happens)
			take_place(s, r);
		if (!r->rc)
			settle(s, happens ? REC_DONE : REC_CANCEL, r->op, s->pending[i].entry);
		r->done(r, -EIO);
	}
}
