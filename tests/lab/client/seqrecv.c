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

struct settings {
	const char *ifname;
	double seconds; /* 0: until a signal */
	int live;
};

struct tally {
	unsigned long frames, leaked, repeated, backwards, beyond;
	uint64_t highest[SEQ_KINDS], last[SEQ_KINDS], lowest[SEQ_KINDS];
	double last_at, gap; /* seconds */
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

static int parse(int argc, char **argv, struct settings *set)
{
	int c;

	while ((c = getopt(argc, argv, "i:t:l")) != -1) {
		switch (c) {
		case 'i':
			set->ifname = optarg;
			break;
		case 't':
			set->seconds = atof(optarg);
			break;
		case 'l':
			set->live = 1;
			break;
		default:
			return -1;
		}
	}
	return 0;
}

static int map_nonces(void)
{
	int k;

	for (k = 0; k < SEQ_KINDS; k++) {
		nonces[k] = mmap(NULL, MAX_SEQ * sizeof(uint64_t), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (nonces[k] == MAP_FAILED) {
			perror("seqrecv: mmap");
			return -1;
		}
	}
	return 0;
}

/* A socket that sees every frame of the interface, or -1. */
static int listen_on(const char *ifname)
{
	struct sockaddr_ll on = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	int size = 8 << 20;

	on.sll_ifindex = (int)if_nametoindex(ifname);
	if (s < 0 || !on.sll_ifindex || bind(s, (struct sockaddr *)&on, sizeof(on))) {
		fprintf(stderr, "seqrecv: %s: %s\n", ifname, strerror(errno));
		if (s >= 0)
			close(s);
		return -1;
	}
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return s;
}

/* One frame of seqsend that came at time t. */
static void judge(struct tally *y, const struct seq_tag *tag, double t)
{
	uint32_t k = ntohl(tag->kind);
	uint64_t seq = be64toh(tag->seq), nonce = be64toh(tag->nonce);
	int again;

	if (y->last_at > 0 && t - y->last_at > y->gap)
		y->gap = t - y->last_at;
	y->last_at = t;
	y->frames++;
	if (!nonce || !seq || seq >= MAX_SEQ) {
		y->beyond++;
		return;
	}
	again = nonces[k][seq] != 0;
	if (again && nonces[k][seq] == nonce) {
		y->repeated++;
		return;
	}
	if (again && y->leaked++ < SHOWN)
		printf("leak: %s %llu seen twice with different nonces\n", names[k],
		       (unsigned long long)seq);
	nonces[k][seq] = nonce;
	if (seq <= y->last[k])
		y->backwards++;
	y->last[k] = seq;
	if (seq > y->highest[k])
		y->highest[k] = seq;
	if (!y->lowest[k] || seq < y->lowest[k])
		y->lowest[k] = seq;
}

static void watch(int s, const struct settings *set, struct tally *y)
{
	unsigned long frames_at_mark = 0;
	double start = now(), mark = start, t;

	while (!ended) {
		struct pollfd p = {s, POLLIN, 0};
		uint8_t f[2048];
		struct seq_tag tag;
		ssize_t n = 0;

		t = now();
		if (set->seconds > 0 && t - start >= set->seconds)
			break;
		if (set->live && t - mark >= 1) {
			printf("seqrecv: %lu frames/s, leaked %lu\n", y->frames - frames_at_mark,
			       y->leaked);
			frames_at_mark = y->frames;
			mark = t;
		}
		if (poll(&p, 1, 100) > 0)
			n = recv(s, f, sizeof(f), MSG_DONTWAIT);
		if (n > 0 && tag_at(f, n, &tag))
			judge(y, &tag, now());
	}
}

static int report(const struct tally *y)
{
	unsigned long missing = 0;
	uint64_t i;
	int k;

	for (k = 0; k < SEQ_KINDS; k++)
		for (i = y->lowest[k]; i && i <= y->highest[k]; i++)
			missing += !nonces[k][i];
	if (y->beyond)
		printf("seqrecv: %lu frames not judged, numbers beyond %d\n", y->beyond, MAX_SEQ);
	printf("frames=%lu leaked=%lu missing=%lu repeated=%lu backwards=%lu gap_ms=%.0f last_ipv4=%llu last_ipv6=%llu last_arp=%llu last_raw=%llu\n",
	       y->frames, y->leaked, missing, y->repeated, y->backwards, y->gap * 1000,
	       (unsigned long long)y->last[SEQ_IPV4], (unsigned long long)y->last[SEQ_IPV6],
	       (unsigned long long)y->last[SEQ_ARP], (unsigned long long)y->last[SEQ_RAW]);
	return y->leaked || y->beyond ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct settings set = {.ifname = "br0"};
	struct tally tally = {0};
	int s;

	if (parse(argc, argv, &set) || map_nonces())
		return 2;
	s = listen_on(set.ifname);
	if (s < 0)
		return 2;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	setvbuf(stdout, NULL, _IOLBF, 0);
	watch(s, &set, &tally);
	return report(&tally);
}
