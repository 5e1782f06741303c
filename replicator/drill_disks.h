/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disks of a drill's copy: a romulus-drill-disk for each, which shows it as it was at the epoch of the memory. The drill's
 * process; waits are bounded, and end early when the drill is told to end.
 */
#ifndef REPLICATOR_DRILL_DISKS_H
#define REPLICATOR_DRILL_DISKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/compiler.h"
#include "lib/names.h"
#include "lib/wire_v1_disk.h"

struct err;

struct drill_disk {
	const char *name; /* borrowed */
	int ctl;	  /* -1: none */
	pid_t pid;	  /* 0: none */
	int pidfd;
	bool answered;
	uint64_t used;
};

struct drill_disks {
	/* Set by the caller; borrowed. */
	const char *program; /* NULL: the installed romulus-drill-disk */
	const char *conf_path;
	const char *vm;
	int wake_fd; /* readable: stop waiting */
	unsigned int n;
	struct drill_disk disk[WIRE_MAX_DISKS];
	/* Private. */
	uint64_t least; /* epoch that all of them can still show, EPOCH_NONE: any */
};

/* Before all else; disks are added by name. */
void drill_disks_init(struct drill_disks *d);
MUST_CHECK int drill_disks_add(struct drill_disks *d, const char *name);

/* Each finds its disk, and room. -ECANCELED: told to end; else what one of them said. */
MUST_CHECK int drill_disks_start(struct drill_disks *d, struct err *e);
/* From here on, for some seconds, none of them is brought further than *least. */
MUST_CHECK int drill_disks_hold(struct drill_disks *d, uint64_t *least, struct err *e);
/* They show that epoch, and nothing else any more. */
MUST_CHECK int drill_disks_at(struct drill_disks *d, uint64_t epoch, struct err *e);
/* Has one of them failed? Never waits. */
MUST_CHECK int drill_disks_look(struct drill_disks *d, struct err *e);
uint64_t drill_disks_used(const struct drill_disks *d);
/* The copy must be gone. True: nothing is left of them. A second call is a no-op. */
bool drill_disks_end(struct drill_disks *d);

/* Removes what those of an earlier drill have left. Waits. */
MUST_CHECK int drill_disks_clean(const struct drill_disks *d, struct err *e);

#endif
