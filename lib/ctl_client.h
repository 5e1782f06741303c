/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The asking side of a control socket; used by the tools, and by a worker that talks to another one. */
#ifndef LIB_CTL_CLIENT_H
#define LIB_CTL_CLIENT_H

#include <stdint.h>

#include "lib/compiler.h"

struct err;
struct json_in;

/*
 * Connect, send one request (argv[0] is the command, ended by NULL), wait for its answer, hang up. Blocks
 * at most timeout_ns in all. Never raises SIGPIPE.
 *
 * 0: *reply is an object with ok true, json_in_free() it.
 * -EREMOTEIO: the daemon refused; e has its text, and *reply (to be freed too) the whole answer.
 * -ENOENT, -ECONNREFUSED: nobody is there. -ETIMEDOUT. -EPROTO: not an answer. *reply is NULL then.
 */
MUST_CHECK int ctl_client_call(const char *path, const char *const argv[], uint64_t timeout_ns,
			       struct json_in **reply, struct err *e);

#endif
