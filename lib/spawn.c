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

/* The child's descriptors: 0 from /dev/null, 1 and 2 to the pipe, no others. */
static int set_files(posix_spawn_file_actions_t *files, int out)
{
	int r;

	r = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(files, out, 1);
	if (!r)
		r = posix_spawn_file_actions_adddup2(files, out, 2);
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

static int start(const char *const argv[], int out, pid_t *pid)
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
	rc = set_files(&files, out);
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
 * Takes what the pipe has now, into s->out as far as it fits. Returns false once
 * nobody can write to it any more. At most a few pipes full in one go: a program
 * that never stops talking must not keep us from its time limit.
 */
static bool drain(struct spawn *s, int pipe_fd)
{
	char chunk[4096];

	for (int i = 0; i < 64; i++) {
		ssize_t r = read(pipe_fd, chunk, sizeof(chunk));
		size_t room = s->out ? s->out_size - 1 - s->out_used : 0;
		size_t n;

		if (r < 0)
			return errno == EAGAIN || errno == EINTR;
		if (r == 0)
			return false;
		n = MIN((size_t)r, room);
		if (n)
			memcpy(s->out + s->out_used, chunk, n);
		s->out_used += n;
		if (n < (size_t)r)
			s->out_cut = true;
	}
	return true;
}

/* Collects output until the program has ended. -ETIMEDOUT at the deadline. */
static int watch(struct spawn *s, int pid_fd, int pipe_fd, uint64_t deadline)
{
	struct pollfd fds[2] = {
		{.fd = pid_fd, .events = POLLIN},
		{.fd = pipe_fd, .events = POLLIN},
	};

	for (;;) {
		uint64_t left = clock_until(deadline, clock_now());

		if (!left)
			return -ETIMEDOUT;
		if (poll(fds, ARRAY_SIZE(fds), clock_poll_ms(left)) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents && !drain(s, pipe_fd))
			fds[1].fd = -1;
		/* A grandchild may hold the pipe for ever: what is there now is all. */
		if (fds[0].revents) {
			if (fds[1].fd >= 0)
				(void)drain(s, pipe_fd);
			return 0;
		}
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

int spawn_run(struct spawn *s, struct err *e)
{
	uint64_t deadline = clock_add(clock_now(), s->timeout_ns);
	autofd pipe_out = -1;
	autofd pipe_in = -1;
	autofd pid_fd = -1;
	int fds[2];
	pid_t pid = -1;
	int rc;
	int reaped;

	assert(s->argv[0] && s->timeout_ns && (!s->out || s->out_size));
	s->out_used = 0;
	s->out_cut = false;
	s->status = -1;
	if (s->out)
		s->out[0] = 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(e, -errno, "run %s: pipe", s->argv[0]);
	pipe_out = fds[0];
	pipe_in = fds[1];
	/* Our end only: the program's end is another file description. */
	if (fcntl(pipe_out, F_SETFL, O_NONBLOCK) < 0)
		return err_set(e, -errno, "run %s: pipe", s->argv[0]);
	rc = start(s->argv, pipe_in, &pid);
	if (rc < 0)
		return err_set(e, rc, "run %s", s->argv[0]);
	close(take_fd(&pipe_in));

	pid_fd = pidfd_open(pid, 0);
	rc = pid_fd < 0 ? -errno : watch(s, pid_fd, pipe_out, deadline);
	/* Not reaped yet, so the number is still its own. */
	if (rc < 0)
		(void)kill(-pid, SIGKILL);
	reaped = reap(s, pid);
	if (s->out)
		s->out[s->out_used] = 0;
	if (rc == -ETIMEDOUT)
		return err_setx(e, rc, "%s did not end within %llu ms and was killed", s->argv[0],
				(unsigned long long)(s->timeout_ns / NS_PER_MS));
	if (!rc)
		rc = reaped;
	return rc < 0 ? err_set(e, rc, "wait for %s", s->argv[0]) : 0;
}

int spawn_check(struct spawn *s, struct err *e)
{
	const char *tail;
	int rc = spawn_run(s, e);

	if (rc < 0 || !s->status)
		return rc;
	/* The last 200 bytes: programs say why at the end. */
	tail = s->out ? s->out + (s->out_used > 200 ? s->out_used - 200 : 0) : "";
	while (s->out && s->out_used && s->out[s->out_used - 1] == '\n')
		s->out[--s->out_used] = 0;
	return err_setx(e, -EIO, "%s ended with status %d%s%s", s->argv[0], s->status,
			*tail ? ": " : "", tail);
}
