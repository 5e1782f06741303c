/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus-domain: a process of its own for what needs libxenlight. The workers start it; an operator may,
 * to see or to clean up.
 *
 *	config NAME|DOMID	the configuration of a running domain, libxl's JSON, on stdout
 *	memory			free_mib=N
 *	vifs NAME|DOMID		vif name= mac= bridge=, a line each
 *	disks NAME|DOMID	disk vdev= name=, a line each; an error if one is no Romulus disk
 *	pause NAME|DOMID
 *	destroy NAME|DOMID	no such domain is fine
 *	lifecycle DOMID [--reason R] [--log FILE]
 *				it has shut down: do what its configuration says; if it is
 *				started anew, leave a monitor behind
 *	monitor DOMID		look after it until it is gone
 *	restore --name N --stream-fd F --ctl-fd F --config-fd F [--drill BRIDGE]
 *				build a standby, see standby.h; or a drill's copy
 *
 * Over the control socket (SOCK_SEQPACKET, one line a packet) it says `built domid=`, `vif name= mac=
 * bridge=`, `running domid=`, `taken TEXT` (another domain has the name: `run` may be said again) or `error
 * TEXT`, and hears `run` or `abandon`; its end means abandon, too, until `run` was heard; of a drill's copy, always. Exit:
 * 0, 1 for an error, 2 for wrong usage, 3 for a standby that was given up.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/names.h"
#include "replicator/config_fd.h"
#include "replicator/standby.h"
#include "replicator/xen_libxl.h"

enum {
	EXIT_OK = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_GIVEN_UP = 3,
};

struct options {
	const char *target; /* NAME or DOMID */
	const char *name;
	const char *reason;
	const char *log;
	const char *drill; /* the bridge of a drill's copy; NULL: a standby */
	int stream_fd;
	int ctl_fd;
	int config_fd;
};

static int usage(const char *why)
{
	fprintf(stderr,
		"romulus-domain: %s\n"
		"usage: romulus-domain config|vifs|disks|pause|destroy NAME|DOMID\n"
		"       romulus-domain memory\n"
		"       romulus-domain monitor DOMID\n"
		"       romulus-domain lifecycle DOMID [--reason REASON] [--log FILE]\n"
		"       romulus-domain restore --name NAME --stream-fd FD --ctl-fd FD "
		"--config-fd FD [--drill BRIDGE]\n",
		why);
	return EXIT_USAGE;
}

static int report(const struct err *e)
{
	log_err("%s", e->text);
	return EXIT_ERROR;
}

/* ---- simple modes ---------------------------------------------------------- */

static int mode_config(struct xen_libxl *x, const struct options *o, struct err *e)
{
	char *json = NULL;
	uint32_t domid;
	int rc;

	rc = xen_libxl_find(x, o->target, &domid, e);
	if (rc == 0)
		rc = xen_libxl_config(x, domid, &json, e);
	if (rc == 0 && (puts(json) < 0 || fflush(stdout)))
		rc = err_set(e, -EIO, "write the configuration");
	free(json);
	return rc;
}

static int mode_memory(struct xen_libxl *x, const struct options *o, struct err *e)
{
	uint64_t mib;
	int rc = xen_libxl_free_memory(x, &mib, e);

	if (rc == 0)
		printf("free_mib=%llu\n", (unsigned long long)mib);
	return rc;
}

#define VIF_TEXT 96

static void vif_text(char buf[VIF_TEXT], const struct xen_libxl_vif *v)
{
	snprintf(buf, VIF_TEXT, "vif name=%.15s mac=%02x:%02x:%02x:%02x:%02x:%02x bridge=%.15s",
		 v->name, v->mac[0], v->mac[1], v->mac[2], v->mac[3], v->mac[4], v->mac[5],
		 v->bridge);
}

static int mode_vifs(struct xen_libxl *x, const struct options *o, struct err *e)
{
	struct xen_libxl_vifs vifs;
	uint32_t domid;
	int rc;

	rc = xen_libxl_find(x, o->target, &domid, e);
	if (rc == 0)
		rc = xen_libxl_vifs(x, domid, &vifs, e);
	for (uint32_t i = 0; rc == 0 && i < vifs.n; i++) {
		char text[VIF_TEXT];

		vif_text(text, &vifs.vif[i]);
		puts(text);
	}
	return rc;
}

