/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus-disk NAME: serves one disk of this host. Options, configuration, wiring, the loop. One thread; it never
 * forks: nothing may stand between the guest and its disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "disk/backup_disk.h"
#include "disk/blk_io.h"
#include "disk/block_server.h"
#include "disk/disk_ctl.h"
#include "disk/disk_format.h"
#include "disk/disk_state.h"
#include "disk/drill_port_shell.h"
#include "disk/kernel_shell.h"
#include "disk/port_shell.h"
#include "disk/primary_disk.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/ctl_server.h"
#include "lib/err.h"
#include "lib/log.h"

/* For what is on the disk when it is asked to end. */
#define STOP_TIMEOUT_NS (5 * NS_PER_SEC)

/* Requests of the journal and the copier beside those of the guest. */
#define JOURNAL_DEPTH 256
#define RUNTIME_PATH_SIZE 128

struct options {
	const char *conf_path;
	const char *name;
	enum blk_engine engine;
	bool socket_only;
	bool format; /* make a journal and end */
	bool source; /* ... of the copy that counts */
	bool force;
};

struct main_ctx {
	struct options opt;
	const struct conf *conf;
	const struct conf_disk *disk;
	struct blk_dev *blk;
	struct block_server *server;
	struct disk *state;
	struct primary_disk *primary;
	struct backup_disk *backup;
	struct port_shell *port;
	struct drill_port_shell *drill;
	char state_path[RUNTIME_PATH_SIZE];
	char used_path[RUNTIME_PATH_SIZE];
	struct ctl_server *ctl;
	struct disk_ctl ctl_ctx;
	sd_event *loop;
	sd_event_source *stop_timer;
	bool stopping;
	int rc; /* what the loop ended for */

	struct kernel_shell kernel; /* not with --socket-only */
};

static int usage(int rc)
{
	fputs("usage: romulus-disk [--config FILE] [--io auto|uring|plain] [--socket-only] NAME\n"
	      "usage: romulus-disk [--config FILE] --format=source|target [--force] NAME\n"
	      "Started by romulusd; see romulus-disk(8).\n",
	      rc ? stderr : stdout);
	return rc;
}

