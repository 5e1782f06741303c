/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loop of the block server, and what its owner may ask of it: see block_server.h. */
#include "disk/block_server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "disk/block_impl.h"
#include "lib/err.h"
#include "lib/mem.h"

#define EVENTS 32

/* ---- helpers of the other files ---- */

void server_kick(struct block_server *s)
{
	/* It cannot overflow: every run takes it back to 0. */
	(void)!eventfd_write(s->kick_fd, 1);
}

int server_watch(struct block_server *s, int fd, uint32_t events, uint64_t source)
{
	struct epoll_event ev = {.events = events, .data.u64 = source};

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

uint64_t server_source_of(const struct session *ss)
{
	if (ss->is_kernel)
		return BLOCK_SRC_SESSION;
	return BLOCK_SRC_SESSION + 1 + (uint64_t)(ss - ss->server->client);
}

static struct session *session_at(struct block_server *s, uint64_t i)
{
	return i == 0 ? &s->kernel : &s->client[i - 1];
}

#define N_SESSIONS (1 + BLOCK_MAX_CLIENTS)

/* ---- the loop ---- */

static void on_event(struct block_server *s, uint64_t source, uint32_t events)
{
	eventfd_t unused;

	switch (source) {
	case BLOCK_SRC_KICK:
		(void)!eventfd_read(s->kick_fd, &unused);
		return;
	case BLOCK_SRC_DISK:
		blk_reap(s->blk);
		return;
	case BLOCK_SRC_LISTEN:
		listen_on_event(s);
		return;
	default:
		/* One that was closed by an event before has no descriptor any more. */
		if (session_at(s, source - BLOCK_SRC_SESSION)->fd >= 0)
			session_on_event(session_at(s, source - BLOCK_SRC_SESSION), events);
	}
}

/* Those of whom nothing is left. */
static void sweep(struct block_server *s)
{
	for (unsigned int i = 0; i < N_SESSIONS; i++) {
		struct session *ss = session_at(s, i);

		if (ss->state != SESSION_CLOSED || ss->n_busy)
			continue;
		if (!ss->is_kernel) {
			session_fini(ss);
			continue;
		}
		ss->state = SESSION_FREE;
		if (s->kernel_gone)
			s->kernel_gone(s->arg, ss->asked);
	}
}

void block_server_run(struct block_server *s)
{
	struct epoll_event ev[EVENTS];
	int n;

	listen_go_on(s);
	n = epoll_wait(s->epoll_fd, ev, EVENTS, 0);
	for (int i = 0; i < n; i++)
		on_event(s, ev[i].data.u64, ev[i].events);
	requests_go_on(s);
	for (unsigned int i = 0; i < N_SESSIONS; i++)
		session_go_on(session_at(s, i));
	blk_kick(s->blk);
	sweep(s);
}

/* ---- what the owner asks ---- */

int block_server_fd(const struct block_server *s)
{
	return s->epoll_fd;
}

const struct nbdwire_export *block_server_export(const struct block_server *s)
{
	return &s->export;
}

int block_server_add_kernel_take(struct block_server *s, int fd)
{
	if (s->kernel.state != SESSION_FREE || !s->kernel.places || s->stopping) {
		close(fd);
		return -EBUSY;
	}
	return session_start_take(&s->kernel, fd, false);
}

void block_server_set_sink(struct block_server *s, struct write_sink *sink)
{
	for (unsigned int i = 0; i < N_SESSIONS; i++) {
		const struct session *ss = session_at(s, i);

		for (unsigned int j = 0; ss->places && j < ss->n_places; j++)
			assert(ss->places[j].state != PLACE_ON_DISK ||
			       ss->places[j].rq.type == NBDWIRE_READ);
	}
	s->sink = sink;
	block_server_wake(s);
}

void block_server_wake(struct block_server *s)
{
	s->woken = true;
	server_kick(s);
}

void block_server_answer_held(struct block_server *s)
{
	s->answer_held = true;
	server_kick(s);
}

void block_server_park(struct block_server *s, bool parked)
{
	s->is_parked = parked;
	s->refuses = s->refuses && parked;
	server_kick(s);
}

void block_server_refuse_parked(struct block_server *s)
{
	s->refuses = true;
	server_kick(s);
}

void block_server_stop(struct block_server *s)
{
	s->stopping = true;
	listen_stop(s);
	for (unsigned int i = 0; i < N_SESSIONS; i++)
		session_leave(session_at(s, i));
}

bool block_server_idle(const struct block_server *s)
{
	if (s->kernel.state != SESSION_FREE)
		return false;
	for (unsigned int i = 0; i < BLOCK_MAX_CLIENTS; i++) {
		if (s->client[i].state != SESSION_FREE)
			return false;
	}
	return true;
}

unsigned int block_server_clients(const struct block_server *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < BLOCK_MAX_CLIENTS; i++)
		n += s->client[i].fd >= 0;
	return n;
}

