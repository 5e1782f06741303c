/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connection of a worker as the two roles of a disk see it: what they say to it. All return 0, -EAGAIN when there is no
 * room (say it later), or the error of the port. The loop's thread.
 */
#ifndef DISK_PORT_LINK_H
#define DISK_PORT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/disk_port.h"
#include "lib/port_conn.h"

struct disk;
struct err;

struct port_link {
	struct port_conn *conn; /* NULL: nobody is there */
	bool mute; /* it does not listen any more: its last words are taken, and nothing is said */
	struct port_role role;	 /* index and session count only after ROLE */
	struct wire_disks disks; /* for the decoders: the disk at its index */
};

/* The role is known. */
void port_link_init(struct port_link *l, const struct port_role *role, const struct disk *d);

/* 0, 1 or more messages for the backup say what its own marks are: how many. */
uint32_t port_link_wants(const struct disk *d);
/* The nth of them. */
MUST_CHECK int port_link_want(struct port_link *l, const struct disk *d, uint32_t n, struct err *e);
MUST_CHECK int port_link_state(struct port_link *l, const struct disk *d, struct err *e);
MUST_CHECK int port_link_text(struct port_link *l, enum port_type type, const char *text,
			      struct err *e);
/* A message without payload. */
MUST_CHECK int port_link_say(struct port_link *l, enum port_type type, uint64_t epoch,
			     struct err *e);

#endif
