/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From an address or an accepted socket to a session of two that know each other, and its end. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conn_impl.h"
#include "lib/mem.h"
#include "lib/tls.h"

#define SOCKET_BUFFER ((uint32_t)4 << 20)
/* What the kernel may hold that is not on its way yet: the age of an epoch's end is bounded by it. */
#define NOT_SENT ((uint32_t)256 << 10)
#define DRAIN_BYTES 4096

static void set_option(int fd, int level, int name, int value)
{
	/* All of them only make it faster: without them the link still works. */
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_options(int fd, const struct conn_conf *conf)
{
	uint32_t size = conf->socket_buffer ? conf->socket_buffer : SOCKET_BUFFER;

	/* Without the privilege they stay as the kernel tunes them, which beats the plain option. */
	set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, (int)MIN(size, (uint32_t)INT32_MAX / 2));
	set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, (int)MIN(size, (uint32_t)INT32_MAX / 2));
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)NOT_SENT);
	if (conf->user_timeout_ms)
		set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
			   (int)MIN(conf->user_timeout_ms, (uint32_t)INT32_MAX));
}

/* A write to a connection that is gone shall be an error, not the end of the process. */
static void block_sigpipe(void)
{
	sigset_t pipe;

	(void)sigemptyset(&pipe);
	(void)sigaddset(&pipe, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe, NULL);
}

static int make(struct conn **out, const struct conn_conf *conf, enum frame_side side,
		struct err *e)
{
	struct conn *c = mem_zalloc(sizeof(*c));

	if (c) {
		c->fd = -1;
		c->wake_fd = conf->wake_fd;
		c->side = side;
		c->version = FRAME_VERSION_MIN;
		c->out = mem_alloc(CONN_OUT_SIZE);
		c->in = mem_alloc(CONN_IN_SIZE);
	}
	if (!c || !c->out || !c->in) {
		conn_free(c);
		(void)err_set(e, -ENOMEM, "connection");
		return -ENOMEM;
	}
	/* Every page now: the steady state meets no page fault for them. */
	memset(c->out, 0, CONN_OUT_SIZE);
	memset(c->in, 0, CONN_IN_SIZE);
	block_sigpipe();
	*out = c;
	return 0;
}

static int handshake(struct conn *c, const struct conn_conf *conf, struct err *e)
{
	bool client = c->side == FRAME_PRIMARY;
	int rc = tls_new(&c->tls, conf->tls, c->fd, client ? TLS_CLIENT : TLS_SERVER, e);

	while (!rc) {
		rc = tls_handshake(c->tls, e);
		if (rc <= 0)
			break;
		rc = conn_poll__(c, rc == TLS_WANT_READ ? POLLIN : POLLOUT,
				 conf->handshake_deadline_ns, e);
	}
	if (rc < 0) {
		/* The alert that says why may still have to go out; the socket takes so little. */
		if (c->tls)
			tls_bye(c->tls);
		return err_wrap(e, rc, "TLS with %s", c->info.peer_addr);
	}
	(void)snprintf(c->info.peer_name, sizeof(c->info.peer_name), "%s", tls_peer_name(c->tls));
	(void)snprintf(c->info.cipher, sizeof(c->info.cipher), "%s", tls_cipher(c->tls));
	c->info.ktls_send = tls_ktls_send(c->tls);
	c->info.ktls_recv = tls_ktls_recv(c->tls);
	return 0;
}

/* Waits for the outcome of a connect that was begun on c's socket. */
static int await_connect(struct conn *c, uint64_t deadline_ns, struct err *e)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};
	socklen_t size = sizeof(int);
	int failure = 0;

	while (poll(&p, 1, 0) == 0) {
		int rc = conn_poll__(c, POLLOUT, deadline_ns, e);

		if (rc < 0)
			return rc;
	}
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0)
		failure = errno;
	return failure ? err_set(e, -failure, "no connection") : 0;
}

