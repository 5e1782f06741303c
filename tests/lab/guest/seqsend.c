// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * seqsend: send numbered frames of several kinds, for leak tests; seqrecv on the client's side judges them.
 *
 *   seqsend [-i IFACE (eth0)] [-r FRAMES_PER_S (1000; 0: as fast as it goes)] [-s BYTES (100)] [-n COUNT] [-k 46ae] [-d DST_MAC]
 *
 * -k: which kinds in turns: 4 IPv4/UDP, 6 IPv6/UDP, a ARP, e ethertype 0x88b5. Each kind counts for itself from 1.
 * Prints the number of frames and the last sequence number each second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "seqframe.h"

enum {
	MIN_FRAME = 100,
	MAX_FRAME = 1500,
	ETH = 14
};

struct settings {
	const char *ifname, *kinds;
	struct ether_addr dst;
	size_t len;
	uint64_t count; /* 0: until a signal */
	double rate;	/* per second; 0: as fast as it goes */
};

struct sender {
	int s;
	struct sockaddr_ll to;
	uint8_t frame[SEQ_KINDS][MAX_FRAME];
	size_t len, at[SEQ_KINDS]; /* at: of the tag */
	uint64_t seq[SEQ_KINDS], sent, refused;
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
	size_t i;

	for (i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return n & 1 ? sum + ((uint32_t)p[n - 1] << 8) : sum;
}

static unsigned fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static void put_udp(uint8_t *p, size_t n)
{
	put16(p, SEQ_UDP_PORT);
	put16(p + 2, SEQ_UDP_PORT);
	put16(p + 4, (unsigned)n);
	put16(p + 6, 0);
}

/* Everything but the tag: the headers of one kind. Says where the tag goes. */
static size_t build(uint8_t *f, size_t len, enum seq_kind kind, const uint8_t *src,
		    const uint8_t *dst, uint32_t ip)
{
	static const unsigned types[] = {ETHERTYPE_IP, ETHERTYPE_IPV6, ETHERTYPE_ARP,
					 SEQ_ETHERTYPE};
	uint8_t *p = f + ETH;

	memset(f, 0, len);
	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	put16(f + 12, types[kind]);
	switch (kind) {
	case SEQ_IPV4:
		p[0] = 0x45;
		put16(p + 2, (unsigned)(len - ETH));
		p[8] = 64;
		p[9] = IPPROTO_UDP;
		memcpy(p + 12, &ip, 4);
		memset(p + 16, 0xff, 4);
		put16(p + 10, fold(sum16(p, 20, 0)));
		put_udp(p + 20, len - ETH - 20);
		return ETH + 28;
	case SEQ_IPV6:
		p[0] = 0x60;
		put16(p + 4, (unsigned)(len - ETH - 40));
		p[6] = IPPROTO_UDP;
		p[7] = 64;
		p[8] = 0xfe;
		p[9] = 0x80;
		memcpy(p + 18, src, 6);
		p[24] = 0xff;
		p[25] = 0x02;
		p[39] = 0x01;
		put_udp(p + 40, len - ETH - 40);
		return ETH + 48;
	case SEQ_ARP:
		put16(p, 1);
		put16(p + 2, ETHERTYPE_IP);
		p[4] = 6;
		p[5] = 4;
		put16(p + 6, 1);
		memcpy(p + 8, src, 6);
		memcpy(p + 14, &ip, 4);
		memcpy(p + 24, &ip, 4);
		return ETH + 28; /* in the padding behind the packet */
	default:
		return ETH;
	}
}

/* UDP over IPv6 must have a checksum, and the tag changes each time. */
static void checksum6(uint8_t *f, size_t len)
{
	uint8_t *p = f + ETH;
	size_t n = len - ETH - 40;
	unsigned c;

	put16(p + 46, 0);
	c = fold(sum16(p + 40, n, sum16(p + 8, 32, (uint32_t)n + IPPROTO_UDP)));
	put16(p + 46, c ? c : 0xffff);
}

static int parse(int argc, char **argv, struct settings *set)
{
	int c;

	while ((c = getopt(argc, argv, "i:r:s:n:k:d:")) != -1) {
		switch (c) {
		case 'i':
			set->ifname = optarg;
			break;
		case 'r':
			set->rate = atof(optarg);
			break;
		case 's':
			set->len = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			set->count = strtoull(optarg, NULL, 10);
			break;
		case 'k':
			set->kinds = optarg;
			break;
		case 'd':
			if (!ether_aton_r(optarg, &set->dst)) {
				fprintf(stderr, "seqsend: no MAC address: %s\n", optarg);
				return -1;
			}
			break;
		default:
			return -1;
		}
	}
	if (set->len < MIN_FRAME || set->len > MAX_FRAME || !*set->kinds ||
	    strspn(set->kinds, "46ae") != strlen(set->kinds)) {
		fprintf(stderr, "seqsend: -s from %d to %d, -k out of 46ae\n", MIN_FRAME,
			MAX_FRAME);
		return -1;
	}
	return 0;
}

/* The socket, and a frame of each kind with the interface's addresses. */
static int set_up(struct sender *sn, const struct settings *set)
{
	struct ifreq ifr = {0};
	uint8_t src[6];
	uint32_t ip = 0;
	int k;

	sn->to = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_halen = 6};
	sn->len = set->len;
	sn->s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (sn->s < 0) {
		perror("seqsend: socket");
		return -1;
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", set->ifname);
	if (ioctl(sn->s, SIOCGIFHWADDR, &ifr)) {
		perror("seqsend: interface");
		return -1;
	}
	memcpy(src, ifr.ifr_hwaddr.sa_data, 6);
	if (!ioctl(sn->s, SIOCGIFADDR, &ifr))
		memcpy(&ip, (char *)&ifr.ifr_addr + 4, 4);
	sn->to.sll_ifindex = (int)if_nametoindex(set->ifname);
	for (k = 0; k < SEQ_KINDS; k++)
		sn->at[k] = build(sn->frame[k], sn->len, (enum seq_kind)k, src,
				  set->dst.ether_addr_octet, ip);
	return 0;
}

static enum seq_kind kind_of(char letter)
{
	switch (letter) {
	case '4':
		return SEQ_IPV4;
	case '6':
		return SEQ_IPV6;
	case 'a':
		return SEQ_ARP;
	default:
		return SEQ_RAW;
	}
}

/* The next frame of the kind. A full queue: not sent, so the number is not used up. */
static int send_one(struct sender *sn, enum seq_kind k)
{
	struct seq_tag tag = {
		.magic = htonl(SEQ_MAGIC),
		.kind = htonl((uint32_t)k),
		.seq = htobe64(sn->seq[k] + 1),
		.nonce = htobe64(__rdtsc() * 0x9e3779b97f4a7c15u),
	};
	struct pollfd p = {sn->s, POLLOUT, 0};

	memcpy(sn->frame[k] + sn->at[k], &tag, sizeof(tag));
	if (k == SEQ_IPV6)
		checksum6(sn->frame[k], sn->len);
	if (sendto(sn->s, sn->frame[k], sn->len, 0, (struct sockaddr *)&sn->to, sizeof(sn->to)) >=
	    0) {
		sn->seq[k]++;
		sn->sent++;
		return 0;
	}
	if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR && errno != ENETDOWN) {
		perror("seqsend: send");
		return -1;
	}
	sn->refused++;
	poll(&p, 1, 1);
	return 0;
}

