/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection of the block server: bytes in, requests; answers, bytes out. It has a bounded number of places and
 * buffers of its own; while the next request finds none, nothing is read. See block_server.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk/block_impl.h"
#include "lib/clock.h"
#include "lib/mem.h"

/* Reads of one connection before others have a turn. */
#define ROUNDS 16
/* The rest of a request's data that is worth a read of its own into its buffer, past rx. */
#define DIRECT_MIN (8u << 10)
/* Answers in one sendmsg(). */
#define TX_BATCH 32

/* What kernel nbd sends with 128 requests under way: mostly 4 to 128 KiB each. */
static const struct buf_pool_size kernel_sizes[BUF_POOL_SIZES] = {
	{32 << 10, 128}, {128 << 10, 32}, {NBDWIRE_MAX_PAYLOAD, 12}};
static const struct buf_pool_size client_sizes[BUF_POOL_SIZES] = {
	{32 << 10, 32}, {128 << 10, 16}, {NBDWIRE_MAX_PAYLOAD, 6}};

/* ---- memory ---- */

int session_init(struct session *ss, struct block_server *s, bool is_kernel)
{
	unsigned int n_places = is_kernel ? BLOCK_KERNEL_PLACES : BLOCK_CLIENT_PLACES;

	*ss = (struct session){.server = s, .fd = -1, .is_kernel = is_kernel, .n_places = n_places};
	ss->rx = mem_alloc(BLOCK_RX_SIZE);
	ss->places = mem_array(n_places, sizeof(*ss->places));
	if (!ss->rx || !ss->places ||
	    buf_pool_init(&ss->pool, is_kernel ? kernel_sizes : client_sizes) < 0) {
		session_fini(ss);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < n_places; i++) {
		ss->places[i].session = ss;
		ss->places[i].next = ss->free;
		ss->free = &ss->places[i];
	}
	return 0;
}

void session_fini(struct session *ss)
{
	buf_pool_fini(&ss->pool);
	mem_free(ss->places);
	mem_free(ss->rx);
	*ss = (struct session){.fd = -1};
}

static struct place *get_place(struct session *ss)
{
	struct place *p = ss->free;

	if (!p)
		return NULL;
	ss->free = p->next;
	ss->n_busy++;
	ss->server->count[PLACE_FREE]++; /* place_move() takes it from there */
	p->buf = NULL;
	p->rc = 0;
	p->reply_data = 0;
	place_move(p, PLACE_FILLING);
	return p;
}

void session_put_place(struct place *p)
{
	struct session *ss = p->session;

	place_move(p, PLACE_FREE);
	ss->server->count[PLACE_FREE]--;
	buf_pool_put(&ss->pool, p->buf);
	p->buf = NULL;
	p->next = ss->free;
	ss->free = p;
	ss->n_busy--;
	ss->freed = true;
}

/* ---- beginning and end ---- */

static void watch(struct session *ss, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = server_source_of(ss)};

	if (ss->fd < 0 || ss->events == events)
		return;
	/* A change of what is watched takes no memory. */
	if (epoll_ctl(ss->server->epoll_fd, EPOLL_CTL_MOD, ss->fd, &ev) == 0)
		ss->events = events;
}

int session_start_take(struct session *ss, int fd, bool with_handshake)
{
	int rc = server_watch(ss->server, fd, EPOLLIN, server_source_of(ss));

	if (rc < 0) {
		close(fd);
		return rc;
	}
	ss->fd = fd;
	ss->events = EPOLLIN;
	ss->state = with_handshake ? SESSION_HELLO : SESSION_SERVING;
	ss->asked = ss->stalled = ss->freed = ss->forgetting = false;
	ss->rx_at = ss->rx_end = 0;
	ss->filling = NULL;
	ss->skip = 0;
	ss->tx_sent = ss->hello_sent = 0;
	if (with_handshake)
		nbdhello_start(&ss->hello, &ss->server->export);
	return 0;
}

static void forget(struct session *ss, bool replies_too)
{
	ss->forgetting = true;
	for (unsigned int i = 0; i < ss->n_places; i++) {
		if (replies_too || ss->places[i].state != PLACE_REPLY)
			request_forget(&ss->places[i]);
	}
	ss->forgetting = false;
	ss->filling = NULL;
}

void session_close(struct session *ss)
{
	if (ss->state == SESSION_FREE || ss->state == SESSION_CLOSED)
		return;
	close(ss->fd);
	ss->fd = -1;
	ss->state = SESSION_CLOSED;
	forget(ss, true);
	server_kick(ss->server);
}

static bool in_handshake(const struct session *ss)
{
	return ss->state == SESSION_HELLO || ss->state == SESSION_GREETED;
}