static int parse_engine(const char *text, enum blk_engine *engine)
{
	static const char *const names[] = {
		[BLK_AUTO] = "auto", [BLK_URING] = "uring", [BLK_PLAIN] = "plain"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(text, names[i])) {
			*engine = (enum blk_engine)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_format(const char *text, struct options *o)
{
	o->format = true;
	o->source = !strcmp(text, "source");
	return o->source || !strcmp(text, "target") ? 0 : -EINVAL;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'}, {"io", required_argument, NULL, 'i'},
		{"socket-only", no_argument, NULL, 's'},  {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},	  {"format", required_argument, NULL, 'f'},
		{"force", no_argument, NULL, 'F'},	  {NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.conf_path = CONF_DEFAULT_PATH};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'i':
			if (parse_engine(optarg, &o->engine) < 0)
				return -EINVAL;
			break;
		case 's':
			o->socket_only = true;
			break;
		case 'f':
			if (parse_format(optarg, o) < 0)
				return -EINVAL;
			break;
		case 'F':
			o->force = true;
			break;
		case 'h':
			exit(usage(0));
		case 'V':
			puts("romulus-disk " VERSION_TEXT);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	if (optind + 1 != argc || !name_ok(argv[optind]) || (o->force && !o->format))
		return -EINVAL;
	o->name = argv[optind];
	return 0;
}

/* ---- the loop's sources ---- */

static int on_server(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct main_ctx *m = arg;

	block_server_run(m->server);
	if (m->stopping && block_server_idle(m->server))
		return sd_event_exit(m->loop, 0);
	return 0;
}

/* What the disk may still write into cannot be freed; the kernel sees to it when we are gone. */
static int on_stop_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	log_err("the disk takes too long; ending without it");
	_exit(EXIT_FAILURE);
}

static int stop(struct main_ctx *m)
{
	int r;

	if (m->stopping)
		return 0;
	m->stopping = true;
	block_server_stop(m->server);
	r = sd_event_add_time_relative(m->loop, &m->stop_timer, CLOCK_BOOTTIME,
				       STOP_TIMEOUT_NS / NS_PER_US, 1, on_stop_timer, m);
	return r < 0 || block_server_idle(m->server) ? sd_event_exit(m->loop, 0) : 0;
}

static void on_device_gone(void *arg, int rc)
{
	struct main_ctx *m = arg;

	m->rc = rc;
	if (stop(m) < 0)
		log_err("cannot end in order");
}

static void on_kernel_gone(void *arg, bool asked)
{
	struct main_ctx *m = arg;

	if (!m->stopping)
		kernel_shell_lost(&m->kernel, asked);
}

static int on_signal(sd_event_source *src, const struct signalfd_siginfo *si, void *arg)
{
	struct main_ctx *m = arg;

	return m->opt.socket_only ? stop(m) : kernel_shell_let_go(&m->kernel);
}

static int on_post(sd_event_source *src, void *arg)
{
	struct main_ctx *m = arg;

	disk_ctl_go_on(&m->ctl_ctx);
	return 0;
}

/* After the port's, which brings the disk on. */
static int add_post(struct main_ctx *m)
{
	sd_event_source *src;
	int r = sd_event_add_post(m->loop, &src, on_post, m);

	if (r < 0)
		return r;
	sd_event_source_set_floating(src, true);
	r = sd_event_source_set_priority(src, SD_EVENT_PRIORITY_NORMAL + 1);
	sd_event_source_unref(src);
	return r;
}

static int add_sources(struct main_ctx *m, struct err *e)
{
	int r = sd_event_add_io(m->loop, NULL, block_server_fd(m->server), EPOLLIN, on_server, m);

	if (r >= 0)
		r = sd_event_add_signal(m->loop, NULL, SIGTERM, on_signal, m);
	if (r >= 0)
		r = sd_event_add_signal(m->loop, NULL, SIGINT, on_signal, m);
	if (r >= 0)
		r = add_post(m);
	return r < 0 ? err_set(e, r, "event loop") : 0;
}

/* ---- set-up, in order ---- */

static int load(struct main_ctx *m, struct err *e)
{
	int rc = conf_load(m->opt.conf_path, &m->conf, e);

	if (rc < 0)
		return rc;
	rc = log_set_level(NULL, (enum log_level)m->conf->log_level);
	m->disk = conf_disk(m->conf, m->opt.name);
	if (!m->disk)
		return err_setx(e, -ENOENT, "disk \"%s\" is not in %s", m->opt.name,
				m->opt.conf_path);
	return rc;
}

static int open_disk(struct main_ctx *m, struct err *e)
{
	const struct blk_conf bc = {
		.path = m->disk->path,
		.engine = m->opt.engine,
		.depth = BLOCK_DEPTH + JOURNAL_DEPTH,
		.may_cache = m->opt.socket_only,
	};

	return blk_open_wait(&bc, &m->blk, e);
}

static int make_dirs(const struct main_ctx *m, struct err *e)
{
	char path[CONF_RUN_DIR_SIZE + 8];

	snprintf(path, sizeof(path), "%s/disk", m->conf->run_dir);
	if (mkdir(m->conf->run_dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "make folder %s", m->conf->run_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "make folder %s", path);
	return 0;
}

/* <run_dir>/disk/<name>.<suffix>; for a socket the suffix has at most 7 bytes. */
static void runtime_path(const struct main_ctx *m, const char *suffix, char buf[RUNTIME_PATH_SIZE])
{
	int n = snprintf(buf, RUNTIME_PATH_SIZE, "%s/disk/%s.%s", m->conf->run_dir, m->opt.name,
			 suffix);

	assert(n > 0 && n < RUNTIME_PATH_SIZE);
}

static int make_server(struct main_ctx *m, struct err *e)
{
	const struct block_server_conf sc = {
		.blk = m->blk,
		.name = m->opt.name,
		.for_kernel = !m->opt.socket_only,
		.kernel_gone = on_kernel_gone,
		.arg = m,
	};

	return block_server_new(&sc, &m->server, e);
}

static void journal_path(const struct main_ctx *m, char buf[2 * CONF_PATH_SIZE])
{
	if (m->disk->journal[0])
		snprintf(buf, 2 * CONF_PATH_SIZE, "%s", m->disk->journal);
	else
		snprintf(buf, 2 * CONF_PATH_SIZE, "%s/disk/%s.journal", m->conf->state_dir,
			 m->opt.name);
}

/* What the disk is here, and those who may drive it. */
static int make_state(struct main_ctx *m, struct err *e)
{
	char journal[2 * CONF_PATH_SIZE];
	const struct disk_conf dc = {
		.name = m->opt.name,
		.journal_path = journal,
		.state_path = m->state_path,
		.used_path = m->used_path,
		.engine = m->opt.engine,
		.may_cache = m->opt.socket_only,
		.blk = m->blk,
		.server = m->server,
		.queue_bytes = m->disk->queue_bytes,
		.stall_ns = m->disk->stall_ns,
		.copy_rate = m->disk->copy_rate,
	};
	int rc;

	journal_path(m, journal);
	runtime_path(m, "state", m->state_path);
	runtime_path(m, "used", m->used_path);
	rc = disk_open(&m->state, &dc, e);
	if (rc < 0)
		return rc;
	if (primary_disk_new(&m->primary, m->state) < 0 ||
	    backup_disk_new(&m->backup, m->state) < 0)
		return err_set(e, -ENOMEM, "disk");
	m->ctl_ctx.disk = m->state;
	m->ctl_ctx.primary = m->primary;
	m->ctl_ctx.backup = m->backup;
	return 0;
}

static int make_port(struct main_ctx *m, struct err *e)
{
	char path[RUNTIME_PATH_SIZE];
	const struct port_shell_conf pc = {
		.loop = m->loop,
		.disk = m->state,
		.primary = m->primary,
		.backup = m->backup,
		.path = path,
	};
	int rc;

	runtime_path(m, "port", path);
	rc = port_shell_new(&pc, &m->port, e);
	m->ctl_ctx.port = m->port;
	if (rc < 0)
		return rc;
	runtime_path(m, "drill", path);
	return drill_port_shell_new(m->loop, m->state, path, &m->drill, e);
}

/* It also keeps out another server of this name, whose disk was another one before the configuration changed. */
static int make_control(struct main_ctx *m, struct err *e)
{
	char path[RUNTIME_PATH_SIZE];
	int rc;

	m->ctl_ctx = (struct disk_ctl){.server = m->server, .blk = m->blk, .nbd_index = -1};
	runtime_path(m, "ctl", path);
	rc = ctl_server_new(m->loop, path, &m->ctl, e);
	if (rc < 0)
		return rc;
	rc = disk_ctl_add(m->ctl, &m->ctl_ctx);
	return rc < 0 ? err_set(e, rc, "control commands") : 0;
}

static int listen_for_clients(struct main_ctx *m, struct err *e)
{
	char path[RUNTIME_PATH_SIZE];

	runtime_path(m, "export", path);
	return block_server_listen(m->server, path, e);
}

/* Last of all: from then on a guest may wait for us. */
static int make_device(struct main_ctx *m, struct err *e)
{
	char path[RUNTIME_PATH_SIZE];
	const struct kernel_shell_conf kc = {
		.loop = m->loop,
		.server = m->server,
		.index_path = path,
		.sys_block = NBDSYS_BLOCK,
		.nbd_index = &m->ctl_ctx.nbd_index,
		.gone = on_device_gone,
		.arg = m,
	};

	runtime_path(m, "nbd", path);
	return kernel_shell_start(&m->kernel, &kc, e);
}

static void be_unkillable(void)
{
	autofd fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) != 5)
		log_warn("oom_score_adj stays as it is: %s", strerrordesc_np(errno));
}

