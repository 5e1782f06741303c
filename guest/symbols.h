/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel's own suspend (drivers/xen/manage.c) uses and does not export. Found by name when the module
 * is loaded; a kernel that lacks one of them keeps its own suspend and nothing else changes.
 */
#ifndef SUSPEND_SYMBOLS_H
#define SUSPEND_SYMBOLS_H

#include <linux/atomic.h>
#include <linux/clocksource.h>
#include <linux/device.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/time64.h>
#include <linux/timekeeper_internal.h>
#include <linux/wait.h>
#include <xen/interface/xen.h>

/* Of kernel/time/timekeeping.c. clock_init() finds out whether it looks like this here. */
struct timekeeper_core {
	seqcount_raw_spinlock_t seq;
	struct timekeeper timekeeper;
} ____cacheline_aligned;

struct kernel_symbols {
	/* kernel/power/process.c */
	int (*freeze_processes)(void);
	int (*freeze_kernel_threads)(void);
	void (*thaw_processes)(void);
	unsigned int *freeze_timeout_msecs;
	/* drivers/base */
	atomic_t *pm_abort_suspend;
	atomic_t *probe_count;
	bool *defer_all_probes;
	struct class *block_class; /* block/genhd.c */
	/* arch/x86/xen, drivers/xen */
	const bool *xen_pvh; /* not exported before Linux 5.15 */
	struct shared_info **HYPERVISOR_shared_info;
	void (*xen_arch_post_suspend)(int cancelled);
	void (*xen_manage_runstate_time)(int action);
	int (*gnttab_resume)(void);
	void (*xen_irq_resume)(void);
	void (*xen_timer_resume)(void);
	void (*xen_console_resume)(void);
	struct raw_notifier_head *xen_resume_notifier;
	struct mutex *irq_mapping_update_lock;
	/* drivers/xen/xenbus/xenbus_xs.c */
	struct mutex *xenwatch_mutex;
	pid_t *xenwatch_pid;
	void (*xs_resume)(void);
	struct rw_semaphore *xs_watch_rwsem;
	struct mutex *xs_response_mutex;
	spinlock_t *xs_state_lock;
	wait_queue_head_t *xs_state_enter_wq;
	wait_queue_head_t *xs_state_exit_wq;
	unsigned int *xs_state_users;
	int *xs_suspend_active;
	/* kernel/time */
	void (*tick_suspend_local)(void);
	void (*tick_resume_local)(void);
	void (*read_persistent_clock64)(struct timespec64 *ts);
	struct timekeeper_core *tk_core;
	/*
	 * Not used. From Linux 6.13 on it is a part of tk_core, and the suspend of the timekeeper begins from it, so that
	 * what clock_back() does would be lost: such a kernel is not for this module.
	 */
	struct timekeeper *shadow_timekeeper;
	struct clocksource *xen_clocksource;
	struct clocksource *clocksource_tsc;
};

extern struct kernel_symbols ksym;

/* 0, or -ENOENT after one line that names what is missing. May sleep. */
int symbols_find(void);

#endif
