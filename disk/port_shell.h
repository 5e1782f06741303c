/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk port on the loop of romulus-disk: listens, has one worker at a time (the newest wins), hands its messages to the
 * role that it has, and lets everything go on after each event. The loop's thread.
 */
#ifndef DISK_PORT_SHELL_H
#define DISK_PORT_SHELL_H

#include <systemd/sd-event.h>

#include "lib/compiler.h"

struct backup_disk;
struct disk;
struct err;
struct port_shell;
struct primary_disk;

struct port_shell_conf {
	sd_event *loop;
	struct disk *disk; /* borrowed, as the two roles of it */
	struct primary_disk *primary;
	struct backup_disk *backup;
	const char *path; /* of the socket: mode 0600; a file that is there is replaced */
};

/* The caller owns *out. */
MUST_CHECK int port_shell_new(const struct port_shell_conf *c, struct port_shell **out,
			      struct err *e);
/* Ends the worker's connection; removes the socket. NULL is a no-op. */
void port_shell_free(struct port_shell *s);

/* "primary", "backup", or NULL: the role that a worker has now. */
const char *port_shell_role(const struct port_shell *s);
/* The VM that a worker said last that this is a disk of, also one that is gone; NULL: none has. */
const char *port_shell_vm(const struct port_shell *s);

#endif
