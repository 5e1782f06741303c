/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_client SOCKET NAME: a client of romulus-disk --socket-only that also asks for what it must not get: libnbd where
 * it lets itself be used so, bare bytes where not. Says what was wrong; the last line is "checks=N wrong=N".
 * nbd_client --ask SOCKET WORD: one request of a control socket, and its answer.
 */
#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/compiler.h"

#define KIB(n) ((size_t)(n) << 10)
#define PARALLEL 64
#define GARBAGE 200

static const char *socket_path;
static const char *export_name;
static unsigned int checks;
static unsigned int wrong;

static void check(bool right, const char *what)
{
	checks++;
	if (right)
		return;
	wrong++;
	printf("wrong: %s (%s)\n", what, nbd_get_error() ? nbd_get_error() : "no error");
}

static struct nbd_handle *new_handle(void)
{
	struct nbd_handle *h = nbd_create();

	if (!h || nbd_set_export_name(h, export_name) < 0 || nbd_set_strict_mode(h, 0) < 0) {
		printf("libnbd: %s\n", nbd_get_error());
		exit(1);
	}
	return h;
}

static struct nbd_handle *dial(void)
{
	struct nbd_handle *h = new_handle();

	if (nbd_connect_unix(h, socket_path) < 0) {
		printf("connect: %s\n", nbd_get_error());
		exit(1);
	}
	return h;
}

static void hang_up(struct nbd_handle *h)
{
	check(nbd_shutdown(h, 0) == 0, "shutdown");
	nbd_close(h);
}

/* ---- what is offered ---- */

static void offers(void)
{
	struct nbd_handle *h = dial();
	int64_t block = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);

	check(nbd_get_size(h) > 0, "size");
	check(block == 512 || block == 4096, "minimum block");
	check(nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM) == 1 << 20, "maximum payload");
	check(nbd_can_flush(h) == 1 && nbd_can_fua(h) == 1, "flush and FUA");
	check(nbd_can_trim(h) == 1 && nbd_can_zero(h) == 1, "trim and zeroes");
	check(nbd_can_multi_conn(h) == 1, "several connections");
	check(nbd_is_read_only(h) == 0 && nbd_can_df(h) == 0 && nbd_can_fast_zero(h) == 0,
	      "nothing more");
	check(nbd_get_structured_replies_negotiated(h) == 0, "no structured replies");
	hang_up(h);
}

static int on_export(void *arg, const char *name, const char *description)
{
	*(bool *)arg |= !strcmp(name, export_name);
	return 0;
}

static void haggling(void)
{
	struct nbd_handle *h = new_handle();
	bool listed = false;
	nbd_list_callback cb = {.callback = on_export, .user_data = &listed};

	check(nbd_set_opt_mode(h, true) == 0, "opt mode");
	check(nbd_connect_unix(h, socket_path) == 0, "connect to haggle");
	check(nbd_opt_list(h, cb) == 1 && listed, "list");
	nbd_set_export_name(h, "nothing");
	check(nbd_opt_info(h) < 0, "no such export");
	nbd_set_export_name(h, ""); /* the default one */
	check(nbd_opt_info(h) == 0 && nbd_get_size(h) > 0, "info of the default");
	check(nbd_opt_go(h) == 0, "go");
	hang_up(h);
	h = new_handle();
	nbd_set_opt_mode(h, true);
	check(nbd_connect_unix(h, socket_path) == 0, "connect to abort");
	check(nbd_opt_abort(h) == 0, "abort");
	nbd_close(h);
}

/* ---- one request at a time ---- */

static bool is_all(struct nbd_handle *h, uint64_t off, size_t size, int fill)
{
	static uint8_t buf[KIB(1024)];

	memset(buf, ~fill, size);
	if (nbd_pread(h, buf, size, off, 0) < 0)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (buf[i] != (uint8_t)fill)
			return false;
	}
	return true;
}

