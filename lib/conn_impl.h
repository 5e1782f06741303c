/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What conn.c (frames both ways) and conn_open.c (from socket to session) share; nobody else. */
#ifndef LIB_CONN_IMPL_H
#define LIB_CONN_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/err.h"
#include "lib/frame.h"
#include "lib/wire_v1.h"

struct tls;

#define CONN_OUT_SIZE (FRAME_HEADER_SIZE + FRAME_MAX_PAYLOAD)
/* Twice the largest frame: one is handed out while the next arrives behind it. */
#define CONN_IN_SIZE (2 * (FRAME_HEADER_SIZE + FRAME_MAX_PAYLOAD))

struct conn {
	int fd;
	int wake_fd;
	struct tls *tls;
	enum frame_side side; /* ours */
	uint16_t version;
	struct wire_order order;
	uint64_t looked_ns; /* when the wake descriptor was looked at */

	/* Sending: out[out_start..out_end) waits for the socket. */
	uint8_t *out;
	size_t out_start;
	size_t out_end;
	uint64_t seq_out;
	short out_needs; /* POLL* that the last write waits for, 0: none */
	struct err out_err;
	bool begun;
	struct conn_out begun_as;

	/* Receiving: in[in_start..in_next) is handed out (if in_held), [in_next..in_end) came after. */
	uint8_t *in;
	size_t in_start;
	size_t in_next;
	size_t in_end;
	uint64_t seq_in;
	short in_needs;
	bool in_held;
	bool in_drained;   /* no whole frame is there, and neither TLS nor the socket had more */
	bool header_done;  /* that of the frame at in_next is in h */
	bool frame_ready;  /* all of it is there and checked */
	bool frames_ended; /* the peer broke the protocol: nothing more is looked at */
	struct frame_header h;
	struct err in_err;

	struct conn_info info;
};

/*
 * Waits for events on the socket (0: only for time), the wake descriptor and the deadline. 0: look
 * again; -ECANCELED, -ETIMEDOUT.
 */
MUST_CHECK int conn_poll__(struct conn *c, short events, uint64_t deadline_ns, struct err *e);

#endif
