/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A routing netlink socket with bounded waits, and what lanes_nl asks the kernel that libnl has
 * no call for. Only for the *_nl.c files of this folder. Control thread.
 */
#ifndef NETBUFFER_SOCK_NL_H
#define NETBUFFER_SOCK_NL_H

#include <stdbool.h>
#include <stdint.h>

#include <netlink/netlink.h>

#include "lib/compiler.h"
#include "netbuffer/lane_ops.h"

struct err;
struct rtnl_qdisc;

struct sock_nl {
	struct nl_sock
		*sk; /* NULL: could not be opened again after a timeout; the next call tries */
	unsigned int timeout_ms;
};

MUST_CHECK int sock_nl_open(struct sock_nl *s, unsigned int timeout_ms, struct err *e);
void sock_nl_close(struct sock_nl *s);

/*
 * The socket for a libnl call, NULL when there is none; what the call returned goes to
 * sock_nl_done().
 */
struct nl_sock *sock_nl_get(struct sock_nl *s);
/*
 * libnl's result as 0 or negative errno. After a timeout the answer may still come, so the socket
 * is replaced. r is what a libnl call returned that used the socket.
 */
MUST_CHECK int sock_nl_done(struct sock_nl *s, int r);
/* The same for calls that use no socket. */
int sock_nl_errno(int r);

/* A qdisc to be sent, NULL: no memory. */
struct rtnl_qdisc *sock_nl_qdisc(unsigned int ifindex, uint32_t parent, uint32_t handle,
				 const char *kind);
/* Sends and frees q; NULL is -ENOMEM. flags 0 changes what is there. */
MUST_CHECK int sock_nl_qdisc_send_take(struct sock_nl *s, struct rtnl_qdisc *q, int flags);

/* What the classes of a prio say about its queues. */
struct sock_nl_lanes {
	unsigned int n;	      /* classes, 0: there is no such prio */
	uint32_t leaf[LANES]; /* handle of the queue, 0: of the kernel's own */
	struct lane_stats stats[LANES];
};

/* Asks for the classes of the qdisc `handle` at the root of a device; one question, one answer. */
MUST_CHECK int sock_nl_lanes(struct sock_nl *s, unsigned int ifindex, uint32_t handle,
			     struct sock_nl_lanes *out);

/*
 * A socket that only listens to the loss of devices, queues and filters, not blocking. fn gets
 * the index of a device that something happened to, or 0 when messages were lost.
 */
typedef void sock_nl_lost_fn(void *arg, unsigned int ifindex);
MUST_CHECK int sock_nl_listen(struct nl_sock **out, struct err *e);
void sock_nl_hear(struct nl_sock *sk, sock_nl_lost_fn *fn, void *arg);

#endif
