/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 48 bytes before every message of the link, and the table of message types: who may send
 * what, how long it may be. The layout is drawn in docs/protocol.md and the same in every version.
 * Pure; any thread. What the payloads mean is wire_v1.h's, how they travel is conn.h's.
 */
#ifndef LIB_FRAME_H
#define LIB_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define FRAME_HEADER_SIZE 48
/* No payload is longer, whatever its type. */
#define FRAME_MAX_PAYLOAD (((size_t)1 << 20) + ((size_t)64 << 10))
/* What conn_begin() offers for PAGES: small enough that the backup works while we encode. */
#define FRAME_PAGES_ROOM ((size_t)256 << 10)
/* The epoch field of a frame that belongs to none. Same value as EPOCH_NONE. */
#define FRAME_NO_EPOCH UINT64_MAX
/* The protocol versions that this program speaks. */
#define FRAME_VERSION_MIN 1
#define FRAME_VERSION_MAX 1

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_HELLO_OK = 2,
	FRAME_REFUSE = 3,
	FRAME_CONFIG = 4,
	FRAME_STATIC = 5,
	FRAME_COPY_ROUND = 6,
	FRAME_PAGES = 7,
	FRAME_STATE = 8,
	FRAME_EPOCH_END = 9,
	FRAME_ACK = 10,
	FRAME_TAKEOVER = 11,
	FRAME_BYE = 12,
	FRAME_BYE_OK = 13,
	FRAME_KEEPALIVE = 14,
	/* VMs with disks: wire_v1_disk.h. */
	FRAME_DISKS = 15,
	FRAME_DISKS_OK = 16,
	FRAME_DISK_HASH = 17,
	FRAME_DISK_WANT = 18,
	FRAME_DISK_DATA = 19,
	FRAME_DISK_END = 20,
	FRAME_DISK_PROGRESS = 21,
	FRAME_DISK_VERIFY = 22,
	FRAME_DISK_VERIFIED = 23,
	FRAME_HANDOVER = 24,
	/* In place of a session. */
	FRAME_ASK_FACTS = 25,
	FRAME_FACTS = 26,
	/* Of drills: wire_v1_drill.h. */
	FRAME_DRILL = 30,
	FRAME_DRILL_SAYS = 31,
};

/* The only flag: a receiver that does not know the type closes the connection. */
#define FRAME_MANDATORY UINT32_C(1)

/* As bits: frame_type_rule.from. */
enum frame_side {
	FRAME_PRIMARY = 1,
	FRAME_BACKUP = 2,
};

struct frame_header {
	uint16_t version;
	uint16_t type; /* enum frame_type, or one that we do not know and that is not mandatory */
	uint32_t flags;
	uint32_t length; /* of the payload, bytes */
	uint64_t seq;	 /* 1 for the first frame of a direction, then +1 each */
	uint64_t epoch;
	uint64_t digest; /* of the payload */
};

/* A received frame. */
struct frame {
	struct frame_header h;
	const uint8_t *payload; /* h.length bytes */
};

struct frame_rule {
	const char *name;
	unsigned int from; /* bits of enum frame_side */
	uint32_t min;	   /* payload, bytes */
	uint32_t max;
	bool mandatory; /* sent with FRAME_MANDATORY */
	bool has_epoch; /* else the epoch is FRAME_NO_EPOCH */
};

/* The rule of a type or NULL when it is unknown. */
const struct frame_rule *frame_rule(unsigned int type);
/* "PAGES", or "type 77" made in buf (16 bytes are enough). */
const char *frame_name(unsigned int type, char *buf, size_t size);

/*
 * Fills buf with the header of a frame of this type, sequence and epoch around the payload. The
 * caller keeps the rule of the type (our mistake otherwise: assert).
 */
void frame_encode(uint8_t buf[FRAME_HEADER_SIZE], const struct frame_header *h);
/* The header for a payload: everything but seq is filled in. */
struct frame_header frame_make(enum frame_type type, uint64_t epoch, const void *payload,
			       size_t size);

/*
 * Reads and checks a header by itself: magic, checksum, version, flags, lengths, and that this
 * sender may send this type. An unknown type passes unless it is mandatory: the receiver skips it
 * (frame_rule() is NULL). HELLO and REFUSE pass in any version. 0, -EPROTO, -EBADMSG (checksum) or
 * -EMSGSIZE (length), with a text.
 */
MUST_CHECK int frame_decode(const uint8_t buf[FRAME_HEADER_SIZE], enum frame_side from,
			    struct frame_header *h, struct err *e);

/* The sequence must be *last + 1; then *last is moved on. 0 or -EPROTO. */
MUST_CHECK int frame_check_seq(const struct frame_header *h, uint64_t *last, struct err *e);
/* The payload is what the sender had. 0 or -EBADMSG. */
MUST_CHECK int frame_check_payload(const struct frame_header *h, const void *payload,
				   struct err *e);

#endif
