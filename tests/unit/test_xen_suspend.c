/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's half of a suspension (xen_suspend.c, xen_channel.c) against a hypervisor, a store and a guest with the
 * suspend module, all made of a few variables. Time passes when somebody waits, and the guest runs when time passes.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/suspend_abi.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "replicator/xen_guest.h"

#define DOMID 7
#define STEP_NS (100 * NS_PER_US)

static struct world {
	uint64_t now;

	/* What the hypervisor knows. */
	bool gone;
	bool paused; /* xl pause: no vCPU runs */
	bool shutdown;
	unsigned int code;
	uint64_t rdx;
	uint64_t rax;
	uint32_t subscribed;
	bool event; /* ... pending at our end */

	/* The channel: the guest's end is open, ours is bound to it. */
	uint32_t guest_port;
	int our_port;
	unsigned int binding; /* which one, 0: none */
	unsigned int bindings;
	bool others_lock; /* xl has the channel */
	bool our_lock;

	/* The store. */
	char node[32];
	unsigned int node_len;
	char offer[16];

	/* The guest. */
	bool notified;
	bool asleep;	       /* its module declines: too busy */
	bool in_gap;	       /* between its look at the channel and the hypercall */
	bool gap_wanted;       /* it stops there next */
	bool store_deaf;       /* it does not look at control/shutdown */
	unsigned int declined; /* requests */
	unsigned int suspends;
	unsigned int bugs; /* it took itself to be in a new domain */

	/* What was done. */
	unsigned int binds;
	unsigned int offers_read;
	unsigned int events_read;
	unsigned int told;
	unsigned int bare;
} w;

static struct xen_scratch scratch;
static struct xen_guest *x;

/* ---- the guest ---- */

static void hypercall(uint64_t rdx)
{
	w.shutdown = true;
	w.code = SHUTDOWN_suspend;
	w.rdx = rdx;
	w.rax = 0;
	w.suspends++;
	if (w.subscribed && w.subscribed == w.guest_port && w.binding)
		w.event = true;
}

static void guest_runs(void)
{
	if (w.gone || w.paused || w.shutdown)
		return;
	if (w.in_gap) {
		w.in_gap = false;
		hypercall(SUSPEND_SELF_AWARE);
	} else if (w.notified && !w.asleep) {
		w.notified = false;
		w.in_gap = w.binding && w.gap_wanted;
		w.gap_wanted = false;
		if (!w.binding)
			w.declined++;
		else if (!w.in_gap)
			hypercall(SUSPEND_SELF_AWARE);
		else
			w.paused = true;
	} else if (!w.store_deaf && strcmp(w.node, "suspend") == 0) {
		w.node[0] = '\0';
		w.node_len = 0;
		hypercall(0);
	}
}

/* The module knows where it is, whatever its channel says. The kernel's own suspend has to be told. */
static void guest_wakes(void)
{
	if (!w.shutdown)
		return;
	w.shutdown = false;
	if (w.rax == 1)
		w.told++;
	else
		w.bare++;
	if (w.rax == 0 && w.rdx != SUSPEND_SELF_AWARE)
		w.bugs++;
}

static void pass(uint64_t ns)
{
	uint64_t end = w.now + ns;

	while (w.now < end) {
		guest_runs();
		w.now += MIN(STEP_NS, end - w.now);
	}
}

static void guest_offers(uint32_t port)
{
	if (w.binding)
		w.binding = 0;
	w.guest_port = port;
	w.offer[0] = '\0';
	if (port)
		snprintf(w.offer, sizeof(w.offer), "%u", port);
	atomic_store(&x->offered, true);
}

/* ---- the system ---- */

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	*ts = clock_timespec(w.now);
	return 0;
}

int __wrap_clock_nanosleep(clockid_t id, int flags, const struct timespec *ts,
			   struct timespec *left);
