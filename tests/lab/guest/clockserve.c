// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * clockserve [PORT (7407)]: answers each UDP packet with what it held and this machine's CLOCK_MONOTONIC, CLOCK_BOOTTIME and
 * CLOCK_REALTIME in ns. For clockask. Ends by a signal.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static long long now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 7407)),
	};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0) {
		perror("clockserve");
		return 1;
	}
	for (;;) {
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		char asked[32];
		char text[160];
		ssize_t n =
			recvfrom(fd, asked, sizeof(asked) - 1, 0, (struct sockaddr *)&from, &size);

		if (n < 0)
			continue;
		asked[n] = 0;
		n = snprintf(text, sizeof(text), "%s %lld %lld %lld", asked, now(CLOCK_MONOTONIC),
			     now(CLOCK_BOOTTIME), now(CLOCK_REALTIME));
		(void)!sendto(fd, text, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}
