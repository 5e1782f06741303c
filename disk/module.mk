# SPDX-License-Identifier: GPL-2.0-or-later
# Epoch-consistent disks.  disk: everything but the main.

ARCHIVES += disk
disk_PKGS :=
disk_SRCS := \
	disk/nbd_hello.c \
	disk/nbd_wire.c \
	disk/range_lock.c
