/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes of a connection, and the unix socket. */
#include "tests/lib/block_world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

static int dial(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void greet(struct world *w)
{
	static const char hello[] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\3web";
	uint8_t got[18 + 10];

	bw_say(w, hello, sizeof(hello) - 1);
	bw_run(w);
	bw_hear(w, got, sizeof(got));
	assert_memory_equal(got, "NBDMAGIC", 8);
}

static void byte_by_byte(void **state)
{
	const struct nbdwire_request rq = {.type = NBDWIRE_WRITE, .cookie = 9, .len = 512};
	struct world *w = *state;

	nbdwire_request_encode(w->data, &rq);
	memset(w->data + NBDWIRE_REQUEST_SIZE, 0x5c, 512);
	for (size_t i = 0; i < NBDWIRE_REQUEST_SIZE + 512; i++) {
		assert_int_equal(w->disk.n, 0);
		bw_say(w, w->data + i, 1);
		bw_run(w);
	}
	bw_finish(w, 0, 0);
	bw_expect(w, 9, NBDWIRE_OK);
	assert_int_equal(w->disk.data[511], 0x5c);
}

static void all_at_once(void **state)
{
	struct nbdwire_request rq = {.type = NBDWIRE_WRITE, .len = 100 * 512};
	struct world *w = *state;
	uint8_t *p = w->data;

	for (uint64_t i = 0; i < 8; i++) {
		rq.cookie = i;
		rq.off = i * rq.len;
		nbdwire_request_encode(p, &rq);
		memset(p + NBDWIRE_REQUEST_SIZE, (int)i + 1, rq.len);
		p += NBDWIRE_REQUEST_SIZE + rq.len;
	}
	bw_say(w, w->data, (size_t)(p - w->data));
	bw_run(w);
	assert_int_equal(w->disk.n, 8);
	for (uint64_t i = 0; i < 8; i++) {
		bw_finish(w, 0, 0);
		bw_expect(w, i, NBDWIRE_OK);
		assert_int_equal(w->disk.data[i * rq.len], i + 1);
		assert_int_equal(w->disk.data[(i + 1) * rq.len - 1], i + 1);
	}
}

static void slow_reader(void **state)
{
	struct world *w = *state;

	for (uint32_t i = 0; i < FAKE_DISK_SIZE / 4; i++)
		memcpy(w->disk.data + i * 4, &i, 4);
	for (uint64_t i = 0; i < 8; i++)
		bw_ask(w, NBDWIRE_READ, i, i * MIB, MIB);
	while (w->disk.n)
		bw_finish(w, 0, 0);
	for (uint64_t i = 0; i < 8; i++) {
		bw_expect(w, i, NBDWIRE_OK);
		bw_hear(w, w->data, MIB);
		assert_memory_equal(w->data, w->disk.data + i * MIB, MIB);
	}
	assert_true(bw_is_silent(w));
}

static void refusals(void **state)
{
	struct world *w = *state;

	bw_ask(w, NBDWIRE_READ, 1, 1, 512);
	bw_expect(w, 1, NBDWIRE_EINVAL);
	bw_ask(w, NBDWIRE_READ, 2, FAKE_DISK_SIZE, 512);
	bw_expect(w, 2, NBDWIRE_EINVAL);
	bw_ask(w, 5, 3, 0, 512);
	bw_expect(w, 3, NBDWIRE_EINVAL);
	bw_ask(w, NBDWIRE_READ, 4, 0, BIG + 512);
	bw_expect(w, 4, NBDWIRE_EINVAL);
	/* Of a write the data comes all the same, and must not be taken for requests. */
	bw_ask_write(w, 5, 0, BIG + 512);
	bw_expect(w, 5, NBDWIRE_EINVAL);
	bw_ask_write(w, 6, FAKE_DISK_SIZE - 512, 1024);
	bw_expect(w, 6, NBDWIRE_ENOSPC);
	bw_ask_write(w, 7, 3, 512);
	bw_expect(w, 7, NBDWIRE_EINVAL);
	bw_ask(w, NBDWIRE_WRITE, 8, 0, 0);
	bw_expect(w, 8, NBDWIRE_EINVAL);
	assert_int_equal(w->disk.n, 0);
	assert_int_equal(w->admitted, 0);
	assert_int_equal(block_server_stats(w->server)->refused, 8);
	assert_int_equal(block_server_stats(w->server)->errors, 0);
	bw_ask(w, NBDWIRE_READ, 9, 0, 512);
	bw_finish(w, 0, 0);
	bw_expect(w, 9, NBDWIRE_OK);
}

static void nonsense(void **state)
{
	struct world *w = *state;

	memset(w->data, 'x', 64);
	bw_say(w, w->data, 64);
	bw_run(w);
	assert_true(bw_is_closed(w));
	assert_int_equal(w->gone, 1);
	assert_false(w->gone_asked);
	close(w->fd);
	bw_connect_kernel(w);
	bw_ask(w, NBDWIRE_WRITE, 1, 0, NBDWIRE_MAX_REFUSED + 1);
	assert_true(bw_is_closed(w));
	assert_int_equal(block_server_stats(w->server)->dropped, 2);
}

static void clients(void **state)
{
	static const char path[] = "/tmp/test_block_server.export";
	struct world *w = *state;
	int kernel = w->fd;
	int fd[BLOCK_MAX_CLIENTS + 1];
	struct err e = ERR_INIT;

	unlink(path);
	assert_int_equal(block_server_listen(w->server, path, &e), 0);
	for (int i = 0; i <= BLOCK_MAX_CLIENTS; i++) {
		fd[i] = dial(path);
		bw_run(w);
	}
	w->fd = fd[BLOCK_MAX_CLIENTS];
	assert_true(bw_is_closed(w));
	close(w->fd);
	for (int i = 0; i < BLOCK_MAX_CLIENTS; i++) {
		w->fd = fd[i];
		greet(w);
		bw_ask_write(w, (uint64_t)i, 0, 512); /* all the same block */
	}
	assert_int_equal(block_server_stats(w->server)->connections, BLOCK_MAX_CLIENTS + 1);
	for (int i = 0; i < BLOCK_MAX_CLIENTS; i++) {
		assert_int_equal(w->disk.n, 1);
		bw_finish(w, 0, 0);
		w->fd = fd[i];
		bw_expect(w, (uint64_t)i, NBDWIRE_OK);
		close(fd[i]);
		bw_run(w);
	}
	w->fd = dial(path); /* there is room again */
	bw_run(w);
	greet(w);
	bw_say(w, "garbage of more bytes than a request", 36);
	bw_run(w);
	assert_true(bw_is_closed(w));
	close(w->fd);
	w->fd = kernel;
	block_server_stop(w->server);
	assert_int_equal(access(path, F_OK), -1);
}

static void bad_sockets(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	char path[128];

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	assert_int_equal(block_server_listen(w->server, path, &e), -ENAMETOOLONG);
	assert_int_equal(block_server_listen(w->server, "/dev/null", &e), -EEXIST);
	assert_int_equal(block_server_listen(w->server, "/nonexistent/x", &e), -ENOENT);
}

static void no_memory_for_a_client(void **state)
{
	static const char path[] = "/tmp/test_block_server.export";
	struct world *w = *state;
	int kernel = w->fd;
	struct err e = ERR_INIT;

	assert_int_equal(block_server_listen(w->server, path, &e), 0);
	for (long n = 0; n < 4; n++) {
		w->fd = dial(path);
		mem_fail_after(n);
		bw_run(w);
		mem_fail_after(MEM_NEVER);
		assert_true(bw_is_closed(w));
		close(w->fd);
	}
	w->fd = dial(path);
	bw_run(w);
	greet(w);
	close(w->fd);
	w->fd = kernel;
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, bw_begin, bw_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(byte_by_byte), IN_WORLD(all_at_once),
		IN_WORLD(slow_reader),	IN_WORLD(refusals),
		IN_WORLD(nonsense),	IN_WORLD(clients),
		IN_WORLD(bad_sockets),	IN_WORLD(no_memory_for_a_client),
	};

	log_set_fd(-1);
	return RUN_TESTS("block_session", tests);
}