static int mode_disks(struct xen_libxl *x, const struct options *o, struct err *e)
{
	struct disk_list disks = {.n = 0};
	uint32_t domid;
	int rc;

	rc = xen_libxl_find(x, o->target, &domid, e);
	if (rc == 0)
		rc = xen_libxl_disks(x, domid, &disks, e);
	for (unsigned int i = 0; rc == 0 && i < disks.n; i++) {
		char text[DISK_LINE_SIZE];

		disk_list_line(text, &disks, i);
		puts(text);
	}
	return rc;
}

static int mode_pause(struct xen_libxl *x, const struct options *o, struct err *e)
{
	uint32_t domid;
	int rc = xen_libxl_find(x, o->target, &domid, e);

	return rc < 0 ? rc : xen_libxl_pause(x, domid, e);
}

static int mode_destroy(struct xen_libxl *x, const struct options *o, struct err *e)
{
	uint32_t domid;
	int rc = xen_libxl_find(x, o->target, &domid, e);

	if (rc == -ENOENT)
		return 0;
	return rc < 0 ? rc : xen_libxl_destroy(x, domid, e);
}

static int mode_monitor(struct xen_libxl *x, const struct options *o, struct err *e)
{
	uint32_t domid;
	int rc = xen_libxl_find(x, o->target, &domid, e);

	return rc < 0 ? rc : xen_libxl_monitor(x, domid, e);
}

/* The caller waits for us and our output, so the monitor takes neither. */
static int leave_monitor(uint32_t domid, const char *log, struct err *e)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	char number[12];
	const char *argv[] = {"romulus-domain", "monitor", number, NULL};
	pid_t pid;
	int r;

	snprintf(number, sizeof(number), "%u", domid);
	r = posix_spawn_file_actions_init(&files);
	if (r)
		return err_set(e, -r, "start a monitor");
	posix_spawnattr_init(&attr);
	r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
	for (int fd = 0; !r && fd < 2; fd++)
		r = posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
	if (!r)
		r = posix_spawn_file_actions_addopen(&files, 2, log ? log : "/dev/null",
						     O_WRONLY | O_CREAT | O_APPEND, 0640);
	if (!r)
		r = posix_spawn(&pid, "/proc/self/exe", &files, &attr, (char *const *)argv,
				environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	if (r)
		return err_set(e, -r, "start a monitor of domain %u", domid);
	return 0;
}

static int mode_lifecycle(struct xen_libxl *x, const struct options *o, struct err *e)
{
	uint32_t domid;
	int rc = xen_libxl_find(x, o->target, &domid, e);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	if (o->reason)
		log_info("domain %u was seen to end: %s", domid, o->reason);
	rc = xen_libxl_obey(x, &domid, e);
	if (rc <= 0)
		return rc;
	printf("domid=%u\n", domid);
	return leave_monitor(domid, o->log, e);
}

/* ---- restore --------------------------------------------------------------- */

struct restore {
	int ctl;
	bool run;      /* was told to */
	bool given_up; /* abandoned, or nobody is there any more */
	uint32_t domid;
	struct xen_libxl_vifs vifs;
};

/* One packet; if nobody hears it any more, the next read tells. */
PRINTF(2, 3) static void say(const struct restore *s, const char *fmt, ...)
{
	char text[STANDBY_TEXT_SIZE + 16];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		(void)!send(s->ctl, text, MIN((size_t)n, sizeof(text) - 1), MSG_NOSIGNAL);
}