/*
 * The host's writeback may wait for us (a guest's disk is a device of this host): we must not wait for it in turn.
 */
static void be_dependable(void)
{
	be_unkillable();
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_warn("not an I/O flusher: %s", strerrordesc_np(errno));
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		log_warn("memory is not locked: %s", strerrordesc_np(errno));
}

static int set_up(struct main_ctx *m, struct err *e)
{
	int rc = load(m, e);

	if (!rc)
		rc = make_dirs(m, e);
	if (!rc)
		rc = open_disk(m, e);
	if (rc < 0)
		return rc;
	be_dependable();
	rc = sd_event_new(&m->loop);
	if (rc < 0)
		return err_set(e, rc, "event loop");
	rc = make_server(m, e);
	if (!rc)
		rc = make_control(m, e);
	if (!rc)
		rc = make_state(m, e);
	if (!rc)
		rc = make_port(m, e);
	if (!rc)
		rc = add_sources(m, e);
	if (rc < 0)
		return rc;
	return m->opt.socket_only ? listen_for_clients(m, e) : make_device(m, e);
}

static void tear_down(struct main_ctx *m)
{
	sd_event_source_disable_unref(m->stop_timer);
	kernel_shell_fini(&m->kernel);
	ctl_server_free(m->ctl);
	drill_port_shell_free(m->drill);
	port_shell_free(m->port);
	if (m->primary)
		primary_disk_close(m->primary);
	block_server_free(m->server);
	backup_disk_free(m->backup);
	disk_free(m->state);
	/* Nobody serves it now; of one that was killed the file stays, as its device does. */
	if (m->state)
		(void)unlink(m->state_path);
	primary_disk_free(m->primary);
	blk_close(m->blk);
	sd_event_unref(m->loop);
	conf_free(m->conf);
}

