// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * seqrecv: watch for the frames of seqsend and tell leaks.
 *
 *   seqrecv [-i IFACE (br0)] [-t SECONDS (0: until SIGINT)] [-l]
 *
 * A number of one kind seen with two nonces is a leak: the guest was set back to before it sent it, so the first one should never
 * have got out. -l prints a line for each second. Last line and exit code (1 if leaked is not 0):
 *   frames=N leaked=N missing=N repeated=N backwards=N gap_ms=N last_ipv4=N last_ipv6=N last_arp=N last_raw=N
 * missing: numbers never seen below the highest; repeated: same number, same nonce; backwards: steps back (one for each failover and kind).
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../guest/seqframe.h"

enum {
	MAX_SEQ = 1 << 24,
	SHOWN = 10
};

static volatile sig_atomic_t ended;
static uint64_t *nonces[SEQ_KINDS]; /* by sequence number; 0: not seen */
static const char *const names[] = {"ipv4", "ipv6", "arp", "raw"};

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

static int tag_at(const uint8_t *f, ssize_t n, struct seq_tag *tag)
{
	size_t off;

	if (n < 14)
		return 0;
	switch (f[12] << 8 | f[13]) {
	case ETHERTYPE_IP:
	case ETHERTYPE_ARP:
		off = 42;
		break;
	case ETHERTYPE_IPV6:
		off = 62;
		break;
	case SEQ_ETHERTYPE:
		off = 14;
		break;
	default:
		return 0;
	}
	if ((size_t)n < off + sizeof(*tag))
		return 0;
	memcpy(tag, f + off, sizeof(*tag));
	return ntohl(tag->magic) == SEQ_MAGIC && ntohl(tag->kind) < SEQ_KINDS;
}

int main(int argc, char **argv)
{
	unsigned long frames = 0, leaked = 0, repeated = 0, backwards = 0, missing = 0, beyond = 0,
		      frames_at_mark = 0;
	uint64_t highest[SEQ_KINDS] = {0}, last[SEQ_KINDS] = {0}, lowest[SEQ_KINDS] = {0};
	double start, mark, t, last_at = 0, gap = 0, seconds = 0;
	const char *ifname = "br0";
	struct sockaddr_ll on = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int s, c, k, live = 0, size = 8 << 20;

	while ((c = getopt(argc, argv, "i:t:l")) != -1) {
		switch (c) {
		case 'i':
			ifname = optarg;
			break;
		case 't':
			seconds = atof(optarg);
			break;
		case 'l':
			live = 1;
			break;
		default:
			return 2;
		}
	}
	for (k = 0; k < SEQ_KINDS; k++) {
		nonces[k] = mmap(NULL, MAX_SEQ * sizeof(uint64_t), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (nonces[k] == MAP_FAILED) {
			perror("seqrecv: mmap");
			return 2;
		}
	}
	s = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	on.sll_ifindex = (int)if_nametoindex(ifname);
	if (s < 0 || !on.sll_ifindex || bind(s, (struct sockaddr *)&on, sizeof(on))) {
		fprintf(stderr, "seqrecv: %s: %s\n", ifname, strerror(errno));
		return 2;
	}
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	setvbuf(stdout, NULL, _IOLBF, 0);
	start = mark = now();
	while (!ended) {
		struct pollfd p = {s, POLLIN, 0};
		uint8_t f[2048];
		struct seq_tag tag;
		uint64_t seq, nonce;
		ssize_t n = 0;

		t = now();
		if (seconds > 0 && t - start >= seconds)
			break;
		if (live && t - mark >= 1) {
			printf("seqrecv: %lu frames/s, leaked %lu\n", frames - frames_at_mark,
			       leaked);
			frames_at_mark = frames;
			mark = t;
		}
		if (poll(&p, 1, 100) > 0)
			n = recv(s, f, sizeof(f), MSG_DONTWAIT);
		if (n <= 0 || !tag_at(f, n, &tag))
			continue;
		t = now();
		if (last_at > 0 && t - last_at > gap)
			gap = t - last_at;
		last_at = t;
		k = (int)ntohl(tag.kind);
		seq = be64toh(tag.seq);
		nonce = be64toh(tag.nonce);
		frames++;
		if (!nonce || !seq || seq >= MAX_SEQ) {
			beyond++;
			continue;
		}
		if (!nonces[k][seq]) {
			nonces[k][seq] = nonce;
		} else if (nonces[k][seq] == nonce) {
			repeated++;
			continue;
		} else {
			if (leaked++ < SHOWN)
				printf("leak: %s %llu seen twice with different nonces\n", names[k],
				       (unsigned long long)seq);
			nonces[k][seq] = nonce;
		}
		if (seq <= last[k])
			backwards++;
		last[k] = seq;
		if (seq > highest[k])
			highest[k] = seq;
		if (!lowest[k] || seq < lowest[k])
			lowest[k] = seq;
	}
	for (k = 0; k < SEQ_KINDS; k++) {
		uint64_t i;

		for (i = lowest[k]; i && i <= highest[k]; i++)
			missing += !nonces[k][i];
	}
	if (beyond)
		printf("seqrecv: %lu frames not judged, numbers beyond %d\n", beyond, MAX_SEQ);
	printf("frames=%lu leaked=%lu missing=%lu repeated=%lu backwards=%lu gap_ms=%.0f last_ipv4=%llu last_ipv6=%llu last_arp=%llu last_raw=%llu\n",
	       frames, leaked, missing, repeated, backwards, gap * 1000,
	       (unsigned long long)last[0], (unsigned long long)last[1],
	       (unsigned long long)last[2], (unsigned long long)last[3]);
	return leaked || beyond ? 1 : 0;
}
