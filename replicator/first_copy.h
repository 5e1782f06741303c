/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first copy of a session: all of the guest's memory, then rounds of what it dirtied meanwhile, while it
 * runs. Ends when what is left is small enough for the checkpoint that follows. Primary's data thread.
 */
#ifndef REPLICATOR_FIRST_COPY_H
#define REPLICATOR_FIRST_COPY_H

#include <stdint.h>

#include "lib/compiler.h"
#include "lib/hypervisor.h"
#include "replicator/page_codec.h"

struct conn;
struct err;

struct first_copy {
	/* Set by the caller, borrowed. */
	struct guest *guest;
	struct conn *conn;
	struct page_enc *enc;
	uint64_t *dirty;      /* guest_bitmap_words(); left with what the checkpoint must take */
	uint32_t arena_pages; /* what the checkpoint may take at most */
	uint64_t send_timeout_ns; /* for each batch */
	/*
	 * Between two batches, at most a few dozen a second: progress, and a look at what the peer says. A
	 * negative return ends the copy with it.
	 */
	int (*between)(void *arg, const struct first_copy *fc, struct err *e);
	void *arg;

	/* For between(). */
	uint32_t round;	      /* from 1 */
	uint64_t round_pages; /* of this round */
	uint64_t round_done;
	uint64_t sent; /* pages in all rounds */
};

/* Switches the dirty log on and runs the rounds. 0, -ECANCELED, -ESTALE (dirty log taken by others), -ENOSPC
 * (the guest dirties faster than the link takes it, also when slowed), errors as of conn_send(). */
MUST_CHECK int first_copy_run(struct first_copy *fc, struct err *e);

#endif
