/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A short TLS 1.3 connection of one question and one answer, as the client: every step waits at most until
 * the absolute deadline. lib/conn carries the link's frames in buffers of megabytes; this carries a few
 * hundred bytes. One thread. SIGPIPE must be ignored or blocked.
 */
#ifndef ARBITER_DIAL_H
#define ARBITER_DIAL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct dial;
struct err;
struct tls_ctx;

/* Resolves, connects (each address gets its share of the time), shakes hands. ctx is borrowed. */
MUST_CHECK int dial_open(struct dial **out, struct tls_ctx *ctx, const char *host, uint16_t port,
			 uint64_t deadline_ns, struct err *e);
/* NULL is a no-op. */
void dial_close(struct dial *d);
/* The name in the peer's certificate; owned by d. */
const char *dial_peer_name(const struct dial *d);

/* All of it. 0, -ETIMEDOUT, -ECONNRESET, ... */
MUST_CHECK int dial_write(struct dial *d, const void *buf, size_t size, uint64_t deadline_ns,
			  struct err *e);
/* Exactly size bytes. */
MUST_CHECK int dial_read(struct dial *d, void *buf, size_t size, uint64_t deadline_ns,
			 struct err *e);

#endif
