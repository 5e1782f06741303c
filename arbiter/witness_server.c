/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See witness_server.h. */
#include "arbiter/witness_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arbiter/ballot.h"
#include "lib/uuid.h"
#include "arbiter/witness_store.h"
#include "arbiter/witness_wire.h"
#include "lib/addr.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/tls.h"

/* After accept() found no descriptor or memory left. */
#define ACCEPT_PAUSE_NS (200 * NS_PER_MS)
/* What is taken from a client that goes on talking after its question, before it is closed. */
#define DRAIN_BYTES 4096

enum client_state {
	CLIENT_HANDSHAKE,
	CLIENT_QUESTION,
	CLIENT_ANSWER,
	CLIENT_FAREWELL, /* the answer is with the kernel: wait until the client closes */
};

struct client {
	int fd; /* -1: a free place */
	struct tls *tls;
	enum client_state state;
	short events; /* what it waits for */
	uint64_t deadline_ns;
	struct addr from;
	size_t done; /* bytes of the question read, or of the answer written, or dropped */
	uint8_t question[WITNESS_ASK_SIZE];
	uint8_t answer[WITNESS_ANSWER_SIZE];
};

struct witness_server {
	struct witness_server_conf conf;
	struct client *client; /* conf.max_connections places */
	struct pollfd *polled; /* two more than that */
	uint64_t accept_at_ns; /* not before */
};

static void drop(struct client *c)
{
	tls_free(c->tls);
	c->tls = NULL;
	close(c->fd);
	c->fd = -1;
}

int witness_server_new(const struct witness_server_conf *conf, struct witness_server **out,
		       struct err *e)
{
	struct witness_server *s = mem_zalloc(sizeof(*s));

	if (s) {
		s->conf = *conf;
		s->client = mem_array(conf->max_connections, sizeof(*s->client));
		s->polled = mem_array(conf->max_connections + 2, sizeof(*s->polled));
	}
	if (!s || !s->client || !s->polled) {
		if (s)
			mem_free(s->client);
		mem_free(s);
		return err_set(e, -ENOMEM, "room for %zu connections", conf->max_connections);
	}
	for (size_t i = 0; i < conf->max_connections; i++)
		s->client[i].fd = -1;
	*out = s;
	return 0;
}

void witness_server_free(struct witness_server *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->conf.max_connections; i++) {
		if (s->client[i].fd >= 0)
			drop(&s->client[i]);
	}
	mem_free(s->client);
	mem_free(s->polled);
	mem_free(s);
}

/* ---- the question ---- */

static void log_verdict(const struct ballot *b, const struct verdict *v, bool damaged)
{
	char line[VERDICT_LINE_SIZE];
	char uuid[UUID_TEXT_SIZE];
	const char *op = ballot_op_name(b->op);

	(void)uuid_format(b->uuid, uuid);
	(void)verdict_format(v, line);
	if (damaged)
		log_limited(LOG_AT_ERR, "VM %s: %s", uuid, v->text);
	else if (b->op == BALLOT_LOOK)
		log_debug("VM %s: %s looks: %s", uuid, b->asker, line);
	else if (v->kind == VERDICT_GRANTED)
		log_info("VM %s: %s %s with %s: %s", uuid, b->asker, op, b->peer, line);
	else
		log_limited(LOG_AT_WARN, "VM %s: %s %s term %llu: %s", uuid, b->asker, op,
			    (unsigned long long)b->term, line);
}

/* False: what came is no question, so there is no answer. */
static bool answer(const struct witness_server *s, struct client *c)
{
	struct ballot b = {.term = 0};
	struct err e = ERR_INIT;
	struct verdict v;
	bool damaged = false;
	int rc;

	(void)memccpy(b.asker, tls_peer_name(c->tls), 0, sizeof(b.asker) - 1);
	rc = witness_ask_decode(&b, c->question, &e);
	if (rc < 0 && rc != -EPROTO) {
		log_limited(LOG_AT_WARN, "%s sent %s; closing", b.asker, e.text);
		return false;
	}
	if (rc < 0) {
		log_limited(LOG_AT_WARN, "%s sent %s", b.asker, e.text);
		verdict_unknown(&v, "%s", e.text);
	} else {
		damaged = witness_store_ask(s->conf.store, &b, &v);
		log_verdict(&b, &v, damaged);
	}
	witness_answer_encode(&b, &v, c->answer);
	return true;
}

/* ---- one connection ---- */

/* Moves it on as far as it goes. 0: done, or broken; else what lib/tls wants. */
static int step_handshake(struct client *c)
{
	struct err e = ERR_INIT;
	char from[ADDR_TEXT_SIZE];
	int rc = tls_handshake(c->tls, &e);

	if (rc < 0) {
		/* The alert that says why; the socket takes so little. */
		tls_bye(c->tls);
		log_limited(LOG_AT_WARN, "%s: %s; closed", addr_format(&c->from, from), e.text);
		return 0;
	}
	if (rc > 0)
		return rc;
	c->state = CLIENT_QUESTION;
	return TLS_WANT_READ;
}

static int step_question(const struct witness_server *s, struct client *c)
{
	int rc = 0;

	while (!rc && c->done < sizeof(c->question)) {
		size_t n = 0;

		rc = tls_read(c->tls, c->question + c->done, sizeof(c->question) - c->done, &n,
			      NULL);
		c->done += n;
	}
	/* Who goes without a question has no need of a log line. */
	if (rc || !answer(s, c))
		return MAX(rc, 0);
	c->done = 0;
	c->state = CLIENT_ANSWER;
	return TLS_WANT_WRITE;
}

