// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The real guest: open, close and everything between that is not memory (xen_memory.c), state (xen_state.c),
 * suspension (xen_suspend.c), devices and store (xen_store.c, xen_watch.c), cap (xen_cap.c). Data thread.
 */
#include "replicator/xen_domain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "replicator/xen_guest.h"

/* The steps of the wait for a suspension are short: the kernel is not to stretch them. */
#define TIMER_SLACK_NS 1000
#define CLOSE_TRIES 3
/* A request in the guest's hands is answered by then, unless something is badly wrong. */
#define RESCUE_NS (3 * NS_PER_SEC)
/*
 * After an adoption it is not known whether the dead worker had asked: what most guests need to obey, and short against
 * any failure timeout, because nobody talks to the backup meanwhile.
 */
#define UNSURE_NS (200 * NS_PER_MS)

static void disconnect(struct xen_guest *x)
{
	if (x->scratch_buf.data)
		xen_buffer_free(x, &x->scratch_buf);
	if (x->xs)
		xs_close(x->xs);
	if (x->fmem)
		xenforeignmemory_close(x->fmem);
	if (x->call)
		xencall_close(x->call);
	if (x->xch)
		xc_interface_close(x->xch);
	if (x->logger)
		xtl_logger_destroy(x->logger);
}

/* -ENOENT is kept for a domain that is not there. */
static int unreachable(struct err *e, const char *what)
{
	return err_set(e, errno == ENOENT ? -ENODEV : -errno, "%s", what);
}

static int connect_all(struct xen_guest *x, struct err *e)
{
	int rc;

	/* The libraries print what they return as well; one report is enough. */
	x->logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);
	if (!x->logger)
		return err_set(e, -ENOMEM, "logger");
	x->xch = xc_interface_open(x->logger, x->logger, 0);
	if (!x->xch)
		return unreachable(e, "open the hypervisor; is this a Xen host, are you root?");
	x->call = xencall_open(x->logger, 0);
	x->fmem = x->call ? xenforeignmemory_open(x->logger, 0) : NULL;
	if (!x->fmem)
		return unreachable(e, "open the hypervisor");
	x->xs = xs_open(0);
	if (!x->xs)
		return unreachable(e, "connect to xenstored");
	rc = xen_buffer_alloc(x, &x->scratch_buf, sizeof(struct xen_scratch));
	if (rc < 0)
		return err_set(e, rc, "buffer for hypercalls");
	x->s = x->scratch_buf.data;
	return 0;
}

/* Reads what the hypervisor says of the domain that the store named. */
static int identify(struct xen_guest *x, struct err *e)
{
	const struct xen_domctl_getdomaininfo *info = &x->s->op.u.getdomaininfo;
	struct guest_info *out = &x->g.info;
	int rc;

	x->s->op.cmd = XEN_DOMCTL_getdomaininfo;
	rc = xen_domctl(x);
	if (rc == -ESRCH ||
	    (rc == 0 && (info->domain != out->domid || info->flags & XEN_DOMINF_dying)))
		return err_setx(e, -ENOENT, "domain %s is gone", out->name);
	if (rc < 0)
		return err_set(e, rc, "ask the hypervisor about domain %s", out->name);
	memcpy(out->uuid, info->handle, sizeof(out->uuid));
	out->vcpus = info->max_vcpu_id + 1;
	out->tot_pages = info->tot_pages;
	out->max_kib = info->max_pages * (GUEST_PAGE_SIZE / 1024);
	if (!(info->flags & XEN_DOMINF_hvm_guest))
		return err_setx(
			e, -EOPNOTSUPP,
			"%s is a PV guest; this hypervisor is built without shadow paging, which "
			"keeps the dirty log of PV guests. Use type=\"pvh\"",
			out->name);
	if (info->arch_config.emulation_flags & ~XEN_X86_EMU_LAPIC)
		return err_setx(
			e, -EOPNOTSUPP,
			"%s is an HVM guest with a device model, which cannot be protected yet. "
			"Use type=\"pvh\"",
			out->name);
	if (!(info->flags & XEN_DOMINF_hap))
		return err_setx(
			e, -EOPNOTSUPP,
			"%s runs without hardware-assisted paging (hap=0); it cannot be protected",
			out->name);
	return 0;
}

