/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel nbd without the kernel's: the messages that libnl would send are taken apart as the kernel does, and answered. A
 * test that uses it links with FAKE_NBD_LDFLAGS.
 */
#ifndef TESTS_LIB_FAKE_NBD_H
#define TESTS_LIB_FAKE_NBD_H

#include "tests/lib/test.h"

#include <stdbool.h>

#include <netlink/handlers.h>

struct nl_msg;

/* High, so that no node of that name is there to be opened. */
#define FAKE_NBD_FIRST 4001
#define FAKE_NBD_DEVICES 3

struct fake_nbd_device {
	bool connected;
	uint64_t size, block, timeout, dead_conn, server_flags, client_flags;
	char id[64];
	int fd;
	bool socket_dead;
};

extern struct fake_nbd {
	char dir[64];
	struct fake_nbd_device device[FAKE_NBD_DEVICES];
	bool no_module;
	int error;     /* to the next request */
	bool silent;   /* it never answers */
	bool no_index; /* in the answer of CONNECT */
	int requests;
	struct nl_msg *reply;
	int result;
	bool answering;
	int dead_index; /* announced; -1: nothing is */
	int sockets[2];
	nl_recvmsg_msg_cb_t valid, ack;
	void *valid_arg, *ack_arg;
	nl_recvmsg_err_cb_t err;
	void *err_arg;
} fake_nbd;

/* Of a test: no device, and an empty folder fake_nbd.dir for sysfs and what the test likes. */
int fake_nbd_set_up(void **state);
int fake_nbd_tear_down(void **state);

/* What sysfs has of a device. */
void fake_nbd_make_sysfs(int index, const char *id);
void fake_nbd_disconnect(struct fake_nbd_device *d);

#endif
