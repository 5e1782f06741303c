/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fake_disk.h. */
#include "tests/lib/fake_disk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct fake_disk *fake_of(struct blk_dev *d)
{
	return container_of(d, struct fake_disk, dev);
}

static int fake_submit(struct blk_dev *d, struct blk_req *r)
{
	struct fake_disk *f = fake_of(d);

	f->ended[f->n] = false;
	f->req[f->n++] = r;
	d->in_flight++;
	return 0;
}

static void fake_kick(struct blk_dev *d)
{
}

static void fake_reap(struct blk_dev *d)
{
	struct fake_disk *f = fake_of(d);
	eventfd_t unused;

	(void)!eventfd_read(d->event_fd, &unused);
	for (unsigned int i = 0; i < f->n;) {
		struct blk_req *r = f->req[i];

		if (!f->ended[i]) {
			i++;
			continue;
		}
		f->n--;
		for (unsigned int j = i; j < f->n; j++) {
			f->req[j] = f->req[j + 1];
			f->ended[j] = f->ended[j + 1];
		}
		d->in_flight--;
		r->done(r, r->rc);
	}
}

static void fake_close(struct blk_dev *d)
{
}

static const struct blk_ops fake_ops = {fake_submit, fake_kick, fake_reap, fake_close};

void fake_disk_init(struct fake_disk *f, unsigned int depth)
{
	memset(f, 0, sizeof(*f));
	f->data = calloc(1, FAKE_DISK_SIZE);
	assert(f->data);
	f->dev = (struct blk_dev){
		.ops = &fake_ops,
		.engine = "fake",
		.size = FAKE_DISK_SIZE,
		.block = 512,
		.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.depth = depth,
	};
}

void fake_disk_fini(struct fake_disk *f)
{
	close(f->dev.event_fd);
	free(f->data);
}

void fake_disk_end(struct fake_disk *f, unsigned int i, int rc)
{
	struct blk_req *r = f->req[i];

	assert(i < f->n && !f->ended[i]);
	if (rc == 0 && r->op == BLK_READ)
		memcpy(r->buf, f->data + r->off, r->len);
	else if (rc == 0 && r->op == BLK_WRITE)
		memcpy(f->data + r->off, r->buf, r->len);
	else if (rc == 0 && r->op == BLK_ZERO)
		memset(f->data + r->off, 0, r->len);
	r->rc = rc;
	f->ended[i] = true;
	(void)!eventfd_write(f->dev.event_fd, 1);
}
