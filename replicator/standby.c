/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See standby.h. Abandoning goes up a ladder, a step each STANDBY_ABANDON_STEP_NS: ask; SIGTERM; SIGKILL
 * the child and its helpers; then have a fresh romulus-domain destroy what is left.
 */
#include "replicator/standby.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/wire_v1.h"
#include "replicator/config_fd.h"

#define PROGRAM LIBEXEC_DIR "/romulus-domain"
/* Of the stream socket: an ordinary epoch fits, so that feeding it is a copy and not a dialogue. */
#define STREAM_BUFFER (8 << 20)
/* `destroy` may have to wait for devices to go. */
#define DESTROY_STEPS 3
#define CHILD_GAVE_UP 3 /* exit status: nothing is left */
#define PACKET_SIZE (STANDBY_TEXT_SIZE + 32)

/* The child's descriptors. */
enum {
	CHILD_STREAM = 3,
	CHILD_CTL = 4,
	CHILD_CONFIG = 5,
};
#define CHILD_FDS 3

enum standby_state {
	STATE_BUILDING,
	STATE_BUILT,
	STATE_RUN_SAID,
	STATE_RUNNING,
	/* The ladder. */
	STATE_ASKED,
	STATE_TERMINATED,
	STATE_KILLED,
	STATE_DESTROYING,
	STATE_OVER,
};

struct child {
	pid_t pid; /* 0: none */
	int pidfd;
};

struct standby {
	enum standby_state state;
	bool failed; /* STANDBY_FAILED was reported */
	bool ended;  /* the child has, with this; what it had said comes first */
	int code;
	int signal_no;
	struct standby_event left; /* STANDBY_LEFT that is still to be reported */
	int epoll;
	int ctl;
	struct child child;
	uint64_t deadline;
	uint32_t domid;
	uint32_t n_vifs;
	struct standby_vif vif[STANDBY_MAX_VIFS];
	char program[128];
	char vm[NAME_SIZE];
	char bridge[16]; /* a drill's; else empty */
};

static const char *suffix(const struct standby *s)
{
	return s->bridge[0] ? DRILL_SUFFIX : STANDBY_SUFFIX;
}

/* ---- children -------------------------------------------------------------- */

/* fds: n descriptors that become 3, 4, ... in the child; they must be above those. Its output is our log's. */
static int watched_child(struct standby *s, const char *const argv[], const int *fds,
			 unsigned int n, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct child_fd fd[1 + CHILD_FDS] = {{2, 1}};
	pid_t pid = 0;
	int r;

	assert(n <= CHILD_FDS);
	for (unsigned int i = 0; i < n; i++)
		fd[1 + i] = (struct child_fd){fds[i], CHILD_STREAM + (int)i};
	r = child_start(argv, NULL, fd, 1 + n, &pid);
	if (r < 0)
		return err_set(e, r, "start %s", argv[0]);
	s->child.pid = pid;
	s->child.pidfd = pidfd_open(pid, 0);
	if (s->child.pidfd < 0 || fcntl(s->child.pidfd, F_SETFD, FD_CLOEXEC) < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->child.pidfd, &ev) < 0) {
		r = -errno;
		kill(-pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		s->child.pid = 0;
		return err_set(e, r, "watch %s", argv[0]);
	}
	return 0;
}

static void child_forget(struct standby *s)
{
	if (s->child.pidfd >= 0)
		close(s->child.pidfd); /* leaves the epoll set with it */
	s->child = (struct child){.pidfd = -1};
}

/* Takes note if it has ended. */
static void child_reap(struct standby *s)
{
	siginfo_t info = {.si_pid = 0};

	if (!s->child.pid || waitid(P_PIDFD, (id_t)s->child.pidfd, &info, WEXITED | WNOHANG) < 0 ||
	    !info.si_pid)
		return;
	s->ended = true;
	s->code = info.si_code == CLD_EXITED ? info.si_status : -1;
	s->signal_no = info.si_code == CLD_EXITED ? 0 : info.si_status;
	child_forget(s);
}

/* Its process group has the number of the child, and is ours as long as that was not reaped. */
static void child_kill(const struct standby *s, int signal_no)
{
	if (s->child.pid)
		kill(-s->child.pid, signal_no);
}

/* ---- start ----------------------------------------------------------------- */

/* A descriptor that no dup2() onto 3, 4, 5 can hit. */
static int above(int *fd)
{
	int high = fcntl(*fd, F_DUPFD_CLOEXEC, 16);

	if (high < 0)
		return -errno;
	close(*fd);
	*fd = high;
	return 0;
}

