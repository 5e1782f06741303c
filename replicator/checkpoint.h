/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One checkpoint: suspend, collect into the arena, resume; afterwards encode and send what was collected.
 * Primary's data thread.
 *
 * While the guest is paused nothing is allocated, mapped, encoded, logged or sent: checkpoint_take() calls
 * only the guest's [pause] functions, the devices' postsuspend, preresume and abort, and memcpy().
 */
#ifndef REPLICATOR_CHECKPOINT_H
#define REPLICATOR_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/ckpt_device.h"
#include "lib/compiler.h"
#include "lib/hypervisor.h"
#include "replicator/arena.h"
#include "replicator/page_codec.h"

struct conn;
struct err;

/* Where the time of one checkpoint went, nanoseconds. */
struct checkpoint_phases {
	uint64_t request_ns; /* asked to suspend → seen suspended; the guest runs for most of it */
	uint64_t switch_ns;  /* devices told: the network lane */
	uint64_t bitmap_ns;  /* dirty bitmap fetched and scanned */
	uint64_t copy_ns;    /* dirty pages copied into the arena */
	uint64_t state_ns;   /* vCPU and platform state */
	uint64_t resume_ns;
	uint64_t pause_ns; /* seen suspended → resumed */
};

/* The network lanes, and the disks' barrier. */
#define CHECKPOINT_MAX_DEVICES 2

enum checkpoint_outcome {
	CHECKPOINT_TAKEN, /* the guest runs in the next epoch; arena and state hold the last one */
	CHECKPOINT_ABORTED,  /* the guest runs on in the same epoch; its dirty pages are kept */
	CHECKPOINT_OVERFLOW, /* the same: more dirty pages than the arena has */
	CHECKPOINT_RESYNC,   /* the dirty log cannot be trusted: a first copy is needed */
	CHECKPOINT_GUEST,    /* the guest ended, changed or is suspended by others: see suspend */
	CHECKPOINT_STUCK,    /* it could not be resumed: only guest_close() is left to try */
};

struct checkpoint {
	/* Set by the caller, borrowed. */
	struct guest *guest;
	struct ckpt_device *device[CHECKPOINT_MAX_DEVICES]; /* told in this order */
	unsigned int n_devices;
	struct arena *arena;
	/*
	 * guest_bitmap_words() long. What was dirtied and is not in a taken epoch yet: kept over aborts, and
	 * where the first copy leaves its rest.
	 */
	uint64_t *dirty;
	/*
	 * checkpoint_send() calls it when everything but EPOCH_END is on its way, and ends with its error; NULL: nothing is
	 * to come in between.
	 */
	int (*before_end)(void *arg, uint64_t epoch, struct err *e);
	void *arg;
	/* The next checkpoint that is TAKEN leaves the guest suspended, for checkpoint_resume(). With all else it runs. */
	bool stay;
	struct page_counters
		told; /* private: the encoder's at the last EPOCH_END; 0 when a session begins */

	/* Results of the last checkpoint_take(). */
	struct suspend_result suspend;
	struct checkpoint_phases phases;
	const struct guest_state *state; /* valid until the next one */
	size_t dirty_pages;		 /* also with OVERFLOW */
	uint64_t end_ns; /* of checkpoint_send(): the instant before EPOCH_END was written */
};

/* e is filled for every outcome but CHECKPOINT_TAKEN. deadline_ns: for the suspend. */
MUST_CHECK enum checkpoint_outcome checkpoint_take(struct checkpoint *c, uint64_t epoch,
						   uint64_t deadline_ns, struct err *e);

/*
 * The guest that `stay` has left suspended goes on, in the next epoch. 0, also when somebody else has resumed it; or a
 * negative errno: -ESRCH when it is gone.
 */
MUST_CHECK int checkpoint_resume(struct checkpoint *c);

/* Encodes and sends the taken epoch with its EPOCH_END. Errors as of conn_send(): the session is over. */
MUST_CHECK int checkpoint_send(struct checkpoint *c, uint64_t epoch, struct page_enc *enc,
			       struct conn *conn, uint64_t deadline_ns, struct err *e);

#endif
