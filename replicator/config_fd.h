/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's configuration on its way into a process of its own: in memory that a descriptor stands for. Any thread. */
#ifndef REPLICATOR_CONFIG_FD_H
#define REPLICATOR_CONFIG_FD_H

#include <stddef.h>

#include "lib/compiler.h"

struct err;

/* *out is the caller's. */
MUST_CHECK int config_fd_make(const char *json, size_t size, int *out, struct err *e);
/* *json ends with a 0, mem_free() it. -EMSGSIZE: it is larger than any, or empty. */
MUST_CHECK int config_fd_read(int fd, char **json, size_t *size, struct err *e);

#endif
