/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What romulus-domain does through libxenlight, without its headers. libxl owns SIGCHLD, forks and blocks:
 * only that short program links this, never a worker. One thread.
 *
 * Errors carry the first and the last line that libxl said about the failed call.
 */
#ifndef REPLICATOR_XEN_LIBXL_H
#define REPLICATOR_XEN_LIBXL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "replicator/disk_list.h"

struct err;
struct xen_libxl;

#define XEN_LIBXL_MAX_VIFS 8

MUST_CHECK int xen_libxl_open(struct xen_libxl **out, struct err *e);
/* NULL is a no-op. */
void xen_libxl_close(struct xen_libxl *x);

/* By name or number. -ENOENT when there is no such domain; domain 0 is never meant, -EPERM. */
MUST_CHECK int xen_libxl_find(struct xen_libxl *x, const char *name_or_id, uint32_t *domid,
			      struct err *e);
/* The configuration of a running domain as libxl's JSON; the caller frees it with free(). */
MUST_CHECK int xen_libxl_config(struct xen_libxl *x, uint32_t domid, char **json, struct err *e);
MUST_CHECK int xen_libxl_free_memory(struct xen_libxl *x, uint64_t *mib, struct err *e);
MUST_CHECK int xen_libxl_destroy(struct xen_libxl *x, uint32_t domid, struct err *e);
MUST_CHECK int xen_libxl_pause(struct xen_libxl *x, uint32_t domid, struct err *e);

struct xen_libxl_vif {
	char name[16];
	char bridge[16]; /* empty: none */
	uint8_t mac[6];
};

struct xen_libxl_vifs {
	uint32_t n;
	struct xen_libxl_vif vif[XEN_LIBXL_MAX_VIFS];
};

/* -E2BIG when there are more than XEN_LIBXL_MAX_VIFS. */
MUST_CHECK int xen_libxl_vifs(struct xen_libxl *x, uint32_t domid, struct xen_libxl_vifs *vifs,
			      struct err *e);

/* -EOPNOTSUPP: one of them cannot be protected, with a sentence that says which and why. */
MUST_CHECK int xen_libxl_disks(struct xen_libxl *x, uint32_t domid, struct disk_list *disks,
			       struct err *e);

/* What a restore does after somebody spoke. */
enum xen_libxl_heed {
	XEN_LIBXL_GO_ON,
	XEN_LIBXL_GO_ON_DEAF, /* and do not listen any more */
	XEN_LIBXL_GIVE_UP,
};

struct xen_libxl_restore {
	const char *vm;		/* the name that it will have when it runs: must be free here */
	const char *build_name; /* the name that it has until then */
	const char *json;	/* ends with 0 */
	/*
	 * Not NULL: a drill's copy. It gets a UUID of its own, its interfaces are on this bridge with what they have
	 * here by default, and whatever ends it destroys it.
	 */
	const char *drill_bridge;
	int stream_fd; /* borrowed */
	/* While libxl works, poll_fn(arg) is called whenever this is readable. */
	int poll_fd;
	enum xen_libxl_heed (*poll_fn)(void *arg);
	void *arg;
};

/*
 * Builds a paused domain from a checkpointed stream; returns when the stream has ended. Its disks are attached then and
 * not before: libxl runs the block scripts in domcreate_attach_devices(), after the stream. So nothing of this host is
 * opened for a standby that waits, and whoever closes the stream must have had the disks activated. Everything that
 * can be refused is refused before anything is built: another kind of guest than PVH, devices that
 * cannot be protected, a name that is taken, too little memory, a bridge that is not there. On an error no
 * domain is left. -ECANCELED: given up by poll_fn.
 */
MUST_CHECK int xen_libxl_restore(struct xen_libxl *x, const struct xen_libxl_restore *r,
				 uint32_t *domid, struct xen_libxl_vifs *vifs, struct err *e);

/*
 * Lets the domain run and gives it its name; NULL: it keeps the one that it has. -EEXIST: another domain has the name;
 * nothing happened.
 */
MUST_CHECK int xen_libxl_run(struct xen_libxl *x, uint32_t domid, const char *name, struct err *e);

/*
 * A domain that has shut down gets what its configuration says: destroyed, started anew, preserved. 1: it
 * was started anew, *domid is the new one; 0: there is nothing more to look after, or somebody else is at
 * it; -EBUSY: it has not shut down.
 */
MUST_CHECK int xen_libxl_obey(struct xen_libxl *x, uint32_t *domid, struct err *e);

/* Looks after a domain, and after those that follow it by a restart, until none is left. */
MUST_CHECK int xen_libxl_monitor(struct xen_libxl *x, uint32_t domid, struct err *e);

#endif