static void plain_requests(void)
{
	static uint8_t buf[KIB(1024)];
	struct nbd_handle *h = dial();

	memset(buf, 0x11, sizeof(buf));
	check(nbd_pwrite(h, buf, sizeof(buf), 0, 0) == 0, "write");
	check(is_all(h, 0, sizeof(buf), 0x11), "read what was written");
	memset(buf, 0x22, sizeof(buf));
	check(nbd_pwrite(h, buf, KIB(4), KIB(8), LIBNBD_CMD_FLAG_FUA) == 0, "write with FUA");
	check(is_all(h, KIB(8), KIB(4), 0x22) && is_all(h, KIB(12), KIB(4), 0x11), "its bytes");
	check(nbd_flush(h, 0) == 0, "flush");
	check(nbd_zero(h, KIB(64), KIB(4), 0) == 0, "zero");
	check(nbd_zero(h, KIB(4), KIB(128), LIBNBD_CMD_FLAG_NO_HOLE | LIBNBD_CMD_FLAG_FUA) == 0,
	      "zero without a hole, with FUA");
	check(is_all(h, 0, KIB(4), 0x11) && is_all(h, KIB(4), KIB(64), 0), "zeroes");
	check(is_all(h, KIB(128), KIB(4), 0), "zeroes without a hole");
	check(nbd_trim(h, KIB(512), KIB(512), 0) == 0, "trim");
	check(nbd_trim(h, KIB(4), KIB(512), LIBNBD_CMD_FLAG_FUA) == 0, "trim with FUA");
	check(nbd_zero(h, 3 << 20, KIB(1024), 0) == 0, "zero more than the payload");
	hang_up(h);
}

static bool refused(int r, int error)
{
	return r < 0 && nbd_get_errno() == error;
}

static void refusals(void)
{
	static uint8_t buf[KIB(2048)];
	struct nbd_handle *h = dial();
	uint64_t size = (uint64_t)nbd_get_size(h);

	check(refused(nbd_pread(h, buf, 0, 0, 0), EINVAL), "read of nothing");
	check(refused(nbd_pwrite(h, buf, 0, 0, 0), EINVAL), "write of nothing");
	check(refused(nbd_trim(h, 0, 0, 0), EINVAL), "trim of nothing");
	check(refused(nbd_pread(h, buf, 512, 100, 0), EINVAL), "read askew");
	check(refused(nbd_pread(h, buf, 100, 0, 0), EINVAL), "read of a part");
	check(refused(nbd_pwrite(h, buf, 512, 1, 0), EINVAL), "write askew");
	check(refused(nbd_pwrite(h, buf, 513, 0, 0), EINVAL), "write of a part");
	check(refused(nbd_pread(h, buf, KIB(4), size, 0), EINVAL), "read beyond the end");
	check(refused(nbd_pwrite(h, buf, KIB(8), size - KIB(4), 0), ENOSPC), "write over the end");
	check(refused(nbd_zero(h, KIB(8), size - KIB(4), 0), ENOSPC), "zero over the end");
	check(refused(nbd_trim(h, KIB(8), size - KIB(4), 0), EINVAL), "trim over the end");
	check(refused(nbd_pread(h, buf, KIB(2048), 0, 0), EINVAL), "read of too much");
	check(refused(nbd_pwrite(h, buf, KIB(2048), 0, 0), EINVAL), "write of too much");
	check(refused(nbd_cache(h, KIB(4), 0, 0), EINVAL), "cache");
	check(nbd_pread(h, buf, KIB(4), 0, 0) == 0, "and it still serves");
	hang_up(h);
}

/* ---- many ---- */

static int on_done(void *arg, int *error)
{
	if (!*error)
		++*(unsigned int *)arg;
	return 1;
}

static void wait_for(struct nbd_handle *h)
{
	while (nbd_aio_in_flight(h) > 0) {
		if (nbd_poll(h, 10000) <= 0) {
			check(false, "no answer");
			return;
		}
	}
}

