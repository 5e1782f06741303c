/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See heartbeat.h and "Heartbeat" in docs/protocol.md. */
#include "replicator/heartbeat.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/queue.h"
#include "lib/rd.h"
#include "lib/stats.h"
#include "lib/wr.h"

#define VERSION 1
#define MAX_STATE 31
/* Datagrams that are looked at in one period: a flood costs us no more than that. */
#define BUDGET 256
/* For SCHED_FIFO's sake small: with mlockall all of it is in memory. */
#define STACK_SIZE ((size_t)256 << 10)
#define SOCKET_PRIORITY 6 /* interactive: before bulk data in the default queue */
#define READ_TRIES 8

static const uint8_t magic[4] = {'R', 'M', 'H', 'B'};

/* ---- the datagram --------------------------------------------------------- */

static bool values_ok(const struct heartbeat_values *v)
{
	return v->state <= MAX_STATE && !(v->flags & ~HEARTBEAT_FLAGS);
}

void heartbeat_encode(uint8_t buf[HEARTBEAT_SIZE], const struct heartbeat_packet *p,
		      const struct tls_mac *mac)
{
	struct wr w = wr_init(buf, HEARTBEAT_SIZE);
	size_t covered;

	wr_bytes(&w, magic, sizeof(magic));
	wr_u16(&w, VERSION);
	wr_u8(&w, (uint8_t)p->side);
	wr_u8(&w, p->v.state);
	wr_bytes(&w, p->session, sizeof(p->session));
	wr_u64(&w, p->seq);
	wr_u64(&w, p->v.term);
	wr_u64(&w, p->v.epoch);
	wr_u64(&w, p->v.done);
	wr_u64(&w, p->v.total);
	wr_u32(&w, p->v.flags);
	wr_zero(&w, 4);
	covered = wr_used(&w);
	tls_mac_make(mac, buf, covered, wr_ptr(&w, TLS_MAC_SIZE));
	assert(wr_ok(&w) && !wr_left(&w) && values_ok(&p->v));
}

enum heartbeat_verdict heartbeat_decode(const void *buf, size_t size, enum heartbeat_side from,
					const uint8_t session[HEARTBEAT_SESSION_SIZE],
					const struct tls_mac *mac, struct heartbeat_packet *p)
{
	struct rd r = rd_init(buf, size);
	struct heartbeat_packet got = {.seq = 0};
	uint8_t peer_magic[sizeof(magic)];
	uint8_t side;

	rd_bytes(&r, peer_magic, sizeof(peer_magic));
	if (size != HEARTBEAT_SIZE || memcmp(peer_magic, magic, sizeof(magic)) != 0 ||
	    rd_u16(&r) != VERSION)
		return HEARTBEAT_MALFORMED;
	side = rd_u8(&r);
	got.v.state = rd_u8(&r);
	rd_bytes(&r, got.session, sizeof(got.session));
	/* Before the costly check: a stranger does not know the session. */
	if (memcmp(got.session, session, HEARTBEAT_SESSION_SIZE) != 0 || side != (uint8_t)from)
		return HEARTBEAT_BAD_SESSION;
	if (!tls_mac_check(mac, buf, HEARTBEAT_SIZE - TLS_MAC_SIZE,
			   (const uint8_t *)buf + HEARTBEAT_SIZE - TLS_MAC_SIZE))
		return HEARTBEAT_BAD_MAC;
	got.side = from;
	got.seq = rd_u64(&r);
	got.v.term = rd_u64(&r);
	got.v.epoch = rd_u64(&r);
	got.v.done = rd_u64(&r);
	got.v.total = rd_u64(&r);
	got.v.flags = rd_u32(&r);
	rd_zero(&r, 4);
	rd_skip(&r, TLS_MAC_SIZE);
	if (!rd_done(&r) || !got.seq || !values_ok(&got.v))
		return HEARTBEAT_MALFORMED;
	*p = got;
	return HEARTBEAT_GOOD;
}

/* ---- the thread ----------------------------------------------------------- */

/*
 * What the control thread says, as words that can be read while it writes: the version is odd
 * meanwhile. A reader that is refused (the writer may wait for the very CPU that it runs on) says
 * what was valid before.
 */
struct spoken {
	atomic_uint version;
	atomic_uint_least64_t state_flags;
	atomic_uint_least64_t term;
	atomic_uint_least64_t epoch;
	atomic_uint_least64_t done;
	atomic_uint_least64_t total;
};

