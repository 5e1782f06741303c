/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of NBD's transmission phase with simple replies, server side. Pure. Source: "The NBD protocol",
 * doc/proto.md of github.com/NetworkBlockDevice/nbd; its names are in the comments. Big-endian, unlike all of ours.
 *
 *	request	 0  4  magic 0x25609513		reply	0  4  magic 0x67446698
 *		 4  2  flags				4  4  error
 *		 6  2  type				8  8  cookie
 *		 8  8  cookie				then the data of a READ that went well
 *		16  8  offset
 *		24  4  length
 *		then the data of a WRITE
 */
#ifndef DISK_NBD_WIRE_H
#define DISK_NBD_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"

#define NBDWIRE_REQUEST_SIZE 28
#define NBDWIRE_REPLY_SIZE 16

/* What one READ or WRITE may carry; told to clients as their maximum payload. */
#define NBDWIRE_MAX_PAYLOAD (UINT32_C(1) << 20)
/* A WRITE of more than our maximum is read and refused up to here; beyond, the client is dropped. */
#define NBDWIRE_MAX_REFUSED (UINT32_C(1) << 25)

/* NBD_CMD_* */
enum nbdwire_type {
	NBDWIRE_READ = 0,
	NBDWIRE_WRITE = 1,
	NBDWIRE_DISC = 2,
	NBDWIRE_FLUSH = 3,
	NBDWIRE_TRIM = 4,
	NBDWIRE_ZEROES = 6, /* NBD_CMD_WRITE_ZEROES */
};

/* NBD_CMD_FLAG_* */
#define NBDWIRE_FUA 0x0001
#define NBDWIRE_NO_HOLE 0x0002

/* Errors of a reply: the only numbers that the protocol knows. */
enum nbdwire_error {
	NBDWIRE_OK = 0,
	NBDWIRE_EPERM = 1,
	NBDWIRE_EIO = 5,
	NBDWIRE_ENOMEM = 12,
	NBDWIRE_EINVAL = 22,
	NBDWIRE_ENOSPC = 28,
	NBDWIRE_ESHUTDOWN = 108,
};

/* Transmission flags, NBD_FLAG_*: what we can. */
#define NBDWIRE_HAS_FLAGS 0x0001
#define NBDWIRE_SEND_FLUSH 0x0004
#define NBDWIRE_SEND_FUA 0x0008
#define NBDWIRE_SEND_TRIM 0x0020
#define NBDWIRE_SEND_ZEROES 0x0040
#define NBDWIRE_CAN_MULTI_CONN 0x0100
#define NBDWIRE_FLAGS                                                                    \
	(NBDWIRE_HAS_FLAGS | NBDWIRE_SEND_FLUSH | NBDWIRE_SEND_FUA | NBDWIRE_SEND_TRIM | \
	 NBDWIRE_SEND_ZEROES | NBDWIRE_CAN_MULTI_CONN)

/* What is served. */
struct nbdwire_export {
	char name[NAME_SIZE];
	uint64_t size;	/* bytes, multiple of block */
	uint32_t block; /* smallest unit and alignment, power of 2 from 512 to 65536 */
};

struct nbdwire_request {
	uint16_t flags;
	uint16_t type; /* enum nbdwire_type, or anything */
	uint64_t cookie;
	uint64_t off;
	uint32_t len;
};

/* -EBADMSG: not a request; nothing that follows can be understood. */
MUST_CHECK int nbdwire_request_decode(const uint8_t buf[NBDWIRE_REQUEST_SIZE],
				      struct nbdwire_request *rq);
void nbdwire_request_encode(uint8_t buf[NBDWIRE_REQUEST_SIZE], const struct nbdwire_request *rq);

/*
 * May it be carried out? NBDWIRE_OK: the type is one of the enum, the range is within the export, aligned and not
 * empty, a payload fits. Else what to answer; of a WRITE the data follows all the same (rq->len bytes).
 */
enum nbdwire_error nbdwire_check(const struct nbdwire_request *rq, const struct nbdwire_export *ex);
/* The client is not worth the bytes that would follow. */
bool nbdwire_is_hostile(const struct nbdwire_request *rq);

/* The error of a reply for the result of a disk: 0 or a negative errno. */
enum nbdwire_error nbdwire_error_of(int rc);

void nbdwire_reply_encode(uint8_t buf[NBDWIRE_REPLY_SIZE], uint64_t cookie,
			  enum nbdwire_error error);

#endif
