/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See stats.h. */
#include "lib/stats.h"

#include <string.h>

#include "lib/compiler.h"

#define EXACT 16 /* values below have a bucket each */
#define STEPS 8	 /* buckets in an octave above */

static_assert(HIST_BUCKETS == EXACT + (64 - 4) * STEPS, "one bucket for every uint64_t");

static unsigned int bucket_of(uint64_t value)
{
	unsigned int octave;

	if (value < EXACT)
		return (unsigned int)value;
	octave = 63 - (unsigned int)__builtin_clzll(value);
	return EXACT + (octave - 4) * STEPS + (unsigned int)((value >> (octave - 3)) % STEPS);
}

uint64_t hist_bucket_width(unsigned int i)
{
	return i < EXACT ? 1 : UINT64_C(1) << ((i - EXACT) / STEPS + 1);
}

uint64_t hist_bucket_low(unsigned int i)
{
	return i < EXACT ? i : (STEPS + (i - EXACT) % STEPS) * hist_bucket_width(i);
}

static uint64_t add_capped(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

void hist_init(struct hist *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

void hist_add(struct hist *h, uint64_t value)
{
	h->count++;
	h->sum = add_capped(h->sum, value);
	h->min = MIN(h->min, value);
	h->max = MAX(h->max, value);
	h->bucket[bucket_of(value)]++;
}

void hist_merge(struct hist *h, const struct hist *other)
{
	h->count += other->count;
	h->sum = add_capped(h->sum, other->sum);
	h->min = MIN(h->min, other->min);
	h->max = MAX(h->max, other->max);
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		h->bucket[i] += other->bucket[i];
}

uint64_t hist_mean(const struct hist *h)
{
	return h->count ? h->sum / h->count : 0;
}

uint64_t hist_percentile(const struct hist *h, double share)
{
	double rank = share * (double)h->count;
	uint64_t below = 0;
	unsigned int i = 0;
	double inside;
	uint64_t low;
	uint64_t high;

	if (!h->count)
		return 0;
	if (!(share > 0))
		return h->min;
	if (share >= 1)
		return h->max;
	while (i < HIST_BUCKETS - 1 && (double)(below + h->bucket[i]) < rank)
		below += h->bucket[i++];
	/* Values count as spread evenly over the part of the bucket that can hold any. */
	low = MAX(hist_bucket_low(i), h->min);
	high = MIN(hist_bucket_low(i) + (hist_bucket_width(i) - 1), h->max);
	inside = h->bucket[i] ? (rank - (double)below) / (double)h->bucket[i] : 0;
	return low + (uint64_t)(inside * (double)(high - low));
}
