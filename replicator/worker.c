/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See worker.h. A pid file has "pid start-time\n" and an open-file-description lock as long as its worker
 * lives: the lock can be looked at without taking it, so a look never disturbs a worker that starts.
 */
#include "replicator/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/event_log.h"
#include "lib/flight.h"
#include "lib/log.h"

const char *worker_side_name(enum worker_side s)
{
	return s == WORKER_PRIMARY ? "primary" : "backup";
}

static void runtime_path(char buf[WORKER_PATH_SIZE], const char *run_dir, const char *vm,
			 enum worker_side side, const char *suffix)
{
	int n = snprintf(buf, WORKER_PATH_SIZE, "%s/%s.%s.%s", run_dir, vm, worker_side_name(side),
			 suffix);

	/* conf caps the folder, name_ok() the name. */
	assert(n > 0 && n < WORKER_PATH_SIZE);
}

void worker_ctl_path(char buf[WORKER_PATH_SIZE], const char *run_dir, const char *vm,
		     enum worker_side side)
{
	runtime_path(buf, run_dir, vm, side, "ctl");
}

void worker_pid_path(char buf[WORKER_PATH_SIZE], const char *run_dir, const char *vm,
		     enum worker_side side)
{
	runtime_path(buf, run_dir, vm, side, "pid");
}

/* ---- pid files ---- */

/* Clock ticks from boot to the start of a process: with the pid it names one process for ever. */
static int start_time(pid_t pid, uint64_t *ticks)
{
	char path[64];
	char text[1024];
	autofd fd = -1;
	const char *p;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -ESRCH;
	text[n] = 0;
	/* Field 2, the name, is in parentheses and may contain anything; the start is field 22. */
	p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EIO;
	*ticks = strtoull(p + 1, NULL, 10);
	return 0;
}

/* The process in the file, -ESRCH if there is no sense in it. */
static int read_pid(int fd, pid_t *pid, uint64_t *ticks)
{
	char text[64];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *end;
	long v;

	if (n <= 0)
		return -ESRCH;
	text[n] = 0;
	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end != ' ' || v <= 1 || v > INT32_MAX)
		return -ESRCH;
	*ticks = strtoull(end + 1, &end, 10);
	if (errno || *end != '\n')
		return -ESRCH;
	*pid = (pid_t)v;
	return 0;
}

static bool is_locked(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static bool same_file(int fd, const char *path)
{
	struct stat a;
	struct stat b;

	return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int lock_file(int fd, const char *path, struct err *e)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	uint64_t ticks;
	pid_t pid = 0;

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return err_set(e, -errno, "lock %s", path);
	if (read_pid(fd, &pid, &ticks) < 0)
		pid = 0;
	return err_setx(e, -EBUSY, "%s: process %d works on this VM already", path, (int)pid);
}

static int write_pid(int fd, const char *path, struct err *e)
{
	char text[64];
	uint64_t ticks = 0;
	int rc = start_time(getpid(), &ticks);
	int n;

	if (rc < 0)
		return err_set(e, rc, "read /proc/self/stat");
	n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)getpid(), ticks);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return err_set(e, errno ? -errno : -EIO, "write %s", path);
	return 0;
}

int worker_claim(const char *run_dir, const char *vm, enum worker_side side, int *lock_fd,
		 struct err *e)
{
	char path[WORKER_PATH_SIZE];
	int rc;

	worker_pid_path(path, run_dir, vm, side);
	/* Between our open and our lock the last one may have removed the file. */
	for (int tries = 0; tries < 10; tries++) {
		autofd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return err_set(e, -errno, "open %s", path);
		rc = lock_file(fd, path, e);
		if (rc < 0)
			return rc;
		if (!same_file(fd, path))
			continue;
		rc = write_pid(fd, path, e);
		if (rc < 0)
			return rc;
		*lock_fd = take_fd(&fd);
		return 0;
	}
	return err_setx(e, -EBUSY, "%s comes and goes", path);
}

