/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See supervisor.h. One slot per worker. A worker is ours (a child: its exit code is known) or adopted
 * (started by an earlier romulusd: only its end is seen, and the durable state tells what it meant).
 */
#include "replicator/supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "replicator/launch.h"

#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (5 * NS_PER_SEC)
/* What one worker may say before the others have a turn. */
#define WORDS_AT_A_TIME 8

struct slot {
	bool used;
	struct supervised w;
	int pidfd;
	int status_fd;
	bool ours;
	bool fresh; /* started by `protect`, not ready yet: a refusal leaves nothing behind */
	bool said;  /* w.problem is what this very process said */
	bool authenticated;
	struct addr from;		/* of a stranger's connection */
	uint64_t handshake_deadline_ns; /* CLOCK_NEVER: none */
};

struct supervisor {
	struct supervisor_conf conf;
	int epoll_fd;
	struct slot slot[SUPERVISOR_MAX_WORKERS];
};

const char *supervised_state_name(enum supervised_state state)
{
	static const char *const names[] = {"running", "restarting", "refused"};

	return names[state];
}

uint64_t supervisor_backoff(unsigned int crashes)
{
	uint64_t wait = BACKOFF_FIRST_NS;

	if (crashes <= 1)
		return 0;
	for (unsigned int i = 2; i < crashes && wait < BACKOFF_MAX_NS; i++)
		wait *= 2;
	return MIN(wait, BACKOFF_MAX_NS);
}

/* ---- slots ---- */

static struct slot *find_slot(struct supervisor *s, const char *vm, enum worker_side side)
{
	for (int i = 0; i < SUPERVISOR_MAX_WORKERS; i++) {
		struct slot *slot = &s->slot[i];

		if (slot->used && slot->w.side == side && !strcmp(slot->w.vm, vm))
			return slot;
	}
	return NULL;
}

static struct slot *new_slot(struct supervisor *s, const char *vm, enum worker_side side)
{
	for (int i = 0; i < SUPERVISOR_MAX_WORKERS; i++) {
		struct slot *slot = &s->slot[i];

		if (slot->used)
			continue;
		*slot = (struct slot){.used = true,
				      .pidfd = -1,
				      .status_fd = -1,
				      .w.side = side,
				      .handshake_deadline_ns = CLOCK_NEVER};
		memccpy(slot->w.vm, vm, 0, NAME_SIZE - 1);
		return slot;
	}
	return NULL;
}

/* Closing takes them out of the epoll set: nobody else holds these descriptors. */
static void slot_unwatch(struct slot *slot)
{
	if (slot->pidfd >= 0)
		close(take_fd(&slot->pidfd));
	if (slot->status_fd >= 0)
		close(take_fd(&slot->status_fd));
}

static void slot_drop(struct slot *slot)
{
	slot_unwatch(slot);
	*slot = (struct slot){.pidfd = -1, .status_fd = -1};
}

static int slot_watch(struct supervisor *s, struct slot *slot)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)(slot - s->slot)};

	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, slot->pidfd, &ev) < 0)
		return -errno;
	if (slot->status_fd >= 0 && epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, slot->status_fd, &ev) < 0)
		return -errno;
	return 0;
}

/* Something to call it by in the log. */
static const char *slot_name(const struct slot *slot)
{
	return *slot->w.vm ? slot->w.vm : "of a new connection";
}

