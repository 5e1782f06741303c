// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A cap on the guest's CPU time, through whichever scheduler the host has. The operator's own cap is noted in
 * the store beside the toolstack's nodes of this guest before it is replaced, so that a worker that starts
 * after a crash can put it back; the note goes with the guest. Data thread.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/log.h"

#define NOTE "/libxl/%u/romulus-cap"

static int get_cap(struct xen_guest *x, unsigned int *cap)
{
	struct xen_domctl_sched_credit2 c2;
	struct xen_domctl_sched_credit c1;
	int r;

	switch (x->sched) {
	case XEN_SCHEDULER_CREDIT2:
		r = xc_sched_credit2_domain_get(x->xch, x->g.info.domid, &c2);
		*cap = r < 0 ? 0 : c2.cap;
		break;
	case XEN_SCHEDULER_CREDIT:
		r = xc_sched_credit_domain_get(x->xch, x->g.info.domid, &c1);
		*cap = r < 0 ? 0 : c1.cap;
		break;
	default:
		return -EOPNOTSUPP;
	}
	return r < 0 ? -errno : 0;
}

static int set_cap(struct xen_guest *x, unsigned int cap)
{
	struct xen_domctl_sched_credit2 c2;
	struct xen_domctl_sched_credit c1;
	int r;

	/* The weight goes with it: read it again, the operator may have changed it. */
	switch (x->sched) {
	case XEN_SCHEDULER_CREDIT2:
		r = xc_sched_credit2_domain_get(x->xch, x->g.info.domid, &c2);
		c2.cap = (uint16_t)cap;
		if (r >= 0)
			r = xc_sched_credit2_domain_set(x->xch, x->g.info.domid, &c2);
		break;
	case XEN_SCHEDULER_CREDIT:
		r = xc_sched_credit_domain_get(x->xch, x->g.info.domid, &c1);
		c1.cap = (uint16_t)cap;
		if (r >= 0)
			r = xc_sched_credit_domain_set(x->xch, x->g.info.domid, &c1);
		break;
	default:
		return -EOPNOTSUPP;
	}
	return r < 0 ? -errno : 0;
}

int xen_cap_init(struct xen_guest *x, struct err *e)
{
	unsigned long own;
	char *note;
	int rc;

	if (xc_sched_id(x->xch, &x->sched) < 0)
		return err_set(e, -errno, "ask which scheduler the host has");
	note = xen_store_read(x->xs, NULL, NOTE, x->g.info.domid);
	if (!note)
		return 0;
	own = strtoul(note, NULL, 10);
	free(note);
	rc = set_cap(x, own > UINT16_MAX ? 0 : (unsigned int)own);
	if (rc < 0)
		return err_set(e, rc, "undo the CPU cap that a worker left on the guest");
	xen_store_remove(x->xs, NOTE, x->g.info.domid);
	return 0;
}

void xen_cap_undo(struct xen_guest *x)
{
	int rc;

	if (!x->cap)
		return;
	rc = set_cap(x, x->own_cap);
	x->cap = 0;
	if (rc == 0)
		xen_store_remove(x->xs, NOTE, x->g.info.domid);
	else if (rc != -ESRCH && rc != -EINVAL) /* what it says of a guest that is gone */
		log_warn(
			"cannot undo the CPU cap of %s: %s; set it with xl sched-credit2 -d %s -c %u",
			x->g.info.name, strerror(-rc), x->g.info.name, x->own_cap);
}

int xen_cpu_cap(struct guest *g, unsigned int percent, struct err *e)
{
	struct xen_guest *x = xen_guest_of(g);
	unsigned int cap =
		percent * g->info.vcpus; /* the schedulers count in hundredths of a CPU */
	char text[16];
	int rc;

	if (percent == 0 || percent >= 100) {
		xen_cap_undo(x);
		return 0;
	}
	if (!x->cap) {
		rc = get_cap(x, &x->own_cap);
		if (rc == -EOPNOTSUPP)
			return err_setx(e, rc, "the host's scheduler has no caps");
		if (rc < 0)
			return err_set(e, rc, "read the guest's CPU cap");
		snprintf(text, sizeof(text), "%u", x->own_cap);
		rc = xen_store_write(x->xs, text, NOTE, g->info.domid);
		if (rc < 0)
			return err_set(e, rc, "note the guest's CPU cap in xenstore");
	}
	if (x->own_cap && x->own_cap < cap)
		cap = x->own_cap;
	rc = set_cap(x, cap);
	if (rc < 0)
		return err_set(e, rc, "cap the guest's CPU at %u percent", percent);
	x->cap = cap;
	return 0;
}
