/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_port_shell.h. */
#include "disk/drill_port_shell.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/disk_state.h"
#include "disk/drill_guard.h"
#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/unix_listen.h"

struct drill_port_shell {
	sd_event *loop;
	struct disk *disk;
	char path[108];
	int listen_fd;
	int watched; /* a copy of the guard's descriptor, which the guard may close at any time; -1: none */
	sd_event_source *listener;
	sd_event_source *socket;
	sd_event_source *post;
};

static void forget(struct drill_port_shell *s)
{
	s->socket = sd_event_source_disable_unref(s->socket);
	if (s->watched >= 0)
		close(take_fd(&s->watched));
}

/* Ends the loop's wait; the disk goes on after every event. */
static int on_socket(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	return 0;
}

static int on_post(sd_event_source *src, void *arg)
{
	struct drill_port_shell *s = arg;

	if (s->watched >= 0 && drill_guard_fd(s->disk->guard) < 0)
		forget(s);
	return 0;
}

static bool may_connect(int fd)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0 &&
	       (cred.uid == 0 || cred.uid == geteuid());
}

static int on_listener(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct drill_port_shell *s = arg;
	int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int rc;

	if (got < 0)
		return 0;
	if (!may_connect(got)) {
		close(got);
		return 0;
	}
	rc = drill_guard_begin_take(s->disk->guard, s->disk->journal, got);
	if (rc < 0) {
		log_info("a drill is turned away: %s",
			 rc == -EBUSY ? "there is one" : "the disk is not standing by");
		return 0;
	}
	forget(s);
	s->watched = fcntl(drill_guard_fd(s->disk->guard), F_DUPFD_CLOEXEC, 0);
	if (s->watched < 0 ||
	    sd_event_add_io(s->loop, &s->socket, s->watched, EPOLLIN, on_socket, s) < 0) {
		drill_guard_end(s->disk->guard, "it cannot be watched");
		forget(s);
	}
	return 0;
}

static int listen_at(struct drill_port_shell *s, const char *path, struct err *e)
{
	int rc = unix_listen(&s->listen_fd, path, SOCK_SEQPACKET, 2, e);

	if (rc == 0)
		memcpy(s->path, path, strlen(path) + 1);
	return rc;
}

int drill_port_shell_new(sd_event *loop, struct disk *d, const char *path,
			 struct drill_port_shell **out, struct err *e)
{
	struct drill_port_shell *s = mem_zalloc(sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "drill port");
	s->loop = loop;
	s->disk = d;
	s->listen_fd = s->watched = -1;
	rc = listen_at(s, path, e);
	if (rc == 0) {
		rc = sd_event_add_io(loop, &s->listener, s->listen_fd, EPOLLIN, on_listener, s);
		if (rc >= 0)
			rc = sd_event_add_post(loop, &s->post, on_post, s);
		rc = rc < 0 ? err_set(e, rc, "event loop") : 0;
	}
	if (rc < 0) {
		drill_port_shell_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void drill_port_shell_free(struct drill_port_shell *s)
{
	if (!s)
		return;
	forget(s);
	sd_event_source_disable_unref(s->post);
	sd_event_source_disable_unref(s->listener);
	if (s->path[0])
		unlink(s->path);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	mem_free(s);
}