/* One address; the socket that comes of it is c's. */
static int connect_to(struct conn *c, const struct addr *to, const struct conn_conf *conf,
		      uint64_t deadline_ns, struct err *e)
{
	int rc = 0;

	(void)addr_format(to, c->info.peer_addr);
	c->fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return err_set(e, -errno, "socket");
	set_options(c->fd, conf);
	if (connect(c->fd, (const struct sockaddr *)&to->sa, to->size) < 0)
		rc = errno == EINPROGRESS ? await_connect(c, deadline_ns, e)
					  : err_set(e, -errno, "no connection");
	if (rc < 0) {
		close(take_fd(&c->fd));
		return err_wrap(e, rc, "connect to %s", c->info.peer_addr);
	}
	return 0;
}

static int connect_to_any(struct conn *c, const struct addr_list *list,
			  const struct conn_conf *conf, struct err *e)
{
	int rc = -EHOSTUNREACH;

	for (size_t i = 0; i < list->n && rc && rc != -ECANCELED; i++) {
		uint64_t now = clock_now();
		/* Each gets its share of what time is left. */
		uint64_t share = clock_until(conf->handshake_deadline_ns, now) / (list->n - i);

		rc = connect_to(c, &list->a[i], conf, clock_add(now, share), e);
	}
	return rc;
}

int conn_connect(struct conn **out, const char *host, uint16_t port, const struct conn_conf *conf,
		 struct err *e)
{
	struct addr_list list;
	struct conn *c;
	int rc = make(&c, conf, FRAME_PRIMARY, e);

	if (rc < 0)
		return rc;
	rc = addr_resolve(host, port, &list, conf->wake_fd, conf->handshake_deadline_ns, e);
	if (!rc)
		rc = connect_to_any(c, &list, conf, e);
	if (!rc)
		rc = handshake(c, conf, e);
	if (rc < 0) {
		conn_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

int conn_accept_take(struct conn **out, int fd, const struct conn_conf *conf, struct err *e)
{
	struct addr peer;
	struct conn *c;
	int on = 1;
	int rc = make(&c, conf, FRAME_BACKUP, e);

	if (rc < 0) {
		close(fd);
		return rc;
	}
	c->fd = fd;
	conn_peer_addr(c, &peer);
	(void)addr_format(&peer, c->info.peer_addr);
	set_options(fd, conf);
	/* FIONBIO and FD_CLOEXEC hold for a socket however it came here. */
	if (ioctl(fd, FIONBIO, &on) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		rc = err_set(e, -errno, "prepare the socket of %s", c->info.peer_addr);
	if (!rc)
		rc = handshake(c, conf, e);
	if (rc < 0) {
		conn_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	if (c->tls && !c->out_err.rc && c->out_start == c->out_end)
		tls_bye(c->tls);
	tls_free(c->tls);
	if (c->fd >= 0)
		close(c->fd);
	mem_free(c->out);
	mem_free(c->in);
	mem_free(c);
}

int conn_finish(struct conn *c, uint64_t deadline_ns, struct err *e)
{
	uint8_t dropped[DRAIN_BYTES];
	int rc = conn_flush(c, deadline_ns, e);

	if (rc < 0)
		return rc;
	tls_bye(c->tls);
	(void)shutdown(c->fd, SHUT_WR);
	(void)err_setx(&c->out_err, -ECONNRESET, "we closed the connection");
	/* Closing with bytes unread would reset the connection and take our last word along. */
	while (!rc) {
		ssize_t n = recv(c->fd, dropped, sizeof(dropped), 0);

		/* A peer that closes before it has read our goodbye resets: closed, too. */
		if (!n || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_set(e, -errno, "wait for the peer to close");
		rc = conn_poll__(c, POLLIN, deadline_ns, e);
	}
	return rc;
}

void conn_peer_addr(const struct conn *c, struct addr *out)
{
	memset(out, 0, sizeof(*out));
	out->size = sizeof(out->sa);
	if (getpeername(c->fd, (struct sockaddr *)&out->sa, &out->size) < 0)
		out->size = 0;
}

void conn_local_addr(const struct conn *c, struct addr *out)
{
	memset(out, 0, sizeof(*out));
	out->size = sizeof(out->sa);
	if (getsockname(c->fd, (struct sockaddr *)&out->sa, &out->size) < 0)
		out->size = 0;
}
