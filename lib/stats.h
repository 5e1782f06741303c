/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Histograms of durations and sizes: powers of two, eight steps in each, exact
 * below 16. A bucket is at most an eighth of its value wide, so a percentile is
 * good to about 6 percent. Nothing is allocated; one thread owns a histogram,
 * others get a copy through a queue.
 */
#ifndef LIB_STATS_H
#define LIB_STATS_H

#include <stddef.h>
#include <stdint.h>

#define HIST_BUCKETS 496

struct hist {
	uint64_t count;
	uint64_t sum; /* stays at its maximum once it does not fit */
	uint64_t min; /* UINT64_MAX while empty */
	uint64_t max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_init(struct hist *h);
/* Cheap enough for the pause path: no division, no branch that depends on history. */
void hist_add(struct hist *h, uint64_t value);
/* Adds what other has seen. */
void hist_merge(struct hist *h, const struct hist *other);

/* 0 when nothing was added. */
uint64_t hist_mean(const struct hist *h);
/*
 * The value below which the share (0 to 1) of all values lies, interpolated
 * within its bucket and never outside min..max. 0 when nothing was added.
 */
uint64_t hist_percentile(const struct hist *h, double share);

/* Bucket i holds the values low..low+width-1; for those who print a histogram. */
uint64_t hist_bucket_low(unsigned int i);
uint64_t hist_bucket_width(unsigned int i);

#endif
