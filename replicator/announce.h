/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells the LAN where a guest is after activation: switches learn its MAC address from a RARP frame
 * (understood by any switch, wanted by no host), hosts its IPv4 address from a gratuitous ARP when it is
 * known. The guest's own announcement can be lost and needs a working guest; this one does not.
 *
 * Frames go out of every port of the bridge but the guest's, six times in half a second. Nothing waits:
 * the control thread calls announce_step() at announce_deadline(). The frame builders are pure.
 */
#ifndef REPLICATOR_ANNOUNCE_H
#define REPLICATOR_ANNOUNCE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct announce;
struct err;

#define ANNOUNCE_FRAME_SIZE 60 /* the shortest Ethernet frame, without its checksum */
#define ANNOUNCE_ROUNDS 6      /* at 0, 50, 150, 250, 350 and 450 ms */
#define ANNOUNCE_MAX_MACS 8
#define ANNOUNCE_MAX_PORTS 256 /* of one bridge; further ones are left out */

/* mac: 6 bytes. */
void announce_rarp(uint8_t frame[ANNOUNCE_FRAME_SIZE], const uint8_t *mac);
/* ip: 4 bytes. */
void announce_garp(uint8_t frame[ANNOUNCE_FRAME_SIZE], const uint8_t *mac, const uint8_t *ip);

MUST_CHECK int announce_new(struct announce **out, struct err *e);
/*
 * One interface of the guest; ip (4 bytes) may be NULL. Without a bridge there is nobody to tell: 0.
 * -ENOSPC after ANNOUNCE_MAX_MACS; -EINVAL for a name that cannot be one.
 */
MUST_CHECK int announce_add(struct announce *a, const char *vif, const char *bridge,
			    const uint8_t *mac, const uint8_t *ip, struct err *e);
/* The first round is due now. */
void announce_start(struct announce *a, uint64_t now);
/* CLOCK_NEVER when all rounds are through or none was started. */
uint64_t announce_deadline(const struct announce *a);
/*
 * Sends the rounds that are due; late ones are not made up for. The number of frames sent, or the first
 * negative errno when none could be.
 */
MUST_CHECK int announce_step(struct announce *a, uint64_t now, struct err *e);
/* NULL is a no-op. */
void announce_free(struct announce *a);

#endif
