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

int main(int argc, char **argv)
{
	static uint8_t frames[SEQ_KINDS][MAX_FRAME];
	uint8_t dst[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint64_t seq[SEQ_KINDS] = {0}, sent = 0, count = 0, refused = 0, sent_at_mark = 0;
	const char *ifname = "eth0", *kinds = "46ae";
	size_t len = MIN_FRAME, at[SEQ_KINDS];
	double rate = 1000, start, mark, t;
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	struct ifreq ifr = {0};
	uint8_t src[6];
	uint32_t ip = 0;
	int s, c, k;

	while ((c = getopt(argc, argv, "i:r:s:n:k:d:")) != -1) {
		switch (c) {
		case 'i':
			ifname = optarg;
			break;
		case 'r':
			rate = atof(optarg);
			break;
		case 's':
			len = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			count = strtoull(optarg, NULL, 10);
			break;
		case 'k':
			kinds = optarg;
			break;
		case 'd':
			if (sscanf(optarg, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", dst, dst + 1, dst + 2,
				   dst + 3, dst + 4, dst + 5) != 6) {
				fprintf(stderr, "seqsend: no MAC address: %s\n", optarg);
				return 2;
			}
			break;
		default:
			return 2;
		}
	}
	if (len < MIN_FRAME || len > MAX_FRAME || !*kinds ||
	    strspn(kinds, "46ae") != strlen(kinds)) {
		fprintf(stderr, "seqsend: -s from %d to %d, -k out of 46ae\n", MIN_FRAME,
			MAX_FRAME);
		return 2;
	}
	s = socket(AF_PACKET, SOCK_RAW, 0);
	if (s < 0) {
		perror("seqsend: socket");
		return 1;
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (ioctl(s, SIOCGIFHWADDR, &ifr)) {
		perror("seqsend: interface");
		return 1;
	}
	memcpy(src, ifr.ifr_hwaddr.sa_data, 6);
	if (!ioctl(s, SIOCGIFADDR, &ifr))
		memcpy(&ip, (char *)&ifr.ifr_addr + 4, 4);
	to.sll_ifindex = (int)if_nametoindex(ifname);
	for (k = 0; k < SEQ_KINDS; k++)
		at[k] = build(frames[k], len, (enum seq_kind)k, src, dst, ip);

	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	setvbuf(stdout, NULL, _IOLBF, 0);
	start = mark = now();
	while (!ended && (!count || sent < count)) {
		char letter = kinds[sent % strlen(kinds)];
		struct seq_tag tag;

		t = now();
		if (t - mark >= 1) {
			printf("seqsend %.0f frames/s, last %llu, refused %llu\n",
			       (double)(sent - sent_at_mark) / (t - mark), (unsigned long long)sent,
			       (unsigned long long)refused);
			mark = t;
			sent_at_mark = sent;
		}
		if (rate > 0 && (double)sent > (t - start) * rate) {
			poll(NULL, 0, 1);
			continue;
		}
		if (rate > 0 && (double)sent < (t - start - 1) * rate)
			start = t - (double)sent / rate; /* never catch up more than a second */
		k = letter == '4'   ? SEQ_IPV4
		    : letter == '6' ? SEQ_IPV6
		    : letter == 'a' ? SEQ_ARP
				    : SEQ_RAW;
		tag.magic = htonl(SEQ_MAGIC);
		tag.kind = htonl((uint32_t)k);
		tag.seq = htobe64(seq[k] + 1);
		tag.nonce = htobe64(__rdtsc() * 0x9e3779b97f4a7c15u);
		memcpy(frames[k] + at[k], &tag, sizeof(tag));
		if (k == SEQ_IPV6)
			checksum6(frames[k], len);
		if (sendto(s, frames[k], len, 0, (struct sockaddr *)&to, sizeof(to)) < 0) {
			struct pollfd p = {s, POLLOUT, 0};

			/* Full queue: not sent, so the number is not used up. */
			if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR &&
			    errno != ENETDOWN) {
				perror("seqsend: send");
				return 1;
			}
			refused++;
			poll(&p, 1, 1);
			continue;
		}
		seq[k]++;
		sent++;
	}
	printf("seqsend sent=%llu ipv4=%llu ipv6=%llu arp=%llu raw=%llu refused=%llu\n",
	       (unsigned long long)sent, (unsigned long long)seq[0], (unsigned long long)seq[1],
	       (unsigned long long)seq[2], (unsigned long long)seq[3], (unsigned long long)refused);
	return 0;
}
