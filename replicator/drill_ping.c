/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_ping.h. Numbers on the wire are big-endian here; the layouts are of RFC 826, 791, 792 and 5227. */
#include "replicator/drill_ping.h"

#include <stdio.h>
#include <string.h>

#include "lib/rd.h"
#include "lib/wr.h"

#define MIN_FRAME 60
#define TYPE_IP 0x0800
#define TYPE_ARP 0x0806
#define ARP_ASK 1
#define ARP_ANSWER 2
#define PROTOCOL_ICMP 1
#define ICMP_ANSWER 0
#define ICMP_ASK 8

static uint16_t rd_be16(struct rd *r)
{
	return __builtin_bswap16(rd_u16(r));
}

static void wr_be16(struct wr *w, uint16_t v)
{
	wr_u16(w, __builtin_bswap16(v));
}

void drill_ping_init(struct drill_ping *p, const uint8_t mac[6], uint16_t id)
{
	*p = (struct drill_ping){.id = id};
	memcpy(p->mac, mac, 6);
}

void drill_ping_guest(struct drill_ping *p, const uint8_t mac[6])
{
	if (p->n_guests < DRILL_PING_MAX_MACS)
		memcpy(p->guest[p->n_guests++], mac, 6);
}

static bool is_guests(const struct drill_ping *p, const uint8_t mac[6])
{
	for (unsigned int i = 0; i < p->n_guests; i++)
		if (memcmp(p->guest[i], mac, 6) == 0)
			return true;
	return false;
}

/* That one host may have: not nobody's, not a loop's, not a group's. */
static bool is_somebodys(const uint8_t ip[4])
{
	return ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
}

static void learn(struct drill_ping *p, const uint8_t mac[6], const uint8_t ip[4])
{
	if (p->has_address || !is_somebodys(ip))
		return;
	memcpy(p->address, ip, 4);
	memcpy(p->at, mac, 6);
	p->has_address = true;
}

/* ---- what we say ---------------------------------------------------------------- */

static size_t put_arp(const struct drill_ping *p, uint8_t *frame, uint16_t what,
		      const uint8_t to[6], const uint8_t from_ip[4], const uint8_t to_ip[4])
{
	struct wr w = wr_init(frame, DRILL_PING_FRAME);

	wr_bytes(&w, to, 6);
	wr_bytes(&w, p->mac, 6);
	wr_be16(&w, TYPE_ARP);
	wr_be16(&w, 1);
	wr_be16(&w, TYPE_IP);
	wr_u8(&w, 6);
	wr_u8(&w, 4);
	wr_be16(&w, what);
	wr_bytes(&w, p->mac, 6);
	wr_bytes(&w, from_ip, 4);
	wr_bytes(&w, to, 6);
	wr_bytes(&w, to_ip, 4);
	wr_zero(&w, MIN_FRAME - wr_used(&w));
	assert(wr_ok(&w));
	return MIN_FRAME;
}

