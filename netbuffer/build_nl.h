/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes, takes over, checks and removes the lanes of one vif in the kernel; the part of lanes_nl
 * that runs once. Only for the *_nl.c files of this folder. Control thread.
 */
#ifndef NETBUFFER_BUILD_NL_H
#define NETBUFFER_BUILD_NL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "netbuffer/lane_ops.h"
#include "netbuffer/lane_switch.h"
#include "netbuffer/lanes_nl.h"
#include "netbuffer/sock_nl.h"

struct err;

#define LANES_NL_PRIO LANE_SWITCH_MAJOR /* handle of the prio */
#define LANES_NL_CLASS(lane) (LANES_NL_PRIO | ((lane) + 1))
#define LANES_NL_PLUG(lane) ((0x7e10U + (lane)) << 16)

struct vif_nl {
	char name[LANES_NL_NAME_SIZE];
	char ifb[LANES_NL_NAME_SIZE];
	unsigned int vif_index;
	unsigned int ifb_index; /* 0: not attached */
	struct lane_switch sw;
	bool suspect;	       /* something happened to it since the last audit */
	unsigned int reported; /* enum lane_tamper as bits */
};

MUST_CHECK int build_nl_attach(struct sock_nl *s, struct vif_nl *v, uint32_t lane_bytes,
			       enum lane_found *found, struct err *e);
MUST_CHECK int build_nl_detach(struct sock_nl *s, struct vif_nl *v, bool keep_flow, struct err *e);

enum plug_nl {
	PLUG_NL_OPEN,
	PLUG_NL_CLOSE,
};
MUST_CHECK int build_nl_plug(struct sock_nl *s, const struct vif_nl *v, unsigned int lane,
			     enum plug_nl what);

/* bytes: what it takes at most, at most INT32_MAX. */
MUST_CHECK int build_nl_limit(struct sock_nl *s, const struct vif_nl *v, unsigned int lane,
			      uint32_t bytes);

/* Stats of all lanes; -ENOENT when one of them is not ours or not there. */
MUST_CHECK int build_nl_stats(struct sock_nl *s, const struct vif_nl *v,
			      struct lane_stats out[LANES]);

/*
 * 1: something is missing, *how and *what (constant) say what; 0: all there; negative errno:
 * cannot tell.
 */
MUST_CHECK int build_nl_audit(struct sock_nl *s, const struct vif_nl *v, enum lane_tamper *how,
			      const char **what);

#endif
