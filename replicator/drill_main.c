// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * romulus-drill: one drill, started by the backup's worker. Options, wiring, the network namespace; the rest is
 * drill_life.c. One thread.
 *
 *	--vm VM --host HOST --run-dir DIR --time-ms N [--probe COMMAND | --probe-path PROGRAM]
 *	--ctl-fd F --share-fd F --config-fd F --config FILE [--disk NAME]...
 *	--clean --vm VM --run-dir DIR [--config FILE]	removes what a drill has left, if none is under way
 *
 * DIR/VM.drill is locked for as long as it lives, and is gone when nothing of it is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/names.h"
#include "lib/spawn.h"
#include "netbuffer/drill_nl.h"
#include "replicator/config_fd.h"
#include "replicator/drill_keep.h"
#include "replicator/drill_life.h"
#include "replicator/drill_share.h"
#include "replicator/standby.h"
#include "replicator/xen_drill.h"

#define DOMAIN_TOOL LIBEXEC_DIR "/romulus-domain"
#define TOOL_TIMEOUT_NS (40 * NS_PER_SEC)

struct options {
	const char *vm, *host, *run_dir, *conf_path, *probe, *probe_path;
	uint64_t time_ms;
	int ctl_fd, share_fd, config_fd;
	bool clean;
};

struct main_ctx {
	struct options opt;
	struct drill_disks disks;
	char bridge[DRILL_NL_NAME_SIZE];
	int host_ns; /* where we were */
	int own_ns;
	int lock_fd;
	bool left; /* something of an earlier drill */
	struct drill_net net;
	struct drill_life life;
};

static int usage(int rc)
{
	fputs("usage: romulus-drill --vm VM --host HOST --run-dir DIR --time-ms N "
	      "[--probe COMMAND | --probe-path PROGRAM] --ctl-fd FD --share-fd FD --config-fd FD "
	      "[--config FILE] [--disk NAME]...\n"
	      "usage: romulus-drill --clean --vm VM --run-dir DIR [--config FILE]\n"
	      "Started by romulus-backup; see romulus-drill(8).\n",
	      rc ? stderr : stdout);
	return rc;
}

