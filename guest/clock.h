/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's clocks over a suspend. After a short one in the same domain nothing is done, so that a checkpoint costs
 * no clock anything. After a long one, and in a new domain, where the clocksource counts from another origin,
 * CLOCK_MONOTONIC goes on where it stood, and the time in between is added to CLOCK_REALTIME and CLOCK_BOOTTIME, as
 * after any suspend.
 */
#ifndef SUSPEND_CLOCK_H
#define SUSPEND_CLOCK_H

#include <linux/time64.h>
#include <linux/types.h>
#include <asm/pvclock-abi.h>

struct clock_mark {
	u64 cycles;		/* of the clocksource that keeps the time */
	struct timespec64 wall; /* of the host's wall clock */
};

/* 0, or -EINVAL after one line: the kernel's timekeeper is not what symbols.h takes it for. */
int clock_init(void);
/* Before the hypercall; in stop_machine(), or no CPU could run in between. */
void clock_take(struct clock_mark *m);
/*
 * Still in stop_machine(), once the clocksource works again: syscore_suspend() between the two takes the time of the
 * mark for now, and syscore_resume() afterwards adds what lies between as time slept.
 */
void clock_back(const struct clock_mark *m, struct pvclock_wall_clock *kept);
void clock_forth(const struct pvclock_wall_clock *kept);

#endif
