// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xen_suspend_channel: a PVH guest offers an event channel over which the toolstack asks it to suspend, as Xen's host
 * side has always been able to (suspend_abi.h), and takes a short way into the hypercall. docs/suspend.md tells why
 * and how. This file: the offer, the thread that answers it, loading and unloading.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/suspend.h>
#include <linux/wait.h>
#include <xen/events.h>
#include <xen/interface/event_channel.h>
#include <xen/xen-ops.h>
#include <xen/xen.h>
#include <xen/xenbus.h>
#include <asm/tsc.h>
#include <asm/xen/hypercall.h>

#include "guest/cycle.h"
#include "guest/home.h"
#include "guest/others.h"
#include "guest/store.h"
#include "guest/suspend_abi.h"
#include "guest/symbols.h"

#define TOOLSTACK_DOM 0
/* From the end of the offer in the store until the channel closes: who has just asked still gets an answer. */
#define GRACE_MS 250
/* For how long a device's probe that begins at the last moment is given way. */
#define AGAIN_LIMIT HZ
#define RETRY (10 * HZ)

enum work {
	WORK_SUSPEND, /* the toolstack asks */
	WORK_RENEW,   /* the kernel's own suspend may have brought us to a new domain */
};

/* Held while the guest is suspended, and by whoever changes the offer. */
static DEFINE_MUTEX(lock);
static u32 port; /* 0: nothing is offered */
static int irq;
static bool offering; /* between loading and unloading, but for the system's own sleep */
static unsigned long work;
/* The kernel's own suspends so far, and our arrivals; and what that was when the toolstack asked. */
static unsigned int kernel_suspends;
static unsigned int asked_after;
static DECLARE_WAIT_QUEUE_HEAD(wake);
static struct task_struct *thread;

static unsigned long cycles;
module_param(cycles, ulong, 0444);
MODULE_PARM_DESC(cycles, "suspends so far");
static unsigned long moves;
module_param(moves, ulong, 0444);
MODULE_PARM_DESC(moves, "of these, how many led to a new domain");
static unsigned long declined;
module_param(declined, ulong, 0444);
MODULE_PARM_DESC(declined, "requests that were not obeyed");

/* The newest pauses, as this kernel saw them. */
#define PAUSES 64
static unsigned int pause_us[PAUSES];

static int get_pauses(char *text, const struct kernel_param *kp)
{
	unsigned long end = READ_ONCE(cycles);
	unsigned long i = end > PAUSES ? end - PAUSES : 0;
	int n = 0;

	for (; i < end; i++)
		n += scnprintf(text + n, PAGE_SIZE - n, "%u ", READ_ONCE(pause_us[i % PAUSES]));
	return n + scnprintf(text + n, PAGE_SIZE - n, "\n");
}

static const struct kernel_param_ops pauses_ops = {.get = get_pauses};
module_param_cb(pauses_us, &pauses_ops, NULL, 0444);
MODULE_PARM_DESC(
	pauses_us,
	"how long the newest 64 suspends lasted, from the hypercall to its return, by the TSC");

/* ---- the offer; under the lock ---- */

static void ask_thread(enum work what)
{
	set_bit(what, &work);
	wake_up(&wake);
}

static irqreturn_t asked(int unused, void *data)
{
	asked_after = kernel_suspends;
	ask_thread(WORK_SUSPEND);
	return IRQ_HANDLED;
}

static void close_channel(void)
{
	if (port)
		unbind_from_irqhandler(irq, &port);
	port = 0;
	home_unmark();
}

static int open_channel(void)
{
	struct evtchn_alloc_unbound op = {.dom = DOMID_SELF, .remote_dom = TOOLSTACK_DOM};
	int rc = HYPERVISOR_event_channel_op(EVTCHNOP_alloc_unbound, &op);

	if (rc)
		return rc;
	irq = bind_evtchn_to_irqhandler(op.port, asked, 0, "xen-suspend", &port);
	/* It may have closed the port, or not. To leave one open costs nothing; to close it twice may hit another's. */
	if (irq < 0)
		return irq;
	port = op.port;
	return 0;
}

static void retract(void)
{
	(void)xenbus_printf(XBT_NIL, SUSPEND_DIR, SUSPEND_NODE, "%s", "");
}

static int offer(void)
{
	int rc = home_mark();

	if (!rc)
		rc = open_channel();
	if (!rc)
		rc = xenbus_printf(XBT_NIL, SUSPEND_DIR, SUSPEND_NODE, "%u", port);
	if (rc) {
		pr_err("no suspend channel: error %d; the kernel's own suspend stays in use\n", rc);
		retract();
		close_channel();
	}
	return rc;
}

/* After a move the kernel knows of no port of ours any more. */
static bool channel_lives(void)
{
	return port && irq_from_evtchn(port) == (unsigned int)irq;
}

/* ---- the thread ---- */

/* Everything is stopped. */
static int last_look(void)
{
	/*
	 * The kernel's own suspend may have overtaken us: who asks for that does not wait for this any more. Where it led
	 * to a new domain, the number is no port, or another's.
	 */
	if (kernel_suspends != asked_after || !channel_lives())
		return -ESTALE;
	if (others_probe())
		return -EAGAIN;
	/* Whoever has asked again up to here has asked for this. */
	clear_bit(WORK_SUSPEND, &work);
	return 0;
}

static int suspend_quietly(struct cycle *c)
{
	int rc = store_quiet();

	if (rc) {
		others_may_bind();
		return rc;
	}
	rc = cycle_run(c);
	others_may_bind();
	if (c->moved)
		cycle_arrive();
	else
		store_go_on();
	return rc;
}