static void slot_kill(const struct slot *slot)
{
	if (syscall(SYS_pidfd_send_signal, slot->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		log_warn("worker %d %s cannot be killed: %s", slot->w.pid, slot_name(slot),
			 strerrordesc_np(errno));
}

/* ---- starting ---- */

static int start(struct supervisor *s, struct slot *slot, const char *const argv[], int connection,
		 struct err *e)
{
	autofd theirs = -1;
	int pair[2];
	int fds[2];
	struct launch l = {.argv = argv, .fds = fds};
	pid_t pid;
	int rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_set(e, -errno, "status socket of a worker");
	slot->status_fd = pair[0];
	theirs = pair[1];
	fds[l.n_fds++] = theirs;
	if (connection >= 0)
		fds[l.n_fds++] = connection;
	rc = launch(&l, &pid, &slot->pidfd, e);
	if (rc < 0)
		return rc;
	slot->ours = true;
	slot->w.pid = pid;
	rc = slot_watch(s, slot);
	if (rc < 0) {
		slot_kill(slot);
		waitid(P_PIDFD, (id_t)slot->pidfd, NULL, WEXITED);
		return err_set(e, rc, "watch worker %d", (int)pid);
	}
	return 0;
}

static int program_path(const struct supervisor *s, const char *name, char path[PATH_MAX],
			struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", s->conf.libexec_dir, name) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%s", name);
	return 0;
}

static int start_primary(struct supervisor *s, struct slot *slot, bool adopt, uint64_t now,
			 struct err *e)
{
	char path[PATH_MAX];
	const char *argv[8] = {path, "--config", s->conf.conf_path, "--status-fd", "3"};
	int n = 5;
	int rc = program_path(s, "romulus-primary", path, e);

	if (rc < 0)
		return rc;
	if (adopt)
		argv[n++] = "--adopt";
	argv[n++] = slot->w.vm;
	argv[n] = NULL;
	rc = start(s, slot, argv, -1, e);
	if (rc < 0) {
		slot_unwatch(slot);
		return rc;
	}
	slot->w.state = SUPERVISED_RUNNING;
	slot->w.since_ns = now;
	/* What was wrong is still so until it says that it is ready. */
	slot->said = false;
	log_info("vm %s: worker %d started%s", slot->w.vm, slot->w.pid,
		 adopt ? ", it takes over what an earlier one left" : "");
	return 0;
}

PRINTF(4, 5)
static void tell(const struct supervisor *s, const char *vm, const char *kind, const char *fmt, ...)
{
	char text[WORKER_TEXT_SIZE + 128];
	va_list ap;

	if (!s->conf.told)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->conf.told(s->conf.ctx, vm, kind, text);
}

/* The nth crash in a row: when to try again? */
static void plan_restart(const struct supervisor *s, struct slot *slot, uint64_t now)
{
	uint64_t wait;

	if (now - slot->w.since_ns >= SUPERVISOR_STEADY_NS)
		slot->w.crashes = 0;
	slot->w.crashes++;
	wait = supervisor_backoff(slot->w.crashes);
	slot->w.state = SUPERVISED_RESTARTING;
	slot->w.since_ns = now;
	slot->w.restart_ns = clock_add(now, wait);
	log_warn("vm %s: worker %d: %s; starting another one in %llu ms", slot->w.vm, slot->w.pid,
		 slot->w.problem, (unsigned long long)(wait / NS_PER_MS));
	/* What goes on crashing for the same reason is told at 1, 2, 4, 8... */
	if (!(slot->w.crashes & (slot->w.crashes - 1)))
		tell(s, slot->w.vm, "worker-crashed",
		     "the primary's worker, process %d: %s; %u in a row, the next one is started in %llu ms",
		     slot->w.pid, slot->w.problem, slot->w.crashes,
		     (unsigned long long)(wait / NS_PER_MS));
}

static void restart(struct supervisor *s, struct slot *slot, uint64_t now)
{
	struct err e = ERR_INIT;

	if (!s->conf.wanted(s->conf.ctx, slot->w.vm)) {
		log_info("vm %s: needs no worker any more", slot->w.vm);
		slot_drop(slot);
		return;
	}
	if (start_primary(s, slot, true, now, &e) == 0)
		return;
	snprintf(slot->w.problem, sizeof(slot->w.problem), "%.200s", e.text);
	plan_restart(s, slot, now);
}

int supervisor_protect(struct supervisor *s, const char *vm, bool adopt, uint64_t now,
		       struct err *e)
{
	struct slot *slot = find_slot(s, vm, WORKER_PRIMARY);
	int rc;

	if (slot && slot->w.state != SUPERVISED_REFUSED)
		return err_setx(e, -EBUSY, "vm %s has a worker already (%s)", vm,
				supervised_state_name(slot->w.state));
	if (slot)
		slot_drop(slot);
	slot = new_slot(s, vm, WORKER_PRIMARY);
	if (!slot)
		return err_setx(e, -ENOSPC, "there are %d workers, more cannot be",
				SUPERVISOR_MAX_WORKERS);
	slot->fresh = !adopt;
	rc = start_primary(s, slot, adopt, now, e);
	if (rc < 0)
		slot_drop(slot);
	return rc;
}

/*
 * A stranger costs a process, so there are few at a time; and one source has at most half of the places, so
 * that it cannot keep a peer out by connecting without end.
 */
static int check_strangers(const struct supervisor *s, const struct addr *from, struct err *e)
{
	uint32_t most = s->conf.max_unauthenticated;
	char text[ADDR_TEXT_SIZE];
	uint32_t all = 0;
	uint32_t same = 0;

	for (int i = 0; i < SUPERVISOR_MAX_WORKERS; i++) {
		const struct slot *slot = &s->slot[i];

		if (!slot->used || slot->w.side != WORKER_BACKUP || slot->authenticated)
			continue;
		all++;
		same += addr_same_source(&slot->from, from);
	}
	if (all >= most)
		return err_setx(e, -EBUSY, "%u connections have not authenticated yet", all);
	if (same >= (most + 1) / 2)
		return err_setx(e, -EBUSY, "%u connections like %s have not authenticated yet",
				same, addr_format(from, text));
	return 0;
}

int supervisor_connection(struct supervisor *s, int fd, uint64_t now, struct err *e)
{
	char path[PATH_MAX];
	const char *const argv[] = {path, "--config", s->conf.conf_path, "--status-fd", "3", "--fd",
				    "4",  NULL};
	struct addr from = {.size = sizeof(from.sa)};
	struct slot *slot;
	int rc;

	if (getpeername(fd, (struct sockaddr *)&from.sa, &from.size) < 0)
		from.size = 0;
	rc = check_strangers(s, &from, e);
	if (rc < 0)
		return rc;
	slot = new_slot(s, "", WORKER_BACKUP);
	if (!slot)
		return err_setx(e, -ENOSPC, "there are %d workers, more cannot be",
				SUPERVISOR_MAX_WORKERS);
	slot->from = from;
	rc = program_path(s, "romulus-backup", path, e);
	if (!rc)
		rc = start(s, slot, argv, fd, e);
	if (rc < 0) {
		slot_drop(slot);
		return rc;
	}
	slot->w.state = SUPERVISED_RUNNING;
	slot->w.since_ns = now;
	slot->handshake_deadline_ns = clock_add(now, s->conf.handshake_timeout_ns);
	log_debug("backup worker %d started for a new connection", slot->w.pid);
	return 0;
}

/* ---- finding again ---- */

int supervisor_adopt(struct supervisor *s, const char *vm, enum worker_side side, uint64_t now,
		     struct err *e)
{
	struct slot *slot = new_slot(s, vm, side);
	pid_t pid;
	int rc;

	if (!slot)
		return err_setx(e, -ENOSPC, "there are %d workers, more cannot be",
				SUPERVISOR_MAX_WORKERS);
	slot->authenticated = true;
	slot->w.since_ns = now;
	rc = worker_find(s->conf.run_dir, vm, side, &pid, &slot->pidfd, e);
	if (!rc) {
		slot->w.pid = pid;
		rc = slot_watch(s, slot);
		if (rc < 0)
			err_set(e, rc, "watch worker %d", (int)pid);
		else
			log_info("vm %s: %s worker %d goes on", vm, worker_side_name(side),
				 (int)pid);
	} else if (rc == -ESRCH && side == WORKER_PRIMARY) {
		/* What it protected may be silent, or suspended, until one starts. */
		restart(s, slot, now);
		rc = 0;
	}
	if (rc < 0)
		slot_drop(slot);
	return rc;
}

void supervisor_adopt_backups(struct supervisor *s, uint64_t now)
{
	static const char suffix[] = ".backup.pid";
	DIR *dir = opendir(s->conf.run_dir);
	const struct dirent *d;

	while (dir && (d = readdir(dir))) {
		struct err e = ERR_INIT;
		size_t len = strlen(d->d_name);
		char vm[NAME_SIZE] = "";
		int rc;

		if (len < sizeof(suffix) || len - (sizeof(suffix) - 1) >= NAME_SIZE ||
		    strcmp(d->d_name + len - (sizeof(suffix) - 1), suffix) != 0)
			continue;
		memcpy(vm, d->d_name, len - (sizeof(suffix) - 1));
		if (!name_ok(vm))
			continue;
		rc = supervisor_adopt(s, vm, WORKER_BACKUP, now, &e);
		if (rc < 0 && rc != -ESRCH)
			log_warn("vm %s: a backup worker cannot be watched: %s", vm, e.text);
	}
	if (dir)
		closedir(dir);
}

/* ---- what they say, how they end ---- */

/*
 * A backup's worker of a VM has settled here. A primary's that refused to work, because the host was lost and the VM
 * with it, says nothing of today any more.
 */
static void backup_ready(struct supervisor *s, const char *vm)
{
	struct slot *old = find_slot(s, vm, WORKER_PRIMARY);

	if (!old || old->w.state != SUPERVISED_REFUSED || s->conf.wanted(s->conf.ctx, vm))
		return;
	log_info("vm %s: this host is its backup now", vm);
	slot_drop(old);
}

static void hear(struct supervisor *s, struct slot *slot)
{
	char text[WORKER_TEXT_SIZE];
	enum worker_word word;
	int rc = 0;

	for (int i = 0; slot->status_fd >= 0 && i < WORDS_AT_A_TIME; i++) {
		rc = worker_hear(slot->status_fd, &word, text);
		if (rc <= 0)
			break;
		switch (word) {
		case WORKER_SAYS_AUTHENTICATED:
			slot->authenticated = true;
			slot->handshake_deadline_ns = CLOCK_NEVER;
			if (slot->w.side == WORKER_BACKUP && name_ok(text))
				memcpy(slot->w.vm, text, strlen(text) + 1);
			break;
		case WORKER_SAYS_READY:
			slot->w.problem[0] = 0;
			slot->said = false;
			slot->fresh = false;
			if (slot->w.side == WORKER_BACKUP)
				backup_ready(s, slot->w.vm);
			break;
		case WORKER_SAYS_ACTIVE:
			if (slot->w.side == WORKER_BACKUP && slot->authenticated && *slot->w.vm &&
			    s->conf.activated)
				s->conf.activated(s->conf.ctx, slot->w.vm);
			break;
		case WORKER_SAYS_PROBLEM:
			memcpy(slot->w.problem, text, sizeof(text));
			slot->said = true;
			break;
		}
	}
	/* It hung up, or talks nonsense: its end is seen by the pidfd. */
	if (rc < 0)
		close(take_fd(&slot->status_fd));
}

/* Fills in how it ended unless it has said it itself. */
static void note_end(struct slot *slot, const siginfo_t *info, int code)
{
	char *p = slot->w.problem;

	if (slot->said && code >= 0)
		return;
	if (code == -1)
		snprintf(p, sizeof(slot->w.problem), "ended");
	else if (code < 0)
		snprintf(p, sizeof(slot->w.problem), "was ended by signal %d (%s)", info->si_status,
			 sigabbrev_np(info->si_status) ? sigabbrev_np(info->si_status) : "?");
	else
		snprintf(p, sizeof(slot->w.problem), "ended with code %d", code);
}

/*
 * The exit code; -1 unknown (it was not our child), -2 a signal. Its pidfd is readable, so this does not
 * wait.
 */
static int reap(const struct slot *slot, siginfo_t *info)
{
	*info = (siginfo_t){0};
	if (!slot->ours)
		return -1;
	if (waitid(P_PIDFD, (id_t)slot->pidfd, info, WEXITED | WNOHANG) < 0 || !info->si_pid)
		return -1;
	return info->si_code == CLD_EXITED ? info->si_status : -2;
}

static bool is_final(int code)
{
	return code == WORKER_DONE || code == WORKER_DEPOSED || code == WORKER_REFUSED;
}

static void primary_ended(struct supervisor *s, struct slot *slot, int code, uint64_t now)
{
	bool fresh = slot->fresh;
	char vm[NAME_SIZE];

	slot->fresh = false;
	memcpy(vm, slot->w.vm, sizeof(vm));
	if (is_final(code)) {
		log_at(code == WORKER_REFUSED ? LOG_AT_ERR : LOG_AT_INFO, "vm %s: worker %d: %s",
		       vm, slot->w.pid, slot->w.problem);
		if (code == WORKER_REFUSED)
			tell(s, vm, "worker-refused", "the primary's worker, process %d: %s",
			     slot->w.pid, slot->w.problem);
		if (code == WORKER_REFUSED) {
			slot->w.state = SUPERVISED_REFUSED;
			slot->w.since_ns = now;
		} else {
			slot_drop(slot);
		}
		s->conf.ended(s->conf.ctx, vm, code, fresh);
	} else if (!s->conf.wanted(s->conf.ctx, vm)) {
		log_info("vm %s: worker %d %s and is not needed any more", vm, slot->w.pid,
			 slot->w.problem);
		slot_drop(slot);
	} else {
		plan_restart(s, slot, now);
	}
}

static void see_end(struct supervisor *s, struct slot *slot, uint64_t now)
{
	siginfo_t info;
	int code;

	hear(s, slot);
	code = reap(slot, &info);
	note_end(slot, &info, code);
	slot_unwatch(slot);
	if (slot->w.side == WORKER_PRIMARY) {
		primary_ended(s, slot, code, now);
		return;
	}
	/* The primary connects again, and a new worker is made for that. */
	if (slot->authenticated && !is_final(code)) {
		log_warn("vm %s: backup worker %d %s", slot_name(slot), slot->w.pid,
			 slot->w.problem);
		tell(s, slot->w.vm, "worker-crashed", "the backup's worker, process %d: %s",
		     slot->w.pid, slot->w.problem);
	} else {
		log_debug("vm %s: backup worker %d %s", slot_name(slot), slot->w.pid,
			  slot->w.problem);
	}
	slot_drop(slot);
}

static bool has_ended(const struct slot *slot)
{
	siginfo_t info = {0};
	int r;

	if (slot->ours) {
		r = waitid(P_PIDFD, (id_t)slot->pidfd, &info, WEXITED | WNOHANG | WNOWAIT);
		return r < 0 || info.si_pid;
	}
	return syscall(SYS_pidfd_send_signal, slot->pidfd, 0, NULL, 0) < 0 && errno == ESRCH;
}

/* ---- the loop's side ---- */

static uint64_t slot_deadline(const struct slot *slot)
{
	if (!slot->used)
		return CLOCK_NEVER;
	return slot->w.state == SUPERVISED_RESTARTING ? slot->w.restart_ns
						      : slot->handshake_deadline_ns;
}

uint64_t supervisor_deadline(const struct supervisor *s)
{
	uint64_t first = CLOCK_NEVER;

	for (int i = 0; i < SUPERVISOR_MAX_WORKERS; i++)
		first = MIN(first, slot_deadline(&s->slot[i]));
	return first;
}

static void dispatch_deadlines(struct supervisor *s, uint64_t now)
{
	for (int i = 0; i < SUPERVISOR_MAX_WORKERS; i++) {
		struct slot *slot = &s->slot[i];

		if (slot_deadline(slot) > now)
			continue;
		if (slot->w.state == SUPERVISED_RESTARTING) {
			restart(s, slot, now);
			continue;
		}
		log_limited(LOG_AT_WARN, "a connection did not authenticate in time; closed");
		slot->handshake_deadline_ns = CLOCK_NEVER;
		slot_kill(slot);
	}
}

void supervisor_dispatch(struct supervisor *s, uint64_t now)
{
	struct epoll_event ev[16];
	int n = epoll_wait(s->epoll_fd, ev, ARRAY_SIZE(ev), 0);

	for (int i = 0; i < n; i++) {
		struct slot *slot = &s->slot[ev[i].data.u32];

		/* Both descriptors of a worker may be in the list; it may have gone with the first. */
		if (!slot->used || slot->pidfd < 0)
			continue;
		hear(s, slot);
		if (has_ended(slot))
			see_end(s, slot, now);
	}
	dispatch_deadlines(s, now);
}

int supervisor_fd(const struct supervisor *s)
{
	return s->epoll_fd;
}

int supervisor_new(const struct supervisor_conf *conf, struct supervisor **out, struct err *e)
{
	struct supervisor *s = mem_zalloc(sizeof(*s));

	if (!s)
		return err_set(e, -ENOMEM, "supervisor");
	s->conf = *conf;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0) {
		mem_free(s);
		return err_set(e, -errno, "supervisor");
	}
	*out = s;
	return 0;
}

