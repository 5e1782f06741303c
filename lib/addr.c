/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See addr.h. */
#include "lib/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"

#define HOST_SIZE 256
#define RESOLVER_STACK ((size_t)256 << 10)

/* What the resolving thread owns; the answer comes through the pipe, so nothing is shared. */
struct job {
	int answer_fd;
	char host[HOST_SIZE];
};

struct answer {
	int r; /* of getaddrinfo() */
	struct addr_list list;
};

static_assert(sizeof(struct answer) <= 4096, "a pipe takes it in one piece");

static int look_up(const char *host, int flags, struct addr_list *out)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
	struct addrinfo *all;
	int r = getaddrinfo(host, NULL, &hints, &all);

	if (r)
		return r;
	memset(out, 0, sizeof(*out));
	for (struct addrinfo *a = all; a && out->n < ADDR_MAX; a = a->ai_next) {
		if (a->ai_addrlen > sizeof(out->a[0].sa))
			continue;
		memcpy(&out->a[out->n].sa, a->ai_addr, a->ai_addrlen);
		out->a[out->n++].size = a->ai_addrlen;
	}
	freeaddrinfo(all);
	return out->n ? 0 : EAI_NONAME;
}

static void *resolve_thread(void *arg)
{
	struct job *job = arg;
	struct answer answer;
	ssize_t r;

	memset(&answer, 0, sizeof(answer));
	answer.r = look_up(job->host, AI_ADDRCONFIG, &answer.list);
	r = write(job->answer_fd, &answer, sizeof(answer));
	/* Nobody waits any more: fine. */
	(void)r;
	close(job->answer_fd);
	mem_free(job);
	return NULL;
}

/* Detached, with all signals blocked: whoever gave up waiting does not see its end. */
static int start_thread(const char *host, int *answer_fd, struct err *e)
{
	struct job *job = mem_zalloc(sizeof(*job));
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all;
	sigset_t old;
	int fds[2];
	int r;

	if (!job)
		return err_set(e, -ENOMEM, "resolve %s", host);
	(void)snprintf(job->host, sizeof(job->host), "%s", host);
	if (pipe2(fds, O_CLOEXEC) < 0) {
		mem_free(job);
		return err_set(e, -errno, "pipe");
	}
	job->answer_fd = fds[1];
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &old);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, RESOLVER_STACK);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, resolve_thread, job);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		close(fds[0]);
		close(fds[1]);
		mem_free(job);
		return err_set(e, -r, "start a thread to resolve %s", host);
	}
	*answer_fd = fds[0];
	return 0;
}

static int await_answer(int fd, int wake_fd, uint64_t deadline_ns, struct answer *out,
			struct err *e)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};

	for (;;) {
		uint64_t left = clock_until(deadline_ns, clock_now());
		int r = poll(p, ARRAY_SIZE(p),
			     clock_poll_ms(deadline_ns == CLOCK_NEVER ? CLOCK_NEVER : left));

		if (r < 0 && errno != EINTR)
			return err_set(e, -errno, "poll");
		if (r > 0 && p[1].revents)
			return err_setx(e, -ECANCELED, "cancelled");
		if (r > 0)
			break;
		if (!left)
			return err_setx(e, -ETIMEDOUT, "the resolver took too long");
	}
	return read(fd, out, sizeof(*out)) == (ssize_t)sizeof(*out)
		       ? 0
		       : err_setx(e, -EHOSTUNREACH, "the resolver failed");
}

int addr_resolve(const char *host, uint16_t port, struct addr_list *out, int wake_fd,
		 uint64_t deadline_ns, struct err *e)
{
	struct answer answer;
	autofd fd = -1;
	int rc;

	if (!host[0] || strlen(host) >= HOST_SIZE)
		return err_setx(e, -EHOSTUNREACH, "\"%.64s\" is no host", host);
	answer.r = look_up(host, AI_NUMERICHOST, &answer.list);
	if (answer.r) {
		rc = start_thread(host, &fd, e);
		if (!rc)
			rc = await_answer(fd, wake_fd, deadline_ns, &answer, e);
		if (rc < 0)
			return err_wrap(e, rc, "resolve %s", host);
	}
	if (answer.r)
		return err_setx(e, -EHOSTUNREACH, "resolve %s: %s", host, gai_strerror(answer.r));
	*out = answer.list;
	for (size_t i = 0; i < out->n; i++)
		addr_set_port(&out->a[i], port);
	return 0;
}

void addr_set_port(struct addr *a, uint16_t port)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (a->sa.ss_family == AF_INET) {
		memcpy(&in, &a->sa, sizeof(in));
		in.sin_port = htons(port);
		memcpy(&a->sa, &in, sizeof(in));
	} else if (a->sa.ss_family == AF_INET6) {
		memcpy(&in6, &a->sa, sizeof(in6));
		in6.sin6_port = htons(port);
		memcpy(&a->sa, &in6, sizeof(in6));
	}
}

uint16_t addr_port(const struct addr *a)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (a->sa.ss_family == AF_INET) {
		memcpy(&in, &a->sa, sizeof(in));
		return ntohs(in.sin_port);
	}
	if (a->sa.ss_family == AF_INET6) {
		memcpy(&in6, &a->sa, sizeof(in6));
		return ntohs(in6.sin6_port);
	}
	return 0;
}

const char *addr_format(const struct addr *a, char buf[ADDR_TEXT_SIZE])
{
	char host[INET6_ADDRSTRLEN] = "";
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (a->size && a->sa.ss_family == AF_INET) {
		memcpy(&in, &a->sa, sizeof(in));
		(void)inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
		(void)snprintf(buf, ADDR_TEXT_SIZE, "%s:%u", host, addr_port(a));
	} else if (a->size && a->sa.ss_family == AF_INET6) {
		memcpy(&in6, &a->sa, sizeof(in6));
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		(void)snprintf(buf, ADDR_TEXT_SIZE, "[%s]:%u", host, addr_port(a));
	} else {
		(void)snprintf(buf, ADDR_TEXT_SIZE, "-");
	}
	return buf;
}

/* The bytes that name a source; n 0: none. */
struct source {
	size_t n;
	uint8_t bytes[8];
};

static struct source source_of(const struct addr *a)
{
	struct source s = {.n = 0};
	const void *from = NULL;

	if (a->size == 0)
		return s;
	if (a->sa.ss_family == AF_INET) {
		from = &((const struct sockaddr_in *)&a->sa)->sin_addr;
		s.n = 4;
	} else if (a->sa.ss_family == AF_INET6) {
		const struct in6_addr *in6 = &((const struct sockaddr_in6 *)&a->sa)->sin6_addr;
		bool mapped = IN6_IS_ADDR_V4MAPPED(in6);

		from = mapped ? &in6->s6_addr[12] : &in6->s6_addr[0];
		s.n = mapped ? 4 : 8;
	}
	if (from)
		memcpy(s.bytes, from, s.n);
	return s;
}

bool addr_same_source(const struct addr *a, const struct addr *b)
{
	struct source one = source_of(a);
	struct source other = source_of(b);

	return one.n > 0 && one.n == other.n && memcmp(one.bytes, other.bytes, one.n) == 0;
}
