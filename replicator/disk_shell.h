/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the workers need of disk/ itself, in one place: at the primary the word that tells the block servers the epoch, and
 * the device that moves it on in the pause; at the backup the plan by which two disks are made equal.
 */
#ifndef REPLICATOR_DISK_SHELL_H
#define REPLICATOR_DISK_SHELL_H

#include "lib/compiler.h"
#include "lib/disk_port.h"
#include "lib/wire_v1_disk.h"

struct ckpt_device;
struct disk_shell;
struct err;

/* The caller owns *out. Control thread, but for what ckpt_device.h says of the device. */
MUST_CHECK int disk_shell_new(struct disk_shell **out, struct err *e);
/* NULL is a no-op. */
void disk_shell_free(struct disk_shell *s);
/* Both as long as the shell lives. */
struct ckpt_device *disk_shell_device(struct disk_shell *s);
int disk_shell_word_fd(const struct disk_shell *s);
/* A session begins with epoch 0; no server is in the stream, and no checkpoint is being taken. */
void disk_shell_begin(struct disk_shell *s);

/*
 * Any thread: how the disk here, of which its server says `mine`, becomes equal to the primary's. 0 and *ok,
 * or -EOPNOTSUPP with the reason: it must not, or the operator has to choose; vm is for what is said then.
 */
MUST_CHECK int disk_shell_plan(const char *vm, const struct port_state *mine,
			       const struct wire_disk *theirs, struct wire_disk_ok *ok,
			       struct err *e);

#endif
