// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Suspend over the guest's own event channel: the request is a notification, the completion another one, sent by the
 * hypervisor itself (XEN_DOMCTL_subscribe), and xenstored hears of neither. The offer is read again when the guest
 * changes it; what it says is believed only as far as a port that can be bound. Data thread.
 *
 * The subscription holds from a request to the resume, no longer: while it does, nobody else is told that the guest
 * is suspended, and a toolstack that waits for that would wait for ever.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include <xenguest.h>

#include "guest/suspend_abi.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"

/* While no event comes the guest itself is looked at so often: one that ended or closed its end sends none. */
#define LOOK_NS (15 * NS_PER_MS)

void xen_channel_forget(struct xen_guest *x)
{
	x->s->op.cmd = XEN_DOMCTL_subscribe;
	x->s->op.u.subscribe.port = 0;
	(void)!xen_domctl(x);
	x->channel.subscribed = false;
}

/* Only our own port is bound on this handle: any event is ours, and a guest's lie costs one more question. */
static int take_event(struct xen_channel *c)
{
	xenevtchn_port_or_error_t port = xenevtchn_pending(c->ev);

	c->event = false;
	if (port < 0 || xenevtchn_unmask(c->ev, (evtchn_port_t)port) < 0)
		return -errno;
	return 0;
}

void xen_channel_drain(struct xen_guest *x)
{
	/* It was seen, so this does not wait; what fails here fails again where it counts. */
	if (x->channel.event)
		(void)!take_event(&x->channel);
}

/* ---- the offer ---- */

static uint32_t read_offer(struct xen_guest *x)
{
	char *text = xen_store_read(x->xs, NULL, "/local/domain/%u/" SUSPEND_DIR "/" SUSPEND_NODE,
				    x->g.info.domid);
	uint32_t port = suspend_offer_parse(text);

	free(text);
	return port;
}

/* The lock stays: nobody else is to ask over the channel while a request of ours may still be obeyed. */
static void unbind(struct xen_guest *x)
{
	struct xen_channel *c = &x->channel;

	/* Also one of a worker before us. Without the port it may be another toolstack's. */
	if (c->subscribed || c->port >= 0)
		xen_channel_forget(x);
	xen_channel_drain(x);
	if (c->port >= 0)
		(void)xenevtchn_unbind(c->ev, (evtchn_port_t)c->port);
	c->port = -1;
	c->guest_port = 0;
	x->path = &xen_path_xenstore;
	x->usual_ns = 0;
}

/* With the lock in hand libxenguest must not take it again: one of ours that is closed ends them all. */
static int bind_port(struct xen_guest *x, uint32_t guest_port)
{
	struct xen_channel *c = &x->channel;
	const uint32_t domid = x->g.info.domid;
	int port;

	if (c->lock_fd >= 0)
		return xenevtchn_bind_interdomain(c->ev, domid, guest_port);
	port = xc_suspend_evtchn_init_sane(x->xch, c->ev, domid, (int)guest_port, &c->lock_fd);
	/* What it says of the lock is undefined then. */
	if (port < 0)
		c->lock_fd = -1;
	return port;
}

static void bind(struct xen_guest *x, uint32_t guest_port)
{
	struct xen_channel *c = &x->channel;
	int port = bind_port(x, guest_port);

	if (port < 0) {
		suspend_offer_failed(&c->offer, guest_port, clock_now());
		log_limited(
			LOG_AT_WARN,
			"%s offers event channel %u for its suspension, but it cannot be bound: another "
			"toolstack has it, or the guest is wrong; it is asked through xenstore",
			x->g.info.name, guest_port);
		return;
	}
	/* libxenguest has subscribed as well, or libxl once: only around a request, see above. */
	xen_channel_forget(x);
	c->port = port;
	c->guest_port = guest_port;
	x->path = &xen_path_channel;
	x->usual_ns = 0;
}

int xen_channel_init(struct xen_guest *x, struct err *e)
{
	x->channel.ev = xenevtchn_open(x->logger, 0);
	if (!x->channel.ev)
		return err_set(e, -errno, "open the event channels of this host");
	/*
	 * libxl never ends its subscription. A port that the guest has closed since would swallow the news of each
	 * suspension. Where there is an offer the subscription may be that of an xl save that goes on: bind() finds
	 * out, under the lock.
	 */
	if (read_offer(x) == 0)
		xen_channel_forget(x);
	atomic_store(&x->offered, true);
	return 0;
}

