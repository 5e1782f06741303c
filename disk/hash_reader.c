/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See hash_reader.h. */
#include "disk/hash_reader.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "disk/disk_state.h"
#include "lib/digest.h"
#include "lib/mem.h"

#define READERS 4
#define QUESTIONS (2 * WIRE_MAX_UNANSWERED)

static_assert(WIRE_DISK_HASH_SIZE == DIGEST_LONG_SIZE, "one digest");

struct question {
	bool is_verify;
	struct wire_disk_range range; /* VERIFY: one chunk, of any length */
	uint64_t epoch;
	uint8_t *hashes;
	uint8_t *bits;
	bool unread;
	uint32_t next; /* chunk to be read */
	uint32_t done;
};

struct reader {
	struct hash_reader *owner;
	struct question *q; /* NULL: free */
	bool is_void;
	uint32_t chunk;
	struct blk_req blk;
	void *buf;
};

struct hash_reader {
	struct disk *disk;
	struct question questions[QUESTIONS]; /* first..first + n, in a circle */
	unsigned int first;
	unsigned int n;
	struct reader readers[READERS];
};

static struct question *at(struct hash_reader *h, unsigned int i)
{
	return &h->questions[(h->first + i) % QUESTIONS];
}

static int ask(struct hash_reader *h, const struct question *q, const uint8_t *hashes)
{
	struct question *mine = at(h, h->n);

	if (h->n == QUESTIONS)
		return -EPROTO;
	*mine = *q;
	mine->hashes = mem_dup(hashes, (size_t)q->range.count * WIRE_DISK_HASH_SIZE);
	mine->bits = mem_zalloc((q->range.count + 7) / 8);
	if (!mine->hashes || !mine->bits) {
		mem_free(mine->hashes);
		mem_free(mine->bits);
		return -ENOMEM;
	}
	h->n++;
	return 0;
}

int hash_reader_ask(struct hash_reader *h, const struct wire_disk_range *range,
		    const uint8_t *hashes)
{
	const struct question q = {.range = *range};

	return ask(h, &q, hashes);
}

int hash_reader_verify(struct hash_reader *h, const struct wire_disk_verify *v, uint64_t epoch)
{
	const struct question q = {
		.is_verify = true,
		.epoch = epoch,
		.range = {.disk = v->disk, .chunk = v->len, .off = v->off, .count = 1},
	};

	return ask(h, &q, v->hash);
}

static void drop_first(struct hash_reader *h)
{
	struct question *q = at(h, 0);

	mem_free(q->hashes);
	mem_free(q->bits);
	*q = (struct question){.next = 0};
	h->first = (h->first + 1) % QUESTIONS;
	h->n--;
}

void hash_reader_forget(struct hash_reader *h)
{
	for (unsigned int i = 0; i < READERS; i++)
		h->readers[i].is_void = true;
	while (h->n)
		drop_first(h);
}

static void on_read(struct blk_req *req, int rc)
{
	struct reader *r = container_of(req, struct reader, blk);
	struct question *q = r->q;
	uint8_t digest[DIGEST_LONG_SIZE] = {0};

	r->q = NULL;
	if (r->is_void)
		return;
	q->done++;
	q->unread = q->unread || rc < 0;
	if (!rc)
		digest_long_of(r->buf, req->len, digest);
	/* What cannot be read is wanted: writing may help, and if not, says so. */
	if (rc < 0 ||
	    memcmp(digest, q->hashes + (size_t)r->chunk * DIGEST_LONG_SIZE, DIGEST_LONG_SIZE) != 0)
		q->bits[r->chunk / 8] = (uint8_t)(q->bits[r->chunk / 8] | 1u << r->chunk % 8);
}

static struct question *next_question(struct hash_reader *h, uint64_t applied)
{
	for (unsigned int i = 0; i < h->n; i++) {
		struct question *q = at(h, i);

		if (q->next == q->range.count)
			continue;
		if (!q->is_verify || (applied != FRAME_NO_EPOCH && q->epoch <= applied))
			return q;
	}
	return NULL;
}

void hash_reader_go_on(struct hash_reader *h, uint64_t applied)
{
	for (unsigned int i = 0; i < READERS; i++) {
		struct reader *r = &h->readers[i];
		struct question *q = r->q ? NULL : next_question(h, applied);
		uint64_t off;

		if (!q)
			continue;
		off = q->range.off + (uint64_t)q->next * q->range.chunk;
		r->blk = (struct blk_req){
			.op = BLK_READ,
			.off = off,
			.len = (uint32_t)MIN((uint64_t)q->range.chunk,
					     h->disk->conf.blk->size - off),
			.buf = r->buf,
			.done = on_read,
		};
		r->chunk = q->next;
		r->is_void = false;
		if (blk_submit(h->disk->conf.blk, &r->blk) < 0)
			return;
		r->q = q;
		q->next++;
	}
}

bool hash_reader_next(const struct hash_reader *h, struct hash_answer *out)
{
	const struct question *q = &h->questions[h->first];

	if (!h->n || q->done < q->range.count)
		return false;
	*out = (struct hash_answer){
		.is_verify = q->is_verify,
		.range = q->range,
		.bits = q->bits,
		.epoch = q->epoch,
		.verified = {.disk = q->range.disk, .len = q->range.chunk, .off = q->range.off},
	};
	if (q->is_verify)
		out->verified.result = (uint16_t)(q->unread    ? WIRE_VERIFY_UNREADABLE
						  : q->bits[0] ? WIRE_VERIFY_DIFFERENT
							       : WIRE_VERIFY_EQUAL);
	return true;
}

void hash_reader_said(struct hash_reader *h)
{
	drop_first(h);
}

int hash_reader_new(struct hash_reader **out, struct disk *d)
{
	struct hash_reader *h = mem_zalloc(sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->disk = d;
	for (unsigned int i = 0; i < READERS; i++) {
		h->readers[i].owner = h;
		h->readers[i].buf = mem_aligned(BLK_ALIGN, WIRE_MAX_CHUNK);
		if (!h->readers[i].buf) {
			hash_reader_free(h);
			return -ENOMEM;
		}
	}
	*out = h;
	return 0;
}

static bool reads(const struct hash_reader *h)
{
	bool some = false;

	for (unsigned int i = 0; i < READERS; i++)
		some = some || h->readers[i].q;
	return some;
}

static void wait_for_disk(struct hash_reader *h)
{
	while (reads(h)) {
		struct blk_dev *d = h->disk->conf.blk;
		struct pollfd p = {.fd = d->event_fd, .events = POLLIN};

		blk_kick(d);
		if (poll(&p, 1, -1) > 0)
			blk_reap(d);
	}
}

void hash_reader_free(struct hash_reader *h)
{
	if (!h)
		return;
	hash_reader_forget(h);
	wait_for_disk(h);
	for (unsigned int i = 0; i < READERS; i++)
		mem_free(h->readers[i].buf);
	mem_free(h);
}
