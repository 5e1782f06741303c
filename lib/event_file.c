/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See event_file.h. */
#include "lib/event_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/json_in.h"

/* Somebody rotates while we open: look again. */
#define OPEN_TRIES 8
/* Whoever has the lock renames four files; one that was stopped over it is not waited for. */
#define LOCK_TRIES 20
#define LOCK_POLL_MS 10

static int make_path(char path[EVENT_FILE_PATH], const char *dir, struct err *e)
{
	int n = snprintf(path, EVENT_FILE_PATH, "%s/" EVENT_FILE_NAME, dir);

	/* The longest suffix is ".lock". */
	if (n < 0 || n + 8 > EVENT_FILE_PATH)
		return err_set(e, -ENAMETOOLONG, "%.64s...", dir);
	return 0;
}

/* The nth older file, 0 the one that is written. */
static const char *nth_path(const char *path, unsigned int n, char buf[EVENT_FILE_PATH + 16])
{
	if (n)
		snprintf(buf, EVENT_FILE_PATH + 16, "%s.%u", path, n);
	else
		snprintf(buf, EVENT_FILE_PATH + 16, "%s", path);
	return buf;
}

/* ---- writing ---- */

int event_file_init(struct event_file *f, const char *dir, struct err *e)
{
	*f = (struct event_file){.fd = -1, .limit = EVENT_FILE_BYTES};
	return make_path(f->path, dir, e);
}

void event_file_fini(struct event_file *f)
{
	if (f->fd >= 0)
		close(take_fd(&f->fd));
}

