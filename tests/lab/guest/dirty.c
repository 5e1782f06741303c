// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dirty: dirty memory at a steady pace.
 *
 *   dirty PAGES_PER_S [WORKING_SET_PAGES] [random|same|zero|mixed]
 *
 * random  fills the page with fresh noise (does not compress)      same   writes one word into each page
 * zero    fills the page with zeros or one byte, in turns          mixed  a quarter of each, and a quarter half noise
 * Pages are taken round robin from the working set (default: one second's worth, at most 8192). Prints the rate of each second.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
	PAGE = 4096,
	TICK_MS = 5
};
enum mode {
	RANDOM,
	SAME,
	ZERO,
	MIXED
};

static uint64_t state = 0x9e3779b97f4a7c15;

static uint64_t noise(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fill(uint64_t *page, unsigned words)
{
	unsigned i;

	for (i = 0; i < words; i++)
		page[i] = noise();
}

static void touch(char *page, enum mode mode, uint64_t n)
{
	if (mode == MIXED) {
		static const enum mode of[] = {RANDOM, SAME, ZERO, MIXED};

		mode = of[n & 3];
	}
	switch (mode) {
	case RANDOM:
		fill((uint64_t *)page, PAGE / 8);
		break;
	case SAME:
		*(volatile uint64_t *)page = n;
		break;
	case ZERO:
		/* In turns, so that the content changes each time. */
		memset(page, 0, PAGE);
		page[n % PAGE] = (char)(n / 3);
		break;
	case MIXED:
		fill((uint64_t *)page, PAGE / 16);
		break;
	}
}

int main(int argc, char **argv)
{
	double rate, start, mark, t, done_at_mark = 0;
	enum mode mode = RANDOM;
	uint64_t pages, done = 0, due;
	char *mem;

	if (argc < 2 || (rate = atof(argv[1])) < 0) {
		fprintf(stderr,
			"usage: dirty PAGES_PER_S [WORKING_SET_PAGES] [random|same|zero|mixed]\n");
		return 2;
	}
	pages = argc > 2 ? strtoull(argv[2], NULL, 10) : rate < 8192 ? (uint64_t)rate : 8192;
	if (!pages)
		pages = 1;
	if (argc > 3) {
		static const char *const names[] = {"random", "same", "zero", "mixed"};

		for (mode = RANDOM; mode <= MIXED && strcmp(argv[3], names[mode]); mode++)
			;
		if (mode > MIXED) {
			fprintf(stderr, "dirty: no such content: %s\n", argv[3]);
			return 2;
		}
	}
	mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (mem == MAP_FAILED) {
		fprintf(stderr, "dirty: %llu pages: %s\n", (unsigned long long)pages,
			strerror(errno));
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	start = mark = now();
	for (;;) {
		struct timespec pause = {0, TICK_MS * 1000000};

		nanosleep(&pause, NULL);
		t = now();
		due = (uint64_t)(rate * (t - start));
		/* Too far behind (the machine cannot do it, or the guest stood still): never catch up more than a second. */
		if (due > done + (uint64_t)rate + 1) {
			start = t - (double)done / (rate > 0 ? rate : 1);
			due = done;
		}
		for (; done < due; done++)
			touch(mem + done % pages * PAGE, mode, done);
		t = now();
		if (t - mark >= 1) {
			printf("dirty %.0f pages/s\n", ((double)done - done_at_mark) / (t - mark));
			mark = t;
			done_at_mark = (double)done;
		}
	}
}
