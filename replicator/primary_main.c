// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * romulus-primary VM: protects one VM of this host. Options, configuration, wiring of the threads, the loop.
 * Decides nothing: that is primary.c. Control thread.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "lib/clock.h"
#include "lib/ctl_client.h"
#include "lib/event_log.h"
#include "lib/flight.h"
#include "lib/json_in.h"
#include "lib/log.h"
#include "lib/spawn.h"
#include "lib/tls.h"
#include "netbuffer/lanes_nl.h"
#include "replicator/disk_list.h"
#include "replicator/disk_shell.h"
#include "replicator/primary_shell.h"
#include "replicator/xen_domain.h"

#define MIN_ARENA_PAGES 4096 /* 16 MiB */
#define RETIRE_TIMEOUT_NS (2 * NS_PER_SEC)
#define DOMAIN_TOOL LIBEXEC_DIR "/romulus-domain"
#define DISKS_TIMEOUT_NS (20 * NS_PER_SEC)

struct options {
	const char *conf_path;
	const char *vm;
	int status_fd;
	bool adopt;
	bool afresh; /* ... what this very process left, with nothing held */
};

struct main_ctx {
	struct options opt;
	const struct conf *conf;
	struct tls_ctx *tls;
	struct guest *guest;
	struct lanes_nl *lanes;
	struct ctl_server *ctl;
	sd_event *loop;
	int lock_fd;
	bool busy; /* another worker has the VM */
	bool gone; /* there is no such VM, or it has ended */
	struct timing timing;
	struct disk_link_conf disks; /* of the VM, if it has any */
	struct primary_shell shell;
};

static int usage(int rc)
{
	fputs("usage: romulus-primary [--config FILE] [--status-fd N] [--adopt | --afresh] VM\n"
	      "Started by romulusd; see romulus-primary(8).\n",
	      rc ? stderr : stdout);
	return rc;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"status-fd", required_argument, NULL, 's'},
		{"adopt", no_argument, NULL, 'a'},
		{"afresh", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.conf_path = CONF_DEFAULT_PATH, .status_fd = -1};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 's':
			o->status_fd = (int)strtol(optarg, NULL, 10);
			break;
		case 'a':
			o->adopt = true;
			break;
		case 'f':
			o->adopt = o->afresh = true;
			break;
		case 'h':
			exit(usage(0));
		case 'V':
			puts("romulus-primary " VERSION_TEXT);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	if (optind + 1 != argc || !name_ok(argv[optind]))
		return -EINVAL;
	o->vm = argv[optind];
	return 0;
}

/* ---- the loop's sources ---- */

static int on_message(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct primary_shell *s = arg;
	struct pd_msg m;

	while (!s->finished && primary_data_next(s->data, &m))
		primary_shell_message(s, &m);
	return 0;
}

static int on_watch(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct main_ctx *m = arg;

	for (int i = 0; i < 64; i++) {
		switch (guest_watch_read(m->guest)) {
		case GUEST_EV_NONE:
			return 0;
		case GUEST_EV_MEMORY:
			primary_shell_guest_event(&m->shell, LEAVE_GUEST_CHANGED,
						  "the guest's memory target was changed");
			break;
		case GUEST_EV_VIFS:
		case GUEST_EV_DISKS:
			primary_shell_guest_event(
				&m->shell, LEAVE_GUEST_CHANGED,
				"a device was attached to or detached from the guest");
			break;
		case GUEST_EV_SUSPEND_ASKED:
			primary_shell_guest_event(
				&m->shell, LEAVE_GUEST_SUSPENDED,
				"somebody else asked the guest to suspend (xl save?)");
			break;
		case GUEST_EV_END_ASKED:
			log_info("somebody asked the guest to power off or reboot");
			break;
		case GUEST_EV_CHECK:
			break; /* the data thread looks at its health all the time */
		}
	}
	return 0;
}

static int on_lanes(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct main_ctx *m = arg;

	netbuf_watch(m->shell.net);
	return 0;
}

/* P1: somebody took our filter or lanes away. The guest's death shows as a vif that is gone. */
static void on_tampered(void *arg, unsigned int vif, enum lane_tamper how, const char *what)
{
	struct main_ctx *m = arg;

	if (how == LANE_VIF_GONE) {
		log_info("%s", what);
		return;
	}
	primary_shell_tampered(&m->shell, what);
}

static int on_signal(sd_event_source *src, const struct signalfd_siginfo *si, void *arg)
{
	primary_shell_asked_to_end(arg);
	return 0;
}

