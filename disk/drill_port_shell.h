/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a drill's view of the disk comes to: the socket NAME.drill of a romulus-disk (drill_wire.h). The loop's thread. */
#ifndef DISK_DRILL_PORT_SHELL_H
#define DISK_DRILL_PORT_SHELL_H

#include <systemd/sd-event.h>

#include "lib/compiler.h"

struct disk;
struct drill_port_shell;
struct err;

/* loop and disk are borrowed. Of the disk's guard, disk_go_on() does the rest. */
MUST_CHECK int drill_port_shell_new(sd_event *loop, struct disk *d, const char *path,
				    struct drill_port_shell **out, struct err *e);
/* NULL is a no-op. */
void drill_port_shell_free(struct drill_port_shell *s);

#endif
