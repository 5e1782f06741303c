/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel nbd without the kernel's: the messages that libnl would send are taken apart as the kernel does, and answered.
 * nbd_nl, nbd_sysfs and nbd_device.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <linux/nbd-netlink.h>
#include <linux/nbd.h>
#include <poll.h>
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

#include "disk/nbd_device.h"
#include "disk/nbd_nl.h"
#include "disk/nbd_wire.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

#define FAMILY 31
#define GROUP 7
/* High, so that no node of that name is there to be opened. */
#define FIRST 4001
#define DEVICES 3

/* ---- the kernel ---- */

struct device {
	bool connected;
	uint64_t size, block, timeout, dead_conn, server_flags, client_flags;
	char id[64];
	int fd;
	bool socket_dead;
};

static struct {
	char dir[64];
	struct device device[DEVICES];
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
} kernel;

static void put_file(int index, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/nbd%d/%s", kernel.dir, index, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void make_sysfs(int index, const char *id)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/nbd%d", kernel.dir, index);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/nbd%d/queue", kernel.dir, index);
	mkdir(path, 0700);
	put_file(index, "backend", id);
	put_file(index, "queue/max_sectors_kb", "128");
	put_file(index, "queue/scheduler", "mq-deadline");
}

static int take_socket(struct device *d, struct nlattr *sockets)
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
	struct device *d = kernel.device;

	assert_null(tb[NBD_ATTR_INDEX]);
	while (d->connected)
		d++;
	*d = (struct device){
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
	make_sysfs(FIRST + (int)(d - kernel.device), d->id);
	if (!kernel.no_index)
		nla_put_u32(kernel.reply, NBD_ATTR_INDEX, (uint32_t)(FIRST + (d - kernel.device)));
	return take_socket(d, tb[NBD_ATTR_SOCKETS]);
}

static int do_reconfigure(struct device *d, struct nlattr **tb)
{
	if (!d->connected || strcmp(nla_get_string(tb[NBD_ATTR_BACKEND_IDENTIFIER]), d->id) != 0)
		return -EINVAL;
	d->client_flags = nla_get_u64(tb[NBD_ATTR_CLIENT_FLAGS]);
	/* Not a word when no socket has died. */
	return tb[NBD_ATTR_SOCKETS] && d->socket_dead ? take_socket(d, tb[NBD_ATTR_SOCKETS]) : 0;
}

static int do_status(const struct device *d, int index)
{
	struct nlattr *list = nla_nest_start(kernel.reply, NBD_ATTR_DEVICE_LIST);
	struct nlattr *item = nla_nest_start(kernel.reply, NBD_DEVICE_ITEM);

	nla_put_u32(kernel.reply, NBD_DEVICE_INDEX, (uint32_t)index);
	nla_put_u8(kernel.reply, NBD_DEVICE_CONNECTED, d->connected);
	nla_nest_end(kernel.reply, item);
	nla_nest_end(kernel.reply, list);
	return 0;
}

