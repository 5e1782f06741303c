/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk whose guest runs at the peer, as the backup's worker drives it (docs/disk.md, "The disk port"): epochs go into the
 * journal, or directly to the disk while it is copied for the first time; activation and leaving. The loop's thread.
 */
#ifndef DISK_BACKUP_DISK_H
#define DISK_BACKUP_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct backup_disk;
struct disk;
struct err;
struct frame;
struct port_link;

/* d is borrowed. 0 or -ENOMEM. */
MUST_CHECK int backup_disk_new(struct backup_disk **out, struct disk *d);
/* Waits for what it reads. NULL is a no-op. */
void backup_disk_free(struct backup_disk *b);

/* A worker said ROLE: l is borrowed until backup_disk_end(). */
void backup_disk_start(struct backup_disk *b, struct port_link *l);
/*
 * The worker is gone. What is committed is kept; it can no longer be activated, and is OUTDATED. One that is ACTIVE stays so.
 * A no-op when there is none.
 */
void backup_disk_end(struct backup_disk *b);

/* 0; -EAGAIN: not yet, ask with the same message again; else the worker broke the contract, or -EFBIG. */
MUST_CHECK int backup_disk_take(struct backup_disk *b, const struct frame *f, struct err *e);
/* After disk_go_on(), with or without a worker. 0, or the error of the port. */
MUST_CHECK int backup_disk_go_on(struct backup_disk *b, struct err *e);
/* Nothing more has arrived: what came is written now. */
void backup_disk_arrived(struct backup_disk *b);
/* A session is open, being opened or being left. */
bool backup_disk_busy(const struct backup_disk *b);

#endif
