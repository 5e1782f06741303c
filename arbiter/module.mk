# SPDX-License-Identifier: GPL-2.0-or-later
# Who may go alone: the arbiters (docs/decisions/007-arbiters.md).  arbiter: everything but the mains.

ARCHIVES += arbiter
arbiter_PKGS := libcurl
arbiter_SRCS := \
	arbiter/arbiter.c \
	arbiter/ballot.c \
	arbiter/dial.c \
	arbiter/etcd.c \
	arbiter/etcd_http.c \
	arbiter/etcd_json.c \
	arbiter/fence.c \
	arbiter/record.c \
	arbiter/witness_client.c \
	arbiter/witness_conf.c \
	arbiter/witness_server.c \
	arbiter/witness_store.c \
	arbiter/witness_wire.c

# The third machine's daemon.
SBIN_PROGRAMS += romulus-witness
romulus-witness_SRCS := arbiter/witness_main.c
romulus-witness_ARCHIVES := arbiter lib
romulus-witness_PKGS := libsystemd

# One question; run by the workers.
LIBEXEC_PROGRAMS += romulus-arbiter
romulus-arbiter_SRCS := arbiter/arbiter_main.c
romulus-arbiter_ARCHIVES := arbiter lib
