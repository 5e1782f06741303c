/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulusd: the host's daemon. Wiring only: options, directories, the peer listener, the control socket,
 * the supervisor, one sd-event loop. One thread. It decides nothing about a VM and may die at any time.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/ctl_server.h"
#include "lib/ctl_std.h"
#include "lib/err.h"
#include "lib/event_log.h"
#include "lib/listen.h"
#include "lib/log.h"
#include "replicator/disk_launch.h"
#include "replicator/drill_rest_shell.h"
#include "replicator/host_ctl.h"
#include "replicator/supervisor.h"

/* After accept() found no descriptor or memory left. */
#define ACCEPT_PAUSE_NS (200 * NS_PER_MS)

const char *argp_program_version = "romulusd " VERSION_TEXT;

struct options {
	const char *conf_path;
	const char *libexec_dir;
	bool check_config;
};

struct daemon {
	struct host host;
	sd_event *event;
	struct ctl_server *ctl;
	int listen_fd;
	sd_event_source *listener;
	sd_event_source *accept_again;
	struct disk_launch *disks;
	sd_event_source *worker_io;
	sd_event_source *disk_io;
	sd_event_source *worker_timer;
};

/* ---- options ---- */

enum {
	OPT_LIBEXEC = 256
};

static const struct argp_option option_list[] = {
	{"config", 'c', "FILE", 0, "Read FILE instead of " CONF_DEFAULT_PATH, 0},
	{"check-config", 'n', NULL, 0, "Print what the configuration means, and end", 0},
	{"libexec-dir", OPT_LIBEXEC, "DIR", 0, "Where the workers' programs are", 0},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'c':
		o->conf_path = arg;
		return 0;
	case 'n':
		o->check_config = true;
		return 0;
	case OPT_LIBEXEC:
		o->libexec_dir = arg;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument \"%s\"", arg);
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- the peer listener ---- */

static void serve_connection(struct daemon *d, int fd)
{
	struct err e = ERR_INIT;

	if (supervisor_connection(d->host.workers, fd, clock_now(), &e) < 0)
		log_limited(LOG_AT_WARN, "a connection was closed at once: %s", e.text);
}

static int on_accept_again(sd_event_source *source, uint64_t usec, void *arg)
{
	struct daemon *d = arg;

	return sd_event_source_set_enabled(d->listener, SD_EVENT_ON);
}

static int pause_accepting(struct daemon *d)
{
	uint64_t at = (clock_now() + ACCEPT_PAUSE_NS) / NS_PER_US;
	int r = sd_event_source_set_enabled(d->listener, SD_EVENT_OFF);

	if (r >= 0)
		r = sd_event_source_set_time(d->accept_again, at);
	if (r >= 0)
		r = sd_event_source_set_enabled(d->accept_again, SD_EVENT_ONESHOT);
	return r;
}

static int on_listen(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	autofd accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (accepted >= 0) {
		serve_connection(arg, accepted);
		return 0;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return 0;
	log_limited(LOG_AT_WARN, "accept: %s; trying again soon", strerrordesc_np(errno));
	return pause_accepting(arg);
}

static int listen_for_peers(struct daemon *d, struct err *e)
{
	const struct conf *c = d->host.conf;
	int r;

	d->listen_fd = listen_at(c->listen_address, (uint16_t)c->listen_port, e);
	if (d->listen_fd < 0)
		return d->listen_fd;
	r = sd_event_add_io(d->event, &d->listener, d->listen_fd, EPOLLIN, on_listen, d);
	if (r >= 0)
		r = sd_event_add_time(d->event, &d->accept_again, CLOCK_BOOTTIME, 0, 1,
				      on_accept_again, d);
	if (r >= 0)
		r = sd_event_source_set_enabled(d->accept_again, SD_EVENT_OFF);
	return r < 0 ? err_set(e, r, "watch the listener") : 0;
}

/* ---- the supervisor, and the disks ---- */

static int on_workers(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct daemon *d = arg;

	supervisor_dispatch(d->host.workers, clock_now());
	disk_launch_dispatch(d->disks, clock_now());
	host_dispatch(&d->host, clock_now());
	return 0;
}

static int on_worker_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	return on_workers(source, -1, 0, arg);
}

/* Before each wait: commands and events alike may have moved the deadline. */
static int arm_worker_timer(sd_event_source *source, void *arg)
{
	struct daemon *d = arg;
	uint64_t at = MIN(supervisor_deadline(d->host.workers), disk_launch_deadline(d->disks));
	int r;

	at = MIN(at, host_deadline(&d->host));
	if (at == CLOCK_NEVER)
		return sd_event_source_set_enabled(d->worker_timer, SD_EVENT_OFF);
	r = sd_event_source_set_time(d->worker_timer, at / NS_PER_US + 1);
	return r < 0 ? r : sd_event_source_set_enabled(d->worker_timer, SD_EVENT_ONESHOT);
}

static int watch_workers(struct daemon *d, struct err *e)
{
	int r = sd_event_add_io(d->event, &d->worker_io, supervisor_fd(d->host.workers), EPOLLIN,
				on_workers, d);

	if (r >= 0)
		r = sd_event_add_io(d->event, &d->disk_io, disk_launch_fd(d->disks), EPOLLIN,
				    on_workers, d);
	if (r >= 0)
		r = sd_event_add_time(d->event, &d->worker_timer, CLOCK_BOOTTIME, 0, 1,
				      on_worker_timer, d);
	if (r >= 0)
		r = sd_event_source_set_prepare(d->worker_io, arm_worker_timer);
	return r < 0 ? err_set(e, r, "watch the workers") : 0;
}

