// SPDX-License-Identifier: GPL-2.0-or-later
/* See vote_ask_shell.h. */
#include "replicator/vote_ask_shell.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

#define PROGRAM LIBEXEC_DIR "/romulus-arbiter"
#define PATH_SIZE 256
#define SAID_SIZE 512
/* Killed programs that are not gone yet. One that the kernel cannot end must not be followed by a hundred more. */
#define MAX_DYING 4

struct child {
	pid_t pid; /* 0: none */
	int pidfd;
	sd_event_source *source;
};

struct vote_ask {
	struct vote_ask_conf conf;
	char program[PATH_SIZE];
	char conf_path[PATH_SIZE];
	char vm[NAME_SIZE];
	char peer[NAME_SIZE];
	sd_event *loop;
	sd_event_source *timer;
	bool busy;
	bool over; /* what is to be answered is in `answer` */
	struct vote_answer answer;
	struct child child;
	struct child dying[MAX_DYING];
	int fd; /* what it says, -1 none */
	sd_event_source *fd_source;
	char said[SAID_SIZE];
	size_t said_len;
};

/* ---- children ---- */

static void forget(struct child *c)
{
	c->source = sd_event_source_disable_unref(c->source);
	if (c->pidfd >= 0)
		close(c->pidfd);
	*c = (struct child){.pidfd = -1};
}

/* True, and its exit status, or -1 for a signal, once it has ended. */
static bool reap(struct child *c, int *status)
{
	siginfo_t info = {.si_pid = 0};

	if (!c->pid || waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG) < 0 ||
	    !info.si_pid)
		return false;
	*status = info.si_code == CLD_EXITED ? info.si_status : -1;
	forget(c);
	return true;
}

static int on_dead(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	int unused;

	(void)reap(arg, &unused);
	return 0;
}

/* A place for one that is killed now; NULL: none. */
static struct child *place_to_die(struct vote_ask *v)
{
	for (unsigned int i = 0; i < MAX_DYING; i++) {
		if (!v->dying[i].pid)
			return &v->dying[i];
	}
	return NULL;
}

/* Its whole process group: a fence agent may have children. Nobody waits for it to be gone. */
static void kill_child(struct vote_ask *v)
{
	struct child *d = place_to_die(v);

	if (!v->child.pid)
		return;
	kill(-v->child.pid, SIGKILL);
	/* There was one when it was started. */
	assert(d);
	v->child.source = sd_event_source_disable_unref(v->child.source);
	*d = v->child;
	v->child = (struct child){.pidfd = -1};
	if (sd_event_add_io(v->loop, &d->source, d->pidfd, EPOLLIN, on_dead, d) < 0) {
		/* The next look at this place reaps it. */
		d->source = NULL;
	}
}

static void close_fd(struct vote_ask *v)
{
	v->fd_source = sd_event_source_disable_unref(v->fd_source);
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
}

/* ---- answers ---- */

static void set_timer(struct vote_ask *v, uint64_t at)
{
	if (sd_event_source_set_time(v->timer, at / NS_PER_US + 1) < 0 ||
	    sd_event_source_set_enabled(v->timer, SD_EVENT_ONESHOT) < 0)
		die("cannot arm the arbiter's timer");
}

static void answer(struct vote_ask *v)
{
	const struct vote_answer a = v->answer;

	v->busy = false;
	v->over = false;
	(void)sd_event_source_set_enabled(v->timer, SD_EVENT_OFF);
	v->conf.answered(v->conf.arg, &a);
}

/* Said from the loop, soon. */
static void answer_later(struct vote_ask *v)
{
	v->over = true;
	set_timer(v, 0);
}

/* Both are needed: all that it said, and how it ended. */
static void look_whether_done(struct vote_ask *v)
{
	int status;

	if (v->fd >= 0 || !reap(&v->child, &status))
		return;
	vote_line_read(&v->answer, v->said, v->said_len, status);
	answer(v);
}

static int on_output(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct vote_ask *v = arg;
	size_t room = sizeof(v->said) - v->said_len;
	char rest[64];
	ssize_t n = read(fd, room ? v->said + v->said_len : rest, room ? room : sizeof(rest));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n > 0 && room) {
		v->said_len += (size_t)n;
		return 0;
	}
	/* Full: more than a line, which vote_line_read() sees; what follows is not wanted. */
	close_fd(v);
	look_whether_done(v);
	return 0;
}

static int on_child(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct vote_ask *v = arg;

	/* What it has left in the pipe comes first; a grandchild may keep that open, which the limit ends. */
	(void)sd_event_source_set_enabled(src, SD_EVENT_OFF);
	look_whether_done(v);
	return 0;
}

static int on_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	struct vote_ask *v = arg;

	if (!v->over) {
		close_fd(v);
		kill_child(v);
		vote_line_unknown(&v->answer,
				  "romulus-arbiter did not answer within %" PRIu64
				  " ms and was ended",
				  v->conf.limit_ns / NS_PER_MS);
	}
	answer(v);
	return 0;
}

/* ---- start ---- */

