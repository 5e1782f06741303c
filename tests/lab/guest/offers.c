// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * offers [SECONDS (30)]: rewrites this guest's offer of a suspend event channel without a pause: what the module has offered, ports that
 * nobody answers on, ports of somebody else, words that are no port at all. At the end, or on SIGTERM, what was there before is
 * there again. Needs the module xen-evtchn. One line at the end:
 *   offers writes=N refused=N restored=PORT
 * Exit status 1: xenstore or the event channels cannot be used.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define NODE "device/suspend/event-channel"

enum {
	STORE_READ = 2,
	STORE_WRITE = 11,
	STORE_ERROR = 16,
	ANSWER_SIZE = 4096,
	LONG_WORD = 1500, /* below what a node may hold */
	DEAF = 2,	  /* ports that nobody answers on */
};

struct store_head {
	uint32_t type, request, transaction, size;
};

struct unbound {
	unsigned int remote_domain;
};
#define EVTCHN_BIND_UNBOUND _IOC(_IOC_NONE, 'E', 2, sizeof(struct unbound))

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "offers: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static void get(int fd, void *buf, size_t size)
{
	char *p = buf;

	while (size) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("read from xenstore");
		p += n;
		size -= (size_t)n;
	}
}

static void put(int fd, const void *buf, size_t size)
{
	const char *p = buf;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("write to xenstore");
		p += n;
		size -= (size_t)n;
	}
}

/* The answer without its head, 0 behind it; false: refused. */
static bool ask(int fd, uint32_t type, const char *data, size_t size, char answer[ANSWER_SIZE + 1])
{
	struct store_head head = {.type = type, .size = (uint32_t)size};

	put(fd, &head, sizeof(head));
	put(fd, data, size);
	get(fd, &head, sizeof(head));
	if (head.size > ANSWER_SIZE) {
		errno = EMSGSIZE;
		die("read from xenstore");
	}
	get(fd, answer, head.size);
	answer[head.size] = 0;
	return head.type != STORE_ERROR;
}

static bool offer(int fd, const char *value)
{
	char data[sizeof(NODE) + ANSWER_SIZE + 1];
	char answer[ANSWER_SIZE + 1];
	size_t len = strlen(value);

	memcpy(data, NODE, sizeof(NODE));
	memcpy(data + sizeof(NODE), value, len + 1);
	return ask(fd, STORE_WRITE, data, sizeof(NODE) + len, answer);
}

/* A port that dom0 can bind; what comes in on it is never looked at. */
static void deaf_port(int fd, char text[16])
{
	struct unbound u = {.remote_domain = 0};
	int port = ioctl(fd, EVTCHN_BIND_UNBOUND, &u);

	if (port < 0)
		die("open an event channel");
	snprintf(text, 16, "%d", port);
}

int main(int argc, char **argv)
{
	static char long_word[LONG_WORD + 1], was[ANSWER_SIZE + 1], deaf[DEAF][16];
	/* 1: xenstore's own. */
	const char *const words[] = {was,
				     deaf[0],
				     "",
				     "1",
				     deaf[1],
				     "131072",
				     "-1",
				     was,
				     long_word,
				     deaf[0],
				     "99999999999999999999",
				     "\x01\xff\x7f",
				     deaf[1],
				     "x y",
				     "0"};
	const size_t n = sizeof(words) / sizeof(words[0]);
	int64_t end = now_ms() + (argc > 1 ? atol(argv[1]) : 30) * 1000;
	unsigned long writes = 0, refused = 0;
	struct sigaction sa = {.sa_handler = on_signal};
	int store = open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);
	int ports = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC);
	int i;

	if (store < 0)
		die("/dev/xen/xenbus");
	if (ports < 0)
		die("/dev/xen/evtchn");
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	memset(long_word, '9', LONG_WORD);
	for (i = 0; i < DEAF; i++)
		deaf_port(ports, deaf[i]);
	if (!ask(store, STORE_READ, NODE, sizeof(NODE), was) || !was[0]) {
		fprintf(stderr, "offers: nothing is offered: %s\n", was);
		return 1;
	}
	while (!stopped && now_ms() < end)
		refused += !offer(store, words[writes++ % n]);
	if (!offer(store, was)) {
		fprintf(stderr, "offers: %s cannot be offered again\n", was);
		return 1;
	}
	printf("offers writes=%lu refused=%lu restored=%s\n", writes, refused, was);
	return 0;
}
