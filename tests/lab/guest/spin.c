// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spin: see the pauses of a checkpoint as the guest sees them.
 *
 *   spin [-c CPU] [-t THRESHOLD_US (2000)] [-n SECONDS (5; 0: on SIGUSR1 only)] [-k TSC_KHZ] [-l]
 *
 * Reads the TSC in a tight loop; a gap above the threshold is time that the vCPU did not run. The guest's CLOCK_MONOTONIC stands still
 * in a suspend, so the TSC it is. It is calibrated over half a second at the start, taking the best of ten rounds (begin before
 * protection does, or give -k). Each report: how many gaps since the last one, their sum and percentiles in microseconds; -l
 * lists them too. The scheduler of the guest and of the emulation make gaps of their own: compare with a run without protection.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum {
	MAX_GAPS = 65536
};

static volatile sig_atomic_t asked, ended;
static double gaps[MAX_GAPS];
static unsigned long n_gaps;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		asked = 1;
	else
		ended = 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A pause in a round makes its TSC rate too high (the clock stands still, the TSC may not) and never too low: the least is right. */
static double calibrate(void)
{
	double best = 0;
	int i;

	for (i = 0; i < 10; i++) {
		double t0 = now(), t1, mhz;
		uint64_t c0 = __rdtsc(), c1;

		do {
			t1 = now();
			c1 = __rdtsc();
		} while (t1 - t0 < 0.05);
		mhz = (double)(c1 - c0) / (t1 - t0) / 1e6;
		if (!i || mhz < best)
			best = mhz;
	}
	return best;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(double seconds, int list)
{
	unsigned long n = n_gaps < MAX_GAPS ? n_gaps : MAX_GAPS, i;
	double sum = 0;

	if (list)
		for (i = 0; i < n; i++)
			printf("gap_us %.0f\n", gaps[i]);
	for (i = 0; i < n; i++)
		sum += gaps[i];
	qsort(gaps, n, sizeof(gaps[0]), by_size);
	printf("spin seconds=%.1f gaps=%lu lost_pct=%.2f", seconds, n_gaps,
	       seconds > 0 ? sum / seconds / 1e4 : 0);
	if (n)
		printf(" min_us=%.0f p50_us=%.0f p90_us=%.0f p99_us=%.0f max_us=%.0f", gaps[0],
		       gaps[n / 2], gaps[n * 9 / 10], gaps[n * 99 / 100], gaps[n - 1]);
	printf("\n");
	n_gaps = 0;
}

int main(int argc, char **argv)
{
	double threshold_us = 2000, every = 5, mhz = 0;
	uint64_t last, since, limit, period;
	int cpu = 0, list = 0, c;
	cpu_set_t set;

	while ((c = getopt(argc, argv, "c:t:n:k:l")) != -1) {
		switch (c) {
		case 'c':
			cpu = atoi(optarg);
			break;
		case 't':
			threshold_us = atof(optarg);
			break;
		case 'n':
			every = atof(optarg);
			break;
		case 'k':
			mhz = atof(optarg) / 1000;
			break;
		case 'l':
			list = 1;
			break;
		default:
			return 2;
		}
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		perror("spin: sched_setaffinity");
	signal(SIGUSR1, on_signal);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (mhz <= 0)
		mhz = calibrate();
	printf("spin tsc_khz=%.0f threshold_us=%.0f cpu=%d\n", mhz * 1000, threshold_us, cpu);
	limit = (uint64_t)(threshold_us * mhz);
	period = (uint64_t)(every * 1e6 * mhz);
	since = last = __rdtsc();
	while (!ended) {
		uint64_t t = __rdtsc();

		/* The TSC may be set back on another host; such a step is no gap. */
		if (t > last && t - last > limit) {
			gaps[n_gaps % MAX_GAPS] = (double)(t - last) / mhz;
			n_gaps++;
		}
		last = t;
		if (t < since)
			since = t;
		if (asked || (period && t - since > period)) {
			asked = 0;
			report((double)(t - since) / mhz / 1e6, list);
			since = last = __rdtsc();
		}
	}
	report((double)(last - since) / mhz / 1e6, list);
	return 0;
}
