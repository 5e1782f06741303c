/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two ends over loopback, a thread each: a good session, and every bad peer. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/wire_v1.h"
#include "tests/lib/loopback.h"
#include "tests/lib/pki.h"

#define LIMIT_NS (60 * NS_PER_SEC)

static struct pki *pki;
static struct tls_ctx *ctx_a;
static struct tls_ctx *ctx_b;
static struct tls_ctx *ctx_evil;     /* a certificate of another authority, trusts ours */
static struct tls_ctx *ctx_other;    /* the same, trusts the other one */
static struct tls_ctx *ctx_trusting; /* good certificate, trusts the other authority */

static int set_up(void **state)
{
	pki = pki_new();
	ctx_a = pki_ctx(pki, "ca", "a", true);
	ctx_b = pki_ctx(pki, "ca", "b", false);
	ctx_evil = pki_ctx(pki, "ca", "evil", false);
	ctx_other = pki_ctx(pki, "other", "evil", false);
	ctx_trusting = pki_ctx(pki, "other", "a", false);
	return 0;
}

static int tear_down(void **state)
{
	tls_ctx_free(ctx_a);
	tls_ctx_free(ctx_b);
	tls_ctx_free(ctx_evil);
	tls_ctx_free(ctx_other);
	tls_ctx_free(ctx_trusting);
	pki_free(pki);
	return 0;
}

static uint64_t soon(void)
{
	return clock_now() + LIMIT_NS;
}

/*
 * Each of our writes goes through here: after one that the socket did not take, the same bytes must lie at the same place when it is
 * tried again. Kernel TLS, which this machine may not have, sends them from there.
 */
int __real_tls_write(struct tls *t, const void *buf, size_t size, size_t *n, struct err *e);
int __wrap_tls_write(struct tls *t, const void *buf, size_t size, size_t *n, struct err *e);
void __real_tls_free(struct tls *t);
void __wrap_tls_free(struct tls *t);

static _Atomic unsigned int retries;
/* The write of this thread that was not taken; buf NULL: none. */
static _Thread_local struct {
	const struct tls *tls;
	const void *buf;
	uint8_t first[16384];
	size_t size;
} kept;

int __wrap_tls_write(struct tls *t, const void *buf, size_t size, size_t *n, struct err *e)
{
	int rc;

	if (kept.buf && kept.tls == t) {
		retries++;
		if (buf != kept.buf || size < kept.size || memcmp(buf, kept.first, kept.size) != 0)
			abort(); /* either thread: no longjmp out of it */
	}
	rc = __real_tls_write(t, buf, size, n, e);
	kept.buf = rc > 0 ? buf : NULL;
	kept.tls = t;
	kept.size = size < sizeof(kept.first) ? size : sizeof(kept.first);
	if (rc > 0)
		memcpy(kept.first, buf, kept.size);
	return rc;
}

/* The next one may lie at its address. */
void __wrap_tls_free(struct tls *t)
{
	if (kept.tls == t)
		kept.buf = NULL;
	__real_tls_free(t);
}

/* ---- the backup's end: a thread that accepts one connection ------------------ */

struct backup {
	int listen_fd;
	uint16_t port;
	struct tls_ctx *ctx;
	pthread_t thread;
	uint64_t handshake_ns; /* its limit */
	void (*talk)(struct backup *b);
	int end_fd; /* readable: the talk shall end */
	struct conn *conn;
	int rc;
	struct err e;
	uint64_t frames;
	uint64_t bytes;
	uint8_t key[48];
};

static void *backup_thread(void *arg)
{
	struct backup *b = arg;
	struct conn_conf conf = {.tls = b->ctx, .wake_fd = -1, .socket_buffer = 65536};
	int fd = accept(b->listen_fd, NULL, NULL);

	conf.handshake_deadline_ns = clock_now() + b->handshake_ns;
	b->rc = conn_accept_take(&b->conn, fd, &conf, &b->e);
	if (!b->rc && b->talk)
		b->talk(b);
	conn_free(b->conn);
	return NULL;
}

static void start(struct backup *b, struct tls_ctx *ctx, void (*talk)(struct backup *b))
{
	*b = (struct backup){.ctx = ctx, .talk = talk, .handshake_ns = LIMIT_NS};
	b->listen_fd = loopback_listener(&b->port);
	b->end_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&b->thread, NULL, backup_thread, b), 0);
}

static void finish(struct backup *b)
{
	assert_int_equal(pthread_join(b->thread, NULL), 0);
	close(b->listen_fd);
	close(b->end_fd);
}

