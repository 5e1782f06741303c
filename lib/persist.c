/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See persist.h. */
#include "lib/persist.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/rd.h"
#include "lib/wr.h"

#define MAGIC 0x31747370 /* "pst1" */
#define HEADER_SIZE 40

static int write_all(int fd, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size) {
		ssize_t r = write(fd, p, size);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p += r;
		size -= (size_t)r;
	}
	return 0;
}

/* Reads up to size bytes; less only at the file's end. Returns their number. */
static ssize_t read_all(int fd, void *buf, size_t size)
{
	uint8_t *p = buf;
	size_t n = 0;

	while (n < size) {
		ssize_t r = read(fd, p + n, size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (ssize_t)n;
}

/* Makes a rename or an unlink in the folder of path durable. */
static int sync_folder(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX] = ".";
	autofd fd = -1;

	if (slash) {
		/* For a file in the root, keep the slash. */
		size_t n = slash == path ? 1 : (size_t)(slash - path);

		memcpy(folder, path, n);
		folder[n] = 0;
	}
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "open folder %s", folder);
	if (fsync(fd) < 0)
		return err_set(e, -errno, "sync folder %s", folder);
	return 0;
}

static int fill(const char *temp, const void *data, size_t size, mode_t mode, struct err *e)
{
	autofd fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return err_set(e, -errno, "create %s", temp);
	rc = write_all(fd, data, size);
	if (rc < 0)
		return err_set(e, rc, "write %zu bytes to %s", size, temp);
	if (fchmod(fd, mode) < 0)
		return err_set(e, -errno, "set the mode of %s", temp);
	if (fsync(fd) < 0)
		return err_set(e, -errno, "sync %s", temp);
	if (close(take_fd(&fd)) < 0)
		return err_set(e, -errno, "close %s", temp);
	return 0;
}

int persist_replace(const char *path, const void *data, size_t size, mode_t mode, struct err *e)
{
	char temp[PATH_MAX];
	int n = snprintf(temp, sizeof(temp), "%s.new", path);
	int rc;

	if (n < 0 || (size_t)n >= sizeof(temp))
		return err_set(e, -ENAMETOOLONG, "save %.64s...", path);
	rc = fill(temp, data, size, mode, e);
	if (!rc && rename(temp, path) < 0)
		rc = err_set(e, -errno, "rename %s to %s", temp, path);
	if (rc < 0) {
		(void)unlink(temp);
		return rc;
	}
	return sync_folder(path, e);
}

int persist_save(const char *path, const void *data, size_t size, uint64_t generation,
		 struct err *e)
{
	autofree uint8_t *file = NULL;
	struct wr w;

	if (size > PERSIST_MAX)
		return err_set(e, -EFBIG, "save %zu bytes to %s", size, path);
	file = mem_alloc(HEADER_SIZE + size);
	if (!file)
		return err_set(e, -ENOMEM, "save %s", path);
	w = wr_init(file, HEADER_SIZE + size);
	wr_u32(&w, MAGIC);
	wr_zero(&w, 4);
	wr_u64(&w, generation);
	wr_u64(&w, size);
	wr_u64(&w, digest_of(data, size));
	wr_u64(&w, digest_of(file, wr_used(&w)));
	wr_bytes(&w, data, size);
	assert(wr_ok(&w) && !wr_left(&w));
	return persist_replace(path, file, HEADER_SIZE + size, 0600, e);
}

/* The file as it is, header and all; *size_out: its size. At most PERSIST_MAX of payload. */
static int slurp(const char *path, uint8_t **file_out, size_t *size_out, struct err *e)
{
	autofd fd = open(path, O_RDONLY | O_CLOEXEC);
	autofree uint8_t *file = NULL;
	struct stat st;
	ssize_t r;

	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return err_setx(e, -EBADMSG, "%s is not a plain file", path);
	if (st.st_size < HEADER_SIZE || (uintmax_t)st.st_size > HEADER_SIZE + PERSIST_MAX)
		return err_setx(e, -EBADMSG, "%s is torn: %jd bytes are no saved state", path,
				(intmax_t)st.st_size);
	file = mem_alloc((size_t)st.st_size);
	if (!file)
		return err_set(e, -ENOMEM, "load %s", path);
	r = read_all(fd, file, (size_t)st.st_size);
	if (r < 0)
		return err_set(e, (int)r, "read %s", path);
	*size_out = (size_t)r;
	*file_out = take_ptr(&file);
	return 0;
}

int persist_load(const char *path, void *buf, size_t cap, size_t *size, uint64_t *generation,
		 struct err *e)
{
	autofree uint8_t *file = NULL;
	size_t file_size = 0;
	uint64_t header_digest;
	uint64_t digest;
	uint64_t gen;
	uint64_t n;
	struct rd r;
	int rc = slurp(path, &file, &file_size, e);

	if (rc < 0)
		return rc;
	r = rd_init(file, file_size);
	if (rd_u32(&r) != MAGIC)
		return err_setx(e, -EBADMSG, "%s is no saved state", path);
	rd_zero(&r, 4);
	gen = rd_u64(&r);
	n = rd_u64(&r);
	digest = rd_u64(&r);
	header_digest = rd_u64(&r);
	if (!rd_ok(&r) || header_digest != digest_of(file, HEADER_SIZE - 8))
		return err_setx(e, -EBADMSG, "%s is torn: its header does not add up", path);
	if (n != rd_left(&r))
		return err_setx(e, -EBADMSG, "%s is torn: %zu of %llu bytes are there", path,
				rd_left(&r), (unsigned long long)n);
	if (digest != digest_of(file + HEADER_SIZE, n))
		return err_setx(e, -EBADMSG, "%s is torn: its payload does not add up", path);
	if (n > cap)
		return err_setx(e, -EFBIG, "%s holds %llu bytes, at most %zu can be right", path,
				(unsigned long long)n, cap);
	rd_bytes(&r, buf, n);
	*size = n;
	*generation = gen;
	return 0;
}

int persist_remove(const char *path, struct err *e)
{
	if (unlink(path) < 0) {
		if (errno == ENOENT)
			return 0;
		return err_set(e, -errno, "remove %s", path);
	}
	return sync_folder(path, e);
}
