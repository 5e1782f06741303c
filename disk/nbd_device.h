/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's nbd device of one disk: found again by its backend identifier or made, given a socket as often as it
 * needs one, let go. The number is in a runtime file for those who attach it to a guest. The loop's thread; what could
 * wait for the device's own I/O runs in a thread of its own, or the server would wait for itself.
 */
#ifndef DISK_NBD_DEVICE_H
#define DISK_NBD_DEVICE_H

#include <stdbool.h>

#include "disk/nbd_sysfs.h"
#include "lib/compiler.h"

struct err;
struct nbdnl;
struct nbdwire_export;

struct nbddev_conf {
	const struct nbdwire_export *export;
	const char *index_path; /* the runtime file */
	const char *sys_block;	/* NBDSYS_BLOCK, or a test's */
};

struct nbddev {
	struct nbddev_conf conf; /* borrowed texts */
	struct nbdnl *nl;
	char id[NBDSYS_ID_SIZE];
	int index; /* -1: none yet */
	bool let_go;
};

/* -ENOENT: no kernel nbd. */
MUST_CHECK int nbddev_init(struct nbddev *d, const struct nbddev_conf *c, struct err *e);
/* The device stays, and waits for a socket. All zeroes is fine. */
void nbddev_fini(struct nbddev *d);

/*
 * A new socket for the device; *fd is our end of it. -ENOTCONN: it was disconnected. Where the kernel did not notice yet
 * that the last socket died, *fd is at its end at once: try again a little later.
 */
MUST_CHECK int nbddev_attach(struct nbddev *d, int *fd, struct err *e);

/* From now on, the device is disconnected when nobody has it open; at once, if so. */
MUST_CHECK int nbddev_let_go(struct nbddev *d, struct err *e);
/* It was disconnected, whoever did it. */
void nbddev_gone(struct nbddev *d);

#endif
