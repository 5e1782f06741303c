# SPDX-License-Identifier: GPL-2.0-or-later
# Epoch-consistent disks.

ARCHIVES += disk
disk_PKGS :=
disk_SRCS := \
	disk/block_store.c \
	disk/coalesce.c \
	disk/file_store.c \
	disk/journal.c \
	disk/journal_apply.c \
	disk/journal_change.c \
	disk/journal_fmt.c \
	disk/journal_recover.c \
	disk/journal_ring.c \
	disk/journal_sb.c
