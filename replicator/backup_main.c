// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * romulus-backup --fd N: the backup's side of one session, made by romulusd for one accepted connection.
 * Options, configuration, wiring, the loop. Decides nothing: that is backup.c. Control thread.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <systemd/sd-event.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/tls.h"
#include "replicator/backup_shell.h"

struct options {
	const char *conf_path;
	int status_fd;
	int fd;
};

struct main_ctx {
	struct options opt;
	const struct conf *conf;
	struct tls_ctx *tls;
	sd_event *loop;
	struct backup_shell shell;
};

static int usage(int rc)
{
	fputs("usage: romulus-backup [--config FILE] [--status-fd N] --fd N\n"
	      "Started by romulusd; see romulus-backup(8).\n",
	      rc ? stderr : stdout);
	return rc;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"status-fd", required_argument, NULL, 's'},
		{"fd", required_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.conf_path = CONF_DEFAULT_PATH, .status_fd = -1, .fd = -1};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 's':
			o->status_fd = (int)strtol(optarg, NULL, 10);
			break;
		case 'f':
			o->fd = (int)strtol(optarg, NULL, 10);
			break;
		case 'h':
			exit(usage(0));
		case 'V':
			puts("romulus-backup " VERSION_TEXT);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	return optind == argc && o->fd >= 0 ? 0 : -EINVAL;
}

static int on_message(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct backup_shell *s = arg;
	struct bd_msg m;

	while (!s->finished && backup_data_next(s->data, &m))
		backup_shell_message(s, &m);
	return 0;
}

static int on_signal(sd_event_source *src, const struct signalfd_siginfo *si, void *arg)
{
	struct backup_shell *s = arg;

	log_info("asked to end%s", s->standby ? "; a standby that does not run is destroyed" : "");
	return sd_event_exit(s->loop, 0);
}

static int set_up(struct main_ctx *m, struct err *e)
{
	struct tls_conf tc;
	struct bd_conf dc = {.fd = m->opt.fd};
	struct timing t;
	int rc = conf_load(m->opt.conf_path, &m->conf, e);

	if (rc < 0)
		return rc;
	if (log_set_level(NULL, (enum log_level)m->conf->log_level) < 0)
		log_warn("unknown log level");
	tc = (struct tls_conf){.ca = m->conf->tls_ca,
			       .cert = m->conf->tls_cert,
			       .key = m->conf->tls_key,
			       .ktls = m->conf->tls_ktls};
	rc = tls_ctx_new(&m->tls, &tc, e);
	if (rc < 0)
		return rc;
	rc = sd_event_new(&m->loop);
	if (rc < 0)
		return err_set(e, rc, "event loop");
	m->shell.conf = m->conf;
	m->shell.loop = m->loop;
	m->shell.status_fd = m->opt.status_fd;
	m->shell.conf_path = m->opt.conf_path;
	rc = backup_shell_start(&m->shell, e);
	if (rc < 0)
		return rc;
	conf_timing(m->conf, &t);
	dc.tls = m->tls;
	dc.conf = m->conf;
	dc.handshake_timeout_ns = m->conf->handshake_timeout_ns;
	dc.send_timeout_ns = t.send_timeout_ns;
	rc = backup_data_new(&m->shell.data, &dc, e);
	if (rc < 0)
		return rc;
	rc = sd_event_add_io(m->loop, NULL, backup_data_fd(m->shell.data), EPOLLIN, on_message,
			     &m->shell);
	if (rc >= 0)
		rc = sd_event_add_signal(m->loop, NULL, SIGTERM, on_signal, &m->shell);
	if (rc >= 0)
		rc = sd_event_add_signal(m->loop, NULL, SIGINT, on_signal, &m->shell);
	return rc < 0 ? err_set(e, rc, "event loop") : 0;
}

static void tear_down(struct main_ctx *m)
{
	/* The child first: it must know that nobody wants the standby before its stream is closed. */
	if (m->shell.timer)
		backup_shell_stop(&m->shell);
	backup_data_free(m->shell.data);
	tls_ctx_free(m->tls);
	sd_event_unref(m->loop);
	conf_free(m->conf);
}

int main(int argc, char **argv)
{
	struct main_ctx m = {.conf = NULL};
	struct err e = ERR_INIT;
	sigset_t mask;
	int code = WORKER_REFUSED;

	if (parse(argc, argv, &m.opt) < 0)
		return usage(2);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (set_up(&m, &e) < 0) {
		log_err("%s", e.text);
		worker_say(m.opt.status_fd, WORKER_SAYS_PROBLEM, e.text);
		tear_down(&m);
		return code;
	}
	if (mlockall(MCL_CURRENT) < 0)
		log_warn("memory is not locked: %s", strerror(errno));
	if (sd_event_loop(m.loop) < 0)
		log_err("event loop failed");
	code = m.shell.exit_code;
	tear_down(&m);
	return code;
}