static int dial(struct backup *b, struct tls_ctx *ctx, struct conn **c, struct err *e)
{
	struct conn_conf conf = {
		.tls = ctx, .wake_fd = -1, .handshake_deadline_ns = soon(), .socket_buffer = 65536};

	*c = NULL;
	return conn_connect(c, "127.0.0.1", b->port, &conf, e);
}

static struct conn *good_dial(struct backup *b)
{
	struct err e = ERR_INIT;
	struct conn *c;

	if (dial(b, ctx_a, &c, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

static void say(struct conn *c, enum frame_type type, uint64_t epoch, const void *data, size_t size)
{
	struct conn_out out = {.type = type, .epoch = epoch, .payload = data, .size = size};
	struct err e = ERR_INIT;

	if (conn_send(c, &out, soon(), &e) < 0 || conn_flush(c, soon(), &e) < 0)
		fail_msg("%s", e.text);
}

static void say_hello(struct conn *c)
{
	static const struct wire_hello m = {.version_min = 1,
					    .version_max = 1,
					    .uuid = {1},
					    .term = 1,
					    .mem_pages = 1000,
					    .ram_pages = 1000,
					    .arena_pages = 100,
					    .cache_slots = 10,
					    .heartbeat_period_ms = 50,
					    .failure_timeout_ms = 500,
					    .epoch_period_us = 50000,
					    .vcpus = 1,
					    .policy = 1,
					    .vm = "vm",
					    .host = "a"};
	struct err e = ERR_INIT;
	struct wr w;

	assert_int_equal(conn_begin(c, FRAME_HELLO, FRAME_NO_EPOCH, &w, soon(), &e), 0);
	wire_hello_encode(&w, &m);
	assert_int_equal(conn_end(c, &w, &e), 0);
	assert_int_equal(conn_flush(c, soon(), &e), 0);
}

static void say_hello_ok(struct conn *c)
{
	static const struct wire_hello_ok m = {
		.version = 1, .heartbeat_port = 1, .term = 1, .host = "b"};
	uint8_t buf[80];
	struct wr w = wr_init(buf, sizeof(buf));

	wire_hello_ok_encode(&w, &m);
	say(c, FRAME_HELLO_OK, FRAME_NO_EPOCH, buf, sizeof(buf));
}

static struct frame hear(struct conn *c)
{
	struct err e = ERR_INIT;
	struct frame f;

	if (conn_recv(c, &f, soon(), &e) < 0)
		fail_msg("%s", e.text);
	return f;
}

/* ---- a good session ---------------------------------------------------------- */

#define EPOCHS 20
#define BATCHES 6

/* Answers like a backup, until BYE. cmocka's checks belong to the main thread: errors go to b. */
static void answer(struct backup *b)
{
	static const uint8_t term[8] = {1};
	struct conn_out out = {.type = FRAME_ACK, .payload = term, .size = sizeof(term)};

	b->rc = conn_export_key(b->conn, "EXPORTER-test", b->key, sizeof(b->key), &b->e);
	while (!b->rc) {
		struct frame f;

		b->rc = conn_recv(b->conn, &f, soon(), &b->e);
		if (b->rc)
			return;
		b->frames++;
		b->bytes += f.h.length;
		if (f.h.type == FRAME_HELLO) {
			say_hello_ok(b->conn);
		} else if (f.h.type == FRAME_EPOCH_END) {
			out.epoch = f.h.epoch;
			b->rc = conn_send(b->conn, &out, soon(), &b->e);
			if (!b->rc)
				b->rc = conn_flush(b->conn, soon(), &b->e);
		} else if (f.h.type == FRAME_BYE) {
			out = (struct conn_out){.type = FRAME_BYE_OK,
						.epoch = FRAME_NO_EPOCH,
						.payload = term,
						.size = sizeof(term)};
			b->rc = conn_send(b->conn, &out, soon(), &b->e);
			if (!b->rc)
				b->rc = conn_finish(b->conn, soon(), &b->e);
			return;
		}
	}
}

static void say_state(struct conn *c, uint64_t epoch, uint16_t kind)
{
	static const uint8_t blob[1000] = {1};
	struct wire_state st = {
		.kind = kind, .hvm = {.data = blob, .size = sizeof(blob)}, .n_params = 1};
	struct err e = ERR_INIT;
	struct wr w;

	assert_int_equal(conn_begin(c, FRAME_STATE, epoch, &w, soon(), &e), 0);
	wire_state_encode(&w, &st);
	assert_int_equal(conn_end(c, &w, &e), 0);
}

static void say_pages(struct conn *c, uint64_t epoch)
{
	struct err e = ERR_INIT;
	uint32_t n = 0;
	struct wr w;

	assert_int_equal(conn_begin(c, FRAME_PAGES, epoch, &w, soon(), &e), 0);
	assert_int_equal(wr_left(&w), FRAME_PAGES_ROOM);
	wire_pages_begin(&w);
	while (wr_left(&w) >= 4104) {
		memset(wr_ptr(&w, 4104), (int)n, 4104);
		n++;
	}
	wire_pages_end(&w, n);
	assert_int_equal(conn_end(c, &w, &e), 0);
}

static void say_epoch(struct conn *c, uint64_t epoch)
{
	static const uint8_t end[40];
	struct conn_out out = {
		.type = FRAME_EPOCH_END, .epoch = epoch, .payload = end, .size = sizeof(end)};
	struct err e = ERR_INIT;

	for (int i = 0; i < BATCHES; i++)
		say_pages(c, epoch);
	say_state(c, epoch, WIRE_HVM_CONTEXT);
	if (!epoch) {
		say_state(c, epoch, WIRE_TSC_INFO);
		say_state(c, epoch, WIRE_HVM_PARAMS);
	}
	assert_int_equal(conn_send(c, &out, soon(), &e), 0);
	assert_int_equal(conn_flush(c, soon(), &e), 0);
}

/* CONFIG of the largest size, STATIC of the smallest. */
static void say_set_up(struct conn *c)
{
	static uint8_t config[WIRE_CONFIG_MAX];
	static const uint8_t statics[32] = {1};

	memset(config, ' ', sizeof(config));
	say(c, FRAME_CONFIG, FRAME_NO_EPOCH, config, sizeof(config));
	say(c, FRAME_STATIC, FRAME_NO_EPOCH, statics, sizeof(statics));
}

static void good_session(void **state)
{
	static const uint8_t bye[8] = {1};
	struct conn_info info;
	struct addr addr;
	struct backup b;
	uint8_t key[48];
	struct conn *c;

	start(&b, ctx_b, answer);
	c = good_dial(&b);
	assert_string_equal(conn_peer_name(c), "b");
	assert_int_equal(conn_export_key(c, "EXPORTER-test", key, sizeof(key), NULL), 0);
	conn_peer_addr(c, &addr);
	assert_int_equal(addr_port(&addr), b.port);
	conn_local_addr(c, &addr);
	assert_int_not_equal(addr_port(&addr), 0);
	say_hello(c);
	assert_int_equal(hear(c).h.type, FRAME_HELLO_OK);
	conn_set_version(c, 1);
	say_set_up(c);
	for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
		say_epoch(c, epoch);
		assert_int_equal(hear(c).h.epoch, epoch);
	}
	say(c, FRAME_BYE, FRAME_NO_EPOCH, bye, sizeof(bye));
	assert_int_equal(hear(c).h.type, FRAME_BYE_OK);
	conn_info(c, &info);
	conn_free(c);
	finish(&b);
	if (b.rc)
		fail_msg("backup: %s", b.e.text);
	assert_memory_equal(key, b.key, sizeof(key));
	assert_int_equal(info.frames_sent, 3 + EPOCHS * (BATCHES + 2) + 2 + 1);
	assert_int_equal(info.frames_sent, b.frames);
	assert_int_equal(info.bytes_sent, b.bytes + b.frames * FRAME_HEADER_SIZE);
	assert_int_equal(info.frames_received, 2 + EPOCHS);
	assert_string_equal(info.peer_name, "b");
	assert_string_equal(info.cipher, "TLS_AES_128_GCM_SHA256");
}

/* A peer that closes with our goodbye unread resets the connection; the last word was said all the same. */
static void last_word_to_one_who_resets(void **state)
{
	static const struct linger at_once = {.l_onoff = 1};
	static const uint8_t bye[8] = {1};
	struct backup b;
	struct conn *c;

	start(&b, ctx_b, answer);
	c = good_dial(&b);
	say_hello(c);
	assert_int_equal(hear(c).h.type, FRAME_HELLO_OK);
	conn_set_version(c, 1);
	say(c, FRAME_BYE, FRAME_NO_EPOCH, bye, sizeof(bye));
	assert_int_equal(hear(c).h.type, FRAME_BYE_OK);
	assert_int_equal(setsockopt(conn_fd(c), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
			 0);
	conn_free(c);
	finish(&b);
	if (b.rc)
		fail_msg("backup: %s", b.e.text);
}

/* Both send until all buffers of the other's side are full: neither may block the other. */
#define FLOOD 40000

static void flood(struct backup *b)
{
	struct conn_out out = {.type = FRAME_KEEPALIVE, .epoch = FRAME_NO_EPOCH};
	struct frame f;

	b->rc = conn_recv(b->conn, &f, soon(), &b->e);
	for (int i = 0; !b->rc && i < FLOOD; i++)
		b->rc = conn_send(b->conn, &out, soon(), &b->e);
	if (!b->rc)
		b->rc = conn_flush(b->conn, soon(), &b->e);
	while (!b->rc && b->frames < FLOOD) {
		b->rc = conn_recv(b->conn, &f, soon(), &b->e);
		b->frames++;
	}
}

static void both_send(void **state)
{
	struct conn_out out = {.type = FRAME_KEEPALIVE, .epoch = FRAME_NO_EPOCH};
	struct err e = ERR_INIT;
	struct backup b;
	struct conn *c;

	start(&b, ctx_b, flood);
	c = good_dial(&b);
	say_hello(c);
	for (int i = 0; i < FLOOD; i++)
		assert_int_equal(conn_send(c, &out, soon(), &e), 0);
	if (conn_flush(c, soon(), &e) < 0)
		fail_msg("%s", e.text);
	for (int i = 0; i < FLOOD; i++)
		assert_int_equal(hear(c).h.type, FRAME_KEEPALIVE);
	finish(&b);
	if (b.rc)
		fail_msg("backup: %s", b.e.text);
	conn_free(c);
}

/* ---- waiting ------------------------------------------------------------------- */

/* Keeps the connection open until the other side closes it. */
static void idle(struct backup *b)
{
	struct frame f;

	while (!b->rc)
		b->rc = conn_recv(b->conn, &f, soon(), &b->e);
}

static void deadlines_and_wake(void **state)
{
	int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct conn_conf conf = {.wake_fd = wake, .handshake_deadline_ns = soon()};
	struct err e = ERR_INIT;
	struct backup b;
	struct conn *c;
	struct frame f;
	uint64_t t;

	start(&b, ctx_b, idle);
	conf.tls = ctx_a;
	assert_int_equal(conn_connect(&c, "localhost", b.port, &conf, &e), 0);
	assert_int_equal(conn_recv(c, &f, 0, &e), -ETIMEDOUT);
	/* Nothing there, nothing to send. */
	assert_int_equal(conn_ready(c), CONN_SENT);
	assert_int_equal(conn_events(c), POLLIN);
	t = clock_now();
	assert_int_equal(conn_recv(c, &f, t + 20 * NS_PER_MS, &e), -ETIMEDOUT);
	assert_true(clock_now() >= t + 20 * NS_PER_MS);
	assert_int_equal(conn_wait(c, CONN_FRAME | CONN_SENT, 0, &e), CONN_SENT);
	assert_int_equal(eventfd_write(wake, 1), 0);
	assert_int_equal(conn_recv(c, &f, soon(), &e), -ECANCELED);
	assert_int_equal(conn_recv(c, &f, soon(), &e), -ECANCELED);
	/* Drained, the connection is as good as before. */
	assert_int_equal(eventfd_read(wake, &t), 0);
	say_hello(c);
	conn_free(c);
	finish(&b);
	assert_int_equal(b.rc, -ECONNRESET);
	close(wake);
}

/* Frames lie ready without end, and the wake descriptor is heard all the same. */
static void wake_amid_data(void **state)
{
	int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct conn_conf conf = {.tls = ctx_a, .wake_fd = wake, .handshake_deadline_ns = soon()};
	struct err e = ERR_INIT;
	struct backup b;
	struct conn *c;
	struct frame f;
	uint64_t t;

	start(&b, ctx_b, flood);
	assert_int_equal(conn_connect(&c, "127.0.0.1", b.port, &conf, &e), 0);
	say_hello(c);
	assert_int_equal(conn_wait(c, CONN_FRAME, soon(), &e), CONN_FRAME);
	assert_int_equal(eventfd_write(wake, 1), 0);
	t = clock_now() + 5 * NS_PER_MS;
	while (clock_now() < t)
		;
	assert_true(conn_ready(c) & CONN_FRAME);
	assert_int_equal(conn_recv(c, &f, soon(), &e), -ECANCELED);
	conn_free(c);
	finish(&b);
	close(wake);
}

/* Reads nothing until it is told to end. */
static void deaf(struct backup *b)
{
	struct pollfd p = {.fd = b->end_fd, .events = POLLIN};

	(void)poll(&p, 1, 60000);
}

/* A peer that takes no bytes cannot hold the thread: deadline and wake descriptor end the flush. */
static void blocked_flush(void **state)
{
	struct conn_out out = {.type = FRAME_KEEPALIVE, .epoch = FRAME_NO_EPOCH};
	int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct conn_conf conf = {
		.wake_fd = wake, .handshake_deadline_ns = soon(), .socket_buffer = 65536};
	struct err e = ERR_INIT;
	struct backup b;
	struct conn *c;
	int rc = 0;

	start(&b, ctx_b, deaf);
	conf.tls = ctx_a;
	assert_int_equal(conn_connect(&c, "127.0.0.1", b.port, &conf, &e), 0);
	say_hello(c);
	/* Until all buffers on the way are full, and ours too. */
	while (!rc)
		rc = conn_send(c, &out, clock_now() + 20 * NS_PER_MS, &e);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_int_equal(conn_flush(c, clock_now() + NS_PER_MS, &e), -ETIMEDOUT);
	assert_int_equal(conn_ready(c) & CONN_SENT, 0);
	assert_int_equal(conn_events(c), POLLIN | POLLOUT);
	assert_int_equal(eventfd_write(wake, 1), 0);
	assert_int_equal(conn_flush(c, soon(), &e), -ECANCELED);
	conn_free(c);
	assert_int_equal(eventfd_write(b.end_fd, 1), 0);
	finish(&b);
	close(wake);
}

/* What is sent to a peer that is gone ends in an error, never in SIGPIPE. */
static void gone_peer(void **state)
{
	struct conn_out out = {.type = FRAME_KEEPALIVE, .epoch = FRAME_NO_EPOCH};
	struct err e = ERR_INIT;
	struct backup b;
	struct conn *c;
	sigset_t blocked;
	int rc = 0;

	start(&b, ctx_b, NULL);
	c = good_dial(&b);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
	assert_true(sigismember(&blocked, SIGPIPE));
	say_hello(c);
	finish(&b);
	for (int i = 0; i < 1000 && !rc; i++) {
		rc = conn_send(c, &out, soon(), &e);
		if (!rc)
			rc = conn_flush(c, soon(), &e);
	}
	assert_int_equal(rc, -ECONNRESET);
	assert_int_equal(conn_flush(c, soon(), &e), -ECONNRESET);
	assert_true(conn_ready(c) & CONN_FRAME);
	conn_free(c);
}

/* ---- bad peers ------------------------------------------------------------------ */

/* The backup's error must be rc and its text must have these words. */
static void expect(const struct backup *b, int rc, const char *words)
{
	if (b->rc != rc || !strstr(b->e.text, words))
		fail_msg("got %d \"%s\", wanted %d \"%s\"", b->rc, b->e.text, rc, words);
	assert_null(strchr(b->e.text, '\n'));
}

static int raw_dial(const struct backup *b)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(b->port),
				 .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static void not_tls(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		int rc;
		const char *words;
	} t[] = {
		{"RMLS\1\0\1\0\1\0\0\0\0\0\0\0\1\0\0\0", 20, -EPROTO, "does not speak TLS"},
		{"GET / HTTP/1.1\r\n\r\n", 18, -EPROTO, "HTTP"},
		{"SSH-2.0-OpenSSH_9.2\r\n", 21, -EPROTO, "TLS"},
		{"\x16\x03\x01\xff\xff\x01\x00\xff\xff\xff", 10, -EPROTO, "TLS"},
		{"\x16\x03\x01\x00\x05\x01\x00\x00", 8, -ECONNRESET, "closed"},
		{"", 0, -ECONNRESET, "closed"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct backup b;
		int fd;

		start(&b, ctx_b, NULL);
		fd = raw_dial(&b);
		assert_int_equal(send(fd, t[i].bytes, t[i].size, MSG_NOSIGNAL), t[i].size);
		(void)shutdown(fd, SHUT_WR);
		finish(&b);
		expect(&b, t[i].rc, t[i].words);
		assert_non_null(strstr(b.e.text, "TLS with 127.0.0.1:"));
		close(fd);
	}
}

static void silent_peer(void **state)
{
	struct backup b = {
		.ctx = ctx_b, .handshake_ns = 30 * NS_PER_MS, .end_fd = eventfd(0, EFD_CLOEXEC)};
	int fd;

	b.listen_fd = loopback_listener(&b.port);
	fd = raw_dial(&b);
	assert_int_equal(pthread_create(&b.thread, NULL, backup_thread, &b), 0);
	finish(&b);
	expect(&b, -ETIMEDOUT, "too long");
	close(fd);
}

static void wrong_certificates(void **state)
{
	const struct {
		struct tls_ctx *backup, *primary;
		int rc;
		const char *words;	   /* of the backup */
		const char *primary_words; /* what the primary learns, at once or when it listens */
	} t[] = {
		{ctx_b, ctx_evil, -EKEYREJECTED, "not accepted", "refused our certificate"},
		{ctx_b, ctx_other, -EKEYREJECTED, "refused our certificate", "not accepted"},
		{ctx_b, ctx_trusting, -EKEYREJECTED, "refused our certificate", "not accepted"},
		{ctx_evil, ctx_a, -EKEYREJECTED, "refused our certificate", "not accepted"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct err e = ERR_INIT;
		struct backup b;
		struct conn *c;
		struct frame f;
		int rc;

		start(&b, t[i].backup, NULL);
		rc = dial(&b, t[i].primary, &c, &e);
		if (!rc)
			rc = conn_recv(c, &f, soon(), &e);
		assert_int_equal(rc, -EKEYREJECTED);
		if (!strstr(e.text, t[i].primary_words))
			fail_msg("row %zu: primary says \"%s\"", i, e.text);
		finish(&b);
		expect(&b, t[i].rc, t[i].words);
		conn_free(c);
	}
}

/* A client of OpenSSL's own, for what ours cannot do. */
static void foreign_client(const struct backup *b, int version, const char *suites)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	int fd = raw_dial(b);
	char byte;

	assert_non_null(ssl);
	assert_int_equal(SSL_set_max_proto_version(ssl, version), 1);
	if (suites)
		assert_int_equal(SSL_set_ciphersuites(ssl, suites), 1);
	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	/* Whether it fails now or when it reads depends on the version. */
	if (SSL_connect(ssl) == 1)
		assert_int_not_equal(SSL_read(ssl, &byte, 1), 1);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
}

static void foreign_clients(void **state)
{
	static const struct {
		int version;
		const char *suites;
		int rc;
		const char *words;
	} t[] = {
		{TLS1_3_VERSION, NULL, -EKEYREJECTED, "showed no certificate"},
		{TLS1_2_VERSION, NULL, -EPROTO, "does not speak TLS 1.3"},
		{TLS1_3_VERSION, "TLS_AES_128_CCM_SHA256", -EPROTO, "none of our ciphers"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct backup b;

		start(&b, ctx_b, NULL);
		foreign_client(&b, t[i].version, t[i].suites);
		finish(&b);
		expect(&b, t[i].rc, t[i].words);
	}
}

/* ---- bad frames of a peer with a good certificate --------------------------------- */

/* A TLS client that is not conn.c. */
struct raw_tls {
	int fd;
	struct tls *tls;
};

static void raw_move(struct raw_tls *r, int rc)
{
	struct pollfd p = {.fd = r->fd, .events = rc == TLS_WANT_READ ? POLLIN : POLLOUT};

	assert_true(rc > 0);
	assert_int_equal(poll(&p, 1, 60000), 1);
}

static void raw_open(struct raw_tls *r, const struct backup *b)
{
	struct err e = ERR_INIT;
	int rc;

	r->fd = raw_dial(b);
	assert_int_equal(tls_new(&r->tls, ctx_a, r->fd, TLS_CLIENT, &e), 0);
	while ((rc = tls_handshake(r->tls, &e)) != 0)
		raw_move(r, rc);
}

static void raw_send(struct raw_tls *r, const void *data, size_t size)
{
	const uint8_t *p = data;
	struct err e = ERR_INIT;

	while (size) {
		size_t n;
		int rc = tls_write(r->tls, p, size, &n, &e);

		if (rc < 0)
			return; /* the backup has closed already, as it should */
		if (rc)
			raw_move(r, rc);
		p += n;
		size -= n;
	}
}

static void raw_close(struct raw_tls *r)
{
	tls_free(r->tls);
	close(r->fd);
}

#define F_SIZE (FRAME_HEADER_SIZE + 208)

/* HELLO as bytes. */
static void hello_bytes(uint8_t buf[F_SIZE], uint64_t seq)
{
	struct wire_hello m = {.version_min = 1,
			       .version_max = 1,
			       .uuid = {1},
			       .term = 1,
			       .mem_pages = 1000,
			       .ram_pages = 1000,
			       .arena_pages = 100,
			       .cache_slots = 10,
			       .heartbeat_period_ms = 50,
			       .failure_timeout_ms = 500,
			       .epoch_period_us = 50000,
			       .vcpus = 1,
			       .policy = 1,
			       .vm = "vm",
			       .host = "a"};
	struct wr w = wr_init(buf + FRAME_HEADER_SIZE, 208);
	struct frame_header h;

	wire_hello_encode(&w, &m);
	h = frame_make(FRAME_HELLO, FRAME_NO_EPOCH, buf + FRAME_HEADER_SIZE, 208);
	h.seq = seq;
	frame_encode(buf, &h);
}

enum crime {
	REPLAY,
	SKIP,
	OVERSIZE,
	TRUNCATE,
	DAMAGE_HEADER,
	DAMAGE_PAYLOAD,
	UNKNOWN,
	OPTIONAL,
	NOT_ITS,
	OUT_OF_ORDER,
	GARBAGE,
	OTHER_VERSION,
};

static void commit(enum crime crime, uint8_t buf[2 * F_SIZE], size_t *size)
{
	struct frame_header h = frame_make(FRAME_KEEPALIVE, FRAME_NO_EPOCH, NULL, 0);
	uint8_t *second = buf + F_SIZE;

	h.seq = 2;
	*size = F_SIZE + FRAME_HEADER_SIZE;
	switch (crime) {
	case REPLAY:
		memcpy(second, buf, F_SIZE);
		*size = 2 * F_SIZE;
		return;
	case SKIP:
		h.seq = 3;
		break;
	case OVERSIZE:
		h = frame_make(FRAME_CONFIG, FRAME_NO_EPOCH, "{}", 2);
		h.seq = 2;
		h.length = UINT32_MAX;
		break;
	case TRUNCATE:
		*size = F_SIZE - 1;
		return;
	case DAMAGE_HEADER:
		frame_encode(second, &h);
		second[20] ^= 1;
		return;
	case DAMAGE_PAYLOAD:
		buf[F_SIZE - 1] ^= 1;
		return;
	case UNKNOWN:
	case OPTIONAL:
		h.type = 999;
		h.flags = crime == UNKNOWN ? FRAME_MANDATORY : 0;
		break;
	case NOT_ITS:
		h = frame_make(FRAME_TAKEOVER, FRAME_NO_EPOCH, "\1\0\0\0\0\0\0", 8);
		h.seq = 2;
		break;
	case OUT_OF_ORDER:
		h = frame_make(FRAME_CONFIG, FRAME_NO_EPOCH, "{}", 2);
		h.seq = 2;
		second[FRAME_HEADER_SIZE] = '{';
		second[FRAME_HEADER_SIZE + 1] = '}';
		*size += 2;
		break;
	case GARBAGE:
		memset(second, 0x5a, FRAME_HEADER_SIZE);
		return;
	case OTHER_VERSION:
		h.version = 2;
		break;
	}
	frame_encode(second, &h);
}

static void bad_frames(void **state)
{
	static const struct {
		enum crime crime;
		int rc;
		const char *words;
	} t[] = {
		{REPLAY, -EPROTO, "repeated"},
		{SKIP, -EPROTO, "repeated, lost"},
		{OVERSIZE, -EMSGSIZE, "limit"},
		{TRUNCATE, -ECONNRESET, "middle of a frame"},
		{DAMAGE_HEADER, -EBADMSG, "header is damaged"},
		{DAMAGE_PAYLOAD, -EBADMSG, "payload of HELLO is damaged"},
		{UNKNOWN, -EPROTO, "mandatory frame type 999 is unknown"},
		{OPTIONAL, -ECONNRESET, "closed"},
		{NOT_ITS, -EPROTO, "TAKEOVER, which is not its to send"},
		{OUT_OF_ORDER, -EPROTO, "CONFIG out of order"},
		{GARBAGE, -EPROTO, "not a frame"},
		{OTHER_VERSION, -EPROTO, "version 2"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint8_t buf[2 * F_SIZE];
		struct raw_tls r;
		struct backup b;
		size_t size;

		start(&b, ctx_b, idle);
		raw_open(&r, &b);
		hello_bytes(buf, 1);
		commit(t[i].crime, buf, &size);
		raw_send(&r, buf, size);
		(void)shutdown(r.fd, SHUT_WR);
		finish(&b);
		raw_close(&r);
		expect(&b, t[i].rc, t[i].words);
	}
}

/* Bytes changed on the way: TLS sees it. */
static void changed_record(void **state)
{
	static const uint8_t record[] = "\x17\x03\x03\x00\x20"
					"abcdefghijklmnopqrstuvwxyzabcdef";
	struct raw_tls r;
	struct backup b;

	start(&b, ctx_b, idle);
	raw_open(&r, &b);
	assert_int_equal(send(r.fd, record, sizeof(record) - 1, MSG_NOSIGNAL), sizeof(record) - 1);
	finish(&b);
	raw_close(&r);
	expect(&b, -EPROTO, "bad record MAC");
}

/* ---- last words ------------------------------------------------------------------- */

static void refuse(struct backup *b)
{
	struct wire_refuse m = {.code = WIRE_BUSY, .text = "not now"};
	struct err *e = &b->e;
	struct frame f;
	struct wr w;

	b->rc = conn_recv(b->conn, &f, soon(), e);
	if (!b->rc)
		b->rc = conn_begin(b->conn, FRAME_REFUSE, FRAME_NO_EPOCH, &w, soon(), e);
	if (b->rc)
		return;
	wire_refuse_encode(&w, &m);
	b->rc = conn_end(b->conn, &w, e);
	if (!b->rc)
		b->rc = conn_finish(b->conn, soon(), e);
}

/* The primary sends on and on, and still reads why it was refused. */
static void last_word_arrives(void **state)
{
	struct conn_out out = {.type = FRAME_KEEPALIVE, .epoch = FRAME_NO_EPOCH};
	struct wire_refuse m;
	struct err e = ERR_INIT;
	struct backup b;
	struct conn *c;
	struct frame f;
	int rc = 0;

	start(&b, ctx_b, refuse);
	c = good_dial(&b);
	say_hello(c);
	for (int i = 0; i < 100000 && !rc; i++) {
		rc = conn_send(c, &out, soon(), &e);
		if (!rc)
			rc = conn_flush(c, soon(), &e);
		if (!rc && i > 10 && conn_wait(c, CONN_FRAME, 0, &e) == CONN_FRAME)
			break;
	}
	f = hear(c);
	assert_int_equal(f.h.type, FRAME_REFUSE);
	assert_int_equal(wire_refuse_decode(&f, &m, &e), 0);
	assert_string_equal(m.text, "not now");
	assert_int_equal(conn_recv(c, &f, soon(), &e), -ECONNRESET);
	conn_free(c);
	finish(&b);
	assert_int_equal(b.rc, 0);
}

/* What we must not send now is our mistake: said, and not sent. */
static void our_own_order(void **state)
{
	static const uint8_t bye[8] = {1};
	struct conn_out out = {
		.type = FRAME_BYE, .epoch = FRAME_NO_EPOCH, .payload = bye, .size = sizeof(bye)};
	struct err e = ERR_INIT;
	struct backup b;
	struct conn *c;

	start(&b, ctx_b, idle);
	c = good_dial(&b);
	assert_int_equal(conn_send(c, &out, soon(), &e), -EINVAL);
	assert_non_null(strstr(e.text, "our own mistake"));
	say_hello(c);
	conn_free(c);
	finish(&b);
	expect(&b, -ECONNRESET, "closed");
}

static void nobody_listens(void **state)
{
	struct conn_conf conf = {.tls = ctx_a, .wake_fd = -1, .handshake_deadline_ns = soon()};
	struct err e = ERR_INIT;
	struct conn *c;
	uint16_t port;

	close(loopback_listener(&port));
	assert_int_equal(conn_connect(&c, "127.0.0.1", port, &conf, &e), -ECONNREFUSED);
	assert_non_null(strstr(e.text, "connect to 127.0.0.1:"));
	assert_int_equal(conn_connect(&c, "", port, &conf, &e), -EHOSTUNREACH);
	conn_free(NULL);
}

/* The tests before this one have filled sockets, so __wrap_tls_write() has had something to look at. */
static void retried_in_place(void **state)
{
	assert_true(retries > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_session),	    cmocka_unit_test(last_word_to_one_who_resets),
		cmocka_unit_test(both_send),	    cmocka_unit_test(deadlines_and_wake),
		cmocka_unit_test(wake_amid_data),   cmocka_unit_test(blocked_flush),
		cmocka_unit_test(gone_peer),	    cmocka_unit_test(not_tls),
		cmocka_unit_test(silent_peer),	    cmocka_unit_test(wrong_certificates),
		cmocka_unit_test(foreign_clients),  cmocka_unit_test(bad_frames),
		cmocka_unit_test(changed_record),   cmocka_unit_test(last_word_arrives),
		cmocka_unit_test(our_own_order),    cmocka_unit_test(nobody_listens),
		cmocka_unit_test(retried_in_place),
	};

	return cmocka_run_group_tests_name("conn", tests, set_up, tear_down);
}
