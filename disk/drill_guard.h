/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between a backup's journal and its disk while a drill looks at it: a block_store that lets a write through only when what it
 * overwrites has been saved, and holds the journal at an epoch until the view of it begins. Without a drill it costs a
 * comparison. It waits for nobody: a view that does not answer in time, an activation, the end of a session end the view, and
 * everything goes on. The loop's thread.
 */
#ifndef DISK_DRILL_GUARD_H
#define DISK_DRILL_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/block_store.h"
#include "lib/compiler.h"

struct drill_guard;
struct drill_talk;
struct journal;

/* inner and talk are borrowed. 0 or -ENOMEM. */
MUST_CHECK int drill_guard_new(struct drill_guard **out, struct block_store *inner,
			       const struct drill_talk *talk);
/* NULL is a no-op. Nothing may be in flight in inner. */
void drill_guard_free(struct drill_guard *g);
struct block_store *drill_guard_blocks(struct drill_guard *g);

/* A view comes: fd, a handle of drill_talk.h, is the guard's. -EBUSY: there is one, -EPERM: the disk is none to be looked at now. */
MUST_CHECK int drill_guard_begin_take(struct drill_guard *g, struct journal *j, int fd);
/* There is one: its descriptor, else -1. Readable: drill_guard_go_on(). */
int drill_guard_fd(const struct drill_guard *g);
/* After each event and at the deadline. True: the journal may have something to do because of it. */
bool drill_guard_go_on(struct drill_guard *g, uint64_t now);
uint64_t drill_guard_deadline(const struct drill_guard *g);
/* Ends the view, if there is one; what waits goes on at once. */
void drill_guard_end(struct drill_guard *g, const char *why);

#endif
