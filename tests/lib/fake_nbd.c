/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fake_nbd.h. */
#include "tests/lib/fake_nbd.h"

#include <errno.h>
#include <linux/nbd-netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

struct fake_nbd fake_nbd;

#define FAMILY 31
#define GROUP 7

static void put_file(int index, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/nbd%d/%s", fake_nbd.dir, index, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

void fake_nbd_make_sysfs(int index, const char *id)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/nbd%d", fake_nbd.dir, index);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/nbd%d/queue", fake_nbd.dir, index);
	mkdir(path, 0700);
	put_file(index, "backend", id);
	put_file(index, "queue/max_sectors_kb", "128");
	put_file(index, "queue/scheduler", "mq-deadline");
}

static int take_socket(struct fake_nbd_device *d, struct nlattr *sockets)
{
	struct nlattr *item[NBD_SOCK_ITEM_MAX + 1];
	struct nlattr *sock[NBD_SOCK_MAX + 1];

	assert_int_equal(nla_parse_nested(item, NBD_SOCK_ITEM_MAX, sockets, NULL), 0);
	assert_non_null(item[NBD_SOCK_ITEM]);
	assert_int_equal(nla_parse_nested(sock, NBD_SOCK_MAX, item[NBD_SOCK_ITEM], NULL), 0);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = dup((int)nla_get_u32(sock[NBD_SOCK_FD]));
	assert_true(d->fd >= 0);
	d->socket_dead = false;
	return 0;
}

static int do_connect(struct nlattr **tb)
{
	struct fake_nbd_device *d = fake_nbd.device;

	assert_null(tb[NBD_ATTR_INDEX]);
	while (d->connected)
		d++;
	*d = (struct fake_nbd_device){
		.connected = true,
		.fd = -1,
		.size = nla_get_u64(tb[NBD_ATTR_SIZE_BYTES]),
		.block = nla_get_u64(tb[NBD_ATTR_BLOCK_SIZE_BYTES]),
		.timeout = nla_get_u64(tb[NBD_ATTR_TIMEOUT]),
		.dead_conn = nla_get_u64(tb[NBD_ATTR_DEAD_CONN_TIMEOUT]),
		.server_flags = nla_get_u64(tb[NBD_ATTR_SERVER_FLAGS]),
		.client_flags = nla_get_u64(tb[NBD_ATTR_CLIENT_FLAGS]),
	};
	snprintf(d->id, sizeof(d->id), "%s", nla_get_string(tb[NBD_ATTR_BACKEND_IDENTIFIER]));
	fake_nbd_make_sysfs(FAKE_NBD_FIRST + (int)(d - fake_nbd.device), d->id);
	if (!fake_nbd.no_index)
		nla_put_u32(fake_nbd.reply, NBD_ATTR_INDEX,
			    (uint32_t)(FAKE_NBD_FIRST + (d - fake_nbd.device)));
	return take_socket(d, tb[NBD_ATTR_SOCKETS]);
}

static int do_reconfigure(struct fake_nbd_device *d, struct nlattr **tb)
{
	if (!d->connected || strcmp(nla_get_string(tb[NBD_ATTR_BACKEND_IDENTIFIER]), d->id) != 0)
		return -EINVAL;
	d->client_flags = nla_get_u64(tb[NBD_ATTR_CLIENT_FLAGS]);
	/* Not a word when no socket has died. */
	return tb[NBD_ATTR_SOCKETS] && d->socket_dead ? take_socket(d, tb[NBD_ATTR_SOCKETS]) : 0;
}

static int do_status(const struct fake_nbd_device *d, int index)
{
	struct nlattr *list = nla_nest_start(fake_nbd.reply, NBD_ATTR_DEVICE_LIST);
	struct nlattr *item = nla_nest_start(fake_nbd.reply, NBD_DEVICE_ITEM);

	nla_put_u32(fake_nbd.reply, NBD_DEVICE_INDEX, (uint32_t)index);
	nla_put_u8(fake_nbd.reply, NBD_DEVICE_CONNECTED, d->connected);
	nla_nest_end(fake_nbd.reply, item);
	nla_nest_end(fake_nbd.reply, list);
	return 0;
}

