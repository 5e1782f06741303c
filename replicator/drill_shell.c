// SPDX-License-Identifier: GPL-2.0-or-later
/* See drill_shell.h. Control thread. */
#include "replicator/drill_shell.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "replicator/config_fd.h"
#include "replicator/drill_keep.h"
#include "replicator/drill_share.h"

#define PROGRAM LIBEXEC_DIR "/romulus-drill"
#define MAX_ARGS (24 + 2 * WIRE_MAX_DISKS)

static const char *program_of(const struct drill_shell *d)
{
	return d->program ? d->program : PROGRAM;
}

void drill_shell_init(struct drill_shell *d)
{
	*d = (struct drill_shell){.pidfd = -1, .ctl_fd = -1};
	drill_rule_init(&d->rule);
}

/* ---- time ---- */

static int on_timer(sd_event_source *src, uint64_t usec, void *arg);

static void arm(struct drill_shell *d)
{
	uint64_t at = drill_rule_deadline(&d->rule);
	int r = 0;

	if (!d->timer && at != CLOCK_NEVER)
		r = sd_event_add_time(d->loop, &d->timer, CLOCK_BOOTTIME, UINT64_MAX, 1, on_timer,
				      d);
	if (d->timer && at == CLOCK_NEVER) {
		r = sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
	} else if (d->timer) {
		r = sd_event_source_set_time(d->timer, at / NS_PER_US + 1);
		if (r >= 0)
			r = sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
	}
	/* Without it a drill would outlive who asked for it. */
	if (r < 0 && d->pid)
		(void)kill(d->pid, SIGKILL);
}

static int on_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	struct drill_shell *d = arg;

	switch (drill_rule_due(&d->rule, clock_now())) {
	case DRILL_DUE_KILL:
		log_warn("romulus-drill %d does not end; killing it", (int)d->pid);
		if (d->pid)
			(void)kill(d->pid, SIGKILL);
		break;
	case DRILL_DUE_END:
		drill_shell_end(d, "nobody asked for it any more");
		break;
	case DRILL_DUE_NOTHING:
		break;
	}
	arm(d);
	return 0;
}

/* ---- what it says ---- */

static void no_more(struct drill_shell *d)
{
	d->ctl_io = sd_event_source_disable_unref(d->ctl_io);
	if (d->ctl_fd >= 0)
		close(take_fd(&d->ctl_fd));
}

/* Our own process, but a text of a guest's probe is in it: taken when it is JSON. */
static void take_report(struct drill_shell *d, const char *text, size_t size)
{
	struct json_in *j = NULL;
	struct err e = ERR_INIT;

	if (json_in_parse(text, size, &j, &e) < 0) {
		log_limited(LOG_AT_WARN, "romulus-drill reports nonsense: %s", e.text);
		return;
	}
	d->over = json_in_bool(j, "over", false);
	memcpy(d->report, text, size);
	d->size = size;
	json_in_free(j);
}

static void hear(struct drill_shell *d)
{
	char text[DRILL_REPORT_MAX];

	while (d->ctl_fd >= 0) {
		ssize_t n = recv(d->ctl_fd, text, sizeof(text), MSG_DONTWAIT);

		if (n > 0)
			take_report(d, text, (size_t)n);
		else if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		else
			no_more(d);
	}
}

static int on_ctl(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	hear(arg);
	return 0;
}

/* ---- how it ends ---- */

static void put_last_words(struct drill_shell *d, const char *how, int number)
{
	struct drill_report r = {.phase = DRILL_OVER, .epoch = UINT64_MAX};
	struct json *j = json_out_new();
	const char *line;
	size_t len = 0;

	snprintf(r.vm, sizeof(r.vm), "%s", d->vm);
	snprintf(r.host, sizeof(r.host), "%s", d->conf->host_name);
	r.verdict = DRILL_BROKEN;
	snprintf(r.why, sizeof(r.why), "romulus-drill ended before its drill did (%s %d)", how,
		 number);
	if (j)
		drill_report_put(j, &r, 0);
	line = j ? json_out_line(j, &len) : NULL;
	d->over = true;
	d->size = line ? MIN(len, sizeof(d->report)) : 0;
	if (line)
		memcpy(d->report, line, d->size);
	json_out_free(j);
}

