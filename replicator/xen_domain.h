/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real guest behind lib/hypervisor.h: a running PVH domain of this host. Opened and used by the data
 * thread. Includes no header of Xen, so that mains may use it.
 */
#ifndef REPLICATOR_XEN_DOMAIN_H
#define REPLICATOR_XEN_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/hypervisor.h"

struct err;

struct xen_guest_conf {
	const char *name; /* the domain's name, or its number in decimal */
	/*
	 * A worker of ours for this guest died: what is found on it is ours. If it is suspended it is
	 * resumed, before anything else; an open request is withdrawn; a dirty log that is on is restarted.
	 * Without it such a guest is refused with -EBUSY.
	 */
	bool adopt;
	/*
	 * For who only suspends, captures and resumes the guest: its memory is neither mapped nor counted,
	 * its devices are not watched. No suspension is SUSPEND_CHANGED, guest_watch_fd() is -1, and
	 * guest_page() and the dirty log are not to be used.
	 */
	bool suspend_only;
};

/*
 * Finds the domain, refuses what cannot be protected with a sentence that says why, maps its memory, captures
 * its devices. The guest runs on; its dirty log is off. To be closed with guest_close().
 * -ENOENT: no such domain. -EOPNOTSUPP: of a kind that is not protected. -EAGAIN: not booted yet.
 * -EBUSY: being saved or migrated, or left suspended by somebody.
 */
MUST_CHECK int xen_guest_open(struct guest **out, const struct xen_guest_conf *conf, struct err *e);

/*
 * For a worker that starts after one that died, before it knows whether it will protect: resumes the guest
 * if it is found suspended, withdraws an open request, undoes the cap, switches the dirty log off. *resumed
 * says whether it was suspended. Maps nothing. A guest that does not exist is -ENOENT.
 */
MUST_CHECK int xen_guest_rescue(const char *name, bool *resumed, struct err *e);

#endif
