/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nbd_nl.h. */
#include "disk/nbd_nl.h"

#include <errno.h>
#include <linux/nbd-netlink.h>
#include <linux/nbd.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "lib/err.h"
#include "lib/mem.h"

#define ANSWER_TIMEOUT_S 5
/* Messages in one nbdnl_hear(): others shall have their turn. */
#define HEAR_MAX 64

struct nbdnl {
	struct nl_sock *ask;  /* requests and their answers */
	struct nl_sock *hear; /* the group, not blocking */
	int family;
};

/* ---- opening ---- */

static int open_ask(struct nbdnl *n, struct err *e)
{
	struct timeval tv = {.tv_sec = ANSWER_TIMEOUT_S};

	n->ask = nl_socket_alloc();
	if (!n->ask || genl_connect(n->ask) < 0)
		return err_set(e, -ENOBUFS, "open a generic netlink socket");
	if (setsockopt(nl_socket_get_fd(n->ask), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0)
		return err_set(e, -errno, "set up a netlink socket");
	n->family = genl_ctrl_resolve(n->ask, NBD_GENL_FAMILY_NAME);
	if (n->family < 0)
		return err_setx(
			e, -ENOENT,
			"the kernel's nbd is not there: modprobe nbd max_part=0 nbds_max=0");
	return 0;
}

static int open_hear(struct nbdnl *n, struct err *e)
{
	int group = genl_ctrl_resolve_grp(n->ask, NBD_GENL_FAMILY_NAME, NBD_GENL_MCAST_GROUP_NAME);

	n->hear = nl_socket_alloc();
	if (group < 0 || !n->hear)
		return err_set(e, -ENOBUFS, "listen to the kernel's nbd");
	nl_socket_disable_seq_check(n->hear);
	if (genl_connect(n->hear) < 0 || nl_socket_set_nonblocking(n->hear) < 0 ||
	    nl_socket_add_membership(n->hear, group) < 0)
		return err_set(e, -ENOBUFS, "listen to the kernel's nbd");
	return 0;
}

int nbdnl_open(struct nbdnl **out, struct err *e)
{
	struct nbdnl *n = mem_zalloc(sizeof(*n));
	int rc;

	if (!n)
		return err_set(e, -ENOMEM, "kernel nbd");
	rc = open_ask(n, e);
	if (!rc)
		rc = open_hear(n, e);
	if (rc < 0)
		nbdnl_free(n);
	else
		*out = n;
	return rc;
}

void nbdnl_free(struct nbdnl *n)
{
	if (!n)
		return;
	nl_socket_free(n->ask);
	nl_socket_free(n->hear);
	mem_free(n);
}

/* ---- a question and its answer ---- */

struct answer {
	bool done;
	int rc;
	int index;     /* -1: it has none */
	int connected; /* of that index; -1: it does not say */
};

/* There is one, as we ask for one. */
static void parse_devices(struct nlattr *list, struct answer *a)
{
	struct nla_policy list_policy[NBD_DEVICE_ITEM_MAX + 1] = {
		[NBD_DEVICE_ITEM] = {.type = NLA_NESTED},
	};
	struct nlattr *items[NBD_DEVICE_ITEM_MAX + 1];
	struct nla_policy policy[NBD_DEVICE_ATTR_MAX + 1] = {
		[NBD_DEVICE_INDEX] = {.type = NLA_U32},
		[NBD_DEVICE_CONNECTED] = {.type = NLA_U8},
	};
	struct nlattr *tb[NBD_DEVICE_ATTR_MAX + 1];

	if (nla_parse_nested(items, NBD_DEVICE_ITEM_MAX, list, list_policy) < 0 ||
	    !items[NBD_DEVICE_ITEM] ||
	    nla_parse_nested(tb, NBD_DEVICE_ATTR_MAX, items[NBD_DEVICE_ITEM], policy) < 0 ||
	    !tb[NBD_DEVICE_INDEX] || !tb[NBD_DEVICE_CONNECTED])
		return;
	a->index = (int)nla_get_u32(tb[NBD_DEVICE_INDEX]);
	a->connected = nla_get_u8(tb[NBD_DEVICE_CONNECTED]);
}

static int on_answer(struct nl_msg *msg, void *arg)
{
	struct nla_policy policy[NBD_ATTR_MAX + 1] = {
		[NBD_ATTR_INDEX] = {.type = NLA_U32},
		[NBD_ATTR_DEVICE_LIST] = {.type = NLA_NESTED},
	};
	struct nlattr *tb[NBD_ATTR_MAX + 1];
	struct answer *a = arg;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, tb, NBD_ATTR_MAX, policy) < 0)
		return NL_SKIP;
	if (tb[NBD_ATTR_INDEX])
		a->index = (int)nla_get_u32(tb[NBD_ATTR_INDEX]);
	if (tb[NBD_ATTR_DEVICE_LIST])
		parse_devices(tb[NBD_ATTR_DEVICE_LIST], a);
	return NL_OK;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	a->done = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	struct answer *a = arg;

	a->done = true;
	a->rc = error->error < 0 ? error->error : -EIO;
	return NL_STOP;
}

