// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * relay: a plain TCP connection for `xl remus -s ""`, so that neither ssh's ciphers nor busybox's nc are measured with it.
 *
 *   relay -l PROGRAM ARG...   take one connection at port 9000; PROGRAM has it as standard input and output
 *   relay ADDRESS             standard input to ADDRESS, and what comes back to standard output
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PORT = 9000,
	CHUNK = 1 << 18,
	PIPE = 1 << 20
};

static void need(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void no_delay(int fd)
{
	int on = 1;

	need(!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "TCP_NODELAY");
}

static void serve(char **argv)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, on = 1;

	need(listener >= 0 && !setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) &&
		     !bind(listener, (struct sockaddr *)&any, sizeof(any)) && !listen(listener, 1),
	     "listen");
	fd = accept(listener, NULL, NULL);
	need(fd >= 0, "accept");
	no_delay(fd);
	need(dup2(fd, STDIN_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0, "dup2");
	close(fd);
	execvp(argv[0], argv);
	need(0, argv[0]);
}

static int dial(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
		fprintf(stderr, "relay: not an address: %s\n", address);
		exit(2);
	}
	need(fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof(to)), address);
	no_delay(fd);
	return fd;
}

/* Moves what is there; 0 at the end of the input. */
static int move(int from, int to)
{
	static char buf[CHUNK];
	ssize_t n = read(from, buf, sizeof(buf)), done, w;

	if (n < 0 && errno == EINTR)
		return 1;
	if (n <= 0)
		return 0;
	for (done = 0; done < n; done += w) {
		w = write(to, buf + done, (size_t)(n - done));
		need(w > 0, "write");
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct pollfd in, back;
	int fd;

	if (argc >= 3 && !strcmp(argv[1], "-l"))
		serve(argv + 2);
	if (argc != 2) {
		fprintf(stderr, "usage: relay -l PROGRAM ARG... | relay ADDRESS\n");
		return 2;
	}
	fd = dial(argv[1]);
	/* As large as may be: the writer's pause should not be the pipe's fault. Fails on what is no pipe. */
	(void)!fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE);
	in = (struct pollfd){STDIN_FILENO, POLLIN, 0};
	back = (struct pollfd){fd, POLLIN, 0};
	for (;;) {
		struct pollfd p[2] = {in, back};

		need(poll(p, 2, -1) > 0 || errno == EINTR, "poll");
		if (p[0].revents && !move(STDIN_FILENO, fd)) {
			shutdown(fd, SHUT_WR);
			in.fd = -1;
		}
		if (p[1].revents && !move(fd, STDOUT_FILENO))
			return 0;
	}
}
