// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * owners: who speaks for the guest? Every frame with the guest's address that comes out of a host is seen at the host's
 * own port of the LAN, whatever it holds; so a copy that should be silent is found by its first frame.
 *
 *   owners -m MAC NAME=IFACE NAME=IFACE     until SIGINT or SIGTERM
 *   owners -m MAC -f PID NAME=IFACE         stop that process between two bursts of the host's frames, and end
 *
 * The guest belongs to the host that spoke first, until another one speaks: from then on it is that one's, for good. Each
 * frame of who had it before is a zombie's. A line for each tenth of a second in which something was said, and one at the end,
 * MS being the wall clock's:
 *   MS NAME=frames NAME=frames zombies=N
 *   total NAME=frames NAME=frames zombies=N dropped=N
 * Exit status: 0; 1 with zombies, or when frames were dropped unseen; 2 usage, or no such interface. With -f: 0 stopped,
 * 1 not within ten seconds.
 *
 * Why between two bursts: what was let out before, and is still in the host's network card, comes out when the host goes on. A
 * real card does not stop with its host, an emulated one does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	PORTS = 2,
	BUCKET_MS = 100,
	SHOWN = 10,
	QUIET_MS = 25, /* no frame for so long: the burst is over */
	FREEZE_MS = 10000
};

struct port {
	char name[16];
	unsigned int ifindex;
	unsigned long bucket, total;
	int had; /* it was the owner, and is not any more */
};

struct watch {
	struct port port[PORTS];
	unsigned int n;
	int s;
	int owner; /* -1: nobody spoke yet */
	unsigned long zombies, bucket_zombies;
	long long bucket_ms;
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static long long now_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * One socket for all ports, so that frames of both come in the order in which they were seen. Only those from the guest's
 * address get into it.
 */
static int listen_for(const struct ether_addr *mac)
{
	const uint8_t *m = mac->ether_addr_octet;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ETH_ALEN),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			 (uint32_t)m[0] << 24 | (uint32_t)m[1] << 16 | (uint32_t)m[2] << 8 | m[3],
			 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETH_ALEN + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)m[4] << 8 | m[5], 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 64),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll on = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int size = 8 << 20;

	/* It hears nothing before it is bound, so nothing but what passes the filter. */
	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ||
	    bind(s, (struct sockaddr *)&on, sizeof(on))) {
		fprintf(stderr, "owners: packet socket: %s\n", strerror(errno));
		return -1;
	}
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return s;
}

