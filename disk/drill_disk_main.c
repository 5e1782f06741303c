/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus-drill-disk: what a drill's copy sees of one disk, a kernel nbd device over drill_overlay.c. Started by romulus-drill; at
 * its socket it hears "hold" (answered by "held EPOCH" or "held none") and "at EPOCH" (answered by "serving"), and says
 * "error TEXT" and "used BYTES". The socket's end is its end, and then nothing is left of it. One thread.
 *
 *	--config FILE --vm VM --ctl-fd FD NAME
 *	--config FILE --vm VM --clean		removes what those of this VM have left
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "disk/block_server.h"
#include "disk/drill_overlay.h"
#include "disk/drill_wire.h"
#include "disk/journal_fmt.h"
#include "disk/kernel_shell.h"
#include "disk/nbd_nl.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/names.h"
#include "lib/persist.h"

/* What the copy's disk is called beside the disk's own name; block-romulus takes it for any other. */
#define SUFFIX "--drill"
#define PATH_SIZE 192
#define VIEW_ENDED "romulus-disk has ended the drill's view of it; its log says why"
/* The overlay's file system may be the one of the VMs' states: an activation in the midst of a drill must be able to write its own. */
#define SPARE_BYTES (UINT64_C(64) << 20)

struct options {
	const char *conf_path, *vm, *name;
	int ctl_fd;
	bool clean;
};

struct main_ctx {
	struct options opt;
	const struct conf *conf;
	char shown[NAME_SIZE]; /* NAME--drill */
	char state_path[PATH_SIZE];
	char index_path[PATH_SIZE];
	sd_event *loop;
	int guard_fd;
	struct blk_dev *blk;
	struct block_server *server;
	struct kernel_shell kernel;
	int nbd_index;
	uint64_t used_told;
};

