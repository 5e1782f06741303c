/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One suspend: all CPUs stop, the hypercall, and the answer to where the guest woke up. */
#ifndef SUSPEND_CYCLE_H
#define SUSPEND_CYCLE_H

#include <linux/types.h>

#include "guest/clock.h"

struct cycle {
	u32 port; /* in: the port of the offer, which somebody has bound */
	int (*last_look)(
		void); /* in: called with everything stopped, right before; 0, or why not */
	struct clock_mark mark;
	bool moved; /* out: it is another domain, and cycle_arrive() must follow */
	u64 paused; /* out: TSC ticks from the hypercall to its return; worth something in the same domain only */
};

/*
 * Suspends the guest. When it returns 0 the guest runs on, in the same domain with nothing changed, or, moved, in
 * another one as far as one stopped CPU can bring it. A negative errno: it was not suspended. CPU 0 is online, and the
 * caller has stopped the others and made the store quiet.
 */
int cycle_run(struct cycle *c);
/* The rest of the arrival in another domain: devices, the store, timers. Ends the quiet of the store. May sleep. */
void cycle_arrive(void);

#endif