static int watch(struct drill_shell *d, struct err *e);

static void clean_up(struct drill_shell *d)
{
	struct err e = ERR_INIT;

	log_warn("a drill has left something behind; cleaning up");
	drill_rule_cleaning(&d->rule);
	if (drill_keep_clean(program_of(d), d->conf, d->vm, &d->pid, &d->pidfd, &e) < 0 ||
	    watch(d, &e) < 0) {
		log_err("what a drill has left stays: %s", e.text);
		d->pid = 0;
		(void)drill_rule_gone(&d->rule, false, false);
	}
}

static int on_exit_of(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct drill_shell *d = arg;
	bool cleaned = d->rule.stage == DRILL_STAGE_CLEANING;
	siginfo_t si = {.si_pid = 0};
	bool tidy, left;

	hear(d);
	if (waitid(P_PIDFD, (id_t)d->pidfd, &si, WEXITED) < 0)
		log_warn("romulus-drill: %s", strerrordesc_np(errno));
	d->pid_io = sd_event_source_disable_unref(d->pid_io);
	close(take_fd(&d->pidfd));
	no_more(d);
	d->pid = 0;
	tidy = si.si_code == CLD_EXITED && si.si_status == DRILL_EXIT_DONE;
	left = drill_rule_gone(&d->rule, tidy,
			       si.si_code == CLD_EXITED && si.si_status == DRILL_EXIT_BUSY);
	arm(d);
	if (cleaned) {
		if (!tidy)
			log_err("what a drill has left could not be cleaned up; the next drill, or the "
				"next start of romulusd, tries again");
		return 0;
	}
	d->ops->end(d->arg);
	if (!d->over)
		put_last_words(d, si.si_code == CLD_EXITED ? "status" : "signal", si.si_status);
	if (left)
		clean_up(d);
	return 0;
}

/* ---- how it begins ---- */

static int watch(struct drill_shell *d, struct err *e)
{
	int r = sd_event_add_io(d->loop, &d->pid_io, d->pidfd, EPOLLIN, on_exit_of, d);

	if (r >= 0)
		return 0;
	/* Nobody would ever know how it ends. */
	(void)syscall(SYS_pidfd_send_signal, d->pidfd, SIGKILL, NULL, 0);
	(void)waitid(P_PIDFD, (id_t)d->pidfd, &(siginfo_t){0}, WEXITED);
	close(take_fd(&d->pidfd));
	d->pid = 0;
	return err_set(e, r, "watch romulus-drill");
}

struct start {
	struct drill_request request;
	char path[CONF_PATH_SIZE + NAME_SIZE]; /* of a probe that the peer has named */
};

static int launch_drill(struct drill_shell *d, const struct start *st, const int fds[3],
			struct err *e)
{
	char time_ms[24];
	const char *argv[MAX_ARGS] = {
		program_of(d), "--vm",		 d->vm,	      "--host",	     d->conf->host_name,
		"--run-dir",   d->conf->run_dir, "--time-ms", time_ms,	     "--ctl-fd",
		"3",	       "--share-fd",	 "4",	      "--config-fd", "5",
	};
	int n = 15;

	snprintf(time_ms, sizeof(time_ms), "%" PRIu64, st->request.time_ms);
	if (st->path[0]) {
		argv[n++] = "--probe-path";
		argv[n++] = st->path;
	} else if (st->request.probe[0]) {
		argv[n++] = "--probe";
		argv[n++] = st->request.probe;
	}
	if (d->conf->path[0]) {
		argv[n++] = "--config";
		argv[n++] = d->conf->path;
	}
	for (unsigned int i = 0; i < d->n_disks; i++) {
		argv[n++] = "--disk";
		argv[n++] = d->disk[i];
	}
	argv[n] = NULL;
	return drill_keep_spawn(argv, fds, 3, &d->pid, &d->pidfd, e);
}

static int open_ctl(struct drill_shell *d, int *theirs, struct err *e)
{
	int pair[2];
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, -errno, "socket to the drill");
	d->ctl_fd = pair[0];
	*theirs = pair[1];
	r = sd_event_add_io(d->loop, &d->ctl_io, d->ctl_fd, EPOLLIN, on_ctl, d);
	return r < 0 ? err_set(e, r, "socket to the drill") : 0;
}

