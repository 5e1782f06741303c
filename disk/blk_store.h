/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block_store (block_store.h) over a blk_dev (blk_io.h), so that the journal's requests are carried out by the same
 * engine and in the same loop as the guest's. A request of many pieces becomes several; as many are under way as the
 * device has room for, the rest waits in its order. One thread.
 */
#ifndef DISK_BLK_STORE_H
#define DISK_BLK_STORE_H

#include "disk/blk_io.h"
#include "disk/block_store.h"
#include "lib/compiler.h"

struct blk_store;

/* d is borrowed, and its owner reaps it. 0 or -ENOMEM. */
MUST_CHECK int blk_store_new(struct blk_store **out, struct blk_dev *d);
/* Nothing may be in flight. NULL is a no-op. */
void blk_store_free(struct blk_store *s);
/* Valid as long as s. */
struct block_store *blk_store_blocks(struct blk_store *s);
/* After the owner reaped the device: what had no room is handed to it. */
void blk_store_go_on(struct blk_store *s);

#endif
