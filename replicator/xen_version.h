/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which hypervisor this host runs. Any thread. */
#ifndef REPLICATOR_XEN_VERSION_H
#define REPLICATOR_XEN_VERSION_H

#include <stdint.h>

#include "lib/compiler.h"

struct err;

/* As 4 and 17; from the kernel's /sys/hypervisor. 0, or negative errno when this is no Xen host. */
MUST_CHECK int xen_version(uint32_t *major, uint32_t *minor, struct err *e);

#endif
