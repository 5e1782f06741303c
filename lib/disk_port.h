/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk port: what a worker and the block server of a disk say to each other over a unix socket of their host
 * (docs/disk.md, "The disk port"). Pure; any thread.
 *
 * A message is a header of 24 bytes and a payload. What travels between the hosts (types of frame.h: DISK_DATA, DISK_END,
 * DISK_HASH, DISK_WANT, DISK_PROGRESS, DISK_VERIFY, DISK_VERIFIED) has the same payload here, with the disk's index as ROLE
 * gave it: a worker passes it on as it is. The types below stay on the host.
 *
 *	0               4       6       8               12              16
 *	+---------------+-------+-------+---------------+---------------+
 *	| "RMDP"        | type  |version| length        | 0             |
 *	+---------------+-------+-------+---------------+---------------+ 16
 *	| epoch                         | payload ...
 */
#ifndef LIB_DISK_PORT_H
#define LIB_DISK_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/frame.h"
#include "lib/names.h"
#include "lib/wire_v1_disk.h"

struct err;
struct rd;
struct wr;

#define PORT_HEADER_SIZE 24
#define PORT_MAX_PAYLOAD FRAME_MAX_PAYLOAD

enum port_type {
	PORT_ROLE =
		64, /* worker, first word: what I am. With the epoch word's descriptor when primary */
	PORT_STATE, /* server: its answer, and again whenever it changes */
	PORT_BEGIN, /* worker: a session begins with the header's epoch */
	PORT_ASK_END, /* worker at the primary: what did the epoch have? Answered by its DATA, then DISK_END */
	PORT_SYNCED,   /* server at the primary: with the header's epoch the peer has all */
	PORT_FILL,     /* server at the primary: how full its log is */
	PORT_HELD,     /* server at the backup: all of the epoch is here, and its numbers agree */
	PORT_COMMIT,   /* worker at the backup: the epoch is wanted */
	PORT_ACKED,    /* worker at the primary: the peer holds the epoch */
	PORT_ACTIVATE, /* worker at the backup: the guest runs here, from the header's epoch on */
	PORT_ACTIVE,   /* server: so it is, durably, and it serves */
	PORT_LEAVE,    /* worker: the session is over. Answered by STATE */
	PORT_DROPPED,  /* server at the primary: left the stream by itself; text */
	PORT_ERROR,    /* server: its disk failed; text */
	PORT_ALONE, /* worker at the primary: output is let out without the peer. Answered by STATE */
	PORT_DEPOSED,  /* worker at the primary: the peer runs the guest. Answered by STATE */
	PORT_VERIFY,   /* worker at the primary: compare the peer's copy. Answered by COMPARED */
	PORT_COMPARED, /* server at the primary: how far that is, now and then, and how it ended */
};

enum port_side {
	PORT_WORKER = 1,
	PORT_SERVER = 2,
};

struct port_header {
	uint16_t type; /* enum port_type, or one of the seven of frame.h */
	uint32_t length;
	uint64_t epoch; /* FRAME_NO_EPOCH where there is none */
};

/* The caller keeps the rule of the type (our mistake otherwise: assert). */
void port_header_encode(uint8_t buf[PORT_HEADER_SIZE], const struct port_header *h);
/* -EPROTO: no such message, or not this side's to send; -EMSGSIZE: no such length. */
MUST_CHECK int port_header_decode(const uint8_t buf[PORT_HEADER_SIZE], enum port_side from,
				  struct port_header *h, struct err *e);
/* "ROLE", "DISK_DATA", or "?". */
const char *port_name(unsigned int type);
/* A message as the decoders of wire_v1_disk.h take it; the payload is borrowed. */
struct frame port_frame(const struct port_header *h, const uint8_t *payload);

