/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_talk.h. */
#include "disk/drill_talk.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/drill_wire.h"

static int socket_say(int fd, const struct drill_msg *m)
{
	if (send(fd, m, sizeof(*m), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(*m))
		return 0;
	return errno == EAGAIN ? -EAGAIN : -EPIPE;
}

static int socket_hear(int fd, struct drill_msg *m)
{
	ssize_t n = recv(fd, m, sizeof(*m), MSG_DONTWAIT | MSG_TRUNC);

	if (n == (ssize_t)sizeof(*m))
		return 1;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n == 0 ? -EPIPE : -EPROTO;
}

static void socket_close(int fd)
{
	close(fd);
}

const struct drill_talk drill_talk_socket = {
	.say = socket_say, .hear = socket_hear, .close = socket_close};
