/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which disks a VM has, and whether they can be protected: the rule, and the lines in which romulus-domain tells a
 * worker of them. Pure; any thread.
 *
 * Every disk must be a Romulus disk, a read-only one too: what else a configuration names is a file of the host that it came from,
 * and on the backup it would be the peer who chooses which of that host's files the guest sees.
 */
#ifndef REPLICATOR_DISK_LIST_H
#define REPLICATOR_DISK_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/compiler.h"
#include "lib/names.h"
#include "lib/wire_v1_disk.h"

struct err;

#define DISK_VDEV_SIZE 16
#define DISK_LINE_SIZE (DISK_VDEV_SIZE + NAME_SIZE + 24)

/* An entry of the guest's configuration. Texts may be NULL. */
struct disk_seen {
	const char *vdev;
	const char *target;
	const char *script;
	bool writable;
	bool elsewhere; /* another domain than 0 serves it */
};

struct disk_list {
	unsigned int n;
	struct {
		char vdev[DISK_VDEV_SIZE]; /* what the guest calls it */
		char name[NAME_SIZE];	   /* of romulus.conf */
	} disk[WIRE_MAX_DISKS];
};

/* 0, or -EOPNOTSUPP with a sentence that names the disk. vm is for the sentence. */
MUST_CHECK int disk_list_add(struct disk_list *l, const struct disk_seen *d, const char *vm,
			     struct err *e);

/* "disk vdev=xvda name=web-root", without a newline. */
void disk_list_line(char buf[DISK_LINE_SIZE], const struct disk_list *l, unsigned int i);
/* Such lines. 0 or -EBADMSG. */
MUST_CHECK int disk_list_parse(struct disk_list *l, const char *text, struct err *e);

#endif
