/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See announce.h. */
#include "replicator/announce.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/wr.h"

#define ARP_HARDWARE_ETHERNET 1
#define ARP_REQUEST 1
#define RARP_REQUEST 3

static const uint16_t round_ms[] = {0, 50, 150, 250, 350, 450};
static_assert(ARRAY_SIZE(round_ms) == ANNOUNCE_ROUNDS, "as the header says");

struct announce_nic {
	char vif[IF_NAMESIZE];
	char bridge[IF_NAMESIZE];
	bool has_ip;
	uint8_t rarp[ANNOUNCE_FRAME_SIZE];
	uint8_t garp[ANNOUNCE_FRAME_SIZE];
};

struct announce {
	int fd;
	unsigned int n_nics;
	struct announce_nic nic[ANNOUNCE_MAX_MACS];
	unsigned int round; /* the next one; ANNOUNCE_ROUNDS: none */
	uint64_t start;
};

/* ---- frames ---------------------------------------------------------------- */

/* Field by field in network order; ARP and RARP are built alike (RFC 826, RFC 903). */
static void arp_frame(uint8_t *frame, uint16_t ethertype, uint16_t operation, const uint8_t *mac,
		      const uint8_t *ip)
{
	static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};
	static const uint8_t nobody[6];
	bool reverse = ethertype == ETHERTYPE_REVARP;
	struct wr w = wr_init(frame, ANNOUNCE_FRAME_SIZE);

	wr_bytes(&w, everybody, 6);
	wr_bytes(&w, mac, 6);
	wr_u16(&w, __builtin_bswap16(ethertype));
	wr_u16(&w, __builtin_bswap16(ARP_HARDWARE_ETHERNET));
	wr_u16(&w, __builtin_bswap16(ETHERTYPE_IP));
	wr_u8(&w, 6);
	wr_u8(&w, 4);
	wr_u16(&w, __builtin_bswap16(operation));
	wr_bytes(&w, mac, 6);
	wr_bytes(&w, ip, 4);
	wr_bytes(&w, reverse ? mac : nobody, 6);
	wr_bytes(&w, ip, 4);
	wr_zero(&w, wr_left(&w));
	assert(wr_ok(&w));
}

void announce_rarp(uint8_t frame[ANNOUNCE_FRAME_SIZE], const uint8_t *mac)
{
	static const uint8_t unknown[4];

	arp_frame(frame, ETHERTYPE_REVARP, RARP_REQUEST, mac, unknown);
}

void announce_garp(uint8_t frame[ANNOUNCE_FRAME_SIZE], const uint8_t *mac, const uint8_t *ip)
{
	arp_frame(frame, ETHERTYPE_ARP, ARP_REQUEST, mac, ip);
}

/* ---- set-up ---------------------------------------------------------------- */

int announce_new(struct announce **out, struct err *e)
{
	struct announce *a = mem_zalloc(sizeof(*a));

	if (!a)
		return err_set(e, -ENOMEM, "announcement");
	/* Protocol 0: it hears nothing. */
	a->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0) {
		mem_free(a);
		return err_set(e, -errno, "packet socket");
	}
	a->round = ANNOUNCE_ROUNDS;
	*out = a;
	return 0;
}

void announce_free(struct announce *a)
{
	if (!a)
		return;
	close(a->fd);
	mem_free(a);
}

/* What the kernel allows as a device's name. */
static bool ifname_ok(const char *name)
{
	size_t len = strnlen(name, IF_NAMESIZE);

	return len && len < IF_NAMESIZE && name[0] != '.' && !strpbrk(name, "/: \t\n");
}

int announce_add(struct announce *a, const char *vif, const char *bridge, const uint8_t *mac,
		 const uint8_t *ip, struct err *e)
{
	struct announce_nic *nic = &a->nic[a->n_nics];

	if (!bridge || !*bridge)
		return 0;
	if (!ifname_ok(vif) || !ifname_ok(bridge))
		return err_setx(e, -EINVAL, "'%.20s' on '%.20s' is no interface", vif, bridge);
	if (a->n_nics == ANNOUNCE_MAX_MACS)
		return err_setx(e, -ENOSPC, "more than %d interfaces to announce",
				ANNOUNCE_MAX_MACS);
	memcpy(nic->vif, vif, strlen(vif) + 1);
	memcpy(nic->bridge, bridge, strlen(bridge) + 1);
	announce_rarp(nic->rarp, mac);
	nic->has_ip = ip;
	if (ip)
		announce_garp(nic->garp, mac, ip);
	a->n_nics++;
	return 0;
}

void announce_start(struct announce *a, uint64_t now)
{
	a->start = now;
	a->round = a->n_nics ? 0 : ANNOUNCE_ROUNDS;
}

uint64_t announce_deadline(const struct announce *a)
{
	if (a->round >= ANNOUNCE_ROUNDS)
		return CLOCK_NEVER;
	return clock_add(a->start, round_ms[a->round] * NS_PER_MS);
}

/* ---- sending --------------------------------------------------------------- */

struct tally {
	int sent;
	int error;
};

static void send_frame(const struct announce *a, const uint8_t *frame, unsigned int ifindex,
		       struct tally *t)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)ifindex,
		.sll_halen = 6,
	};

	memset(to.sll_addr, 255, 6);
	if (sendto(a->fd, frame, ANNOUNCE_FRAME_SIZE, MSG_DONTWAIT, (struct sockaddr *)&to,
		   sizeof(to)) == ANNOUNCE_FRAME_SIZE)
		t->sent++;
	else if (!t->error)
		t->error = -errno;
}

static void send_port(const struct announce *a, const struct announce_nic *nic, const char *port,
		      struct tally *t)
{
	unsigned int ifindex = if_nametoindex(port);

	if (!ifindex)
		return; /* gone since */
	send_frame(a, nic->rarp, ifindex, t);
	if (nic->has_ip)
		send_frame(a, nic->garp, ifindex, t);
}

/*
 * The bridge of this host may still believe that the guest is behind a port to the outside, and would
 * drop what comes in there for it, until the guest itself sends. So that port forgets what it learned.
 */
static void forget_port(const char *port)
{
	char path[64];
	autofd fd = -1;

	snprintf(path, sizeof(path), "/sys/class/net/%.15s/brport/flush", port);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "1", 1);
}

static void send_bridge(const struct announce *a, const struct announce_nic *nic, bool first,
			struct tally *t)
{
	char path[64];
	struct dirent *d;
	unsigned int ports = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/class/net/%.15s/brif", nic->bridge);
	dir = opendir(path);
	if (!dir) {
		/* Not a bridge of the kernel's: its owner floods what is sent on it. */
		send_port(a, nic, nic->bridge, t);
		return;
	}
	while ((d = readdir(dir)) && ports < ANNOUNCE_MAX_PORTS) {
		if (d->d_name[0] == '.' || !ifname_ok(d->d_name) ||
		    strcmp(d->d_name, nic->vif) == 0)
			continue;
		ports++;
		if (first && strncmp(d->d_name, "vif", 3) != 0)
			forget_port(d->d_name);
		send_port(a, nic, d->d_name, t);
	}
	closedir(dir);
}

int announce_step(struct announce *a, uint64_t now, struct err *e)
{
	struct tally t = {.sent = 0};
	bool first = a->round == 0;

	if (now < announce_deadline(a))
		return 0;
	for (unsigned int i = 0; i < a->n_nics; i++)
		send_bridge(a, &a->nic[i], first, &t);
	while (now >= announce_deadline(a))
		a->round++;
	if (!t.sent && t.error)
		return err_set(e, t.error, "announce the guest's address");
	return t.sent;
}
