/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's end of a session: connect, HELLO, what the peer says. Data thread. */
#ifndef REPLICATOR_PRIMARY_LINK_H
#define REPLICATOR_PRIMARY_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/compiler.h"
#include "lib/conn.h"
#include "lib/wire_v1.h"
#include "replicator/primary_data.h"

struct wire_drill;
struct primary_ports;

struct primary_link {
	struct conn *conn;	     /* NULL: no session */
	struct primary_ports *disks; /* gets what the peer says of disks; NULL: the VM has none */
	uint64_t peer_term;
	struct addr heartbeat;
};

/*
 * Opens a session: TCP, TLS, the peer's name against the configured one, HELLO, its answer.
 * 0 with link->conn, and HELLO_OK was received. -EOWNERDEAD: the peer runs the VM, link->peer_term.
 * -EREMOTEIO: it refused, e has its text. Other errors: no session.
 */
MUST_CHECK int primary_link_open(struct primary_link *link, const struct pd_conf *conf,
				 const struct guest_info *guest, const struct pd_cmd *cmd,
				 int wake_fd, struct err *e);
void primary_link_close(struct primary_link *link);

/* CONFIG and STATIC, the head of a first copy. */
MUST_CHECK int primary_link_send_config(struct primary_link *link, const char *json, size_t size,
					const struct guest_static *st, uint64_t deadline_ns,
					struct err *e);
MUST_CHECK int primary_link_send_bye(struct primary_link *link, enum leave_reason reason,
				     uint64_t deadline_ns, struct err *e);

/* epoch: the newest one whose ACK was read. planned: no disk fails, the operator moves the VM. */
MUST_CHECK int primary_link_send_handover(struct primary_link *link, uint64_t epoch, bool planned,
					  uint64_t deadline_ns, struct err *e);
/* -EAGAIN: not in this phase of the session; nothing was sent. */
MUST_CHECK int primary_link_send_drill(struct primary_link *link, const struct wire_drill *m,
				       uint64_t deadline_ns, struct err *e);

/*
 * The next frame from the peer, without waiting: 1 and *msg filled (PD_ACK, PD_BYE_OK, PD_PEER_ACTIVATED
 * or PD_REFUSED), 0 when there is none, negative errno: the session is broken.
 */
MUST_CHECK int primary_link_read(struct primary_link *link, struct pd_msg *msg, struct err *e);

#endif
