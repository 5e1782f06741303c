/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See block_world.h. */
#include "tests/lib/block_world.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/err.h"

static int on_admit(struct write_sink *s, const struct write_req *r)
{
	struct world *w = container_of(s, struct world, sink);

	if (w->full)
		return -EAGAIN;
	if (w->admitted < ARRAY_SIZE(w->order))
		w->order[w->admitted] = r->off;
	w->admitted++;
	w->open++;
	w->last = *r;
	return 0;
}

static bool on_done(struct write_sink *s, const struct write_req *r, int rc)
{
	struct world *w = container_of(s, struct world, sink);

	w->done++;
	w->open--;
	w->last_rc = rc;
	return !w->hold;
}

static bool on_read_failed(struct write_sink *s, uint64_t off, uint32_t len, int rc)
{
	struct world *w = container_of(s, struct world, sink);

	w->last_rc = rc;
	return !w->hold;
}

static const struct write_sink_ops sink_ops = {on_admit, on_done, on_read_failed};

static void on_gone(void *arg, bool asked)
{
	struct world *w = arg;

	w->gone++;
	w->gone_asked = asked;
}

void bw_connect_kernel(struct world *w)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(block_server_add_kernel_take(w->server, sv[1]), 0);
	w->fd = sv[0];
}

void bw_hang_up(struct world *w)
{
	close(w->fd);
	w->fd = -1;
}

int bw_begin(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct block_server_conf c = {
		.name = "web", .for_kernel = true, .kernel_gone = on_gone, .arg = w};
	struct err e = ERR_INIT;

	fake_disk_init(&w->disk, BLOCK_DEPTH);
	c.blk = &w->disk.dev;
	w->data = malloc(2 * BIG);
	w->sink.ops = &sink_ops;
	assert_int_equal(block_server_new(&c, &w->server, &e), 0);
	block_server_set_sink(w->server, &w->sink);
	bw_connect_kernel(w);
	*state = w;
	return 0;
}

int bw_end(void **state)
{
	struct world *w = *state;

	for (unsigned int i = 0; i < w->disk.n; i++) {
		if (!w->disk.ended[i])
			fake_disk_end(&w->disk, i, -EIO);
	}
	block_server_free(w->server);
	assert_int_equal(w->open, 0);
	assert_int_equal(w->disk.n, 0);
	fake_disk_fini(&w->disk);
	if (w->fd >= 0)
		close(w->fd);
	free(w->data);
	free(w);
	return 0;
}

void bw_run(struct world *w)
{
	struct pollfd p = {.fd = block_server_fd(w->server), .events = POLLIN};

	for (int i = 0; i < 1000; i++) {
		if (poll(&p, 1, 0) == 0)
			return;
		block_server_run(w->server);
	}
	fail_msg("the server spins");
}

void bw_say(struct world *w, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		ssize_t r = send(w->fd, p, size, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r < 0 && errno == EAGAIN) {
			bw_run(w);
			continue;
		}
		assert_true(r > 0);
		p += r;
		size -= (size_t)r;
	}
}

void bw_ask(struct world *w, uint16_t type, uint64_t cookie, uint64_t off, uint32_t len)
{
	const struct nbdwire_request rq = {
		.type = type & 0xff, .flags = type >> 8, .cookie = cookie, .off = off, .len = len};
	uint8_t buf[NBDWIRE_REQUEST_SIZE];

	nbdwire_request_encode(buf, &rq);
	bw_say(w, buf, sizeof(buf));
	bw_run(w);
}

void bw_ask_write(struct world *w, uint64_t cookie, uint64_t off, uint32_t len)
{
	bw_ask(w, NBDWIRE_WRITE, cookie, off, len);
	memset(w->data, (int)cookie, len);
	bw_say(w, w->data, len);
	bw_run(w);
}

void bw_finish(struct world *w, unsigned int i, int rc)
{
	fake_disk_end(&w->disk, i, rc);
	bw_run(w);
}

bool bw_is_silent(const struct world *w)
{
	char c;

	return recv(w->fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

bool bw_is_closed(const struct world *w)
{
	char c;

	return recv(w->fd, &c, 1, MSG_DONTWAIT) == 0;
}

void bw_hear(struct world *w, void *buf, size_t size)
{
	for (size_t got = 0; got < size;) {
		ssize_t r = recv(w->fd, (char *)buf + got, size - got, MSG_DONTWAIT);

		if (r < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = block_server_fd(w->server), .events = POLLIN};

			if (poll(&p, 1, 0) == 0)
				fail_msg("no answer");
			block_server_run(w->server);
			continue;
		}
		assert_true(r > 0);
		got += (size_t)r;
	}
}

void bw_expect(struct world *w, uint64_t cookie, enum nbdwire_error error)
{
	uint8_t want[NBDWIRE_REPLY_SIZE];
	uint8_t got[NBDWIRE_REPLY_SIZE];

	nbdwire_reply_encode(want, cookie, error);
	bw_hear(w, got, sizeof(got));
	assert_memory_equal(got, want, sizeof(want));
}