/* The port whose host has sent the next frame; -1: of no port of ours, or (more is 0) there is none. */
static int take(const struct watch *w, int *more)
{
	struct sockaddr_ll from = {0};
	socklen_t len = sizeof(from);
	uint8_t f[64];
	ssize_t n = recvfrom(w->s, f, sizeof(f), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
	unsigned int i;

	*more = n >= 0;
	/* What the bridge sends to a host is not the host's. */
	for (i = 0; n >= 0 && i < w->n; i++)
		if (from.sll_ifindex == (int)w->port[i].ifindex &&
		    from.sll_pkttype != PACKET_OUTGOING)
			return (int)i;
	return -1;
}

/* ---- who speaks ---- */

static void tell_bucket(struct watch *w)
{
	unsigned int i, any = 0;

	for (i = 0; i < w->n; i++)
		any |= w->port[i].bucket > 0;
	if (any) {
		printf("%lld", w->bucket_ms);
		for (i = 0; i < w->n; i++)
			printf(" %s=%lu", w->port[i].name, w->port[i].bucket);
		printf(" zombies=%lu\n", w->bucket_zombies);
	}
	for (i = 0; i < w->n; i++)
		w->port[i].bucket = 0;
	w->bucket_zombies = 0;
}

static void judge(struct watch *w, unsigned int i)
{
	struct port *p = &w->port[i];
	long long t = now_ms(CLOCK_REALTIME);

	if (t - w->bucket_ms >= BUCKET_MS || t < w->bucket_ms) {
		tell_bucket(w);
		w->bucket_ms = t - t % BUCKET_MS;
	}
	p->bucket++;
	p->total++;
	if (w->owner == (int)i)
		return;
	if (p->had) {
		w->bucket_zombies++;
		if (w->zombies++ < SHOWN)
			printf("zombie: %lld %s, after %s\n", t, p->name, w->port[w->owner].name);
		return;
	}
	if (w->owner >= 0)
		w->port[w->owner].had = 1;
	printf("owner: %lld %s\n", t, p->name);
	w->owner = (int)i;
}

static unsigned int count_dropped(const struct watch *w)
{
	struct tpacket_stats st = {0};
	socklen_t len = sizeof(st);

	return getsockopt(w->s, SOL_PACKET, PACKET_STATISTICS, &st, &len) ? 1 : st.tp_drops;
}

static int watch(struct watch *w)
{
	unsigned int i, dropped;

	while (!ended) {
		struct pollfd p = {w->s, POLLIN, 0};
		int more = 1;

		poll(&p, 1, BUCKET_MS);
		while (more && !ended) {
			int port = take(w, &more);

			if (port >= 0)
				judge(w, (unsigned int)port);
		}
		if (now_ms(CLOCK_REALTIME) - w->bucket_ms >= BUCKET_MS)
			tell_bucket(w);
	}
	tell_bucket(w);
	dropped = count_dropped(w);
	printf("total");
	for (i = 0; i < w->n; i++)
		printf(" %s=%lu", w->port[i].name, w->port[i].total);
	printf(" zombies=%lu dropped=%u\n", w->zombies, dropped);
	return w->zombies || dropped ? 1 : 0;
}

/* ---- freezing ---- */

static int freeze(struct watch *w, pid_t pid)
{
	long long start = now_ms(CLOCK_MONOTONIC), heard = 0, t = start;

	while (!ended && t - start < FREEZE_MS) {
		struct pollfd p = {w->s, POLLIN, 0};
		int more = 1;

		poll(&p, 1, 1);
		t = now_ms(CLOCK_MONOTONIC);
		while (more)
			if (take(w, &more) == 0)
				heard = t;
		if (!heard || t - heard < QUIET_MS)
			continue;
		if (kill(pid, SIGSTOP)) {
			fprintf(stderr, "owners: process %d: %s\n", (int)pid, strerror(errno));
			return 1;
		}
		printf("stopped: %lld, %lld ms after its last frame\n", now_ms(CLOCK_REALTIME),
		       t - heard);
		return 0;
	}
	fprintf(stderr, "owners: %s does not speak and fall silent\n", w->port[0].name);
	return 1;
}

/* ---- beginning ---- */

static int add_port(struct watch *w, const char *arg)
{
	const char *eq = strchr(arg, '=');
	struct port *p = &w->port[w->n];

	if (w->n == PORTS || !eq || eq == arg || (size_t)(eq - arg) >= sizeof(p->name))
		return -1;
	memcpy(p->name, arg, (size_t)(eq - arg));
	p->ifindex = if_nametoindex(eq + 1);
	w->n++;
	if (p->ifindex)
		return 0;
	fprintf(stderr, "owners: %s: %s\n", eq + 1, strerror(errno));
	return -1;
}

int main(int argc, char **argv)
{
	struct watch w = {.owner = -1, .s = -1};
	struct ether_addr mac;
	int c, has_mac = 0;
	pid_t pid = 0;

	while ((c = getopt(argc, argv, "m:f:")) != -1) {
		if (c == 'm')
			has_mac = ether_aton_r(optarg, &mac) != NULL;
		else if (c == 'f')
			pid = (pid_t)strtol(optarg, NULL, 10);
		else
			return 2;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (; optind < argc; optind++)
		if (add_port(&w, argv[optind]))
			break;
	if (optind < argc || !has_mac || w.n != (pid ? 1 : PORTS) || pid < 0) {
		fputs("usage: owners -m MAC NAME=IFACE NAME=IFACE, or -m MAC -f PID NAME=IFACE\n",
		      stderr);
		return 2;
	}
	w.s = listen_for(&mac);
	if (w.s < 0)
		return 2;
	return pid ? freeze(&w, pid) : watch(&w);
}