/* Our end is the first. */
static int make_pair(int type, int *ours, int *theirs, struct err *e)
{
	int fd[2];
	int rc;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fd) < 0)
		return err_set(e, -errno, "socket to the standby");
	*ours = fd[0];
	*theirs = fd[1];
	rc = above(theirs);
	return rc < 0 ? err_set(e, rc, "socket to the standby") : 0;
}

static void enlarge(int fd)
{
	int size = STREAM_BUFFER;

	/* Without the right to exceed the host's limit it is slower, not wrong. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static int start_child(struct standby *s, const int fds[3], struct err *e)
{
	const char *argv[] = {
		s->program, "restore",	   "--name", s->vm, "--stream-fd", "3",	 "--ctl-fd",
		"4",	    "--config-fd", "5",	     NULL,  NULL,	   NULL,
	};

	if (s->bridge[0]) {
		argv[10] = "--drill";
		argv[11] = s->bridge;
	}
	return watched_child(s, argv, fds, 3, e);
}

static int standby_set_up(struct standby *s, const struct standby_conf *conf, int *stream_fd,
			  struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN};
	autofd stream = -1;
	autofd child_stream = -1;
	autofd child_ctl = -1;
	autofd child_config = -1;
	int rc;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return err_set(e, -errno, "handle of the standby");
	rc = make_pair(SOCK_STREAM, &stream, &child_stream, e);
	if (rc == 0)
		rc = make_pair(SOCK_SEQPACKET, &s->ctl, &child_ctl, e);
	if (rc == 0)
		rc = config_fd_make(conf->json, conf->json_size, &child_config, e);
	if (rc < 0)
		return rc;
	rc = above(&child_config);
	if (rc < 0)
		return err_set(e, rc, "configuration of the standby");
	enlarge(stream);
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->ctl, &ev) < 0)
		return err_set(e, -errno, "handle of the standby");
	rc = start_child(s, (const int[]){child_stream, child_ctl, child_config}, e);
	if (rc == 0)
		*stream_fd = take_fd(&stream);
	return rc;
}

int standby_start(struct standby **out, const struct standby_conf *conf, int *stream_fd,
		  struct err *e)
{
	const char *program = conf->program ? conf->program : PROGRAM;
	struct standby *s;
	int rc;

	if (!name_ok(conf->vm))
		return err_setx(e, -EINVAL, "'%.63s' is no name of a VM", conf->vm);
	if (conf->drill_bridge &&
	    (!name_ok(conf->drill_bridge) || strlen(conf->drill_bridge) >= sizeof(s->bridge)))
		return err_setx(e, -EINVAL, "'%.63s' is no name of a bridge", conf->drill_bridge);
	if (conf->json_size < 2 || conf->json_size > WIRE_CONFIG_MAX)
		return err_setx(e, -EMSGSIZE, "a configuration of %zu bytes", conf->json_size);
	if (strlen(program) >= sizeof(s->program))
		return err_setx(e, -ENAMETOOLONG, "'%.100s...' is too long", program);
	s = mem_zalloc(sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "handle of the standby");
	s->epoll = -1;
	s->ctl = -1;
	s->child.pidfd = -1;
	s->deadline = CLOCK_NEVER;
	memcpy(s->program, program, strlen(program) + 1);
	memcpy(s->vm, conf->vm, strlen(conf->vm) + 1);
	if (conf->drill_bridge)
		memcpy(s->bridge, conf->drill_bridge, strlen(conf->drill_bridge) + 1);
	rc = standby_set_up(s, conf, stream_fd, e);
	if (rc < 0) {
		standby_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void standby_free(struct standby *s)
{
	if (!s)
		return;
	child_forget(s);
	if (s->ctl >= 0)
		close(s->ctl);
	if (s->epoll >= 0)
		close(s->epoll);
	mem_free(s);
}

int standby_fd(const struct standby *s)
{
	return s->epoll;
}

uint64_t standby_deadline(const struct standby *s)
{
	return s->deadline;
}

/* ---- what the child says --------------------------------------------------- */

static void event_text(struct standby_event *ev, enum standby_event_type type, const char *fmt, ...)
	PRINTF(3, 4);
static void event_text(struct standby_event *ev, enum standby_event_type type, const char *fmt, ...)
{
	va_list ap;

	ev->type = type;
	va_start(ap, fmt);
	vsnprintf(ev->text, sizeof(ev->text), fmt, ap);
	va_end(ap);
}

static bool parse_vif(const char *text, struct standby_vif *v)
{
	int end = -1;

	*v = (struct standby_vif){.name = ""};
	if (sscanf(text,
		   "vif name=%15s mac=%2" SCNx8 ":%2" SCNx8 ":%2" SCNx8 ":%2" SCNx8 ":%2" SCNx8
		   ":%2" SCNx8 " bridge=%n",
		   v->name, &v->mac[0], &v->mac[1], &v->mac[2], &v->mac[3], &v->mac[4], &v->mac[5],
		   &end) != 7 ||
	    end < 0 || strlen(text + end) >= sizeof(v->bridge))
		return false;
	memcpy(v->bridge, text + end, strlen(text + end) + 1);
	return true;
}

static bool parse_domid(const char *text, const char *word, uint32_t *domid)
{
	size_t len = strlen(word);
	int end = -1;

	return strncmp(text, word, len) == 0 &&
	       sscanf(text + len, " domid=%" SCNu32 "%n", domid, &end) == 1 && end > 0 &&
	       !text[len + (size_t)end];
}

/* One line of the child. ev stays STANDBY_NOTHING for what is no news. */
static void child_said(struct standby *s, const char *text, struct standby_event *ev)
{
	struct standby_vif vif;
	uint32_t domid;

	if (s->state >= STATE_RUNNING)
		return;
	if (parse_domid(text, "built", &domid) && s->state != STATE_BUILT) {
		if (s->state == STATE_BUILDING)
			s->state = STATE_BUILT;
		s->domid = domid;
		ev->type = STANDBY_BUILT;
		ev->domid = domid;
	} else if (parse_vif(text, &vif)) {
		if (s->n_vifs < ARRAY_SIZE(s->vif))
			s->vif[s->n_vifs++] = vif;
	} else if (parse_domid(text, "running", &domid)) {
		s->state = STATE_RUNNING;
		ev->type = STANDBY_RUNNING;
		ev->domid = domid;
		ev->n_vifs = s->n_vifs;
		memcpy(ev->vif, s->vif, sizeof(ev->vif));
	} else if (strncmp(text, "taken ", 6) == 0 && s->state == STATE_RUN_SAID) {
		s->state = STATE_BUILT;
		event_text(ev, STANDBY_NAME_TAKEN, "%.*s", STANDBY_TEXT_SIZE - 1, text + 6);
	} else if (strncmp(text, "error ", 6) == 0) {
		s->failed = true;
		event_text(ev, STANDBY_FAILED, "%.*s", STANDBY_TEXT_SIZE - 1, text + 6);
	} else {
		log_warn("the standby's builder says '%.60s', which means nothing", text);
	}
}

/* Packets until there is news. */
static void read_ctl(struct standby *s, struct standby_event *ev)
{
	while (s->ctl >= 0 && ev->type == STANDBY_NOTHING) {
		char text[PACKET_SIZE + 1];
		ssize_t n = recv(s->ctl, text, PACKET_SIZE, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			/* The end; what it means is for the child's exit to say. */
			close(s->ctl);
			s->ctl = -1;
			return;
		}
		text[n] = '\0';
		child_said(s, text, ev);
	}
}

/* ---- the ladder ------------------------------------------------------------ */

static void climb(struct standby *s, enum standby_state to, uint64_t now)
{
	s->state = to;
	s->deadline = clock_add(now, STANDBY_ABANDON_STEP_NS);
}

static void over(struct standby *s, enum standby_event_type type, struct standby_event *ev)
{
	s->state = STATE_OVER;
	s->deadline = CLOCK_NEVER;
	ev->type = type;
}

/* The child has ended without having cleaned up for sure. */
static void start_destroy(struct standby *s, uint64_t now)
{
	char target[NAME_SIZE + sizeof(STANDBY_SUFFIX)];
	const char *argv[] = {s->program, "destroy", target, NULL};
	struct err e = ERR_INIT;

	snprintf(target, sizeof(target), "%s%s", s->vm, suffix(s));
	s->state = STATE_DESTROYING;
	s->deadline = clock_add(now, DESTROY_STEPS * STANDBY_ABANDON_STEP_NS);
	if (watched_child(s, argv, NULL, 0, &e) == 0)
		return;
	/* Said by the next step, which is due now. */
	over(s, STANDBY_LEFT, &s->left);
	event_text(&s->left, STANDBY_LEFT, "%.*s", STANDBY_TEXT_SIZE - 1, e.text);
	s->deadline = now;
}

static void child_has_ended(struct standby *s, uint64_t now, struct standby_event *ev)
{
	const char *how = s->signal_no ? "signal" : "status";
	int number = s->signal_no ? s->signal_no : s->code;

	s->ended = false;
	/* A drill's copy is nobody's VM: whatever has become of it, it is to be destroyed. */
	if (s->bridge[0] && (s->state == STATE_RUN_SAID || s->state == STATE_RUNNING))
		s->state = STATE_BUILT;
	switch (s->state) {
	case STATE_BUILDING:
	case STATE_BUILT:
		if (!s->failed)
			event_text(ev, STANDBY_FAILED, "the standby's builder ended (%s %d)", how,
				   number);
		s->failed = true;
		break;
	case STATE_RUN_SAID:
		/* P3, P4: what may run is neither destroyed nor said to be gone. */
		if (s->failed)
			break;
		over(s, STANDBY_LOST, ev);
		event_text(ev, STANDBY_LOST,
			   "the standby's builder ended (%s %d) as it let the VM run", how, number);
		break;
	case STATE_ASKED:
	case STATE_TERMINATED:
	case STATE_KILLED:
		if (s->code == CHILD_GAVE_UP)
			over(s, STANDBY_GONE, ev);
		else
			start_destroy(s, now);
		break;
	case STATE_DESTROYING:
		over(s, s->code == 0 ? STANDBY_GONE : STANDBY_LEFT, ev);
		if (s->code != 0)
			event_text(ev, STANDBY_LEFT, "%s%s could not be destroyed (%s %d)", s->vm,
				   suffix(s), how, number);
		break;
	case STATE_RUNNING:
		over(s, s->code == 0 ? STANDBY_ENDED : STANDBY_UNWATCHED, ev);
		if (s->code != 0)
			event_text(ev, STANDBY_UNWATCHED, "the VM's monitor ended (%s %d)", how,
				   number);
		break;
	case STATE_OVER:
		break;
	}
}

static void deadline_passed(struct standby *s, uint64_t now, struct standby_event *ev)
{
	if (s->state == STATE_ASKED) {
		log_warn("the standby's builder does not stop; terminating it");
		child_kill(s, SIGTERM);
		climb(s, STATE_TERMINATED, now);
	} else if (s->state == STATE_TERMINATED) {
		child_kill(s, SIGKILL);
		climb(s, STATE_KILLED, now);
	} else {
		child_kill(s, SIGKILL);
		over(s, STANDBY_LEFT, ev);
		event_text(ev, STANDBY_LEFT, "%s%s could not be destroyed in time", s->vm,
			   suffix(s));
	}
}

void standby_step(struct standby *s, uint64_t now, struct standby_event *ev)
{
	*ev = (struct standby_event){.type = STANDBY_NOTHING};
	if (s->left.type != STANDBY_NOTHING) {
		*ev = s->left;
		s->left.type = STANDBY_NOTHING;
		s->deadline = CLOCK_NEVER;
		return;
	}
	child_reap(s);
	read_ctl(s, ev);
	if (ev->type != STANDBY_NOTHING)
		return;
	if (s->ended)
		child_has_ended(s, now, ev);
	else if (now >= s->deadline)
		deadline_passed(s, now, ev);
}

/* ---- orders ---------------------------------------------------------------- */

static int tell(struct standby *s, const char *word, struct err *e)
{
	if (s->ctl < 0 || send(s->ctl, word, strlen(word), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return err_set(e, s->ctl < 0 ? -EPIPE : -errno, "say '%s' to the standby", word);
	return 0;
}

int standby_run(struct standby *s, struct err *e)
{
	int rc;

	if (s->state > STATE_RUN_SAID)
		return err_setx(e, -EBUSY, "the standby was given up or runs already");
	rc = tell(s, "run", e);
	if (rc == 0)
		s->state = STATE_RUN_SAID;
	return rc;
}

int standby_abandon(struct standby *s, uint64_t now, struct err *e)
{
	if (s->state >= STATE_ASKED)
		return 0;
	if (!s->bridge[0] &&
	    (s->state == STATE_RUNNING || (s->state == STATE_RUN_SAID && !s->failed)))
		return err_setx(e, -EBUSY, "the standby was told to run");
	if (!s->child.pid && !s->ended) {
		start_destroy(s, now);
		return 0;
	}
	climb(s, STATE_ASKED, now);
	/* When it cannot be told, the closed socket says the same. */
	if (tell(s, "abandon", e) < 0 && s->ctl >= 0) {
		close(s->ctl);
		s->ctl = -1;
	}
	return 0;
}