void worker_unclaim(const char *run_dir, const char *vm, enum worker_side side, int *lock_fd)
{
	char path[WORKER_PATH_SIZE];

	if (*lock_fd < 0)
		return;
	worker_pid_path(path, run_dir, vm, side);
	if (same_file(*lock_fd, path))
		unlink(path);
	close(take_fd(lock_fd));
}

int worker_find(const char *run_dir, const char *vm, enum worker_side side, pid_t *pid, int *pidfd,
		struct err *e)
{
	char path[WORKER_PATH_SIZE];
	uint64_t wrote = 0;
	uint64_t is = 0;
	autofd fd = -1;
	autofd pfd = -1;

	worker_pid_path(path, run_dir, vm, side);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno != ENOENT)
		return err_set(e, -errno, "open %s", path);
	if (fd < 0 || !is_locked(fd) || read_pid(fd, pid, &wrote) < 0)
		return err_setx(e, -ESRCH, "%s: no worker", path);
	pfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	if (pfd < 0 && errno != ESRCH)
		return err_set(e, -errno, "%s: watch process %d", path, (int)*pid);
	/* Looked at after the pidfd was opened: the pid cannot have changed hands since. */
	if (pfd < 0 || start_time(*pid, &is) < 0 || is != wrote)
		return err_setx(e, -ESRCH, "%s: process %d is another one by now", path, (int)*pid);
	*pidfd = take_fd(&pfd);
	return 0;
}

/* ---- the flight recorder ---- */

static void tell_left(struct event_log *l, const char *vm)
{
	struct event ev;

	event_begin(&ev, "flight-found", vm, clock_now(), event_now());
	event_say(&ev, "an earlier worker ended without a word; what it did last is kept");
	ev.flight = EVENT_FLIGHT_OLD;
	event_log_put(l, &ev);
}

struct flight *worker_flight(struct event_log *l, const char *run_dir, const char *vm,
			     enum worker_side side)
{
	struct flight_head head = {
		.pid = (uint32_t)getpid(), .began_ns = clock_now(), .wall_us = event_now()};
	char path[FLIGHT_PATH_SIZE];
	struct flight *f = NULL;
	struct err e = ERR_INIT;
	bool left = false;
	int rc = flight_path(path, run_dir, vm, worker_side_name(side), &e);

	snprintf(head.vm, sizeof(head.vm), "%s", vm);
	snprintf(head.side, sizeof(head.side), "%s", worker_side_name(side));
	if (!rc)
		rc = flight_new(&f, path, &head, &left, &e);
	if (left)
		tell_left(l, vm);
	if (rc < 0)
		log_warn("no flight recorder: %s", e.text);
	return rc < 0 ? NULL : f;
}

/* ---- the status socket ---- */

void worker_say(int status_fd, enum worker_word word, const char *text)
{
	char packet[1 + WORKER_TEXT_SIZE];
	size_t len = strnlen(text ? text : "", WORKER_TEXT_SIZE - 1);

	if (status_fd < 0)
		return;
	packet[0] = (char)word;
	if (len)
		memcpy(packet + 1, text, len);
	/* Nobody listens: then nobody needs to know. */
	(void)!send(status_fd, packet, 1 + len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int worker_hear(int status_fd, enum worker_word *word, char text[WORKER_TEXT_SIZE])
{
	char packet[1 + WORKER_TEXT_SIZE];
	ssize_t n;

	do {
		n = recv(status_fd, packet, sizeof(packet), MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	if (n > WORKER_TEXT_SIZE || packet[0] < WORKER_SAYS_AUTHENTICATED ||
	    packet[0] > WORKER_SAYS_ACTIVE || memchr(packet + 1, 0, (size_t)n - 1))
		return -EBADMSG;
	*word = (enum worker_word)packet[0];
	memcpy(text, packet + 1, (size_t)n - 1);
	text[n - 1] = 0;
	return 1;
}
