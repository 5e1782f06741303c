// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See cycle.h. What is left out against the kernel's do_suspend() in the same domain: freezing tasks, the device
 * phases, the system core phase. None of it changes anything there; all of it takes place after the hypercall when
 * the domain is new, in the order of the kernel's own resume.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "guest/cycle.h"

#include <linux/atomic.h>
#include <linux/cpu.h>
#include <linux/errno.h>
#include <linux/irqflags.h>
#include <linux/notifier.h>
#include <linux/pm.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/smp.h>
#include <linux/stop_machine.h>
#include <linux/string.h>
#include <linux/syscore_ops.h>
#include <xen/interface/event_channel.h>
#include <xen/interface/xen.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/msr.h>
#include <asm/special_insns.h>
#include <asm/tsc.h>
#include <asm/xen/hypercall.h>

#include "guest/disks.h"
#include "guest/home.h"
#include "guest/others.h"
#include "guest/suspend_abi.h"
#include "guest/symbols.h"

/* A task that waits for a disk cannot be frozen before its device has arrived. It must not hold up the arrival. */
#define FREEZE_MS 50
#define PHASE_TRIES 3
/* What is longer is no checkpoint: another toolstack has saved the guest, or has failed to migrate it. */
#define LONG_PAUSE_MS 1000

/* Where nobody holds the other end, nobody would resume us. */
static bool somebody_asks(u32 port)
{
	struct evtchn_status st = {.dom = DOMID_SELF, .port = port};

	return HYPERVISOR_event_channel_op(EVTCHNOP_status, &st) == 0 &&
	       st.status == EVTCHNSTAT_interdomain;
}

/*
 * A wakeup event, which is nothing to us, would refuse it. The kernel's way forgets them when it begins to freeze. The
 * second try is for whoever reads and writes /sys/power/wakeup_count: one refusal ends that.
 */
static int suspend_core(void)
{
	int rc;

	atomic_set(ksym.pm_abort_suspend, 0);
	rc = syscore_suspend();
	return rc == -EBUSY ? syscore_suspend() : rc;
}

/* As a pair: the way back adds the time slept, unmasks the interrupts between CPUs and starts the tick. */
static void restart_core(const struct cycle *c)
{
	struct pvclock_wall_clock kept;
	int rc;

	clock_back(&c->mark, &kept);
	rc = suspend_core();
	clock_forth(&kept);
	/* No part of it that a PVH guest has can fail. The way back is needed in any case: interrupts come with it. */
	if (rc)
		pr_crit("system core: error %d\n", rc);
	syscore_resume();
}

/* The one CPU that runs brings its domain, clocks and interrupts to life. Interrupts are off. */
static void wake_in_new_domain(const struct cycle *c)
{
	int rc;

	others_defer_probes();
	/* The time that was stolen is still in the guest's own memory, as the old host left it. */
	ksym.xen_manage_runstate_time(-1);
	ksym.xen_arch_post_suspend(0);
	ksym.xen_manage_runstate_time(0);
	rc = ksym.gnttab_resume();
	if (rc)
		pr_err("grant table in the new domain: error %d\n", rc);
	ksym.xen_irq_resume();
	ksym.xen_timer_resume();
	restart_core(c);
}

/*
 * Every toolstack but Romulus sets vCPU 0's registers to resume it where it is, and the hypervisor then forgets its
 * extended state (AVX, protection keys). It belongs to the task that a kernel thread, we or the stopper, preempted here. That
 * task's registers were saved when the thread was switched to; but the CPU counts as still holding them, so that
 * they would not be loaded again. To use the FPU in between makes the CPU forget it. The keys are not among what is
 * loaded. Of other vCPUs no toolstack sets anything.
 */
static int hypercall(void)
{
	bool keys = cpu_feature_enabled(X86_FEATURE_OSPKE);
	u32 pkru = keys ? rdpkru() : 0;
	int rc = HYPERVISOR_suspend(SUSPEND_SELF_AWARE);

	kernel_fpu_begin();
	kernel_fpu_end();
	if (keys)
		wrpkru(pkru);
	return rc;
}

