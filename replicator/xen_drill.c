// SPDX-License-Identifier: GPL-2.0-or-later
/* See xen_drill.h. Pages are mapped for a moment only: a mapping that stayed would keep frames of a standby that is gone. */
#include "replicator/xen_drill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/err.h"
#include "lib/mem.h"
#include "replicator/xen_guest.h"

struct xen_drill {
	xentoollog_logger *logger;
	xc_interface *xch;
	xenforeignmemory_handle *fmem;
	struct xs_handle *xs;
	uint32_t standby;
	xen_pfn_t gfn[XEN_DRILL_BATCH];
	int map_err[XEN_DRILL_BATCH];
};

static int open_all(struct xen_drill *x)
{
	x->logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);
	if (!x->logger)
		return -ENOMEM;
	x->xch = xc_interface_open(x->logger, x->logger, 0);
	x->fmem = x->xch ? xenforeignmemory_open(x->logger, 0) : NULL;
	x->xs = x->fmem ? xs_open(0) : NULL;
	return x->xs ? 0 : -errno;
}

int xen_drill_open(struct xen_drill **out, struct err *e)
{
	struct xen_drill *x = mem_zalloc(sizeof(*x));
	int rc;

	if (!x)
		return err_set(e, -ENOMEM, "handle of the hypervisor");
	rc = open_all(x);
	if (rc < 0) {
		xen_drill_close(x);
		return err_set(e, rc, "open the hypervisor; is this a Xen host, are you root?");
	}
	*out = x;
	return 0;
}

void xen_drill_close(struct xen_drill *x)
{
	if (!x)
		return;
	if (x->xs)
		xs_close(x->xs);
	if (x->fmem)
		xenforeignmemory_close(x->fmem);
	if (x->xch)
		xc_interface_close(x->xch);
	if (x->logger)
		xtl_logger_destroy(x->logger);
	mem_free(x);
}

int xen_drill_find(struct xen_drill *x, const char *name, uint32_t *domid, struct err *e)
{
	int rc = xen_look_domain(x->xs, name, domid);

	if (rc == -ENOENT)
		return err_setx(e, rc, "there is no domain %s on this host", name);
	if (rc < 0)
		return err_set(e, rc, "look for domain %s in xenstore", name);
	x->standby = *domid;
	return 0;
}

int xen_drill_read(struct xen_drill *x, const uint64_t *pfn, uint32_t n, uint8_t *pages, bool *have,
		   struct err *e)
{
	const uint32_t domid = x->standby;
	const uint8_t *map;

	assert(n <= XEN_DRILL_BATCH);
	for (uint32_t i = 0; i < n; i++)
		x->gfn[i] = (xen_pfn_t)pfn[i];
	map = xenforeignmemory_map(x->fmem, domid, PROT_READ, n, x->gfn, x->map_err);
	if (!map)
		return err_set(e, -errno, "map pages of domain %u from 0x%llx on", domid,
			       (unsigned long long)pfn[0]);
	for (uint32_t i = 0; i < n; i++) {
		have[i] = x->map_err[i] == 0;
		if (have[i])
			memcpy(pages + (size_t)i * XC_PAGE_SIZE, map + (size_t)i * XC_PAGE_SIZE,
			       XC_PAGE_SIZE);
	}
	if (xenforeignmemory_unmap(x->fmem, (void *)(uintptr_t)map, n) < 0)
		return err_set(e, -errno, "unmap pages of domain %u", domid);
	return 0;
}

void xen_drill_look(struct xen_drill *x, uint32_t domid, struct xen_drill_look *out)
{
	static const char *const reasons[] = {"poweroff", "reboot",	    "suspend",
					      "crash",	  "watchdog fired", "soft reset"};
	xc_dominfo_t info;

	*out = (struct xen_drill_look){.there = false};
	memset(&info, 0, sizeof(info));
	if (xc_domain_getinfo(x->xch, domid, 1, &info) != 1 || info.domid != domid || info.dying)
		return;
	out->there = true;
	out->cpu_ns = info.cpu_time;
	out->kib = info.nr_pages * (XC_PAGE_SIZE / 1024);
	if (info.shutdown)
		out->ended = info.shutdown_reason < ARRAY_SIZE(reasons)
				     ? reasons[info.shutdown_reason]
				     : "unknown";
}

uint64_t xen_drill_free_kib(struct xen_drill *x)
{
	xc_physinfo_t info;

	memset(&info, 0, sizeof(info));
	if (xc_physinfo(x->xch, &info) < 0 || info.free_pages < info.outstanding_pages)
		return 0;
	return (info.free_pages - info.outstanding_pages) * (XC_PAGE_SIZE / 1024);
}

int xen_drill_console(struct xen_drill *x, uint32_t domid, char path[XEN_DRILL_PATH_SIZE],
		      struct err *e)
{
	char *got = xen_store_read(x->xs, NULL, "/local/domain/%u/console/tty", domid);
	size_t len = got ? strlen(got) : 0;
	int rc = len && len < XEN_DRILL_PATH_SIZE && strncmp(got, "/dev/", 5) == 0 ? 0 : -ENOENT;

	if (rc == 0)
		memcpy(path, got, len + 1);
	free(got);
	return rc < 0 ? err_setx(e, rc, "domain %u has no console's terminal", domid) : 0;
}