static void do_disconnect(struct device *d)
{
	d->connected = false;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

static int handle(struct nlmsghdr *h)
{
	struct nlattr *tb[NBD_ATTR_MAX + 1];
	struct device *d = &kernel.device[0];
	int index = -1;

	assert_int_equal(h->nlmsg_type, FAMILY);
	assert_int_equal(h->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	assert_int_equal(genlmsg_parse(h, 0, tb, NBD_ATTR_MAX, NULL), 0);
	if (kernel.error)
		return -kernel.error;
	if (tb[NBD_ATTR_INDEX]) {
		index = (int)nla_get_u32(tb[NBD_ATTR_INDEX]);
		assert_in_range(index, FIRST, FIRST + DEVICES - 1);
		d = &kernel.device[index - FIRST];
	}
	kernel.reply = nlmsg_alloc();
	genlmsg_put(kernel.reply, 0, 0, FAMILY, 0, 0, genlmsg_hdr(h)->cmd, 0);
	switch (genlmsg_hdr(h)->cmd) {
	case NBD_CMD_CONNECT:
		return do_connect(tb);
	case NBD_CMD_RECONFIGURE:
		return do_reconfigure(d, tb);
	case NBD_CMD_STATUS:
		return do_status(d, index);
	case NBD_CMD_DISCONNECT:
		do_disconnect(d);
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
	return kernel.no_module ? -NLE_OBJ_NOTFOUND : FAMILY;
}

int __wrap_genl_ctrl_resolve_grp(struct nl_sock *sk, const char *family, const char *group)
{
	assert_string_equal(group, "nbd_mc_group");
	return GROUP;
}

int __wrap_nl_socket_get_fd(const struct nl_sock *sk)
{
	return kernel.sockets[0];
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
	kernel.requests++;
	kernel.result = handle(nlmsg_hdr(msg));
	kernel.answering = !kernel.silent;
	return 1;
}

int __wrap_nl_cb_set(struct nl_cb *cb, enum nl_cb_type type, enum nl_cb_kind kind,
		     nl_recvmsg_msg_cb_t fn, void *arg)
{
	if (type == NL_CB_VALID) {
		kernel.valid = fn;
		kernel.valid_arg = arg;
	} else {
		kernel.ack = fn;
		kernel.ack_arg = arg;
	}
	return 0;
}

int __wrap_nl_cb_err(struct nl_cb *cb, enum nl_cb_kind kind, nl_recvmsg_err_cb_t fn, void *arg)
{
	kernel.err = fn;
	kernel.err_arg = arg;
	return 0;
}

static void say_and_free(void)
{
	if (kernel.reply)
		kernel.valid(kernel.reply, kernel.valid_arg);
	nlmsg_free(kernel.reply);
	kernel.reply = NULL;
}

int __wrap_nl_recvmsgs(struct nl_sock *sk, struct nl_cb *cb)
{
	struct nlmsgerr error = {.error = kernel.result};

	if (kernel.dead_index >= 0) {
		kernel.reply = nlmsg_alloc();
		genlmsg_put(kernel.reply, 0, 0, FAMILY, 0, 0, NBD_CMD_LINK_DEAD, 0);
		nla_put_u32(kernel.reply, NBD_ATTR_INDEX, (uint32_t)kernel.dead_index);
		kernel.dead_index = -1;
		say_and_free();
		return 0;
	}
	if (!kernel.answering)
		return -NLE_AGAIN;
	if (kernel.reply && !kernel.result) {
		say_and_free(); /* the ACK comes in a message of its own */
		return 0;
	}
	nlmsg_free(kernel.reply);
	kernel.reply = NULL;
	kernel.answering = false;
	if (kernel.result)
		kernel.err(NULL, &error, kernel.err_arg);
	else
		kernel.ack(NULL, kernel.ack_arg);
	return 0;
}

/* ---- tests ---- */

static const struct nbdwire_export disk = {.name = "web", .size = 1 << 30, .block = 4096};
static char index_path[96];

static int set_up(void **state)
{
	memset(&kernel, 0, sizeof(kernel));
	kernel.dead_index = -1;
	for (int i = 0; i < DEVICES; i++)
		kernel.device[i].fd = -1;
	strcpy(kernel.dir, "/tmp/test_nbd.XXXXXX");
	assert_non_null(mkdtemp(kernel.dir));
	snprintf(index_path, sizeof(index_path), "%s/web.nbd", kernel.dir);
	return socketpair(AF_UNIX, SOCK_STREAM, 0, kernel.sockets);
}

static int tear_down(void **state)
{
	char command[128];

	for (int i = 0; i < DEVICES; i++)
		do_disconnect(&kernel.device[i]);
	nlmsg_free(kernel.reply);
	close(kernel.sockets[0]);
	close(kernel.sockets[1]);
	snprintf(command, sizeof(command), "rm -rf %s", kernel.dir);
	return system(command);
}

static struct nbddev begin(void)
{
	const struct nbddev_conf c = {
		.export = &disk, .index_path = index_path, .sys_block = kernel.dir};
	struct nbddev d;
	struct err e = ERR_INIT;

	if (nbddev_init(&d, &c, &e) < 0)
		fail_msg("%s", e.text);
	return d;
}

static int attach(struct nbddev *d, int *fd)
{
	struct err e = ERR_INIT;
	int rc = nbddev_attach(d, fd, &e);

	assert_true(rc == 0 || *e.text);
	return rc;
}

static void read_file(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	buf[fread(buf, 1, size - 1, f)] = 0;
	fclose(f);
}

static bool is_talking(int ours, int theirs)
{
	char c = 0;

	return write(theirs, "x", 1) == 1 && read(ours, &c, 1) == 1 && c == 'x';
}

/* The helper is a thread of its own. */
static void wait_for_file(const char *name, const char *want)
{
	char path[128];
	char got[32] = "";

	snprintf(path, sizeof(path), "%s/nbd%d/queue/%s", kernel.dir, FIRST, name);
	for (int i = 0; i < 1000; i++) {
		read_file(path, got, sizeof(got));
		if (!strncmp(got, want, strlen(want)))
			return;
		poll(NULL, 0, 10);
	}
	fail_msg("%s is %s", name, got);
}

static void a_device_is_made(void **state)
{
	struct nbddev d = begin();
	const struct device *k = &kernel.device[0];
	char text[16];
	int fd = -1;

	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(d.index, FIRST);
	assert_true(k->size == 1 << 30);
	assert_int_equal(k->block, 4096);
	assert_int_equal(k->timeout, 10);
	assert_int_equal(k->dead_conn, 86400);
	assert_int_equal(k->server_flags, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
						  NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM);
	assert_int_equal(k->client_flags, 0);
	assert_string_equal(k->id, "romulus-disk:web");
	assert_true(is_talking(fd, k->fd));
	read_file(index_path, text, sizeof(text));
	assert_string_equal(text, "4001\n");
	wait_for_file("max_sectors_kb", "1024");
	wait_for_file("scheduler", "none");
	close(fd);
	nbddev_fini(&d);
}

/* A new process finds it, whatever became of the runtime file. */
static void a_device_is_taken_over(void **state)
{
	struct nbddev d = begin();
	int fd = -1;

	assert_int_equal(attach(&d, &fd), 0);
	wait_for_file("scheduler", "none");
	close(fd);
	nbddev_fini(&d);
	unlink(index_path);
	kernel.device[0].socket_dead = true;
	kernel.device[0].client_flags = NBD_CFLAG_DISCONNECT_ON_CLOSE;
	d = begin();
	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(d.index, FIRST);
	assert_false(kernel.device[1].connected);
	assert_int_equal(kernel.device[0].client_flags, 0);
	assert_true(is_talking(fd, kernel.device[0].fd));
	assert_int_equal(access(index_path, R_OK), 0);
	close(fd);
	nbddev_fini(&d);
}

/* The kernel did not see the death yet: it does not take the socket, and we see the end of it. */
static void too_early(void **state)
{
	struct nbddev d = begin();
	int first = -1;
	int fd = -1;
	char c;

	assert_int_equal(attach(&d, &first), 0);
	wait_for_file("scheduler", "none");
	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
	kernel.device[0].socket_dead = true;
	assert_int_equal(attach(&d, &fd), 0);
	assert_true(is_talking(fd, kernel.device[0].fd));
	close(fd);
	close(first);
	nbddev_fini(&d);
}

static void others_devices_are_left_alone(void **state)
{
	struct nbddev d = begin();
	int fd = -1;

	kernel.device[0].connected = true;
	strcpy(kernel.device[0].id, "romulus-disk:web2");
	make_sysfs(FIRST, "romulus-disk:web2\n");
	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(d.index, FIRST + 1);
	close(fd);
	nbddev_fini(&d);
}

static void disconnected_by_others(void **state)
{
	struct nbddev d = begin();
	int fd = -1;

	assert_int_equal(attach(&d, &fd), 0);
	wait_for_file("scheduler", "none");
	close(fd);
	do_disconnect(&kernel.device[0]);
	assert_int_equal(attach(&d, &fd), -ENOTCONN);
	nbddev_gone(&d);
	assert_int_equal(d.index, -1);
	assert_int_equal(access(index_path, F_OK), -1);
	nbddev_fini(&d);
}

static void let_go(void **state)
{
	struct nbddev d = begin();
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(attach(&d, &fd), 0);
	wait_for_file("scheduler", "none");
	assert_int_equal(nbddev_let_go(&d, &e), 0);
	assert_int_equal(kernel.device[0].client_flags, NBD_CFLAG_DISCONNECT_ON_CLOSE);
	assert_true(kernel.device[0].connected);
	assert_true(is_talking(fd, kernel.device[0].fd)); /* its socket stays */
	/* A further connection does not take that back. */
	close(fd);
	kernel.device[0].socket_dead = true;
	assert_int_equal(attach(&d, &fd), 0);
	assert_int_equal(kernel.device[0].client_flags, NBD_CFLAG_DISCONNECT_ON_CLOSE);
	close(fd);
	nbddev_fini(&d);
}

/* Nobody could find it: it must not stay. */
static void no_room_for_the_runtime_file(void **state)
{
	struct nbddev d = begin();
	int fd = -1;

	d.conf.index_path = "/nonexistent/web.nbd";
	assert_int_equal(attach(&d, &fd), -ENOENT);
	assert_int_equal(d.index, -1);
	assert_false(kernel.device[0].connected);
	nbddev_fini(&d);
}

static void errors(void **state)
{
	struct nbddev d = begin();
	struct err e = ERR_INIT;
	bool connected;
	int fd = -1;

	kernel.error = EPERM;
	assert_int_equal(attach(&d, &fd), -EPERM);
	assert_int_equal(nbdnl_disconnect(d.nl, FIRST, &e), -EPERM);
	assert_int_equal(nbdnl_is_connected(d.nl, FIRST, &connected, &e), -EPERM);
	kernel.error = 0;
	kernel.no_index = true;
	assert_int_equal(attach(&d, &fd), -EBADMSG);
	kernel.no_index = false;
	do_disconnect(&kernel.device[0]);
	kernel.silent = true;
	assert_int_equal(nbdnl_is_connected(d.nl, FIRST, &connected, &e), -ETIMEDOUT);
	nlmsg_free(kernel.reply);
	kernel.reply = NULL;
	kernel.silent = false;
	assert_int_equal(nbdnl_is_connected(d.nl, FIRST, &connected, &e), 0);
	assert_false(connected);
	/* It is there, but the kernel cannot now: no reason to make another one. */
	unlink(index_path);
	make_sysfs(FIRST, d.id);
	kernel.device[0].connected = true;
	kernel.error = ENOMEM;
	assert_int_equal(attach(&d, &fd), -ENOMEM);
	assert_false(kernel.device[1].connected);
	nbddev_fini(&d);
}

static void on_dead(void *arg, int index)
{
	*(int *)arg = index;
}

static void hearing(void **state)
{
	struct nbddev d = begin();
	int heard = -1;

	nbdnl_hear(d.nl, on_dead, &heard);
	assert_int_equal(heard, -1);
	kernel.dead_index = FIRST + 2;
	nbdnl_hear(d.nl, on_dead, &heard);
	assert_int_equal(heard, FIRST + 2);
	nbddev_fini(&d);
}

static void no_module(void **state)
{
	struct nbdnl *n = NULL;
	struct err e = ERR_INIT;

	kernel.no_module = true;
	assert_int_equal(nbdnl_open(&n, &e), -ENOENT);
	assert_non_null(strstr(e.text, "modprobe nbd"));
	kernel.no_module = false;
	mem_fail_after(0);
	assert_int_equal(nbdnl_open(&n, &e), -ENOMEM);
	mem_fail_after(MEM_NEVER);
	assert_null(n);
}

static void sysfs(void **state)
{
	struct err e = ERR_INIT;

	make_sysfs(17, "a\n");
	make_sysfs(4, "b\n");
	assert_int_equal(nbdsys_find(kernel.dir, "a"), 17);
	assert_int_equal(nbdsys_find(kernel.dir, "b"), 4);
	assert_int_equal(nbdsys_find(kernel.dir, "c"), -ENOENT);
	assert_int_equal(nbdsys_find("/nonexistent", "a"), -ENOENT);
	assert_int_equal(nbdsys_tune(kernel.dir, 99, &e), -ENOENT);
	assert_int_equal(nbdsys_touch(FIRST, &e), -ENOENT);
}

#define WITH_KERNEL(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KERNEL(a_device_is_made),
		WITH_KERNEL(a_device_is_taken_over),
		WITH_KERNEL(too_early),
		WITH_KERNEL(others_devices_are_left_alone),
		WITH_KERNEL(disconnected_by_others),
		WITH_KERNEL(let_go),
		WITH_KERNEL(no_room_for_the_runtime_file),
		WITH_KERNEL(errors),
		WITH_KERNEL(hearing),
		WITH_KERNEL(no_module),
		WITH_KERNEL(sysfs),
	};

	log_set_fd(-1);
	return RUN_TESTS("nbd_device", tests);
}