/* Takes what the worker said. */
static enum xen_libxl_heed hear(void *arg)
{
	struct restore *s = arg;
	char text[16];
	ssize_t n = recv(s->ctl, text, sizeof(text), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return XEN_LIBXL_GO_ON;
	if (n == 3 && memcmp(text, "run", 3) == 0) {
		s->run = true;
		return XEN_LIBXL_GO_ON_DEAF;
	}
	s->given_up = true; /* "abandon", the end, or nonsense */
	return XEN_LIBXL_GIVE_UP;
}

static int wait_for_word(struct restore *s, struct err *e)
{
	struct pollfd p = {.fd = s->ctl, .events = POLLIN};

	while (!s->run && !s->given_up) {
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return err_set(e, -errno, "wait for the worker");
		if (p.revents)
			(void)hear(s);
	}
	return 0;
}

static int read_config(int fd, char **json, struct err *e)
{
	size_t size;
	int rc = config_fd_read(fd, json, &size, e);

	if (rc == 0 && strlen(*json) != size)
		rc = err_setx(e, -EBADMSG, "the configuration has a byte 0 in it");
	return rc;
}

static int build(struct xen_libxl *x, const struct options *o, struct restore *s, struct err *e)
{
	autofree char *json = NULL;
	char build_name[NAME_SIZE + sizeof(STANDBY_SUFFIX)];
	struct xen_libxl_restore r = {
		.vm = o->name,
		.build_name = build_name,
		.drill_bridge = o->drill,
		.stream_fd = o->stream_fd,
		.poll_fd = s->ctl,
		.poll_fn = hear,
		.arg = s,
	};
	int rc;

	snprintf(build_name, sizeof(build_name), "%s%s", o->name,
		 o->drill ? DRILL_SUFFIX : STANDBY_SUFFIX);
	rc = read_config(o->config_fd, &json, e);
	if (rc < 0)
		return rc;
	r.json = json;
	return xen_libxl_restore(x, &r, &s->domid, &s->vifs, e);
}

static void say_running(const struct restore *s)
{
	for (uint32_t i = 0; i < s->vifs.n; i++) {
		char text[VIF_TEXT];

		vif_text(text, &s->vifs.vif[i]);
		say(s, "%s", text);
	}
	say(s, "running domid=%u", s->domid);
}

/* Who gave it up needs no reason. */
static void say_error(const struct restore *s, int rc, const struct err *e)
{
	if (rc < 0 && rc != -ECANCELED)
		say(s, "error %s", e->text);
}

/* A drill's copy lives as long as somebody wants it, and no longer. */
static int wait_for_end(struct xen_libxl *x, struct restore *s, struct err *e)
{
	int rc;

	s->run = false;
	rc = wait_for_word(s, e);
	if (rc == 0)
		rc = xen_libxl_destroy(x, s->domid, e);
	return rc < 0 ? rc : -ECANCELED;
}

/* From `built` to the end of the domain. */
static int serve(struct xen_libxl *x, const struct options *o, struct restore *s, struct err *e)
{
	int rc;

	say(s, "built domid=%u", s->domid);
	for (;;) {
		rc = wait_for_word(s, e);
		if (rc == 0 && !s->given_up)
			rc = xen_libxl_run(x, s->domid, o->drill ? NULL : o->name, e);
		if (rc != -EEXIST)
			break;
		/* P4: it may be the only copy. The operator can make room; the worker says `run` again. */
		say(s, "taken %s", e->text);
		s->run = false;
	}
	if (s->given_up) {
		rc = xen_libxl_destroy(x, s->domid, e);
		return rc < 0 ? rc : -ECANCELED;
	}
	if (rc < 0)
		return rc;
	log_info("domain %u runs as %s%s", s->domid, o->name, o->drill ? DRILL_SUFFIX : "");
	say_running(s);
	if (o->drill)
		return wait_for_end(x, s, e);
	return xen_libxl_monitor(x, s->domid, e);
}

static int mode_restore(struct xen_libxl *x, const struct options *o, struct err *e)
{
	struct restore s = {.ctl = o->ctl_fd};
	int rc;

	log_set_tag(o->name);
	rc = build(x, o, &s, e);
	/* Before the stream ends: the worker that sees its end first would not know why. */
	say_error(&s, rc, e);
	/* Nothing of it must reach the hotplug scripts and what they leave running. */
	close(o->stream_fd);
	close(o->config_fd);
	if (rc == 0) {
		rc = serve(x, o, &s, e);
		say_error(&s, rc, e);
	}
	return rc;
}

/* ---- arguments ------------------------------------------------------------- */

enum {
	WANTS_TARGET = 1,
	WANTS_RESTORE = 2,
	MAY_LIFECYCLE = 4,
};

static const struct mode {
	const char *name;
	unsigned int flags;
	int (*run)(struct xen_libxl *x, const struct options *o, struct err *e);
} modes[] = {
	{"config", WANTS_TARGET, mode_config},
	{"memory", 0, mode_memory},
	{"vifs", WANTS_TARGET, mode_vifs},
	{"disks", WANTS_TARGET, mode_disks},
	{"pause", WANTS_TARGET, mode_pause},
	{"destroy", WANTS_TARGET, mode_destroy},
	{"monitor", WANTS_TARGET, mode_monitor},
	{"lifecycle", WANTS_TARGET | MAY_LIFECYCLE, mode_lifecycle},
	{"restore", WANTS_RESTORE, mode_restore},
};

static bool parse_fd(const char *text, int *fd)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < 3 || v > 1023 || *fd >= 0)
		return false;
	*fd = (int)v;
	/* libxl's children must not inherit them. */
	return fcntl(*fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool parse_text(const char *text, const char **to)
{
	if (*to || !*text)
		return false;
	*to = text;
	return true;
}

static bool parse_option(const struct mode *m, const char *key, const char *value,
			 struct options *o)
{
	if (m->flags & WANTS_RESTORE) {
		if (strcmp(key, "--name") == 0)
			return name_ok(value) && parse_text(value, &o->name);
		if (strcmp(key, "--drill") == 0)
			return name_ok(value) && parse_text(value, &o->drill);
		if (strcmp(key, "--stream-fd") == 0)
			return parse_fd(value, &o->stream_fd);
		if (strcmp(key, "--ctl-fd") == 0)
			return parse_fd(value, &o->ctl_fd);
		if (strcmp(key, "--config-fd") == 0)
			return parse_fd(value, &o->config_fd);
	}
	if (m->flags & MAY_LIFECYCLE) {
		if (strcmp(key, "--reason") == 0)
			return name_ok(value) && parse_text(value, &o->reason);
		if (strcmp(key, "--log") == 0)
			return value[0] == '/' && parse_text(value, &o->log);
	}
	return false;
}

static bool is_vm_with(const char *text, const char *suffix)
{
	char vm[NAME_SIZE];
	size_t len = strlen(text);
	size_t tail = strlen(suffix);

	if (len <= tail || len - tail >= sizeof(vm) || strcmp(text + len - tail, suffix) != 0)
		return false;
	memcpy(vm, text, len - tail);
	vm[len - tail] = '\0';
	return name_ok(vm);
}

/* A name or a number; the name of a standby, and of a drill's copy, is longer than a VM's. */
static bool target_ok(const char *text)
{
	return name_ok(text) || is_vm_with(text, STANDBY_SUFFIX) || is_vm_with(text, DRILL_SUFFIX);
}

static const char *parse(const struct mode *m, char **argv, struct options *o)
{
	*o = (struct options){.stream_fd = -1, .ctl_fd = -1, .config_fd = -1};
	if (m->flags & WANTS_TARGET) {
		if (!*argv || !target_ok(*argv))
			return "which domain?";
		o->target = *argv++;
	}
	for (; *argv; argv += 2) {
		if (!argv[1] || !parse_option(m, argv[0], argv[1], o))
			return "an argument is wrong";
	}
	if ((m->flags & WANTS_RESTORE) &&
	    (!o->name || o->stream_fd < 0 || o->ctl_fd < 0 || o->config_fd < 0))
		return "an argument is missing";
	return NULL;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct xen_libxl *x = NULL;
	const struct mode *m = NULL;
	struct options o;
	const char *why;
	int rc;

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(modes); i++) {
		if (strcmp(argv[1], modes[i].name) == 0)
			m = &modes[i];
	}
	if (!m)
		return usage("no such mode");
	why = parse(m, argv + 2, &o);
	if (why)
		return usage(why);
	signal(SIGPIPE, SIG_IGN);
	rc = xen_libxl_open(&x, &e);
	if (rc < 0 && o.ctl_fd >= 0)
		say(&(struct restore){.ctl = o.ctl_fd}, "error %s", e.text);
	if (rc == 0)
		rc = m->run(x, &o, &e);
	xen_libxl_close(x);
	if (rc == -ECANCELED)
		return EXIT_GIVEN_UP;
	return rc < 0 ? report(&e) : EXIT_OK;
}
