# SPDX-License-Identifier: GPL-2.0-or-later
# Epoch-consistent disks (docs/disk.md).  disk: everything but the main.

ARCHIVES += disk
disk_PKGS := liblz4 liburing libsystemd libnl-3.0 libnl-genl-3.0
disk_SRCS := \
	disk/blk_file.c \
	disk/backup_disk.c \
	disk/blk_plain.c \
	disk/blk_step.c \
	disk/blk_store.c \
	disk/blk_uring.c \
	disk/block_listen.c \
	disk/block_request.c \
	disk/block_server.c \
	disk/block_session.c \
	disk/block_store.c \
	disk/buf_pool.c \
	disk/coalesce.c \
	disk/copier.c \
	disk/copy_reader.c \
	disk/data_ring.c \
	disk/dirty_map.c \
	disk/disk_barrier.c \
	disk/disk_ctl.c \
	disk/disk_format.c \
	disk/disk_state.c \
	disk/drill_guard.c \
	disk/drill_overlay.c \
	disk/drill_port_shell.c \
	disk/drill_talk.c \
	disk/epoch_log.c \
	disk/epoch_numbers.c \
	disk/epoch_word.c \
	disk/file_store.c \
	disk/generation.c \
	disk/hash_reader.c \
	disk/intent_log.c \
	disk/journal.c \
	disk/journal_apply.c \
	disk/journal_change.c \
	disk/journal_fmt.c \
	disk/journal_hold.c \
	disk/journal_recover.c \
	disk/journal_replay.c \
	disk/journal_ring.c \
	disk/journal_sb.c \
	disk/kernel_shell.c \
	disk/lru.c \
	disk/nbd_device.c \
	disk/nbd_hello.c \
	disk/nbd_nl.c \
	disk/nbd_sysfs.c \
	disk/nbd_wire.c \
	disk/port_link.c \
	disk/port_shell.c \
	disk/primary_disk.c \
	disk/range_lock.c \
	disk/tracker.c \
	disk/unpack.c

LIBEXEC_PROGRAMS += romulus-disk
romulus-disk_SRCS := disk/disk_main.c
romulus-disk_ARCHIVES := disk lib
romulus-disk_PKGS := libsystemd

# What a drill's copy sees of a disk.
LIBEXEC_PROGRAMS += romulus-drill-disk
romulus-drill-disk_SRCS := disk/drill_disk_main.c
romulus-drill-disk_ARCHIVES := disk lib
romulus-drill-disk_PKGS := libsystemd