int __wrap_clock_nanosleep(clockid_t id, int flags, const struct timespec *ts,
			   struct timespec *left)
{
	uint64_t until = (uint64_t)ts->tv_sec * NS_PER_SEC + (uint64_t)ts->tv_nsec;

	pass(clock_until(until, w.now));
	return 0;
}

int __wrap_ppoll(struct pollfd *p, nfds_t n, const struct timespec *left, const sigset_t *mask);
int __wrap_ppoll(struct pollfd *p, nfds_t n, const struct timespec *left, const sigset_t *mask)
{
	uint64_t end = w.now + (uint64_t)left->tv_sec * NS_PER_SEC + (uint64_t)left->tv_nsec;

	while (!w.event && w.now < end)
		pass(MIN(STEP_NS, end - w.now));
	return w.event;
}

/* ---- the hypervisor ---- */

static void domctl(struct xen_domctl *op)
{
	struct xen_domctl_getdomaininfo *info = &op->u.getdomaininfo;
	vcpu_guest_context_t *v = &scratch.vcpu;

	switch (op->cmd) {
	case XEN_DOMCTL_getdomaininfo:
		memset(info, 0, sizeof(*info));
		info->domain = w.gone ? DOMID + 1 : DOMID;
		info->flags = (w.shutdown ? XEN_DOMINF_shutdown : 0) |
			      (w.paused ? XEN_DOMINF_paused : 0) |
			      w.code << XEN_DOMINF_shutdownshift;
		break;
	case XEN_DOMCTL_subscribe:
		w.subscribed = op->u.subscribe.port;
		break;
	case XEN_DOMCTL_getvcpucontext:
		v->user_regs.rdx = w.rdx;
		v->user_regs.rax = w.rax;
		break;
	case XEN_DOMCTL_setvcpucontext:
		w.rax = v->user_regs.rax;
		break;
	case XEN_DOMCTL_resumedomain:
		guest_wakes();
		break;
	default:
		break;
	}
}

int __wrap_xencall1(xencall_handle *call, unsigned int op, uint64_t arg);
int __wrap_xencall1(xencall_handle *call, unsigned int op, uint64_t arg)
{
	assert_int_equal(op, __HYPERVISOR_domctl);
	domctl((struct xen_domctl *)(uintptr_t)arg);
	return 0;
}

static void notify(uint64_t op, const struct evtchn_send *send)
{
	assert_int_equal(op, EVTCHNOP_send);
	assert_int_equal(send->port, w.our_port);
	if (w.binding)
		w.notified = true;
}

int __wrap_xencall2(xencall_handle *call, unsigned int op, uint64_t arg, uint64_t n);
int __wrap_xencall2(xencall_handle *call, unsigned int op, uint64_t arg, uint64_t n)
{
	struct multicall_entry *m = (struct multicall_entry *)(uintptr_t)arg;

	assert_int_equal(op, __HYPERVISOR_multicall);
	for (uint64_t i = 0; i < n; i++) {
		m[i].result = 0;
		if (m[i].op == __HYPERVISOR_event_channel_op) {
			notify(m[i].args[0], (const struct evtchn_send *)(uintptr_t)m[i].args[1]);
			continue;
		}
		assert_int_equal(m[i].op, __HYPERVISOR_domctl);
		domctl((struct xen_domctl *)(uintptr_t)m[i].args[0]);
	}
	return 0;
}

xenevtchn_handle *__wrap_xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags);
xenevtchn_handle *__wrap_xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
	return (xenevtchn_handle *)&w;
}

int __wrap_xenevtchn_close(xenevtchn_handle *ev);
int __wrap_xenevtchn_close(xenevtchn_handle *ev)
{
	w.binding = 0;
	return 0;
}

int __wrap_xenevtchn_fd(xenevtchn_handle *ev);
int __wrap_xenevtchn_fd(xenevtchn_handle *ev)
{
	return 3;
}

