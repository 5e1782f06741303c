/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk I/O by io_uring; the only file that sees liburing. A request has one call in flight at a time. See blk_io.h. */
#include <liburing.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "disk/blk_file.h"
#include "disk/blk_step.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

struct blk_uring {
	struct blk_dev dev;
	int fd;
	bool has_ring;
	void *zeroes;
	struct io_uring ring;
};

static struct blk_uring *uring_of(struct blk_dev *d)
{
	return container_of(d, struct blk_uring, dev);
}

static void uring_kick(struct blk_dev *d)
{
	struct blk_uring *u = uring_of(d);
	int r;

	if (!io_uring_sq_ready(&u->ring))
		return;
	do {
		r = io_uring_submit(&u->ring);
	} while (r == -EINTR);
	if (r >= 0 && !io_uring_sq_ready(&u->ring))
		return;
	/* Short of memory: they stay in the ring, and the next turn of the loop tries again. */
	if (r < 0)
		log_limited(LOG_AT_WARN, "io_uring: %s; trying again", strerrordesc_np(-r));
	(void)!eventfd_write(d->event_fd, 1);
}

static void queue_next(struct blk_uring *u, struct blk_req *r)
{
	struct blk_step s = blk_step_next(r, u->zeroes);
	/* The ring has as many places as there may be requests. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	assert(sqe);
	switch (s.call) {
	case BLK_CALL_READ:
		io_uring_prep_read(sqe, u->fd, s.buf, s.len, s.off);
		break;
	case BLK_CALL_WRITE:
		io_uring_prep_write(sqe, u->fd, s.buf, s.len, s.off);
		sqe->rw_flags = s.flags;
		break;
	case BLK_CALL_FALLOCATE:
		io_uring_prep_fallocate(sqe, u->fd, s.flags, (off_t)s.off, s.len);
		break;
	case BLK_CALL_SYNC:
		io_uring_prep_fsync(sqe, u->fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, r);
}

static int uring_submit(struct blk_dev *d, struct blk_req *r)
{
	queue_next(uring_of(d), r);
	d->in_flight++;
	return 0;
}

static void uring_reap(struct blk_dev *d)
{
	struct blk_uring *u = uring_of(d);
	struct io_uring_cqe *cqe;
	eventfd_t unused;

	(void)!eventfd_read(d->event_fd, &unused);
	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		struct blk_req *r = io_uring_cqe_get_data(cqe);
		bool finished = blk_step_result(r, cqe->res);

		io_uring_cqe_seen(&u->ring, cqe);
		if (finished) {
			d->in_flight--;
			r->done(r, r->rc);
		} else {
			queue_next(u, r);
		}
	}
	uring_kick(d);
}

static void uring_free(struct blk_uring *u)
{
	if (u->has_ring)
		io_uring_queue_exit(&u->ring);
	if (u->dev.event_fd >= 0)
		close(u->dev.event_fd);
	mem_free(u->zeroes);
	mem_free(u);
}

static void uring_close(struct blk_dev *d)
{
	struct blk_uring *u = uring_of(d);

	assert(!d->in_flight);
	close(u->fd);
	uring_free(u);
}

static const struct blk_ops uring_ops = {
	.submit = uring_submit,
	.kick = uring_kick,
	.reap = uring_reap,
	.close = uring_close,
};

static int make_ring(struct blk_uring *u, struct err *e)
{
	int r = io_uring_queue_init(u->dev.depth, &u->ring, 0);

	if (r < 0)
		return err_set(e, r, "io_uring");
	u->has_ring = true;
	r = io_uring_register_eventfd(&u->ring, u->dev.event_fd);
	return r < 0 ? err_set(e, r, "io_uring's eventfd") : 0;
}

int blk_uring_new_take(const struct blk_file *f, unsigned int depth, struct blk_dev **out,
		       struct err *e)
{
	struct blk_uring *u = mem_zalloc(sizeof(*u));
	int rc;

	if (!u)
		return err_set(e, -ENOMEM, "disk I/O");
	u->dev = (struct blk_dev){
		.ops = &uring_ops,
		.engine = "uring",
		.size = f->size,
		.block = f->block,
		.depth = depth,
		.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	u->fd = f->fd;
	u->zeroes = mem_aligned(BLK_ALIGN, BLK_ZEROES_SIZE);
	if (u->dev.event_fd < 0 || !u->zeroes)
		rc = err_set(e, -ENOMEM, "disk I/O");
	else
		rc = make_ring(u, e);
	if (rc < 0)
		uring_free(u);
	else
		*out = &u->dev;
	return rc;
}
