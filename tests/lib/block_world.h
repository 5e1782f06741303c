/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block server on a disk in memory whose requests end when the test says, with the test for a client and for the
 * sink. For test_block_server and test_block_session.
 */
#ifndef TESTS_LIB_BLOCK_WORLD_H
#define TESTS_LIB_BLOCK_WORLD_H

#include "tests/lib/test.h"

#include <stdbool.h>

#include "disk/block_server.h"
#include "disk/write_sink.h"
#include "tests/lib/fake_disk.h"

#define MIB (UINT32_C(1) << 20)
#define BIG NBDWIRE_MAX_PAYLOAD
#define WITH_FUA(type) ((type) | NBDWIRE_FUA << 8)

struct world {
	struct fake_disk disk;
	struct block_server *server;
	int fd; /* the kernel's end */
	unsigned int gone;
	bool gone_asked;
	uint8_t *data;

	struct write_sink sink;
	bool full; /* admit says -EAGAIN */
	bool hold; /* done and read_failed say no */
	unsigned int admitted;
	unsigned int done;
	unsigned int open; /* between them */
	uint64_t order[512];
	struct write_req last;
	int last_rc;
};

/* A new socketpair; w->fd is the kernel's end. */
void bw_connect_kernel(struct world *w);
void bw_hang_up(struct world *w);
/* Setup and teardown of a test: one kernel connection, the sink set. */
int bw_begin(void **state);
int bw_end(void **state);
/* Until the server has nothing more to do. */
void bw_run(struct world *w);
void bw_say(struct world *w, const void *data, size_t size);
/* A request; WITH_FUA(type) sets the flag. */
void bw_ask(struct world *w, uint16_t type, uint64_t cookie, uint64_t off, uint32_t len);
/* A WRITE whose bytes are all the cookie. */
void bw_ask_write(struct world *w, uint64_t cookie, uint64_t off, uint32_t len);
/* The disk has done its request i. */
void bw_finish(struct world *w, unsigned int i, int rc);
bool bw_is_silent(const struct world *w);
bool bw_is_closed(const struct world *w);
/* So many bytes come. */
void bw_hear(struct world *w, void *buf, size_t size);
/* This answer comes. */
void bw_expect(struct world *w, uint64_t cookie, enum nbdwire_error error);

#endif