/* Pages that are promised and not there would be made by our looking at them, until none are left. */
static int check_populate_on_demand(struct xen_guest *x, struct err *e)
{
	uint64_t total;
	uint64_t cache;
	uint64_t entries;

	if (xc_domain_get_pod_target(x->xch, x->g.info.domid, &total, &cache, &entries) < 0)
		return err_set(e, -errno, "ask for the guest's populate-on-demand pages");
	if (entries == 0)
		return 0;
	return err_setx(
		e, -EAGAIN,
		"the guest was started with memory < maxmem and has not given back %llu pages "
		"yet; protect it when its balloon driver has",
		(unsigned long long)entries);
}

/*
 * What a worker that died may have left. The guest first: it is dead to its users until it is resumed. A
 * guest that shows nothing may still have a request in hand; the withdrawal finds out.
 */
static int adopt(struct xen_guest *x, struct err *e)
{
	enum guest_shutdown reason;
	int rc;

	xen_channel_forget(x);
	rc = xen_info(x);
	if (rc < 0)
		return err_set(e, rc, "ask the hypervisor how the guest is");
	if (xen_is_shutdown(x, &reason) && reason == GUEST_SUSPEND) {
		rc = xen_resume_anyhow(x);
		if (rc < 0)
			return err_set(e, rc, "resume the guest, which was left suspended");
		x->g.info.adopted = true;
	}
	(void)!xen_shadow_op(x, XEN_DOMCTL_SHADOW_OP_OFF);
	rc = xen_withdraw(x, e);
	/* One that was suspended has no request of the store's in its hands. */
	if (rc >= 0)
		claim_inherited(&x->claim, rc == 0 && !x->g.info.adopted, clock_now());
	return MIN(rc, 0);
}

static int check_state(struct xen_guest *x, bool ours, struct err *e)
{
	enum guest_shutdown reason;
	int rc;

	rc = xen_info(x);
	if (rc < 0)
		return err_set(e, rc, "ask the hypervisor how the guest is");
	if (!xen_is_shutdown(x, &reason))
		return 0;
	if (reason != GUEST_SUSPEND)
		return err_setx(e, -ENOENT, "%s has ended (shut down, rebooting or crashed)",
				x->g.info.name);
	/* An adopted guest that obeys the dead worker's request only now. */
	if (ours)
		return xen_resume_late(x);
	return err_setx(
		e, -EBUSY,
		"%s is suspended: it is being saved or migrated, or was left so by a worker "
		"that died",
		x->g.info.name);
}

/* Connects, finds the domain, undoes what a dead worker left. */
static int attach(struct xen_guest *x, const struct xen_guest_conf *conf, struct err *e)
{
	int rc;

	x->path = &xen_path_xenstore;
	x->channel.port = -1;
	x->channel.lock_fd = -1;
	rc = connect_all(x, e);
	if (rc == 0)
		rc = xen_store_find(x, conf->name, e);
	if (rc == 0)
		rc = identify(x, e);
	if (rc == 0)
		rc = xen_ext_init(x, e);
	if (rc == 0 && conf->adopt)
		rc = adopt(x, e);
	if (rc == 0)
		rc = check_state(x, conf->adopt, e);
	return rc;
}

static void detach(struct xen_guest *x)
{
	/*
	 * xenstored notices a suspension by itself when some other domain ends just then, and a worker that was killed
	 * in one could not tell it the end of that. It tells nobody of the next one while it believes in this one, and
	 * xl save waits for the news. So it is told in any case.
	 */
	if (x->xs && x->g.info.domid)
		(void)xs_resume_domain(x->xs, x->g.info.domid);
	xen_buffer_free(x, &x->ext_buf);
	xen_channel_fini(x);
	disconnect(x);
	mem_free(x);
}

/* ---- the operations ---- */

static void leave_guest(struct xen_guest *x)
{
	int rc = 0;

	for (int i = 0; x->suspended && i < CLOSE_TRIES; i++)
		rc = xen_resume_anyhow(x);
	/* One that is gone was destroyed as it was. */
	if (rc < 0 && rc != -ESRCH)
		log_err("cannot resume %s: %s; it stays suspended. Try again with: romulus unprotect "
			"--force %s",
			x->g.info.name, strerror(-rc), x->g.info.name);
}

