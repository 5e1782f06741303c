/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A listening TCP socket for a daemon. */
#ifndef LIB_LISTEN_H
#define LIB_LISTEN_H

#include <stdint.h>

#include "lib/compiler.h"

struct err;

/*
 * At an IP address or host name of this machine (the first that it means), non-blocking. Returns the
 * descriptor, which is the caller's, or a negative errno. Resolving blocks: for the start of a program.
 */
MUST_CHECK int listen_at(const char *address, uint16_t port, struct err *e);

#endif
