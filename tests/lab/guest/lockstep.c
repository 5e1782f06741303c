// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lockstep DEVICE|FILE [SLOTS (512) [PAUSE_MS (0)]]: counts in memory and on the disk, in step, and looks all the time whether both still say the same.
 * Whoever goes on with memory and disk of two different instants is seen.
 *
 * Number n is written to slot n % SLOTS (4 KiB each, O_DIRECT) and only then remembered. So, whatever was cut off and repeated on
 * the way, slot s holds the newest number remembered that belongs there. A disk that is older lacks numbers; one that is newer has numbers that
 * nobody remembers having written. Each round looks at NEAR slots on either side of the newest, each SWEEP rounds at all of them.
 * By SIGINT or SIGTERM: a last look at all, and
 *   lockstep writes=N checks=N mismatches=N
 * When each slot has been written once, `lockstep lap`: from then on the file holds nothing of a time before this run.
 * Exit status 0: no mismatch, 1: one or more, 2: an error of the disk, which is never to be seen either.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SLOT = 4096,
	NEAR = 4,
	SWEEP = 200,
	FLUSH_EACH = 8
};

static volatile sig_atomic_t ended;
static int fd;
static uint64_t slots;
static uint64_t newest; /* remembered; 0: nothing yet */
static uint64_t checks, mismatches;
static char *page;
static unsigned long pause_ms; /* after each round, for whom it is not to be the load */

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static void die(const char *what, uint64_t n)
{
	printf("lockstep error=%d at=%" PRIu64 " (%s: %s)\n", errno, n, what, strerror(errno));
	exit(2);
}

static off_t place(uint64_t n)
{
	return (off_t)(n % slots * SLOT);
}

static void put(uint64_t n)
{
	uint64_t *word = (uint64_t *)page;
	unsigned i;

	for (i = 0; i < SLOT / sizeof(*word); i++)
		word[i] = n;
	if (pwrite(fd, page, SLOT, place(n)) != SLOT)
		die("write", n);
	if (n % FLUSH_EACH == 0 && fdatasync(fd) < 0)
		die("flush", n);
}

/* What slot of n has to hold when `newest` is the newest that was written: n itself or the one a lap before. */
static void look(uint64_t n)
{
	uint64_t want = n <= newest ? n : n < slots ? 0 : n - slots;
	const uint64_t *word = (const uint64_t *)page;

	if (pread(fd, page, SLOT, place(n)) != SLOT)
		die("read", n);
	checks++;
	if (word[0] == want && word[SLOT / sizeof(*word) - 1] == want)
		return;
	mismatches++;
	printf("lockstep: slot %" PRIu64 " holds %" PRIu64 "..%" PRIu64 ", memory says %" PRIu64
	       " (newest %" PRIu64 ")\n",
	       n % slots, word[0], word[SLOT / sizeof(*word) - 1], want, newest);
	fflush(stdout);
}

static void look_at(uint64_t before, uint64_t after)
{
	uint64_t n = newest > before ? newest - before : 1;

	for (; n <= newest + after; n++)
		look(n);
}

static void prepare(const char *path)
{
	uint64_t i;

	fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
	if (fd < 0 || posix_memalign((void **)&page, SLOT, SLOT))
		die(path, 0);
	memset(page, 0, SLOT);
	for (i = 0; i < slots; i++)
		if (pwrite(fd, page, SLOT, (off_t)(i * SLOT)) != SLOT)
			die("write", 0);
	if (fsync(fd) < 0)
		die("flush", 0);
}

int main(int argc, char **argv)
{
	slots = argc > 2 ? strtoull(argv[2], NULL, 10) : 512;
	pause_ms = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	if (argc < 2 || slots < 64 || pause_ms > 10000) {
		fputs("usage: lockstep DEVICE|FILE [SLOTS, at least 64 [PAUSE_MS, at most 10000]]\n",
		      stderr);
		return 2;
	}
	signal(SIGINT, end);
	signal(SIGTERM, end);
	prepare(argv[1]);
	while (!ended) {
		put(newest + 1);
		newest++;
		if (newest == slots) {
			puts("lockstep lap");
			fflush(stdout);
		}
		look_at(NEAR, NEAR);
		if (newest % SWEEP == 0)
			look_at(slots - NEAR - 1, NEAR);
		if (pause_ms)
			usleep((useconds_t)pause_ms * 1000);
	}
	look_at(slots - NEAR - 1, NEAR);
	printf("lockstep writes=%" PRIu64 " checks=%" PRIu64 " mismatches=%" PRIu64 "\n", newest,
	       checks, mismatches);
	return mismatches ? 1 : 0;
}
