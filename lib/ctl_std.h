/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that every daemon has: version, log/level, log/dump. Control thread. */
#ifndef LIB_CTL_STD_H
#define LIB_CTL_STD_H

#include "lib/compiler.h"

struct ctl_server;

/* program is borrowed for the server's life. 0 or negative errno. */
MUST_CHECK int ctl_std_add(struct ctl_server *s, const char *program);

#endif