static int add_sources(struct main_ctx *m, struct err *e)
{
	int fd = guest_watch_fd(m->guest), nl = netbuf_watch_fd(m->shell.net);
	int r = sd_event_add_io(m->loop, NULL, primary_data_fd(m->shell.data), EPOLLIN, on_message,
				&m->shell);

	if (r >= 0 && fd >= 0)
		r = sd_event_add_io(m->loop, NULL, fd, EPOLLIN, on_watch, m);
	if (r >= 0 && nl >= 0)
		r = sd_event_add_io(m->loop, NULL, nl, EPOLLIN, on_lanes, m);
	if (r >= 0)
		r = sd_event_add_signal(m->loop, NULL, SIGTERM, on_signal, &m->shell);
	if (r >= 0)
		r = sd_event_add_signal(m->loop, NULL, SIGINT, on_signal, &m->shell);
	return r < 0 ? err_set(e, r, "event loop") : 0;
}

/* ---- set-up, in order ---- */

static uint32_t share(uint64_t configured_bytes, uint64_t pages, uint32_t least)
{
	uint64_t n = configured_bytes ? configured_bytes / GUEST_PAGE_SIZE : pages;

	return (uint32_t)MAX(n, (uint64_t)least);
}

static int load(struct main_ctx *m, struct err *e)
{
	struct tls_conf tc;
	int rc = conf_load(m->opt.conf_path, &m->conf, e);

	if (rc < 0)
		return rc;
	if (log_set_level(NULL, (enum log_level)m->conf->log_level) < 0)
		log_warn("unknown log level");
	rc = vm_state_load(m->conf->state_dir, m->opt.vm, &m->shell.state, e);
	if (rc < 0)
		return rc;
	if (m->shell.state.role != VM_PRIMARY)
		return err_setx(e, -EINVAL,
				"%s is not protected from this host: `romulus protect` first",
				m->opt.vm);
	if (!conf_peer(m->conf, m->shell.state.peer))
		return err_setx(e, -EINVAL, "peer '%s' of %s is not in %s", m->shell.state.peer,
				m->opt.vm, m->opt.conf_path);
	rc = vm_state_timing(&m->shell.state, m->conf, &m->timing, e);
	if (rc < 0)
		return rc;
	tc = (struct tls_conf){.ca = m->conf->tls_ca,
			       .cert = m->conf->tls_cert,
			       .key = m->conf->tls_key,
			       .ktls = m->conf->tls_ktls};
	return tls_ctx_new(&m->tls, &tc, e);
}

/* Without events the VM is protected all the same. */
static void begin_events(struct main_ctx *m)
{
	const struct event_log_conf ec = {.state_dir = m->conf->state_dir,
					  .run_dir = m->conf->run_dir,
					  .host = m->conf->host_name,
					  .by = worker_side_name(WORKER_PRIMARY)};
	struct err e = ERR_INIT;

	if (event_log_new(&m->shell.events, &ec, &e) < 0)
		log_warn("events are not written down: %s", e.text);
	event_log_say(m->shell.events, "worker-started", m->opt.vm,
		      "to protect the VM to %s, policy %s, term %llu%s", m->shell.state.peer,
		      policy_name(m->shell.state.policy), (unsigned long long)m->shell.state.term,
		      m->opt.afresh  ? "; afresh, the guest or its lanes changed"
		      : m->opt.adopt ? "; takes over what an earlier worker left"
				     : "");
	m->shell.flight =
		worker_flight(m->shell.events, m->conf->run_dir, m->opt.vm, WORKER_PRIMARY);
}

static int make_netbuf(struct main_ctx *m, struct err *e)
{
	const struct guest_info *g = &m->guest->info;
	const char *names[GUEST_MAX_VIFS];
	struct netbuf_conf nc = {
		.ops = &lanes_nl_ops,
		.lane_bytes = (uint32_t)m->conf->netbuf_limit_bytes,
		.tampered = on_tampered,
		.arg = m,
	};
	struct ckpt_device *d;

	for (unsigned int i = 0; i < g->n_vifs; i++)
		names[i] = g->vif[i].ifname;
	m->lanes = lanes_nl_new(names, g->n_vifs, nc.lane_bytes, e);
	if (!m->lanes)
		return -EIO;
	nc.ctx = m->lanes;
	m->shell.net = netbuf_new(&nc, e);
	if (!m->shell.net)
		return -ENOMEM;
	d = netbuf_device(m->shell.net);
	return d->ops->setup(d, e);
}

