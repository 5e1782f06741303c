/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See copy_reader.h. */
#include "disk/copy_reader.h"

#include <errno.h>
#include <poll.h>

#include "disk/block_server.h"
#include "disk/disk_state.h"
#include "disk/epoch_log.h"
#include "lib/mem.h"

enum reading_state {
	READING_FREE,
	READING_WAITS, /* for writes of the guest that are under way */
	READING_READY, /* held; the disk has no room yet */
	READING_ON_DISK,
	READING_TOLD, /* its word is to be said */
};

/* One for each of the copier's slots. */
struct reading {
	enum reading_state state;
	struct copy_reader *reader;
	struct block_hold hold;
	struct blk_req blk;
	struct copier_job job;
	void *buf;
	bool is_void;	/* of a stream that is over */
	uint64_t after; /* records that are taken before its word */
	struct copy_word word;
};

struct copy_reader {
	struct disk *disk;
	bool closed;
	uint64_t taken;
	struct reading *saying;
	struct reading readings[COPIER_SLOTS_MAX];
};

static void finish(struct reading *r, int rc)
{
	struct disk *d = r->reader->disk;
	struct epoch_log_stats st;

	if (!rc && r->job.kind != COPIER_COPY && !r->is_void) {
		epoch_log_get_stats(d->log, &st);
		r->after = r->reader->taken + st.queued_records;
		r->word = (struct copy_word){
			.kind = r->job.kind, .off = r->job.off, .len = r->job.len};
		digest_long_of(r->buf, r->job.len, r->word.digest);
	}
	tracker_copier_read(&d->tracker, &r->job, r->buf, rc);
	r->state = !rc && r->job.kind != COPIER_COPY && !r->is_void ? READING_TOLD : READING_FREE;
	block_server_let_go(d->conf.server, &r->hold);
}

static void on_read(struct blk_req *req, int rc)
{
	finish(container_of(req, struct reading, blk), rc);
}

static void submit(struct reading *r)
{
	r->state = blk_submit(r->reader->disk->conf.blk, &r->blk) == 0 ? READING_ON_DISK
								       : READING_READY;
}

static void on_granted(struct block_hold *h)
{
	struct reading *r = container_of(h, struct reading, hold);

	if (!r->reader->closed)
		submit(r);
}

static void start(struct copy_reader *c, const struct copier_job *job)
{
	struct reading *r = &c->readings[job->slot];

	assert(r->state == READING_FREE || r->state == READING_TOLD);
	r->job = *job;
	r->is_void = false;
	r->hold = (struct block_hold){.range = {.off = job->off, .len = job->len},
				      .granted = on_granted};
	r->blk = (struct blk_req){
		.op = BLK_READ,
		.off = job->off,
		.len = job->len,
		.buf = r->buf,
		.done = on_read,
	};
	r->state = READING_WAITS;
	if (block_server_hold(c->disk->conf.server, &r->hold))
		submit(r);
}

void copy_reader_go_on(struct copy_reader *c, uint64_t now)
{
	struct copier_job job;

	if (c->closed)
		return;
	for (unsigned int i = 0; i < COPIER_SLOTS_MAX; i++)
		if (c->readings[i].state == READING_READY)
			submit(&c->readings[i]);
	while (copier_next(c->disk->copier, now, &job))
		start(c, &job);
}

void copy_reader_begin(struct copy_reader *c)
{
	c->saying = NULL;
	for (unsigned int i = 0; i < COPIER_SLOTS_MAX; i++) {
		struct reading *r = &c->readings[i];

		r->is_void = r->state != READING_FREE && r->state != READING_TOLD;
		if (r->state == READING_TOLD)
			r->state = READING_FREE;
	}
}

void copy_reader_taken(struct copy_reader *c, uint64_t n)
{
	c->taken += n;
}

bool copy_reader_next(struct copy_reader *c, struct copy_word *out)
{
	for (unsigned int i = 0; !c->saying && i < COPIER_SLOTS_MAX; i++) {
		struct reading *r = &c->readings[i];

		if (r->state == READING_TOLD && c->taken >= r->after)
			c->saying = r;
	}
	if (c->saying)
		*out = c->saying->word;
	return c->saying != NULL;
}

void copy_reader_said(struct copy_reader *c)
{
	c->saying->state = READING_FREE;
	c->saying = NULL;
}

static bool reads(const struct copy_reader *c)
{
	for (unsigned int i = 0; i < COPIER_SLOTS_MAX; i++)
		if (c->readings[i].state == READING_ON_DISK)
			return true;
	return false;
}

void copy_reader_close(struct copy_reader *c)
{
	struct blk_dev *d = c->disk->conf.blk;

	c->closed = true;
	while (reads(c)) {
		struct pollfd p = {.fd = d->event_fd, .events = POLLIN};

		blk_kick(d);
		if (poll(&p, 1, -1) > 0)
			blk_reap(d);
	}
}

int copy_reader_new(struct copy_reader **out, struct disk *d)
{
	struct copy_reader *c = mem_zalloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->disk = d;
	for (unsigned int i = 0; i < DISK_COPY_SLOTS; i++) {
		c->readings[i].reader = c;
		c->readings[i].buf = mem_aligned(BLK_ALIGN, DISK_CHUNK);
		if (!c->readings[i].buf) {
			copy_reader_free(c);
			return -ENOMEM;
		}
	}
	*out = c;
	return 0;
}

void copy_reader_free(struct copy_reader *c)
{
	if (!c)
		return;
	for (unsigned int i = 0; i < COPIER_SLOTS_MAX; i++)
		mem_free(c->readings[i].buf);
	mem_free(c);
}
