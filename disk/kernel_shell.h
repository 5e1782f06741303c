/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's nbd device on the loop of romulus-disk: it gets a socket, and a new one whenever the last has ended,
 * until somebody disconnects it. The loop's thread.
 */
#ifndef DISK_KERNEL_SHELL_H
#define DISK_KERNEL_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "disk/nbd_device.h"
#include "lib/compiler.h"

struct block_server;
struct err;

#define KERNEL_INDEX_PATH_SIZE 128

struct kernel_shell_conf {
	sd_event *loop;
	struct block_server *server; /* with a place for the kernel */
	const char *index_path;	     /* the runtime file; copied */
	const char *sys_block;	     /* NBDSYS_BLOCK, or a test's; borrowed */
	int *nbd_index;		     /* kept right: the device's number or -1 */
	/* The device is disconnected: rc 0 as it was asked to be, -ENOTCONN by somebody else. */
	void (*gone)(void *arg, int rc);
	void *arg;
};

struct kernel_shell {
	struct kernel_shell_conf conf;
	char index_path[KERNEL_INDEX_PATH_SIZE];
	struct nbddev dev;
	sd_event_source *netlink;
	sd_event_source *attach_timer;
	sd_event_source *let_go_timer;
	uint64_t attached_ns;
	bool letting_go;
};

/* Takes over the device that a killed server left, or makes one. */
MUST_CHECK int kernel_shell_start(struct kernel_shell *k, const struct kernel_shell_conf *c,
				  struct err *e);
/* The device stays as it is. All zeroes is fine. */
void kernel_shell_fini(struct kernel_shell *k);

/* For the server's kernel_gone(). */
void kernel_shell_lost(struct kernel_shell *k, bool asked);
/*
 * We shall end: but a device that a guest has open must not go from under it. It is disconnected when it is closed,
 * at once if it is. 0 or what the loop said.
 */
MUST_CHECK int kernel_shell_let_go(struct kernel_shell *k);

#endif