static int send_all(struct sender *sn, const struct settings *set)
{
	double start = now(), mark = start, t, rate = set->rate;
	uint64_t sent_at_mark = 0;

	while (!ended && (!set->count || sn->sent < set->count)) {
		t = now();
		if (t - mark >= 1) {
			printf("seqsend %.0f frames/s, last %llu, refused %llu\n",
			       (double)(sn->sent - sent_at_mark) / (t - mark),
			       (unsigned long long)sn->sent, (unsigned long long)sn->refused);
			mark = t;
			sent_at_mark = sn->sent;
		}
		if (rate > 0 && (double)sn->sent > (t - start) * rate) {
			poll(NULL, 0, 1);
			continue;
		}
		if (rate > 0 && (double)sn->sent < (t - start - 1) * rate)
			/* Never catch up more than a second. */
			start = t - (double)sn->sent / rate;
		if (send_one(sn, kind_of(set->kinds[sn->sent % strlen(set->kinds)])))
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct sender sn;
	struct settings set = {
		.ifname = "eth0",
		.kinds = "46ae",
		.dst = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		.len = MIN_FRAME,
		.rate = 1000,
	};

	if (parse(argc, argv, &set))
		return 2;
	if (set_up(&sn, &set))
		return 1;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (send_all(&sn, &set))
		return 1;
	printf("seqsend sent=%llu ipv4=%llu ipv6=%llu arp=%llu raw=%llu refused=%llu\n",
	       (unsigned long long)sn.sent, (unsigned long long)sn.seq[SEQ_IPV4],
	       (unsigned long long)sn.seq[SEQ_IPV6], (unsigned long long)sn.seq[SEQ_ARP],
	       (unsigned long long)sn.seq[SEQ_RAW], (unsigned long long)sn.refused);
	return 0;
}