static int format(struct main_ctx *m, struct err *e)
{
	char journal[2 * CONF_PATH_SIZE];
	struct disk_format_conf fc = {
		.name = m->opt.name,
		.journal_path = journal,
		.source = m->opt.source,
		.force = m->opt.force,
		.may_cache = true,
	};
	int rc = load(m, e);

	if (!rc)
		rc = open_disk(m, e);
	if (rc < 0)
		return rc;
	journal_path(m, journal);
	fc.blk = m->blk;
	fc.journal_bytes = m->disk->journal_bytes;
	rc = disk_format(&fc, e);
	if (!rc)
		printf("%s: made %s, %s\n", m->opt.name, journal,
		       m->opt.source ? "for the host whose copy is the right one"
				     : "for the host that the disk is copied to");
	return rc;
}

static int serve(struct main_ctx *m)
{
	int r;

	log_info("serving %s: %" PRIu64 " bytes in blocks of %" PRIu32 ", by %s", m->disk->path,
		 m->blk->size, m->blk->block, m->blk->engine);
	sd_notify(0, "READY=1");
	r = sd_event_loop(m->loop);
	if (r >= 0)
		return m->rc;
	log_err("event loop: %s", strerrordesc_np(-r));
	return r;
}

int main(int argc, char **argv)
{
	struct main_ctx m = {0};
	struct err e = ERR_INIT;
	sigset_t mask;
	int rc;

	if (parse(argc, argv, &m.opt) < 0)
		return usage(2);
	log_set_tag(m.opt.name);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	rc = m.opt.format ? format(&m, &e) : set_up(&m, &e);
	if (rc < 0)
		log_err("%s", e.text);
	else if (!m.opt.format)
		rc = serve(&m);
	tear_down(&m);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
