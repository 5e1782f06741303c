# SPDX-License-Identifier: GPL-2.0-or-later
# Epoch-consistent disks: nothing yet, they come with an issue of their own.

ARCHIVES += disk
disk_PKGS :=
disk_SRCS :=
