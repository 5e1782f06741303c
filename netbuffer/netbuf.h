/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Output commit for the network devices of one VM (P1): no frame that the guest sent in epoch n
 * leaves the host before commit(n). Implements lib/ckpt_device.h over the lanes of lane_ops; the
 * rules are in lane_book. All vifs of the VM move together.
 *
 * The control thread calls everything here, but for the three ops that ckpt_device gives to the
 * data thread. Between both threads is a single atomic word. The control loop
 *  - calls netbuf_poll() when the time netbuf_next_deadline() has come; asks again after each call;
 *  - calls netbuf_watch() when netbuf_watch_fd() is readable;
 *  - looks at netbuf_half_full() after netbuf_poll(): then take the next checkpoint early.
 *
 * Until the first postsuspend() after setup() or open() the output flows; from then on it is held.
 */
#ifndef NETBUFFER_NETBUF_H
#define NETBUFFER_NETBUF_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ckpt_device.h"
#include "lib/compiler.h"
#include "netbuffer/lane_ops.h"

struct err;
struct netbuf;

/* How often a lane that was let out is looked at, and how long until it is let out again. */
#define NETBUF_DRAIN_POLL_NS UINT64_C(1000000)
#define NETBUF_RELEASE_AGAIN_NS UINT64_C(5000000)
/* How often held output is measured. */
#define NETBUF_PRESSURE_POLL_NS UINT64_C(10000000)
/*
 * What a small frame counts for at least when a lane is said to be half full, or full: the
 * kernel's memory. A lane that is full by this count is found and shut at the next measurement.
 */
#define NETBUF_FRAME_COST UINT64_C(768)
/* How long open() keeps the order before it lets out all lanes at once. */
#define NETBUF_OPEN_ORDERED_NS UINT64_C(200000000)

struct netbuf_stats {
	const char *name;     /* of the vif, as long as the netbuf lives */
	uint64_t held_frames; /* as of the last poll */
	uint64_t held_bytes;
	uint64_t peak_bytes;	  /* highest held_bytes */
	uint64_t released_frames; /* since attach */
	uint64_t
		dropped_frames; /* since attach: beyond the limit of a lane, by bytes or by count */
};

struct netbuf_counters {
	uint64_t switches; /* lanes changed */
	uint64_t waits;	   /* prepare() said -EAGAIN */
	uint64_t again;	   /* lanes that had to be let out more than once */
	uint64_t
		failures; /* operations of the kernel that failed and were or will be tried again */
};

/*
 * ops and ctx are borrowed until netbuf_free(). lane_bytes is the limit of a lane of a vif that
 * ctx was made with. tampered (may be NULL) is called with arg from netbuf_watch() and
 * netbuf_poll(): P1 no longer holds for this vif, or (LANE_VIF_GONE) it is gone. NULL when there
 * is no memory or more vifs than NETBUF_VIFS_MAX.
 */
struct netbuf_conf {
	const struct lane_ops *ops;
	void *ctx;
	uint32_t lane_bytes;
	lane_tampered_fn *tampered;
	void *arg;
};

#define NETBUF_VIFS_MAX 16U

struct netbuf *netbuf_new(const struct netbuf_conf *conf, struct err *e);
/*
 * Leaves the lanes as they are, held output held, for the next worker; teardown comes before if
 * they shall go.
 */
void netbuf_free(struct netbuf *nb);

/* The device, as long as the netbuf lives. */
struct ckpt_device *netbuf_device(struct netbuf *nb);

/*
 * After setup(): a worker that died left output held. It stays held until open(), or commit() of
 * the next checkpoint.
 */
bool netbuf_adopted_held(const struct netbuf *nb);
/* Nothing is held: unprotected, and all that was held is out. Never after a setup() that failed. */
bool netbuf_is_open(const struct netbuf *nb);

/* Never waits but for the kernel's answers. */
void netbuf_poll(struct netbuf *nb, uint64_t now);
/* When to call netbuf_poll(); CLOCK_NEVER: not before something else is called. */
uint64_t netbuf_next_deadline(const struct netbuf *nb);

int netbuf_watch_fd(const struct netbuf *nb);
void netbuf_watch(struct netbuf *nb);

/* A current lane was more than half full at the last poll: checkpoint now. */
bool netbuf_half_full(const struct netbuf *nb);

unsigned int netbuf_vifs(const struct netbuf *nb);
/* i < netbuf_vifs(). */
void netbuf_get_stats(const struct netbuf *nb, unsigned int i, struct netbuf_stats *out);
void netbuf_get_counters(const struct netbuf *nb, struct netbuf_counters *out);

#endif
