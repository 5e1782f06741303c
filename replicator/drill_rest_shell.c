// SPDX-License-Identifier: GPL-2.0-or-later
/* See drill_rest_shell.h. The loop's thread. */
#include "replicator/drill_rest_shell.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "replicator/drill_keep.h"

struct search {
	sd_event *event;
	const struct conf *conf;
	char program[PATH_MAX];
};

static int on_end(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	siginfo_t si = {.si_pid = 0};

	if (waitid(P_PIDFD, (id_t)fd, &si, WEXITED) == 0 &&
	    (si.si_code != CLD_EXITED || si.si_status == DRILL_EXIT_LEFT))
		log_warn("what a drill had left is not all gone; see romulus-drill(8)");
	sd_event_source_disable_unref(src);
	return 0;
}

void drill_rest_clean_vm(sd_event *event, const char *program, const struct conf *conf,
			 const char *vm)
{
	struct err e = ERR_INIT;
	sd_event_source *src;
	int pidfd = -1;
	pid_t pid;
	int r;

	log_warn("vm %s: a drill has left something behind; cleaning up", vm);
	if (drill_keep_clean(program, conf, vm, &pid, &pidfd, &e) < 0) {
		log_err("vm %s: what a drill has left stays: %s", vm, e.text);
		return;
	}
	r = sd_event_add_io(event, &src, pidfd, EPOLLIN, on_end, NULL);
	if (r >= 0) {
		(void)sd_event_source_set_io_fd_own(src, 1);
		return;
	}
	/* It goes on; nobody hears how it ends. */
	log_warn("vm %s: %s", vm, strerrordesc_np(-r));
	close(pidfd);
}

static void clean(void *arg, const char *vm)
{
	const struct search *s = arg;

	drill_rest_clean_vm(s->event, s->program, s->conf, vm);
}

void drill_rest_clean(sd_event *event, const char *libexec_dir, const struct conf *conf)
{
	struct search s = {.event = event, .conf = conf};

	if (snprintf(s.program, sizeof(s.program), "%s/romulus-drill", libexec_dir) <
	    (int)sizeof(s.program))
		drill_keep_scan(conf->run_dir, clean, &s);
}
