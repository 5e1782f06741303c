/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time is nanoseconds since boot in a uint64_t, suspended time included; a
 * quantity says its unit (_ns, _us, _ms). Decision code takes now as a parameter
 * and never calls clock_now(): that is for the shells around it, on any thread.
 * Instants of two hosts are never compared; durations are what is sent.
 */
#ifndef LIB_CLOCK_H
#define LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "lib/compiler.h"

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)
/* Later than every instant; a deadline that is not armed. */
#define CLOCK_NEVER UINT64_MAX

static inline uint64_t clock_now(void)
{
	struct timespec ts;
	int r = clock_gettime(CLOCK_BOOTTIME, &ts);

	assert(r == 0);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* t + d, or CLOCK_NEVER where that does not fit. */
static inline uint64_t clock_add(uint64_t t, uint64_t d_ns)
{
	uint64_t sum;

	return __builtin_add_overflow(t, d_ns, &sum) ? CLOCK_NEVER : sum;
}

/* From now to t, 0 when t has passed. */
static inline uint64_t clock_until(uint64_t t, uint64_t now)
{
	return t > now ? t - now : 0;
}

/* ns in milliseconds for poll(), rounded up so that a wait never ends early; -1 for CLOCK_NEVER. */
static inline int clock_poll_ms(uint64_t ns)
{
	uint64_t ms = ns / NS_PER_MS + (ns % NS_PER_MS != 0);

	if (ns == CLOCK_NEVER)
		return -1;
	return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static inline struct timespec clock_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / NS_PER_SEC),
		.tv_nsec = (long)(ns % NS_PER_SEC),
	};
}

#endif