static int take_descriptor(const char *text)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (end == text || *end || v < 3 || v > 1023 || fcntl((int)v, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	return (int)v;
}

static bool is_complete(const struct options *o)
{
	if (!o->vm || !name_ok(o->vm) || !o->run_dir)
		return false;
	if (o->clean)
		return true;
	return o->host && name_ok(o->host) && o->time_ms && o->ctl_fd >= 0 && o->share_fd >= 0 &&
	       o->config_fd >= 0 && !(o->probe && o->probe_path);
}

static const struct option longs[] = {
	{"vm", required_argument, NULL, 'v'},
	{"host", required_argument, NULL, 'H'},
	{"run-dir", required_argument, NULL, 'r'},
	{"time-ms", required_argument, NULL, 't'},
	{"probe", required_argument, NULL, 'p'},
	{"probe-path", required_argument, NULL, 'P'},
	{"ctl-fd", required_argument, NULL, 'c'},
	{"share-fd", required_argument, NULL, 's'},
	{"config-fd", required_argument, NULL, 'f'},
	{"clean", no_argument, NULL, 'C'},
	{"config", required_argument, NULL, 'g'},
	{"disk", required_argument, NULL, 'd'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

/* The options that are only kept. */
static int keep(int c, struct options *o)
{
	switch (c) {
	case 'v':
		o->vm = optarg;
		break;
	case 'H':
		o->host = optarg;
		break;
	case 'r':
		o->run_dir = optarg;
		break;
	case 't':
		o->time_ms = strtoull(optarg, NULL, 10);
		break;
	case 'p':
		o->probe = optarg;
		break;
	case 'P':
		o->probe_path = optarg;
		break;
	case 'c':
		o->ctl_fd = take_descriptor(optarg);
		break;
	case 's':
		o->share_fd = take_descriptor(optarg);
		break;
	case 'f':
		o->config_fd = take_descriptor(optarg);
		break;
	case 'C':
		o->clean = true;
		break;
	case 'g':
		o->conf_path = optarg;
		break;
	default:
		return -EINVAL;
	}
	return 0;
}

static int parse(int argc, char **argv, struct options *o, struct drill_disks *disks)
{
	int c, rc = 0;

	*o = (struct options){
		.conf_path = CONF_DEFAULT_PATH, .ctl_fd = -1, .share_fd = -1, .config_fd = -1};
	while (rc == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'd':
			rc = drill_disks_add(disks, optarg);
			break;
		case 'h':
			exit(usage(0));
		case 'V':
			puts("romulus-drill " VERSION_TEXT);
			exit(0);
		default:
			rc = keep(c, o);
		}
	}
	return rc == 0 && optind == argc && is_complete(o) ? 0 : -EINVAL;
}

/* ---- the network ---- */

/* A namespace that nothing but our descriptor keeps: with us it is gone, and the pair in it. */
static int make_namespace(struct main_ctx *m, struct err *e)
{
	m->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (m->host_ns < 0)
		return err_set(e, -errno, "network namespace of this host");
	if (unshare(CLONE_NEWNET) < 0)
		return err_set(e, -errno, "a network namespace");
	m->own_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (setns(m->host_ns, CLONE_NEWNET) < 0)
		die("cannot leave the drill's network namespace: %s", strerrordesc_np(errno));
	return m->own_ns < 0 ? err_set(e, -errno, "a network namespace") : 0;
}

static int net_enter(void *arg, struct err *e)
{
	struct main_ctx *m = arg;

	return setns(m->own_ns, CLONE_NEWNET) < 0 ? err_set(e, -errno, "enter the namespace") : 0;
}

static int net_leave(void *arg, struct err *e)
{
	struct main_ctx *m = arg;

	return setns(m->host_ns, CLONE_NEWNET) < 0 ? err_set(e, -errno, "leave the namespace") : 0;
}

static int net_make(void *arg, struct err *e)
{
	struct main_ctx *m = arg;
	int rc = make_namespace(m, e);

	if (rc == 0)
		rc = drill_nl_make(m->opt.vm, m->own_ns, e);
	if (rc == 0)
		rc = net_enter(m, e);
	if (rc < 0)
		return rc;
	rc = drill_nl_up_inside(e);
	if (net_leave(m, &ERR_INIT) < 0)
		die("cannot leave the drill's network namespace: %s", strerrordesc_np(errno));
	return rc;
}

static int net_remove(void *arg, struct err *e)
{
	struct main_ctx *m = arg;

	return drill_nl_remove(m->opt.vm, e);
}

/* ---- what is left of another one ---- */

static int destroy_domain(const struct options *o, struct err *e)
{
	char name[NAME_SIZE + sizeof(DRILL_SUFFIX)];
	const char *const argv[] = {DOMAIN_TOOL, "destroy", name, NULL};
	char out[512];
	struct spawn sp = {
		.argv = argv, .timeout_ns = TOOL_TIMEOUT_NS, .out = out, .out_size = sizeof(out)};

	snprintf(name, sizeof(name), "%s" DRILL_SUFFIX, o->vm);
	return spawn_check(&sp, e);
}

static int clean(const struct main_ctx *m, struct err *e)
{
	const struct options *o = &m->opt;
	struct err other = ERR_INIT;
	int rc = destroy_domain(o, e);
	int rc2 = drill_disks_clean(&m->disks, &other);
	int rc3;

	/* It may hang on a disk whose view was killed: that answers with errors now. */
	if (rc < 0) {
		*e = ERR_INIT;
		rc = destroy_domain(o, e);
	}
	if (rc == 0 && rc2 < 0)
		*e = other;
	rc = rc < 0 ? rc : rc2;
	rc3 = drill_nl_remove(o->vm, &other);
	if (rc == 0 && rc3 < 0)
		*e = other;
	return rc < 0 ? rc : rc3;
}

/* ---- a drill ---- */

static void wire(struct main_ctx *m)
{
	struct drill_life *l = &m->life;
	const struct options *o = &m->opt;
	const char *probe = o->probe_path ? o->probe_path : o->probe;

	drill_nl_bridge(o->vm, m->bridge);
	m->net = (struct drill_net){.make = net_make,
				    .remove = net_remove,
				    .enter = net_enter,
				    .leave = net_leave,
				    .bridge = m->bridge,
				    .inside = DRILL_NL_INSIDE,
				    .arg = m};
	l->net = &m->net;
	l->disks = m->disks;
	l->ctl_fd = o->ctl_fd;
	l->request.time_ms = o->time_ms;
	l->probe_is_path = o->probe_path != NULL;
	snprintf(l->request.probe, sizeof(l->request.probe), "%s", probe ? probe : "");
	snprintf(l->report.vm, sizeof(l->report.vm), "%s", o->vm);
	snprintf(l->report.host, sizeof(l->report.host), "%s", o->host);
}

static int open_all(struct main_ctx *m, char **json, struct err *e)
{
	int rc = config_fd_read(m->opt.config_fd, json, &m->life.json_size, e);

	m->life.json = *json;
	if (rc == 0)
		rc = drill_share_open(&m->life.share, m->opt.share_fd, e);
	return rc < 0 ? rc : xen_drill_open(&m->life.xen, e);
}

/* The worker is told by the socket what is wrong; the exit status says whether anything is left. */
static int run(struct main_ctx *m)
{
	autofree char *json = NULL;
	struct err e = ERR_INIT;
	int rc = m->left ? clean(m, &e) : 0;
	bool tidy = rc == 0;

	if (rc == 0)
		rc = open_all(m, &json, &e);
	if (rc < 0)
		drill_life_refuse(&m->life, e.text);
	else
		tidy = drill_life_run(&m->life);
	drill_share_close(m->life.share);
	xen_drill_close(m->life.xen);
	return tidy ? DRILL_EXIT_DONE : DRILL_EXIT_LEFT;
}

static int only_clean(struct main_ctx *m)
{
	struct err e = ERR_INIT;

	if (clean(m, &e) == 0)
		return DRILL_EXIT_DONE;
	log_err("what a drill of %s has left: %s", m->opt.vm, e.text);
	return DRILL_EXIT_LEFT;
}

int main(int argc, char **argv)
{
	struct main_ctx m = {.host_ns = -1, .own_ns = -1, .lock_fd = -1};
	struct err e = ERR_INIT;
	int code;

	drill_disks_init(&m.disks);
	if (parse(argc, argv, &m.opt, &m.disks) < 0)
		return usage(2);
	m.disks.conf_path = m.opt.conf_path;
	m.disks.vm = m.opt.vm;
	log_set_tag(m.opt.vm);
	signal(SIGPIPE, SIG_IGN);
	(void)setpriority(PRIO_PROCESS, 0, DRILL_NICE);
	if (!m.opt.clean)
		wire(&m);
	if (drill_keep_claim(m.opt.run_dir, m.opt.vm, &m.lock_fd, &m.left, &e) < 0) {
		log_err("%s", e.text);
		if (!m.opt.clean)
			drill_life_refuse(&m.life, e.text);
		return DRILL_EXIT_BUSY;
	}
	code = m.opt.clean ? only_clean(&m) : run(&m);
	drill_keep_unclaim(m.opt.run_dir, m.opt.vm, m.lock_fd, code == DRILL_EXIT_DONE);
	return code;
}
