/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk I/O by plain system calls, one after the other, within blk_reap(). See blk_io.h. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk/blk_file.h"
#include "disk/blk_step.h"
#include "lib/err.h"
#include "lib/mem.h"

struct blk_plain {
	struct blk_dev dev;
	int fd;
	void *zeroes;
	struct blk_req *first; /* in the order in which they came */
	struct blk_req **end;
};

static struct blk_plain *plain_of(struct blk_dev *d)
{
	return container_of(d, struct blk_plain, dev);
}

static int plain_submit(struct blk_dev *d, struct blk_req *r)
{
	struct blk_plain *p = plain_of(d);

	r->next = NULL;
	*p->end = r;
	p->end = &r->next;
	d->in_flight++;
	return 0;
}

static void plain_kick(struct blk_dev *d)
{
	/* It cannot overflow: every reap takes it back to 0. */
	if (plain_of(d)->first)
		(void)!eventfd_write(d->event_fd, 1);
}

static ssize_t make_call(const struct blk_plain *p, const struct blk_step *s)
{
	struct iovec iov = {.iov_base = s->buf, .iov_len = s->len};
	ssize_t r = -1;

	switch (s->call) {
	case BLK_CALL_READ:
		r = preadv2(p->fd, &iov, 1, (off_t)s->off, s->flags);
		break;
	case BLK_CALL_WRITE:
		r = pwritev2(p->fd, &iov, 1, (off_t)s->off, s->flags);
		break;
	case BLK_CALL_FALLOCATE:
		r = fallocate(p->fd, s->flags, (off_t)s->off, s->len);
		break;
	case BLK_CALL_SYNC:
		r = fdatasync(p->fd);
		break;
	}
	return r < 0 ? -errno : r;
}

static void plain_reap(struct blk_dev *d)
{
	struct blk_plain *p = plain_of(d);
	struct blk_req *r = p->first;
	eventfd_t unused;

	(void)!eventfd_read(d->event_fd, &unused);
	p->first = NULL;
	p->end = &p->first;
	while (r) {
		struct blk_req *next = r->next;
		struct blk_step step;

		do {
			step = blk_step_next(r, p->zeroes);
		} while (!blk_step_result(r, make_call(p, &step)));
		d->in_flight--;
		r->done(r, r->rc);
		r = next;
	}
}

static void plain_free(struct blk_plain *p)
{
	if (p->dev.event_fd >= 0)
		close(p->dev.event_fd);
	mem_free(p->zeroes);
	mem_free(p);
}

static void plain_close(struct blk_dev *d)
{
	struct blk_plain *p = plain_of(d);

	assert(!d->in_flight);
	close(p->fd);
	plain_free(p);
}

static const struct blk_ops plain_ops = {
	.submit = plain_submit,
	.kick = plain_kick,
	.reap = plain_reap,
	.close = plain_close,
};

int blk_plain_new_take(const struct blk_file *f, unsigned int depth, struct blk_dev **out,
		       struct err *e)
{
	struct blk_plain *p = mem_zalloc(sizeof(*p));

	if (!p)
		return err_set(e, -ENOMEM, "disk I/O");
	p->dev = (struct blk_dev){
		.ops = &plain_ops,
		.engine = "plain",
		.size = f->size,
		.block = f->block,
		.depth = depth,
		.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	p->fd = f->fd;
	p->end = &p->first;
	p->zeroes = mem_aligned(BLK_ALIGN, BLK_ZEROES_SIZE);
	if (p->dev.event_fd < 0 || !p->zeroes) {
		plain_free(p);
		return err_set(e, -ENOMEM, "disk I/O");
	}
	*out = &p->dev;
	return 0;
}
