/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a drill asks the hypervisor and the store: the standby's pages, how its copy is, how much memory there is. Includes no
 * header of Xen. One thread.
 */
#ifndef REPLICATOR_XEN_DRILL_H
#define REPLICATOR_XEN_DRILL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;
struct xen_drill;

#define XEN_DRILL_BATCH 1024
#define XEN_DRILL_PATH_SIZE 64

MUST_CHECK int xen_drill_open(struct xen_drill **out, struct err *e);
/* NULL is a no-op. */
void xen_drill_close(struct xen_drill *x);

/* The domain of this name, which is the one that is read from here on. -ENOENT: none. */
MUST_CHECK int xen_drill_find(struct xen_drill *x, const char *name, uint32_t *domid,
			      struct err *e);

/*
 * Copies n (at most XEN_DRILL_BATCH) pages of it; have[i]: there is memory at pfn[i]. Nothing stays mapped. An error: the
 * domain is gone.
 */
MUST_CHECK int xen_drill_read(struct xen_drill *x, const uint64_t *pfn, uint32_t n, uint8_t *pages,
			      bool *have, struct err *e);

struct xen_drill_look {
	bool there;
	const char *ended; /* "crash", "poweroff", ... of its own; NULL: it runs */
	uint64_t cpu_ns;
	uint64_t kib;
};
void xen_drill_look(struct xen_drill *x, uint32_t domid, struct xen_drill_look *out);

/* Memory that no domain has; 0 when it cannot be asked. */
uint64_t xen_drill_free_kib(struct xen_drill *x);

/* The terminal that the domain's console is at. -ENOENT: none (yet). */
MUST_CHECK int xen_drill_console(struct xen_drill *x, uint32_t domid,
				 char path[XEN_DRILL_PATH_SIZE], struct err *e);

#endif
