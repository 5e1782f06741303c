/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of a disk port: whole messages (disk_port.h) over a unix stream socket that never blocks. Both ends
 * use it, each in one thread. Nothing is allocated after port_conn_new_take(); what is sent waits in a buffer of a fixed size, and
 * who finds no room there comes back when the socket has taken some of it.
 *
 * Any error but -EAGAIN breaks the direction that it was met in for good, and all later calls return it again: -ECONNRESET (the other side ended it),
 * -EPROTO, -EMSGSIZE, -EBADMSG (it does not keep to the protocol), or the socket's error.
 */
#ifndef LIB_PORT_CONN_H
#define LIB_PORT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/disk_port.h"
#include "lib/wr.h"

struct err;
struct port_conn;

/*
 * fd becomes the port's, in any case, and non-blocking. side: ours. The caller owns *out. -ENOMEM. SIGPIPE is never raised.
 */
MUST_CHECK int port_conn_new_take(struct port_conn **out, int fd, enum port_side side,
				  struct err *e);
/* Connects to the socket at path, for which nobody has to wait: a server listens or it does not. */
MUST_CHECK int port_conn_connect(struct port_conn **out, const char *path, struct err *e);
/* What was not sent is lost. NULL is a no-op. */
void port_conn_free(struct port_conn *c);

int port_conn_fd(const struct port_conn *c);
/* POLLIN and POLLOUT as they are wanted now; 0 when it is broken. */
short port_conn_events(const struct port_conn *c);

/*
 * The next whole message. 0: *f, whose payload is the port's until the next call. -EAGAIN: none yet. Reads the socket as far as
 * needed, so a loop until -EAGAIN misses nothing.
 */
MUST_CHECK int port_conn_recv(struct port_conn *c, struct frame *f, struct err *e);
/* The descriptor that came with a message received so far, the caller's now; -1: none. One is kept, others are closed. */
int port_conn_take_fd(struct port_conn *c);

/*
 * begin: room for a payload of up to size bytes, which the caller writes into *w; end: it is a message, and is sent as far as the
 * socket takes it. -EAGAIN from begin: no room; nothing has begun. Between the two nothing else is called.
 */
MUST_CHECK int port_conn_begin(struct port_conn *c, size_t size, struct wr *w, struct err *e);
MUST_CHECK int port_conn_end(struct port_conn *c, unsigned int type, uint64_t epoch,
			     const struct wr *w, struct err *e);
/* The same for a payload that lies somewhere; NULL and 0: none. */
MUST_CHECK int port_conn_send(struct port_conn *c, unsigned int type, uint64_t epoch,
			      const void *payload, size_t size, struct err *e);
/* fd goes with the next message that is begun; borrowed until port_conn_sent(). */
void port_conn_attach_fd(struct port_conn *c, int fd);
/* Hands the socket what it takes. 0 or the error of the port. */
MUST_CHECK int port_conn_flush(struct port_conn *c, struct err *e);
/* Nothing waits to be sent. */
bool port_conn_sent(const struct port_conn *c);

#endif
