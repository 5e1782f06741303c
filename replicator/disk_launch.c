/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_launch.h. */
#include "replicator/disk_launch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "replicator/launch.h"

#define STEADY_NS (60 * NS_PER_SEC)
#define BACKOFF_NS (200 * NS_PER_MS)
#define BACKOFF_MAX_NS (30 * NS_PER_SEC)

struct served {
	const char *name;
	pid_t pid; /* 0: none */
	int pidfd;
	bool ours; /* our child; else an earlier romulusd's */
	uint64_t since_ns;
	uint64_t restart_ns; /* CLOCK_NEVER: it is not to be started */
	unsigned int deaths; /* in a row */
};

struct disk_launch {
	struct disk_launch_conf conf;
	int epoll_fd;
	struct served served[CONF_MAX_DISKS];
};

uint64_t disk_launch_backoff(unsigned int deaths)
{
	if (deaths <= 1)
		return 0;
	return deaths > 9 ? BACKOFF_MAX_NS : MIN(BACKOFF_NS << (deaths - 2), BACKOFF_MAX_NS);
}

/* ---- one disk ---- */

static int watch(struct disk_launch *d, struct served *s)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)(s - d->served)};

	return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, s->pidfd, &ev) < 0 ? -errno : 0;
}

static void try_later(struct served *s, uint64_t now)
{
	s->deaths = now - s->since_ns >= STEADY_NS ? 1 : s->deaths + 1;
	s->restart_ns = clock_add(now, disk_launch_backoff(s->deaths));
}

static void start(struct disk_launch *d, struct served *s, uint64_t now)
{
	char program[CONF_PATH_SIZE + 16];
	const char *const argv[] = {program, "--config", d->conf.conf_path, s->name, NULL};
	const struct launch l = {.argv = argv};
	struct err e = ERR_INIT;
	int rc;

	snprintf(program, sizeof(program), "%s/romulus-disk", d->conf.libexec_dir);
	s->since_ns = now;
	s->restart_ns = CLOCK_NEVER;
	rc = launch(&l, &s->pid, &s->pidfd, &e);
	if (rc < 0) {
		s->pid = 0;
		s->pidfd = -1;
		log_limited(LOG_AT_WARN, "disk %s: %s; trying again", s->name, e.text);
		try_later(s, now);
		return;
	}
	s->ours = true;
	if (s->deaths < 2)
		log_info("disk %s: romulus-disk %d started", s->name, s->pid);
	if (watch(d, s) < 0)
		die("disk %s: cannot watch its process", s->name);
}

/* Who listens at its control socket? 0: nobody. */
static pid_t listener(const struct disk_launch *d, const struct served *s)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred cred = {.pid = 0};
	socklen_t size = sizeof(cred);
	int n = snprintf(to.sun_path, sizeof(to.sun_path), "%s/disk/%s.ctl", d->conf.conf->run_dir,
			 s->name);

	if (fd < 0 || n < 0 || (size_t)n >= sizeof(to.sun_path))
		return 0;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return 0;
	return cred.pid;
}

/* True: it lives already. */
static bool adopt(struct disk_launch *d, struct served *s, uint64_t now)
{
	pid_t pid = listener(d, s);
	autofd fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	/* Asked again: between the two the number may have become another's. */
	if (fd < 0 || listener(d, s) != pid)
		return false;
	s->pid = pid;
	s->pidfd = take_fd(&fd);
	s->since_ns = now;
	s->restart_ns = CLOCK_NEVER;
	log_info("disk %s: romulus-disk %d is there", s->name, pid);
	if (watch(d, s) < 0)
		die("disk %s: cannot watch its process", s->name);
	return true;
}

/* It was asked to end, and did so in order. */
static bool ended_well(const struct served *s)
{
	siginfo_t si = {.si_pid = 0};

	/* Of another's child nothing is to be learned. */
	if (!s->ours || waitid(P_PIDFD, (id_t)s->pidfd, &si, WEXITED) < 0)
		return false;
	return si.si_code == CLD_EXITED && si.si_status == 0;
}

static void on_end(struct disk_launch *d, struct served *s, uint64_t now)
{
	bool well = ended_well(s);

	(void)epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, s->pidfd, NULL);
	close(take_fd(&s->pidfd));
	if (well) {
		log_info("disk %s: romulus-disk %d has ended as it was asked to", s->name, s->pid);
		s->restart_ns = CLOCK_NEVER;
	} else {
		log_limited(LOG_AT_WARN, "disk %s: romulus-disk %d died; starting another one",
			    s->name, s->pid);
		try_later(s, now);
	}
	s->pid = 0;
	s->ours = false;
}

/* ---- all of them ---- */

static struct served *end_of(struct disk_launch *d)
{
	return d->served + d->conf.conf->n_disks;
}

void disk_launch_dispatch(struct disk_launch *d, uint64_t now)
{
	struct epoll_event ev[16];
	int n = epoll_wait(d->epoll_fd, ev, ARRAY_SIZE(ev), 0);

	for (int i = 0; i < n; i++)
		on_end(d, &d->served[ev[i].data.u32], now);
	for (struct served *s = d->served; s < end_of(d); s++) {
		/* One that a person started, or whose successor did, is as good. */
		if (!s->pid && s->restart_ns <= now && !adopt(d, s, now))
			start(d, s, now);
	}
}

uint64_t disk_launch_deadline(const struct disk_launch *d)
{
	uint64_t at = CLOCK_NEVER;

	for (size_t i = 0; i < d->conf.conf->n_disks; i++)
		if (!d->served[i].pid)
			at = MIN(at, d->served[i].restart_ns);
	return at;
}

int disk_launch_fd(const struct disk_launch *d)
{
	return d->epoll_fd;
}

pid_t disk_launch_pid(const struct disk_launch *d, const char *name)
{
	for (size_t i = 0; i < d->conf.conf->n_disks; i++)
		if (!strcmp(d->served[i].name, name))
			return d->served[i].pid;
	return 0;
}

int disk_launch_new(const struct disk_launch_conf *c, uint64_t now, struct disk_launch **out,
		    struct err *e)
{
	struct disk_launch *d = mem_zalloc(sizeof(*d));

	if (!d)
		return err_set(e, -ENOMEM, "disks");
	d->conf = *c;
	for (size_t i = 0; i < c->conf->n_disks; i++)
		d->served[i] = (struct served){
			.name = c->conf->disk[i].name, .pidfd = -1, .restart_ns = now};
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll_fd < 0) {
		mem_free(d);
		return err_set(e, -errno, "disks");
	}
	disk_launch_dispatch(d, now);
	*out = d;
	return 0;
}

void disk_launch_free(struct disk_launch *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->conf.conf->n_disks; i++)
		if (d->served[i].pidfd >= 0)
			close(d->served[i].pidfd);
	close(d->epoll_fd);
	mem_free(d);
}
