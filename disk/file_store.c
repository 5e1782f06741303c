/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See file_store.h. */
#include "disk/file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"

#define CHUNK (1u << 20)

struct file_store {
	struct block_store base;
	int fd;
	uint8_t *zeroes;	 /* CHUNK of them */
	struct block_req *done;	 /* oldest first */
	struct block_req **last; /* where the next one goes */
};

/* ---- requests ---- */

/* Moves on by n bytes; the pieces are the request's own copy. */
static void advance(struct block_req *r, int *first, size_t n)
{
	r->off += n;
	r->len -= n;
	while (n) {
		struct iovec *v = &r->iov[*first];
		size_t part = MIN(n, v->iov_len);

		v->iov_base = (uint8_t *)v->iov_base + part;
		v->iov_len -= part;
		n -= part;
		if (!v->iov_len)
			++*first;
	}
}

static int transfer(int fd, struct block_req copy)
{
	int first = 0;

	while (copy.len) {
		const struct iovec *v = &copy.iov[first];
		int n = copy.n_iov - first;
		ssize_t r = copy.op == BLOCK_READ ? preadv(fd, v, n, (off_t)copy.off)
						  : pwritev(fd, v, n, (off_t)copy.off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		/* Nothing read within the store, or nothing written without an error. */
		if (r == 0)
			return -EIO;
		advance(&copy, &first, (size_t)r);
	}
	return 0;
}

static int write_zeroes(const struct file_store *f, uint64_t off, uint64_t len)
{
	while (len) {
		struct block_req r = {.op = BLOCK_WRITE, .n_iov = 1, .off = off};
		int rc;

		r.len = MIN(len, (uint64_t)CHUNK);
		r.iov[0] = (struct iovec){.iov_base = f->zeroes, .iov_len = r.len};
		rc = transfer(f->fd, r);
		if (rc < 0)
			return rc;
		off += r.len;
		len -= r.len;
	}
	return 0;
}

static bool not_known(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL || rc == -ENODEV;
}

static int allocate(int fd, int mode, uint64_t off, uint64_t len)
{
	return fallocate(fd, mode, (off_t)off, (off_t)len) < 0 ? -errno : 0;
}

static int carry_out(const struct file_store *f, const struct block_req *r)
{
	int rc = -EINVAL;

	switch (r->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		return transfer(f->fd, *r);
	case BLOCK_ZERO:
		rc = allocate(f->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, r->off, r->len);
		return not_known(rc) ? write_zeroes(f, r->off, r->len) : rc;
	case BLOCK_DISCARD:
		rc = allocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, r->off, r->len);
		return not_known(rc) ? 0 : rc;
	case BLOCK_SYNC:
		return fdatasync(f->fd) < 0 ? -errno : 0;
	}
	return rc;
}

static void file_submit(struct block_store *s, struct block_req *r)
{
	struct file_store *f = container_of(s, struct file_store, base);

	r->rc = carry_out(f, r);
	r->next = NULL;
	*f->last = r;
	f->last = &r->next;
}

static int file_wait(struct block_store *s)
{
	struct file_store *f = container_of(s, struct file_store, base);
	struct block_req *r = f->done;

	if (!r)
		return -ENOENT;
	f->done = r->next;
	if (!f->done)
		f->last = &f->done;
	r->done(r, r->rc);
	return 0;
}

/* ---- life ---- */

static const struct block_store_ops file_ops = {.submit = file_submit, .wait = file_wait};

static int measure(int fd, const char *path, struct block_store *s, struct err *e)
{
	struct stat st;
	int sector = 512;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "stat %s", path);
	if (S_ISREG(st.st_mode)) {
		s->size = (uint64_t)st.st_size;
		s->block_size = 512;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return err_setx(e, -EINVAL, "%s is neither a file nor a block device", path);
	if (ioctl(fd, BLKGETSIZE64, &s->size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
		return err_set(e, -errno, "ask the size of %s", path);
	s->block_size = (uint32_t)sector;
	return 0;
}

int file_store_open(const char *path, bool direct, bool want_4k, struct file_store **out,
		    struct err *e)
{
	struct file_store *f = mem_zalloc(sizeof(*f));
	int rc = -ENOMEM;

	if (!f)
		return err_set(e, rc, "open %s", path);
	f->base.ops = &file_ops;
	f->last = &f->done;
	f->zeroes = mem_aligned(4096, CHUNK);
	f->fd = open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	if (f->fd < 0)
		rc = err_set(e, -errno, "open %s", path);
	else if (!f->zeroes)
		rc = err_set(e, -ENOMEM, "open %s", path);
	else
		rc = measure(f->fd, path, &f->base, e);
	if (rc < 0) {
		file_store_free(f);
		return rc;
	}
	if (want_4k)
		f->base.block_size = 4096;
	*out = f;
	return 0;
}

void file_store_free(struct file_store *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	mem_free(f->zeroes);
	mem_free(f);
}

struct block_store *file_store_blocks(struct file_store *f)
{
	return &f->base;
}

/* ---- making one ---- */

static int fill(const char *path, uint64_t size, struct err *e)
{
	struct file_store *f = NULL;
	struct stat st;
	int rc = file_store_open(path, false, true, &f, e);

	if (!f)
		return rc;
	if (fstat(f->fd, &st) < 0)
		rc = err_set(e, -errno, "stat %s", path);
	else if (S_ISBLK(st.st_mode) && f->base.size < size)
		rc = err_setx(e, -ENOSPC, "%s has %llu bytes, the journal needs %llu", path,
			      (unsigned long long)f->base.size, (unsigned long long)size);
	else if (S_ISREG(st.st_mode))
		rc = allocate(f->fd, 0, 0, size);
	/* What fallocate cannot do, writing does. */
	if (!rc || (not_known(rc) && S_ISREG(st.st_mode)))
		rc = write_zeroes(f, 0, size);
	if (!rc && fsync(f->fd) < 0)
		rc = -errno;
	if (rc < 0 && !(e && e->rc))
		rc = err_set(e, rc, "make the journal %s of %llu bytes", path,
			     (unsigned long long)size);
	file_store_free(f);
	return rc;
}

int file_store_create(const char *path, uint64_t size, struct err *e)
{
	struct stat st;
	bool device = stat(path, &st) == 0 && S_ISBLK(st.st_mode);
	int rc;

	if (e)
		*e = ERR_INIT;
	if (!device) {
		autofd fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return err_set(e, -errno, "make the journal %s", path);
	}
	rc = fill(path, size, e);
	if (rc < 0 && !device)
		(void)unlink(path);
	return rc;
}
