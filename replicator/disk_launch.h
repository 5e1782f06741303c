/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulusd's disks: a romulus-disk for each one that is configured. Starts them, finds those again that outlived an
 * earlier romulusd, starts those again that die; one that ends in order was asked to, and stays away until the next start.
 * They are never ended from here: a guest may stand on them. Like the supervisor it knows no event loop: poll disk_launch_fd(),
 * and call disk_launch_dispatch() when it is readable and at disk_launch_deadline(). romulusd's only thread.
 */
#ifndef REPLICATOR_DISK_LAUNCH_H
#define REPLICATOR_DISK_LAUNCH_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/compiler.h"

struct conf;
struct disk_launch;
struct err;

struct disk_launch_conf {
	const char *libexec_dir; /* romulus-disk is there */
	const char *conf_path;
	const struct conf *conf; /* its disks; borrowed, as are the texts */
};

/* Finds or starts them all. A disk that cannot be started is tried again, and is no error here. */
MUST_CHECK int disk_launch_new(const struct disk_launch_conf *c, uint64_t now,
			       struct disk_launch **out, struct err *e);
/* Leaves the disks alone. NULL is a no-op. */
void disk_launch_free(struct disk_launch *d);

int disk_launch_fd(const struct disk_launch *d);
/* CLOCK_NEVER: none. */
uint64_t disk_launch_deadline(const struct disk_launch *d);
void disk_launch_dispatch(struct disk_launch *d, uint64_t now);

/* The process that serves the disk; 0: none now. */
pid_t disk_launch_pid(const struct disk_launch *d, const char *name);
/* Wait before the nth start in a row, counted from 1: 0, 200 ms, 400 ms, ... 30 s. */
uint64_t disk_launch_backoff(unsigned int deaths);

#endif