/* Which they are libxl knows, and it says no to those that cannot be protected. */
static int list_disks(const struct main_ctx *m, struct disk_list *list, struct err *e)
{
	char domid[16], out[WIRE_MAX_DISKS * DISK_LINE_SIZE], said[512];
	const char *const argv[] = {DOMAIN_TOOL, "disks", domid, NULL};
	struct spawn sp = {.argv = argv,
			   .timeout_ns = DISKS_TIMEOUT_NS,
			   .out = out,
			   .out_size = sizeof(out),
			   .err = said,
			   .err_size = sizeof(said)};
	int rc;

	snprintf(domid, sizeof(domid), "%u", m->guest->info.domid);
	rc = spawn_check(&sp, e);
	return rc < 0 ? rc : disk_list_parse(list, out, e);
}

static int make_disks(struct main_ctx *m, struct err *e)
{
	const struct conf_disk *cd;
	struct disk_list list;
	uint64_t mode = CONF_DISK_MEMORY;
	int rc;

	if (!m->guest->info.n_disks)
		return 0;
	rc = list_disks(m, &list, e);
	if (rc < 0)
		return rc;
	m->disks.n = list.n;
	for (unsigned int i = 0; i < list.n; i++) {
		memcpy(m->disks.name[i], list.disk[i].name, NAME_SIZE);
		cd = conf_disk(m->conf, list.disk[i].name);
		if (!cd)
			return err_setx(e, -EOPNOTSUPP,
					"disk %s of %s is Romulus disk %s, which is not in %s",
					list.disk[i].vdev, m->opt.vm, list.disk[i].name,
					m->opt.conf_path);
		/* One acknowledgement for all of them: the strictest decides. */
		mode = MAX(mode, cd->mode);
	}
	m->disks.ack_mode = (uint8_t)(mode + WIRE_ACK_MEMORY);
	rc = disk_shell_new(&m->shell.disks, e);
	if (rc == 0)
		m->disks.word_fd = disk_shell_word_fd(m->shell.disks);
	return rc;
}

static_assert(CONF_DISK_FLUSH + WIRE_ACK_MEMORY == WIRE_ACK_FLUSH &&
		      CONF_DISK_EPOCH + WIRE_ACK_MEMORY == WIRE_ACK_EPOCH,
	      "one is made from the other");

static int make_data(struct main_ctx *m, uint32_t *arena_pages, struct err *e)
{
	uint64_t pages = m->guest->info.tot_pages;
	struct pd_conf pc = {
		.conf = m->conf,
		.peer = conf_peer(m->conf, m->shell.state.peer),
		.vm = m->shell.state.vm,
		.timing = m->timing,
		.policy = m->shell.state.policy,
		.alone = m->shell.state.alone,
		.arena_pages = share(m->conf->arena_bytes, pages / 4, MIN_ARENA_PAGES),
		.cache_slots = share(m->conf->delta_cache_bytes, pages / 8, 1),
		.tls = m->tls,
		.device = {netbuf_device(m->shell.net)},
		.n_devices = 1,
	};

	if (m->shell.disks) {
		pc.device[pc.n_devices++] = disk_shell_device(m->shell.disks);
		pc.disks = &m->disks;
	}
	*arena_pages = pc.arena_pages;
	return primary_data_new(&m->shell.data, &pc, m->guest, e);
}

static int make_control(struct main_ctx *m, struct err *e)
{
	char path[WORKER_PATH_SIZE];
	int rc;

	worker_ctl_path(path, m->conf->run_dir, m->opt.vm, WORKER_PRIMARY);
	rc = ctl_server_new(m->loop, path, &m->ctl, e);
	return rc < 0 ? rc : primary_ctl_register(&m->shell, m->ctl, e);
}

/*
 * If the VM was activated here, the backup's worker of that session has nothing left to do. One that is still at the
 * activation has, and says so: then this is too early.
 */
static int retire_backup(const struct main_ctx *m, struct err *e)
{
	const char *const argv[] = {"retire", NULL};
	char path[WORKER_PATH_SIZE];
	struct json_in *reply;
	struct err ignored = ERR_INIT;
	int rc;

	worker_ctl_path(path, m->conf->run_dir, m->opt.vm, WORKER_BACKUP);
	rc = ctl_client_call(path, argv, RETIRE_TIMEOUT_NS, &reply, &ignored);
	json_in_free(reply);
	if (rc == 0)
		log_info("the worker that activated the VM here has retired");
	/* Nobody is there, or nobody answers: a pid file keeps two primaries apart, and a backup that is ACTIVE does nothing. */
	return rc == -EREMOTEIO ? err_setx(e, -EBUSY, "%s", ignored.text) : 0;
}

