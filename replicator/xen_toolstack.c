// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Suspend and resume as the toolstack (xl, libxl 4.17) does them for a guest that offers no event channel, to
 * measure it: the request in control/shutdown, the guest's acknowledgement and its suspension both learnt of by
 * watches, xc_domain_resume(fast). Nothing that protects a guest uses this: xc_domain_resume() sets vCPU 0's
 * registers, at which the hypervisor forgets that vCPU's extended state but for x87 and SSE, and it does not put
 * it back. One thread.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <xenguest.h>

#include "lib/clock.h"
#include "lib/err.h"

#define RELEASE "@releaseDomain"

/* What tells the events of the two watches apart. */
static const char ack_token[] = "ack";
static const char release_token[] = "release";

int xen_toolstack_init(struct xen_guest *x, struct err *e)
{
	x->toolstack_xs = xs_open(0);
	return x->toolstack_xs ? 0 : err_set(e, -errno, "connect to xenstored");
}

void xen_toolstack_fini(struct xen_guest *x)
{
	if (x->toolstack_xs)
		xs_close(x->toolstack_xs);
	x->toolstack_xs = NULL;
}

/*
 * xenstored tells of a suspension only if it believes that the guest runs. It may have noticed one by another path,
 * or just then, when some other domain ended. Whether somebody else has asked is looked at here, since xl does not look.
 */
int xen_toolstack_prepare(struct xen_guest *x, struct err *e)
{
	(void)xs_resume_domain(x->toolstack_xs, x->g.info.domid);
	return xen_request_free(x, e);
}

/*
 * In this order, as xl: the watch's first event is for what was there before it. With the zero byte that tells our
 * requests from xl's own, so that it can be withdrawn, also by --rescue.
 */
static int toolstack_request(struct xen_guest *x, struct err *e)
{
	const char *path = x->shutdown_path;

	if (!xs_write(x->toolstack_xs, XBT_NULL, path, "suspend", sizeof("suspend")))
		return err_set(e, -errno, "ask the guest to suspend: write %s", path);
	claim_asked(&x->claim, CLAIM_STORE);
	if (!xs_watch(x->toolstack_xs, path, ack_token))
		return err_set(e, -errno, "watch %s", path);
	return 0;
}

/* 1: the watch has fired; 0: the deadline has passed. */
static int next_event(struct xen_guest *x, const char *token, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = xs_fileno(x->toolstack_xs), .events = POLLIN};

	for (;;) {
		char **got = xs_check_watch(x->toolstack_xs);
		bool ours = got && strcmp(got[XS_WATCH_TOKEN], token) == 0;
		struct timespec left;
		uint64_t now;

		if (!got && errno != EAGAIN)
			return -errno;
		free(got);
		if (ours)
			return 1;
		/* What is there already comes first. */
		if (got)
			continue;
		now = clock_now();
		if (now >= deadline_ns)
			return 0;
		left = clock_timespec(deadline_ns - now);
		if (ppoll(&p, 1, &left, NULL) < 0 && errno != EINTR)
			return -errno;
	}
}

/* 1: the guest has taken the request; 0: the deadline has passed. */
static int await_ack(struct xen_guest *x, uint64_t deadline_ns)
{
	for (;;) {
		int rc = next_event(x, ack_token, deadline_ns);
		bool acked;
		char *value;

		if (rc <= 0)
			return rc;
		value = xs_read(x->toolstack_xs, XBT_NULL, x->shutdown_path, NULL);
		if (!value && errno != ENOENT)
			return -errno;
		acked = !value || strcmp(value, "suspend") != 0;
		free(value);
		if (acked)
			return 1;
	}
}

static int toolstack_wait(struct xen_guest *x, uint64_t deadline_ns, struct suspend_result *out)
{
	enum guest_shutdown reason;
	int rc = await_ack(x, deadline_ns);

	if (rc <= 0)
		return rc;
	(void)xs_unwatch(x->toolstack_xs, x->shutdown_path, ack_token);
	if (!xs_watch(x->toolstack_xs, RELEASE, release_token))
		return -errno;
	for (;;) {
		rc = next_event(x, release_token, deadline_ns);
		if (rc <= 0)
			return rc;
		out->polls++;
		rc = xen_info(x);
		if (rc < 0 || xen_is_shutdown(x, &reason))
			return rc;
	}
}

static int toolstack_withdraw(struct xen_guest *x, struct err *e)
{
	return xen_path_xenstore.withdraw(x, e);
}

const struct suspend_path xen_path_toolstack = {
	.name = "toolstack",
	.way = CLAIM_STORE,
	.request = toolstack_request,
	.wait = toolstack_wait,
	.withdraw = toolstack_withdraw,
};

int xen_toolstack_resume(struct xen_guest *x)
{
	if (xc_domain_resume(x->xch, x->g.info.domid, 1) != 0)
		return errno ? -errno : -EIO;
	xen_runs(x);
	return 0;
}

void xen_toolstack_tidy(struct xen_guest *x)
{
	char **got;

	/* One of them was taken back already, or both were: no matter. */
	(void)xs_unwatch(x->toolstack_xs, x->shutdown_path, ack_token);
	(void)xs_unwatch(x->toolstack_xs, RELEASE, release_token);
	while ((got = xs_check_watch(x->toolstack_xs)))
		free(got);
}
