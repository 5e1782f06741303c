/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the data threads tell the control threads of each disk, for `romulus status`. */
#ifndef REPLICATOR_DISK_FIGURES_H
#define REPLICATOR_DISK_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/disk_port.h"
#include "lib/names.h"

#define DISK_WHY_SIZE 160
#define DISK_FREE_UNKNOWN UINT64_MAX /* the journal's server has not said it in this session */

struct json;

struct disk_figures {
	char name[NAME_SIZE];
	bool up;       /* its server is there */
	uint8_t state; /* enum disk_state, 0: not known yet */
	bool synced;
	uint64_t generation;
	uint64_t size;
	uint64_t behind_bytes;	     /* that the peer may not have */
	uint32_t fill_percent;	     /* primary: of the stream's log */
	uint64_t durable;	     /* newest epoch that the backup's journal keeps, EPOCH_NONE */
	uint64_t journal_free_bytes; /* of the backup's; 0: it is full, DISK_FREE_UNKNOWN */
	struct port_compared compared; /* primary: pass 0, none was asked for */
	char why[DISK_WHY_SIZE];       /* what is wrong, or empty */
};

/* disk_status.c: an element of the array. left_s: how long the copy will take, 0: not known. */
void disk_figures_put(struct json *array, const struct disk_figures *f, uint64_t left_s);

#endif
