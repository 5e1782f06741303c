/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network of a drill: a bridge without any way out, made for it and gone with it. What arrives at the bridge device itself,
 * for this host that is, is dropped before any protocol of this host sees it; it has no address, no IPv6 and no port but the
 * copy's own interfaces and one end of a pair whose other end is in the drill's network namespace. One thread.
 */
#ifndef NETBUFFER_DRILL_NL_H
#define NETBUFFER_DRILL_NL_H

#include "lib/compiler.h"

struct err;

#define DRILL_NL_NAME_SIZE 16
/* The end in the namespace. */
#define DRILL_NL_INSIDE "drill0"

/* The bridge of that VM's drill: the same name each time, so that what is left of one is found. */
void drill_nl_bridge(const char *vm, char name[DRILL_NL_NAME_SIZE]);

/* What an earlier one left is removed first. ns_fd is the namespace. -EEXIST: a device of another kind has the name. */
MUST_CHECK int drill_nl_make(const char *vm, int ns_fd, struct err *e);
/* Within the namespace: its devices go up. */
MUST_CHECK int drill_nl_up_inside(struct err *e);
/* Nothing there is fine. */
MUST_CHECK int drill_nl_remove(const char *vm, struct err *e);

#endif