static int usage(int rc)
{
	fputs("usage: romulus-drill-disk --config FILE --vm VM --ctl-fd FD NAME\n"
	      "usage: romulus-drill-disk --config FILE --vm VM --clean\n"
	      "Started by romulus-drill; see romulus-drill(8).\n",
	      rc ? stderr : stdout);
	return rc;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"vm", required_argument, NULL, 'v'},
		{"ctl-fd", required_argument, NULL, 'f'},
		{"clean", no_argument, NULL, 'C'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.conf_path = CONF_DEFAULT_PATH, .ctl_fd = -1};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'v':
			o->vm = optarg;
			break;
		case 'f':
			o->ctl_fd = (int)strtol(optarg, NULL, 10);
			break;
		case 'C':
			o->clean = true;
			break;
		case 'h':
			exit(usage(0));
		case 'V':
			puts("romulus-drill-disk " VERSION_TEXT);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	if (!o->vm || !name_ok(o->vm))
		return -EINVAL;
	if (o->clean)
		return optind == argc ? 0 : -EINVAL;
	if (optind + 1 != argc || !name_ok(argv[optind]) || o->ctl_fd < 3)
		return -EINVAL;
	o->name = argv[optind];
	return fcntl(o->ctl_fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

/* ---- what it says ---- */

PRINTF(2, 3) static void say(const struct main_ctx *m, const char *fmt, ...)
{
	char text[ERR_TEXT_SIZE];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)!send(m->opt.ctl_fd, text, MIN((size_t)n, sizeof(text) - 1),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The copy's disk fails, and so does the drill; the disk itself does not notice. */
static void spoil(struct main_ctx *m, const char *why)
{
	say(m, "error disk %s: %s", m->opt.name, why);
	log_warn("%s", why);
	if (m->blk)
		drill_overlay_break(m->blk);
	if (m->guard_fd >= 0)
		close(take_fd(&m->guard_fd));
}

/* Whoever wanted the room: what the copy sees is not its disk any more. */
static void spoil_full(struct main_ctx *m)
{
	spoil(m,
	      "its overlay is full: the VM, or the copy, wrote more than drill.overlay-limit allows or "
	      "drill.overlay-dir has room for");
}

static int tell_guard(struct main_ctx *m, const struct drill_msg *msg)
{
	return send(m->guard_fd, msg, sizeof(*msg), MSG_NOSIGNAL) == (ssize_t)sizeof(*msg) ? 0
											   : -EPIPE;
}

/* ---- the device ---- */

static int on_server(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct main_ctx *m = arg;
	uint64_t used;

	block_server_run(m->server);
	if (drill_overlay_is_full(m->blk) && m->guard_fd >= 0)
		spoil_full(m);
	used = drill_overlay_used(m->blk);
	if (used >= m->used_told + (UINT64_C(1) << 20)) {
		m->used_told = used;
		say(m, "used %" PRIu64, used);
	}
	return 0;
}

static void on_kernel_gone(void *arg, bool asked)
{
	struct main_ctx *m = arg;

	kernel_shell_lost(&m->kernel, asked);
}

static void on_device_gone(void *arg, int rc)
{
	struct main_ctx *m = arg;

	spoil(m, "somebody disconnected its device");
}

static int serve(struct main_ctx *m, struct err *e)
{
	const struct block_server_conf sc = {.blk = m->blk,
					     .name = m->shown,
					     .for_kernel = true,
					     .kernel_gone = on_kernel_gone,
					     .arg = m};
	const struct kernel_shell_conf kc = {.loop = m->loop,
					     .index_path = m->index_path,
					     .sys_block = NBDSYS_BLOCK,
					     .nbd_index = &m->nbd_index,
					     .gone = on_device_gone,
					     .arg = m};
	struct kernel_shell_conf with = kc;
	char text[NAME_SIZE + 16];
	int rc = block_server_new(&sc, &m->server, e);

	if (rc < 0)
		return rc;
	rc = sd_event_add_io(m->loop, NULL, block_server_fd(m->server), EPOLLIN, on_server, m);
	if (rc < 0)
		return err_set(e, rc, "event loop");
	/*
	 * As romulus-disk says it of a disk: block-romulus reads it. The second line says whose it is, and by it the device is found
	 * when we are killed: so it is there before the device.
	 */
	snprintf(text, sizeof(text), "active\n%s\n", m->opt.vm);
	rc = persist_replace(m->state_path, text, strlen(text), 0600, e);
	if (rc < 0)
		return rc;
	with.server = m->server;
	return kernel_shell_start(&m->kernel, &with, e);
}

/* ---- what the disk's server says ---- */

static void on_going(struct main_ctx *m, const struct drill_msg *msg)
{
	struct drill_msg saved = {.word = DRILL_WORD_SAVED, .seq = msg->seq};
	int rc = drill_overlay_save(m->blk, msg->off, msg->len);

	if (rc == -ENOSPC)
		spoil_full(m);
	else if (rc < 0)
		spoil(m, "what is overwritten cannot be saved");
	else if (tell_guard(m, &saved) < 0)
		spoil(m, VIEW_ENDED);
}

static void on_word(struct main_ctx *m, const struct drill_msg *msg)
{
	struct err e = ERR_INIT;

	switch (msg->word) {
	case DRILL_WORD_HELD:
		if (msg->epoch == JOURNAL_NO_EPOCH)
			say(m, "held none");
		else
			say(m, "held %" PRIu64, msg->epoch);
		break;
	case DRILL_WORD_READY:
		if (serve(m, &e) < 0)
			spoil(m, e.text);
		else
			say(m, "serving");
		break;
	case DRILL_WORD_GOING:
		on_going(m, msg);
		break;
	default:
		spoil(m, "romulus-disk says what makes no sense");
	}
}

static int on_guard(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct main_ctx *m = arg;
	struct drill_msg msg;
	ssize_t n;

	if (m->guard_fd < 0)
		return sd_event_source_set_enabled(src, SD_EVENT_OFF);
	n = recv(m->guard_fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == (ssize_t)sizeof(msg))
		on_word(m, &msg);
	else
		spoil(m, VIEW_ENDED);
	return m->guard_fd < 0 ? sd_event_source_set_enabled(src, SD_EVENT_OFF) : 0;
}

/* ---- what romulus-drill says ---- */

static void obey(struct main_ctx *m, const char *text)
{
	struct drill_msg msg = {.word = DRILL_WORD_HOLD};

	if (strcmp(text, "hold") != 0) {
		msg.word = DRILL_WORD_AT;
		if (sscanf(text, "at %" SCNu64, &msg.epoch) != 1) {
			spoil(m, "romulus-drill says what makes no sense");
			return;
		}
	}
	if (m->guard_fd < 0 || tell_guard(m, &msg) < 0)
		spoil(m, VIEW_ENDED);
}

static int on_ctl(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct main_ctx *m = arg;
	char text[64] = "";
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return sd_event_exit(m->loop, 0);
	obey(m, text);
	return 0;
}

/* ---- begin and end ---- */

static void runtime_path(const struct main_ctx *m, const char *name, const char *suffix,
			 char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/disk/%s.%s", m->conf->run_dir, name, suffix);
}

static int connect_guard(struct main_ctx *m, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char path[PATH_SIZE];

	runtime_path(m, m->opt.name, "drill", path);
	if (strlen(path) >= sizeof(to.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s", path);
	memcpy(to.sun_path, path, strlen(path) + 1);
	m->guard_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (m->guard_fd < 0 || connect(m->guard_fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return err_set(e, -errno, "%s; does its romulus-disk run?", path);
	return 0;
}

static int set_up(struct main_ctx *m, struct err *e)
{
	const struct conf_disk *disk = conf_disk(m->conf, m->opt.name);
	struct drill_overlay_conf oc = {.dir = m->conf->drill_overlay_dir,
					.limit = m->conf->drill_overlay_bytes,
					.spare = SPARE_BYTES};
	int rc;

	if (!disk)
		return err_setx(e, -ENOENT, "disk \"%s\" is not in %s", m->opt.name,
				m->opt.conf_path);
	if (strlen(m->opt.name) + strlen(SUFFIX) >= sizeof(m->shown))
		return err_setx(e, -ENAMETOOLONG, "disk \"%s\": its name is too long for a drill",
				m->opt.name);
	snprintf(m->shown, sizeof(m->shown), "%s" SUFFIX, m->opt.name);
	runtime_path(m, m->shown, "state", m->state_path);
	runtime_path(m, m->shown, "nbd", m->index_path);
	if (mkdir(oc.dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "make folder %s", oc.dir);
	oc.base = disk->path;
	rc = drill_overlay_new(&m->blk, &oc, e);
	if (rc == 0)
		rc = connect_guard(m, e);
	if (rc < 0)
		return rc;
	rc = sd_event_new(&m->loop);
	if (rc >= 0)
		rc = sd_event_add_io(m->loop, NULL, m->opt.ctl_fd, EPOLLIN, on_ctl, m);
	if (rc >= 0)
		rc = sd_event_add_io(m->loop, NULL, m->guard_fd, EPOLLIN, on_guard, m);
	return rc < 0 ? err_set(e, rc, "event loop") : 0;
}

/* Whoever has it open gets errors: it is a copy that is to go. */
static int take_apart(const char *name, int index, struct err *e)
{
	struct nbdnl *nl = NULL;
	char id[NBDSYS_ID_SIZE];
	int rc;

	snprintf(id, sizeof(id), "romulus-disk:%s", name);
	if (index < 0)
		index = nbdsys_find(NBDSYS_BLOCK, id);
	if (index < 0)
		return 0;
	rc = nbdnl_open(&nl, e);
	if (rc == 0)
		rc = nbdnl_disconnect(nl, index, e);
	nbdnl_free(nl);
	return rc;
}

/* And what block-romulus wrote. */
static int remove_files(const struct main_ctx *m, const char *name, struct err *e)
{
	static const char *const suffixes[] = {"nbd", "used", "state"};
	char path[PATH_SIZE];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(suffixes); i++) {
		runtime_path(m, name, suffixes[i], path);
		rc = persist_remove(path, e);
	}
	return rc;
}

static int tear_down(struct main_ctx *m)
{
	struct err e = ERR_INIT;
	int rc = 0;

	if (m->guard_fd >= 0)
		close(take_fd(&m->guard_fd));
	if (m->shown[0]) {
		rc = take_apart(m->shown, m->nbd_index, &e);
		if (rc == 0)
			rc = remove_files(m, m->shown, &e);
	}
	if (rc < 0)
		log_err("%s", e.text);
	kernel_shell_fini(&m->kernel);
	block_server_free(m->server);
	blk_close(m->blk);
	sd_event_unref(m->loop);
	return rc;
}

/* ---- what others have left ---- */

/* Does that file say that it is of a drill of this VM? */
static bool is_of(const struct main_ctx *m, const char *path)
{
	char text[NAME_SIZE + 16] = "";
	char vm[NAME_SIZE] = "";
	autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
	       sscanf(text, "active\n%63s\n", vm) == 1 && strcmp(vm, m->opt.vm) == 0;
}

static int clean_one(const struct main_ctx *m, const char *name, struct err *e)
{
	char state[PATH_SIZE];
	int rc;

	runtime_path(m, name, "state", state);
	if (!is_of(m, state))
		return 0;
	log_info("removing what a drill left of disk %s", name);
	rc = take_apart(name, -1, e);
	return rc < 0 ? rc : remove_files(m, name, e);
}

static int clean(const struct main_ctx *m, struct err *e)
{
	static const char tail[] = SUFFIX ".state";
	char path[PATH_SIZE];
	const struct dirent *d;
	int rc = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/disk", m->conf->run_dir);
	dir = opendir(path);
	while (dir && rc == 0 && (d = readdir(dir))) {
		size_t len = strlen(d->d_name);
		char name[NAME_SIZE];

		if (len < sizeof(tail) || len - strlen(".state") >= sizeof(name) ||
		    strcmp(d->d_name + len - (sizeof(tail) - 1), tail) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(len - strlen(".state")), d->d_name);
		rc = clean_one(m, name, e);
	}
	if (dir)
		closedir(dir);
	return rc;
}

static int run(struct main_ctx *m, struct err *e)
{
	int rc = m->opt.clean ? clean(m, e) : set_up(m, e);

	if (rc < 0 || m->opt.clean)
		return rc;
	say(m, "here");
	rc = sd_event_loop(m->loop);
	return rc < 0 ? err_set(e, rc, "event loop") : 0;
}

int main(int argc, char **argv)
{
	struct main_ctx m = {.guard_fd = -1, .nbd_index = -1};
	struct err e = ERR_INIT;
	int rc;

	if (parse(argc, argv, &m.opt) < 0)
		return usage(2);
	log_set_tag(m.opt.name ? m.opt.name : m.opt.vm);
	signal(SIGPIPE, SIG_IGN);
	/* The rest of a drill has time; what is saved here, the VM's journal waits for. */
	(void)setpriority(PRIO_PROCESS, 0, 0);
	rc = conf_load(m.opt.conf_path, &m.conf, &e);
	if (rc == 0)
		rc = run(&m, &e);
	if (rc < 0) {
		log_err("%s", e.text);
		if (m.opt.ctl_fd >= 0)
			say(&m, "error %s", e.text);
	}
	if (tear_down(&m) < 0 && rc == 0)
		rc = -EIO;
	conf_free(m.conf);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
