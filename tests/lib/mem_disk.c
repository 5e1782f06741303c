/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See mem_disk.h. */
#include "tests/lib/mem_disk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/mem.h"

struct mem_disk *mem_disk_next;

static struct mem_disk *mem_of(struct blk_dev *d)
{
	return container_of(d, struct mem_disk, dev);
}

static int mem_submit(struct blk_dev *d, struct blk_req *r)
{
	struct mem_disk *m = mem_of(d);

	assert(d->in_flight < MEM_DISK_QUEUE);
	assert(r->op == BLK_FLUSH || (r->off <= d->size && r->len <= d->size - r->off));
	m->queue[d->in_flight++] = r;
	(void)!eventfd_write(d->event_fd, 1);
	return 0;
}

static void mem_kick(struct blk_dev *d)
{
}

static int carry_out(struct mem_disk *m, const struct blk_req *r)
{
	if (r->op != BLK_READ && m->fails)
		return m->fails;
	switch (r->op) {
	case BLK_READ:
		memcpy(r->buf, m->now + r->off, r->len);
		return 0;
	case BLK_WRITE:
		memcpy(m->now + r->off, r->buf, r->len);
		break;
	case BLK_ZERO:
	case BLK_DISCARD:
		memset(m->now + r->off, 0, r->len);
		break;
	case BLK_FLUSH:
		/* In their order: just what ended before it was asked for. */
		memcpy(m->stable, m->now, m->dev.size);
		return 0;
	}
	if (r->fua)
		memcpy(m->stable + r->off, m->now + r->off, r->len);
	return 0;
}

bool mem_disk_step(struct mem_disk *m)
{
	struct blk_req *r = m->queue[0];

	if (!m->dev.in_flight)
		return false;
	m->dev.in_flight--;
	memmove(m->queue, m->queue + 1, m->dev.in_flight * sizeof(struct blk_req *));
	m->ops++;
	r->done(r, carry_out(m, r));
	return true;
}

static void mem_reap(struct blk_dev *d)
{
	struct mem_disk *m = mem_of(d);
	eventfd_t unused;

	if (m->by_hand)
		return;
	(void)!eventfd_read(d->event_fd, &unused);
	while (mem_disk_step(m))
		;
}

static void mem_close(struct blk_dev *d)
{
	assert(!d->in_flight);
}

static const struct blk_ops mem_ops = {
	.submit = mem_submit,
	.kick = mem_kick,
	.reap = mem_reap,
	.close = mem_close,
};

void mem_disk_init(struct mem_disk *m, uint64_t size)
{
	*m = (struct mem_disk){
		.dev = {.ops = &mem_ops,
			.engine = "memory",
			.size = size,
			.block = 512,
			.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			.depth = MEM_DISK_QUEUE},
		.now = calloc(1, size),
		.stable = calloc(1, size),
	};
	assert(m->now && m->stable && m->dev.event_fd >= 0);
}

void mem_disk_load(struct mem_disk *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	assert(fd >= 0 && fstat(fd, &st) == 0);
	mem_disk_init(m, (uint64_t)st.st_size);
	n = pread(fd, m->now, m->dev.size, 0);
	assert(n == st.st_size);
	memcpy(m->stable, m->now, m->dev.size);
	close(fd);
}

void mem_disk_fini(struct mem_disk *m)
{
	free(m->now);
	free(m->stable);
	close(m->dev.event_fd);
}

int __real_blk_open_wait(const struct blk_conf *c, struct blk_dev **out, struct err *e);
int __wrap_blk_open_wait(const struct blk_conf *c, struct blk_dev **out, struct err *e);
int __wrap_blk_open_wait(const struct blk_conf *c, struct blk_dev **out, struct err *e)
{
	struct mem_disk *m = mem_disk_next;

	if (!m)
		return __real_blk_open_wait(c, out, e);
	mem_disk_next = NULL;
	*out = &m->dev;
	return 0;
}
