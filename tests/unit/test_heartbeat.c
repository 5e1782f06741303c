/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/queue.h"
#include "replicator/heartbeat.h"
#include "tests/lib/golden.h"

#define LIMIT_NS (60 * NS_PER_SEC)
#define PERIOD_NS (2 * NS_PER_MS)

static const uint8_t secret[HEARTBEAT_SECRET_SIZE] =
	"0123456789abcdef0123456789abcdefSESSION-OF-TEST";
static const uint8_t *const session = secret + TLS_KEY_SIZE;
static struct tls_mac *mac;

static int set_up(void **state)
{
	return tls_mac_new(&mac, secret, NULL);
}

static int tear_down(void **state)
{
	tls_mac_free(mac);
	return 0;
}

static struct heartbeat_packet sample(void)
{
	struct heartbeat_packet p = {
		.side = HEARTBEAT_PRIMARY,
		.seq = 77,
		.v = {.state = 3,
		      .flags = HEARTBEAT_PROTECTED,
		      .term = 7,
		      .epoch = 900,
		      .done = 10,
		      .total = 20},
	};

	memcpy(p.session, session, sizeof(p.session));
	return p;
}

static enum heartbeat_verdict decode(const uint8_t *buf, size_t size, struct heartbeat_packet *p)
{
	return heartbeat_decode(buf, size, HEARTBEAT_PRIMARY, session, mac, p);
}

static void round_trip(void **state)
{
	struct heartbeat_packet p = sample();
	struct heartbeat_packet got;
	uint8_t buf[HEARTBEAT_SIZE];

	memset(&got, 0, sizeof(got));
	heartbeat_encode(buf, &p, mac);
	golden_check("heartbeat", buf, sizeof(buf));
	assert_int_equal(decode(buf, sizeof(buf), &got), HEARTBEAT_GOOD);
	assert_int_equal(got.seq, 77);
	assert_int_equal(got.v.state, 3);
	assert_int_equal(got.v.flags, HEARTBEAT_PROTECTED);
	assert_int_equal(got.v.term, 7);
	assert_int_equal(got.v.epoch, 900);
	assert_int_equal(got.v.done, 10);
	assert_int_equal(got.v.total, 20);
}

static void every_bit_counts(void **state)
{
	struct heartbeat_packet p = sample();
	struct heartbeat_packet got;
	uint8_t buf[HEARTBEAT_SIZE + 1];

	heartbeat_encode(buf, &p, mac);
	for (unsigned int bit = 0; bit < 8 * HEARTBEAT_SIZE; bit++) {
		enum heartbeat_verdict want = HEARTBEAT_BAD_MAC;

		if (bit < 6 * 8)
			want = HEARTBEAT_MALFORMED;
		else if (bit < 7 * 8 || (bit >= 8 * 8 && bit < 24 * 8))
			want = HEARTBEAT_BAD_SESSION;
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(decode(buf, HEARTBEAT_SIZE, &got), want);
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t n = 0; n <= sizeof(buf); n++) {
		if (n != HEARTBEAT_SIZE)
			assert_int_equal(decode(buf, n, &got), HEARTBEAT_MALFORMED);
	}
	/* Our own side's, sent back to us. */
	assert_int_equal(heartbeat_decode(buf, HEARTBEAT_SIZE, HEARTBEAT_BACKUP, session, mac,
					  &got),
			 HEARTBEAT_BAD_SESSION);
}

/* The MAC is right, the sender is wrong: fields out of range. */
static void authentic_nonsense(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t value;
	} t[] = {{7, 32}, {64, 4}, {67, 1}, {68, 1}, {71, 1}};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct heartbeat_packet p = sample();
		struct heartbeat_packet got;
		uint8_t buf[HEARTBEAT_SIZE];

		heartbeat_encode(buf, &p, mac);
		buf[t[i].at] = t[i].value;
		tls_mac_make(mac, buf, HEARTBEAT_SIZE - TLS_MAC_SIZE,
			     buf + HEARTBEAT_SIZE - TLS_MAC_SIZE);
		assert_int_equal(decode(buf, sizeof(buf), &got), HEARTBEAT_MALFORMED);
	}
}

/* ---- two threads ----------------------------------------------------------- */