xenevtchn_port_or_error_t __wrap_xenevtchn_pending(xenevtchn_handle *ev);
xenevtchn_port_or_error_t __wrap_xenevtchn_pending(xenevtchn_handle *ev)
{
	assert_true(w.event); /* it would wait */
	w.event = false;
	w.events_read++;
	return w.our_port;
}

int __wrap_xenevtchn_unmask(xenevtchn_handle *ev, evtchn_port_t port);
int __wrap_xenevtchn_unmask(xenevtchn_handle *ev, evtchn_port_t port)
{
	return 0;
}

int __wrap_xenevtchn_unbind(xenevtchn_handle *ev, evtchn_port_t port);
int __wrap_xenevtchn_unbind(xenevtchn_handle *ev, evtchn_port_t port)
{
	assert_int_equal(port, w.our_port);
	w.our_port = -1;
	w.binding = 0;
	w.event = false;
	return 0;
}

xenevtchn_port_or_error_t __wrap_xenevtchn_bind_interdomain(xenevtchn_handle *ev, uint32_t domid,
							    evtchn_port_t port);
xenevtchn_port_or_error_t __wrap_xenevtchn_bind_interdomain(xenevtchn_handle *ev, uint32_t domid,
							    evtchn_port_t port)
{
	w.binds++;
	if (!w.guest_port || port != w.guest_port || w.binding) {
		errno = EINVAL;
		return -1;
	}
	w.binding = ++w.bindings;
	w.our_port = 40 + (int)w.bindings;
	w.event = true;
	return w.our_port;
}

int __wrap_xc_suspend_evtchn_init_sane(xc_interface *xch, xenevtchn_handle *ev, uint32_t domid,
				       int port, int *lock_fd);
int __wrap_xc_suspend_evtchn_init_sane(xc_interface *xch, xenevtchn_handle *ev, uint32_t domid,
				       int port, int *lock_fd)
{
	int ours = -1;

	*lock_fd = 12345; /* undefined on failure */
	assert_false(w.our_lock);
	if (!w.others_lock)
		ours = __wrap_xenevtchn_bind_interdomain(ev, domid, (evtchn_port_t)port);
	else
		w.binds++;
	if (ours < 0)
		return -1;
	w.our_lock = true;
	w.subscribed = (uint32_t)port;
	*lock_fd = 77;
	return ours;
}

int __wrap_xc_suspend_evtchn_release(xc_interface *xch, xenevtchn_handle *ev, uint32_t domid,
				     int port, int *lock_fd);
int __wrap_xc_suspend_evtchn_release(xc_interface *xch, xenevtchn_handle *ev, uint32_t domid,
				     int port, int *lock_fd)
{
	if (port >= 0)
		(void)__wrap_xenevtchn_unbind(ev, (evtchn_port_t)port);
	if (*lock_fd >= 0) {
		assert_int_equal(*lock_fd, 77);
		w.our_lock = false;
	}
	*lock_fd = -1;
	return -1;
}

int __wrap_xc_evtchn_status(xc_interface *xch, xc_evtchn_status_t *st);
int __wrap_xc_evtchn_status(xc_interface *xch, xc_evtchn_status_t *st)
{
	assert_int_equal(st->port, w.our_port);
	st->status = w.binding ? EVTCHNSTAT_interdomain : EVTCHNSTAT_unbound;
	return 0;
}

/* ---- the store ---- */

void *__wrap_xs_read(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *len);
void *__wrap_xs_read(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *len)
{
	char *text = calloc(1, sizeof(w.node) + 1);

	if (strcmp(path, "/local/domain/7/control/shutdown") == 0) {
		memcpy(text, w.node, w.node_len);
		if (len)
			*len = w.node_len;
	} else {
		assert_string_equal(path, "/local/domain/7/device/suspend/event-channel");
		w.offers_read++;
		memcpy(text, w.offer, sizeof(w.offer));
	}
	return text;
}

bool __wrap_xs_write(struct xs_handle *xs, xs_transaction_t t, const char *path, const void *data,
		     unsigned int len);