static void xen_close(struct guest *g)
{
	struct xen_guest *x = xen_guest_of(g);
	struct err e = ERR_INIT;

	leave_guest(x);
	if (x->claim.left && x->xs)
		xen_take_back(x, true);
	xen_settle(x, CLOCK_NEVER);
	xen_logdirty_disable(g);
	if (x->claim.out != CLAIM_NONE && xen_withdraw(x, &e) < 0)
		log_warn("%s", e.text);
	xen_cap_undo(x);
	if (x->watch)
		xen_watch_fini(x);
	xen_memory_unmap(x);
	xen_state_fini(x);
	detach(x);
}

static enum guest_health xen_health(struct guest *g, enum guest_shutdown *reason)
{
	struct xen_guest *x = xen_guest_of(g);

	if (xen_info(x) < 0)
		return GUEST_HEALTH_GONE;
	if (xen_is_shutdown(x, reason)) {
		if (*reason != GUEST_SUSPEND)
			return GUEST_HEALTH_SHUTDOWN;
		/* Nobody asks in the pause: a resume has failed. */
		if (x->suspended)
			return xen_resume_anyhow(x) < 0 ? GUEST_HEALTH_PAUSED
							: GUEST_HEALTH_RUNNING;
		if (!xen_is_ours(x))
			return GUEST_HEALTH_FOREIGN;
		return xen_resume_late(x) < 0 ? GUEST_HEALTH_PAUSED : GUEST_HEALTH_RUNNING;
	}
	if (xen_is_paused(x))
		claim_paused(&x->claim, clock_now());
	return xen_is_changed(x) ? GUEST_HEALTH_CHANGED : GUEST_HEALTH_RUNNING;
}

static void xen_guest_settle(struct guest *g)
{
	struct xen_guest *x = xen_guest_of(g);

	xen_settle(x, x->claim.unsure ? clock_add(clock_now(), UNSURE_NS) : CLOCK_NEVER);
}

static const struct guest_ops xen_ops = {
	.close = xen_close,
	.logdirty_enable = xen_logdirty_enable,
	.logdirty_disable = xen_logdirty_disable,
	.dirty_fetch = xen_dirty_fetch,
	.map_late = xen_map_late,
	.suspend = xen_suspend,
	.state_capture = xen_state_capture,
	.resume = xen_resume,
	.static_state = xen_static_state,
	.cpu_cap = xen_cpu_cap,
	.health = xen_health,
	.settle = xen_guest_settle,
	.watch_fd = xen_watch_fd,
	.watch_read = xen_watch_read,
};

static int open_rest(struct xen_guest *x, const struct xen_guest_conf *conf, struct err *e)
{
	int rc = 0;

	if (!conf->suspend_only)
		rc = check_populate_on_demand(x, e);
	if (rc == 0)
		rc = xen_channel_init(x, e);
	if (rc == 0)
		rc = xen_cap_init(x, e);
	if (rc == 0)
		rc = xen_store_devices(x, e);
	if (rc == 0)
		rc = xen_store_can_suspend(x, e);
	if (rc == 0 && !conf->suspend_only)
		rc = xen_watch_init(x, e);
	if (rc == 0)
		rc = xen_state_init(x, e);
	if (rc == 0 && !conf->suspend_only)
		rc = xen_memory_map(x, e);
	return rc;
}

int xen_guest_open(struct guest **out, const struct xen_guest_conf *conf, struct err *e)
{
	struct xen_guest *x = mem_zalloc(sizeof(*x));
	int rc;

	if (!x)
		return err_set(e, -ENOMEM, "guest");
	x->g.ops = &xen_ops;
	(void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	rc = attach(x, conf, e);
	if (rc == 0)
		rc = open_rest(x, conf, e);
	if (rc < 0) {
		xen_close(&x->g);
		return rc;
	}
	*out = &x->g;
	return 0;
}

int xen_guest_rescue(const char *name, bool *resumed, struct err *e)
{
	const struct xen_guest_conf conf = {.name = name, .adopt = true};
	struct xen_guest *x = mem_zalloc(sizeof(*x));
	int rc;

	*resumed = false;
	if (!x)
		return err_set(e, -ENOMEM, "guest");
	rc = attach(x, &conf, e);
	if (rc == 0) {
		xen_settle(x, clock_add(clock_now(), RESCUE_NS));
		*resumed = x->g.info.adopted || x->g.counters.late_resumed;
		rc = xen_cap_init(x, e);
	}
	detach(x);
	return rc;
}
