/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk_state.h over two mem_disks, for tests of it and of the roles that drive it. With -Wl,--wrap=blk_open_wait. */
#ifndef TESTS_LIB_DISK_BED_H
#define TESTS_LIB_DISK_BED_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/disk_state.h"
#include "tests/lib/mem_disk.h"

#define DISK_BED_SIZE (UINT64_C(8) << 20)

struct block_server;

struct disk_bed {
	struct mem_disk data;
	struct mem_disk file; /* of the journal */
	struct block_server *server;
	struct disk *d;
};

/* As romulus-disk --format=source or target leaves it, and opened. */
void disk_bed_make(struct disk_bed *b, bool source);
void disk_bed_free(struct disk_bed *b);
/* As a server that is killed, when what it had under way is done, and the next one. Roles over the old d are void. */
void disk_bed_reopen(struct disk_bed *b);
/* What the journal would say after a loss of power now. */
void disk_bed_stable(const struct disk_bed *b, struct journal_sb *sb);

#endif
