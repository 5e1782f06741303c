/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a drill's copy has of a disk: a blk_dev (blk_io.h) that reads what the disk was when the drill began, and keeps what the
 * copy writes to itself, in a file without a name. A part of the disk that is about to be overwritten there is saved into the same file
 * first. One thread.
 */
#ifndef DISK_DRILL_OVERLAY_H
#define DISK_DRILL_OVERLAY_H

#include <stdint.h>

#include "disk/blk_io.h"
#include "lib/compiler.h"

struct err;

/* What is saved, and copied before it is written to, at a time. */
#define DRILL_CHUNK (UINT32_C(64) << 10)

struct drill_overlay_conf {
	const char *base; /* the disk: a file or block device; opened for reading, without a lock */
	const char *dir;  /* where the file is made */
	uint64_t limit;	  /* bytes that it may have */
	uint64_t spare;	  /* bytes that it leaves free in its file system */
	bool may_cache;	  /* where O_DIRECT is not to be had, do without (tests) */
};

/* The caller owns *out: blk_close(). */
MUST_CHECK int drill_overlay_new(struct blk_dev **out, const struct drill_overlay_conf *c,
				 struct err *e);

/* All of the range is in the file now. -ENOSPC: it is full, or its file system nearly is; what the disk said. */
MUST_CHECK int drill_overlay_save(struct blk_dev *d, uint64_t off, uint64_t len);
/* From here on everything is answered with an error: the disk is not what it was any more. */
void drill_overlay_break(struct blk_dev *d);
/* Something did not fit any more: what was asked for it was answered with -ENOSPC. */
bool drill_overlay_is_full(const struct blk_dev *d);
/* Bytes that the file has. */
uint64_t drill_overlay_used(const struct blk_dev *d);

#endif
