/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The formulas behind timing.h; docs/promises.md tells their reasons one by one. Pure. */
#include "lib/timing.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

#define MS UINT64_C(1000000)
#define S (1000 * MS)

#define HEARTBEAT_MIN (10 * MS)
#define HEARTBEAT_MAX (10 * S)
#define EPOCH_MIN (5 * MS)
#define EPOCH_MAX (10 * S)
#define FAILURE_MAX (300 * S)

static int in_range(const char *what, uint64_t v, uint64_t min, uint64_t max, struct err *e)
{
	if (v >= min && v <= max)
		return 0;
	return err_setx(e, -EINVAL,
			"%s is %" PRIu64 ".%03" PRIu64 " ms, allowed are %" PRIu64 " ms to %" PRIu64
			" ms",
			what, v / MS, v % MS / 1000, min / MS, max / MS);
}

int timing_check(const struct timing_conf *c, struct err *e)
{
	uint64_t hb = c->heartbeat_period_ns;
	uint64_t failure = c->failure_timeout_ns;
	uint64_t epoch = c->epoch_period_ns;
	int rc;

	rc = in_range("heartbeat period", hb, HEARTBEAT_MIN, HEARTBEAT_MAX, e);
	if (rc)
		return rc;
	rc = in_range("epoch period", epoch, EPOCH_MIN, EPOCH_MAX, e);
	if (rc)
		return rc;
	if (failure > FAILURE_MAX)
		return err_setx(e, -EINVAL,
				"failure timeout is %" PRIu64 " ms, at most %" PRIu64
				" ms are allowed",
				failure / MS, FAILURE_MAX / MS);
	/* Two heartbeats may be lost or late before anybody speaks of a lost peer. */
	if (failure < 3 * hb)
		return err_setx(e, -EINVAL,
				"failure timeout %" PRIu64 " ms < 3 x heartbeat %" PRIu64
				" ms = %" PRIu64 " ms: one lost heartbeat would be a lost peer",
				failure / MS, hb / MS, 3 * hb / MS);
	/* An epoch sent must have the time to be committed, or each is a lost session. */
	if (failure < 2 * epoch)
		return err_setx(e, -EINVAL,
				"failure timeout %" PRIu64 " ms < 2 x epoch %" PRIu64
				" ms = %" PRIu64 " ms: an acknowledgement would come too late",
				failure / MS, epoch / MS, 2 * epoch / MS);
	return 0;
}

static uint64_t at_least(uint64_t min, uint64_t v)
{
	return v < min ? min : v;
}

static uint64_t clamp(uint64_t v, uint64_t min, uint64_t max)
{
	return v > max ? max : at_least(min, v);
}

void timing_derive(struct timing *t, const struct timing_conf *c)
{
	uint64_t hb = c->heartbeat_period_ns;
	uint64_t failure = c->failure_timeout_ns;

	*t = (struct timing){
		.heartbeat_period_ns = hb,
		.failure_timeout_ns = failure,
		.epoch_period_ns = c->epoch_period_ns,
		.suspect_ns = 2 * hb,
		/* The lease: it ends a heartbeat before the peer may go alone (P3). */
		.ack_timeout_ns = failure - hb,
		.sync_timeout_ns = at_least(60 * S, 3 * failure),
		.suspend_timeout_ns = clamp(failure, 1 * S, 10 * S),
		.send_timeout_ns = at_least(10 * S, 3 * failure),
		.handshake_timeout_ns = 5 * S,
		.reconnect_ns = at_least(100 * MS, hb),
		.reconnect_max_ns = at_least(5 * S, hb),
		.bye_timeout_ns = at_least(10 * S, failure),
		.vote_retry_ns = at_least(1 * S, hb),
	};
}
