/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One lane of all vifs of a VM as if it were one: what netbuf does with lane_ops at each epoch. A
 * vif whose lanes are gone is passed over: it holds nothing any more. Control thread.
 */
#ifndef NETBUFFER_LANE_GROUP_H
#define NETBUFFER_LANE_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "netbuffer/lane_ops.h"
#include "netbuffer/netbuf.h"

struct lane_group_vif {
	struct netbuf_stats stats;
	struct lane_stats last[LANES];
	bool capped[LANES]; /* lane_group_cap() lowered its limit */
	bool gone;	    /* its lanes are */
	bool told;	    /* and the owner knows */
};

struct lane_group {
	const struct lane_ops *ops;
	void *ctx;
	unsigned int n;
	uint32_t lane_bytes; /* the limit of a lane of a vif */
	uint64_t failures;
	struct lane_group_vif vifs[NETBUF_VIFS_MAX];
};

/* -E2BIG: more devices than NETBUF_VIFS_MAX. lane_bytes is what ctx was made with. */
MUST_CHECK int lane_group_init(struct lane_group *g, const struct lane_ops *ops, void *ctx,
			       uint32_t lane_bytes);

/*
 * On all vifs; the first error when all were tried, logged and counted: try again later. Both also
 * take back what lane_group_cap() did.
 */
MUST_CHECK int lane_group_release(struct lane_group *g, unsigned int lane);
MUST_CHECK int lane_group_close(struct lane_group *g, unsigned int lane);
void lane_group_mark_held(struct lane_group *g, bool held);

/* The frames of each lane. */
MUST_CHECK int lane_group_frames(struct lane_group *g, uint64_t frames[LANES]);

/* Brings the stats of all vifs up to date. Returns the most that one vif has in lane cur. */
uint64_t lane_group_measure(struct lane_group *g, unsigned int cur);

/*
 * P6: the kernel limits a lane by the bytes of its frames, which say little of its memory when they
 * are small. As of the last measurement: a lane cur that costs more than its limit takes no more
 * frames until it is let out.
 */
void lane_group_cap(struct lane_group *g, unsigned int cur);

#endif
