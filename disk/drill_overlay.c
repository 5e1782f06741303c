/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See drill_overlay.h. By plain system calls within blk_reap(), like blk_plain.c: whoever saves must be sure that no read of
 * the disk is under way meanwhile.
 */
#include "disk/drill_overlay.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"

#define DEPTH BLK_DEPTH_MAX
#define BLOCK 512
/* In one turn: who waits for a part to be saved is waited for, and must not stand behind all that a copy asks for. */
#define REAP_BYTES (UINT64_C(1) << 20)

struct drill_overlay {
	struct blk_dev dev;
	int base;
	int file;
	uint64_t limit;
	uint64_t spare;
	bool broken;
	bool full;
	uint32_t *slot; /* of each chunk, from 1 on; 0: it is not in the file */
	uint64_t n_chunks;
	uint32_t n_slots;
	uint8_t *chunk; /* scratch */
	struct blk_req *first;
	struct blk_req **end;
};

static struct drill_overlay *overlay_of(struct blk_dev *d)
{
	return container_of(d, struct drill_overlay, dev);
}

/* ---- all of a range, or an error ---- */

static int move_all(int fd, uint8_t *buf, uint64_t len, uint64_t off, bool out)
{
	while (len) {
		ssize_t n = out ? pwrite(fd, buf, len, (off_t)off)
				: pread(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		buf += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static uint64_t chunk_len(const struct drill_overlay *o, uint64_t i)
{
	return MIN((uint64_t)DRILL_CHUNK, o->dev.size - i * DRILL_CHUNK);
}

/* A whole chunk of the disk into the scratch; the last one may be shorter than what is asked for. */
static int read_base(struct drill_overlay *o, uint64_t i)
{
	uint64_t got = 0;

	if (o->broken)
		return -EIO;
	while (got < chunk_len(o, i)) {
		ssize_t n = pread(o->base, o->chunk + got, DRILL_CHUNK - got,
				  (off_t)(i * DRILL_CHUNK + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		got += (uint64_t)n;
	}
	return 0;
}

/* Its place in the file. */
static uint64_t place(const struct drill_overlay *o, uint64_t i)
{
	return (uint64_t)(o->slot[i] - 1) * DRILL_CHUNK;
}

/* Bytes that may still go into the file's file system. What cannot be asked is none. */
static uint64_t room(const struct drill_overlay *o)
{
	struct statvfs st;
	uint64_t bytes;

	if (fstatvfs(o->file, &st) < 0)
		return 0;
	/* One that has no size of its own (ramfs). */
	if (!st.f_blocks)
		return UINT64_MAX;
	bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return bytes > o->spare ? bytes - o->spare : 0;
}

static bool is_full(const struct drill_overlay *o)
{
	return ((uint64_t)o->n_slots + 1) * DRILL_CHUNK > o->limit || room(o) < DRILL_CHUNK;
}

/* The chunk is in the file then, as it is on the disk. */
static int bring(struct drill_overlay *o, uint64_t i)
{
	uint64_t len = chunk_len(o, i);
	int rc;

	if (o->slot[i])
		return 0;
	rc = is_full(o) ? -ENOSPC : read_base(o, i);
	if (rc == 0)
		rc = move_all(o->file, o->chunk, len, (uint64_t)o->n_slots * DRILL_CHUNK, true);
	if (rc == 0)
		o->slot[i] = ++o->n_slots;
	o->full |= rc == -ENOSPC;
	return rc;
}

int drill_overlay_save(struct blk_dev *d, uint64_t off, uint64_t len)
{
	struct drill_overlay *o = overlay_of(d);
	int rc = 0;

	if (off > d->size || len > d->size - off)
		return -EINVAL;
	for (uint64_t i = off / DRILL_CHUNK; rc == 0 && len && i <= (off + len - 1) / DRILL_CHUNK;
	     i++)
		rc = bring(o, i);
	return rc;
}

/* ---- requests ---- */

/* A part of a request that is within one chunk. buf NULL: zeroes. */
static int do_part(struct drill_overlay *o, enum blk_op op, uint64_t off, uint64_t len,
		   uint8_t *buf)
{
	uint64_t i = off / DRILL_CHUNK;
	uint64_t in = off % DRILL_CHUNK;
	int rc;

	if (op == BLK_READ && !o->slot[i]) {
		assert(buf);
		rc = read_base(o, i);
		if (rc == 0)
			memcpy(buf, o->chunk + in, len);
		return rc;
	}
	rc = bring(o, i);
	if (rc < 0)
		return rc;
	if (op == BLK_ZERO) {
		memset(o->chunk, 0, len);
		buf = o->chunk;
	}
	return move_all(o->file, buf, len, place(o, i) + in, op != BLK_READ);
}

static int carry_out(struct drill_overlay *o, const struct blk_req *r)
{
	uint64_t done = 0;
	int rc = 0;

	if (o->broken)
		return -EIO;
	/* Nothing of a drill is to outlive anything. */
	if (r->op == BLK_FLUSH || r->op == BLK_DISCARD)
		return 0;
	while (rc == 0 && done < r->len) {
		uint64_t off = r->off + done;
		uint64_t len = MIN(r->len - done, DRILL_CHUNK - off % DRILL_CHUNK);

		rc = do_part(o, r->op, off, len, r->buf ? (uint8_t *)r->buf + done : NULL);
		done += len;
	}
	return rc;
}

static int overlay_submit(struct blk_dev *d, struct blk_req *r)
{
	struct drill_overlay *o = overlay_of(d);

	r->next = NULL;
	*o->end = r;
	o->end = &r->next;
	d->in_flight++;
	return 0;
}

static void overlay_kick(struct blk_dev *d)
{
	if (overlay_of(d)->first)
		(void)!eventfd_write(d->event_fd, 1);
}

static void overlay_reap(struct blk_dev *d)
{
	struct drill_overlay *o = overlay_of(d);
	uint64_t bytes = 0;
	eventfd_t unused;

	(void)!eventfd_read(d->event_fd, &unused);
	while (o->first && bytes < REAP_BYTES) {
		struct blk_req *r = o->first;

		o->first = r->next;
		if (!o->first)
			o->end = &o->first;
		/* A small one moves a whole chunk. */
		bytes += MAX((uint64_t)r->len, (uint64_t)DRILL_CHUNK);
		d->in_flight--;
		r->done(r, carry_out(o, r));
	}
	overlay_kick(d);
}

static void overlay_close(struct blk_dev *d)
{
	struct drill_overlay *o = overlay_of(d);

	if (d->event_fd >= 0)
		close(d->event_fd);
	if (o->base >= 0)
		close(o->base);
	if (o->file >= 0)
		close(o->file);
	mem_free(o->slot);
	mem_free(o->chunk);
	mem_free(o);
}

static const struct blk_ops overlay_ops = {
	.submit = overlay_submit,
	.kick = overlay_kick,
	.reap = overlay_reap,
	.close = overlay_close,
};

void drill_overlay_break(struct blk_dev *d)
{
	overlay_of(d)->broken = true;
}

bool drill_overlay_is_full(const struct blk_dev *d)
{
	return container_of(d, struct drill_overlay, dev)->full;
}

uint64_t drill_overlay_used(const struct blk_dev *d)
{
	const struct drill_overlay *o = container_of(d, struct drill_overlay, dev);

	return (uint64_t)o->n_slots * DRILL_CHUNK;
}

/* ---- making ---- */

/* Not by the page cache, which would not see what the server writes past it. */
static int open_base(struct drill_overlay *o, const struct drill_overlay_conf *c, struct err *e)
{
	struct stat st;
	int block = BLOCK;

	o->base = open(c->base, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_DIRECT);
	if (o->base < 0 && errno == EINVAL && c->may_cache)
		o->base = open(c->base, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (o->base < 0 || fstat(o->base, &st) < 0)
		return err_set(e, -errno, "open %s", c->base);
	o->dev.size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && (ioctl(o->base, BLKGETSIZE64, &o->dev.size) < 0 ||
				    ioctl(o->base, BLKSSZGET, &block) < 0))
		return err_set(e, -errno, "size of %s", c->base);
	/* It is read by whole chunks, whatever the file system below a file can do. */
	o->dev.block = (uint32_t)block;
	if (!o->dev.size || o->dev.size % o->dev.block)
		return err_setx(e, -EINVAL, "%s has %" PRIu64 " bytes, no multiple of %u", c->base,
				o->dev.size, o->dev.block);
	return 0;
}

static int set_up(struct drill_overlay *o, const struct drill_overlay_conf *c, struct err *e)
{
	int rc = open_base(o, c, e);

	if (rc < 0)
		return rc;
	o->n_chunks = (o->dev.size + DRILL_CHUNK - 1) / DRILL_CHUNK;
	o->limit = MIN(c->limit, (uint64_t)UINT32_MAX * DRILL_CHUNK);
	o->slot = mem_array(o->n_chunks, sizeof(*o->slot));
	o->chunk = mem_aligned(BLK_ALIGN, DRILL_CHUNK);
	o->dev.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!o->slot || !o->chunk || o->dev.event_fd < 0)
		return err_set(e, -ENOMEM, "a view of %s", c->base);
	o->file = open(c->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (o->file < 0)
		return err_set(e, -errno, "make a file in %s", c->dir);
	o->spare = c->spare;
	if (room(o) < DRILL_CHUNK)
		return err_setx(e, -ENOSPC,
				"%s: a drill leaves %" PRIu64
				" MiB free there, and no more are: free some, "
				"or set drill.overlay-dir to where there is room",
				c->dir, c->spare >> 20);
	return 0;
}

int drill_overlay_new(struct blk_dev **out, const struct drill_overlay_conf *c, struct err *e)
{
	struct drill_overlay *o = mem_zalloc(sizeof(*o));
	int rc;

	if (!o)
		return err_set(e, -ENOMEM, "a view of %s", c->base);
	o->dev = (struct blk_dev){
		.ops = &overlay_ops, .engine = "overlay", .depth = DEPTH, .event_fd = -1};
	o->base = o->file = -1;
	o->end = &o->first;
	rc = set_up(o, c, e);
	if (rc < 0) {
		overlay_close(&o->dev);
		return rc;
	}
	*out = &o->dev;
	return 0;
}
