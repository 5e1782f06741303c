/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block server's unix socket: see block_server.h. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/block_impl.h"
#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/unix_listen.h"

static bool may_connect(int fd)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static void add_client_take(struct block_server *s, int fd)
{
	struct session *ss = NULL;
	int rc = -EBUSY;

	for (unsigned int i = 0; !ss && i < BLOCK_MAX_CLIENTS; i++)
		ss = s->client[i].state == SESSION_FREE ? &s->client[i] : NULL;
	if (ss)
		rc = session_init(ss, s, false);
	if (rc < 0) {
		close(fd);
	} else {
		rc = session_start_take(ss, fd, true);
		if (rc < 0)
			session_fini(ss);
	}
	if (rc < 0)
		log_limited(LOG_AT_WARN, "%s: a client is turned away: %s", s->listen_path,
			    strerrordesc_np(-rc));
}

static void watch_listener(struct block_server *s, bool on)
{
	struct epoll_event ev = {.events = on ? EPOLLIN : 0, .data.u64 = BLOCK_SRC_LISTEN};

	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->listen_fd, &ev) == 0)
		s->listen_paused = !on;
}

void listen_on_event(struct block_server *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && may_connect(fd)) {
		add_client_take(s, fd);
	} else if (fd >= 0) {
		close(fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		log_limited(LOG_AT_WARN, "%s: accept: %s; trying again later", s->listen_path,
			    strerrordesc_np(errno));
		watch_listener(s, false);
	}
}

void listen_go_on(struct block_server *s)
{
	if (s->listen_paused)
		watch_listener(s, true);
}

void listen_stop(struct block_server *s)
{
	if (s->listen_fd < 0)
		return;
	unlink(s->listen_path);
	close(take_fd(&s->listen_fd));
	s->listen_paused = false;
}

int block_server_listen(struct block_server *s, const char *path, struct err *e)
{
	int rc;

	assert(s->listen_fd < 0);
	rc = unix_listen(&s->listen_fd, path, SOCK_STREAM, BLOCK_MAX_CLIENTS, e);
	if (rc < 0)
		return rc;
	memcpy(s->listen_path, path, strlen(path) + 1);
	rc = server_watch(s, s->listen_fd, EPOLLIN, BLOCK_SRC_LISTEN);
	if (rc < 0)
		listen_stop(s);
	return rc < 0 ? err_set(e, rc, "listen at %s", path) : 0;
}
