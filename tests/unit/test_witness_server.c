/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The witness's daemon without its main: over loopback with real certificates, under clients of all kinds. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arbiter/dial.h"
#include "arbiter/witness_client.h"
#include "arbiter/witness_server.h"
#include "arbiter/witness_store.h"
#include "arbiter/witness_wire.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "tests/lib/loopback.h"
#include "tests/lib/pki.h"

#define MAX_CONNECTIONS 8
#define TIMEOUT_NS (600 * NS_PER_MS)

static char dir[] = "/tmp/witness-srv-XXXXXX";
static struct pki *pki;
static uint16_t port;
static pid_t server;
static struct conf *conf; /* of host a; the witness is b */

static void serve(int listen_fd)
{
	struct witness_server_conf sc = {
		.listen_fd = listen_fd,
		.wake_fd = -1,
		.max_connections = MAX_CONNECTIONS,
		.timeout_ns = TIMEOUT_NS,
	};
	struct witness_server *s = NULL;
	struct err e = ERR_INIT;
	int rc;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(60);
	sc.tls = pki_ctx(pki, "ca", "b", false);
	rc = witness_store_open(dir, 100, &sc.store, &e);
	if (!rc)
		rc = witness_server_new(&sc, &s, &e);
	while (!rc)
		rc = witness_server_turn(s, CLOCK_NEVER, &e);
	_exit(1);
}

static int set_up(void **state)
{
	int fd = loopback_listener(&port);

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	server = fork();
	assert_true(server >= 0);
	if (!server)
		serve(fd);
	close(fd);
	conf->witness_port = port;
	return 0;
}

static int tear_down(void **state)
{
	int status;

	(void)kill(server, SIGKILL);
	assert_int_equal(waitpid(server, &status, 0), server);
	/* It was still there. */
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : -1;
}

static struct ballot question(enum ballot_op op, uint64_t term)
{
	struct ballot b = {.op = op, .term = term, .asker = "a", .peer = "c", .uuid = {1}};

	return b;
}

static const char *ask(enum ballot_op op, uint64_t term)
{
	static char line[VERDICT_LINE_SIZE];
	struct ballot b = question(op, term);
	struct verdict v;

	witness_client_ask(conf, &b, &v);
	return verdict_format(&v, line);
}

static int connected(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

/* The server closes it within a few of its timeouts. */
static void is_closed(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[512];
	ssize_t n = 1;

	while (n > 0) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		n = read(fd, buf, sizeof(buf));
	}
	assert_true(n == 0 || errno == ECONNRESET);
	close(fd);
}

static void answers(void **state)
{
	assert_string_equal(ask(BALLOT_LOOK, 0), "none");
	assert_string_equal(ask(BALLOT_JOIN, 1), "granted 1");
	assert_string_equal(ask(BALLOT_VOTE, 2), "granted 2");
	assert_string_equal(ask(BALLOT_JOIN, 1), "refused 2 a");
	assert_string_equal(ask(BALLOT_LOOK, 0), "held 2 a");
}

/* Not by a stranger, not without a certificate, not by a host that is not the witness. */
static void who_is_who(void **state)
{
	char good[64];
	struct verdict v;
	struct ballot b = question(BALLOT_LOOK, 0);

	snprintf(good, sizeof(good), "%s", conf->witness_name);
	snprintf(conf->witness_name, sizeof(conf->witness_name), "w");
	assert_non_null(strstr(ask(BALLOT_LOOK, 0), "it is b by its certificate"));
	snprintf(conf->witness_name, sizeof(conf->witness_name), "%s", good);
	snprintf(conf->host_name, sizeof(conf->host_name), "c");
	assert_non_null(strstr(ask(BALLOT_LOOK, 0), "is the certificate of a, this host is c"));
	/* One that another authority made: the witness does not take it. */
	snprintf(conf->host_name, sizeof(conf->host_name), "evil");
	snprintf(conf->tls_cert, sizeof(conf->tls_cert), "%s", pki_path(pki, "evil.pem"));
	snprintf(conf->tls_key, sizeof(conf->tls_key), "%s", pki_path(pki, "evil.key"));
	witness_client_ask(conf, &b, &v);
	assert_int_equal(v.kind, VERDICT_UNKNOWN);
	/* And the other way round: nor does a host take another's witness. */
	snprintf(conf->host_name, sizeof(conf->host_name), "a");
	snprintf(conf->tls_cert, sizeof(conf->tls_cert), "%s", pki_path(pki, "a.pem"));
	snprintf(conf->tls_key, sizeof(conf->tls_key), "%s", pki_path(pki, "a.key"));
	snprintf(conf->tls_ca, sizeof(conf->tls_ca), "%s", pki_path(pki, "other.pem"));
	witness_client_ask(conf, &b, &v);
	assert_int_equal(v.kind, VERDICT_UNKNOWN);
	snprintf(conf->tls_ca, sizeof(conf->tls_ca), "%s", pki_path(pki, "ca.pem"));
	b.peer[0] = 'b';
	witness_client_ask(conf, &b, &v);
	assert_string_equal(v.text, "b is the witness and cannot be a VM's host as well");
}

static void silent_ones_are_closed(void **state)
{
	int fd[MAX_CONNECTIONS / 2];
	uint64_t began = clock_now();

	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = connected();
	/* No more from one address. */
	is_closed(connected());
	assert_true(clock_now() - began < TIMEOUT_NS);
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		is_closed(fd[i]);
	assert_in_range((clock_now() - began) / NS_PER_MS, TIMEOUT_NS / NS_PER_MS, 5000);
	assert_string_equal(ask(BALLOT_JOIN, 3), "granted 3");
}

