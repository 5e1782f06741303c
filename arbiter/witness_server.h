/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serves the witness's questions: one connection, one question, one answer. Nothing of a connection is
 * unbounded: their number, those from one address, the time from accept to close, the bytes that are read.
 * Questions are answered one after the other, each with a wait for the disk; while it waits nobody else is
 * served. One thread, which must have SIGPIPE ignored or blocked.
 */
#ifndef ARBITER_WITNESS_SERVER_H
#define ARBITER_WITNESS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;
struct tls_ctx;
struct witness_server;
struct witness_store;

/* All borrowed; they outlive the server. */
struct witness_server_conf {
	int listen_fd; /* non-blocking */
	int wake_fd;   /* readable: witness_server_turn() says so; -1: none */
	struct tls_ctx *tls;
	struct witness_store *store;
	size_t max_connections;
	uint64_t timeout_ns;
};

/* 0 or -ENOMEM. */
MUST_CHECK int witness_server_new(const struct witness_server_conf *conf,
				  struct witness_server **out, struct err *e);
/* Closes every connection. NULL is a no-op. */
void witness_server_free(struct witness_server *s);

/*
 * Waits for something to do, at most until the deadline, and does it. 1: wake_fd is readable; 0; or a
 * negative errno of the system, after which it cannot go on.
 */
MUST_CHECK int witness_server_turn(struct witness_server *s, uint64_t deadline_ns, struct err *e);

#endif