void session_leave(struct session *ss)
{
	if (in_handshake(ss)) {
		session_close(ss);
	} else if (ss->state == SESSION_SERVING || ss->state == SESSION_LEAVING) {
		ss->state = SESSION_LEAVING;
		forget(ss, false);
		server_kick(ss->server);
	}
}

/* What it sent cannot be understood. */
static bool drop(struct session *ss)
{
	ss->server->stats.dropped++;
	session_close(ss);
	return false;
}

/* ---- sending ---- */

/* False: not all of it; the rest when the socket is writable, if there still is one. */
static bool send_hello(struct session *ss)
{
	struct nbdhello *h = &ss->hello;

	while (ss->hello_sent < h->out_used) {
		ssize_t r = send(ss->fd, h->out + ss->hello_sent, h->out_used - ss->hello_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno != EAGAIN)
			session_close(ss);
		if (r < 0)
			return false;
		ss->hello_sent += (size_t)r;
	}
	h->out_used = 0;
	ss->hello_sent = 0;
	if (ss->state == SESSION_GREETED)
		ss->state = SESSION_SERVING;
	return true;
}

/* The answers from the first on, without what was sent of it. */
static unsigned int gather(const struct session *ss, struct iovec iov[2 * TX_BATCH])
{
	size_t skip = ss->tx_sent;
	unsigned int n = 0;

	for (struct place *p = ss->tx.first; p && n <= 2 * TX_BATCH - 2; p = p->next) {
		if (skip < NBDWIRE_REPLY_SIZE)
			iov[n++] = (struct iovec){p->reply + skip, NBDWIRE_REPLY_SIZE - skip};
		skip -= MIN(skip, (size_t)NBDWIRE_REPLY_SIZE);
		if (p->reply_data)
			iov[n++] = (struct iovec){(char *)p->buf + skip, p->reply_data - skip};
		skip = 0;
	}
	return n;
}

static void sent(struct session *ss, size_t n)
{
	n += ss->tx_sent;
	while (ss->tx.first) {
		size_t size = NBDWIRE_REPLY_SIZE + ss->tx.first->reply_data;

		if (n < size)
			break;
		n -= size;
		session_put_place(place_pop(&ss->tx));
	}
	ss->tx_sent = n;
}

static void send_answers(struct session *ss)
{
	while (ss->tx.first) {
		struct iovec iov[2 * TX_BATCH];
		struct msghdr m = {.msg_iov = iov, .msg_iovlen = gather(ss, iov)};
		ssize_t r = sendmsg(ss->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno != EAGAIN)
			session_close(ss);
		if (r < 0)
			return;
		sent(ss, (size_t)r);
	}
}

/* ---- receiving ---- */

static size_t rx_has(const struct session *ss)
{
	return ss->rx_end - ss->rx_at;
}

/* One step of the handshake. False: bytes are missing, or it is over. */
static bool take_hello(struct session *ss)
{
	size_t need = nbdhello_need(&ss->hello);
	enum nbdhello_next next;
	bool said;

	if (ss->hello.out_used && !send_hello(ss))
		return false;
	if (rx_has(ss) < need)
		return false;
	next = nbdhello_step(&ss->hello, ss->rx + ss->rx_at);
	ss->rx_at += need;
	if (next == NBDHELLO_TRANSMIT) {
		ss->state = SESSION_GREETED;
		return send_hello(ss);
	}
	said = ss->hello.out_used;
	if (!send_hello(ss) && ss->state == SESSION_CLOSED)
		return false;
	if (next == NBDHELLO_MORE)
		return true;
	/* An ABORT is answered; to nonsense there is nothing to be said. */
	if (!said)
		return drop(ss);
	session_close(ss);
	return false;
}

static bool take_skipped(struct session *ss)
{
	size_t n = MIN(rx_has(ss), (size_t)ss->skip);
	struct place *p = ss->filling;

	ss->rx_at += n;
	ss->skip -= (uint32_t)n;
	if (ss->skip)
		return false;
	ss->filling = NULL;
	request_refuse(p, ss->skip_error);
	return true;
}

static void filled(struct session *ss, size_t n)
{
	struct place *p = ss->filling;

	ss->filled += (uint32_t)n;
	if (ss->filled < p->rq.len)
		return;
	ss->filling = NULL;
	request_arrived(p);
}

static bool take_data(struct session *ss)
{
	struct place *p = ss->filling;
	size_t n = MIN(rx_has(ss), (size_t)(p->rq.len - ss->filled));

	memcpy((char *)p->buf + ss->filled, ss->rx + ss->rx_at, n);
	ss->rx_at += n;
	filled(ss, n);
	return !ss->filling;
}

/* A place for the request, with a buffer if it needs one. NULL: not now. */
static struct place *place_for(struct session *ss, const struct nbdwire_request *rq,
			       enum nbdwire_error error)
{
	bool has_data = rq->type == NBDWIRE_READ || rq->type == NBDWIRE_WRITE;
	struct place *p = get_place(ss);

