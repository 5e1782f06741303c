/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk whose guest runs here, as its worker drives it (docs/disk.md, "The disk port"): the stream of its writes, the
 * copy of what the peer lacks, generations. The loop's thread.
 */
#ifndef DISK_PRIMARY_DISK_H
#define DISK_PRIMARY_DISK_H

#include <stdint.h>

#include "lib/compiler.h"

struct disk;
struct err;
struct frame;
struct port_link;
struct primary_disk;

/* d is borrowed. 0 or -ENOMEM. */
MUST_CHECK int primary_disk_new(struct primary_disk **out, struct disk *d);
/* Before the block server goes. */
void primary_disk_close(struct primary_disk *p);
/* NULL is a no-op. */
void primary_disk_free(struct primary_disk *p);

/* A worker said ROLE: l is borrowed until primary_disk_end(). fd: of the epoch word, borrowed; -1: none came. */
MUST_CHECK int primary_disk_start(struct primary_disk *p, struct port_link *l, int fd,
				  struct err *e);
/* The worker is gone: a LEAVE. A no-op when there is none. */
void primary_disk_end(struct primary_disk *p);

/* 0; -EAGAIN: not yet, ask with the same message again; else the worker broke the contract. */
MUST_CHECK int primary_disk_take(struct primary_disk *p, const struct frame *f, struct err *e);
/* After disk_go_on(). 0, or the error of the port. */
MUST_CHECK int primary_disk_go_on(struct primary_disk *p, uint64_t now, struct err *e);
uint64_t primary_disk_deadline(const struct primary_disk *p);

struct primary_disk_stats {
	int streaming;
	uint64_t epoch;	 /* that is being sent */
	uint64_t copied; /* bytes of this session's copy that were sent ... */
	uint64_t equal;	 /* ... or found equal ... */
	uint64_t total;	 /* ... of so many that were marked when it began */
	uint64_t left;
	int verifying;
	uint64_t verified; /* bytes of the last pass that were compared ... */
	uint64_t differed; /* ... that were not equal ... */
	uint64_t busy;	   /* ... and that could not be, since they were written again and again */
	unsigned int fill;
};
void primary_disk_stats(const struct primary_disk *p, struct primary_disk_stats *st);
/* Compares the peer's copy with this one; answers come by the log. 0, -ENOTCONN, -EBUSY. */
MUST_CHECK int primary_disk_verify(struct primary_disk *p);

#endif
