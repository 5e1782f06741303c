/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk in memory behind disk/blk_io.h whose requests end when and as the test says. */
#ifndef TESTS_LIB_FAKE_DISK_H
#define TESTS_LIB_FAKE_DISK_H

#include "disk/blk_io.h"

#define FAKE_DISK_SIZE (UINT32_C(8) << 20)

struct fake_disk {
	struct blk_dev dev;
	uint8_t *data;
	unsigned int n; /* submitted and not yet ended, the oldest first */
	struct blk_req *req[BLK_DEPTH_MAX];
	bool ended[BLK_DEPTH_MAX];
};

void fake_disk_init(struct fake_disk *f, unsigned int depth);
void fake_disk_fini(struct fake_disk *f);
/* Request i is over, with rc; its done function is called by blk_reap(). */
void fake_disk_end(struct fake_disk *f, unsigned int i, int rc);

#endif
