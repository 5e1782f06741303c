/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A listening socket of this host's, for root alone. */
#ifndef LIB_UNIX_LISTEN_H
#define LIB_UNIX_LISTEN_H

#include "lib/compiler.h"

struct err;

/*
 * At path, where the socket of a process that has died may lie: it is replaced, anything else is left and -EEXIST. type:
 * SOCK_STREAM or SOCK_SEQPACKET; non-blocking, not inherited. On failure *fd is left alone, and nothing of ours at path. Changes the
 * process's umask meanwhile: before there are threads that make files.
 */
MUST_CHECK int unix_listen(int *fd, const char *path, int type, int backlog, struct err *e);

#endif
