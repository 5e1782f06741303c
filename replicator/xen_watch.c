// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What others do to the guest through xenstore: memory target, devices, requests to suspend or to end. On a
 * connection of its own, so that the thread that reads it (control) and the data thread share two
 * atomic flags and nothing else.
 *
 * The device lists are watched where the toolstack keeps them: a guest cannot write there, so it cannot
 * keep us busy. It can write to control/shutdown and to its offer; guest_watch_read() bounds what one call reads.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/suspend_abi.h"
#include "lib/err.h"

#define NO_TARGET UINT64_MAX
/* Events that one call looks at; the rest wait for the next. */
#define READ_MAX 16

enum {
	WATCH_MEMORY,
	WATCH_VIFS,
	WATCH_DISKS,
	WATCH_SHUTDOWN,
	WATCH_RELEASE,
	WATCH_OFFER,
	WATCHES,
};

static const char *const tokens[WATCHES] = {"memory",	"vifs",	   "disks",
					    "shutdown", "release", "offer"};

/* Independent of the order in which the store lists them. */
static uint64_t fingerprint(struct xen_guest *x, const char *kind)
{
	char path[XEN_PATH_SIZE];
	unsigned int n = 0;
	uint64_t sum = 0;
	char **ids;

	snprintf(path, sizeof(path), "/libxl/%u/device/%s", x->g.info.domid, kind);
	ids = xs_directory(x->watch, XBT_NULL, path, &n);
	for (unsigned int i = 0; ids && i < n; i++) {
		uint64_t h = UINT64_C(0xcbf29ce484222325);

		for (const char *c = ids[i]; *c; c++)
			h = (h ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
		sum += h;
	}
	free(ids);
	return sum;
}

static uint64_t target(struct xen_guest *x)
{
	char *text =
		xen_store_read(x->watch, NULL, "/local/domain/%u/memory/target", x->g.info.domid);
	uint64_t kib = text ? strtoull(text, NULL, 10) : NO_TARGET;

	free(text);
	return kib;
}

static int add(struct xen_guest *x, unsigned int w, const char *path, struct err *e)
{
	if (!xs_watch(x->watch, path, tokens[w]))
		return err_set(e, -errno, "watch %s in xenstore", path);
	return 0;
}

int xen_watch_init(struct xen_guest *x, struct err *e)
{
	const uint32_t domid = x->g.info.domid;
	char path[XEN_PATH_SIZE];
	int rc;

	x->watch = xs_open(0);
	if (!x->watch)
		return err_set(e, -errno, "connect to xenstored");
	x->watch_target = target(x);
	x->watch_vifs = fingerprint(x, "vif");
	x->watch_disks = fingerprint(x, "vbd");
	snprintf(path, sizeof(path), "/local/domain/%u/memory/target", domid);
	rc = add(x, WATCH_MEMORY, path, e);
	snprintf(path, sizeof(path), "/libxl/%u/device/vif", domid);
	if (rc == 0)
		rc = add(x, WATCH_VIFS, path, e);
	snprintf(path, sizeof(path), "/libxl/%u/device/vbd", domid);
	if (rc == 0)
		rc = add(x, WATCH_DISKS, path, e);
	if (rc == 0)
		rc = add(x, WATCH_SHUTDOWN, x->shutdown_path, e);
	if (rc == 0)
		rc = add(x, WATCH_RELEASE, "@releaseDomain", e);
	snprintf(path, sizeof(path), "/local/domain/%u/" SUSPEND_DIR "/" SUSPEND_NODE, domid);
	if (rc == 0)
		rc = add(x, WATCH_OFFER, path, e);
	return rc;
}

void xen_watch_fini(struct xen_guest *x)
{
	xs_close(x->watch);
	x->watch = NULL;
}

int xen_watch_fd(struct guest *g)
{
	struct xen_guest *x = xen_guest_of(g);

	return x->watch ? xs_fileno(x->watch) : -1;
}

static enum guest_event_type changed(struct xen_guest *x, enum guest_event_type ev)
{
	atomic_store(&x->changed, true);
	return ev;
}

static enum guest_event_type shutdown_event(struct xen_guest *x)
{
	switch (xen_shutdown_request(x->watch, XBT_NULL, x->shutdown_path)) {
	case REQUEST_SUSPEND:
		return GUEST_EV_SUSPEND_ASKED;
	case REQUEST_END:
		return GUEST_EV_END_ASKED;
	case REQUEST_NONE:
	case REQUEST_OURS:
		break;
	}
	return GUEST_EV_NONE;
}

static enum guest_event_type event_of(struct xen_guest *x, const char *token)
{
	unsigned int w = 0;
	uint64_t now;

	while (w < WATCHES && strcmp(token, tokens[w]) != 0)
		w++;
	switch (w) {
	case WATCH_MEMORY:
		now = target(x);
		if (now == x->watch_target)
			return GUEST_EV_NONE;
		x->watch_target = now;
		return changed(x, GUEST_EV_MEMORY);
	case WATCH_VIFS:
		now = fingerprint(x, "vif");
		if (now == x->watch_vifs)
			return GUEST_EV_NONE;
		x->watch_vifs = now;
		return changed(x, GUEST_EV_VIFS);
	case WATCH_DISKS:
		now = fingerprint(x, "vbd");
		if (now == x->watch_disks)
			return GUEST_EV_NONE;
		x->watch_disks = now;
		return changed(x, GUEST_EV_DISKS);
	case WATCH_SHUTDOWN:
		return shutdown_event(x);
	case WATCH_RELEASE:
		return GUEST_EV_CHECK;
	case WATCH_OFFER:
		atomic_store(&x->offered, true);
		return GUEST_EV_NONE;
	default:
		return GUEST_EV_NONE;
	}
}

enum guest_event_type xen_watch_read(struct guest *g)
{
	struct xen_guest *x = xen_guest_of(g);

	for (int i = 0; x->watch && i < READ_MAX; i++) {
		char **got = xs_check_watch(x->watch);
		enum guest_event_type ev;

		if (!got)
			return GUEST_EV_NONE;
		ev = event_of(x, got[XS_WATCH_TOKEN]);
		free(got);
		if (ev != GUEST_EV_NONE)
			return ev;
	}
	return GUEST_EV_NONE;
}
