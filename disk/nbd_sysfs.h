/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of a kernel nbd device is seen and set by its files: sysfs, and the device itself. Any thread. */
#ifndef DISK_NBD_SYSFS_H
#define DISK_NBD_SYSFS_H

#include "lib/compiler.h"

struct err;

#define NBDSYS_BLOCK "/sys/block"
#define NBDSYS_ID_SIZE 96

/* The device with this backend identifier: its index, or -ENOENT. block: NBDSYS_BLOCK, or a test's. */
MUST_CHECK int nbdsys_find(const char *block, const char *id);

/*
 * Requests of up to 1 MiB (128 KiB by default, so that a guest's large write would come in pieces), and no scheduler: the
 * guest has one. May wait for I/O of the device: never on the thread that serves it.
 */
MUST_CHECK int nbdsys_tune(const char *block, int index, struct err *e);

/*
 * Opens and closes the device node. A device that is to end when its last user closes it does so now, if there was
 * none. May wait for I/O of the device: never on the thread that serves it.
 */
MUST_CHECK int nbdsys_touch(int index, struct err *e);

#endif