bool __wrap_xs_write(struct xs_handle *xs, xs_transaction_t t, const char *path, const void *data,
		     unsigned int len)
{
	assert_string_equal(path, "/local/domain/7/control/shutdown");
	memset(w.node, 0, sizeof(w.node));
	memcpy(w.node, data, len);
	w.node_len = len;
	return true;
}

xs_transaction_t __wrap_xs_transaction_start(struct xs_handle *xs);
xs_transaction_t __wrap_xs_transaction_start(struct xs_handle *xs)
{
	return 1;
}

bool __wrap_xs_transaction_end(struct xs_handle *xs, xs_transaction_t t, bool abort);
bool __wrap_xs_transaction_end(struct xs_handle *xs, xs_transaction_t t, bool abort)
{
	return true;
}

/* ---- the tests ---- */

#define DEADLINE (2 * NS_PER_SEC)

static int set_up(void **state)
{
	static char ext[64];

	w = (struct world){.now = 1000 * NS_PER_SEC, .our_port = -1};
	memset(&scratch, 0, sizeof(scratch));
	x = calloc(1, sizeof(*x));
	x->s = &scratch;
	x->g.info.domid = DOMID;
	snprintf(x->g.info.name, sizeof(x->g.info.name), "g");
	snprintf(x->shutdown_path, sizeof(x->shutdown_path), "/local/domain/7/control/shutdown");
	x->path = &xen_path_xenstore;
	x->channel.port = -1;
	x->channel.lock_fd = -1;
	x->ext_buf.data = ext;
	x->ext_max = sizeof(ext);
	guest_offers(9);
	assert_int_equal(xen_channel_init(x, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	xen_channel_fini(x);
	assert_false(w.our_lock);
	assert_int_equal(w.subscribed, 0);
	assert_int_equal(w.bugs, 0);
	free(x);
	return 0;
}

static struct suspend_result ask(void)
{
	struct suspend_result r;

	assert_int_equal(xen_suspend(&x->g, w.now + DEADLINE, &r, NULL), 0);
	return r;
}

/* As a checkpoint does: what the guest said in its hypercall is read in the pause. */
static void capture(void)
{
	x->captured = true;
	x->state.self_aware = w.rdx == SUSPEND_SELF_AWARE;
}

static void cycle(const char *path)
{
	struct suspend_result r = ask();

	assert_int_equal(r.outcome, SUSPEND_DONE);
	assert_string_equal(r.path, path);
	capture();
	assert_int_equal(xen_resume(&x->g), 0);
	assert_false(w.shutdown);
}

static void goes_by_the_channel(void **state)
{
	for (int i = 0; i < 3; i++)
		cycle("event channel");
	assert_int_equal(w.binds, 1);
	assert_int_equal(w.subscribed, 0);
	assert_int_equal(w.suspends, 3);
	guest_offers(0);
	cycle("xenstore");
	assert_int_equal(w.node_len, 0);
}

static void an_end_without_an_event_is_seen(void **state)
{
	struct suspend_result r;
	uint64_t begun;

	cycle("event channel");
	w.asleep = true;
	w.shutdown = false;
	begun = w.now;
	/* It crashes while it is waited for. */
	w.paused = true;
	r = (struct suspend_result){.request_ns = w.now};
	assert_int_equal(xen_path_channel.request(x, NULL), 0);
	w.shutdown = true;
	w.code = SHUTDOWN_crash;
	assert_int_equal(xen_path_channel.wait(x, begun + DEADLINE, &r), 0);
	assert_true(w.now - begun <= 20 * NS_PER_MS);
	/* It is destroyed. */
	w.shutdown = false;
	w.gone = true;
	begun = w.now;
	assert_int_equal(xen_path_channel.wait(x, begun + DEADLINE, &r), -ESRCH);
	assert_true(w.now - begun <= 20 * NS_PER_MS);
	/* It closes its end. */
	w.gone = false;
	w.binding = 0;
	begun = w.now;
	assert_int_equal(xen_path_channel.wait(x, begun + DEADLINE, &r), 0);
	assert_true(w.now - begun <= 20 * NS_PER_MS);
	xen_channel_forget(x);
}

static void a_bad_offer_is_tried_seldom(void **state)
{
	guest_offers(9);
	w.guest_port = 10; /* it lies */
	for (int i = 0; i < 600; i++) {
		cycle("xenstore");
		atomic_store(&x->offered, true);
		pass(50 * NS_PER_MS);
	}
	assert_int_equal(w.binds, 1);
	assert_in_range(w.offers_read, 1, 60);
	/* Nor does it help to offer one after the other. */
	w.binds = 0;
	for (uint32_t i = 0; i < 600; i++) {
		guest_offers(100 + i);
		w.guest_port = 10;
		cycle("xenstore");
		pass(50 * NS_PER_MS);
	}
	assert_in_range(w.binds, 1, 60);
	/* One that is good at last. */
	guest_offers(10);
	pass(10 * NS_PER_SEC);
	cycle("event channel");
}

/* Nobody needs to write it again. */
static void a_failed_offer_is_tried_again(void **state)
{
	w.others_lock = true;
	cycle("xenstore");
	w.others_lock = false;
	cycle("xenstore");
	pass(60 * NS_PER_SEC);
	cycle("event channel");
}

/* The guest does what it can until then; true if it is suspended. */
static bool runs_on(uint64_t ns)
{
	pass(ns);
	return w.shutdown;
}

static bool found_ours(void)
{
	assert_int_equal(xen_info(x), 0);
	return xen_is_ours(x);
}

/* xl pause for longer than a request is waited for. */
static void a_paused_guest_is_not_left_suspended(void **state)
{
	struct suspend_result r;

	cycle("event channel");
	w.paused = true;
	for (int i = 0; i < 30; i++) {
		r = ask();
		assert_int_equal(r.outcome, SUSPEND_TIMEOUT);
		assert_false(r.taken);
		assert_int_equal(w.node_len, 0);
	}
	assert_int_equal(w.binding, 0);
	assert_true(w.our_lock);
	/* It refuses what is still pending, and there is nothing else to obey. */
	w.paused = false;
	assert_false(runs_on(NS_PER_SEC));
	assert_int_equal(w.declined, 1);
	assert_int_equal(w.suspends, 1);
	cycle("xenstore");
	assert_false(runs_on(NS_PER_SEC));
	/* After a while the channel gets another chance. */
	pass(60 * NS_PER_SEC);
	cycle("event channel");
}

/* The module is too busy, or it was unloaded just then. */
static void a_refusal_does_not_hold_up_the_next(void **state)
{
	struct suspend_result r;
	uint64_t begun;

	cycle("event channel");
	w.asleep = true;
	assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
	begun = w.now;
	r = ask();
	assert_int_equal(r.outcome, SUSPEND_DONE);
	assert_string_equal(r.path, "xenstore");
	assert_true(w.now - begun < 10 * NS_PER_MS);
	capture();
	assert_int_equal(xen_resume(&x->g), 0);
	/* Its end is closed: that is seen at once. */
	w.asleep = false;
	guest_offers(10);
	cycle("event channel");
	w.binding = 0;
	begun = w.now;
	assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
	assert_true(w.now - begun < 50 * NS_PER_MS);
	cycle("xenstore");
}

/* It had looked at the channel, and is on its way into the hypercall when somebody pauses it. */
static void one_that_had_looked_is_resumed(void **state)
{
	cycle("event channel");
	w.gap_wanted = true;
	assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
	w.paused = false;
	assert_true(runs_on(NS_PER_MS));
	assert_true(found_ours());
	assert_int_equal(xen_resume_late(x), 0);
	assert_false(runs_on(NS_PER_SEC));
	cycle("xenstore");
}

/* The older request is obeyed while the newer one lies in control/shutdown. */
static void the_other_one_does_not_stay_out(void **state)
{
	for (int obeyed = 0; obeyed < 2; obeyed++) {
		guest_offers(20 + (uint32_t)obeyed);
		cycle("event channel");
		w.gap_wanted = true;
		assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
		/* Pending in the hypervisor: it runs when it is asked the next time. */
		w.paused = false;
		w.store_deaf = !obeyed;
		assert_int_equal(ask().outcome, SUSPEND_DONE);
		assert_int_equal(w.rdx, SUSPEND_SELF_AWARE);
		assert_int_equal(xen_resume(&x->g), 0);
		assert_int_equal(runs_on(NS_PER_MS), obeyed);
		if (obeyed)
			assert_true(found_ours());
		else
			guest_offers(30);
		cycle(obeyed ? "xenstore" : "event channel");
		assert_int_equal(w.node_len, 0);
		w.store_deaf = false;
		assert_false(runs_on(NS_PER_SEC));
	}
}

/* A second notification before the hypercall is obeyed after the resume. */
static void two_notifications_are_obeyed_twice(void **state)
{
	struct suspend_result r;

	cycle("event channel");
	w.asleep = true;
	assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
	w.asleep = false;
	guest_offers(10);
	assert_int_equal(ask().outcome, SUSPEND_DONE);
	w.notified = true;
	assert_int_equal(xen_resume(&x->g), 0);
	assert_true(runs_on(NS_PER_MS));
	assert_true(found_ours());
	r = ask();
	assert_int_equal(r.outcome, SUSPEND_DONE);
	assert_int_equal(xen_resume(&x->g), 0);
	assert_false(runs_on(NS_PER_SEC));
}

/* P2: in the same time xl save asks, through control/shutdown for the guest has taken back its offer. */
static void xl_save_is_not_ours(void **state)
{
	cycle("event channel");
	w.asleep = true;
	assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
	guest_offers(0);
	pass(NS_PER_SEC);
	strcpy(w.node, "suspend");
	w.node_len = 7;
	w.store_deaf = true;
	assert_int_equal(ask().outcome, SUSPEND_FOREIGN);
	w.store_deaf = false;
	assert_true(runs_on(NS_PER_MS));
	assert_false(found_ours());
	assert_int_equal(ask().outcome, SUSPEND_FOREIGN);
	assert_true(w.shutdown);
	/* Without any request of ours outstanding even one over the channel is not. */
	w.shutdown = false;
	pass(CLAIM_CHANNEL_NS);
	hypercall(SUSPEND_SELF_AWARE);
	assert_false(found_ours());
	w.shutdown = false;
}

/* Whatever the worker before us had asked. */
static void an_adopted_guest_is_resumed(void **state)
{
	claim_inherited(&x->claim, true, w.now);
	w.asleep = true;
	strcpy(w.node, "suspend");
	assert_true(runs_on(NS_PER_MS));
	assert_true(found_ours());
	assert_int_equal(xen_resume_late(x), 0);
	/* Pending since, and we have bound. */
	guest_offers(9);
	xen_channel_choose(x);
	w.asleep = false;
	w.notified = true;
	pass(100 * NS_PER_SEC);
	assert_true(w.shutdown);
	assert_true(found_ours());
	assert_int_equal(xen_resume_late(x), 0);
	cycle("event channel");
}

/* By what the guest itself said in that very suspend, whoever has its channel since. */
static void who_knows_where_it_is_is_resumed_bare(void **state)
{
	struct suspend_result r;

	cycle("event channel");
	cycle("event channel");
	assert_int_equal(w.bare, 2);
	/* It goes into the hypercall with the channel of before, which we have closed. */
	w.gap_wanted = true;
	assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
	w.paused = false;
	w.store_deaf = true;
	r = ask();
	assert_int_equal(r.outcome, SUSPEND_DONE);
	assert_int_equal(w.rdx, SUSPEND_SELF_AWARE);
	capture();
	assert_int_equal(xen_resume(&x->g), 0);
	assert_int_equal(w.bare, 3);
	assert_int_equal(w.told, 0);
	/* The kernel's own suspend does not know. */
	w.store_deaf = false;
	r = ask();
	assert_int_equal(r.outcome, SUSPEND_DONE);
	assert_int_equal(w.rdx, 0);
	capture();
	assert_int_equal(xen_resume(&x->g), 0);
	assert_int_equal(w.told, 1);
	/* What is not captured is told as well: what it said is not known. */
	guest_offers(10);
	r = ask();
	assert_int_equal(r.outcome, SUSPEND_DONE);
	assert_int_equal(w.rdx, SUSPEND_SELF_AWARE);
	assert_int_equal(xen_resume(&x->g), 0);
	assert_int_equal(w.told, 2);
	assert_int_equal(w.bare, 3);
}

/* The worker before us had asked, and it went into the hypercall only when we had bound. */
static void so_is_one_of_another_worker(void **state)
{
	w.in_gap = true;
	w.paused = true;
	claim_inherited(&x->claim, true, w.now);
	xen_channel_choose(x);
	w.paused = false;
	cycle("event channel");
	assert_int_equal(w.told, 0);
	assert_int_equal(w.bare, 1);
}

/* Nobody waits in a pause for what is only to be read; the next request finds nothing stale. */
static void an_event_is_read_after_the_pause(void **state)
{
	struct suspend_result r;

	/* A new binding begins with an event that says nothing. */
	cycle("event channel");
	assert_int_equal(w.events_read, 1);
	cycle("event channel");
	assert_int_equal(w.events_read, 2);
	r = ask();
	assert_int_equal(r.outcome, SUSPEND_DONE);
	assert_int_equal(r.polls, 1);
	assert_true(w.event);
	assert_int_equal(w.events_read, 3);
	capture();
	assert_int_equal(xen_resume(&x->g), 0);
	r = ask();
	assert_int_equal(r.polls, 1);
	assert_int_equal(w.events_read, 4);
	/* One that says nothing is read at once, or it would be seen without end. */
	capture();
	assert_int_equal(xen_resume(&x->g), 0);
	w.asleep = true;
	xen_channel_drain(x);
	w.event = true;
	assert_int_equal(ask().outcome, SUSPEND_TIMEOUT);
	assert_int_equal(w.events_read, 6);
}

/* libxl leaves its subscription behind. */
static void a_subscription_of_others_is_ended(void **state)
{
	static const struct {
		uint32_t offer;
		bool others_lock;
		uint32_t left;
	} table[] = {
		{0, false, 0}, /* the module was unloaded since */
		{9, false, 0},
		{9, true, 9}, /* xl save is at it */
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		xen_channel_fini(x);
		guest_offers(table[i].offer);
		w.others_lock = table[i].others_lock;
		w.subscribed = 9;
		assert_int_equal(xen_channel_init(x, NULL), 0);
		xen_channel_choose(x);
		assert_int_equal(w.subscribed, table[i].left);
	}
	w.subscribed = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(goes_by_the_channel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_subscription_of_others_is_ended, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_paused_guest_is_not_left_suspended, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_refusal_does_not_hold_up_the_next, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_that_had_looked_is_resumed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_other_one_does_not_stay_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(two_notifications_are_obeyed_twice, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(xl_save_is_not_ours, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_adopted_guest_is_resumed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_knows_where_it_is_is_resumed_bare, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(so_is_one_of_another_worker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_event_is_read_after_the_pause, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_bad_offer_is_tried_seldom, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failed_offer_is_tried_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_end_without_an_event_is_seen, set_up, tear_down),
	};

	return RUN_TESTS("xen_suspend", tests);
}
