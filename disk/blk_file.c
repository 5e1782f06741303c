/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See blk_file.h and blk_io.h. */
#include "disk/blk_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"

/* How long the last requests of a server that was killed may take: until then its locks stay. */
#define BUSY_WAIT_NS (5 * NS_PER_SEC)
#define BUSY_PAUSE_NS (50 * NS_PER_MS)

#define BLOCK_MIN 512u
#define BLOCK_MAX 65536u

static int open_data(const char *path, bool is_device, bool may_cache, struct err *e)
{
	int flags = O_RDWR | O_CLOEXEC | O_NOCTTY | (is_device ? O_EXCL : 0);
	int fd = open(path, flags | O_DIRECT);

	if (fd < 0 && errno == EINVAL && may_cache) {
		fd = open(path, flags);
		if (fd >= 0)
			log_warn("%s: no direct I/O there, the page cache is used", path);
	}
	if (fd >= 0)
		return fd;
	if (errno == EINVAL)
		return err_setx(e, -EINVAL, "open %s: no direct I/O (O_DIRECT) there", path);
	if (errno == EBUSY)
		return err_setx(e, -EBUSY, "open %s: it is mounted, or another process has it",
				path);
	return err_set(e, -errno, "open %s", path);
}

static int device_geometry(struct blk_file *f, const char *path, struct err *e)
{
	int block = 0;

	if (ioctl(f->fd, BLKGETSIZE64, &f->size) < 0 || ioctl(f->fd, BLKSSZGET, &block) < 0)
		return err_set(e, -errno, "size of %s", path);
	f->block = (uint32_t)block;
	return 0;
}

/* The smallest block that the file system reads; no other way is there to know on every kernel. */
static int file_geometry(struct blk_file *f, const char *path, off_t size, struct err *e)
{
	autofree void *buf = mem_aligned(BLK_ALIGN, BLK_ALIGN);
	struct iovec iov = {.iov_base = buf};

	if (!buf)
		return err_set(e, -ENOMEM, "open %s", path);
	f->size = (uint64_t)size;
	for (f->block = BLOCK_MIN; f->block <= BLK_ALIGN; f->block *= 2) {
		iov.iov_len = f->block;
		if (preadv2(f->fd, &iov, 1, 0, 0) >= 0)
			return 0;
		if (errno != EINVAL)
			return err_set(e, -errno, "read %s", path);
	}
	return err_setx(e, -EINVAL, "%s: no block size up to %d can be read there", path,
			BLK_ALIGN);
}

/* See blk_io.h for why it is this descriptor that is locked. */
static int lock_file(int fd, const char *path, struct err *e)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err_setx(e, -EBUSY, "%s: another process has it", path);
	return err_set(e, -errno, "lock %s", path);
}

static int check_geometry(const struct blk_file *f, const char *path, struct err *e)
{
	if (f->block < BLOCK_MIN || f->block > BLOCK_MAX || (f->block & (f->block - 1)))
		return err_setx(e, -EINVAL, "%s: blocks of %" PRIu32 " bytes", path, f->block);
	if (!f->size || f->size > INT64_MAX)
		return err_setx(e, -EINVAL, "%s has %" PRIu64 " bytes", path, f->size);
	if (f->size % f->block)
		return err_setx(e, -EINVAL,
				"%s has %" PRIu64 " bytes, no multiple of its block of %" PRIu32,
				path, f->size, f->block);
	return 0;
}

int blk_file_open(struct blk_file *f, const char *path, bool may_cache, struct err *e)
{
	autofd fd = -1;
	struct stat st;
	int rc;

	if (stat(path, &st) < 0)
		return err_set(e, -errno, "%s", path);
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
		return err_setx(e, -EINVAL, "%s is neither a block device nor a file", path);
	fd = open_data(path, S_ISBLK(st.st_mode), may_cache, e);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s", path);
	f->fd = fd;
	if (S_ISBLK(st.st_mode)) {
		rc = device_geometry(f, path, e);
	} else {
		rc = lock_file(fd, path, e);
		rc = rc ? rc : file_geometry(f, path, st.st_size, e);
	}
	if (!rc)
		rc = check_geometry(f, path, e);
	if (!rc)
		f->fd = take_fd(&fd);
	return rc;
}

int blk_open(const struct blk_conf *c, struct blk_dev **out, struct err *e)
{
	struct blk_file f = {.fd = -1};
	int rc;

	assert(c->depth >= 1 && c->depth <= BLK_DEPTH_MAX);
	rc = blk_file_open(&f, c->path, c->may_cache, e);
	if (rc < 0)
		return rc;
	if (c->engine != BLK_PLAIN) {
		rc = blk_uring_new_take(&f, c->depth, out, e);
		if (!rc)
			return 0;
		if (c->engine == BLK_AUTO)
			log_warn("%s: %s; going on without io_uring, slower", c->path, e->text);
	}
	if (c->engine != BLK_URING)
		rc = blk_plain_new_take(&f, c->depth, out, e);
	if (rc < 0)
		close(f.fd);
	return rc;
}

int blk_open_wait(const struct blk_conf *c, struct blk_dev **out, struct err *e)
{
	const struct timespec pause = clock_timespec(BUSY_PAUSE_NS);
	uint64_t give_up = clock_now() + BUSY_WAIT_NS;
	bool said = false;
	int rc;

	while ((rc = blk_open(c, out, e)) == -EBUSY && clock_now() < give_up) {
		if (!said)
			log_info("%s; waiting", e->text);
		said = true;
		nanosleep(&pause, NULL);
	}
	return rc;
}
