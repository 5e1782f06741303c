// SPDX-License-Identifier: GPL-2.0-or-later
/* See symbols.h. A kprobe tells where kallsyms_lookup_name() is, and that one where everything else is. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "guest/symbols.h"

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/printk.h>
#include <asm/cpufeature.h>

struct kernel_symbols ksym;

struct wanted {
	const char *name;
	void *where; /* the pointer in ksym */
};

#define WANT(symbol)                  \
	{                             \
#symbol, &ksym.symbol \
	}

static const struct wanted wanted[] = {
	WANT(freeze_processes),
	WANT(freeze_kernel_threads),
	WANT(thaw_processes),
	WANT(freeze_timeout_msecs),
	WANT(pm_abort_suspend),
	WANT(probe_count),
	WANT(defer_all_probes),
	WANT(block_class),
	WANT(xen_pvh),
	WANT(HYPERVISOR_shared_info),
	WANT(xen_arch_post_suspend),
	WANT(xen_manage_runstate_time),
	WANT(gnttab_resume),
	WANT(xen_irq_resume),
	WANT(xen_timer_resume),
	WANT(xen_console_resume),
	WANT(xen_resume_notifier),
	WANT(xenwatch_mutex),
	WANT(xenwatch_pid),
	WANT(irq_mapping_update_lock),
	WANT(xs_resume),
	WANT(xs_watch_rwsem),
	WANT(xs_response_mutex),
	WANT(xs_state_lock),
	WANT(xs_state_enter_wq),
	WANT(xs_state_exit_wq),
	WANT(xs_state_users),
	WANT(xs_suspend_active),
	WANT(tick_suspend_local),
	WANT(tick_resume_local),
	WANT(read_persistent_clock64),
	WANT(tk_core),
	WANT(shadow_timekeeper),
	WANT(xen_clocksource),
	WANT(clocksource_tsc),
};

typedef unsigned long (*lookup_fn)(const char *name);

/* Then a call of a function that the kernel itself never calls through a pointer is a fault. Since Linux 5.18. */
static bool branches_tracked(void)
{
#ifdef X86_FEATURE_IBT
	return cpu_feature_enabled(X86_FEATURE_IBT);
#else
	return false;
#endif
}

static lookup_fn find_lookup(void)
{
	struct kprobe probe = {.symbol_name = "kallsyms_lookup_name"};
	lookup_fn lookup;

	if (register_kprobe(&probe) < 0)
		return NULL;
	lookup = (lookup_fn)probe.addr;
	unregister_kprobe(&probe);
	return lookup;
}

int symbols_find(void)
{
	lookup_fn lookup;
	size_t i;

	if (branches_tracked()) {
		pr_err("not loaded: this kernel tracks indirect branches (ibt); its own suspend stays in use\n");
		return -EOPNOTSUPP;
	}
	lookup = find_lookup();
	if (!lookup) {
		pr_err("not loaded: this kernel has no kprobes, so its own suspend cannot be found; it stays in use\n");
		return -ENOENT;
	}
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		unsigned long addr = lookup(wanted[i].name);

		if (!addr) {
			pr_err("not loaded: this kernel has no %s; its own suspend stays in use\n",
			       wanted[i].name);
			return -ENOENT;
		}
		*(unsigned long *)wanted[i].where = addr;
	}
	return 0;
}
