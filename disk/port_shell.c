/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See port_shell.h. */
#include "disk/port_shell.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/backup_disk.h"
#include "disk/blk_io.h"
#include "disk/disk_state.h"
#include "disk/port_link.h"
#include "disk/primary_disk.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/unix_listen.h"

#define PASSES 16

struct port_shell {
	struct port_shell_conf conf;
	char path[108];
	int listen_fd;
	sd_event_source *listener;
	sd_event_source *socket;
	sd_event_source *file; /* the journal's */
	sd_event_source *timer;
	sd_event_source *post;
	struct port_link link;
	unsigned int side;  /* FRAME_PRIMARY, FRAME_BACKUP, or 0: no ROLE yet */
	char vm[NAME_SIZE]; /* of the newest ROLE ever */
	bool holds;	    /* frame was not taken yet */
	struct frame frame; /* valid while it holds */
	struct err why;	    /* the connection is to be closed for */
};

const char *port_shell_role(const struct port_shell *s)
{
	if (!s->side)
		return NULL;
	return s->side == FRAME_PRIMARY ? "primary" : "backup";
}

const char *port_shell_vm(const struct port_shell *s)
{
	return s->vm[0] ? s->vm : NULL;
}

/* ---- the worker ------------------------------------------------------------------- */

static void end_roles(struct port_shell *s)
{
	primary_disk_end(s->conf.primary);
	backup_disk_end(s->conf.backup);
	s->side = 0;
}

static void hang_up(struct port_shell *s)
{
	end_roles(s);
	s->socket = sd_event_source_disable_unref(s->socket);
	port_conn_free(s->link.conn);
	s->link = (struct port_link){.conn = NULL};
	s->holds = false;
}

static int on_role(struct port_shell *s, struct err *e)
{
	autofd fd = port_conn_take_fd(s->link.conn);
	struct port_role role;
	int rc = port_role_decode(&s->frame, &role, e);

	if (rc < 0)
		return rc;
	end_roles(s);
	port_link_init(&s->link, &role, s->conf.disk);
	if (role.side == FRAME_PRIMARY)
		rc = primary_disk_start(s->conf.primary, &s->link, fd, e);
	else
		backup_disk_start(s->conf.backup, &s->link);
	if (rc < 0)
		return rc;
	s->side = role.side;
	memcpy(s->vm, role.vm, sizeof(s->vm));
	log_info("VM %s: a %s's worker is here", role.vm, port_shell_role(s));
	return 0;
}

static int take(struct port_shell *s, struct err *e)
{
	if (s->frame.h.type == PORT_ROLE)
		return on_role(s, e);
	if (s->side == FRAME_PRIMARY)
		return primary_disk_take(s->conf.primary, &s->frame, e);
	if (s->side == FRAME_BACKUP)
		return backup_disk_take(s->conf.backup, &s->frame, e);
	return err_setx(e, -EPROTO, "disk port: %s before ROLE", port_name(s->frame.h.type));
}

/* What has come, as far as it can be taken now. */
static int receive(struct port_shell *s, struct err *e)
{
	int rc = 0;

	while (!rc) {
		if (!s->holds) {
			rc = port_conn_recv(s->link.conn, &s->frame, e);
			if (rc == -EAGAIN)
				backup_disk_arrived(s->conf.backup);
			if (rc < 0)
				return rc == -EAGAIN ? 0 : rc;
			s->holds = true;
		}
		rc = take(s, e);
		s->holds = rc == -EAGAIN;
	}
	return rc == -EAGAIN ? 0 : rc;
}

static int watch(struct port_shell *s)
{
	short events = port_conn_events(s->link.conn);

	/* A message that is not taken yet: nothing more is read. */
	if (s->holds)
		events = (short)(events & ~POLLIN);
	return sd_event_source_set_io_events(s->socket, (uint32_t)(unsigned short)events);
}

static int converse(struct port_shell *s, struct err *e)
{
	int rc;

	if (!s->link.conn)
		return backup_disk_go_on(s->conf.backup, e);
	rc = receive(s, e);
	if (!rc)
		rc = primary_disk_go_on(s->conf.primary, clock_now(), e);
	if (!rc)
		rc = backup_disk_go_on(s->conf.backup, e);
	if (!rc && !s->link.mute)
		rc = port_conn_flush(s->link.conn, e);
	/* Nobody hears us, but more may have come: that is taken before it counts as gone. */
	if (!s->link.mute && rc == -EPIPE) {
		s->link.mute = true;
		s->conf.disk->news = true;
		return 0;
	}
	return rc;
}

/* ---- the loop --------------------------------------------------------------------- */

