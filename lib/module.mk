# SPDX-License-Identifier: GPL-2.0-or-later
# What everybody shares; a new file is one word here.

ARCHIVES += lib
lib_PKGS := openssl libsystemd libconfig json-c libxxhash
lib_SRCS := \
	lib/addr.c \
	lib/bench.c \
	lib/cert.c \
	lib/child.c \
	lib/conf.c \
	lib/conf_arbiter.c \
	lib/conf_schema.c \
	lib/conf_units.c \
	lib/conn.c \
	lib/conn_open.c \
	lib/ctl_client.c \
	lib/ctl_line.c \
	lib/ctl_server.c \
	lib/ctl_std.c \
	lib/digest.c \
	lib/disk_port.c \
	lib/err.c \
	lib/event.c \
	lib/event_file.c \
	lib/event_log.c \
	lib/flight.c \
	lib/flight_keep.c \
	lib/frame.c \
	lib/json_in.c \
	lib/json_out.c \
	lib/listen.c \
	lib/log.c \
	lib/mem.c \
	lib/names.c \
	lib/persist.c \
	lib/port_conn.c \
	lib/queue.c \
	lib/sm.c \
	lib/spawn.c \
	lib/stats.c \
	lib/timing.c \
	lib/tls.c \
	lib/tls_mac.c \
	lib/unix_listen.c \
	lib/uuid.c \
	lib/wire_order.c \
	lib/wire_v1.c \
	lib/wire_v1_disk.c \
	lib/wire_v1_drill.c \
	lib/wire_v1_facts.c