struct side {
	int fd;
	struct addr addr;
	struct queue *queue;
	struct heartbeat *hb;
};

static struct addr loopback(void)
{
	struct addr_list list;

	assert_int_equal(addr_resolve("127.0.0.1", 0, &list, -1, 1, NULL), 0);
	return list.a[0];
}

static void open_side(struct side *s, unsigned int room)
{
	struct err e = ERR_INIT;

	s->hb = NULL;
	s->addr = loopback();
	if (heartbeat_socket(&s->addr, 0, 0, &s->fd, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_not_equal(addr_port(&s->addr), 0);
	assert_int_equal(queue_new(&s->queue, sizeof(struct heartbeat_msg), room, NULL), 0);
}

static void start_side(struct side *s, enum heartbeat_side side, const struct addr *peer)
{
	struct heartbeat_conf conf = {.side = side,
				      .fd = s->fd,
				      .period_ns = PERIOD_NS,
				      .priority = 10,
				      .queue = s->queue,
				      .first = {.state = 1, .term = 5, .epoch = UINT64_MAX}};
	struct err e = ERR_INIT;

	if (peer)
		conf.peer = *peer;
	memcpy(conf.secret, secret, sizeof(secret));
	if (heartbeat_start(&s->hb, &conf, &e) < 0)
		fail_msg("%s", e.text);
}

static void close_side(struct side *s)
{
	heartbeat_stop(s->hb);
	close(s->fd);
	queue_free(s->queue);
}

/* The next message; fails when none comes. */
static struct heartbeat_msg next(struct side *s)
{
	uint64_t deadline = clock_now() + LIMIT_NS;
	struct heartbeat_msg m;

	while (!queue_get(s->queue, &m)) {
		struct pollfd p = {.fd = queue_fd(s->queue), .events = POLLIN};

		assert_true(clock_now() < deadline);
		(void)poll(&p, 1, 1000);
	}
	return m;
}

static void each_hears_the_other(void **state)
{
	struct heartbeat_values v = {.state = 4, .term = 6, .epoch = 12, .done = 1, .total = 2};
	struct heartbeat_stats stats;
	struct heartbeat_msg m;
	struct side a;
	struct side b;
	uint64_t seq;

	open_side(&a, 1024);
	open_side(&b, 1024);
	/* The backup does not know where the primary is. */
	start_side(&b, HEARTBEAT_BACKUP, NULL);
	start_side(&a, HEARTBEAT_PRIMARY, &b.addr);
	m = next(&b);
	assert_int_equal(m.v.term, 5);
	assert_true(m.v.epoch == UINT64_MAX);
	assert_int_equal(m.seq, 1);
	m = next(&a);
	assert_true(m.at_ns <= clock_now() && m.at_ns + LIMIT_NS > clock_now());
	heartbeat_set(a.hb, &v);
	do {
		m = next(&b);
	} while (m.v.term != 6);
	/* All of it came together. */
	assert_int_equal(m.v.state, 4);
	assert_int_equal(m.v.epoch, 12);
	assert_int_equal(m.v.done, 1);
	assert_int_equal(m.v.total, 2);
	seq = m.seq;
	m = next(&b);
	assert_int_equal(m.seq, seq + 1);
	heartbeat_stats(b.hb, &stats);
	assert_true(stats.received > 1 && !stats.bad_mac && !stats.replayed && !stats.missed);
	assert_true(stats.last_heard_ns && stats.last_heard_ns == heartbeat_last_heard(b.hb));
	heartbeat_stats(a.hb, &stats);
	assert_true(stats.sent > 1 && stats.late_p50_ns <= stats.late_max_ns);
	close_side(&a);
	close_side(&b);
}

static void send_to(int fd, const struct addr *to, const uint8_t *buf, size_t size)
{
	assert_int_equal(sendto(fd, buf, size, 0, (const struct sockaddr *)&to->sa, to->size),
			 size);
}

/* Waits until the sum of what was counted reaches n. */
static struct heartbeat_stats await(const struct heartbeat *h, uint64_t n)
{
	uint64_t deadline = clock_now() + LIMIT_NS;
	struct heartbeat_stats s;

	do {
		assert_true(clock_now() < deadline);
		heartbeat_stats(h, &s);
	} while (s.received + s.malformed + s.bad_session + s.bad_mac + s.replayed < n);
	return s;
}

static void strangers_and_replays(void **state)
{
	struct heartbeat_packet p = sample();
	struct heartbeat_stats stats;
	uint8_t buf[HEARTBEAT_SIZE];
	uint8_t old[HEARTBEAT_SIZE];
	struct side b;
	struct side x;

	open_side(&b, 2);
	open_side(&x, 2);
	start_side(&b, HEARTBEAT_BACKUP, NULL);
	heartbeat_encode(old, &p, mac);
	send_to(x.fd, &b.addr, old, sizeof(old));
	(void)await(b.hb, 1);
	send_to(x.fd, &b.addr, old, sizeof(old)); /* replayed */
	p.seq = 76;
	heartbeat_encode(buf, &p, mac);
	send_to(x.fd, &b.addr, buf, sizeof(buf)); /* late */
	buf[80] ^= 1;
	send_to(x.fd, &b.addr, buf, sizeof(buf)); /* bad MAC */
	buf[10] ^= 1;
	send_to(x.fd, &b.addr, buf, sizeof(buf)); /* another session */
	send_to(x.fd, &b.addr, buf, 3);
	send_to(x.fd, &b.addr, (const uint8_t *)"GET / HTTP/1.0", 14);
	for (p.seq = 81; p.seq < 84; p.seq++) {
		heartbeat_encode(buf, &p, mac);
		send_to(x.fd, &b.addr, buf, sizeof(buf));
	}
	stats = await(b.hb, 10);
	assert_int_equal(stats.received, 4);
	assert_int_equal(stats.replayed, 2);
	assert_int_equal(stats.bad_mac, 1);
	assert_int_equal(stats.bad_session, 1);
	assert_int_equal(stats.malformed, 2);
	assert_int_equal(stats.missed, 76 + 3);
	/* Nobody took the messages: the first two wait, the others are lost and counted. */
	assert_int_equal(next(&b).seq, 77);
	assert_int_equal(next(&b).seq, 81);
	while (stats.dropped < 2)
		heartbeat_stats(b.hb, &stats);
	assert_int_equal(stats.dropped, 2);
	close_side(&b);
	close_side(&x);
}

/* What waited in the socket counts from when it came, not from when somebody looked. */
static void age_of_what_waited(void **state)
{
	struct heartbeat_packet p = sample();
	uint8_t buf[HEARTBEAT_SIZE];
	struct heartbeat_msg m;
	uint64_t sent_ns;
	uint64_t until;
	struct side b;
	struct side x;

	open_side(&b, 2);
	open_side(&x, 2);
	heartbeat_encode(buf, &p, mac);
	send_to(x.fd, &b.addr, buf, sizeof(buf));
	sent_ns = clock_now();
	until = sent_ns + 20 * NS_PER_MS;
	while (clock_now() < until)
		(void)poll(NULL, 0, 1);
	start_side(&b, HEARTBEAT_BACKUP, NULL);
	m = next(&b);
	assert_true(m.at_ns < sent_ns + 10 * NS_PER_MS);
	close_side(&b);
	close_side(&x);
}

static void ports(void **state)
{
	struct addr a = loopback();
	struct addr b = loopback();
	struct addr c = loopback();
	struct err e = ERR_INIT;
	uint16_t first;
	int fd[3];

	assert_int_equal(heartbeat_socket(&a, 0, 0, &fd[0], &e), 0);
	first = addr_port(&a);
	assert_int_equal(heartbeat_socket(&b, first, 1, &fd[1], &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "127.0.0.1"));
	assert_int_equal(heartbeat_socket(&c, first, 20, &fd[2], &e), 0);
	assert_true(addr_port(&c) > first && addr_port(&c) < first + 20);
	close(fd[0]);
	close(fd[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(authentic_nonsense),
		cmocka_unit_test(each_hears_the_other),
		cmocka_unit_test(strangers_and_replays),
		cmocka_unit_test(age_of_what_waited),
		cmocka_unit_test(ports),
	};

	return cmocka_run_group_tests_name("heartbeat", tests, set_up, tear_down);
}
