/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See dial.h. */
#include "arbiter/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/tls.h"

struct dial {
	int fd;
	struct tls *tls;
};

static int wait_for(int fd, short events, uint64_t deadline_ns, struct err *e)
{
	for (;;) {
		uint64_t left = clock_until(deadline_ns, clock_now());
		struct pollfd p = {.fd = fd, .events = events};
		int r = left ? poll(&p, 1, clock_poll_ms(left)) : 0;

		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return err_set(e, -errno, "poll");
		if (!left)
			return err_setx(e, -ETIMEDOUT, "no answer in time");
	}
}

/* rc is what lib/tls wants: TLS_WANT_READ or TLS_WANT_WRITE. */
static int wait_tls(const struct dial *d, int rc, uint64_t deadline_ns, struct err *e)
{
	return wait_for(d->fd, rc == TLS_WANT_READ ? POLLIN : POLLOUT, deadline_ns, e);
}

static int connect_one(const struct addr *to, uint64_t deadline_ns, int *out, struct err *e)
{
	autofd fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(int);
	int failure = 0;
	int on = 1;
	int rc = 0;

	if (fd < 0)
		return err_set(e, -errno, "socket");
	/* Only makes it faster. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (const struct sockaddr *)&to->sa, to->size) < 0) {
		if (errno != EINPROGRESS)
			return err_set(e, -errno, "no connection");
		rc = wait_for(fd, POLLOUT, deadline_ns, e);
	}
	if (rc < 0)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0)
		failure = errno;
	if (failure)
		return err_set(e, -failure, "no connection");
	*out = take_fd(&fd);
	return 0;
}

static int connect_any(struct dial *d, const char *host, uint16_t port, uint64_t deadline_ns,
		       struct err *e)
{
	struct addr_list list;
	char text[ADDR_TEXT_SIZE];
	int rc = addr_resolve(host, port, &list, -1, deadline_ns, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < list.n; i++) {
		uint64_t now = clock_now();
		uint64_t share = clock_until(deadline_ns, now) / (list.n - i);

		rc = connect_one(&list.a[i], clock_add(now, share), &d->fd, e);
		if (!rc)
			return 0;
		(void)err_wrap(e, rc, "%s", addr_format(&list.a[i], text));
	}
	return rc;
}

int dial_open(struct dial **out, struct tls_ctx *ctx, const char *host, uint16_t port,
	      uint64_t deadline_ns, struct err *e)
{
	struct dial *d = mem_zalloc(sizeof(*d));
	int rc;

	if (!d)
		return err_set(e, -ENOMEM, "connect to %s", host);
	d->fd = -1;
	rc = connect_any(d, host, port, deadline_ns, e);
	if (!rc)
		rc = tls_new(&d->tls, ctx, d->fd, TLS_CLIENT, e);
	while (!rc) {
		rc = tls_handshake(d->tls, e);
		if (rc <= 0)
			break;
		rc = wait_tls(d, rc, deadline_ns, e);
	}
	if (rc < 0) {
		dial_close(d);
		return rc;
	}
	*out = d;
	return 0;
}

void dial_close(struct dial *d)
{
	if (!d)
		return;
	if (d->tls)
		tls_bye(d->tls);
	tls_free(d->tls);
	if (d->fd >= 0)
		close(d->fd);
	mem_free(d);
}

const char *dial_peer_name(const struct dial *d)
{
	return tls_peer_name(d->tls);
}

int dial_write(struct dial *d, const void *buf, size_t size, uint64_t deadline_ns, struct err *e)
{
	const uint8_t *p = buf;
	int rc = 0;

	while (size && rc >= 0) {
		size_t n = 0;

		rc = tls_write(d->tls, p, size, &n, e);
		p += n;
		size -= n;
		if (rc > 0)
			rc = wait_tls(d, rc, deadline_ns, e);
	}
	return rc;
}

int dial_read(struct dial *d, void *buf, size_t size, uint64_t deadline_ns, struct err *e)
{
	uint8_t *p = buf;
	int rc = 0;

	while (size && rc >= 0) {
		size_t n = 0;

		rc = tls_read(d->tls, p, size, &n, e);
		p += n;
		size -= n;
		if (rc > 0)
			rc = wait_tls(d, rc, deadline_ns, e);
	}
	return rc;
}