/*
 * By its uuid it is known among VMs of its name, and to the arbiter; what was taken over, and what has joined, was another
 * one, if that was.
 */
static int note_uuid(struct main_ctx *m, struct err *e)
{
	static const uint8_t unknown[VM_UUID_SIZE];
	const uint8_t *uuid = m->guest->info.uuid;
	struct vm_state *s = &m->shell.state;

	if (!memcmp(s->uuid, uuid, VM_UUID_SIZE))
		return 0;
	if (memcmp(s->uuid, unknown, VM_UUID_SIZE) != 0)
		s->taken = TAKEN_NOT;
	s->joined = false;
	memcpy(s->uuid, uuid, VM_UUID_SIZE);
	return vm_state_save(m->conf->state_dir, s, e);
}

/*
 * Once for each `protect`, and each VM of that name, before anything is copied: a pair that its arbiter does not know could
 * never go alone. A worker that adopts what another one left goes on when the arbiter names somebody else: the peer's word settles it.
 */
static int join(struct main_ctx *m, struct err *e)
{
	struct vm_state *state = &m->shell.state;
	const struct vote_shell_conf c = {
		.conf = m->conf, .vm = m->opt.vm, .peer = state->peer, .uuid = m->guest->info.uuid};
	int rc;

	if (state->policy != POLICY_ARBITER)
		return 0;
	if (!m->conf->arbiter_kind)
		return err_setx(e, -EINVAL,
				"on-peer-loss is arbiter, and %s names none (arbiter.kind)",
				m->conf->path);
	if (state->joined)
		return 0;
	rc = vote_shell_join(&c, NULL, state->term, e);
	if (rc == -EBUSY && m->opt.adopt) {
		log_warn("%s", e->text);
		return 0;
	}
	if (rc == 0)
		rc = vm_state_set_joined(m->conf->state_dir, m->opt.vm, state->term, e);
	if (rc < 0)
		return rc;
	state->joined = true;
	event_log_say(m->shell.events, "joined", m->opt.vm,
		      "the arbiter (%s) knows the VM, its hosts and that term %llu is ours",
		      vote_kind_name(m->conf), (unsigned long long)state->term);
	log_info("the arbiter (%s) knows %s and its members under term %llu",
		 vote_kind_name(m->conf), m->opt.vm, (unsigned long long)state->term);
	return 0;
}

static int set_up(struct main_ctx *m, struct err *e)
{
	const struct xen_guest_conf gc = {.name = m->opt.vm, .adopt = m->opt.adopt};
	uint32_t arena_pages = 0;
	bool adopt;
	int rc = load(m, e);

	if (rc < 0)
		return rc;
	rc = worker_claim(m->conf->run_dir, m->opt.vm, WORKER_PRIMARY, &m->lock_fd, e);
	m->busy = rc == -EBUSY;
	if (rc < 0)
		return rc;
	begin_events(m);
	rc = sd_event_new(&m->loop);
	if (rc < 0)
		return err_set(e, rc, "event loop");
	rc = xen_guest_open(&m->guest, &gc, e);
	m->gone = rc == -ENOENT;
	if (rc == 0)
		rc = note_uuid(m, e);
	if (rc == 0)
		rc = join(m, e);
	if (rc == 0)
		rc = retire_backup(m, e);
	if (rc < 0)
		return rc;
	m->shell.conf = m->conf;
	m->shell.guest = &m->guest->info;
	m->shell.loop = m->loop;
	/* Before a lane is made: what cannot be protected is left as it was found. */
	rc = make_disks(m, e);
	if (rc < 0)
		return rc;
	rc = make_netbuf(m, e);
	if (rc < 0)
		return err_wrap(e, rc, "network buffer");
	adopt = netbuf_adopted_held(m->shell.net);
	rc = make_data(m, &arena_pages, e);
	if (rc == 0)
		rc = make_control(m, e);
	if (rc == 0)
		rc = add_sources(m, e);
	if (rc == 0)
		rc = primary_shell_start(&m->shell, &m->timing, arena_pages, adopt, e);
	return rc;
}

