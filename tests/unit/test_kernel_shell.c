/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's device on the loop, with the real block server and a disk in memory: what a guest sees when the kernel
 * loses patience, when the server is killed, and when somebody takes the device away.
 */
#include "tests/lib/fake_nbd.h"

#include <errno.h>
#include <linux/nbd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/block_server.h"
#include "disk/kernel_shell.h"
#include "lib/err.h"
#include "lib/log.h"
#include "tests/lib/fake_disk.h"

struct host {
	struct fake_disk disk;
	sd_event *loop;
	struct block_server *server;
	struct kernel_shell shell;
	int nbd_index;
	unsigned int gone;
	int gone_rc;
};

static void on_gone(void *arg, int rc)
{
	struct host *h = arg;

	h->gone++;
	h->gone_rc = rc;
}

static void on_kernel_gone(void *arg, bool asked)
{
	struct host *h = arg;

	kernel_shell_lost(&h->shell, asked);
}

static int on_server(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct host *h = arg;

	block_server_run(h->server);
	return 0;
}

static int try_start(struct host *h)
{
	const struct block_server_conf sc = {
		.blk = &h->disk.dev,
		.name = "web",
		.for_kernel = true,
		.kernel_gone = on_kernel_gone,
		.arg = h,
	};
	struct kernel_shell_conf kc = {
		.sys_block = fake_nbd.dir, .nbd_index = &h->nbd_index, .gone = on_gone, .arg = h};
	struct err e = ERR_INIT;
	char path[96];

	h->nbd_index = -1;
	snprintf(path, sizeof(path), "%s/web.nbd", fake_nbd.dir);
	assert_true(sd_event_new(&h->loop) >= 0);
	assert_int_equal(block_server_new(&sc, &h->server, &e), 0);
	assert_true(sd_event_add_io(h->loop, NULL, block_server_fd(h->server), POLLIN, on_server,
				    h) >= 0);
	kc.loop = h->loop;
	kc.server = h->server;
	kc.index_path = path;
	return kernel_shell_start(&h->shell, &kc, &e);
}

static void end(struct host *h)
{
	for (unsigned int i = 0; i < h->disk.n; i++) {
		if (!h->disk.ended[i])
			fake_disk_end(&h->disk, i, 0);
	}
	kernel_shell_fini(&h->shell);
	block_server_free(h->server);
	sd_event_unref(h->loop);
}

static int begin(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	*state = h;
	fake_nbd_set_up(NULL);
	fake_disk_init(&h->disk, BLOCK_DEPTH);
	return try_start(h);
}

static int finish(void **state)
{
	struct host *h = *state;

	end(h);
	fake_disk_fini(&h->disk);
	free(h);
	return fake_nbd_tear_down(NULL);
}

/* Runs the loop until the condition holds, ten seconds at most. */
#define RUN_UNTIL(h, cond)                                                     \
	do {                                                                   \
		bool holds__ = (cond);                                         \
		for (int tries__ = 0; !holds__ && tries__ < 1000; tries__++) { \
			assert_true(sd_event_run((h)->loop, 10000) >= 0);      \
			holds__ = (cond);                                      \
		}                                                              \
		assert_true(holds__);                                          \
	} while (0)

static int kernel_fd(void)
{
	return fake_nbd.device[0].fd;
}

static void ask(uint16_t type, uint64_t cookie, uint32_t len)
{
	const struct nbdwire_request rq = {.type = type, .cookie = cookie, .len = len};
	uint8_t buf[NBDWIRE_REQUEST_SIZE + 512] = {0};
	size_t size = NBDWIRE_REQUEST_SIZE + (type == NBDWIRE_WRITE ? len : 0);

	nbdwire_request_encode(buf, &rq);
	memset(buf + NBDWIRE_REQUEST_SIZE, 0x7a, 512);
	assert_int_equal(send(kernel_fd(), buf, size, MSG_NOSIGNAL), (ssize_t)size);
}

static bool is_answered(uint64_t cookie)
{
	uint8_t want[NBDWIRE_REPLY_SIZE];
	uint8_t got[NBDWIRE_REPLY_SIZE];

	nbdwire_reply_encode(want, cookie, NBDWIRE_OK);
	return recv(kernel_fd(), got, sizeof(got), MSG_DONTWAIT) == sizeof(got) &&
	       memcmp(want, got, sizeof(got)) == 0;
}

/* What the kernel does to a socket whose request took too long. */
static void lose_patience(void)
{
	fake_nbd.device[0].socket_dead = true;
	shutdown(kernel_fd(), SHUT_RDWR);
}

