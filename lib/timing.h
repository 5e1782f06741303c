/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every time in Romulus, derived from three configured ones. Pure.
 * The worked timeline that these formulas come from is in docs/promises.md.
 */
#ifndef LIB_TIMING_H
#define LIB_TIMING_H

#include <stdint.h>

#include "lib/compiler.h"
#include "lib/err.h"

/* What the operator sets. All in nanoseconds. */
struct timing_conf {
	uint64_t heartbeat_period_ns;
	uint64_t failure_timeout_ns;
	uint64_t epoch_period_ns;
};

/* What follows from it. Read only after timing_derive(). All in nanoseconds. */
struct timing {
	uint64_t heartbeat_period_ns;
	/* A peer not heard for so long is lost: the only time that lets a side go alone. */
	uint64_t failure_timeout_ns;
	uint64_t epoch_period_ns;
	/* P5: after so long without a word the state stops saying "protected". Two heartbeats. */
	uint64_t suspect_ns;
	/* The oldest epoch sent and not acknowledged for so long: the session is given up. */
	uint64_t ack_timeout_ns;
	/*
	 * The same for epoch 0: the backup first works off what the first copy left in its buffers, and has
	 * the standby swallow all of it. It may not go alone before, so no lease is needed.
	 */
	uint64_t sync_timeout_ns;
	/* How long a guest may take to suspend before the checkpoint is aborted. */
	uint64_t suspend_timeout_ns;
	/* How long sending one epoch may take before the session is given up. */
	uint64_t send_timeout_ns;
	/* TCP connect + TLS + HELLO. */
	uint64_t handshake_timeout_ns;
	/* Between two attempts to connect: the first, and the longest after it doubled. */
	uint64_t reconnect_ns;
	uint64_t reconnect_max_ns;
	/* How long BYE waits for BYE_OK before the primary treats the peer as lost. */
	uint64_t bye_timeout_ns;
	/* Between two questions to the arbiter, at least. */
	uint64_t vote_retry_ns;
};

/*
 * Refuse numbers that cannot keep the promises; the text shows the sum.
 * 0 or -EINVAL.
 */
MUST_CHECK int timing_check(const struct timing_conf *c, struct err *e);

/* c must have passed timing_check(). */
void timing_derive(struct timing *t, const struct timing_conf *c);

#endif
