/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus-disk --format: makes the journal of a disk. Blocks. */
#ifndef DISK_DISK_FORMAT_H
#define DISK_DISK_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/journal.h"
#include "lib/compiler.h"

struct blk_dev;
struct err;

/* Of a disk of this name: everything but the ring. The uuid is the name's, the same on both hosts. */
void disk_geometry(struct journal_geometry *g, const char *name, const struct blk_dev *blk);

struct disk_format_conf {
	const char *name;
	const char *journal_path;
	uint64_t journal_bytes; /* of a file; a device is taken whole */
	struct blk_dev *blk;	/* the disk; nobody else has it */
	bool source;		/* its content is the right one: ACTIVE. Else EMPTY */
	bool force;		/* whatever journal is there */
	bool may_cache;
};

MUST_CHECK int disk_format(const struct disk_format_conf *c, struct err *e);

#endif
