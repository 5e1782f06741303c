# SPDX-License-Identifier: GPL-2.0-or-later
# The two sides.  core: the files that decide, pure.  xen: the only files that
# see Xen's headers.  replicator: the rest, without the mains.

ARCHIVES += core xen replicator

core_SRCS :=

xen_PKGS := xencontrol xenguest xenevtchn xenforeignmemory xenstore xenlight \
	xentoollog
xen_SRCS :=

replicator_PKGS := liblz4
replicator_SRCS :=

SBIN_PROGRAMS += romulusd
romulusd_SRCS :=
romulusd_ARCHIVES := replicator lib
romulusd_PKGS := libsystemd

LIBEXEC_PROGRAMS += romulus-primary romulus-backup
romulus-primary_SRCS :=
romulus-primary_ARCHIVES := replicator core xen netbuffer disk lib
romulus-primary_PKGS := libsystemd

romulus-backup_SRCS :=
romulus-backup_ARCHIVES := replicator core xen netbuffer disk lib
romulus-backup_PKGS := libsystemd