/* Is the descriptor the file of that name still? */
static bool is_current(int fd, const char *path)
{
	struct stat a;
	struct stat b;

	return fd >= 0 && fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int open_current(struct event_file *f, struct err *e)
{
	for (int i = 0; i < OPEN_TRIES; i++) {
		if (is_current(f->fd, f->path))
			return 0;
		event_file_fini(f);
		/* Read as well: whether the last line is torn. */
		f->fd = open(f->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (f->fd < 0)
			return err_set(e, -errno, "open %s", f->path);
	}
	return 0; /* it has just been renamed: a line in the older file is not lost */
}

static int file_size(const struct event_file *f, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		return err_set(e, -errno, "look at %s", f->path);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int lock(const struct event_file *f, int *fd_out, struct err *e)
{
	char path[EVENT_FILE_PATH + 16];
	autofd fd = -1;

	snprintf(path, sizeof(path), "%s.lock", f->path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK || i == LOCK_TRIES)
			return err_set(e, -errno, "lock %s", path);
		poll(NULL, 0, LOCK_POLL_MS);
	}
	*fd_out = take_fd(&fd);
	return 0;
}

/* A crash in between leaves a gap in the numbers, which nobody minds. */
static int rename_all(const struct event_file *f, struct err *e)
{
	char from[EVENT_FILE_PATH + 16];
	char to[EVENT_FILE_PATH + 16];

	for (unsigned int i = EVENT_FILE_OLD; i > 0; i--) {
		nth_path(f->path, i - 1, from);
		nth_path(f->path, i, to);
		if (rename(from, to) < 0 && errno != ENOENT)
			return err_set(e, -errno, "rename %s to %s", from, to);
	}
	return 0;
}

static int rotate(struct event_file *f, size_t len, struct err *e)
{
	autofd held = -1;
	uint64_t size = 0;
	int rc = lock(f, &held, e);

	if (!rc)
		rc = open_current(f, e);
	if (!rc)
		rc = file_size(f, &size, e);
	/* Somebody else may have done it. */
	if (!rc && size + len > f->limit)
		rc = rename_all(f, e);
	return rc ? rc : open_current(f, e);
}

/* A line that a crash or a full disk has torn is ended by the next. */
static bool is_torn(const struct event_file *f, uint64_t size)
{
	char last = '\n';

	return size && pread(f->fd, &last, 1, (off_t)size - 1) == 1 && last != '\n';
}

static int write_line(const struct event_file *f, const char *line, size_t len, uint64_t size,
		      struct err *e)
{
	char buf[EVENT_LINE_SIZE + 1];
	size_t n = 0;
	ssize_t r;

	if (len > EVENT_LINE_SIZE)
		return err_set(e, -EMSGSIZE, "%s: an event of %zu bytes", f->path, len);
	if (is_torn(f, size))
		buf[n++] = '\n';
	memcpy(buf + n, line, len);
	n += len;
	r = write(f->fd, buf, n);
	if (r < 0)
		return err_set(e, -errno, "write %s", f->path);
	return (size_t)r == n ? 0 : err_set(e, -ENOSPC, "write %s", f->path);
}

int event_file_append(struct event_file *f, const char *line, size_t len, struct err *e)
{
	uint64_t size = 0;
	int rc = open_current(f, e);

	if (!rc)
		rc = file_size(f, &size, e);
	if (!rc && size + len > f->limit) {
		/* Not the line's loss: an hour without room for renaming is found in the next file's place. */
		if (rotate(f, len, e) < 0 && f->fd < 0)
			return e ? e->rc : -EIO;
		rc = file_size(f, &size, e);
	}
	if (!rc && size > 2 * f->limit)
		rc = err_setx(e, -EFBIG, "%s has %llu bytes and cannot be renamed", f->path,
			      (unsigned long long)size);
	return rc ? rc : write_line(f, line, len, size, e);
}

int event_file_sync(struct event_file *f, struct err *e)
{
	if (f->fd >= 0 && fdatasync(f->fd) < 0)
		return err_set(e, -errno, "sync %s", f->path);
	return 0;
}

/* ---- reading ---- */

int event_reader_init(struct event_reader *r, const char *dir, struct err *e)
{
	r->file = NULL;
	r->dev = r->ino = r->torn = 0;
	r->begun = false;
	r->used = 0;
	return make_path(r->path, dir, e);
}

void event_reader_fini(struct event_reader *r)
{
	if (r->file)
		fclose(r->file);
	r->file = NULL;
}

static bool is_file(const struct event_reader *r, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (uint64_t)st.st_dev == r->dev &&
	       (uint64_t)st.st_ino == r->ino;
}

/* The number of the file to read after the one that was read last; EVENT_FILE_OLD + 1: there is none. */
static unsigned int next_file(const struct event_reader *r)
{
	char path[EVENT_FILE_PATH + 16];
	unsigned int n = EVENT_FILE_OLD;

	/* One that is gone by now was older than all that are there. */
	for (unsigned int i = 0; r->begun && i <= EVENT_FILE_OLD; i++) {
		if (is_file(r, nth_path(r->path, i, path)))
			n = i ? i - 1 : EVENT_FILE_OLD + 1;
	}
	while (n <= EVENT_FILE_OLD && access(nth_path(r->path, n, path), F_OK) < 0)
		n = n ? n - 1 : EVENT_FILE_OLD + 1;
	return n;
}

/* 1: there is a file to read. 0: not yet. */
static int open_next(struct event_reader *r, unsigned int n, struct err *e)
{
	char path[EVENT_FILE_PATH + 16];
	struct stat st;

	event_reader_fini(r);
	r->file = fopen(nth_path(r->path, n, path), "re");
	if (!r->file)
		return errno == ENOENT ? 0 : err_set(e, -errno, "open %s", path);
	if (fstat(fileno(r->file), &st) < 0)
		return err_set(e, -errno, "look at %s", path);
	/* What the last file ended with is torn for good. */
	r->torn += r->used != 0;
	r->used = 0;
	r->dev = (uint64_t)st.st_dev;
	r->ino = (uint64_t)st.st_ino;
	r->begun = true;
	return 1;
}

/* 1: line has a whole one, without its newline; 0: the file has no more now. */
static int read_line(struct event_reader *r, struct err *e)
{
	int c;

	while ((c = fgetc(r->file)) != EOF) {
		if (c == '\n') {
			/* One that is too long was cut, and makes no sense. */
			r->line[MIN(r->used, sizeof(r->line) - 1)] = '\0';
			return 1;
		}
		if (r->used < sizeof(r->line) - 1)
			r->line[r->used] = (char)c;
		r->used = MIN(r->used + 1, sizeof(r->line));
	}
	if (ferror(r->file))
		return err_set(e, -EIO, "read %s", r->path);
	clearerr(r->file);
	return 0;
}

static bool take_line(struct event_reader *r, struct json_in **out)
{
	struct err ignored = ERR_INIT;
	size_t len = r->used;

	r->used = 0;
	*out = NULL;
	if (!len)
		return false;
	if (len < sizeof(r->line) && json_in_parse(r->line, len, out, &ignored) == 0 &&
	    json_in_has(*out, "event"))
		return true;
	json_in_free(*out);
	*out = NULL;
	r->torn++;
	return false;
}

/* 1: an event; 0: the file has no more now. */
static int next_in_file(struct event_reader *r, struct json_in **out, struct err *e)
{
	int rc;

	while (r->file && (rc = read_line(r, e)) != 0) {
		if (rc < 0)
			return rc;
		if (take_line(r, out))
			return 1;
	}
	return 0;
}

int event_reader_next(struct event_reader *r, const char **text, struct json_in **out,
		      struct err *e)
{
	unsigned int n;
	int rc;

	*text = r->line;
	for (;;) {
		rc = next_in_file(r, out, e);
		if (rc)
			return rc;
		n = next_file(r);
		if (n > EVENT_FILE_OLD)
			return 0;
		/* It was renamed before we looked: what was written until then is read first. */
		rc = next_in_file(r, out, e);
		if (rc)
			return rc;
		rc = open_next(r, n, e);
		if (rc <= 0)
			return rc;
	}
}
