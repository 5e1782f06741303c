# SPDX-License-Identifier: GPL-2.0-or-later
# Output commit of network devices.

ARCHIVES += netbuffer
netbuffer_PKGS := libnl-3.0 libnl-route-3.0
netbuffer_SRCS :=