static void noise_is_closed(void **state)
{
	static const char noise[] = "GET / HTTP/1.1\r\n\r\n";
	int fd = connected();

	assert_int_equal(write(fd, noise, sizeof(noise)), sizeof(noise));
	is_closed(fd);
	assert_string_equal(ask(BALLOT_LOOK, 0), "held 3 a");
}

static struct dial *dialled(void)
{
	static struct tls_ctx *ctx;
	struct dial *d = NULL;
	struct err e = ERR_INIT;

	if (!ctx)
		ctx = pki_ctx(pki, "ca", "a", false);
	if (dial_open(&d, ctx, "127.0.0.1", port, clock_add(clock_now(), 10 * NS_PER_SEC), &e) < 0)
		fail_msg("%s", e.text);
	return d;
}

static int answer_to(const void *data, size_t size, size_t *got)
{
	uint64_t deadline = clock_add(clock_now(), 10 * NS_PER_SEC);
	uint8_t answer[WITNESS_ANSWER_SIZE];
	struct dial *d = dialled();
	int rc = dial_write(d, data, size, deadline, NULL);

	*got = 0;
	while (!rc && *got < sizeof(answer)) {
		rc = dial_read(d, answer + *got, 1, deadline, NULL);
		*got += !rc;
	}
	dial_close(d);
	return rc;
}

/* With a good certificate, but no question: too short, broken, or more than one. */
static void bad_questions(void **state)
{
	uint8_t buf[2 * WITNESS_ASK_SIZE + 8000];
	struct ballot b = question(BALLOT_LOOK, 0);
	size_t got;

	memset(buf, 0, sizeof(buf));
	witness_ask_encode(&b, buf);
	assert_int_equal(answer_to(buf, 50, &got), -ECONNRESET);
	assert_int_equal(got, 0);
	/* Much behind it: the one question is answered, the rest is not read for ever. */
	assert_int_equal(answer_to(buf, sizeof(buf), &got), 0);
	assert_int_equal(got, WITNESS_ANSWER_SIZE);
	buf[20] ^= 1;
	assert_int_equal(answer_to(buf, WITNESS_ASK_SIZE, &got), -ECONNRESET);
	assert_int_equal(got, 0);
	assert_string_equal(ask(BALLOT_LOOK, 0), "held 3 a");
}

/* Byte by byte is slow, but a question. */
static void a_slow_question(void **state)
{
	uint64_t deadline = clock_add(clock_now(), 10 * NS_PER_SEC);
	struct ballot b = question(BALLOT_LOOK, 0);
	uint8_t answer[WITNESS_ANSWER_SIZE];
	uint8_t buf[WITNESS_ASK_SIZE];
	struct dial *d = dialled();
	struct verdict v;

	witness_ask_encode(&b, buf);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(dial_write(d, buf + i, 1, deadline, NULL), 0);
	assert_int_equal(dial_read(d, answer, sizeof(answer), deadline, NULL), 0);
	assert_int_equal(witness_answer_decode(&b, &v, answer, NULL), 0);
	assert_int_equal(v.kind, VERDICT_HELD);
	dial_close(d);
}

/* One that accepts and says nothing, one that does not accept: the client's time is bounded. */
static void a_silent_witness(void **state)
{
	uint16_t good = port;
	uint64_t began;
	int fd = loopback_listener(&port);

	conf->witness_port = port;
	conf->arbiter_timeout_ns = 300 * NS_PER_MS;
	began = clock_now();
	assert_non_null(strstr(ask(BALLOT_LOOK, 0), "no answer in time"));
	assert_in_range((clock_now() - began) / NS_PER_MS, 300, 3000);
	close(fd);
	assert_non_null(strstr(ask(BALLOT_LOOK, 0), "Connection refused"));
	conf->arbiter_timeout_ns = 10 * NS_PER_SEC;
	port = good;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_is_who, set_up, tear_down),
		cmocka_unit_test_setup_teardown(silent_ones_are_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(noise_is_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_questions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_slow_question, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_silent_witness, set_up, tear_down),
	};
	char path[128];
	int rc;

	(void)signal(SIGPIPE, SIG_IGN);
	conf = mem_zalloc(sizeof(*conf));
	if (!conf || !mkdtemp(dir) || witness_store_init(dir, NULL) < 0)
		return 1;
	pki = pki_new();
	conf->arbiter_timeout_ns = 10 * NS_PER_SEC;
	snprintf(conf->host_name, sizeof(conf->host_name), "a");
	snprintf(conf->witness_name, sizeof(conf->witness_name), "b");
	snprintf(conf->witness_address, sizeof(conf->witness_address), "127.0.0.1");
	snprintf(conf->tls_ca, sizeof(conf->tls_ca), "%s", pki_path(pki, "ca.pem"));
	snprintf(conf->tls_cert, sizeof(conf->tls_cert), "%s", pki_path(pki, "a.pem"));
	snprintf(conf->tls_key, sizeof(conf->tls_key), "%s", pki_path(pki, "a.key"));
	rc = RUN_TESTS("witness_server", tests);
	pki_free(pki);
	snprintf(path, sizeof(path), "%s/witness", dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/01000000-0000-0000-0000-000000000000.grant", dir);
	(void)unlink(path);
	(void)rmdir(dir);
	mem_free(conf);
	return rc;
}