struct port_role {
	uint16_t index;	  /* of the disk in this VM, what DISK_* carry */
	uint8_t side;	  /* enum frame_side: what the worker is */
	uint8_t ack_mode; /* enum wire_ack_mode */
	uint64_t session; /* random, not 0 */
	char vm[NAME_SIZE];
};

/* Of STATE. */
#define PORT_DIRT UINT32_C(1) /* something may differ from the peer that `bitmap` counts for */
#define PORT_DIRT_KNOWN UINT32_C(2) /* ... and it is marked what; otherwise anything may */
#define PORT_IN_USE UINT32_C(4)	    /* a guest has it open here */

struct port_state {
	uint8_t state; /* enum journal_state (disk/journal_fmt.h): 1..6 */
	uint32_t flags;
	uint32_t block_size;
	uint64_t size;
	uint8_t uuid[WIRE_UUID_SIZE];
	struct wire_generations gen;
	uint64_t dirty_bytes;
	uint64_t applied; /* newest epoch of this session on the disk, FRAME_NO_EPOCH if none */
	uint32_t
		wants; /* DISK_WANT that come unasked after BEGIN with WIRE_PLAN_DIRTY, at the backup */
	char name[NAME_SIZE];
	char why[WIRE_TEXT_MAX + 1]; /* what is wrong, or empty */
};

struct port_begin {
	uint8_t plan;	    /* enum wire_disk_plan */
	uint8_t peer_state; /* enum wire_disk_state */
	struct wire_generations peer;
};

enum port_compared_state {
	PORT_COMPARING = 1,
	PORT_COMPARED_ALL,
	PORT_COMPARED_NOT, /* it could not begin, or the stream was left meanwhile */
};

struct port_compared {
	uint8_t state;	   /* enum port_compared_state */
	uint64_t pass;	   /* the number that VERIFY had, not 0 */
	uint64_t verified; /* bytes that were compared ... */
	uint64_t differed; /* ... of these, not equal ... */
	uint64_t
		busy; /* ... and that could not be: written again and again, or unreadable at the peer */
};

/* HELD: the acknowledgement has to wait until DISK_PROGRESS says that the epoch is durable. */
#define PORT_HELD_WAITS UINT32_C(1)

void port_role_encode(struct wr *w, const struct port_role *m);
void port_state_encode(struct wr *w, const struct port_state *m);
void port_begin_encode(struct wr *w, const struct port_begin *m);
/* FILL: 0 to 100; HELD: PORT_HELD_*; ACTIVATE: the generation, not 0. */
void port_fill_encode(struct wr *w, uint32_t percent);
void port_held_encode(struct wr *w, uint32_t flags);
void port_activate_encode(struct wr *w, uint64_t generation);
/* The number of the pass, not 0. */
void port_verify_encode(struct wr *w, uint64_t pass);
void port_compared_encode(struct wr *w, const struct port_compared *m);
/* DROPPED, ERROR: cut to what fits. */
void port_text_encode(struct wr *w, const char *text);

/* All: 0, or -EBADMSG with a text that names message and field. */
MUST_CHECK int port_role_decode(const struct frame *f, struct port_role *m, struct err *e);
MUST_CHECK int port_state_decode(const struct frame *f, struct port_state *m, struct err *e);
MUST_CHECK int port_begin_decode(const struct frame *f, struct port_begin *m, struct err *e);
MUST_CHECK int port_fill_decode(const struct frame *f, uint32_t *percent, struct err *e);
MUST_CHECK int port_held_decode(const struct frame *f, uint32_t *flags, struct err *e);
MUST_CHECK int port_activate_decode(const struct frame *f, uint64_t *generation, struct err *e);
MUST_CHECK int port_verify_decode(const struct frame *f, uint64_t *pass, struct err *e);
MUST_CHECK int port_compared_decode(const struct frame *f, struct port_compared *m, struct err *e);
MUST_CHECK int port_text_decode(const struct frame *f, char text[WIRE_TEXT_MAX + 1], struct err *e);

#endif
