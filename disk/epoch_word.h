/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page that a worker and the block servers of its VM share, with one word: the epoch in which
 * the guest writes. The worker makes it, stores into it in the pause (disk_barrier.h), and hands
 * its descriptor to each server; a server loads it when a write arrives (docs/disk.md).
 *
 * Works because of the order of events, not of any lock: a write whose completion the paused
 * guest's memory shows arrived before the store, one that the guest issues after its resume
 * arrives after it. One in flight may get either number: the frontend issues it again.
 */
#ifndef DISK_EPOCH_WORD_H
#define DISK_EPOCH_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define EPOCH_WORD_SIZE 4096
/* No epoch: numbers and guest no longer fit together, whoever loads it leaves the stream. */
#define EPOCH_WORD_VOID UINT64_MAX

/* As it lies in the page; both processes run on one host, so the order of bytes is its own. */
struct epoch_page {
	uint64_t magic;
	uint64_t reserved[7];
	_Atomic uint64_t epoch; /* on a cache line of its own */
	uint64_t unused[503];
};
ASSERT_SIZE(struct epoch_page, EPOCH_WORD_SIZE);

struct epoch_word {
	struct epoch_page *page; /* NULL: not there */
};

#define EPOCH_WORD_INIT ((struct epoch_word){.page = NULL})

/*
 * Worker: makes a page that holds epoch 0 and can neither grow nor shrink, nor be written through
 * another mapping than this one. *fd is the caller's. 0 or negative errno; then w is EPOCH_WORD_INIT.
 */
MUST_CHECK int epoch_word_create(struct epoch_word *w, int *fd, struct err *e);

/*
 * Server: maps what a worker sent, for loads only. The descriptor is borrowed, and not trusted:
 * -EBADMSG when it is not such a page (its size, its seals, its magic), or negative errno; then w is
 * EPOCH_WORD_INIT.
 */
MUST_CHECK int epoch_word_map(struct epoch_word *w, int fd, struct err *e);

/* Also of EPOCH_WORD_INIT, and twice. */
void epoch_word_fini(struct epoch_word *w);

/*
 * Worker, any thread: from now on writes are of this epoch. One store; everything that was stored
 * before is seen by who loads this.
 */
static inline void epoch_word_store(struct epoch_word *w, uint64_t epoch)
{
	atomic_store_explicit(&w->page->epoch, epoch, memory_order_release);
}

/* Either side, any thread. */
static inline uint64_t epoch_word_load(const struct epoch_word *w)
{
	return atomic_load_explicit(&w->page->epoch, memory_order_acquire);
}

#endif