void vote_ask_argv(const struct vote_ask_conf *c, enum vote_question q, uint64_t term,
		   const char *argv[VOTE_ARGS], char buf[VOTE_BUF])
{
	char *number = buf + UUID_TEXT_SIZE;
	int n = 0;

	snprintf(number, VOTE_BUF - UUID_TEXT_SIZE, "%" PRIu64, term);
	argv[n++] = c->program ? c->program : PROGRAM;
	argv[n++] = "--config";
	argv[n++] = c->conf_path;
	argv[n++] = "--uuid";
	argv[n++] = uuid_format(c->uuid, buf);
	argv[n++] = "--peer";
	argv[n++] = c->peer;
	argv[n++] = "--side";
	argv[n++] = c->is_backup ? "backup" : "primary";
	if (q != VOTE_ASK_LOOK) {
		argv[n++] = "--term";
		argv[n++] = number;
	}
	argv[n++] = vote_question_name(q);
	argv[n++] = c->vm;
	argv[n] = NULL;
}

static int watch(struct vote_ask *v)
{
	int rc;

	v->child.pidfd = pidfd_open(v->child.pid, 0);
	if (v->child.pidfd < 0 || fcntl(v->child.pidfd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	rc = sd_event_add_io(v->loop, &v->child.source, v->child.pidfd, EPOLLIN, on_child, v);
	if (rc >= 0)
		rc = sd_event_add_io(v->loop, &v->fd_source, v->fd, EPOLLIN, on_output, v);
	return rc < 0 ? rc : 0;
}

/* A child that cannot be watched is ended and, as nothing else can be done, waited for. */
static void give_up_child(struct vote_ask *v)
{
	pid_t pid = v->child.pid;

	kill(-pid, SIGKILL);
	forget(&v->child);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int start(struct vote_ask *v, enum vote_question q, uint64_t term)
{
	const char *argv[VOTE_ARGS];
	char buf[VOTE_BUF];
	autofd out = -1;
	int fd[2];
	int rc;

	for (unsigned int i = 0; i < MAX_DYING; i++)
		(void)reap(&v->dying[i], &rc);
	if (!place_to_die(v))
		return -EAGAIN;
	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	v->fd = fd[0];
	out = fd[1];
	if (fcntl(v->fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	vote_ask_argv(&v->conf, q, term, argv, buf);
	rc = child_start(argv, NULL, &(const struct child_fd){out, 1}, 1, &v->child.pid);
	if (rc < 0) {
		v->child.pid = 0;
		return rc;
	}
	rc = watch(v);
	if (rc < 0)
		give_up_child(v);
	return rc;
}

static void begin(struct vote_ask *v, enum vote_question q, uint64_t term)
{
	close_fd(v);
	kill_child(v);
	v->said_len = 0;
	v->busy = true;
	v->over = false;
	v->answer = (struct vote_answer){.question = q, .asked = q == VOTE_ASK_LOOK ? 0 : term};
}

void vote_ask_start(struct vote_ask *v, enum vote_question q, uint64_t term)
{
	int rc;

	begin(v, q, term);
	rc = start(v, q, term);
	if (rc == 0) {
		set_timer(v, clock_add(clock_now(), v->conf.limit_ns));
		return;
	}
	close_fd(v);
	if (rc == -EAGAIN)
		vote_line_unknown(&v->answer, "%d killed questions to the arbiter are not gone yet",
				  MAX_DYING);
	else
		vote_line_unknown(&v->answer, "%s cannot be run: %s", v->program,
				  strerrordesc_np(-rc));
	answer_later(v);
}

void vote_ask_fail(struct vote_ask *v, enum vote_question q, uint64_t term, const char *why)
{
	begin(v, q, term);
	vote_line_unknown(&v->answer, "%s", why);
	answer_later(v);
}

bool vote_ask_busy(const struct vote_ask *v)
{
	return v->busy;
}

int vote_ask_new(struct vote_ask **out, sd_event *loop, const struct vote_ask_conf *conf,
		 struct err *e)
{
	const char *program = conf->program ? conf->program : PROGRAM;
	struct vote_ask *v;
	int rc;

	if (strlen(program) >= PATH_SIZE || strlen(conf->conf_path) >= PATH_SIZE)
		return err_setx(e, -ENAMETOOLONG, "'%.100s...' is too long", conf->conf_path);
	v = mem_zalloc(sizeof(*v));
	if (!v)
		return err_set(e, -ENOMEM, "arbiter");
	v->conf = *conf;
	memcpy(v->program, program, strlen(program) + 1);
	memcpy(v->conf_path, conf->conf_path, strlen(conf->conf_path) + 1);
	snprintf(v->vm, sizeof(v->vm), "%s", conf->vm);
	snprintf(v->peer, sizeof(v->peer), "%s", conf->peer);
	v->conf.program = v->program;
	v->conf.conf_path = v->conf_path;
	v->conf.vm = v->vm;
	v->conf.peer = v->peer;
	v->fd = -1;
	v->child.pidfd = -1;
	for (unsigned int i = 0; i < MAX_DYING; i++)
		v->dying[i].pidfd = -1;
	v->loop = loop;
	rc = sd_event_add_time(loop, &v->timer, CLOCK_BOOTTIME, UINT64_MAX, 1, on_timer, v);
	if (rc >= 0)
		rc = sd_event_source_set_enabled(v->timer, SD_EVENT_OFF);
	if (rc < 0) {
		vote_ask_free(v);
		return err_set(e, rc, "arbiter's timer");
	}
	*out = v;
	return 0;
}

void vote_ask_free(struct vote_ask *v)
{
	if (!v)
		return;
	close_fd(v);
	kill_child(v);
	/* Who ends as well leaves them to init. */
	for (unsigned int i = 0; i < MAX_DYING; i++)
		forget(&v->dying[i]);
	sd_event_source_disable_unref(v->timer);
	mem_free(v);
}