static int step_answer(struct client *c)
{
	int rc = 0;

	while (!rc && c->done < sizeof(c->answer)) {
		size_t n = 0;

		rc = tls_write(c->tls, c->answer + c->done, sizeof(c->answer) - c->done, &n, NULL);
		c->done += n;
	}
	if (rc)
		return MAX(rc, 0);
	tls_bye(c->tls);
	(void)shutdown(c->fd, SHUT_WR);
	c->done = 0;
	c->state = CLIENT_FAREWELL;
	return TLS_WANT_READ;
}

/* Closing with bytes unread would reset the connection and could take the answer along. */
static int step_farewell(struct client *c)
{
	uint8_t dropped[512];
	ssize_t n = recv(c->fd, dropped, sizeof(dropped), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return TLS_WANT_READ;
	if (n <= 0)
		return 0;
	c->done += (size_t)n;
	return c->done < DRAIN_BYTES ? TLS_WANT_READ : 0;
}

static void step(const struct witness_server *s, struct client *c)
{
	enum client_state was;
	int wants;

	do {
		was = c->state;
		switch (c->state) {
		case CLIENT_HANDSHAKE:
			wants = step_handshake(c);
			break;
		case CLIENT_QUESTION:
			wants = step_question(s, c);
			break;
		case CLIENT_ANSWER:
			wants = step_answer(c);
			break;
		case CLIENT_FAREWELL:
			wants = step_farewell(c);
			break;
		default:
			wants = 0;
		}
	} while (wants && c->state != was);
	if (!wants)
		drop(c);
	else
		c->events = wants == TLS_WANT_READ ? POLLIN : POLLOUT;
}

/* ---- new ones ---- */

static struct client *find_place(struct witness_server *s, const struct addr *from)
{
	struct client *place = NULL;
	size_t same = 0;

	for (size_t i = 0; i < s->conf.max_connections; i++) {
		struct client *c = &s->client[i];

		if (c->fd < 0)
			place = c;
		else
			same += addr_same_source(&c->from, from);
	}
	return same < s->conf.max_connections / 2 ? place : NULL;
}

static void welcome(struct witness_server *s, int accepted, const struct addr *from)
{
	struct client *c = find_place(s, from);
	autofd fd = accepted;
	char text[ADDR_TEXT_SIZE];
	struct err e = ERR_INIT;
	struct tls *tls;

	if (!c) {
		log_limited(LOG_AT_WARN, "%s: too many connections; closed at once",
			    addr_format(from, text));
		return;
	}
	if (tls_new(&tls, s->conf.tls, fd, TLS_SERVER, &e) < 0) {
		log_limited(LOG_AT_WARN, "%s: %s; closed at once", addr_format(from, text), e.text);
		return;
	}
	*c = (struct client){
		.fd = take_fd(&fd),
		.tls = tls,
		.state = CLIENT_HANDSHAKE,
		.events = POLLIN,
		.deadline_ns = clock_add(clock_now(), s->conf.timeout_ns),
		.from = *from,
	};
}

static void accept_one(struct witness_server *s)
{
	struct addr from = {.size = sizeof(from.sa)};
	int fd = accept4(s->conf.listen_fd, (struct sockaddr *)&from.sa, &from.size,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		welcome(s, fd, &from);
		return;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return;
	log_limited(LOG_AT_WARN, "accept: %s; trying again soon", strerrordesc_np(errno));
	s->accept_at_ns = clock_add(clock_now(), ACCEPT_PAUSE_NS);
}

/* ---- a turn ---- */

/* Those whose time is up go; returns the next deadline, at most this one. */
static uint64_t expire(struct witness_server *s, uint64_t now, uint64_t deadline_ns)
{
	for (size_t i = 0; i < s->conf.max_connections; i++) {
		struct client *c = &s->client[i];

		if (c->fd >= 0 && c->deadline_ns <= now)
			drop(c);
		if (c->fd >= 0)
			deadline_ns = MIN(deadline_ns, c->deadline_ns);
	}
	return s->accept_at_ns > now ? MIN(deadline_ns, s->accept_at_ns) : deadline_ns;
}

int witness_server_turn(struct witness_server *s, uint64_t deadline_ns, struct err *e)
{
	const size_t n = s->conf.max_connections;
	uint64_t now = clock_now();
	int r;

	deadline_ns = expire(s, now, deadline_ns);
	for (size_t i = 0; i < n; i++)
		s->polled[i] =
			(struct pollfd){.fd = s->client[i].fd, .events = s->client[i].events};
	s->polled[n] = (struct pollfd){.fd = s->accept_at_ns > now ? -1 : s->conf.listen_fd,
				       .events = POLLIN};
	s->polled[n + 1] = (struct pollfd){.fd = s->conf.wake_fd, .events = POLLIN};
	r = poll(s->polled, n + 2,
		 clock_poll_ms(deadline_ns == CLOCK_NEVER ? CLOCK_NEVER
							  : clock_until(deadline_ns, now)));
	if (r < 0 && errno != EINTR)
		return err_set(e, -errno, "poll");
	if (r <= 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (s->polled[i].revents)
			step(s, &s->client[i]);
	}
	if (s->polled[n].revents)
		accept_one(s);
	return s->polled[n + 1].revents ? 1 : 0;
}
