/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is there somebody who answers? The frames of a drill's default probe: hears which address the copy has, answers its questions
 * for neighbours (nobody else is there to do it), asks it by ARP and by ICMP echo. Nothing is configured for it, no address is
 * taken. Pure: what comes is a guest's and may be anything.
 */
#ifndef REPLICATOR_DRILL_PING_H
#define REPLICATOR_DRILL_PING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

#define DRILL_PING_MAX_MACS 8
#define DRILL_PING_FRAME 64

struct drill_ping {
	uint8_t mac[6]; /* ours */
	unsigned int n_guests;
	uint8_t guest[DRILL_PING_MAX_MACS][6];

	bool has_address;
	uint8_t address[4]; /* the guest's */
	uint8_t at[6];	    /* ... and which of its interfaces has it */
	bool has_source;
	uint8_t source[4]; /* whom we play: a neighbour that it has asked for */
	uint16_t id;
	uint16_t seq;
	bool asks_arp;	      /* what the next question is */
	const char *answered; /* "ping", "arp"; NULL: not yet */
};

void drill_ping_init(struct drill_ping *p, const uint8_t mac[6], uint16_t id);
/* A further interface of the guest's; more than there is room for are not asked. */
void drill_ping_guest(struct drill_ping *p, const uint8_t mac[6]);

/* A frame has come. Returns the size of the answer to be sent, which is in reply; 0: none. */
size_t drill_ping_hear(struct drill_ping *p, const uint8_t *frame, size_t size,
		       uint8_t reply[DRILL_PING_FRAME]);

/* The next question into frame; its size, or 0 as long as no address is known. */
size_t drill_ping_ask(struct drill_ping *p, uint8_t frame[DRILL_PING_FRAME]);

/* "192.0.2.7"; empty while it is not known. */
void drill_ping_address(const struct drill_ping *p, char text[16]);

#endif
