// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See clock.h. The kernel itself suspends its timekeeper before the hypercall, whatever follows; then
 * CLOCK_MONOTONIC lacks the time of each checkpoint. Here the timekeeper is suspended and resumed only after
 * it is known that the domain is new, and for that its two sources are set back to the mark first: the clocksource by
 * moving the last reading of it, so that its step is not taken for time; the wall clock by moving what Xen says of it.
 * So the timekeeper finds what it would have found before the hypercall, also for the difference of guest's and host's
 * time that it keeps from suspend to suspend; and when it resumes, with the wall clock as it is, it finds what has been
 * slept. To add that afterwards would count some of it twice.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "guest/clock.h"

#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/timekeeping.h>
#include <xen/interface/xen.h>

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

/* Its last reading moves by the step, so that the timekeeper stands where it stood at the mark. */
static void rebase(const struct clock_mark *m)
{
	struct timekeeper *tk = &ksym.tk_core->timekeeper;
	u64 step = read_cycles() - m->cycles;

	tk->tkr_mono.cycle_last = (tk->tkr_mono.cycle_last + step) & tk->tkr_mono.mask;
	tk->tkr_raw.cycle_last = (tk->tkr_raw.cycle_last + step) & tk->tkr_raw.mask;
}

/* What Xen shares with us: the wall's time at the origin of its own clock. The kernel adds the latter's reading. */
static struct pvclock_wall_clock *wall_base(void)
{
	return &(*ksym.HYPERVISOR_shared_info)->wc;
}

/* Only this CPU reads it meanwhile. The version, which is Xen's, stays; Xen never looks at the rest. */
static void set_wall_base(u32 sec, u32 nsec)
{
	WRITE_ONCE(wall_base()->sec, sec);
	WRITE_ONCE(wall_base()->nsec, nsec);
}

void clock_back(const struct clock_mark *m, struct pvclock_wall_clock *kept)
{
	struct timespec64 now;
	s64 base;
	u64 sec;
	u32 nsec;

	rebase(m);
	ksym.read_persistent_clock64(&now);
	*kept = *wall_base();
	base = kept->sec * NSEC_PER_SEC + kept->nsec -
	       (timespec64_to_ns(&now) - timespec64_to_ns(&m->wall));
	sec = div_u64_rem(max_t(s64, base, 0), NSEC_PER_SEC, &nsec);
	set_wall_base((u32)sec, nsec);
}

void clock_forth(const struct pvclock_wall_clock *kept)
{
	/* Unless the host has just been given another time, and Xen has told us. */
	if (READ_ONCE(wall_base()->version) == kept->version)
		set_wall_base(kept->sec, kept->nsec);
}