/* Written by the thread alone, read by any. */
struct published {
	atomic_bool realtime;
	atomic_uint_least64_t sent;
	atomic_uint_least64_t send_failed;
	atomic_uint_least64_t received;
	atomic_uint_least64_t missed;
	atomic_uint_least64_t malformed;
	atomic_uint_least64_t bad_session;
	atomic_uint_least64_t bad_mac;
	atomic_uint_least64_t replayed;
	atomic_uint_least64_t dropped;
	atomic_uint_least64_t last_heard_ns;
	atomic_uint_least64_t late_p50_ns;
	atomic_uint_least64_t late_p99_ns;
	atomic_uint_least64_t late_max_ns;
};

struct heartbeat {
	struct spoken spoken;
	struct published pub;
	pthread_t thread;
	int stop_fd;
	struct tls_mac *mac;
	/* Fixed once the thread runs. */
	uint64_t period_ns;
	enum heartbeat_side side;
	int fd;
	int priority;
	bool learn;
	uint8_t session[HEARTBEAT_SESSION_SIZE];
	struct queue *queue;
	/* The thread's own. */
	struct addr peer;
	struct heartbeat_values last; /* that was read from spoken */
	uint64_t seq_out;
	uint64_t seq_in;
	uint64_t next_ns;
	unsigned int budget;
	struct hist late;
};

static void count(atomic_uint_least64_t *counter, uint64_t n)
{
	/* One writer: no need for a locked addition. */
	uint64_t v = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, v + n, memory_order_relaxed);
}

static void publish(atomic_uint_least64_t *word, uint64_t v)
{
	atomic_store_explicit(word, v, memory_order_relaxed);
}

static uint64_t look(const atomic_uint_least64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/*
 * Each word is stored with release and loaded with acquire, so whoever sees a new one also sees
 * the odd version that was set before it.
 */
static void speak(struct spoken *s, const struct heartbeat_values *v)
{
	unsigned int version = atomic_load_explicit(&s->version, memory_order_relaxed);

	atomic_store_explicit(&s->version, version + 1, memory_order_relaxed);
	atomic_store_explicit(&s->state_flags, v->state | (uint64_t)v->flags << 8,
			      memory_order_release);
	atomic_store_explicit(&s->term, v->term, memory_order_release);
	atomic_store_explicit(&s->epoch, v->epoch, memory_order_release);
	atomic_store_explicit(&s->done, v->done, memory_order_release);
	atomic_store_explicit(&s->total, v->total, memory_order_release);
	atomic_store_explicit(&s->version, version + 2, memory_order_release);
}

static bool read_spoken(const struct spoken *s, struct heartbeat_values *v)
{
	unsigned int before = atomic_load_explicit(&s->version, memory_order_acquire);
	struct heartbeat_values got;
	uint64_t state_flags;

	state_flags = atomic_load_explicit(&s->state_flags, memory_order_acquire);
	got.term = atomic_load_explicit(&s->term, memory_order_acquire);
	got.epoch = atomic_load_explicit(&s->epoch, memory_order_acquire);
	got.done = atomic_load_explicit(&s->done, memory_order_acquire);
	got.total = atomic_load_explicit(&s->total, memory_order_acquire);
	if (before % 2 || atomic_load_explicit(&s->version, memory_order_relaxed) != before)
		return false;
	got.state = (uint8_t)state_flags;
	got.flags = (uint32_t)(state_flags >> 8);
	*v = got;
	return true;
}

static void send_one(struct heartbeat *h)
{
	uint8_t buf[HEARTBEAT_SIZE];
	struct heartbeat_packet p = {.side = h->side};

	for (int i = 0; i < READ_TRIES && !read_spoken(&h->spoken, &h->last); i++)
		;
	memcpy(p.session, h->session, sizeof(p.session));
	p.seq = ++h->seq_out;
	p.v = h->last;
	heartbeat_encode(buf, &p, h->mac);
	if (sendto(h->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL,
		   (const struct sockaddr *)&h->peer.sa, h->peer.size) == (ssize_t)sizeof(buf))
		count(&h->pub.sent, 1);
	else
		count(&h->pub.send_failed, 1);
}

static void send_when_due(struct heartbeat *h, uint64_t now)
{
	if (now < h->next_ns)
		return;
	if (h->peer.size) {
		hist_add(&h->late, now - h->next_ns);
		send_one(h);
		publish(&h->pub.late_p50_ns, hist_percentile(&h->late, 0.5));
		publish(&h->pub.late_p99_ns, hist_percentile(&h->late, 0.99));
		publish(&h->pub.late_max_ns, h->late.max);
	}
	/* Whoever was stopped for a while does not make up for it with a burst. */
	h->next_ns += h->period_ns;
	if (h->next_ns <= now)
		h->next_ns = now + h->period_ns;
	h->budget = BUDGET;
}

/*
 * When a datagram came, from the kernel's stamp: what lay in the socket while this process was
 * stopped is no sign that the peer lives now. The stamp is wall time, so only its distance to the
 * present counts; a step of that clock in between costs one heartbeat at most, because the result
 * is never before the newest known nor after now.
 */
static uint64_t arrival(const struct heartbeat *h, struct msghdr *msg)
{
	uint64_t now = clock_now();
	uint64_t newest = look(&h->pub.last_heard_ns);
	uint64_t at = now;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct timespec stamp;
		struct timespec wall;
		int64_t age;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
		(void)clock_gettime(CLOCK_REALTIME, &wall);
		age = ((int64_t)wall.tv_sec - stamp.tv_sec) * (int64_t)NS_PER_SEC +
		      (wall.tv_nsec - stamp.tv_nsec);
		if (age > 0)
			at = now - MIN((uint64_t)age, now);
	}
	return MAX(at, newest);
}

