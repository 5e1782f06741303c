/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How drill_guard.c and a view of its disk talk (drill_wire.h): over a socket, or in the simulator over anything. Nothing here
 * waits.
 */
#ifndef DISK_DRILL_TALK_H
#define DISK_DRILL_TALK_H

#include "lib/compiler.h"

struct drill_msg;

/* handle is the guard's own from the beginning of the view on, and not negative. */
struct drill_talk {
	/* 0; -EAGAIN: there is no room; -EPIPE. */
	int (*say)(int handle, const struct drill_msg *m);
	/* 1 and *m; 0: nothing now; -EPIPE: it has gone; -EPROTO: it talks nonsense. */
	int (*hear)(int handle, struct drill_msg *m);
	void (*close)(int handle);
};

/* The handle is the descriptor of a SOCK_SEQPACKET. */
extern const struct drill_talk drill_talk_socket;

#endif