/* ---- start and end ---- */

static int make_dir(const char *path, struct err *e)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return err_set(e, -errno, "make folder %s", path);
}

static int watch_signals(struct daemon *d, struct err *e)
{
	sigset_t mask;
	int r;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	r = sd_event_add_signal(d->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_set_watchdog(d->event, true);
	return r < 0 ? err_set(e, r, "watch signals") : 0;
}

static void begin_events(struct daemon *d)
{
	const struct conf *c = d->host.conf;
	const struct event_log_conf ec = {.state_dir = c->state_dir,
					  .run_dir = c->run_dir,
					  .host = c->host_name,
					  .by = "romulusd"};
	struct err e = ERR_INIT;

	if (event_log_new(&d->host.events, &ec, &e) < 0)
		log_warn("events are not written down: %s", e.text);
	event_log_say(d->host.events, "romulusd-started", NULL, "version " VERSION_TEXT);
}

static int set_up(struct daemon *d, const struct options *o, struct err *e)
{
	const struct conf *c = d->host.conf;
	const struct supervisor_conf sc = {
		.libexec_dir = o->libexec_dir,
		.conf_path = o->conf_path,
		.run_dir = c->run_dir,
		.max_unauthenticated = (uint32_t)c->max_unauthenticated,
		.handshake_timeout_ns = c->handshake_timeout_ns,
		.ctx = &d->host,
		.wanted = host_wanted,
		.ended = host_ended,
		.told = host_told,
		.activated = host_activated,
	};
	const struct disk_launch_conf dc = {
		.libexec_dir = o->libexec_dir, .conf_path = o->conf_path, .conf = c};
	char path[CONF_RUN_DIR_SIZE + 16];
	int rc = make_dir(c->run_dir, e);

	if (!rc)
		rc = make_dir(c->state_dir, e);
	if (!rc && sd_event_default(&d->event) < 0)
		rc = err_set(e, -ENOMEM, "event loop");
	if (!rc)
		rc = watch_signals(d, e);
	/* First of all: it also keeps a second romulusd out. */
	snprintf(path, sizeof(path), "%s/romulusd.ctl", c->run_dir);
	if (!rc)
		rc = ctl_server_new(d->event, path, &d->ctl, e);
	if (!rc)
		begin_events(d);
	if (!rc)
		rc = supervisor_new(&sc, &d->host.workers, e);
	if (!rc)
		rc = disk_launch_new(&dc, clock_now(), &d->disks, e);
	if (!rc)
		rc = watch_workers(d, e);
	if (!rc)
		rc = ctl_std_add(d->ctl, "romulusd");
	if (!rc)
		rc = host_ctl_add(d->ctl, &d->host);
	return rc ? rc : listen_for_peers(d, e);
}

static int run(struct daemon *d, const struct options *o, struct err *e)
{
	int rc = set_up(d, o, e);

	if (rc < 0)
		return rc;
	host_adopt_all(&d->host, clock_now());
	drill_rest_clean(d->event, o->libexec_dir, d->host.conf);
	sd_notifyf(0, "READY=1\nSTATUS=listening at %s port %u", d->host.conf->listen_address,
		   (unsigned int)d->host.conf->listen_port);
	log_info("host %s: listening at %s port %u, %zu peers", d->host.conf->host_name,
		 d->host.conf->listen_address, (unsigned int)d->host.conf->listen_port,
		 d->host.conf->n_peers);
	rc = sd_event_loop(d->event);
	sd_notify(0, "STOPPING=1");
	log_info("ending; the workers go on");
	event_log_say(d->host.events, "romulusd-ended", NULL, "the workers go on");
	return rc < 0 ? err_set(e, rc, "event loop") : 0;
}

static void tear_down(struct daemon *d)
{
	ctl_server_free(d->ctl);
	sd_event_source_disable_unref(d->worker_timer);
	sd_event_source_disable_unref(d->worker_io);
	sd_event_source_disable_unref(d->accept_again);
	sd_event_source_disable_unref(d->listener);
	if (d->listen_fd >= 0)
		close(d->listen_fd);
	sd_event_source_disable_unref(d->disk_io);
	disk_launch_free(d->disks);
	supervisor_free(d->host.workers);
	sd_event_unref(d->event);
	event_log_free(d->host.events);
	conf_free(d->host.conf);
}

int main(int argc, char **argv)
{
	const struct argp argp = {
		option_list, parse_option,
		NULL,	     "Protects VMs of this host, and stands by for those of its peers.",
		NULL,	     NULL,
		NULL};
	struct options o = {.conf_path = CONF_DEFAULT_PATH, .libexec_dir = LIBEXEC_DIR};
	struct daemon d = {.listen_fd = -1};
	struct err e = ERR_INIT;
	int rc;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	d.host.started_ns = clock_now();
	rc = conf_load(o.conf_path, &d.host.conf, &e);
	if (!rc && o.check_config) {
		conf_print(d.host.conf, stdout);
	} else if (!rc) {
		rc = log_set_level(NULL, (enum log_level)d.host.conf->log_level);
		rc = rc ? rc : run(&d, &o, &e);
	}
	tear_down(&d);
	if (rc < 0 && o.check_config)
		fprintf(stderr, "romulusd: %s\n", e.text);
	else if (rc < 0)
		log_err("%s", e.text);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
