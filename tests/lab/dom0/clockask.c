// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * clockask [-n TIMES (400)] IP [PORT (7407)]: asks clockserve there and tells how its clocks stand against CLOCK_MONOTONIC and
 * CLOCK_REALTIME here, by the answer that came back fastest:
 *   clockask mono_us=N boot_us=N real_us=N rtt_us=N answers=N
 * mono_us: its CLOCK_MONOTONIC less ours; boot_us: its CLOCK_BOOTTIME less its CLOCK_MONOTONIC; real_us: the clocks of the wall.
 * The first is true to half of rtt_us. Exit status 1: no answer.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 200

static long long now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

struct best {
	long long rtt, mono, boot, real;
	int answers;
};

static void ask(int fd, int seq, struct best *b)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char text[160];
	long long sent = now(CLOCK_MONOTONIC);
	int n = snprintf(text, sizeof(text), "%d", seq);

	if (send(fd, text, (size_t)n, 0) != n)
		return;
	while (poll(&p, 1, WAIT_MS) > 0) {
		long long mono, boot, real, rtt, came, wall;
		int got;
		ssize_t size = recv(fd, text, sizeof(text) - 1, 0);

		came = now(CLOCK_MONOTONIC);
		wall = now(CLOCK_REALTIME);
		if (size < 0)
			return;
		text[size] = 0;
		if (sscanf(text, "%d %lld %lld %lld", &got, &mono, &boot, &real) != 4 || got != seq)
			continue;
		b->answers++;
		rtt = came - sent;
		if (b->answers > 1 && rtt >= b->rtt)
			return;
		b->rtt = rtt;
		b->mono = mono - (sent + rtt / 2);
		b->boot = boot - mono;
		b->real = real - (wall - rtt / 2);
		return;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct best b = {0};
	int times = 400;
	int c;
	int fd;

	while ((c = getopt(argc, argv, "n:")) != -1) {
		if (c != 'n' || (times = atoi(optarg)) < 1)
			return 2;
	}
	if (optind >= argc || inet_pton(AF_INET, argv[optind], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: clockask [-n TIMES] IP [PORT]\n");
		return 2;
	}
	to.sin_port = htons((unsigned short)(optind + 1 < argc ? atoi(argv[optind + 1]) : 7407));
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror("clockask");
		return 1;
	}
	for (int i = 0; i < times; i++)
		ask(fd, i, &b);
	if (!b.answers) {
		fprintf(stderr, "clockask: no answer from %s\n", argv[optind]);
		return 1;
	}
	printf("clockask mono_us=%lld boot_us=%lld real_us=%lld rtt_us=%lld answers=%d\n",
	       b.mono / 1000, b.boot / 1000, b.real / 1000, b.rtt / 1000, b.answers);
	return 0;
}
