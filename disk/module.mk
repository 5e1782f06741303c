# SPDX-License-Identifier: GPL-2.0-or-later
# Epoch-consistent disks (docs/disk.md).

ARCHIVES += disk
disk_PKGS :=
disk_SRCS := \
	disk/copier.c \
	disk/data_ring.c \
	disk/dirty_map.c \
	disk/disk_barrier.c \
	disk/epoch_log.c \
	disk/epoch_numbers.c \
	disk/epoch_word.c \
	disk/generation.c \
	disk/intent_log.c \
	disk/lru.c \
	disk/tracker.c
