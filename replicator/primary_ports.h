/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disks of a VM at the primary: what passes between their servers and the link to the peer, in the order that the
 * epochs need (docs/protocol.md, "Who may send what, when"). Data thread; decides nothing.
 *
 *	primary_ports_begin()			DISKS; the answer comes by primary_ports_frame()
 *	primary_ports_pump()...			until every disk is in sync, and ever after
 *	primary_ports_ask_end(n)		after the resume of checkpoint n
 *	primary_ports_pump()...			until primary_ports_ended()
 *	primary_ports_epoch_over()		EPOCH_END(n) is on its way: what is of n+1 may pass
 *	primary_ports_leave()
 */
#ifndef REPLICATOR_PRIMARY_PORTS_H
#define REPLICATOR_PRIMARY_PORTS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/frame.h"
#include "replicator/disk_link.h"

struct conn;
struct err;
struct primary_ports;

enum primary_ports_news {
	PRIMARY_PORTS_SYNCED,	/* every one, once in a session */
	PRIMARY_PORTS_DROPPED,	/* one is not in the stream any more: text */
	PRIMARY_PORTS_ERROR,	/* one failed the guest: text */
	PRIMARY_PORTS_PRESSURE, /* one's log is half full: a checkpoint is wanted */
};

struct primary_ports_conf {
	struct disk_link_conf link;
	uint64_t open_timeout_ns;   /* until every server has answered */
	uint64_t answer_timeout_ns; /* until DISKS_OK has come */
	uint64_t send_timeout_ns;   /* of a frame */
	void (*tell)(void *arg, enum primary_ports_news news, const char *text);
	void *arg;
};

MUST_CHECK int primary_ports_new(struct primary_ports **out, const struct primary_ports_conf *conf,
				 struct err *e);
/* NULL is a no-op. */
void primary_ports_free(struct primary_ports *d);

/* What is told of each, for status. */
const struct disk_link *primary_ports_link(const struct primary_ports *d);
bool primary_ports_changed(struct primary_ports *d, unsigned int disk);
bool primary_ports_is_synced(const struct primary_ports *d, unsigned int disk);
uint64_t primary_ports_durable(const struct primary_ports *d, unsigned int disk);
uint64_t primary_ports_peer_free(const struct primary_ports *d, unsigned int disk);

/*
 * A session: connects to the servers anew, sends DISKS. After CONFIG and STATIC, may wait for the open timeout. 0; -ENODEV: a
 * disk cannot, with a text that names it; else the link is broken.
 */
MUST_CHECK int primary_ports_begin(struct primary_ports *d, struct conn *c, struct err *e);

/* A frame of the peer; those that are not of disks are ignored. 0, or negative: the peer broke the protocol. */
MUST_CHECK int primary_ports_frame(struct primary_ports *d, const struct frame *f, struct err *e);

/*
 * Passes on what there is, a bounded amount of it. c NULL: there is no link, what is for it stays where it is. 0, or the link's
 * error.
 */
MUST_CHECK int primary_ports_pump(struct primary_ports *d, struct conn *c, struct err *e);
/* There was more, or may be: do not wait before the next pump. */
bool primary_ports_more(const struct primary_ports *d);
/* When DISKS_OK is overdue, CLOCK_NEVER when it is not awaited. */
uint64_t primary_ports_deadline(const struct primary_ports *d);

/* Room for WIRE_MAX_DISKS. */
unsigned int primary_ports_poll(const struct primary_ports *d, struct pollfd *p);

/* In a session; every other time a no-op. */
void primary_ports_ask_end(struct primary_ports *d, uint64_t epoch);
bool primary_ports_ended(const struct primary_ports *d);
/* All of them are in the stream; a disk that is not will not end its epoch. */
bool primary_ports_whole(const struct primary_ports *d);
void primary_ports_epoch_over(struct primary_ports *d);
void primary_ports_acked(struct primary_ports *d, uint64_t epoch);
/* Every disk of the peer is to be compared with the one here; what comes of it: disk_link_compared(). Any time. */
void primary_ports_verify(struct primary_ports *d, uint64_t pass);
/* The session is over: the servers go on alone, what they still say of it is nobody's. */
void primary_ports_leave(struct primary_ports *d);

/*
 * The output is about to be opened: every disk makes a new generation. Waits for the servers until the deadline. 0,
 * or negative with a text that names what could not.
 */
MUST_CHECK int primary_ports_alone(struct primary_ports *d, uint64_t deadline_ns, struct err *e);
/* The same: the peer runs the guest, the copies here are OUTDATED. */
MUST_CHECK int primary_ports_deposed(struct primary_ports *d, uint64_t deadline_ns, struct err *e);

#endif