static uint16_t checksum(const uint8_t *data, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void set_be16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static size_t put_echo(struct drill_ping *p, uint8_t *frame)
{
	struct wr w = wr_init(frame, DRILL_PING_FRAME);
	uint8_t *ip = frame + 14;
	uint8_t *icmp = ip + 20;

	wr_bytes(&w, p->at, 6);
	wr_bytes(&w, p->mac, 6);
	wr_be16(&w, TYPE_IP);
	wr_be16(&w, 0x4500);
	wr_be16(&w, 28);
	wr_be16(&w, p->seq);
	wr_be16(&w, 0);
	wr_u8(&w, 64);
	wr_u8(&w, PROTOCOL_ICMP);
	wr_be16(&w, 0);
	wr_bytes(&w, p->source, 4);
	wr_bytes(&w, p->address, 4);
	wr_u8(&w, ICMP_ASK);
	wr_zero(&w, 3);
	wr_be16(&w, p->id);
	wr_be16(&w, p->seq);
	wr_zero(&w, MIN_FRAME - wr_used(&w));
	assert(wr_ok(&w));
	set_be16(ip + 10, checksum(ip, 20));
	set_be16(icmp + 2, checksum(icmp, 8));
	p->seq++;
	return MIN_FRAME;
}

size_t drill_ping_ask(struct drill_ping *p, uint8_t frame[DRILL_PING_FRAME])
{
	static const uint8_t nobody[4];

	if (!p->has_address)
		return 0;
	if (!p->has_source) {
		/* A neighbour: in all nets but the smallest one that differs in its last bit is one. */
		memcpy(p->source, p->address, 4);
		p->source[3] ^= 1;
	}
	p->asks_arp = !p->asks_arp;
	/* As one asks who wants to know whether an address is free: no neighbour's entry is made of it. */
	return p->asks_arp ? put_arp(p, frame, ARP_ASK, p->at, nobody, p->address)
			   : put_echo(p, frame);
}

/* ---- what we hear ---------------------------------------------------------------- */

static size_t hear_arp(struct drill_ping *p, struct rd *r, const uint8_t from[6], uint8_t *reply)
{
	uint8_t sender[6], sender_ip[4], target[6], target_ip[4];
	uint16_t what;

	if (rd_be16(r) != 1 || rd_be16(r) != TYPE_IP || rd_u8(r) != 6 || rd_u8(r) != 4)
		return 0;
	what = rd_be16(r);
	rd_bytes(r, sender, 6);
	rd_bytes(r, sender_ip, 4);
	rd_bytes(r, target, 6);
	rd_bytes(r, target_ip, 4);
	if (!rd_ok(r) || memcmp(sender, from, 6) != 0)
		return 0;
	learn(p, from, sender_ip);
	if (what == ARP_ANSWER && p->has_address && memcmp(sender_ip, p->address, 4) == 0 &&
	    memcmp(target, p->mac, 6) == 0 && !p->answered)
		p->answered = "arp";
	/* Its own address, which it announces, is no question. */
	if (what != ARP_ASK || memcmp(sender_ip, target_ip, 4) == 0 || !is_somebodys(target_ip) ||
	    !is_somebodys(sender_ip))
		return 0;
	memcpy(p->source, target_ip, 4);
	p->has_source = true;
	return put_arp(p, reply, ARP_ANSWER, from, target_ip, sender_ip);
}

static void hear_ip(struct drill_ping *p, struct rd *r, const uint8_t from[6])
{
	uint8_t version = rd_u8(r), protocol, src[4], dst[4];
	size_t options = (size_t)(version & 15) * 4;

	rd_skip(r, 8);
	protocol = rd_u8(r);
	rd_skip(r, 2);
	rd_bytes(r, src, 4);
	rd_bytes(r, dst, 4);
	if (!rd_ok(r) || version >> 4 != 4 || options < 20)
		return;
	learn(p, from, src);
	rd_skip(r, options - 20);
	if (protocol != PROTOCOL_ICMP || rd_u8(r) != ICMP_ANSWER)
		return;
	rd_skip(r, 3);
	if (rd_be16(r) != p->id || rd_be16(r) >= p->seq || !rd_ok(r))
		return;
	if (p->has_address && memcmp(src, p->address, 4) == 0)
		p->answered = "ping";
}

size_t drill_ping_hear(struct drill_ping *p, const uint8_t *frame, size_t size,
		       uint8_t reply[DRILL_PING_FRAME])
{
	struct rd r = rd_init(frame, size);
	uint8_t to[6], from[6];
	uint16_t type;

	rd_bytes(&r, to, 6);
	rd_bytes(&r, from, 6);
	type = rd_be16(&r);
	if (!rd_ok(&r) || !is_guests(p, from))
		return 0;
	if (type == TYPE_ARP)
		return hear_arp(p, &r, from, reply);
	if (type == TYPE_IP)
		hear_ip(p, &r, from);
	return 0;
}

void drill_ping_address(const struct drill_ping *p, char text[16])
{
	text[0] = '\0';
	if (p->has_address)
		snprintf(text, 16, "%u.%u.%u.%u", p->address[0], p->address[1], p->address[2],
			 p->address[3]);
}
