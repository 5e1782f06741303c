// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See home.h. The mark is an event channel from the guest to itself, to which nothing is ever sent. Ports are a domain's
 * own: a new one begins with those that its builder made, all of them for other domains. No toolstack and no other
 * domain can close this one, or make one like it. The channel of the offer would not do: whoever has resumed us may
 * be gone, and its end closed, before we look.
 */
#include "guest/home.h"

#include <linux/errno.h>
#include <xen/interface/event_channel.h>
#include <xen/interface/xen.h>
#include <asm/xen/hypercall.h>

static u32 mark;     /* 0: none */
static domid_t ours; /* this domain's number, as Xen says it of the mark */

/* To whom a port is open that nobody has bound. */
static int open_for(u32 port, domid_t *dom)
{
	struct evtchn_status st = {.dom = DOMID_SELF, .port = port};
	int rc = HYPERVISOR_event_channel_op(EVTCHNOP_status, &st);

	if (rc)
		return rc;
	if (st.status != EVTCHNSTAT_unbound)
		return -ENOTCONN;
	*dom = st.u.unbound.dom;
	return 0;
}

static void close_mark(void)
{
	struct evtchn_close op = {.port = mark};

	(void)HYPERVISOR_event_channel_op(EVTCHNOP_close, &op);
	mark = 0;
}

int home_mark(void)
{
	struct evtchn_alloc_unbound op = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
	int rc = HYPERVISOR_event_channel_op(EVTCHNOP_alloc_unbound, &op);

	if (rc)
		return rc;
	mark = op.port;
	rc = open_for(mark, &ours);
	if (rc)
		close_mark();
	return rc;
}

bool home_is_here(void)
{
	domid_t dom;

	return mark && open_for(mark, &dom) == 0 && dom == ours;
}

void home_unmark(void)
{
	if (home_is_here())
		close_mark();
	mark = 0;
}