static void serves(void **state)
{
	struct host *h = *state;

	assert_int_equal(h->nbd_index, FAKE_NBD_FIRST);
	ask(NBDWIRE_WRITE, 1, 512);
	RUN_UNTIL(h, h->disk.n == 1);
	fake_disk_end(&h->disk, 0, 0);
	RUN_UNTIL(h, is_answered(1));
	assert_int_equal(h->disk.data[511], 0x7a);
}

/* The same write again over the new socket, behind the first one; nobody sees an error. */
static void the_kernel_loses_patience(void **state)
{
	struct host *h = *state;
	int requests = fake_nbd.requests;

	ask(NBDWIRE_WRITE, 1, 512);
	RUN_UNTIL(h, h->disk.n == 1);
	lose_patience();
	for (int i = 0; i < 5; i++)
		sd_event_run(h->loop, 10000);
	assert_int_equal(fake_nbd.requests, requests); /* the first is still on the disk */
	fake_disk_end(&h->disk, 0, 0);
	RUN_UNTIL(h, !fake_nbd.device[0].socket_dead);
	ask(NBDWIRE_WRITE, 1, 512);
	RUN_UNTIL(h, h->disk.n == 1);
	fake_disk_end(&h->disk, 0, 0);
	RUN_UNTIL(h, is_answered(1));
	assert_int_equal(h->gone, 0);
}

/* The kernel's answer is no, or it has not seen the death: again, and again. */
static void it_does_not_give_up(void **state)
{
	struct host *h = *state;
	int requests = fake_nbd.requests;

	fake_nbd.error = ENOMEM;
	lose_patience();
	RUN_UNTIL(h, fake_nbd.requests >= requests + 4);
	assert_int_equal(h->gone, 0);
	fake_nbd.error = 0;
	fake_nbd.device[0].socket_dead = false; /* as far as it knows */
	requests = fake_nbd.requests;
	RUN_UNTIL(h, fake_nbd.requests >= requests + 3);
	fake_nbd.device[0].socket_dead = true;
	RUN_UNTIL(h, !fake_nbd.device[0].socket_dead);
	ask(NBDWIRE_FLUSH, 3, 0);
	RUN_UNTIL(h, h->disk.n == 1);
	fake_disk_end(&h->disk, 0, 0);
	RUN_UNTIL(h, is_answered(3));
}

/* Killed with a write under way: the next process has the same device, and the write comes again. */
static void a_successor(void **state)
{
	struct host *h = *state;

	ask(NBDWIRE_WRITE, 1, 512);
	RUN_UNTIL(h, h->disk.n == 1);
	end(h);
	fake_nbd.device[0].socket_dead = true;
	assert_int_equal(try_start(h), 0);
	assert_int_equal(h->nbd_index, FAKE_NBD_FIRST);
	assert_false(fake_nbd.device[1].connected);
	ask(NBDWIRE_WRITE, 1, 512);
	RUN_UNTIL(h, h->disk.n == 1);
	fake_disk_end(&h->disk, 0, 0);
	RUN_UNTIL(h, is_answered(1));
}

static void taken_away(void **state)
{
	struct host *h = *state;

	ask(NBDWIRE_DISC, 0, 0);
	fake_nbd_disconnect(&fake_nbd.device[0]);
	RUN_UNTIL(h, h->gone == 1);
	assert_int_equal(h->gone_rc, -ENOTCONN);
	assert_int_equal(h->nbd_index, -1);
}

/* Its word for it did not come through. */
static void taken_away_silently(void **state)
{
	struct host *h = *state;

	fake_nbd_disconnect(&fake_nbd.device[0]);
	RUN_UNTIL(h, h->gone == 1);
	assert_int_equal(h->gone_rc, -ENOTCONN);
}

/* A guest has it open: it serves on, and ends when the kernel says so. */
static void let_go(void **state)
{
	struct host *h = *state;

	assert_true(kernel_shell_let_go(&h->shell) >= 0);
	assert_int_equal(fake_nbd.device[0].client_flags, NBD_CFLAG_DISCONNECT_ON_CLOSE);
	ask(NBDWIRE_FLUSH, 1, 0);
	RUN_UNTIL(h, h->disk.n == 1);
	fake_disk_end(&h->disk, 0, 0);
	RUN_UNTIL(h, is_answered(1));
	assert_int_equal(h->gone, 0);
	ask(NBDWIRE_DISC, 0, 0);
	fake_nbd_disconnect(&fake_nbd.device[0]);
	RUN_UNTIL(h, h->gone == 1);
	assert_int_equal(h->gone_rc, 0);
}

#define ON_HOST(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_HOST(serves),
		ON_HOST(the_kernel_loses_patience),
		ON_HOST(it_does_not_give_up),
		ON_HOST(a_successor),
		ON_HOST(taken_away),
		ON_HOST(taken_away_silently),
		ON_HOST(let_go),
	};

	log_set_fd(-1);
	return RUN_TESTS("kernel_shell", tests);
}
