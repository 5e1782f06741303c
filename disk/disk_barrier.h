/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disks of one VM as a checkpoint sees them: a ckpt_device (lib/ckpt_device.h) that moves the
 * epoch word on right before the guest runs again. All disks of the VM share the word, so they all
 * pass into the next epoch by one store.
 *
 * What is written is never held back here: it goes to the backup, which applies it when the epoch is
 * committed. So commit() has nothing to let out, and open() and teardown() have nothing to undo; what
 * the servers must hear (END, ACKED, LEAVE) the worker tells them on their disk ports.
 *
 * abort() after preresume(), because another device refused, voids the word: the servers leave the
 * stream, and prepare() says -EINVAL until disk_barrier_begin().
 *
 * Threads are those of ckpt_device: postsuspend, preresume and abort the data thread, all else the
 * control thread.
 */
#ifndef DISK_DISK_BARRIER_H
#define DISK_DISK_BARRIER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/ckpt_device.h"
#include "lib/compiler.h"

struct epoch_word;

/* Embedded by its owner; the fields are private. */
struct disk_barrier {
	struct ckpt_device dev;
	struct epoch_word *word;
	_Atomic uint64_t turn; /* phase and epoch of the attempt, both threads */
	/* control thread only */
	uint64_t ended;	    /* newest epoch that ended, UINT64_MAX none */
	uint64_t committed; /* newest one committed, UINT64_MAX none */
	bool full;
};

/* The word is borrowed as long as the barrier is used. Nothing needs to be undone. */
void disk_barrier_init(struct disk_barrier *b, struct epoch_word *word);

/* As long as the barrier lives. */
struct ckpt_device *disk_barrier_device(struct disk_barrier *b);

/*
 * Control thread: a session begins with this epoch. To be called while no server streams: before
 * BEGIN is sent to any of them, after all of them left an earlier session. -EBUSY in an attempt.
 */
MUST_CHECK int disk_barrier_begin(struct disk_barrier *b, uint64_t epoch);

/*
 * Control thread: a server still works off more of earlier epochs than it likes. While that holds,
 * prepare() answers -EAGAIN. It does not when every epoch that ended is committed: then only the
 * current epoch can be what fills the stream, and nothing but its checkpoint makes room.
 */
void disk_barrier_set_full(struct disk_barrier *b, bool full);

/*
 * Control thread, after the attempt: the newest epoch that ended, for which END is to be asked, or
 * UINT64_MAX.
 */
uint64_t disk_barrier_ended(struct disk_barrier *b);

#endif
