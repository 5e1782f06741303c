// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Suspend and resume of the real guest. Data thread.
 *
 * A guest that offers an event channel is asked over that one (xen_channel.c). The others: request written to
 * control/shutdown, which every Linux guest watches; completion by asking the hypervisor, at first not before the
 * guest can be there, then in short steps. The toolstack's own way, a watch on @releaseDomain, comes later
 * (xenstored, its fan-out and a store reply lie between) and wakes every toolstack process of the host at each
 * checkpoint; the virtual interrupt behind it has one receiver only, and that is xenstored.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/suspend_abi.h"
#include "lib/clock.h"
#include "lib/err.h"

/* A step while waiting: what it lasts too long is pause, what it is too short is dom0's time. */
#define POLL_NS (100 * NS_PER_US)
#define POLL_SLOW_NS (1000 * NS_PER_US)
/* From here on the guest is not answering soon: slow steps. */
#define POLL_LONG_NS (250 * NS_PER_MS)
#define WITHDRAW_TRIES 16
#define RESUME_TRIES 5

/* ---- the store's path ---- */

/*
 * Ours ends with a zero byte, which the guest's kernel does not see: so a request of another toolstack, which
 * has none, is known from ours.
 */
static const char ours[] = "suspend";

enum shutdown_request xen_shutdown_request(struct xs_handle *xs, xs_transaction_t t,
					   const char *path)
{
	unsigned int len = 0;
	char *text = xs_read(xs, t, path, &len);
	enum shutdown_request rq = REQUEST_NONE;

	if (text && len == sizeof(ours) && memcmp(text, ours, sizeof(ours)) == 0)
		rq = REQUEST_OURS;
	else if (text && strcmp(text, ours) == 0)
		rq = REQUEST_SUSPEND;
	else if (text && text[0])
		rq = REQUEST_END;
	free(text);
	return rq;
}

int xen_request_free(struct xen_guest *x, struct err *e)
{
	switch (xen_shutdown_request(x->xs, XBT_NULL, x->shutdown_path)) {
	case REQUEST_SUSPEND:
		return err_setx(e, -EBUSY, "somebody else asks the guest to suspend (xl save?)");
	case REQUEST_END:
		return err_setx(e, -EAGAIN, "the guest has been asked to power off or reboot");
	case REQUEST_NONE:
	case REQUEST_OURS:
		break;
	}
	return 0;
}

static int store_request(struct xen_guest *x, struct err *e)
{
	int rc = xen_request_free(x, e);

	if (rc < 0)
		return rc;
	if (!xs_write(x->xs, XBT_NULL, x->shutdown_path, ours, sizeof(ours)))
		return err_set(e, -errno, "ask the guest to suspend: write %s", x->shutdown_path);
	return 0;
}

static void doze(uint64_t until_ns)
{
	struct timespec ts = clock_timespec(until_ns);

	(void)clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &ts, NULL);
}

static int poll_wait(struct xen_guest *x, uint64_t deadline_ns, struct suspend_result *out)
{
	enum guest_shutdown reason;
	uint64_t next = clock_add(out->request_ns, x->usual_ns / 4 * 3);
	uint64_t now;
	int rc;

	for (;;) {
		doze(next < deadline_ns ? next : deadline_ns);
		out->polls++;
		rc = xen_info(x);
		now = clock_now();
		if (rc < 0 || xen_is_shutdown(x, &reason) || now >= deadline_ns)
			return rc;
		next = now + (now - out->request_ns < POLL_LONG_NS ? POLL_NS : POLL_SLOW_NS);
	}
}

/*
 * In one transaction, because the guest takes a request in one: either it finds the node empty, or we find
 * that it has taken it.
 */
static int store_withdraw(struct xen_guest *x, struct err *e)
{
	const char *path = x->shutdown_path;
	xs_transaction_t t;
	bool there;

	for (int i = 0; i < WITHDRAW_TRIES; i++) {
		t = xs_transaction_start(x->xs);
		if (t == XBT_NULL)
			return err_set(e, -errno, "start a transaction on %s", path);
		there = xen_shutdown_request(x->xs, t, path) == REQUEST_OURS;
		if (there && !xs_write(x->xs, t, path, "", 0)) {
			err_set(e, -errno, "empty %s", path);
			xs_transaction_end(x->xs, t, true);
			return -EIO;
		}
		if (xs_transaction_end(x->xs, t, false))
			return there;
		if (errno != EAGAIN)
			return err_set(e, -errno, "end a transaction on %s", path);
	}
	return err_setx(e, -EAGAIN, "%s is written to by others all the time", path);
}

