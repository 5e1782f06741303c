/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lanes in the kernel, for all network devices of a VM: what the guest sends arrives as
 * ingress of its vif, where nothing can queue; a matchall filter of every ethertype clones it to
 * an IFB made for that vif, whose root is a prio of sch_plug queues, one a lane; a classifier
 * picks the lane by the word of lane_switch.
 *
 *	vif ingress, matchall: clone to IFB and drop
 *	    IFB root, prio 7e00: with a classifier that reads the word
 *	        lanes 7e00:1 to 7e00:4, each a plug: open or closed
 *	            on into dom0, as if it came from the vif
 *
 * By netlink alone, no program and no script. Control thread (set and mark_held: any). All waits
 * are bounded.
 */
#ifndef NETBUFFER_LANES_NL_H
#define NETBUFFER_LANES_NL_H

#include <stdint.h>

#include "lib/compiler.h"
#include "netbuffer/lane_ops.h"

struct err;
struct lanes_nl;

#define LANES_NL_NAME_SIZE 16
#define LANES_NL_VIFS_MAX 16U
#define LANES_NL_TIMEOUT_MS 2000 /* for an answer of the kernel */

/* The ctx of these is a struct lanes_nl. */
extern const struct lane_ops lanes_nl_ops;

/*
 * For the n devices called vifs (copied), each lane of each of them limited to lane_bytes.
 * Changes nothing in the kernel. NULL with a text: no memory, no netlink, a bad name or number.
 */
struct lanes_nl *lanes_nl_new(const char *const *vifs, unsigned int n, uint32_t lane_bytes,
			      struct err *e);
/* Leaves the kernel's side as it is. */
void lanes_nl_free(struct lanes_nl *l);

/*
 * The name of the IFB of a vif: rm3.0 for vif3.0, rm3.0-emu for vif3.0-emu, rm-NAME for others;
 * -ENAMETOOLONG when that does not fit.
 */
MUST_CHECK int lanes_nl_ifb_name(const char *vif, char name[LANES_NL_NAME_SIZE]);

#endif