	if (p && !error && has_data) {
		p->buf = buf_pool_get(&ss->pool, rq->len);
		if (!p->buf) {
			session_put_place(p);
			p = NULL;
		}
	}
	ss->stalled = !p;
	ss->freed = false;
	if (p)
		p->rq = *rq;
	return p;
}

static bool take_request(struct session *ss)
{
	struct nbdwire_request rq;
	enum nbdwire_error error;
	struct place *p;

	if (rx_has(ss) < NBDWIRE_REQUEST_SIZE)
		return false;
	if (nbdwire_request_decode(ss->rx + ss->rx_at, &rq) < 0 || nbdwire_is_hostile(&rq))
		return drop(ss);
	error = nbdwire_check(&rq, &ss->server->export);
	if (!error && rq.type == NBDWIRE_DISC) {
		ss->asked = true;
		ss->state = SESSION_LEAVING;
		return false;
	}
	p = place_for(ss, &rq, error);
	if (!p)
		return false;
	ss->rx_at += NBDWIRE_REQUEST_SIZE;
	if (error && rq.type == NBDWIRE_WRITE && rq.len) {
		ss->filling = p;
		ss->skip = rq.len;
		ss->skip_error = error;
	} else if (error) {
		request_refuse(p, error);
	} else if (rq.type == NBDWIRE_WRITE) {
		ss->filling = p;
		ss->filled = 0;
	} else {
		request_arrived(p);
	}
	return true;
}

/* False: there is nothing to be done with what is in rx, for now. */
static bool take(struct session *ss)
{
	switch (ss->state) {
	case SESSION_HELLO:
		return take_hello(ss);
	case SESSION_SERVING:
		if (ss->skip)
			return take_skipped(ss);
		return ss->filling ? take_data(ss) : take_request(ss);
	case SESSION_GREETED: /* requests wait until the handshake's last bytes are sent */
	case SESSION_FREE:
	case SESSION_LEAVING:
	case SESSION_CLOSED:
		break;
	}
	return false;
}

/* Reads once, straight into the buffer of a large write, else into rx. What recv() says. */
static ssize_t receive(struct session *ss)
{
	struct place *p = ss->filling;
	ssize_t r;

	if (ss->rx_at == ss->rx_end)
		ss->rx_at = ss->rx_end = 0;
	if (p && !ss->skip && !rx_has(ss) && p->rq.len - ss->filled >= DIRECT_MIN) {
		r = recv(ss->fd, (char *)p->buf + ss->filled, p->rq.len - ss->filled, MSG_DONTWAIT);
		if (r > 0)
			filled(ss, (size_t)r);
		return r;
	}
	/* What is left is the beginning of something short. */
	if (ss->rx_at) {
		memmove(ss->rx, ss->rx + ss->rx_at, rx_has(ss));
		ss->rx_end -= ss->rx_at;
		ss->rx_at = 0;
	}
	r = recv(ss->fd, ss->rx + ss->rx_end, BLOCK_RX_SIZE - ss->rx_end, MSG_DONTWAIT);
	if (r > 0)
		ss->rx_end += (size_t)r;
	return r;
}

static bool reads(const struct session *ss)
{
	return (ss->state == SESSION_HELLO && !ss->hello.out_used) ||
	       (ss->state == SESSION_SERVING && !ss->stalled);
}

static void read_on(struct session *ss)
{
	while (take(ss))
		;
	for (int i = 0; i < ROUNDS && reads(ss); i++) {
		ssize_t r = receive(ss);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			return;
		if (r <= 0) {
			session_close(ss);
			return;
		}
		while (take(ss))
			;
	}
}

/* ---- the loop's calls ---- */

void session_on_event(struct session *ss, uint32_t events)
{
	/* The other end is gone; nobody would read on and see it. */
	if (!reads(ss) && (events & (EPOLLHUP | EPOLLERR))) {
		session_close(ss);
		return;
	}
	if (in_handshake(ss) && ss->hello.out_used && !send_hello(ss))
		return;
	read_on(ss);
}

void session_go_on(struct session *ss)
{
	uint32_t events = 0;

	if (in_handshake(ss) && ss->hello.out_used)
		(void)send_hello(ss);
	if (ss->fd < 0)
		return;
	send_answers(ss);
	if (ss->stalled && ss->freed) {
		ss->stalled = false;
		read_on(ss);
		send_answers(ss);
	}
	if (ss->state == SESSION_LEAVING && !ss->n_busy)
		session_close(ss);
	/* It may have stalled again, and have had places back by what was just sent. */
	if (ss->stalled && ss->freed)
		server_kick(ss->server);
	if (reads(ss))
		events |= EPOLLIN;
	if (ss->tx.first || (in_handshake(ss) && ss->hello.out_used))
		events |= EPOLLOUT;
	watch(ss, events);
}