const struct suspend_path xen_path_xenstore = {
	.name = "xenstore",
	.way = CLAIM_STORE,
	.request = store_request,
	.wait = poll_wait,
	.withdraw = store_withdraw,
};

/* ---- whose ---- */

int xen_withdraw(struct xen_guest *x, struct err *e)
{
	enum claim_way way = x->path->way;
	int rc = x->path->withdraw(x, e);

	if (rc < 0)
		return rc;
	if (rc > 0)
		claim_withdrawn(&x->claim);
	else if (way == CLAIM_CHANNEL)
		claim_closed(&x->claim, clock_now());
	else
		claim_taken(&x->claim, clock_now());
	return rc;
}

void xen_take_back(struct xen_guest *x, bool leaving)
{
	uint64_t now = clock_now();
	bool fresh = now < x->claim.any_until;
	int rc = store_withdraw(x, NULL);

	/* It stays to be done. */
	if (rc < 0)
		return;
	claim_left_taken_back(&x->claim, rc > 0, now);
	if (leaving && rc == 0 && fresh)
		claim_taken(&x->claim, now);
}

static void prepare_context(struct xen_guest *x, uint32_t cmd);

/* What the guest said in its hypercall, for one that is not captured. */
static enum claim_way came_by(struct xen_guest *x)
{
	int rc;

	prepare_context(x, XEN_DOMCTL_getvcpucontext);
	rc = xen_multi(x, 1);
	if (rc == 0)
		rc = xen_multi_result(x, 0);
	if (rc < 0)
		return CLAIM_NONE;
	return x->s->vcpu.user_regs.rdx == SUSPEND_SELF_AWARE ? CLAIM_CHANNEL : CLAIM_STORE;
}

bool xen_is_ours(struct xen_guest *x)
{
	uint64_t now = clock_now();

	if (claim_is_ours(&x->claim, CLAIM_NONE, now))
		return true;
	/* Without the lock xl save may have asked on the same way. */
	return x->channel.lock_fd >= 0 && claim_is_ours(&x->claim, CLAIM_CHANNEL, now) &&
	       claim_is_ours(&x->claim, came_by(x), now);
}

/* ---- suspend ---- */

/* It is suspended now. Fills out->outcome: ours, or what else it is. */
static int arrived(struct xen_guest *x, struct suspend_result *out, uint64_t now)
{
	uint64_t took = now - out->request_ns;
	int rc;

	x->suspended = true;
	claim_arrived(&x->claim);
	if (x->claim.out == CLAIM_CHANNEL)
		suspend_offer_served(&x->channel.offer);
	out->suspended_ns = now;
	/* Follows the lowest at once, higher ones slowly. */
	if (x->usual_ns == 0 || took < x->usual_ns)
		x->usual_ns = took;
	else
		x->usual_ns += (took - x->usual_ns) / 16;
	if (!xen_is_changed(x)) {
		out->outcome = SUSPEND_DONE;
		return 0;
	}
	out->outcome = SUSPEND_CHANGED;
	rc = -EAGAIN;
	/* A hypercall that is interrupted is the only cause known; after these tries health() goes on. */
	for (int i = 0; rc < 0 && i < RESUME_TRIES; i++)
		rc = xen_resume_anyhow(x);
	return rc;
}

/* A question to the hypervisor failed: the guest is no more, or we are in trouble. */
static int unanswered(struct suspend_result *out, int rc, struct err *e)
{
	if (rc == -ESRCH) {
		out->outcome = SUSPEND_GONE;
		return 0;
	}
	out->outcome = SUSPEND_FAILED;
	return err_set(e, rc, "ask the hypervisor how the guest is");
}

/* What the last xen_info() says before anything is asked. True: out says it all. */
static bool settled(struct xen_guest *x, struct suspend_result *out)
{
	if (xen_is_shutdown(x, &out->reason)) {
		if (out->reason == GUEST_SUSPEND && xen_is_ours(x))
			return false;
		out->outcome = out->reason == GUEST_SUSPEND ? SUSPEND_FOREIGN : SUSPEND_SHUTDOWN;
		return true;
	}
	if (!xen_is_changed(x))
		return false;
	out->outcome = SUSPEND_CHANGED;
	return true;
}

static int give_up(struct xen_guest *x, struct suspend_result *out, struct err *e)
{
	int rc;

	x->g.counters.timeouts++;
	out->outcome = SUSPEND_TIMEOUT;
	if (x->claim.out != CLAIM_NONE) {
		rc = xen_withdraw(x, e);
		/* Whatever it does with it later, health() undoes it. */
		if (rc < 0)
			claim_taken(&x->claim, clock_now());
	}
	out->taken = x->claim.owed && !x->claim.unsure;
	/* It may have come between the last look and the withdrawal. */
	if (x->claim.owed && xen_info(x) == 0 && xen_is_shutdown(x, &out->reason) &&
	    out->reason == GUEST_SUSPEND)
		return arrived(x, out, clock_now());
	return 0;
}