void supervisor_free(struct supervisor *s)
{
	if (!s)
		return;
	for (int i = 0; i < SUPERVISOR_MAX_WORKERS; i++) {
		if (s->slot[i].used)
			slot_unwatch(&s->slot[i]);
	}
	close(s->epoll_fd);
	mem_free(s);
}

int supervisor_forget(struct supervisor *s, const char *vm, struct err *e)
{
	struct slot *slot = find_slot(s, vm, WORKER_PRIMARY);

	if (slot && slot->w.state == SUPERVISED_RUNNING)
		return err_setx(e, -EBUSY, "vm %s has a running worker; unprotect it first", vm);
	if (slot)
		slot_drop(slot);
	return 0;
}

const struct supervised *supervisor_find(const struct supervisor *s, const char *vm,
					 enum worker_side side)
{
	for (int i = 0; i < SUPERVISOR_MAX_WORKERS; i++) {
		const struct slot *slot = &s->slot[i];

		if (slot->used && slot->w.side == side && !strcmp(slot->w.vm, vm))
			return &slot->w;
	}
	return NULL;
}

const struct supervised *supervisor_at(const struct supervisor *s, unsigned int i)
{
	for (int k = 0; k < SUPERVISOR_MAX_WORKERS; k++) {
		if (s->slot[k].used && i-- == 0)
			return &s->slot[k].w;
	}
	return NULL;
}