static void write_parallel(struct nbd_handle *h, uint8_t *buf, size_t size, size_t stride,
			   const char *what)
{
	unsigned int ok = 0;

	for (unsigned int i = 0; i < PARALLEL; i++) {
		nbd_completion_callback cb = {.callback = on_done, .user_data = &ok};

		memset(buf + i * size, (int)i + 1, size);
		if (nbd_aio_pwrite(h, buf + i * size, size, KIB(1024) + i * stride, cb, 0) < 0)
			check(false, "send a write");
	}
	wait_for(h);
	check(ok == PARALLEL, what);
}

static void parallel(void)
{
	static uint8_t buf[PARALLEL * KIB(64)];
	struct nbd_handle *h = dial();
	unsigned int ok = 0;
	bool same = true;

	write_parallel(h, buf, KIB(64), KIB(64), "64 writes at once");
	memset(buf, 0, sizeof(buf));
	for (unsigned int i = 0; i < PARALLEL; i++) {
		nbd_completion_callback cb = {.callback = on_done, .user_data = &ok};

		if (nbd_aio_pread(h, buf + i * KIB(64), KIB(64), KIB(1024) + i * KIB(64), cb, 0) <
		    0)
			check(false, "send a read");
	}
	wait_for(h);
	for (size_t i = 0; i < sizeof(buf); i++)
		same = same && buf[i] == i / KIB(64) + 1;
	check(ok == PARALLEL && same, "64 reads at once");
	/* One after the other in the order in which they came: the last one stays. */
	write_parallel(h, buf, KIB(64), 0, "64 writes of one block at once");
	check(is_all(h, KIB(1024), KIB(64), PARALLEL), "the last write stays");
	write_parallel(h, buf, KIB(64), KIB(4), "64 overlapping writes at once");
	for (unsigned int i = 0; i < PARALLEL; i++)
		check(is_all(h, KIB(1024) + i * KIB(4), KIB(4), (int)i + 1), "overlapping writes");
	hang_up(h);
}

static void connections(void)
{
	static uint8_t buf[KIB(4)];
	struct nbd_handle *h[8];

	for (unsigned int i = 0; i < ARRAY_SIZE(h); i++)
		h[i] = dial();
	for (unsigned int i = 0; i < ARRAY_SIZE(h); i++) {
		memset(buf, (int)i + 100, sizeof(buf));
		check(nbd_pwrite(h[i], buf, sizeof(buf), i * sizeof(buf), 0) == 0, "write of many");
	}
	check(nbd_flush(h[0], 0) == 0, "flush for all");
	for (unsigned int i = 0; i < ARRAY_SIZE(h); i++)
		check(is_all(h[7 - i], i * sizeof(buf), sizeof(buf), (int)i + 100),
		      "read what another wrote");
	for (unsigned int i = 0; i < ARRAY_SIZE(h); i++)
		hang_up(h[i]);
}

/* ---- bare bytes ---- */

