// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ctlask SOCKET WORD...: one request of a control socket, such as /run/romulus/disk/NAME.ctl, for which `romulus` has no command; prints the
 * answer as it came, one line. Exit status 0: there was one, 1: none within 10 s, 2: usage.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 10000

static int fail(const char *what)
{
	fprintf(stderr, "ctlask: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Until the line's end, or the connection's. */
static int print_answer(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[4096];
	ssize_t n = 0;
	char last = 0;

	while (last != '\n') {
		if (poll(&p, 1, WAIT_MS) <= 0) {
			errno = ETIMEDOUT;
			return fail("no answer");
		}
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			break;
		fwrite(buf, 1, (size_t)n, stdout);
		last = buf[n - 1];
	}
	return n < 0 ? fail("recv") : last ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[512];
	size_t len = 0;

	if (argc < 3 || strlen(argv[1]) >= sizeof(a.sun_path)) {
		fputs("usage: ctlask SOCKET WORD...\n", stderr);
		return 2;
	}
	memcpy(a.sun_path, argv[1], strlen(argv[1]) + 1);
	for (int i = 2; i < argc; i++) {
		int n = snprintf(line + len, sizeof(line) - len, "%s%s", argv[i],
				 i + 1 < argc ? " " : "\n");

		if (n < 0 || (size_t)n >= sizeof(line) - len) {
			fputs("ctlask: the request is too long\n", stderr);
			return 2;
		}
		len += (size_t)n;
	}
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return fail(argv[1]);
	if (send(fd, line, len, MSG_NOSIGNAL) != (ssize_t)len || shutdown(fd, SHUT_WR) < 0)
		return fail("send");
	return print_answer(fd);
}
