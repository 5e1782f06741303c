/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See spawn.h. posix_spawn, since a fork of a daemon with locked memory is slow. */
#include "lib/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
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

/* While a program runs. */
struct watched {
	struct spawn *s;
	struct err *e;
	struct sink out;
	struct sink err;
	pid_t pid;
	int pid_fd;
	uint64_t deadline;
	int why;   /* 0, or the error for which it has to end */
	bool told; /* *e says it already */
};

/* poll() does not see that *stop was set just before it. */
#define STOP_POLL_NS (100 * NS_PER_MS)

/* What becomes the child's first three descriptors. */
struct stdio {
	int in; /* -1: /dev/null */
	int out;
	int err; /* -1: ours */
};

/* And no others. */
static int set_files(posix_spawn_file_actions_t *files, const struct stdio *io)
{
	int r;

	if (io->in >= 0)
		r = posix_spawn_file_actions_adddup2(files, io->in, 0);
	else
		r = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(files, io->out, 1);
	if (!r && io->err >= 0)
		r = posix_spawn_file_actions_adddup2(files, io->err, 2);
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

static int start(const char *const argv[], const struct stdio *io, pid_t *pid)
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
	rc = set_files(&files, io);
	if (!rc)
		rc = set_attributes(&attr);
	if (!rc)
		rc = -posix_spawnp(pid, argv[0], &files, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
out_files:
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

/* As far as it fits. */
static void keep(struct sink *k, const char *chunk, size_t len)
{
	size_t room = k->buf ? k->size - 1 - k->used : 0;
	size_t n = MIN(len, room);

	if (n)
		memcpy(k->buf + k->used, chunk, n);
	k->used += n;
	if (n < len)
		k->cut = true;
}

/* To s->line() line by line. */
static int pass_on(struct watched *w, const char *chunk, size_t len)
{
	const struct spawn *s = w->s;
	struct sink *k = &w->out;
	int rc = 0;

	for (size_t i = 0; i < len && rc == 0; i++) {
		if (chunk[i] != '\n' && k->used == k->size - 1)
			return err_setx(w->e, -EMSGSIZE, "%s said a line of more than %zu bytes",
					s->argv[0], k->used);
		if (chunk[i] != '\n') {
			k->buf[k->used++] = chunk[i];
			continue;
		}
		k->buf[k->used] = 0;
		k->used = 0;
		rc = s->line(s->arg, k->buf, w->e);
	}
	return rc;
}

/*
 * Takes what the pipe has now. At most a few pipes full in one go: a program that never stops talking must
 * not keep us from its time limit. Returns what s->line() did.
 */
static int drain(struct watched *w, struct sink *k)
{
	const bool lines = w->s->line && k == &w->out;
	char chunk[4096];
	int rc = 0;

	for (int i = 0; i < 64 && k->fd >= 0 && rc == 0; i++) {
		ssize_t r = read(k->fd, chunk, sizeof(chunk));

		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (r <= 0) {
			k->fd = -1;
			return 0;
		}
		if (!lines)
			keep(k, chunk, (size_t)r);
		/* Once its lines, or its silence, were the reason to end it, the rest is not wanted. */
		else if (!w->why || w->why == -EINTR)
			rc = pass_on(w, chunk, (size_t)r);
		if (lines && !w->why)
			w->deadline = clock_add(clock_now(), w->s->timeout_ns);
	}
	return rc;
}

/* False: it has had its time, or gets none. */
static bool ask_to_end(struct watched *w, int why)
{
	if (w->why)
		return false;
	w->why = why;
	if (!w->s->grace_ns)
		return false;
	w->deadline = clock_add(clock_now(), w->s->grace_ns);
	return kill(-w->pid, SIGTERM) == 0;
}

/* Takes its output until it has ended: then 0, or why it had to. An error may leave it alive. */
static int watch(struct watched *w)
{
	const struct spawn *s = w->s;

	for (;;) {
		uint64_t left = clock_until(w->deadline, clock_now());
		struct pollfd fds[3] = {
			{.fd = w->pid_fd, .events = POLLIN},
			{.fd = w->out.fd, .events = POLLIN},
			{.fd = w->err.fd, .events = POLLIN},
		};
		int rc = 0;

		if (!left && !ask_to_end(w, -ETIMEDOUT))
			return w->why;
		if (s->stop && *s->stop && !w->why && !ask_to_end(w, -EINTR))
			return w->why;
		if (s->stop)
			left = MIN(left, STOP_POLL_NS);
		if (poll(fds, ARRAY_SIZE(fds), clock_poll_ms(left)) < 0 && errno != EINTR)
			return -errno;
		/* A grandchild may hold a pipe for ever: what is there when the program ends is all. */
		if (fds[1].revents || fds[0].revents)
			rc = drain(w, &w->out);
		if (fds[2].revents || fds[0].revents)
			(void)drain(w, &w->err);
		w->told = w->told || rc < 0;
		if (rc < 0 && w->why)
			w->why = rc;
		if (fds[0].revents)
			return w->why ? w->why : rc;
		if (rc < 0 && !w->why && !ask_to_end(w, rc))
			return rc;
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

/* -1 in *fd when there is no input. */
static int open_input(const char *in, int *fd)
{
	size_t len = in ? strlen(in) : 0;

	if (!in)
		return 0;
	*fd = memfd_create("input", MFD_CLOEXEC);
	if (*fd < 0)
		return -errno;
	while (len) {
		ssize_t n = write(*fd, in, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		in += MAX(n, (ssize_t)0);
		len -= (size_t)MAX(n, (ssize_t)0);
	}
	return lseek(*fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

/* Starts it and waits for its end. */
static int run(struct watched *w)
{
	struct spawn *s = w->s;
	autofd in = -1;
	autofd out_ours = -1;
	autofd out_theirs = -1;
	autofd err_ours = -1;
	autofd err_theirs = -1;
	autofd pid_fd = -1;
	struct stdio io;
	int rc, reaped;

	rc = open_input(s->in, &in);
	if (rc == 0)
		rc = open_pipe(&out_ours, &out_theirs);
	if (rc == 0 && s->err)
		rc = open_pipe(&err_ours, &err_theirs);
	io = (struct stdio){in, out_theirs, s->err || s->line ? err_theirs : out_theirs};
	if (rc == 0)
		rc = start(s->argv, &io, &w->pid);
	if (rc < 0)
		return rc;
	close(take_fd(&out_theirs));
	if (s->err)
		close(take_fd(&err_theirs));
	w->out.fd = out_ours;
	w->err.fd = err_ours;
	pid_fd = pidfd_open(w->pid, 0);
	w->pid_fd = pid_fd;
	w->deadline = clock_add(clock_now(), s->timeout_ns);
	rc = pid_fd < 0 ? -errno : watch(w);
	/* Not reaped yet, so the number is still its own. */
	if (rc < 0)
		(void)kill(-w->pid, SIGKILL);
	reaped = reap(s, w->pid);
	return rc < 0 ? rc : reaped;
}

/* What kept it from ending by itself. */
static int explain(const struct watched *w, int rc)
{
	const struct spawn *s = w->s;
	unsigned long long ms = s->timeout_ns / NS_PER_MS;

	if (!rc || w->told)
		return rc;
	if (rc != w->why)
		return err_set(w->e, rc, "run %s", s->argv[0]);
	if (rc == -EINTR)
		return err_setx(w->e, rc, "%s was stopped", s->argv[0]);
	if (s->line)
		return err_setx(w->e, rc, "%s said nothing for %llu ms and was ended", s->argv[0],
				ms);
	return err_setx(w->e, rc, "%s did not end within %llu ms and was killed", s->argv[0], ms);
}

int spawn_run(struct spawn *s, struct err *e)
{
	struct watched w = {.s = s,
			    .e = e,
			    .out = {.fd = -1, .buf = s->out, .size = s->out_size},
			    .err = {.fd = -1, .buf = s->err, .size = s->err_size}};
	int rc;

	assert(s->argv[0] && s->timeout_ns && (!s->out || s->out_size) &&
	       (!s->err || s->err_size) && (!s->line || s->out));
	s->status = -1;
	rc = run(&w);
	s->out_used = w.out.used;
	s->out_cut = w.out.cut;
	if (s->out)
		s->out[w.out.used] = 0;
	if (s->err)
		s->err[w.err.used] = 0;
	return explain(&w, rc);
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
