/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See journal_impl.h. What recovery brings to the disk, in passes: as many records as there are places and memory for, in
 * the order of their epochs; of those that overlap the last one wins, and neighbours go together. So blocks that a guest
 * writes all the time, a file system's journal or the end of a log, are written once a pass and not once an epoch. Uses what
 * applying uses, for nothing is applied yet. Blocks.
 */
#include "disk/journal_impl.h"

#include <string.h>

static void written(struct block_req *req, int rc)
{
	struct replay *p = req->arg;

	p->j->io_busy &= ~(1ull << (req - p->j->io));
	if (rc < 0 && !p->rc)
		p->rc = rc;
}

static void wait_for_one(struct journal *j)
{
	int rc = j->disk->ops->wait(j->disk);

	/* What is in flight is ours, and comes back. */
	assert(rc == 0);
}

static struct block_req *request(struct replay *p, enum block_op op, uint64_t off)
{
	struct block_req *req;

	while (!(req = io_get(p->j, op, off)))
		wait_for_one(p->j);
	req->done = written;
	req->arg = p;
	return req;
}

int replay_flush(struct replay *p)
{
	struct journal *j = p->j;
	size_t n = coalesce(j->ext, p->n, j->scratch, j->pieces);

	for (size_t i = 0; i < n && !p->rc;) {
		struct block_req *req = request(p, piece_op(j, &j->pieces[i]), j->pieces[i].off);

		while (i < n && piece_add(j, req, &j->pieces[i]))
			i++;
		j->io_busy |= 1ull << (req - j->io);
		block_submit(j->disk, req);
	}
	while (j->io_busy)
		wait_for_one(j);
	p->n = 0;
	p->used = 0;
	return p->rc;
}

/* Larger than the memory for them all. */
static int write_alone(struct replay *p, const struct journal_desc *d, uint8_t *data)
{
	int rc = replay_flush(p);

	return rc ? rc : block_do(p->j->disk, BLOCK_WRITE, d->off, data, d->len);
}

int replay_add(struct replay *p, const struct journal_desc *d, uint8_t *data)
{
	struct journal *j = p->j;
	uint32_t len = d->op == JOURNAL_WRITE ? d->len : 0;
	int rc = 0;

	if (len > j->ram_size)
		return write_alone(p, d, data);
	if (p->n == j->pass_records || p->used + len > j->ram_size)
		rc = replay_flush(p);
	if (rc < 0)
		return rc;
	if (len)
		memcpy(j->ram + p->used, data, len);
	j->ext[p->n] = (struct extent){.off = d->off, .end = d->off + d->len};
	j->src[p->n] = (struct pass_rec){.data = j->ram + p->used, .op = (enum journal_op)d->op};
	p->n++;
	p->used += len;
	return 0;
}