static int arm(struct port_shell *s, uint64_t deadline)
{
	int r;

	if (deadline == CLOCK_NEVER)
		return sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	r = sd_event_source_set_time(s->timer, deadline / NS_PER_US + 1);
	return r < 0 ? r : sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static void turn(struct port_shell *s)
{
	struct disk *d = s->conf.disk;
	uint64_t deadline;

	for (int i = 0; i < PASSES && (i < 2 || d->news); i++) {
		struct err e = ERR_INIT;

		d->news = false;
		disk_go_on(d, clock_now());
		if (converse(s, &e) < 0) {
			log_info("the worker's connection has ended: %s", e.text);
			hang_up(s);
			d->news = true;
		}
	}
	disk_go_on(d, clock_now());
	blk_kick(d->file_blk);
	blk_kick(d->conf.blk);
	deadline = MIN(d->deadline, primary_disk_deadline(s->conf.primary));
	if (arm(s, d->news ? clock_now() : deadline) < 0 || (s->link.conn && watch(s) < 0))
		die("the event loop fails: the guest's disk would hang");
}

static int on_post(sd_event_source *src, void *arg)
{
	turn(arg);
	return 0;
}

/* These only end the loop's wait; on_post() does the rest. */

static int on_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	return 0;
}

static int on_socket(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct port_shell *s = arg;

	/* What has come is taken all the same; this would be told again and again meanwhile. */
	if (revents & (EPOLLHUP | EPOLLERR)) {
		s->link.mute = true;
		return sd_event_source_set_enabled(src, SD_EVENT_OFF);
	}
	return 0;
}

static int on_file(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct port_shell *s = arg;

	blk_reap(s->conf.disk->file_blk);
	return 0;
}

static bool may_connect(int fd)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static int greet_take(struct port_shell *s, int fd, struct err *e)
{
	struct port_conn *conn;
	int rc = port_conn_new_take(&conn, fd, PORT_SERVER, e);

	if (rc < 0)
		return rc;
	if (s->link.conn) {
		struct err unused = ERR_INIT;

		log_warn("another worker comes: the one before is sent away");
		/* Mostly it is gone already, and what it said last has not been read yet. */
		s->link.mute = true;
		(void)receive(s, &unused);
		hang_up(s);
	}
	rc = sd_event_add_io(s->conf.loop, &s->socket, port_conn_fd(conn), EPOLLIN, on_socket, s);
	if (rc < 0) {
		port_conn_free(conn);
		return err_set(e, rc, "event loop");
	}
	s->link.conn = conn;
	return 0;
}

static int on_listener(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct port_shell *s = arg;
	struct err e = ERR_INIT;
	int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (got < 0)
		return 0;
	if (!may_connect(got)) {
		close(got);
		log_limited(LOG_AT_WARN, "%s: a stranger is turned away", s->path);
	} else if (greet_take(s, got, &e) < 0) {
		log_limited(LOG_AT_WARN, "%s: %s", s->path, e.text);
	}
	return 0;
}

/* ---- life ------------------------------------------------------------------------- */

static int listen_at(struct port_shell *s, const char *path, struct err *e)
{
	int rc = unix_listen(&s->listen_fd, path, SOCK_STREAM, 4, e);

	if (rc == 0)
		memcpy(s->path, path, strlen(path) + 1);
	return rc;
}

static int add_sources(struct port_shell *s, struct err *e)
{
	sd_event *loop = s->conf.loop;
	int r = sd_event_add_io(loop, &s->listener, s->listen_fd, EPOLLIN, on_listener, s);

	if (r >= 0)
		r = sd_event_add_io(loop, &s->file, s->conf.disk->file_blk->event_fd, EPOLLIN,
				    on_file, s);
	/* At once: what has been found at the start may have something to do. */
	if (r >= 0)
		r = sd_event_add_time(loop, &s->timer, CLOCK_BOOTTIME, 0, 1, on_timer, s);
	if (r >= 0)
		r = sd_event_add_post(loop, &s->post, on_post, s);
	return r < 0 ? err_set(e, r, "event loop") : 0;
}

int port_shell_new(const struct port_shell_conf *c, struct port_shell **out, struct err *e)
{
	struct port_shell *s = mem_zalloc(sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "disk port");
	s->conf = *c;
	s->listen_fd = -1;
	rc = listen_at(s, c->path, e);
	if (!rc)
		rc = add_sources(s, e);
	if (rc < 0) {
		port_shell_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void port_shell_free(struct port_shell *s)
{
	if (!s)
		return;
	hang_up(s);
	sd_event_source_disable_unref(s->post);
	sd_event_source_disable_unref(s->timer);
	sd_event_source_disable_unref(s->file);
	sd_event_source_disable_unref(s->listener);
	if (s->path[0])
		unlink(s->path);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	mem_free(s);
}