static void heard(struct heartbeat *h, const struct heartbeat_packet *p, const struct addr *from,
		  uint64_t at_ns)
{
	struct heartbeat_msg msg = {.at_ns = at_ns, .seq = p->seq, .v = p->v};

	if (p->seq <= h->seq_in) {
		count(&h->pub.replayed, 1);
		return;
	}
	count(&h->pub.missed, p->seq - h->seq_in - 1);
	h->seq_in = p->seq;
	if (h->learn)
		h->peer = *from;
	count(&h->pub.received, 1);
	publish(&h->pub.last_heard_ns, at_ns);
	if (!queue_put(h->queue, &msg))
		count(&h->pub.dropped, 1);
}

/* One datagram. False when there is none. */
static bool receive_one(struct heartbeat *h)
{
	enum heartbeat_side peer = h->side == HEARTBEAT_PRIMARY ? HEARTBEAT_BACKUP
								: HEARTBEAT_PRIMARY;
	union {
		char bytes[CMSG_SPACE(sizeof(struct timespec))];
		struct cmsghdr align;
	} control;
	uint8_t buf[HEARTBEAT_SIZE];
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct addr from = {.size = 0};
	struct msghdr msg = {
		.msg_name = &from.sa,
		.msg_namelen = sizeof(from.sa),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct heartbeat_packet p;
	/* MSG_TRUNC: n is the length that it had. */
	ssize_t n = recvmsg(h->fd, &msg, MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return false;
	from.size = msg.msg_namelen;
	switch (heartbeat_decode(buf, (size_t)n, peer, h->session, h->mac, &p)) {
	case HEARTBEAT_GOOD:
		heard(h, &p, &from, arrival(h, &msg));
		break;
	case HEARTBEAT_MALFORMED:
		count(&h->pub.malformed, 1);
		break;
	case HEARTBEAT_BAD_SESSION:
		count(&h->pub.bad_session, 1);
		break;
	case HEARTBEAT_BAD_MAC:
		count(&h->pub.bad_mac, 1);
		break;
	}
	return true;
}

static void *heartbeat_thread(void *arg)
{
	struct heartbeat *h = arg;
	struct sched_param param = {.sched_priority = h->priority};
	struct pollfd p[] = {{.fd = h->stop_fd, .events = POLLIN}, {.events = POLLIN}};

	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	if (h->priority && pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) == 0)
		atomic_store_explicit(&h->pub.realtime, true, memory_order_relaxed);
	h->next_ns = clock_now();
	for (;;) {
		struct timespec wait;
		uint64_t now = clock_now();

		send_when_due(h, now);
		p[1].fd = h->budget ? h->fd : -1;
		wait = clock_timespec(clock_until(h->next_ns, now));
		if (ppoll(p, ARRAY_SIZE(p), &wait, NULL) <= 0)
			continue;
		if (p[0].revents)
			return NULL;
		while (h->budget && receive_one(h)) {
			h->budget--;
			if (clock_now() >= h->next_ns)
				break;
		}
	}
}

/* ---- the control thread's side --------------------------------------------- */

int heartbeat_socket(struct addr *local, uint16_t first, uint16_t n, int *fd_out, struct err *e)
{
	autofd fd = socket(local->sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unsigned int end = first ? (unsigned int)first + MAX(n, (uint16_t)1) : 1;
	int priority = SOCKET_PRIORITY;
	int on = 1;
	char text[ADDR_TEXT_SIZE];
	int rc = -EADDRINUSE;

	if (fd < 0)
		return err_set(e, -errno, "socket for heartbeats");
	(void)setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
	(void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	for (unsigned int port = first; port < end && port <= UINT16_MAX; port++) {
		addr_set_port(local, (uint16_t)port);
		if (bind(fd, (const struct sockaddr *)&local->sa, local->size) < 0) {
			rc = -errno;
			if (rc == -EADDRINUSE)
				continue;
			break;
		}
		local->size = sizeof(local->sa);
		if (getsockname(fd, (struct sockaddr *)&local->sa, &local->size) < 0)
			return err_set(e, -errno, "heartbeats");
		*fd_out = take_fd(&fd);
		return 0;
	}
	return err_set(e, rc, "heartbeats at %s (ports %u to %u)", addr_format(local, text), first,
		       end - 1);
}

static int start_thread(struct heartbeat *h, struct err *e)
{
	pthread_attr_t attr;
	sigset_t all;
	sigset_t old;
	int r;

	(void)sigfillset(&all);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_SIZE);
	(void)pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_create(&h->thread, &attr, heartbeat_thread, h);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	return r ? err_set(e, -r, "start the heartbeat thread") : 0;
}

static void free_parts(struct heartbeat *h)
{
	tls_mac_free(h->mac);
	if (h->stop_fd >= 0)
		close(h->stop_fd);
	mem_free(h);
}

int heartbeat_start(struct heartbeat **out, const struct heartbeat_conf *conf, struct err *e)
{
	struct heartbeat *h;
	int rc;

	if (!conf->period_ns)
		return err_setx(e, -EINVAL, "heartbeats without a period");
	h = mem_zalloc(sizeof(*h));
	if (!h)
		return err_set(e, -ENOMEM, "heartbeats");
	h->side = conf->side;
	h->fd = conf->fd;
	h->priority = conf->priority;
	h->learn = !conf->peer.size;
	h->peer = conf->peer;
	h->queue = conf->queue;
	h->budget = BUDGET;
	memcpy(h->session, conf->secret + TLS_KEY_SIZE, sizeof(h->session));
	hist_init(&h->late);
	h->period_ns = conf->period_ns;
	heartbeat_set(h, &conf->first);
	h->last = conf->first;
	h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = h->stop_fd < 0 ? err_set(e, -errno, "eventfd") : 0;
	if (!rc)
		rc = tls_mac_new(&h->mac, conf->secret, e);
	if (!rc)
		rc = start_thread(h, e);
	if (rc < 0) {
		free_parts(h);
		return rc;
	}
	*out = h;
	return 0;
}

void heartbeat_set(struct heartbeat *h, const struct heartbeat_values *v)
{
	assert(values_ok(v));
	speak(&h->spoken, v);
}

uint64_t heartbeat_last_heard(const struct heartbeat *h)
{
	return look(&h->pub.last_heard_ns);
}

void heartbeat_stats(const struct heartbeat *h, struct heartbeat_stats *out)
{
	*out = (struct heartbeat_stats){
		.realtime = atomic_load_explicit(&h->pub.realtime, memory_order_relaxed),
		.sent = look(&h->pub.sent),
		.send_failed = look(&h->pub.send_failed),
		.received = look(&h->pub.received),
		.missed = look(&h->pub.missed),
		.malformed = look(&h->pub.malformed),
		.bad_session = look(&h->pub.bad_session),
		.bad_mac = look(&h->pub.bad_mac),
		.replayed = look(&h->pub.replayed),
		.dropped = look(&h->pub.dropped),
		.last_heard_ns = look(&h->pub.last_heard_ns),
		.late_p50_ns = look(&h->pub.late_p50_ns),
		.late_p99_ns = look(&h->pub.late_p99_ns),
		.late_max_ns = look(&h->pub.late_max_ns),
	};
}

void heartbeat_stop(struct heartbeat *h)
{
	uint64_t one = 1;
	int r;

	if (!h)
		return;
	if (write(h->stop_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
	r = pthread_join(h->thread, NULL);
	assert(r == 0);
	free_parts(h);
}
