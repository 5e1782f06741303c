# SPDX-License-Identifier: GPL-2.0-or-later
# Output commit of network devices.

ARCHIVES += netbuffer
netbuffer_PKGS := libnl-3.0 libnl-route-3.0
netbuffer_SRCS := \
	netbuffer/build_nl.c \
	netbuffer/drill_nl.c \
	netbuffer/filter_nl.c \
	netbuffer/lane_book.c \
	netbuffer/lane_group.c \
	netbuffer/lane_switch.c \
	netbuffer/lanes_nl.c \
	netbuffer/netbuf.c \
	netbuffer/sock_nl.c
