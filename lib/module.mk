# SPDX-License-Identifier: GPL-2.0-or-later
# What everybody shares; a new file is one word here.

ARCHIVES += lib
lib_PKGS := openssl libsystemd libconfig json-c libxxhash
lib_SRCS := \
	lib/digest.c \
	lib/err.c \
	lib/log.c \
	lib/mem.c \
	lib/persist.c \
	lib/spawn.c \
	lib/stats.c
