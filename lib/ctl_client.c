/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See ctl_client.h. */
#include "lib/ctl_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/ctl_line.h"
#include "lib/err.h"
#include "lib/json_in.h"

/* 0 when fd is ready for the events, -ETIMEDOUT, or another error. */
static int wait_for(int fd, short events, uint64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	int r;

	do {
		r = poll(&p, 1, clock_poll_ms(clock_until(deadline, clock_now())));
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}

static int connect_to(const char *path, uint64_t deadline, int *fd_out)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	/* A full backlog says EAGAIN, and there is nothing to poll for: try until it is over. */
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (clock_now() >= deadline)
			return -ETIMEDOUT;
		rc = poll(NULL, 0, 1);
		if (rc < 0 && errno != EINTR)
			return -errno;
	}
	*fd_out = take_fd(&fd);
	return 0;
}

static int send_all(int fd, const char *p, size_t left, uint64_t deadline)
{
	while (left) {
		ssize_t r = send(fd, p, left, MSG_NOSIGNAL);
		int rc;

		if (r < 0 && errno == EAGAIN) {
			rc = wait_for(fd, POLLOUT, deadline);
			if (rc < 0)
				return rc;
			continue;
		}
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p += r;
		left -= (size_t)r;
	}
	return 0;
}

/* Up to the newline, which is cut off. */
static int receive_line(int fd, char *buf, size_t size, size_t *len, uint64_t deadline)
{
	size_t used = 0;

	while (used < size) {
		ssize_t r = recv(fd, buf + used, size - used, 0);
		const char *end;
		int rc;

		if (r < 0 && errno == EAGAIN) {
			rc = wait_for(fd, POLLIN, deadline);
			if (rc < 0)
				return rc;
			continue;
		}
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ECONNRESET;
		end = memchr(buf + used, '\n', (size_t)r);
		used += (size_t)r;
		if (end) {
			*len = (size_t)(end - buf);
			return 0;
		}
	}
	return -EMSGSIZE;
}

static int exchange(int fd, const char *const argv[], uint64_t deadline, struct json_in **reply,
		    struct err *e)
{
	char request[CTL_LINE_MAX];
	autofree char *answer = mem_alloc(JSON_IN_MAX_BYTES);
	size_t len;
	int rc;

	if (!answer)
		return err_set(e, -ENOMEM, "ask %s", argv[0]);
	rc = ctl_join(argv, request, sizeof(request), &len);
	if (rc < 0)
		return err_set(e, rc, "the request \"%s\" cannot be sent", argv[0]);
	rc = send_all(fd, request, len, deadline);
	/* It may have refused us and hung up before it read: then its answer says why. */
	if (rc < 0 && rc != -EPIPE)
		return err_set(e, rc, "send \"%s\"", argv[0]);
	rc = receive_line(fd, answer, JSON_IN_MAX_BYTES, &len, deadline);
	if (rc == -ETIMEDOUT)
		return err_setx(e, rc, "no answer to \"%s\" in time", argv[0]);
	if (rc < 0)
		return err_set(e, rc, "the answer to \"%s\"", argv[0]);
	rc = json_in_parse(answer, len, reply, e);
	if (rc < 0)
		return err_wrap(e, rc == -ENOMEM ? rc : -EPROTO, "the answer to \"%s\"", argv[0]);
	return 0;
}

int ctl_client_call(const char *path, const char *const argv[], uint64_t timeout_ns,
		    struct json_in **reply, struct err *e)
{
	uint64_t deadline = clock_add(clock_now(), timeout_ns);
	autofd fd = -1;
	int rc;

	*reply = NULL;
	rc = connect_to(path, deadline, &fd);
	if (rc < 0)
		return err_set(e, rc, "connect to %s", path);
	rc = exchange(fd, argv, deadline, reply, e);
	if (rc < 0)
		return err_wrap(e, rc, "%s", path);
	if (json_in_bool(*reply, "ok", false))
		return 0;
	if (json_in_text(*reply, "error", NULL))
		return err_setx(e, -EREMOTEIO, "%s", json_in_text(*reply, "error", ""));
	json_in_free(*reply);
	*reply = NULL;
	return err_setx(e, -EPROTO, "%s: the answer to \"%s\" has neither ok nor error", path,
			argv[0]);
}