/* Removes the lanes when nothing is held, or when the guest is gone; else the next worker finds them. */
static void tear_down(struct main_ctx *m)
{
	struct err e = ERR_INIT;
	struct ckpt_device *d;

	primary_shell_stop(&m->shell);
	primary_data_free(m->shell.data);
	if (m->shell.net) {
		d = netbuf_device(m->shell.net);
		if ((netbuf_is_open(m->shell.net) || m->shell.deposed) &&
		    d->ops->teardown(d, &e) < 0)
			log_warn("network buffer: %s", e.text);
		netbuf_free(m->shell.net);
	}
	lanes_nl_free(m->lanes);
	disk_shell_free(m->shell.disks);
	guest_close(m->guest);
	ctl_server_free(m->ctl);
	tls_ctx_free(m->tls);
	sd_event_unref(m->loop);
	/* It copies what is recorded: last of all. */
	event_log_free(m->shell.events);
	flight_free(m->shell.flight,
		    m->shell.exit_code == WORKER_DONE || m->shell.exit_code == WORKER_DEPOSED);
}

/* The VM is free for another worker. */
static void let_go(struct main_ctx *m)
{
	if (m->conf)
		worker_unclaim(m->conf->run_dir, m->opt.vm, WORKER_PRIMARY, &m->lock_fd);
	conf_free(m->conf);
}

/* Its devices went because it was being destroyed. Nothing is held, and the peer has no standby of it. */
static int guest_ended(const struct main_ctx *m)
{
	struct err e = ERR_INIT;

	if (!m->conf || vm_state_set_role(m->conf->state_dir, m->opt.vm, VM_NONE, 0, &e) < 0)
		return WORKER_REFUSED;
	log_info("done: the guest has ended");
	return WORKER_DONE;
}

/*
 * The exit code after a set-up that failed and was torn down. P4: if a worker died before us, its guest must not
 * pay for what keeps us from working. What is left on it (suspended, asked to suspend, capped) is undone; output
 * that is held stays held, and because nobody but a worker can ask the peer about it, romulusd is to try again.
 */
static int after_failure(const struct main_ctx *m)
{
	struct err e = ERR_INIT;
	bool resumed = false;
	int rc = -ENOENT;

	if (!m->opt.adopt)
		return WORKER_REFUSED;
	if (m->busy)
		return 1; /* so is the guest */
	if (!m->gone)
		rc = xen_guest_rescue(m->opt.vm, &resumed, &e);
	if (rc == -ENOENT)
		return m->opt.afresh ? guest_ended(m) : WORKER_REFUSED;
	if (rc < 0)
		log_err("%s", e.text);
	else if (resumed)
		log_warn("the guest, which was left suspended, runs again; it is not protected");
	return 1;
}

/* Returns only when that cannot be. Whatever keeps the next one from working, it is not a first start. */
static void start_afresh(const struct options *o, bool held)
{
	char fd[16];
	const char *const argv[] = {"romulus-primary",
				    "--config",
				    o->conf_path,
				    "--status-fd",
				    fd,
				    held ? "--adopt" : "--afresh",
				    o->vm,
				    NULL};

	snprintf(fd, sizeof(fd), "%d", o->status_fd);
	log_info("starting afresh: the guest or its lanes changed");
	execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	log_err("cannot start afresh: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct main_ctx m = {.lock_fd = -1};
	struct err e = ERR_INIT;
	sigset_t mask;
	int code;
	bool rebuild;

	if (parse(argc, argv, &m.opt) < 0)
		return usage(2);
	log_set_tag(m.opt.vm);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (set_up(&m, &e) < 0) {
		log_err("%s", e.text);
		worker_say(m.opt.status_fd, WORKER_SAYS_PROBLEM, e.text);
		event_log_say(m.shell.events, "worker-failed", m.opt.vm, "%s", e.text);
		tear_down(&m);
		code = after_failure(&m);
		let_go(&m);
		return code;
	}
	if (mlockall(MCL_CURRENT) < 0)
		log_warn("memory is not locked: %s", strerror(errno));
	worker_say(m.opt.status_fd, WORKER_SAYS_READY, "");
	if (sd_event_loop(m.loop) < 0)
		log_err("event loop failed");
	code = m.shell.exit_code;
	rebuild = m.shell.rebuild && code == 1;
	event_log_say(m.shell.events, "worker-ended", m.opt.vm, "%s in state %s, output %s",
		      code == WORKER_DONE      ? "done"
		      : code == WORKER_DEPOSED ? "deposed"
					       : "ended",
		      primary_state_name(m.shell.core.state), m.shell.core.held ? "held" : "open");
	tear_down(&m);
	let_go(&m);
	if (rebuild)
		start_afresh(&m.opt, m.shell.core.held);
	return code;
}