int xen_suspend(struct guest *g, uint64_t deadline_ns, struct suspend_result *out, struct err *e)
{
	struct xen_guest *x = xen_guest_of(g);
	int rc;

	assert(!x->suspended);
	if (!x->path_fixed)
		xen_channel_choose(x);
	*out = (struct suspend_result){.outcome = SUSPEND_FAILED, .path = x->path->name};
	if (x->claim.left)
		xen_take_back(x, false);
	xen_channel_drain(x);
	rc = xen_info(x);
	if (rc < 0)
		return unanswered(out, rc, e);
	if (xen_is_paused(x))
		claim_paused(&x->claim, clock_now());
	if (settled(x, out))
		return 0;
	out->request_ns = clock_now();
	/* A request that we gave up. */
	if (xen_is_shutdown(x, &out->reason))
		return arrived(x, out, out->request_ns);
	claim_expire(&x->claim, out->request_ns);
	/* One that may or may not be obeyed is no reason to wait. If it is, there are two, and they are obeyed twice. */
	if (!x->claim.owed || x->claim.unsure) {
		rc = x->path->request(x, e);
		if (rc == -EBUSY)
			out->outcome = SUSPEND_FOREIGN;
		if (rc < 0)
			return rc == -EBUSY ? 0 : rc;
		claim_asked(&x->claim, x->path->way);
	}
	rc = x->path->wait(x, deadline_ns, out);
	if (rc < 0)
		return unanswered(out, rc, e);
	if (!xen_is_shutdown(x, &out->reason))
		return give_up(x, out, e);
	if (out->reason == GUEST_SUSPEND)
		return arrived(x, out, clock_now());
	out->outcome = SUSPEND_SHUTDOWN;
	return 0;
}

/* ---- resume ---- */

int xen_ext_init(struct xen_guest *x, struct err *e)
{
	struct xen_domctl_vcpuextstate *ext = &x->s->op.u.vcpuextstate;
	int rc;

	x->s->op.cmd = XEN_DOMCTL_getvcpuextstate;
	memset(ext, 0, sizeof(*ext));
	rc = xen_domctl(x);
	if (rc < 0)
		return err_set(e, rc, "ask for the size of a vCPU's extended state");
	x->ext_mask = ext->xfeature_mask;
	x->ext_max = (uint32_t)ext->size;
	rc = xen_buffer_alloc(x, &x->ext_buf, x->ext_max);
	return rc < 0 ? err_set(e, rc, "%u bytes for extended state", x->ext_max) : 0;
}

enum {
	SLOT_CONTEXT,
	SLOT_EXT,
	SLOT_SUBSCRIBE,
	SLOT_INFO,
	SLOT_RESUME,
};

static void prepare_context(struct xen_guest *x, uint32_t cmd)
{
	struct xen_domctl *op = &x->s->multi_op[SLOT_CONTEXT];

	op->cmd = cmd;
	op->u.vcpucontext.vcpu = 0;
	set_xen_guest_handle_raw(op->u.vcpucontext.ctxt, &x->s->vcpu);
	xen_multi_domctl(x, SLOT_CONTEXT, SLOT_CONTEXT);
}

static void prepare_ext(struct xen_guest *x, uint32_t cmd, uint64_t size)
{
	struct xen_domctl *op = &x->s->multi_op[SLOT_EXT];

	op->cmd = cmd;
	op->u.vcpuextstate.vcpu = 0;
	op->u.vcpuextstate.xfeature_mask = x->ext_mask;
	op->u.vcpuextstate.size = size;
	set_xen_guest_handle_raw(op->u.vcpuextstate.buffer, x->ext_buf.data);
	xen_multi_domctl(x, SLOT_EXT, SLOT_EXT);
}

/* As call number i, which has to follow the last one before it: a gap would repeat a call of the last time. */
static void prepare_info(struct xen_guest *x, unsigned int i)
{
	x->s->multi_op[SLOT_INFO].cmd = XEN_DOMCTL_getdomaininfo;
	xen_multi_domctl(x, i, SLOT_INFO);
}

static bool still_suspended(const struct xen_guest *x)
{
	return x->s->multi_op[SLOT_INFO].u.getdomaininfo.flags & XEN_DOMINF_shutdown;
}

