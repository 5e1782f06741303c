/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be seen of a guest without touching it. The worker that protects it and the doctor that says beforehand
 * whether it could have one answer. Any thread, with handles of its own.
 */
#ifndef REPLICATOR_XEN_LOOK_H
#define REPLICATOR_XEN_LOOK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <xenctrl.h>
#include <xenstore.h>

#include "lib/compiler.h"

struct err;

#define XEN_PATH_SIZE 96
#define XEN_KIND_SIZE 32

/* The value, to be free()d, or NULL with errno. The path is made like printf's. */
PRINTF(3, 4) char *xen_store_read(struct xs_handle *xs, unsigned int *len, const char *fmt, ...);
/* The path, for those that make one. 0 or -ENAMETOOLONG. */
PRINTF(2, 0) int xen_store_path(char path[XEN_PATH_SIZE], const char *fmt, va_list ap);

/* A number below those that Xen keeps for itself, and nothing else. 0 or -EINVAL. */
MUST_CHECK int xen_look_number(const char *text, uint32_t *n);
/* The domain of this name. 0, -ENOENT, or what the store says. */
MUST_CHECK int xen_look_domain(struct xs_handle *xs, const char *name, uint32_t *domid);

/*
 * The kind of a device that cannot be protected: it would be missing, or differ, after a failover. "" if there is
 * none. 0, or a negative errno when the devices could not be listed.
 */
MUST_CHECK int xen_look_odd_device(struct xs_handle *xs, uint32_t domid, char kind[XEN_KIND_SIZE],
				   struct err *e);

/*
 * Does its kernel obey a request to suspend? It says so once, when it boots. A restored domain (a migration, a failover)
 * has an empty node, but the parameter by which its drivers asked for event channels came along.
 */
bool xen_look_can_suspend(xc_interface *xch, struct xs_handle *xs, uint32_t domid);

#endif
