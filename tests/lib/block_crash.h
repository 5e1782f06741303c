/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a loss of power after the n-th entry of a rec_log would leave: all that a sync covered, and of the rest any subset,
 * each write of it whole or in any of its sectors.
 */
#ifndef TESTS_LIB_BLOCK_CRASH_H
#define TESTS_LIB_BLOCK_CRASH_H

#include "tests/lib/block_rec.h"

#define CRASH_STORES 2
#define CRASH_LIVE 4096

struct block_crash {
	const struct rec_log *log;
	uint8_t *safe[CRASH_STORES]; /* what is surely there */
	uint64_t size[CRASH_STORES];
	size_t at; /* entries that have passed */
	struct {
		size_t entry;
		bool done;
		bool covered; /* by the sync in flight */
	} live[CRASH_LIVE];
	size_t n_live;
};

/* The images at the log's beginning are copied. */
void block_crash_init(struct block_crash *c, const struct rec_log *log);
void block_crash_store(struct block_crash *c, int id, const uint8_t *image, uint64_t size);
void block_crash_fini(struct block_crash *c);
/* One entry further; it is returned, NULL at the end. */
const struct rec_entry *block_crash_step(struct block_crash *c);
/* Fills image[] with one of the outcomes, by *seed. Returns how many writes were torn. */
unsigned int block_crash_image(const struct block_crash *c, uint8_t *const image[CRASH_STORES],
			       uint64_t *seed);

#endif