/*
 * The suspend hypercall is to return 1, "you are still where you were", to vCPU 0, which made it. Setting its
 * registers makes the hypervisor forget all of its extended state but x87 and SSE, so that is read before
 * and put back after. Both in one hypercall: a worker that is killed has done both or none, and doing all of
 * it again is harmless.
 */
static int set_return_code(struct xen_guest *x)
{
	uint64_t size;
	int rc;

	prepare_context(x, XEN_DOMCTL_getvcpucontext);
	prepare_ext(x, XEN_DOMCTL_getvcpuextstate, x->ext_max);
	prepare_info(x, SLOT_EXT + 1);
	rc = xen_multi(x, SLOT_EXT + 2);
	if (rc == 0)
		rc = xen_multi_result(x, SLOT_CONTEXT);
	if (rc == 0)
		rc = xen_multi_result(x, SLOT_EXT);
	if (rc == 0)
		rc = xen_multi_result(x, SLOT_EXT + 1);
	if (rc < 0)
		return rc;
	/* Registers of a guest that runs must not be set. */
	if (!still_suspended(x))
		return -ESTALE;
	x->s->vcpu.user_regs.rax = 1;
	size = x->s->multi_op[SLOT_EXT].u.vcpuextstate.size;
	prepare_context(x, XEN_DOMCTL_setvcpucontext);
	/* Exactly what the get wrote, or it is refused. */
	prepare_ext(x, XEN_DOMCTL_setvcpuextstate, size);
	rc = xen_multi(x, 2);
	if (rc == 0)
		rc = xen_multi_result(x, SLOT_CONTEXT);
	if (rc == 0 && xen_multi_result(x, SLOT_EXT) < 0)
		x->g.counters.ext_lost++;
	return rc;
}

/*
 * With the subscription, which has served: whoever suspends the guest next is told in his own way. In the same hypercall the
 * question whether it was still suspended: a toolstack whose xl save failed resumes the guest, ours or not.
 */
static int set_running(struct xen_guest *x)
{
	unsigned int n = 0;
	int rc;

	if (x->channel.subscribed) {
		x->s->multi_op[SLOT_SUBSCRIBE].cmd = XEN_DOMCTL_subscribe;
		x->s->multi_op[SLOT_SUBSCRIBE].u.subscribe.port = 0;
		xen_multi_domctl(x, n++, SLOT_SUBSCRIBE);
	}
	prepare_info(x, n++);
	x->s->multi_op[SLOT_RESUME].cmd = XEN_DOMCTL_resumedomain;
	xen_multi_domctl(x, n++, SLOT_RESUME);
	rc = xen_multi(x, n);
	for (unsigned int i = 0; i < n && rc == 0; i++)
		rc = xen_multi_result(x, i);
	if (rc < 0)
		return rc;
	x->channel.subscribed = false;
	return still_suspended(x) ? 0 : -ESTALE;
}

void xen_runs(struct xen_guest *x)
{
	enum claim_way came = CLAIM_NONE;

	if (x->captured)
		came = x->state.self_aware ? CLAIM_CHANNEL : CLAIM_STORE;
	claim_resumed(&x->claim, came, clock_now());
	x->suspended = false;
	x->captured = false;
}

/* What it says is of the suspend that it is in, and holds whoever has its channel, now or by the time it looks. */
static bool finds_out_itself(const struct xen_guest *x)
{
	return x->captured && x->state.self_aware;
}

int xen_resume(struct guest *g)
{
	struct xen_guest *x = xen_guest_of(g);
	int rc = finds_out_itself(x) ? 0 : set_return_code(x);

	if (rc == 0 || rc == -ESTALE) {
		int running = set_running(x);

		if (running < 0)
			rc = running;
	}
	if (rc == 0 || rc == -ESTALE)
		xen_runs(x);
	return rc;
}

int xen_resume_anyhow(struct xen_guest *x)
{
	int rc = xen_resume(&x->g);

	return rc == -ESTALE ? 0 : rc;
}

int xen_resume_late(struct xen_guest *x)
{
	int rc = xen_resume_anyhow(x);

	if (rc < 0)
		return rc;
	claim_arrived(&x->claim);
	x->g.counters.late_resumed++;
	return 0;
}

void xen_settle(struct xen_guest *x, uint64_t deadline_ns)
{
	enum guest_shutdown reason;
	uint64_t now = clock_now();

	deadline_ns = MIN(deadline_ns, x->claim.owed_until);
	while (x->claim.owed && now < deadline_ns) {
		if (xen_info(x) < 0)
			return;
		if (xen_is_shutdown(x, &reason)) {
			if (reason != GUEST_SUSPEND || xen_resume_late(x) == 0)
				return;
		}
		doze(clock_add(now, POLL_SLOW_NS));
		now = clock_now();
	}
}