static int suspend_once(struct cycle *c)
{
	int rc;

	*c = (struct cycle){.port = port, .last_look = last_look};
	if (!port || !cpu_online(0))
		return -ENODEV;
	rc = others_stop();
	if (rc)
		return rc;
	rc = suspend_quietly(c);
	others_go_on();
	return rc;
}

static void obey(void)
{
	unsigned long end = jiffies + AGAIN_LIMIT;
	struct cycle c;
	int rc;

	do
		rc = suspend_once(&c);
	while (rc == -EAGAIN && time_before(jiffies, end));
	if (rc) {
		declined++;
		pr_warn_ratelimited("cannot suspend now: error %d\n", rc);
		return;
	}
	pause_us[cycles % PAUSES] = c.moved ? 0 : (unsigned int)div64_u64(c.paused * 1000, tsc_khz);
	WRITE_ONCE(cycles, cycles + 1);
	moves += c.moved;
}

static void renew(void)
{
	if (!offering || channel_lives())
		return;
	close_channel();
	(void)offer();
}

static int serve(void *unused)
{
	while (!kthread_should_stop()) {
		/* Without an offer one is tried from time to time. */
		wait_event_idle_timeout(wake, READ_ONCE(work) || kthread_should_stop(),
					READ_ONCE(port) ? MAX_SCHEDULE_TIMEOUT : RETRY);
		mutex_lock(&lock);
		if (test_and_clear_bit(WORK_SUSPEND, &work))
			obey();
		if (test_and_clear_bit(WORK_RENEW, &work) || !port)
			renew();
		mutex_unlock(&lock);
	}
	return 0;
}

/* ---- coming and going ---- */

static void begin_offering(void)
{
	mutex_lock(&lock);
	offering = true;
	renew();
	mutex_unlock(&lock);
}

static void end_offering(void)
{
	mutex_lock(&lock);
	offering = false;
	retract();
	mutex_unlock(&lock);
	msleep(GRACE_MS);
	mutex_lock(&lock);
	close_channel();
	mutex_unlock(&lock);
}

/* The kernel's own suspend, and our arrival, end with this; the store is not back yet. */
static int resumed(struct notifier_block *nb, unsigned long action, void *data)
{
	kernel_suspends++;
	ask_thread(WORK_RENEW);
	return NOTIFY_OK;
}

/* The system's own sleep must not be met half-way, and a woken one may have lost its channels. */
static int system_sleep(struct notifier_block *nb, unsigned long action, void *data)
{
	switch (action) {
	case PM_HIBERNATION_PREPARE:
	case PM_SUSPEND_PREPARE:
	case PM_RESTORE_PREPARE:
		end_offering();
		break;
	case PM_POST_HIBERNATION:
	case PM_POST_SUSPEND:
	case PM_POST_RESTORE:
		begin_offering();
		break;
	default:
		break;
	}
	return NOTIFY_OK;
}

/* A kernel that follows this one in the same domain (kexec) would inherit an offer of which it knows nothing. */
static int system_restarts(struct notifier_block *nb, unsigned long action, void *data)
{
	if (action == SYS_RESTART)
		end_offering();
	return NOTIFY_OK;
}

static struct notifier_block resume_nb = {.notifier_call = resumed};
static struct notifier_block sleep_nb = {.notifier_call = system_sleep};
static struct notifier_block restart_nb = {.notifier_call = system_restarts};

static int make_thread(void)
{
	struct task_struct *t = kthread_create(serve, NULL, "xen-suspend");

	if (IS_ERR(t))
		return PTR_ERR(t);
	/* There the channel's interrupt arrives and the hypercall is made: nobody else has to wake up first. */
	kthread_bind(t, 0);
	/* The request is not to wait behind the guest's load. */
	sched_set_fifo(t);
	thread = t;
	wake_up_process(t);
	return 0;
}

/* 0, or after one line: this is nothing for us. */
static int __init look_around(void)
{
	/* A kernel that knows nothing of PVH has no xen_pvh; symbols_find() says so. */
	int rc = xen_hvm_domain() ? symbols_find() : 0;

	if (rc)
		return rc;
	/* A dom0 may be PVH, too; there is nobody who would resume it. */
	if (!xen_hvm_domain() || !*ksym.xen_pvh || xen_initial_domain()) {
		pr_err("not loaded: this is not a PVH guest of Xen\n");
		return -ENODEV;
	}
	if (!tsc_khz) {
		pr_err("not loaded: this kernel does not know its TSC's frequency; its own suspend stays in use\n");
		return -EINVAL;
	}
	return clock_init();
}

static int __init channel_init(void)
{
	int rc = look_around();

	if (!rc)
		rc = make_thread();
	if (rc)
		return rc;
	begin_offering();
	if (!port) {
		end_offering();
		kthread_stop(thread);
		return -EIO;
	}
	xen_resume_notifier_register(&resume_nb);
	register_pm_notifier(&sleep_nb);
	register_reboot_notifier(&restart_nb);
	pr_info("suspend event channel offered on port %u\n", port);
	return 0;
}

static void __exit channel_exit(void)
{
	unregister_reboot_notifier(&restart_nb);
	unregister_pm_notifier(&sleep_nb);
	xen_resume_notifier_unregister(&resume_nb);
	end_offering();
	kthread_stop(thread);
}

module_init(channel_init);
module_exit(channel_exit);
MODULE_DESCRIPTION("Suspend event channel for PVH guests of Xen");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
