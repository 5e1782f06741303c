// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See clock.h. The kernel itself suspends its timekeeper before the hypercall, whatever follows; then
 * CLOCK_MONOTONIC lacks the time of each checkpoint. Here the timekeeper is suspended and resumed only after
 * it is known that the domain is new, and so that it does not take the step of the clocksource for time, its
 * last reading is moved by that step first.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "guest/clock.h"

#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/printk.h>
#include <linux/timekeeping.h>

#include "guest/symbols.h"

#define TRIES 100

static u64 read_cycles(void)
{
	struct clocksource *clock = READ_ONCE(ksym.tk_core->timekeeper.tkr_mono.clock);

	return clock->read(clock);
}

/* CLOCK_MONOTONIC in ns, computed from the timekeeper; *ok is false if that changed meanwhile. */
static s64 own_monotonic(bool *ok)
{
	struct timekeeper_core *core = ksym.tk_core;
	const struct tk_read_base *tkr = &core->timekeeper.tkr_mono;
	unsigned int seq = read_seqcount_begin(&core->seq);
	u64 delta = (read_cycles() - tkr->cycle_last) & tkr->mask;
	s64 ns =
		ktime_to_ns(tkr->base) + (s64)((delta * tkr->mult + tkr->xtime_nsec) >> tkr->shift);

	*ok = !read_seqcount_retry(&core->seq, seq);
	return ns;
}

int clock_init(void)
{
	struct clocksource *clock = READ_ONCE(ksym.tk_core->timekeeper.tkr_mono.clock);
	int i;

	/* Nothing is followed before it is known to be what it should be. */
	if (clock != ksym.xen_clocksource && clock != ksym.clocksource_tsc) {
		pr_err("not loaded: the clocksource is neither xen nor tsc, or this kernel's timekeeper is laid out otherwise; the kernel's own suspend stays in use\n");
		return -EINVAL;
	}
	for (i = 0; i < TRIES; i++) {
		bool ok;
		s64 before = ktime_to_ns(ktime_get());
		s64 own = own_monotonic(&ok);
		s64 after = ktime_to_ns(ktime_get());

		if (ok && own >= before && own <= after)
			return 0;
	}
	pr_err("not loaded: this kernel's timekeeper is laid out otherwise; its own suspend stays in use\n");
	return -EINVAL;
}

void clock_take(struct clock_mark *m)
{
	ksym.read_persistent_clock64(&m->wall);
	m->cycles = read_cycles();
}

void clock_rebase(const struct clock_mark *m)
{
	struct timekeeper *tk = &ksym.tk_core->timekeeper;
	u64 step = read_cycles() - m->cycles;

	tk->tkr_mono.cycle_last = (tk->tkr_mono.cycle_last + step) & tk->tkr_mono.mask;
	tk->tkr_raw.cycle_last = (tk->tkr_raw.cycle_last + step) & tk->tkr_raw.mask;
}

void clock_add_sleep(const struct clock_mark *m)
{
	struct timespec64 slept;
	struct timespec64 now;

	ksym.read_persistent_clock64(&now);
	slept = timespec64_sub(now, m->wall);
	/* Hosts whose wall clocks differ: a guest's clock is never set back. */
	if (timespec64_to_ns(&slept) > 0)
		ksym.timekeeping_inject_sleeptime64(&slept);
}
