# SPDX-License-Identifier: GPL-2.0-or-later
# Epoch-consistent disks (docs/disk.md).

ARCHIVES += disk
disk_PKGS :=
disk_SRCS := \
	disk/dirty_map.c \
	disk/disk_barrier.c \
	disk/epoch_word.c
