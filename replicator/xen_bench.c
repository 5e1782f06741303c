// SPDX-License-Identifier: GPL-2.0-or-later
/* See xen_bench.h. */
#include "replicator/xen_bench.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "replicator/xen_guest.h"

/* An answer that comes later is as bad as none. */
#define SUSPEND_NS (10 * NS_PER_SEC)
#define RESUME_TRIES 5

struct xen_bench {
	struct xen_guest *x;
	/* When a path's polling begins follows that path's own figures. */
	uint64_t usual_ns[BENCH_PATHS];
};

int xen_bench_new(struct guest *g, struct xen_bench **out, struct err *e)
{
	struct xen_bench *b = mem_zalloc(sizeof(*b));
	int rc;

	if (!b)
		return err_set(e, -ENOMEM, "bench");
	b->x = xen_guest_of(g);
	rc = xen_toolstack_init(b->x, e);
	if (rc < 0) {
		mem_free(b);
		return rc;
	}
	/* The lock of the channel is taken for the whole run, if there is one. */
	xen_channel_choose(b->x);
	b->x->path_fixed = true;
	*out = b;
	return 0;
}

static int let_go_on(struct xen_guest *x, enum bench_path path)
{
	int rc = -EAGAIN;

	for (int i = 0; rc < 0 && rc != -ESTALE && i < RESUME_TRIES; i++)
		rc = path == BENCH_TOOLSTACK ? xen_toolstack_resume(x) : guest_resume(&x->g);
	return rc;
}

static bool is_suspended(struct xen_guest *x)
{
	enum guest_shutdown reason;

	return xen_info(x) == 0 && xen_is_shutdown(x, &reason) && reason == GUEST_SUSPEND;
}

void xen_bench_free(struct xen_bench *b)
{
	struct xen_guest *x = b ? b->x : NULL;

	if (!b)
		return;
	if (x->suspended)
		(void)let_go_on(x, BENCH_XENSTORE);
	xen_settle(x, CLOCK_NEVER);
	if ((x->suspended || x->claim.owed) && is_suspended(x))
		log_err("%s STAYS SUSPENDED; try again with: romulus suspend-bench --rescue %s",
			x->g.info.name, x->g.info.name);
	xen_toolstack_fini(x);
	mem_free(b);
}

/* ---- a cycle ---- */

static int take_path(struct xen_bench *b, enum bench_path path, struct err *e)
{
	struct xen_guest *x = b->x;
	int rc = 0;

	switch (path) {
	case BENCH_TOOLSTACK:
		x->path = &xen_path_toolstack;
		rc = xen_toolstack_prepare(x, e);
		break;
	case BENCH_XENSTORE:
		x->path = &xen_path_xenstore;
		break;
	case BENCH_CHANNEL:
	case BENCH_CHANNEL_BARE:
		/* The guest may have changed its offer, or taken it back. */
		atomic_store(&x->offered, true);
		suspend_offer_forgive(&x->channel.offer);
		xen_channel_choose(x);
		if (!x->channel.guest_port)
			return err_setx(e, -EOPNOTSUPP,
					"the guest offers no event channel that can be used");
		x->path = &xen_path_channel;
		break;
	case BENCH_PAUSE:
	case BENCH_PATHS:
		break;
	}
	x->usual_ns = b->usual_ns[path];
	return rc;
}

/* Says why. A request that may still be obeyed is remembered, for xen_bench_free(). */
static int not_suspended(struct xen_guest *x, const struct suspend_result *r, int rc, struct err *e)
{
	if (x->claim.out != CLAIM_NONE && xen_withdraw(x, NULL) < 0)
		claim_taken(&x->claim, clock_now());
	switch (r->outcome) {
	case SUSPEND_TIMEOUT:
		return err_setx(e, -ETIMEDOUT, "the guest did not suspend within %llu s (%s)",
				(unsigned long long)(SUSPEND_NS / NS_PER_SEC),
				r->taken ? "it took the request" : "it ignored the request");
	case SUSPEND_GONE:
		return err_setx(e, -ESRCH, "the guest was destroyed");
	case SUSPEND_SHUTDOWN:
		return err_setx(e, -ESHUTDOWN, "the guest ended by itself");
	case SUSPEND_FOREIGN:
		return err_setx(e, -EBUSY, "somebody else suspended the guest (xl save?)");
	case SUSPEND_CHANGED:
	case SUSPEND_FAILED:
	case SUSPEND_DONE:
		break;
	}
	return rc < 0 ? rc : err_setx(e, -EIO, "the guest was not suspended");
}

/* Not in the measured time. */
static int check_self_aware(struct xen_guest *x, struct err *e)
{
	const struct guest_state *st;
	int rc = guest_state_capture(&x->g, &st);

	if (rc < 0)
		return err_set(e, rc, "read the guest's vCPUs");
	if (st->self_aware)
		return 0;
	return err_setx(e, -EOPNOTSUPP, "the guest does not find out by itself where it wakes up");
}

static int suspend_cycle(struct xen_bench *b, enum bench_path path, struct bench_sample *out,
			 struct err *e)
{
	struct xen_guest *x = b->x;
	struct suspend_result r;
	uint64_t begun;
	uint64_t ended;
	int offered = 0;
	int rc;

	rc = guest_suspend(&x->g, clock_add(clock_now(), SUSPEND_NS), &r, e);
	b->usual_ns[path] = x->usual_ns;
	if (r.outcome != SUSPEND_DONE)
		return not_suspended(x, &r, rc, e);
	/* Without a capture the guest is told, whatever it could find out. */
	if (path == BENCH_CHANNEL_BARE)
		offered = check_self_aware(x, e);
	begun = clock_now();
	rc = let_go_on(x, path);
	ended = clock_now();
	if (path == BENCH_TOOLSTACK)
		xen_toolstack_tidy(x);
	if (rc == -ESTALE)
		return err_setx(e, rc, "somebody else resumed the guest");
	if (rc < 0)
		return err_set(e, rc, "resume the guest, which is suspended");
	out->ns[BENCH_SUSPEND] = clock_until(r.suspended_ns, r.request_ns);
	out->ns[BENCH_RESUME] = clock_until(ended, begun);
	out->ns[BENCH_TOTAL] = out->ns[BENCH_SUSPEND] + out->ns[BENCH_RESUME];
	return offered;
}

static int pause_cycle(struct xen_guest *x, struct bench_sample *out, struct err *e)
{
	uint64_t begun = clock_now();
	uint64_t paused;
	int r = xc_domain_pause(x->xch, x->g.info.domid);

	if (r < 0)
		return err_set(e, -errno, "pause the guest");
	paused = clock_now();
	r = -1;
	for (int i = 0; r < 0 && i < RESUME_TRIES; i++)
		r = xc_domain_unpause(x->xch, x->g.info.domid);
	if (r < 0)
		return err_set(e, -errno, "%s STAYS PAUSED; try again with xl unpause %s",
			       x->g.info.name, x->g.info.name);
	out->ns[BENCH_TOTAL] = clock_until(clock_now(), begun);
	out->ns[BENCH_SUSPEND] = clock_until(paused, begun);
	out->ns[BENCH_RESUME] = out->ns[BENCH_TOTAL] - out->ns[BENCH_SUSPEND];
	return 0;
}

int xen_bench_cycle(struct xen_bench *b, enum bench_path path, struct bench_sample *out,
		    struct err *e)
{
	int rc = take_path(b, path, e);

	*out = (struct bench_sample){.path = path};
	if (rc < 0)
		return rc;
	return path == BENCH_PAUSE ? pause_cycle(b->x, out, e) : suspend_cycle(b, path, out, e);
}
