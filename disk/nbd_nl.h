/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel nbd by generic netlink: making a device of a socket, giving it a new socket, taking it apart, and hearing that a
 * socket died. The only file of disk/ with libnl and <linux/nbd-netlink.h>. The loop's thread; every call but
 * nbdnl_hear() waits for the kernel's answer, which needs no I/O of the device.
 */
#ifndef DISK_NBD_NL_H
#define DISK_NBD_NL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;
struct nbdnl;

/* A request that takes longer is sent again over a new socket; the guest waits meanwhile. */
#define NBDNL_TIMEOUT_S 10
/* How long a device without a socket waits for a new one before it fails the guest's I/O. */
#define NBDNL_DEAD_CONN_S 86400

struct nbdnl_device {
	uint64_t size;
	uint32_t block;
	const char *id; /* of the backend; only who knows it may reconfigure */
};

/* -ENOENT: the kernel's nbd is not loaded. The caller owns *out. */
MUST_CHECK int nbdnl_open(struct nbdnl **out, struct err *e);
/* NULL is a no-op. Devices stay as they are. */
void nbdnl_free(struct nbdnl *n);

/* A new device over fd, of which the kernel keeps a reference. *index: -1 in, the kernel picks; out, its number. */
MUST_CHECK int nbdnl_connect(struct nbdnl *n, const struct nbdnl_device *d, int fd, int *index,
			     struct err *e);
/*
 * fd takes the place of a socket that died. When none died, the kernel says nothing and does not take it: the other
 * end sees the end of it. fd -1: none. close_ends: the device is taken apart when its last user closes it.
 */
MUST_CHECK int nbdnl_reconfigure(struct nbdnl *n, int index, const char *id, int fd,
				 bool close_ends, struct err *e);
/* All its I/O fails from now on. Fine when there is no such device. */
MUST_CHECK int nbdnl_disconnect(struct nbdnl *n, int index, struct err *e);
MUST_CHECK int nbdnl_is_connected(struct nbdnl *n, int index, bool *connected, struct err *e);

/* Readable when nbdnl_hear() has something; fn gets the index of each device that lost its last socket. */
int nbdnl_fd(const struct nbdnl *n);
typedef void nbdnl_dead_fn(void *arg, int index);
void nbdnl_hear(struct nbdnl *n, nbdnl_dead_fn *fn, void *arg);

#endif