const struct block_stats *block_server_stats(struct block_server *s)
{
	struct block_stats *st = &s->stats;

	st->connections = 0;
	for (unsigned int i = 0; i < N_SESSIONS; i++)
		st->connections += session_at(s, i)->fd >= 0;
	st->parked = s->count[PLACE_PARKED];
	st->blocked = s->count[PLACE_BLOCKED];
	st->waiting = s->count[PLACE_WAITING];
	st->on_disk = s->count[PLACE_ON_DISK];
	st->held = s->count[PLACE_HELD];
	st->in_flight = st->parked + st->blocked + st->waiting + st->on_disk + st->held;
	return st;
}

/* ---- making and freeing ---- */

static int watch_own(struct block_server *s)
{
	int rc;

	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->kick_fd < 0)
		return -errno;
	rc = server_watch(s, s->kick_fd, EPOLLIN, BLOCK_SRC_KICK);
	return rc ? rc : server_watch(s, s->blk->event_fd, EPOLLIN, BLOCK_SRC_DISK);
}

int block_server_new(const struct block_server_conf *c, struct block_server **out, struct err *e)
{
	struct block_server *s = mem_zalloc(sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "block server");
	s->epoll_fd = s->kick_fd = s->listen_fd = s->kernel.fd = -1;
	for (unsigned int i = 0; i < BLOCK_MAX_CLIENTS; i++)
		s->client[i].fd = -1;
	s->blk = c->blk;
	s->kernel_gone = c->kernel_gone;
	s->arg = c->arg;
	s->export.size = c->blk->size;
	s->export.block = c->blk->block;
	assert(name_ok(c->name));
	memcpy(s->export.name, c->name, strlen(c->name) + 1);
	hist_init(&s->stats.read_ns);
	hist_init(&s->stats.write_ns);
	hist_init(&s->stats.flush_ns);
	rc = watch_own(s);
	if (!rc && c->for_kernel)
		rc = session_init(&s->kernel, s, true);
	if (rc < 0) {
		block_server_free(s);
		return err_set(e, rc, "block server");
	}
	*out = s;
	return 0;
}

/* What was admitted is carried out, whoever asked for it. */
static void finish_disk(struct block_server *s)
{
	s->is_parked = true;
	while (s->count[PLACE_ON_DISK]) {
		struct pollfd p = {.fd = s->blk->event_fd, .events = POLLIN};

		requests_go_on(s);
		blk_kick(s->blk);
		if (poll(&p, 1, -1) > 0)
			blk_reap(s->blk);
	}
}

void block_server_free(struct block_server *s)
{
	if (!s)
		return;
	listen_stop(s);
	for (unsigned int i = 0; i < N_SESSIONS; i++)
		session_close(session_at(s, i));
	finish_disk(s);
	for (unsigned int i = 0; i < N_SESSIONS; i++)
		session_fini(session_at(s, i));
	if (s->kick_fd >= 0)
		close(s->kick_fd);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	mem_free(s);
}
