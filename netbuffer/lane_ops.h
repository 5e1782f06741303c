/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What netbuf needs of the lanes of a VM's network devices: lanes_nl.c has the kernel's, tests a
 * fake. Devices are numbered 0.. in the order in which they were named. Control thread, but for
 * set().
 */
#ifndef NETBUFFER_LANE_OPS_H
#define NETBUFFER_LANE_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "netbuffer/lane_book.h"

struct err;

struct lane_stats {
	uint32_t frames;   /* in the lane now */
	uint32_t bytes;	   /* in the lane now */
	uint32_t dropped;  /* beyond its limit, since it was made; wraps */
	uint32_t released; /* frames let out, since it was made; wraps */
};

/* What became of a device of ours, seen by watch(). */
enum lane_tamper {
	LANE_VIF_GONE,	    /* the guest's device is gone: usually the guest is */
	LANE_REDIRECT_GONE, /* somebody took our filter or ingress qdisc away: output passes by */
	LANE_QDISC_GONE,    /* somebody took lanes away: output passes, or is lost */
	LANE_IFB_GONE,	    /* somebody removed or shut down our IFB: output is lost */
};

/* what: for the operator, valid during the call. */
typedef void lane_tampered_fn(void *arg, unsigned int vif, enum lane_tamper how, const char *what);

/* What attach() found. */
enum lane_found {
	LANES_NEW,	  /* made; lane 0 is current and open */
	LANES_FOUND_OPEN, /* a worker died unprotected */
	LANES_FOUND_HELD, /* a worker died protected; nothing was let out */
};

struct lane_ops {
	unsigned int (*count)(void *ctx);
	const char *(*name)(void *ctx, unsigned int vif);
	/*
	 * Makes or takes over the lanes of a device; *cur is the current lane. Lanes that it makes
	 * are closed but for that one, if it may be open. A failure leaves only what was found.
	 */
	int (*attach)(void *ctx, unsigned int vif, enum lane_found *found, unsigned int *cur,
		      struct err *e);
	/*
	 * Removes the lanes. keep_flow: output goes on without them, and what is in them goes out
	 * before (bounded wait); else it is dropped, and the device stays mute.
	 */
	int (*detach)(void *ctx, unsigned int vif, bool keep_flow, struct err *e);

	/* Any thread, guest paused or not: frames go into this lane from now on. One store. */
	void (*set)(void *ctx, unsigned int vif, unsigned int lane);
	/* What a successor finds: LANES_FOUND_HELD or LANES_FOUND_OPEN. One store. */
	void (*mark_held)(void *ctx, unsigned int vif, bool held);

	/* Let pass what is in the lane and what comes; hold again. Both may be repeated. */
	int (*release)(void *ctx, unsigned int vif, unsigned int lane);
	int (*close)(void *ctx, unsigned int vif, unsigned int lane);
	/* What the lane takes at most from now on; what is in it stays, also when that is more. */
	int (*limit)(void *ctx, unsigned int vif, unsigned int lane, uint32_t bytes);
	/* Of all lanes at once. -ENODEV, -ENOENT: they are gone. */
	int (*stats)(void *ctx, unsigned int vif, struct lane_stats out[LANES]);

	/* Becomes readable when something of ours may have been changed; -1: never. Borrowed. */
	int (*watch_fd)(void *ctx);
	/* Never blocks. Calls fn for each device and kind of damage, once. */
	void (*watch)(void *ctx, lane_tampered_fn *fn, void *arg);
};

#endif