static struct nl_cb *callbacks(struct nl_sock *sk)
{
	struct nl_cb *plain = nl_socket_get_cb(sk);
	struct nl_cb *cb = plain ? nl_cb_clone(plain) : NULL;

	nl_cb_put(plain);
	return cb;
}

/* Sends msg, which is freed, and waits for the answer. -ENOMEM when it is NULL. */
static int ask_take(struct nbdnl *n, struct nl_msg *msg, struct answer *a)
{
	struct nl_cb *cb = msg ? callbacks(n->ask) : NULL;
	int r = cb ? nl_send_auto(n->ask, msg) : -NLE_NOMEM;

	*a = (struct answer){.index = -1, .connected = -1};
	if (r >= 0) {
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_answer, a);
		nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, a);
		nl_cb_err(cb, NL_CB_CUSTOM, on_error, a);
	}
	while (r >= 0 && !a->done)
		r = nl_recvmsgs(n->ask, cb);
	nl_cb_put(cb);
	nlmsg_free(msg);
	if (a->done)
		return a->rc;
	if (r == -NLE_NOMEM)
		return -ENOMEM;
	/* What was not read yet would be taken for the answer to the next question. */
	nl_close(n->ask);
	return genl_connect(n->ask) == 0 && r == -NLE_AGAIN ? -ETIMEDOUT : -EIO;
}

static struct nl_msg *begin(const struct nbdnl *n, uint8_t cmd, int index)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg &&
	    genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, n->family, 0, NLM_F_REQUEST | NLM_F_ACK,
			cmd, NBD_GENL_VERSION) &&
	    (index < 0 || nla_put_u32(msg, NBD_ATTR_INDEX, (uint32_t)index) == 0))
		return msg;
	nlmsg_free(msg);
	return NULL;
}

/* The one socket of a device. */
static int put_socket(struct nl_msg *msg, int fd)
{
	struct nlattr *list = nla_nest_start(msg, NBD_ATTR_SOCKETS);
	struct nlattr *item = list ? nla_nest_start(msg, NBD_SOCK_ITEM) : NULL;

	if (!item || nla_put_u32(msg, NBD_SOCK_FD, (uint32_t)fd) < 0)
		return -ENOMEM;
	nla_nest_end(msg, item);
	nla_nest_end(msg, list);
	return 0;
}

/* ---- what can be asked ---- */

