/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See spawn.h. posix_spawn, since a fork of a daemon with locked memory is slow. */
#include "lib/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"

/* Our end of a pipe, and what comes out of it. */
struct sink {
	int fd; /* -1: none, or nobody can write to it any more */
	char *buf;
	size_t size;
	size_t used;
	bool cut;
};

/* The child's descriptors: 0 from /dev/null, 1 and 2 to the pipes, no others. */
static int set_files(posix_spawn_file_actions_t *files, int out, int err)
{
	int r;

	r = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(files, out, 1);
	if (!r)
		r = posix_spawn_file_actions_adddup2(files, err, 2);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(files, 3);
	return -r;
}

/* A process group of its own, no signal blocked or ignored. */
static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none;
	sigset_t all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						   POSIX_SPAWN_SETSIGDEF);
	if (!r)
		r = posix_spawnattr_setpgroup(attr, 0);
	if (!r)
		r = posix_spawnattr_setsigmask(attr, &none);
	if (!r)
		r = posix_spawnattr_setsigdefault(attr, &all);
	return -r;
}

static int start(const char *const argv[], int out, int err, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int rc;

	rc = -posix_spawn_file_actions_init(&files);
	if (rc < 0)
		return rc;
	rc = -posix_spawnattr_init(&attr);
	if (rc < 0)
		goto out_files;
	rc = set_files(&files, out, err);
	if (!rc)
		rc = set_attributes(&attr);
	if (!rc)
		rc = -posix_spawnp(pid, argv[0], &files, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
out_files:
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

/*
 * Takes what the pipe has now, as far as it fits. At most a few pipes full in one go: a program
 * that never stops talking must not keep us from its time limit.
 */
static void drain(struct sink *k)
{
	char chunk[4096];

	for (int i = 0; i < 64 && k->fd >= 0; i++) {
		ssize_t r = read(k->fd, chunk, sizeof(chunk));
		size_t room = k->buf ? k->size - 1 - k->used : 0;
		size_t n;

		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (r <= 0) {
			k->fd = -1;
			return;
		}
		n = MIN((size_t)r, room);
		if (n)
			memcpy(k->buf + k->used, chunk, n);
		k->used += n;
		if (n < (size_t)r)
			k->cut = true;
	}
}

/* Collects output until the program has ended. -ETIMEDOUT at the deadline. */
static int watch(int pid_fd, struct sink *out, struct sink *err, uint64_t deadline)
{
	for (;;) {
		uint64_t left = clock_until(deadline, clock_now());
		struct pollfd fds[3] = {
			{.fd = pid_fd, .events = POLLIN},
			{.fd = out->fd, .events = POLLIN},
			{.fd = err->fd, .events = POLLIN},
		};

		if (!left)
			return -ETIMEDOUT;
		if (poll(fds, ARRAY_SIZE(fds), clock_poll_ms(left)) < 0 && errno != EINTR)
			return -errno;
		/* A grandchild may hold a pipe for ever: what is there when the program ends is all. */
		if (fds[1].revents || fds[0].revents)
			drain(out);
		if (fds[2].revents || fds[0].revents)
			drain(err);
		if (fds[0].revents)
			return 0;
	}
}

/* Takes the status of a child that has ended or was killed. */
static int reap(struct spawn *s, pid_t pid)
{
	int status;
	pid_t r;

	do {
		r = waitpid(pid, &status, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	s->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

static int open_pipe(int *ours, int *theirs)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[0];
	*theirs = fds[1];
	/* Our end only: the program's end is another file description. */
	return fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* Starts it and waits for its end; -ETIMEDOUT when it was killed. */
static int run(struct spawn *s, struct sink *out, struct sink *err)
{
	uint64_t deadline = clock_add(clock_now(), s->timeout_ns);
	autofd out_ours = -1;
	autofd out_theirs = -1;
	autofd err_ours = -1;
	autofd err_theirs = -1;
	autofd pid_fd = -1;
	pid_t pid = -1;
	int rc, reaped;

	rc = open_pipe(&out_ours, &out_theirs);
	if (rc == 0 && s->err)
		rc = open_pipe(&err_ours, &err_theirs);
	if (rc == 0)
		rc = start(s->argv, out_theirs, s->err ? err_theirs : out_theirs, &pid);
	if (rc < 0)
		return rc;
	close(take_fd(&out_theirs));
	if (s->err)
		close(take_fd(&err_theirs));
	out->fd = out_ours;
	err->fd = err_ours;
	pid_fd = pidfd_open(pid, 0);
	rc = pid_fd < 0 ? -errno : watch(pid_fd, out, err, deadline);
	/* Not reaped yet, so the number is still its own. */
	if (rc < 0)
		(void)kill(-pid, SIGKILL);
	reaped = reap(s, pid);
	return rc < 0 ? rc : reaped;
}

int spawn_run(struct spawn *s, struct err *e)
{
	struct sink out = {.fd = -1, .buf = s->out, .size = s->out_size};
	struct sink err = {.fd = -1, .buf = s->err, .size = s->err_size};
	int rc;

	assert(s->argv[0] && s->timeout_ns && (!s->out || s->out_size) && (!s->err || s->err_size));
	s->status = -1;
	rc = run(s, &out, &err);
	s->out_used = out.used;
	s->out_cut = out.cut;
	if (s->out)
		s->out[out.used] = 0;
	if (s->err)
		s->err[err.used] = 0;
	/* It ran, and was killed. */
	if (rc == -ETIMEDOUT && s->status >= 0)
		return err_setx(e, rc, "%s did not end within %llu ms and was killed", s->argv[0],
				(unsigned long long)(s->timeout_ns / NS_PER_MS));
	return rc < 0 ? err_set(e, rc, "run %s", s->argv[0]) : 0;
}

/* The last 200 bytes of it, without line ends behind them: programs say why at the end. */
static const char *tail_of(char *text)
{
	size_t n = strlen(text);

	while (n && text[n - 1] == '\n')
		text[--n] = 0;
	return text + (n > 200 ? n - 200 : 0);
}

int spawn_check(struct spawn *s, struct err *e)
{
	char *said = s->err ? s->err : s->out;
	const char *tail;
	int rc = spawn_run(s, e);

	if (rc < 0 || !s->status)
		return rc;
	tail = said ? tail_of(said) : "";
	return err_setx(e, -EIO, "%s ended with status %d%s%s", s->argv[0], s->status,
			*tail ? ": " : "", tail);
}
