/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See listen.h. */
#include "lib/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "lib/err.h"

static int bind_to(const struct addrinfo *a)
{
	autofd fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 64) < 0)
		return -errno;
	return take_fd(&fd);
}

int listen_at(const char *address, uint16_t port, struct err *e)
{
	const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
				       .ai_socktype = SOCK_STREAM};
	struct addrinfo *a = NULL;
	char service[8];
	int fd;
	int r;

	(void)snprintf(service, sizeof(service), "%u", (unsigned int)port);
	r = getaddrinfo(address, service, &hints, &a);
	if (r)
		return err_setx(e, -EADDRNOTAVAIL, "listen-address \"%s\": %s", address,
				gai_strerror(r));
	fd = bind_to(a);
	freeaddrinfo(a);
	return fd < 0 ? err_set(e, fd, "listen at %s port %s", address, service) : fd;
}
