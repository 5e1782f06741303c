// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hypercalls of the xen_* files: what they take lies in buffers that were made at open, so that a call
 * in the pause is one ioctl and nothing else. Data thread.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"

int xen_buffer_alloc(struct xen_guest *x, struct xen_buffer *b, size_t bytes)
{
	size_t pages = (bytes + XC_PAGE_SIZE - 1) / XC_PAGE_SIZE;

	b->data = xencall_alloc_buffer_pages(x->call, pages);
	if (!b->data)
		return -ENOMEM;
	b->pages = pages;
	return 0;
}

void xen_buffer_free(struct xen_guest *x, struct xen_buffer *b)
{
	if (b->data)
		xencall_free_buffer_pages(x->call, b->data, b->pages);
	b->data = NULL;
	b->pages = 0;
}

int xen_domctl(struct xen_guest *x)
{
	struct xen_domctl *op = &x->s->op;

	op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
	op->domain = (domid_t)x->g.info.domid;
	if (xencall1(x->call, __HYPERVISOR_domctl, (uintptr_t)op) < 0)
		return -errno;
	return 0;
}

void xen_multi_domctl(struct xen_guest *x, unsigned int i, unsigned int slot)
{
	struct xen_domctl *op = &x->s->multi_op[slot];

	op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
	op->domain = (domid_t)x->g.info.domid;
	x->s->multi[i] = (struct multicall_entry){
		.op = __HYPERVISOR_domctl,
		.args = {(uintptr_t)op},
	};
}

void xen_multi_send(struct xen_guest *x, unsigned int i, evtchn_port_t port)
{
	x->s->send.port = port;
	x->s->multi[i] = (struct multicall_entry){
		.op = __HYPERVISOR_event_channel_op,
		.args = {EVTCHNOP_send, (uintptr_t)&x->s->send},
	};
}

int xen_multi(struct xen_guest *x, unsigned int n)
{
	if (xencall2(x->call, __HYPERVISOR_multicall, (uintptr_t)x->s->multi, n) < 0)
		return -errno;
	return 0;
}

int xen_multi_result(const struct xen_guest *x, unsigned int i)
{
	return (int)(long)x->s->multi[i].result;
}

int xen_info(struct xen_guest *x)
{
	const struct xen_domctl_getdomaininfo *info = &x->s->op.u.getdomaininfo;
	int rc;

	x->s->op.cmd = XEN_DOMCTL_getdomaininfo;
	rc = xen_domctl(x);
	if (rc < 0)
		return rc;
	/* Without such a domain the hypervisor tells of the next one. */
	if (info->domain != x->g.info.domid ||
	    memcmp(info->handle, x->g.info.uuid, sizeof(x->g.info.uuid)) != 0)
		return -ESRCH;
	return info->flags & XEN_DOMINF_dying ? -ESRCH : 0;
}

int xen_shadow_op(struct xen_guest *x, uint32_t op)
{
	x->s->op.cmd = XEN_DOMCTL_shadow_op;
	memset(&x->s->op.u.shadow_op, 0, sizeof(x->s->op.u.shadow_op));
	x->s->op.u.shadow_op.op = op;
	return xen_domctl(x);
}

int xen_hvm_param(struct xen_guest *x, uint32_t index, uint64_t *value)
{
	x->s->param[0] = (struct xen_hvm_param){
		.domid = (domid_t)x->g.info.domid,
		.index = index,
	};
	if (xencall2(x->call, __HYPERVISOR_hvm_op, HVMOP_get_param, (uintptr_t)&x->s->param[0]) < 0)
		return -errno;
	*value = x->s->param[0].value;
	return 0;
}

bool xen_is_paused(const struct xen_guest *x)
{
	return x->s->op.u.getdomaininfo.flags & XEN_DOMINF_paused;
}

bool xen_is_changed(const struct xen_guest *x)
{
	return x->map &&
	       (x->s->op.u.getdomaininfo.tot_pages != x->base_pages || atomic_load(&x->changed));
}

bool xen_is_shutdown(const struct xen_guest *x, enum guest_shutdown *reason)
{
	static const enum guest_shutdown names[] = {
		[SHUTDOWN_poweroff] = GUEST_POWEROFF, [SHUTDOWN_reboot] = GUEST_REBOOT,
		[SHUTDOWN_suspend] = GUEST_SUSPEND,   [SHUTDOWN_crash] = GUEST_CRASH,
		[SHUTDOWN_watchdog] = GUEST_WATCHDOG, [SHUTDOWN_soft_reset] = GUEST_SOFT_RESET,
	};
	uint32_t flags = x->s->op.u.getdomaininfo.flags;
	uint32_t code = flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask;

	if (!(flags & XEN_DOMINF_shutdown))
		return false;
	*reason = code < ARRAY_SIZE(names) ? names[code] : GUEST_SHUTDOWN_OTHER;
	return true;
}
