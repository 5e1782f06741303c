// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spin: see the pauses of a checkpoint as the guest sees them.
 *
 *   spin [-c CPU] [-t THRESHOLD_US (2000)] [-n SECONDS (5; 0: on SIGUSR1 only)] [-k TSC_KHZ] [-l]
 *
 * Reads the TSC in a tight loop; a gap above the threshold is time that the vCPU did not run. The guest's CLOCK_MONOTONIC stands still
 * in a suspend, so the TSC it is. It is calibrated over half a second at the start, taking the best of ten rounds (begin before
 * protection does, or give -k). Each report: how many gaps since the last one, their sum and percentiles in microseconds; -l
 * lists them too. The schedulers of the guest, of Xen and of the emulation make gaps of their own. What tells a suspend from them
 * is the same clock: in those it goes on. A gap over which CLOCK_MONOTONIC lost time against the TSC is a suspend: what the clock lost
 * is the pause (with the system core's own phases, a little more than the vCPUs stood still); the whole gap, in which the guest's kernel
 * freezes tasks and devices as well, is listed as frozen. With xen_suspend_channel in the guest no clock loses anything, so there are
 * neither.
 *
 * A vCPU that spins has spent its credit with the hypervisor's scheduler: where it shares the only CPU with dom0, it waits for dom0's work
 * after each resume, and a pause seems as long as that. bench-peer therefore asks the guest's kernel, not this program.
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
	MAX_GAPS = 65536,
	LOST_US =
		1000, /* by the clock: more than calibration and readings can explain, less than the kernel's own phases */
	READINGS = 8, /* of both clocks; the quickest was not interrupted */
	REFERENCE_MS = 20 /* longest time between two readings: the rates differ a little */
};

static volatile sig_atomic_t asked, ended;

struct list {
	double us[MAX_GAPS];
	unsigned long n;
};
static struct list gaps, pauses, frozen;

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

static void add(struct list *l, double us)
{
	l->us[l->n++ % MAX_GAPS] = us;
}

static void put_list(struct list *l, const char *prefix)
{
	unsigned long n = l->n < MAX_GAPS ? l->n : MAX_GAPS;

	qsort(l->us, n, sizeof(l->us[0]), by_size);
	if (n)
		printf(" %smin_us=%.0f %sp50_us=%.0f %sp90_us=%.0f %sp99_us=%.0f %smax_us=%.0f",
		       prefix, l->us[0], prefix, l->us[n / 2], prefix, l->us[n * 9 / 10], prefix,
		       l->us[n * 99 / 100], prefix, l->us[n - 1]);
	l->n = 0;
}

static void report(double seconds, int list)
{
	unsigned long n = gaps.n < MAX_GAPS ? gaps.n : MAX_GAPS, i;
	double sum = 0;

	if (list)
		for (i = 0; i < n; i++)
			printf("gap_us %.0f\n", gaps.us[i]);
	for (i = 0; i < n; i++)
		sum += gaps.us[i];
	printf("spin seconds=%.1f gaps=%lu lost_pct=%.2f", seconds, gaps.n,
	       seconds > 0 ? sum / seconds / 1e4 : 0);
	put_list(&gaps, "");
	printf(" pauses=%lu", pauses.n);
	put_list(&pauses, "pause_");
	put_list(&frozen, "frozen_");
	printf("\n");
}

/* Both clocks at one time, to see later whether one lost time against the other. */
struct reference {
	double mono;
	uint64_t tsc;
};

static struct reference look(void)
{
	struct reference best = {0};
	uint64_t took = UINT64_MAX;

	for (int i = 0; i < READINGS; i++) {
		uint64_t before = __rdtsc();
		double mono = now();
		uint64_t after = __rdtsc();

		if (after - before < took) {
			took = after - before;
			best.mono = mono;
			best.tsc = before + took / 2;
		}
	}
	return best;
}

/* For how many us did the clock stand still since then? 0: not. *ref becomes the new reading. */
static double clock_stood(struct reference *ref, double mhz)
{
	struct reference r = look();
	double lost_us = (double)(r.tsc - ref->tsc) / mhz - (r.mono - ref->mono) * 1e6;

	*ref = r;
	return lost_us > LOST_US ? lost_us : 0;
}

int main(int argc, char **argv)
{
	double threshold_us = 2000, every = 5, mhz = 0;
	uint64_t last, since, limit, period, stale;
	struct reference ref;
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
	stale = (uint64_t)(REFERENCE_MS * 1e3 * mhz);
	ref = look();
	since = last = __rdtsc();
	while (!ended) {
		uint64_t t = __rdtsc();

		/* The TSC may be set back on another host; such a step is no gap. */
		if (t > last && t - last > limit) {
			double stood = clock_stood(&ref, mhz);

			add(&gaps, (double)(t - last) / mhz);
			if (stood > 0) {
				add(&pauses, stood);
				add(&frozen, (double)(t - last) / mhz);
			}
		} else if (t - ref.tsc > stale) {
			ref = look();
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
