/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk in memory behind disk/blk_io.h that knows what would survive a loss of power, for tests of what stands on a journal's
 * file. Requests end in their order: when somebody waits for them, or one by one when the test says so.
 */
#ifndef TESTS_LIB_MEM_DISK_H
#define TESTS_LIB_MEM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/blk_io.h"

#define MEM_DISK_QUEUE 512

struct mem_disk {
	struct blk_dev dev;
	uint8_t *now;	 /* what a read sees */
	uint8_t *stable; /* what a flush covered */
	struct blk_req *queue[MEM_DISK_QUEUE];
	bool by_hand;	  /* blk_reap() ends nothing, mem_disk_step() does */
	int fails;	  /* what writes end with, 0: they work */
	unsigned int ops; /* that have ended */
};

/* All zeroes. */
void mem_disk_init(struct mem_disk *m, uint64_t size);
/* As large as the file, and with its content. */
void mem_disk_load(struct mem_disk *m, const char *path);
void mem_disk_fini(struct mem_disk *m);
/* The oldest request ends. False: there is none. */
bool mem_disk_step(struct mem_disk *m);

/* With -Wl,--wrap=blk_open_wait: what the next one opens, whatever its path. NULL: the real one. */
extern struct mem_disk *mem_disk_next;

#endif