/*
 * A checkpoint costs no clock anything. Minutes at once would be too much: what waits for a timer would find it long
 * past, a watchdog (softdog, systemd's) that nobody has fed, tasks that hang, RCU that has stalled. There the kernel's
 * suspend is the better model, which stops CLOCK_MONOTONIC. The other CPUs' timers then fire too early, if they have
 * not yet, and are set anew by that.
 */
static void wake_in_place(const struct cycle *c)
{
	if (c->paused > (u64)LONG_PAUSE_MS * tsc_khz)
		restart_core(c);
}

static int suspend_stopped(void *arg)
{
	struct cycle *c = arg;
	int rc = c->last_look();

	if (rc)
		return rc;
	if (!somebody_asks(c->port))
		return -ENOTCONN;
	clock_take(&c->mark);
	c->paused = rdtsc_ordered();
	rc = hypercall();
	c->paused = rdtsc_ordered() - c->paused;
	/* Not 0: it was refused, or we were told that it was cancelled. 0 says nothing. */
	c->moved = rc == 0 && !home_is_here();
	if (c->moved)
		wake_in_new_domain(c);
	else
		wake_in_place(c);
	return min(rc, 0);
}

/* With one CPU there is nobody to stop, and the stopper's thread need not be woken. False: there are more. */
static bool run_alone(struct cycle *c, int *rc)
{
	unsigned long flags;
	bool alone;

	cpus_read_lock();
	alone = num_online_cpus() == 1;
	if (alone) {
		local_irq_save(flags);
		*rc = suspend_stopped(c);
		local_irq_restore(flags);
	}
	cpus_read_unlock();
	return alone;
}

int cycle_run(struct cycle *c)
{
	int rc;

	c->moved = false;
	return run_alone(c, &rc) ? rc : stop_machine(suspend_stopped, c, cpumask_of(0));
}

/* ---- arrival ---- */

static void restart_tick(void *unused)
{
	/* That of the CPU which made the hypercall came back with the system core. */
	if (smp_processor_id() == 0)
		return;
	ksym.tick_suspend_local();
	ksym.tick_resume_local();
}

static bool freeze(void)
{
	unsigned int usual = *ksym.freeze_timeout_msecs;
	bool frozen;

	WRITE_ONCE(*ksym.freeze_timeout_msecs, FREEZE_MS);
	frozen = ksym.freeze_processes() == 0;
	if (frozen)
		(void)ksym.freeze_kernel_threads();
	WRITE_ONCE(*ksym.freeze_timeout_msecs, usual);
	return frozen;
}

/* Every device must be suspended once, or it will not be resumed. */
static void suspend_devices(void)
{
	int rc = 0;
	int i;

	for (i = 0; i < PHASE_TRIES; i++) {
		atomic_set(ksym.pm_abort_suspend, 0);
		rc = dpm_suspend_start(PMSG_FREEZE);
		if (!rc)
			break;
		dpm_resume_end(PMSG_RECOVER);
	}
	if (rc)
		pr_crit("a device cannot be brought to the new domain: error %d\n", rc);
	rc = dpm_suspend_end(PMSG_FREEZE);
	if (rc)
		pr_crit("a device cannot be brought to the new domain, late phase: error %d\n", rc);
}

void cycle_arrive(void)
{
	pid_t watcher = others_pass_for_watcher(current->pid);
	/* To free memory by writing to a disk would wait for what follows. */
	unsigned int noio = memalloc_noio_save();
	bool frozen;

	ksym.xen_console_resume();
	raw_notifier_call_chain(ksym.xen_resume_notifier, 0, NULL);
	on_each_cpu(restart_tick, NULL, 1);
	frozen = freeze();
	disks_stop();
	suspend_devices();
	dpm_resume_start(PMSG_RESTORE);
	ksym.xs_resume();
	dpm_resume_end(PMSG_RESTORE);
	disks_go_on();
	if (frozen)
		ksym.thaw_processes();
	memalloc_noio_restore(noio);
	(void)others_pass_for_watcher(watcher);
}