void xen_channel_fini(struct xen_guest *x)
{
	if (!x->channel.ev)
		return;
	unbind(x);
	(void)xc_suspend_evtchn_release(x->xch, x->channel.ev, x->g.info.domid, -1,
					&x->channel.lock_fd);
	xenevtchn_close(x->channel.ev);
}

void xen_channel_choose(struct xen_guest *x)
{
	struct xen_channel *c = &x->channel;
	uint64_t now = clock_now();
	uint32_t guest_port;

	/* A request under way is answered on the way that it took. */
	if (x->claim.owed && !x->claim.unsure)
		return;
	if (!atomic_load(&x->offered) && !suspend_offer_due(&c->offer, now))
		return;
	if (!suspend_offer_look(&c->offer, now))
		return;
	atomic_store(&x->offered, false);
	guest_port = read_offer(x);
	if (guest_port == c->guest_port)
		return;
	unbind(x);
	if (suspend_offer_take(&c->offer, guest_port, now))
		bind(x, guest_port);
}

/* ---- the path ---- */

/* In one hypercall. Without the subscription its suspension is still seen, only later: channel_wait() looks. */
static int channel_request(struct xen_guest *x, struct err *e)
{
	struct xen_channel *c = &x->channel;
	int rc;

	/* Slot 0: the others use theirs when the guest is suspended. */
	x->s->multi_op[0].cmd = XEN_DOMCTL_subscribe;
	x->s->multi_op[0].u.subscribe.port = c->guest_port;
	xen_multi_domctl(x, 0, 0);
	xen_multi_send(x, 1, (evtchn_port_t)c->port);
	rc = xen_multi(x, 2);
	if (rc < 0)
		return err_set(e, rc, "notify event channel %u of the guest", c->guest_port);
	c->subscribed = xen_multi_result(x, 0) == 0;
	rc = xen_multi_result(x, 1);
	if (rc == 0)
		return 0;
	xen_channel_forget(x);
	return err_set(e, rc, "notify event channel %u of the guest", c->guest_port);
}

/* False: the guest has closed its end (it unloaded the module, or booted anew). Not knowing is no reason to give up. */
static bool leads_somewhere(struct xen_guest *x)
{
	xc_evtchn_status_t st = {.dom = DOMID_SELF, .port = (evtchn_port_t)x->channel.port};

	return xc_evtchn_status(x->xch, &st) != 0 || st.status == EVTCHNSTAT_interdomain;
}

static int channel_wait(struct xen_guest *x, uint64_t deadline_ns, struct suspend_result *out)
{
	struct pollfd p = {.fd = xenevtchn_fd(x->channel.ev), .events = POLLIN};
	uint64_t now = out->request_ns;
	enum guest_shutdown reason;
	int rc;

	for (;;) {
		struct timespec left = clock_timespec(MIN(clock_until(deadline_ns, now), LOOK_NS));
		int n = ppoll(&p, 1, &left, NULL);

		if (n < 0 && errno != EINTR)
			return -errno;
		/* A guest that is suspended need not wait until its event is read: xen_channel_drain(). */
		x->channel.event = n > 0;
		out->polls++;
		rc = xen_info(x);
		if (rc < 0 || xen_is_shutdown(x, &reason))
			return rc;
		now = clock_now();
		if (now >= deadline_ns || (n == 0 && !leads_somewhere(x)))
			return 0;
		if (n > 0)
			rc = take_event(&x->channel);
		if (rc < 0)
			return rc;
	}
}

/*
 * A notification cannot be taken back, but a guest whose channel leads nowhere refuses: nobody would resume it. Only
 * one that has looked already goes on.
 */
static int channel_withdraw(struct xen_guest *x, struct err *e)
{
	uint32_t guest_port = x->channel.guest_port;

	unbind(x);
	suspend_offer_failed(&x->channel.offer, guest_port, clock_now());
	log_limited(
		LOG_AT_WARN,
		"%s does not answer on its suspend event channel; it is asked through xenstore for a "
		"while, or until it makes another offer",
		x->g.info.name);
	return 0;
}

const struct suspend_path xen_path_channel = {
	.name = "event channel",
	.way = CLAIM_CHANNEL,
	.request = channel_request,
	.wait = channel_wait,
	.withdraw = channel_withdraw,
};
