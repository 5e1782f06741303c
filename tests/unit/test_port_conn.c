/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both ends of a disk port over a socketpair, in one thread. */
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/mem.h"
#include "lib/port_conn.h"

struct pair {
	struct port_conn *worker;
	struct port_conn *server;
};

static int set_up(void **state)
{
	static struct pair p;
	struct err e = ERR_INIT;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(port_conn_new_take(&p.worker, fd[0], PORT_WORKER, &e), 0);
	assert_int_equal(port_conn_new_take(&p.server, fd[1], PORT_SERVER, &e), 0);
	*state = &p;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *p = *state;

	port_conn_free(p->worker);
	port_conn_free(p->server);
	return 0;
}

static void there_and_back(void **state)
{
	struct pair *p = *state;
	struct err e = ERR_INIT;
	struct frame f;

	assert_int_equal(port_conn_recv(p->server, &f, &e), -EAGAIN);
	assert_int_equal(port_conn_send(p->worker, PORT_COMMIT, 1, NULL, 0, &e), 0);
	assert_int_equal(port_conn_send(p->worker, PORT_COMMIT, 2, NULL, 0, &e), 0);
	assert_true(port_conn_sent(p->worker));
	for (uint64_t n = 1; n <= 2; n++) {
		assert_int_equal(port_conn_recv(p->server, &f, &e), 0);
		assert_int_equal(f.h.type, PORT_COMMIT);
		assert_int_equal(f.h.epoch, n);
		assert_int_equal(f.h.length, 0);
	}
	assert_int_equal(port_conn_recv(p->server, &f, &e), -EAGAIN);
	assert_int_equal(port_conn_send(p->server, PORT_ERROR, FRAME_NO_EPOCH, "bad", 3, &e), 0);
	assert_int_equal(port_conn_recv(p->worker, &f, &e), 0);
	assert_memory_equal(f.payload, "bad", 3);
}

/* Fills socket and buffer until there is no room, then reads all of it: in order, none lost, none twice. */
static void bounded(void **state)
{
	static uint8_t data[300000];
	struct pair *p = *state;
	struct err e = ERR_INIT;
	unsigned int sent = 0, seen = 0;
	bool full = false;

	while (seen < 200) {
		struct frame f;
		int rc = 0;

		while (sent < 200 && !rc) {
			memset(data, (int)sent, sizeof(data));
			rc = port_conn_send(p->worker, FRAME_DISK_DATA, sent, data,
					    100000 + sent * 1000, &e);
			sent += !rc;
		}
		assert_true(!rc || rc == -EAGAIN);
		full |= rc == -EAGAIN;
		assert_true(!full || sent == 200 || port_conn_events(p->worker) & POLLOUT);
		while ((rc = port_conn_recv(p->server, &f, &e)) == 0) {
			assert_int_equal(f.h.epoch, seen);
			assert_int_equal(f.h.length, 100000 + seen * 1000);
			assert_int_equal(f.payload[0], seen % 256);
			assert_int_equal(f.payload[f.h.length - 1], seen % 256);
			seen++;
		}
		assert_int_equal(rc, -EAGAIN);
		assert_int_equal(port_conn_flush(p->worker, &e), 0);
	}
	assert_true(full);
	assert_int_equal(sent, 200);
}

/* A descriptor arrives with its own message, whatever waited before it. */
static void descriptor(void **state)
{
	static uint8_t data[900000];
	struct pair *p = *state;
	struct err e = ERR_INIT;
	struct frame f;
	int ends[2], fd;
	char c;

	assert_int_equal(pipe(ends), 0);
	while (port_conn_sent(p->worker))
		assert_int_equal(
			port_conn_send(p->worker, FRAME_DISK_DATA, 1, data, sizeof(data), &e), 0);
	port_conn_attach_fd(p->worker, ends[1]);
	assert_int_equal(port_conn_send(p->worker, PORT_COMMIT, 5, NULL, 0, &e), 0);
	do {
		assert_int_equal(port_conn_flush(p->worker, &e), 0);
		if (port_conn_recv(p->server, &f, &e) < 0)
			f.h.type = 0;
	} while (f.h.type != PORT_COMMIT);
	fd = port_conn_take_fd(p->server);
	assert_true(fd >= 0);
	assert_int_equal(port_conn_take_fd(p->server), -1);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(ends[0], &c, 1), 1);
	close(fd);
	close(ends[0]);
	close(ends[1]);
}

static void the_end(void **state)
{
	struct pair *p = *state;
	struct err e = ERR_INIT;
	struct frame f;

	/* The last word is read, though nothing can be sent any more. */
	assert_int_equal(port_conn_send(p->server, PORT_DROPPED, FRAME_NO_EPOCH, "why", 3, &e), 0);
	port_conn_free(p->server);
	p->server = NULL;
	assert_int_equal(port_conn_send(p->worker, PORT_COMMIT, 1, NULL, 0, &e), -EPIPE);
	assert_int_equal(port_conn_recv(p->worker, &f, &e), 0);
	assert_int_equal(f.h.type, PORT_DROPPED);
	assert_int_equal(port_conn_recv(p->worker, &f, &e), -ECONNRESET);
	assert_int_equal(port_conn_recv(p->worker, &f, &e), -ECONNRESET);
	assert_int_equal(port_conn_events(p->worker), 0);
}

static void rubbish(void **state)
{
	struct pair *p = *state;
	struct err e = ERR_INIT;
	struct frame f;

	assert_int_equal(write(port_conn_fd(p->worker), "GET / HTTP/1.1\r\n\r\n........", 26), 26);
	assert_int_equal(port_conn_recv(p->server, &f, &e), -EPROTO);
	assert_int_equal(port_conn_recv(p->server, &f, &e), -EPROTO);
	/* Not a worker's word. */
	assert_int_equal(port_conn_send(p->server, PORT_COMMIT, 1, NULL, 0, &e), 0);
	assert_int_equal(port_conn_recv(p->worker, &f, &e), -EPROTO);
}

static void nobody_listens(void **state)
{
	struct err e = ERR_INIT;
	struct port_conn *c;
	char path[200];

	assert_int_equal(port_conn_connect(&c, "/nonexistent/x.port", &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nonexistent/x.port"));
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_int_equal(port_conn_connect(&c, path, &e), -ENAMETOOLONG);
}

static void no_memory(void **state)
{
	for (long n = 0; n < 3; n++) {
		struct port_conn *c;
		struct err e = ERR_INIT;
		int fd[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		mem_fail_after(n);
		assert_int_equal(port_conn_new_take(&c, fd[0], PORT_WORKER, &e), -ENOMEM);
		mem_fail_after(MEM_NEVER);
		assert_null(c);
		/* It was taken: closed. */
		assert_int_equal(write(fd[0], "x", 1), -1);
		close(fd[1]);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(there_and_back),
		TEST(bounded),
		TEST(descriptor),
		TEST(the_end),
		TEST(rubbish),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests_name("port_conn", tests, NULL, NULL);
}