int nbdnl_connect(struct nbdnl *n, const struct nbdnl_device *d, int fd, int *index, struct err *e)
{
	const uint64_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
			       NBD_FLAG_SEND_TRIM;
	struct nl_msg *msg = begin(n, NBD_CMD_CONNECT, *index);
	struct answer a;
	int rc;

	/* A message has a page: all of this fits. */
	if (msg && (nla_put_u64(msg, NBD_ATTR_SIZE_BYTES, d->size) < 0 ||
		    nla_put_u64(msg, NBD_ATTR_BLOCK_SIZE_BYTES, d->block) < 0 ||
		    nla_put_u64(msg, NBD_ATTR_TIMEOUT, NBDNL_TIMEOUT_S) < 0 ||
		    nla_put_u64(msg, NBD_ATTR_DEAD_CONN_TIMEOUT, NBDNL_DEAD_CONN_S) < 0 ||
		    nla_put_u64(msg, NBD_ATTR_SERVER_FLAGS, flags) < 0 ||
		    nla_put_u64(msg, NBD_ATTR_CLIENT_FLAGS, 0) < 0 || put_socket(msg, fd) < 0 ||
		    nla_put_string(msg, NBD_ATTR_BACKEND_IDENTIFIER, d->id) < 0)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	rc = ask_take(n, msg, &a);
	if (!rc && a.index < 0)
		rc = -EBADMSG;
	if (rc < 0)
		return err_set(e, rc, "connect a kernel nbd device");
	*index = a.index;
	return 0;
}

int nbdnl_reconfigure(struct nbdnl *n, int index, const char *id, int fd, bool close_ends,
		      struct err *e)
{
	struct nl_msg *msg = begin(n, NBD_CMD_RECONFIGURE, index);
	struct answer a;
	int rc;

	if (msg && (nla_put_string(msg, NBD_ATTR_BACKEND_IDENTIFIER, id) < 0 ||
		    nla_put_u64(msg, NBD_ATTR_CLIENT_FLAGS,
				close_ends ? NBD_CFLAG_DISCONNECT_ON_CLOSE : 0) < 0 ||
		    (fd >= 0 && put_socket(msg, fd) < 0))) {
		nlmsg_free(msg);
		msg = NULL;
	}
	rc = ask_take(n, msg, &a);
	return rc < 0 ? err_set(e, rc, "reconfigure /dev/nbd%d", index) : 0;
}

int nbdnl_disconnect(struct nbdnl *n, int index, struct err *e)
{
	struct answer a;
	int rc = ask_take(n, begin(n, NBD_CMD_DISCONNECT, index), &a);

	return rc < 0 ? err_set(e, rc, "disconnect /dev/nbd%d", index) : 0;
}

int nbdnl_is_connected(struct nbdnl *n, int index, bool *connected, struct err *e)
{
	struct answer a;
	int rc = ask_take(n, begin(n, NBD_CMD_STATUS, index), &a);

	if (rc < 0)
		return err_set(e, rc, "status of /dev/nbd%d", index);
	*connected = a.index == index && a.connected == 1;
	return 0;
}

/* ---- hearing ---- */

struct hearing {
	nbdnl_dead_fn *fn;
	void *arg;
};

static int on_heard(struct nl_msg *msg, void *arg)
{
	struct nla_policy policy[NBD_ATTR_MAX + 1] = {[NBD_ATTR_INDEX] = {.type = NLA_U32}};
	struct nlattr *tb[NBD_ATTR_MAX + 1];
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct hearing *hear = arg;

	if (genlmsg_parse(h, 0, tb, NBD_ATTR_MAX, policy) < 0)
		return NL_SKIP;
	if (genlmsg_hdr(h)->cmd == NBD_CMD_LINK_DEAD && tb[NBD_ATTR_INDEX])
		hear->fn(hear->arg, (int)nla_get_u32(tb[NBD_ATTR_INDEX]));
	return NL_OK;
}

int nbdnl_fd(const struct nbdnl *n)
{
	return nl_socket_get_fd(n->hear);
}

void nbdnl_hear(struct nbdnl *n, nbdnl_dead_fn *fn, void *arg)
{
	struct hearing hear = {.fn = fn, .arg = arg};
	struct nl_cb *cb = callbacks(n->hear);

	if (!cb)
		return;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_heard, &hear);
	/* What was lost when the buffer ran over, the end of our own socket tells as well. */
	for (int i = 0; i < HEAR_MAX; i++) {
		if (nl_recvmsgs(n->hear, cb) == -NLE_AGAIN)
			break;
	}
	nl_cb_put(cb);
}
