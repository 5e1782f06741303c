/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's way from verified pages to the standby: the first copy is passed on in batches as it
 * comes, every later epoch is held in the arena until it is whole and committed, and only then fed to the
 * restore stream (P2). One object per standby, owned by the backup's data thread.
 *
 *	apply_static()
 *	apply_page()... apply_state() x 3, apply_seal(0), apply_commit(0)	first copy
 *	apply_page()... apply_state() x 3, apply_seal(n) ->	apply_commit(n), or apply_drop()
 *	apply_finish()		the standby completes from the last fed epoch
 *
 * Feeding never blocks for ever: a record that the standby does not take within the stall time ends in
 * -ETIMEDOUT, and a readable wake descriptor ends the wait with -ECANCELED. After either the call can be
 * repeated and goes on at the very byte, so that an epoch which was acknowledged can still be fed whole.
 * Any other error (-EPIPE: the reader has gone) is final: the standby is lost.
 */
#ifndef REPLICATOR_APPLY_H
#define REPLICATOR_APPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/wire_v1.h"

struct apply;
struct err;

struct apply_conf {
	uint32_t arena_pages; /* the largest epoch */
	bool lock;	      /* keep the arena in RAM */
	uint64_t mem_pages;   /* guest frame numbers are below; at most WIRE_MAX_MEM_PAGES */
	uint32_t xen_major;   /* of the hypervisor, as 4 and 17 */
	uint32_t xen_minor;
	uint64_t stall_ns; /* for one record of at most 4 MiB */
	int wake_fd;	   /* readable: stop waiting; borrowed, -1 for none */
};

/*
 * stream_fd is our end of the standby's stream socket; on success *ap owns it. 0, -EINVAL, -ENOMEM, or
 * what arena_init() says.
 */
MUST_CHECK int apply_new_take(struct apply **ap, const struct apply_conf *conf, int stream_fd,
			      struct err *e);
/*
 * NULL is a no-op. Closes the stream, and a closed stream makes the standby complete itself: abandon it
 * first if it must not.
 */
void apply_free(struct apply *ap);

/* Feeds the headers and the static data. Once, before all else. */
MUST_CHECK int apply_static(struct apply *ap, const struct wire_static *m, struct err *e);

/*
 * A page (4096 bytes, copied) of the epoch that is being collected. -EPROTO: no such frame number, or not
 * at this point; -ENOSPC: more pages than the arena has, the peer broke its word. During the first copy it
 * may feed a full batch: then errors as above.
 */
MUST_CHECK int apply_page(struct apply *ap, uint64_t pfn, const void *page, struct err *e);
/* One kind of state of the epoch that is being collected (copied); the last of a kind counts. */
MUST_CHECK int apply_state(struct apply *ap, const struct wire_state *m, struct err *e);

/*
 * The epoch is here whole and was verified. From now until apply_commit() or apply_drop() no page is
 * taken. -EPROTO: not the epoch that is due, or a kind of state is missing.
 */
MUST_CHECK int apply_seal(struct apply *ap, uint64_t epoch, struct err *e);
/* Feeds the sealed epoch, whole. Repeat after -ECANCELED or -ETIMEDOUT. */
MUST_CHECK int apply_commit(struct apply *ap, uint64_t epoch, struct err *e);
/*
 * Forgets the epoch that is being collected. One whose commit began and failed, or a first copy of which
 * some was passed on, cannot be taken back: the standby can only be abandoned then.
 */
void apply_drop(struct apply *ap);

/* The newest epoch that was fed whole; EPOCH_NONE before the first. */
uint64_t apply_fed(const struct apply *ap);
/* All bytes were taken by the reader: 0; -EAGAIN: not yet; -EPIPE: it has gone, taken or not. */
MUST_CHECK int apply_drained(struct apply *ap, struct err *e);
/* Pages that wait in the arena. */
uint32_t apply_pages(const struct apply *ap);

/* What of a sealed epoch a drill must know; valid until apply_commit(). */
struct apply_sealed {
	const uint64_t *pfn; /* n of them */
	uint32_t n;
	const struct wire_tsc_info *tsc;
	const struct wire_param *param;
	uint32_t n_params;
	const uint8_t *hvm;
	size_t hvm_size;
};
void apply_sealed(const struct apply *ap, struct apply_sealed *out);
/*
 * Feeds the time stamp counter of the last fed epoch once more, which changes nothing: the reader comes to it when it has
 * worked in all that was fed before, so apply_drained() says afterwards that it has. 0, -EAGAIN: not at this moment, or there
 * is no room; -EPIPE. Never waits.
 */
MUST_CHECK int apply_mark(struct apply *ap);

/*
 * Closes the stream: the standby completes itself from apply_fed(). -EBUSY: a commit has begun and is not
 * through, repeat that first (P2); -ENODATA: no epoch was fed, there is nothing to complete. What
 * was collected, also when sealed, is dropped: commit first what was acknowledged. A second call is a
 * no-op.
 */
MUST_CHECK int apply_finish(struct apply *ap, struct err *e);

#endif