void fake_nbd_disconnect(struct fake_nbd_device *d)
{
	d->connected = false;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

static int handle(struct nlmsghdr *h)
{
	struct nlattr *tb[NBD_ATTR_MAX + 1];
	struct fake_nbd_device *d = &fake_nbd.device[0];
	int index = -1;

	assert_int_equal(h->nlmsg_type, FAMILY);
	assert_int_equal(h->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	assert_int_equal(genlmsg_parse(h, 0, tb, NBD_ATTR_MAX, NULL), 0);
	if (fake_nbd.error)
		return -fake_nbd.error;
	if (tb[NBD_ATTR_INDEX]) {
		index = (int)nla_get_u32(tb[NBD_ATTR_INDEX]);
		assert_in_range(index, FAKE_NBD_FIRST, FAKE_NBD_FIRST + FAKE_NBD_DEVICES - 1);
		d = &fake_nbd.device[index - FAKE_NBD_FIRST];
	}
	fake_nbd.reply = nlmsg_alloc();
	genlmsg_put(fake_nbd.reply, 0, 0, FAMILY, 0, 0, genlmsg_hdr(h)->cmd, 0);
	switch (genlmsg_hdr(h)->cmd) {
	case NBD_CMD_CONNECT:
		return do_connect(tb);
	case NBD_CMD_RECONFIGURE:
		return do_reconfigure(d, tb);
	case NBD_CMD_STATUS:
		return do_status(d, index);
	case NBD_CMD_DISCONNECT:
		fake_nbd_disconnect(d);
		return 0;
	default:
		fail_msg("command %d", genlmsg_hdr(h)->cmd);
		return -EINVAL;
	}
}

/* ---- libnl ---- */

int __wrap_genl_connect(struct nl_sock *sk);
int __wrap_genl_ctrl_resolve(struct nl_sock *sk, const char *name);
int __wrap_genl_ctrl_resolve_grp(struct nl_sock *sk, const char *family, const char *group);
int __wrap_nl_socket_get_fd(const struct nl_sock *sk);
int __wrap_nl_socket_set_nonblocking(const struct nl_sock *sk);
int __wrap_nl_socket_add_membership(struct nl_sock *sk, int group);
int __wrap_nl_send_auto(struct nl_sock *sk, struct nl_msg *msg);
int __wrap_nl_recvmsgs(struct nl_sock *sk, struct nl_cb *cb);
int __wrap_nl_cb_set(struct nl_cb *cb, enum nl_cb_type type, enum nl_cb_kind kind,
		     nl_recvmsg_msg_cb_t fn, void *arg);
int __wrap_nl_cb_err(struct nl_cb *cb, enum nl_cb_kind kind, nl_recvmsg_err_cb_t fn, void *arg);

int __wrap_genl_connect(struct nl_sock *sk)
{
	return 0;
}

int __wrap_genl_ctrl_resolve(struct nl_sock *sk, const char *name)
{
	assert_string_equal(name, "nbd");
	return fake_nbd.no_module ? -NLE_OBJ_NOTFOUND : FAMILY;
}

int __wrap_genl_ctrl_resolve_grp(struct nl_sock *sk, const char *family, const char *group)
{
	assert_string_equal(group, "nbd_mc_group");
	return GROUP;
}

int __wrap_nl_socket_get_fd(const struct nl_sock *sk)
{
	return fake_nbd.sockets[0];
}

int __wrap_nl_socket_set_nonblocking(const struct nl_sock *sk)
{
	return 0;
}

int __wrap_nl_socket_add_membership(struct nl_sock *sk, int group)
{
	assert_int_equal(group, GROUP);
	return 0;
}

int __wrap_nl_send_auto(struct nl_sock *sk, struct nl_msg *msg)
{
	fake_nbd.requests++;
	fake_nbd.result = handle(nlmsg_hdr(msg));
	fake_nbd.answering = !fake_nbd.silent;
	return 1;
}

int __wrap_nl_cb_set(struct nl_cb *cb, enum nl_cb_type type, enum nl_cb_kind kind,
		     nl_recvmsg_msg_cb_t fn, void *arg)
{
	if (type == NL_CB_VALID) {
		fake_nbd.valid = fn;
		fake_nbd.valid_arg = arg;
	} else {
		fake_nbd.ack = fn;
		fake_nbd.ack_arg = arg;
	}
	return 0;
}

int __wrap_nl_cb_err(struct nl_cb *cb, enum nl_cb_kind kind, nl_recvmsg_err_cb_t fn, void *arg)
{
	fake_nbd.err = fn;
	fake_nbd.err_arg = arg;
	return 0;
}

static void say_and_free(void)
{
	if (fake_nbd.reply)
		fake_nbd.valid(fake_nbd.reply, fake_nbd.valid_arg);
	nlmsg_free(fake_nbd.reply);
	fake_nbd.reply = NULL;
}

int __wrap_nl_recvmsgs(struct nl_sock *sk, struct nl_cb *cb)
{
	struct nlmsgerr error = {.error = fake_nbd.result};

	if (fake_nbd.dead_index >= 0) {
		fake_nbd.reply = nlmsg_alloc();
		genlmsg_put(fake_nbd.reply, 0, 0, FAMILY, 0, 0, NBD_CMD_LINK_DEAD, 0);
		nla_put_u32(fake_nbd.reply, NBD_ATTR_INDEX, (uint32_t)fake_nbd.dead_index);
		fake_nbd.dead_index = -1;
		say_and_free();
		return 0;
	}
	if (!fake_nbd.answering)
		return -NLE_AGAIN;
	if (fake_nbd.reply && !fake_nbd.result) {
		say_and_free(); /* the ACK comes in a message of its own */
		return 0;
	}
	nlmsg_free(fake_nbd.reply);
	fake_nbd.reply = NULL;
	fake_nbd.answering = false;
	if (fake_nbd.result)
		fake_nbd.err(NULL, &error, fake_nbd.err_arg);
	else
		fake_nbd.ack(NULL, fake_nbd.ack_arg);
	return 0;
}

/* ---- of a test ---- */

int fake_nbd_set_up(void **state)
{
	memset(&fake_nbd, 0, sizeof(fake_nbd));
	fake_nbd.dead_index = -1;
	for (int i = 0; i < FAKE_NBD_DEVICES; i++)
		fake_nbd.device[i].fd = -1;
	strcpy(fake_nbd.dir, "/tmp/test_nbd.XXXXXX");
	assert_non_null(mkdtemp(fake_nbd.dir));
	return socketpair(AF_UNIX, SOCK_STREAM, 0, fake_nbd.sockets);
}

int fake_nbd_tear_down(void **state)
{
	char command[128];

	for (int i = 0; i < FAKE_NBD_DEVICES; i++)
		fake_nbd_disconnect(&fake_nbd.device[i]);
	nlmsg_free(fake_nbd.reply);
	close(fake_nbd.sockets[0]);
	close(fake_nbd.sockets[1]);
	snprintf(command, sizeof(command), "rm -rf %s", fake_nbd.dir);
	return system(command);
}