static int begin(struct drill_shell *d, const struct start *st, struct err *e)
{
	struct drill_share *share = NULL;
	autofd share_fd = -1;
	autofd config = -1;
	autofd ctl = -1;
	int rc = drill_share_make(&share, d->mem_pages, &share_fd, e);

	if (rc == 0)
		rc = config_fd_make(d->json, d->json_size, &config, e);
	if (rc == 0)
		rc = open_ctl(d, &ctl, e);
	if (rc == 0)
		rc = launch_drill(d, st, (const int[]){ctl, share_fd, config}, e);
	if (rc == 0)
		rc = watch(d, e);
	if (rc < 0) {
		d->pid = 0;
		no_more(d);
		drill_share_close(share);
		return rc;
	}
	d->ops->begin_take(d->arg, share);
	d->over = false;
	d->size = 0;
	drill_rule_begun(&d->rule, clock_now());
	arm(d);
	log_info("a drill begins: romulus-drill %d", (int)d->pid);
	return 0;
}

static int start(struct drill_shell *d, const struct drill_asked *a, struct start *st,
		 struct err *e)
{
	int rc = drill_rule_check(&d->rule, a->may && d->json);

	if (rc == -EBUSY)
		return err_setx(e, -EBUSY, "a drill of %s is %s", d->vm,
				d->rule.stage == DRILL_STAGE_CLEANING ? "being cleaned up after"
								      : "under way already");
	if (rc < 0)
		return err_setx(e, -ENOTCONN,
				"%s has no standby here that is kept up to date: a drill needs a "
				"protected VM",
				d->vm);
	if (a->by_peer && st->request.probe[0] &&
	    drill_request_remote(&st->request, d->conf->drill_probe_dir, st->path, sizeof(st->path),
				 e) < 0)
		return -EPERM;
	/* Said now, not when the copy lives. */
	if (st->path[0] && access(st->path, X_OK) < 0)
		return err_set(e, -errno, "probe %s of host %s", st->path, d->conf->host_name);
	return begin(d, st, e);
}

/* ---- requests ---- */

static int put_report(struct drill_shell *d, struct json *reply, struct err *e)
{
	struct json_in *j = NULL;
	int rc;

	if (!d->size && !d->pid)
		return err_setx(e, -ENOENT, "there was no drill of %s in this session", d->vm);
	if (!d->size) {
		json_out_text(json_out_object(reply, "drill"), "phase", "preparing");
		return 0;
	}
	rc = json_in_parse(d->report, d->size, &j, e);
	if (rc == 0)
		json_out_value(reply, "drill", j);
	json_in_free(j);
	return rc;
}

int drill_shell_request(struct drill_shell *d, const struct drill_asked *a, struct json *reply,
			struct err *e)
{
	struct start st = {.path = ""};
	int rc = drill_request_parse(&st.request, a->text, a->size, e);

	if (rc < 0)
		return rc;
	if (st.request.verb == DRILL_START)
		rc = start(d, a, &st, e);
	else if (st.request.verb == DRILL_END)
		drill_shell_end(d, "the operator called it off");
	if (rc < 0)
		return rc;
	drill_rule_asked(&d->rule, clock_now());
	arm(d);
	return put_report(d, reply, e);
}

void drill_shell_end(struct drill_shell *d, const char *why)
{
	char text[ERR_TEXT_SIZE];
	int n;

	if (!drill_rule_end(&d->rule, clock_now()))
		return;
	log_info("the drill ends: %s", why);
	n = snprintf(text, sizeof(text), "end %s", why);
	/* One that cannot be told is killed: its helper takes the copy away when it sees that. */
	if (d->ctl_fd < 0 || send(d->ctl_fd, text, MIN((size_t)n, sizeof(text) - 1),
				  MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		(void)kill(d->pid, SIGKILL);
	d->ops->end(d->arg);
	arm(d);
}

void drill_shell_fini(struct drill_shell *d)
{
	no_more(d);
	d->pid_io = sd_event_source_disable_unref(d->pid_io);
	d->timer = sd_event_source_disable_unref(d->timer);
	if (d->pidfd >= 0)
		close(take_fd(&d->pidfd));
	mem_free(d->json);
	d->json = NULL;
	d->pid = 0;
	drill_rule_init(&d->rule);
}
