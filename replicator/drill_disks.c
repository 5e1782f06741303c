/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_disks.h. */
#include "replicator/drill_disks.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/spawn.h"
#include "replicator/drill_keep.h"
#include "replicator/epoch.h"

#define PROGRAM LIBEXEC_DIR "/romulus-drill-disk"
/* For an answer: a disk may have to work off what leads to an epoch. */
#define ANSWER_NS (9 * NS_PER_SEC)
#define END_NS (10 * NS_PER_SEC)
#define CLEAN_NS (20 * NS_PER_SEC)

static const char *program_of(const struct drill_disks *d)
{
	return d->program ? d->program : PROGRAM;
}

void drill_disks_init(struct drill_disks *d)
{
	*d = (struct drill_disks){.wake_fd = -1};
}

int drill_disks_add(struct drill_disks *d, const char *name)
{
	if (d->n == ARRAY_SIZE(d->disk) || !name_ok(name))
		return -EINVAL;
	d->disk[d->n++] = (struct drill_disk){.name = name, .ctl = -1, .pidfd = -1};
	return 0;
}

/* ---- what they say ---- */

/* A text of one of them; want is the answer that is awaited, NULL: none. */
static int take(struct drill_disks *d, struct drill_disk *k, const char *text, const char *want,
		struct err *e)
{
	uint64_t n;

	if (strncmp(text, "error ", 6) == 0)
		return err_setx(e, -EIO, "%s", text + 6);
	if (sscanf(text, "used %" SCNu64, &n) == 1) {
		k->used = n;
		return 0;
	}
	if (!want || strncmp(text, want, strlen(want)) != 0)
		return err_setx(e, -EPROTO, "disk %s: its view says '%.60s'", k->name, text);
	k->answered = true;
	if (sscanf(text, "held %" SCNu64, &n) == 1)
		d->least = d->least == EPOCH_NONE ? n : MAX(d->least, n);
	return 0;
}

static int hear(struct drill_disks *d, struct drill_disk *k, const char *want, struct err *e)
{
	for (;;) {
		char text[ERR_TEXT_SIZE];
		ssize_t n = recv(k->ctl, text, sizeof(text) - 1, MSG_DONTWAIT);
		int rc;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return err_setx(e, -EPIPE,
					"disk %s: romulus-drill-disk has ended; its log says why",
					k->name);
		text[n] = '\0';
		rc = take(d, k, text, want, e);
		if (rc < 0)
			return rc;
	}
}

static bool all_answered(const struct drill_disks *d)
{
	bool all = true;

	for (unsigned int i = 0; i < d->n; i++)
		all = all && d->disk[i].answered;
	return all;
}

static int await(struct drill_disks *d, const char *want, struct err *e)
{
	uint64_t deadline = clock_add(clock_now(), ANSWER_NS);
	struct pollfd p[WIRE_MAX_DISKS + 1];
	int rc = 0;

	while (rc == 0 && !all_answered(d)) {
		uint64_t now = clock_now();

		if (now >= deadline)
			return err_setx(
				e, -ETIMEDOUT,
				"the drill's view of a disk did not say '%s' in %d s: is the disk, "
				"or its journal, that slow? The log of its romulus-disk tells more",
				want, (int)(ANSWER_NS / NS_PER_SEC));
		p[d->n] = (struct pollfd){.fd = d->wake_fd, .events = POLLIN};
		for (unsigned int i = 0; i < d->n; i++)
			p[i] = (struct pollfd){.fd = d->disk[i].ctl, .events = POLLIN};
		if (poll(p, d->n + 1, clock_poll_ms(deadline - now)) < 0 && errno != EINTR)
			return err_set(e, -errno, "wait for the disks");
		for (unsigned int i = 0; rc == 0 && i < d->n; i++)
			rc = hear(d, &d->disk[i], want, e);
		if (rc == 0 && p[d->n].revents)
			return err_setx(e, -ECANCELED, "told to end");
	}
	return rc;
}

static int tell_all(struct drill_disks *d, const char *text, struct err *e)
{
	for (unsigned int i = 0; i < d->n; i++) {
		struct drill_disk *k = &d->disk[i];

		k->answered = false;
		if (send(k->ctl, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return err_set(e, -errno, "disk %s: its view", k->name);
	}
	return 0;
}

/* ---- their life ---- */

static int start_one(struct drill_disks *d, struct drill_disk *k, struct err *e)
{
	const char *const argv[] = {program_of(d), "--config", d->conf_path, "--vm", d->vm,
				    "--ctl-fd",	   "3",	       k->name,	     NULL};
	autofd theirs = -1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, -errno, "socket to a disk's view");
	k->ctl = pair[0];
	theirs = pair[1];
	return drill_keep_spawn(argv, &theirs, 1, &k->pid, &k->pidfd, e);
}

int drill_disks_start(struct drill_disks *d, struct err *e)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < d->n; i++)
		rc = start_one(d, &d->disk[i], e);
	return rc < 0 ? rc : await(d, "here", e);
}

int drill_disks_hold(struct drill_disks *d, uint64_t *least, struct err *e)
{
	int rc = tell_all(d, "hold", e);

	d->least = EPOCH_NONE;
	if (rc == 0)
		rc = await(d, "held", e);
	*least = d->least;
	return rc;
}

int drill_disks_at(struct drill_disks *d, uint64_t epoch, struct err *e)
{
	char text[32];
	int rc;

	snprintf(text, sizeof(text), "at %" PRIu64, epoch);
	rc = tell_all(d, text, e);
	return rc < 0 ? rc : await(d, "serving", e);
}

int drill_disks_look(struct drill_disks *d, struct err *e)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < d->n; i++)
		if (d->disk[i].ctl >= 0)
			rc = hear(d, &d->disk[i], NULL, e);
	return rc;
}

uint64_t drill_disks_used(const struct drill_disks *d)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < d->n; i++)
		sum += d->disk[i].used;
	return sum;
}

/* Their sockets' end is theirs. */
static bool reap(struct drill_disk *k, uint64_t deadline)
{
	struct pollfd p = {.fd = k->pidfd, .events = POLLIN};
	siginfo_t si = {.si_pid = 0};

	if (!k->pid)
		return true;
	if (poll(&p, 1, clock_poll_ms(clock_until(deadline, clock_now()))) <= 0) {
		log_warn("disk %s: its view does not end; killing it", k->name);
		(void)kill(k->pid, SIGKILL);
	}
	(void)waitid(P_PID, (id_t)k->pid, &si, WEXITED);
	k->pid = 0;
	close(take_fd(&k->pidfd));
	return si.si_code == CLD_EXITED && si.si_status == 0;
}

bool drill_disks_end(struct drill_disks *d)
{
	uint64_t deadline = clock_add(clock_now(), END_NS);
	bool tidy = true;

	for (unsigned int i = 0; i < d->n; i++)
		if (d->disk[i].ctl >= 0)
			close(take_fd(&d->disk[i].ctl));
	for (unsigned int i = 0; i < d->n; i++)
		tidy = reap(&d->disk[i], deadline) && tidy;
	return tidy;
}

int drill_disks_clean(const struct drill_disks *d, struct err *e)
{
	const char *const argv[] = {program_of(d), "--config", d->conf_path, "--vm",
				    d->vm,	   "--clean",  NULL};
	char out[512];
	struct spawn sp = {
		.argv = argv, .timeout_ns = CLEAN_NS, .out = out, .out_size = sizeof(out)};

	return spawn_check(&sp, e);
}
