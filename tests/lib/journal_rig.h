/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A journal on two stores in memory, for its unit tests. What must work and does not fails the running test. */
#ifndef TESTS_LIB_JOURNAL_RIG_H
#define TESTS_LIB_JOURNAL_RIG_H

#include "disk/journal.h"
#include "lib/err.h"
#include "tests/lib/block_rec.h"

#define RIG_DISK (256u << 10)
#define RIG_FILE (100u * JOURNAL_BLOCK)

struct rig {
	struct block_rec file;
	struct block_rec disk;
	uint8_t *file_image;
	uint8_t *disk_image;
	struct journal_opts o;
	struct journal *j;
	struct err e;
	uint64_t now;
	/* what was told last */
	uint64_t durable;
	uint64_t applied;
	unsigned int spaces;
	unsigned int states;
	enum journal_state state;
	char why[256];
};

/* Formatted, not opened. ring: blocks. */
struct rig *rig_new(uint64_t ring);
void rig_free(struct rig *r);
/* journal_open() with r->o and a new incarnation; events go to r. */
int rig_open(struct rig *r);
/* As after a loss of power that keeps everything. */
void rig_close(struct rig *r);
/* Runs the journal until nothing is in flight; time passes by `ms` in all. */
void rig_run(struct rig *r, uint64_t ms);
/* A record of `len` bytes of `fill`. */
int rig_write(struct rig *r, uint64_t epoch, uint64_t off, uint32_t len, uint8_t fill);
void rig_end(struct rig *r, uint64_t epoch);
void rig_commit(struct rig *r, uint64_t epoch);
/* From EMPTY to CONSISTENT: all bytes are 0x11, epoch 0 of session 1. */
void rig_copy(struct rig *r);
/* All bytes of [off, off + len) of the disk are `fill`. */
void rig_holds(const struct rig *r, uint64_t off, uint64_t len, uint8_t fill);

#endif
