/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket of romulus-disk: status, verify, surrender. The loop's thread. */
#ifndef DISK_DISK_CTL_H
#define DISK_DISK_CTL_H

#include "lib/compiler.h"
#include "lib/ctl_server.h"

struct backup_disk;
struct blk_dev;
struct block_server;
struct disk;
struct port_shell;
struct primary_disk;

struct disk_ctl {
	struct block_server *server;
	const struct blk_dev *blk;
	int nbd_index;	   /* -1: no kernel device */
	struct disk *disk; /* NULL until it is open, and so the rest */
	struct primary_disk *primary;
	const struct backup_disk *backup;
	const struct port_shell *port;
	struct ctl_server *ctl;
	struct ctl_token surrenders; /* who waits for it to be durable; id 0: nobody */
};

/* ctx is borrowed for the server's life; its owner keeps nbd_index right. 0 or negative errno. */
MUST_CHECK int disk_ctl_add(struct ctl_server *s, struct disk_ctl *ctx);
/* Answers who waits, when what is waited for has come; after disk_go_on(). */
void disk_ctl_go_on(struct disk_ctl *c);

#endif
