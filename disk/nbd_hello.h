/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD's fixed newstyle handshake, server side: one export, no TLS, no structured replies. Bytes in, bytes out, and
 * whether the transmission phase begins. Pure. Source: doc/proto.md of github.com/NetworkBlockDevice/nbd.
 *
 *	nbdhello_start(&h, &export);
 *	loop {	send h.out[0..h.out_used), set h.out_used = 0;
 *		have nbdhello_need(&h) bytes at p;
 *		next = nbdhello_step(&h, p); }
 */
#ifndef DISK_NBD_HELLO_H
#define DISK_NBD_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/nbd_wire.h"

/* The most that nbdhello_need() ever asks for: an option with a name of 4096 bytes and many requests for information. */
#define NBDHELLO_NEED_MAX 8192
#define NBDHELLO_OUT_SIZE 512
/* An option longer than this gets the client dropped; what is between is read past and refused. */
#define NBDHELLO_OPTION_MAX (UINT32_C(1) << 20)

enum nbdhello_next {
	NBDHELLO_MORE,	   /* go on */
	NBDHELLO_TRANSMIT, /* send what is in out; then requests come */
	NBDHELLO_CLOSE,	   /* send what is in out, and close */
};

enum nbdhello_state {
	NBDHELLO_FLAGS, /* the client's flags */
	NBDHELLO_HEADER,
	NBDHELLO_DATA,
	NBDHELLO_SKIP, /* the data of an option that was refused for its length */
};

struct nbdhello {
	const struct nbdwire_export *export; /* borrowed */
	enum nbdhello_state state;
	bool no_zeroes; /* the client wants no padding after EXPORT_NAME's answer */
	uint32_t option;
	uint32_t left; /* of the option's data */
	size_t out_used;
	uint8_t out[NBDHELLO_OUT_SIZE];
};

/* Puts the greeting into out. */
void nbdhello_start(struct nbdhello *h, const struct nbdwire_export *ex);
/* How many bytes the next step takes: 0 to NBDHELLO_NEED_MAX. */
size_t nbdhello_need(const struct nbdhello *h);
/* Takes exactly so many. out must have been sent: out_used 0. */
enum nbdhello_next nbdhello_step(struct nbdhello *h, const uint8_t *data);

#endif
