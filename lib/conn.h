/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The link: one TCP connection with TLS 1.3 that carries frames. Used by one thread, the data
 * thread. Sending gathers frames in a fixed buffer and waits only when that is full or in
 * conn_flush(); whoever waits to send also takes in what comes, so two sides that both send cannot
 * block each other. After set-up nothing of ours is allocated; OpenSSL 3.0 takes and gives back a few
 * dozen bytes for each record of 16 KiB that it makes itself (not with kernel TLS).
 *
 * Deadlines are absolute CLOCK_BOOTTIME nanoseconds. Every wait also looks at the wake descriptor:
 * when that is readable (it is not drained here) the call ends with -ECANCELED, and the connection
 * is as before: the call may be repeated. So it is with -ETIMEDOUT. Any other error breaks the
 * connection for good, and all later calls return it again:
 *
 *	-ECONNRESET	the peer or the network ended it
 *	-EPROTO, -EBADMSG, -EMSGSIZE	the peer broke the protocol
 *	-EKEYREJECTED	certificates
 *
 * The calling thread gets SIGPIPE blocked by conn_connect() and conn_accept_take().
 */
#ifndef LIB_CONN_H
#define LIB_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/compiler.h"
#include "lib/frame.h"
#include "lib/names.h"
#include "lib/wr.h"

struct conn;
struct err;
struct tls_ctx;

struct conn_conf {
	struct tls_ctx *tls; /* borrowed, outlives the connection */
	int wake_fd;	     /* borrowed; -1: none */
	uint64_t handshake_deadline_ns;
	uint32_t
		user_timeout_ms; /* TCP gives up on unacknowledged bytes; 0: the kernel's default */
	uint32_t socket_buffer;	 /* bytes each way; 0: 4 MiB */
};

/*
 * As the primary: resolve, connect, handshake. The peer's certificate is checked against our CA;
 * that its name may be a peer of ours is the caller's to check (conn_peer_name()). 0 and the
 * caller owns *out, or an error as above, -EHOSTUNREACH, -ECONNREFUSED, ...
 */
MUST_CHECK int conn_connect(struct conn **out, const char *host, uint16_t port,
			    const struct conn_conf *conf, struct err *e);
/* As the backup, on an accepted socket. fd is taken, also on an error. */
MUST_CHECK int conn_accept_take(struct conn **out, int fd, const struct conn_conf *conf,
				struct err *e);
/* Closes at once; what was not flushed is lost. NULL is a no-op. */
void conn_free(struct conn *c);
/*
 * For a last word that must arrive (REFUSE, TAKEOVER, BYE_OK): flush, say goodbye, then drop what
 * comes until the peer closes too, or resets. 0, or the error that was met; conn_free() comes after it.
 */
MUST_CHECK int conn_finish(struct conn *c, uint64_t deadline_ns, struct err *e);

/* The name in the peer's certificate (name_ok()); lives as long as c. */
const char *conn_peer_name(const struct conn *c);
void conn_peer_addr(const struct conn *c, struct addr *out);
void conn_local_addr(const struct conn *c, struct addr *out);
/* See tls_export_key(). */
MUST_CHECK int conn_export_key(struct conn *c, const char *label, uint8_t *out, size_t size,
			       struct err *e);
/* What HELLO_OK settled; FRAME_VERSION_MIN until then. */
void conn_set_version(struct conn *c, uint16_t version);

/*
 * Sending in place: begin waits for room, the caller writes the payload into *w (which has room for
 * the longest of that type, FRAME_PAGES_ROOM for PAGES), end makes it a frame. Nothing else is
 * called on c between them but conn_cancel(), which forgets it.
 */
MUST_CHECK int conn_begin(struct conn *c, enum frame_type type, uint64_t epoch, struct wr *w,
			  uint64_t deadline_ns, struct err *e);
/* Never waits; pushes when much has gathered. *w must be ok and keep the type's rule: our mistake. */
MUST_CHECK int conn_end(struct conn *c, const struct wr *w, struct err *e);
void conn_cancel(struct conn *c);

/* A frame whose payload lies ready. The bytes are copied. */
struct conn_out {
	enum frame_type type;
	uint64_t epoch; /* FRAME_NO_EPOCH where the type has none */
	const void *payload;
	size_t size;
};

MUST_CHECK int conn_send(struct conn *c, const struct conn_out *out, uint64_t deadline_ns,
			 struct err *e);
/* Until the kernel has all of it. */
MUST_CHECK int conn_flush(struct conn *c, uint64_t deadline_ns, struct err *e);

/*
 * The next frame, checked: header, sequence, payload, and that it may come now from this sender
 * (wire_order_check(): callers need not do that again, nor for what they send). Frames of unknown types that may be skipped are. out->payload is valid
 * until the next conn_recv(). A deadline of 0 asks without waiting: -ETIMEDOUT when there is none.
 * After sending has failed, this still gives what came before: perhaps the peer's last word.
 */
MUST_CHECK int conn_recv(struct conn *c, struct frame *out, uint64_t deadline_ns, struct err *e);

/* What to wait for, and what came. */
#define CONN_FRAME 1u /* conn_recv() will not wait */
#define CONN_SENT 2u  /* nothing is left to flush */

/*
 * Waits until one of the wanted holds, moving bytes both ways meanwhile. Returns those that hold
 * (> 0) or an error.
 */
MUST_CHECK int conn_wait(struct conn *c, unsigned int want, uint64_t deadline_ns, struct err *e);

/*
 * For a loop of the caller's own around poll(): when conn_ready() has CONN_FRAME, call conn_recv();
 * bytes that were read already are not seen by poll(). Else poll this descriptor for these events,
 * then call conn_recv() or conn_wait().
 */
int conn_fd(const struct conn *c);
short conn_events(const struct conn *c);
/*
 * CONN_*, without looking at the socket. CONN_FRAME may be said for nothing, until conn_recv() has
 * said -ETIMEDOUT; it is also said when conn_recv() has an error to tell.
 */
unsigned int conn_ready(const struct conn *c);

struct conn_info {
	char peer_name[NAME_SIZE];
	char peer_addr[ADDR_TEXT_SIZE];
	char cipher[48];
	bool ktls_send;
	bool ktls_recv;
	uint64_t bytes_sent; /* framed, before TLS */
	uint64_t bytes_received;
	uint64_t frames_sent;
	uint64_t frames_received;
	uint64_t frames_skipped; /* of unknown types */
};

void conn_info(const struct conn *c, struct conn_info *info);

#endif