static int dial_bare(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

/* Greets, and chooses the default export by EXPORT_NAME. */
static int enter(void)
{
	static const char hello[] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0";
	int fd = dial_bare(socket_path);
	char buf[28];

	/* The literal's own 0 is the last byte of the length. */
	check(send(fd, hello, sizeof(hello), MSG_NOSIGNAL) == sizeof(hello), "greet");
	check(recv(fd, buf, sizeof(buf), MSG_WAITALL) == sizeof(buf), "be greeted");
	return fd;
}

static void put_request(uint8_t buf[28], uint16_t type, uint64_t off, uint32_t len)
{
	const uint8_t head[] = {0x25, 0x60, 0x95, 0x13, 0, 0};

	memset(buf, 0, 28);
	memcpy(buf, head, sizeof(head));
	buf[7] = (uint8_t)type;
	for (int i = 0; i < 8; i++)
		buf[16 + i] = (uint8_t)(off >> (56 - 8 * i));
	for (int i = 0; i < 4; i++)
		buf[24 + i] = (uint8_t)(len >> (24 - 8 * i));
}

/* A client that dies: nothing of a write whose data did not all come may be seen. */
static void deaths(void)
{
	static uint8_t buf[28 + KIB(64)];
	static uint8_t old[KIB(64)];
	struct nbd_handle *h = dial();

	memset(old, 0x33, sizeof(old));
	check(nbd_pwrite(h, old, sizeof(old), 0, 0) == 0, "write before the deaths");
	for (size_t sent = 1; sent < sizeof(buf); sent += 4099) {
		int fd = enter();

		memset(buf, 0x44, sizeof(buf));
		put_request(buf, 1, 0, KIB(64));
		check(send(fd, buf, sent, MSG_NOSIGNAL) == (ssize_t)sent, "half a write");
		close(fd);
	}
	for (int i = 0; i < 16; i++) {
		int fd = enter();

		/* Answers that nobody takes. */
		for (int j = 0; j < 20; j++) {
			put_request(buf, 0, 0, KIB(64));
			check(send(fd, buf, 28, MSG_NOSIGNAL) == 28, "a read to be left");
		}
		close(fd);
	}
	check(is_all(h, 0, sizeof(old), 0x33), "half a write left nothing");
	hang_up(h);
}

static bool is_dropped(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[4096];
	ssize_t r;

	do {
		if (poll(&p, 1, 10000) <= 0)
			return false;
		r = recv(fd, buf, sizeof(buf), 0);
	} while (r > 0);
	return true;
}

static void garbage(void)
{
	static const uint8_t option[12] = "\0\0\0\3IHAVEOPT";
	static uint8_t buf[4096];
	struct nbd_handle *h;

	srand(1);
	for (int i = 0; i < GARBAGE; i++) {
		int fd = i % 2 ? enter() : dial_bare(socket_path);

		for (size_t j = 0; j < sizeof(buf); j++)
			buf[j] = (uint8_t)rand();
		if (i % 4 == 0)
			memcpy(buf, option, sizeof(option));
		/* It may hang up while we are talking. */
		(void)!send(fd, buf, sizeof(buf), MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		check(is_dropped(fd), "garbage is dropped");
		close(fd);
	}
	put_request(buf, 1, 0, UINT32_MAX);
	for (int i = 0; i < 2; i++) {
		int fd = enter();

		check(send(fd, buf, 28, MSG_NOSIGNAL) == 28, "a write of 4 GiB");
		check(is_dropped(fd), "a write of 4 GiB is dropped");
		close(fd);
	}
	h = dial();
	check(is_all(h, 0, KIB(64), 0x33), "garbage changed nothing");
	hang_up(h);
}

static int ask(const char *path, const char *word)
{
	int fd = dial_bare(path);
	char line[16384];
	ssize_t n = 0;
	ssize_t r;

	if (dprintf(fd, "%s\n", word) < 0 || shutdown(fd, SHUT_WR) < 0)
		return 1;
	while (n < (ssize_t)sizeof(line) &&
	       (r = recv(fd, line + n, sizeof(line) - (size_t)n, 0)) > 0)
		n += r;
	close(fd);
	fwrite(line, 1, (size_t)n, stdout);
	return n ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--ask"))
		return ask(argv[2], argv[3]);
	if (argc != 3) {
		fputs("usage: nbd_client SOCKET NAME\n       nbd_client --ask SOCKET WORD\n",
		      stderr);
		return 2;
	}
	socket_path = argv[1];
	export_name = argv[2];
	offers();
	haggling();
	plain_requests();
	refusals();
	parallel();
	connections();
	deaths();
	garbage();
	printf("checks=%u wrong=%u\n", checks, wrong);
	return wrong ? 1 : 0;
}
