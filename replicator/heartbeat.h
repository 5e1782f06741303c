/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread that only sends and receives heartbeats: its own UDP socket, its own timer, real-time
 * priority where the system lets it. It takes no lock, allocates nothing, logs nothing and waits
 * for nobody, so what it says is that the process lives, and what it hears is the truth about the
 * peer within a period. The datagram is drawn in docs/protocol.md.
 *
 * The functions below belong to the control thread unless they say otherwise.
 */
#ifndef REPLICATOR_HEARTBEAT_H
#define REPLICATOR_HEARTBEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/compiler.h"
#include "lib/tls.h"

struct err;
struct heartbeat;
struct queue;

#define HEARTBEAT_SIZE 88
#define HEARTBEAT_SESSION_SIZE 16
/* Of conn_export_key(): TLS_KEY_SIZE bytes of key, then the session id. */
#define HEARTBEAT_LABEL "EXPORTER-romulus-heartbeat"
#define HEARTBEAT_SECRET_SIZE (TLS_KEY_SIZE + HEARTBEAT_SESSION_SIZE)

/* The sender. */
enum heartbeat_side {
	HEARTBEAT_PRIMARY = 1,
	HEARTBEAT_BACKUP = 2,
};

#define HEARTBEAT_PROTECTED UINT32_C(1) /* the sender says "protected" */
#define HEARTBEAT_LEAVING UINT32_C(2)	/* the sender is about to end in order */
#define HEARTBEAT_FLAGS UINT32_C(3)

/* What the sender tells about itself. */
struct heartbeat_values {
	uint8_t state;	/* enum primary_state or backup_state */
	uint32_t flags; /* HEARTBEAT_* */
	uint64_t term;
	uint64_t epoch; /* primary: newest taken; backup: newest committed; EPOCH_NONE */
	uint64_t done;	/* pages of the first copy: so far, and in all */
	uint64_t total;
};

struct heartbeat_packet {
	enum heartbeat_side side;
	uint8_t session[HEARTBEAT_SESSION_SIZE];
	uint64_t seq; /* from 1 on, rising */
	struct heartbeat_values v;
};

/* Pure; any thread. */
void heartbeat_encode(uint8_t buf[HEARTBEAT_SIZE], const struct heartbeat_packet *p,
		      const struct tls_mac *mac);

enum heartbeat_verdict {
	HEARTBEAT_GOOD,
	HEARTBEAT_MALFORMED,   /* length, magic, version, reserved bytes, a field out of range */
	HEARTBEAT_BAD_SESSION, /* not of this connection, or our own side's */
	HEARTBEAT_BAD_MAC,
};

/*
 * Any bytes of the network. from: whose heartbeats are expected. Whether seq is new is the
 * caller's to see. *p is set only by HEARTBEAT_GOOD.
 */
MUST_CHECK enum heartbeat_verdict heartbeat_decode(const void *buf, size_t size,
						   enum heartbeat_side from,
						   const uint8_t session[HEARTBEAT_SESSION_SIZE],
						   const struct tls_mac *mac,
						   struct heartbeat_packet *p);

/* What the queue carries: a heartbeat that was good and new. */
struct heartbeat_msg {
	uint64_t at_ns; /* when it came to this host; CLOCK_BOOTTIME, never falls */
	uint64_t seq;
	struct heartbeat_values v;
};

struct heartbeat_conf {
	enum heartbeat_side side; /* ours */
	int fd;			  /* of heartbeat_socket(); borrowed until heartbeat_stop() */
	struct addr peer; /* where to send; size 0: to whoever sends us the first good one */
	uint8_t secret[HEARTBEAT_SECRET_SIZE];
	uint64_t period_ns;
	int priority;	     /* SCHED_FIFO, 1..99; 0: do not try */
	struct queue *queue; /* of struct heartbeat_msg; we put, the caller gets; borrowed */
	struct heartbeat_values first;
};

/*
 * A UDP socket at this address and the first free port of first..first+n-1 (first 0: any). *fd_out
 * is the caller's, the port is set in local. 0, -EADDRINUSE, ...
 */
MUST_CHECK int heartbeat_socket(struct addr *local, uint16_t first, uint16_t n, int *fd_out,
				struct err *e);

/* Starts the thread; the first heartbeat goes out at once when the peer's address is known. */
MUST_CHECK int heartbeat_start(struct heartbeat **out, const struct heartbeat_conf *conf,
			       struct err *e);
/* What the next heartbeats say. Never waits. */
void heartbeat_set(struct heartbeat *h, const struct heartbeat_values *v);
/* Any thread. The last good heartbeat, or 0 if none came yet; CLOCK_BOOTTIME. */
uint64_t heartbeat_last_heard(const struct heartbeat *h);

struct heartbeat_stats {
	bool realtime; /* SCHED_FIFO was granted */
	uint64_t sent;
	uint64_t send_failed;
	uint64_t received; /* good and new */
	uint64_t missed;   /* gaps in the peer's seq */
	uint64_t malformed;
	uint64_t bad_session;
	uint64_t bad_mac;
	uint64_t replayed;
	uint64_t dropped; /* our queue was full */
	uint64_t last_heard_ns;
	/* How much later than planned our own were sent, ns. */
	uint64_t late_p50_ns;
	uint64_t late_p99_ns;
	uint64_t late_max_ns;
};

/* Any thread; the fields are of about the same moment. */
void heartbeat_stats(const struct heartbeat *h, struct heartbeat_stats *out);

/* Ends the thread (it never waits for anything but the clock and us) and frees. NULL is a no-op. */
void heartbeat_stop(struct heartbeat *h);

#endif
