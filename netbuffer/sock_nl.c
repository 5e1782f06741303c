/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Routing netlink: see sock_nl.h.
 */
#include "netbuffer/sock_nl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>
#include <netlink/socket.h>

#include "lib/err.h"

#define RECEIVE_BYTES (256 * 1024)
/* Messages in one call of sock_nl_hear(): others shall have their turn. */
#define HEAR_MAX 256

int sock_nl_errno(int r)
{
	if (r >= 0)
		return 0;
	switch (-r) {
	case NLE_EXIST:
		return -EEXIST;
	case NLE_OBJ_NOTFOUND:
		return -ENOENT;
	case NLE_NODEV:
		return -ENODEV;
	case NLE_PERM:
		return -EPERM;
	case NLE_NOACCESS:
		return -EACCES;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_INVAL:
		return -EINVAL;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	case NLE_RANGE:
		return -ERANGE;
	case NLE_BUSY:
		return -EBUSY;
	case NLE_AGAIN:
		return -ETIMEDOUT;
	case NLE_INTR:
	case NLE_DUMP_INTR:
		return -EINTR;
	default:
		return -EIO;
	}
}

static struct nl_sock *connected(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (sk && nl_connect(sk, NETLINK_ROUTE) < 0) {
		nl_socket_free(sk);
		sk = NULL;
	}
	return sk;
}

struct nl_sock *sock_nl_get(struct sock_nl *s)
{
	struct timeval tv = {
		.tv_sec = s->timeout_ms / 1000,
		.tv_usec = (suseconds_t)(s->timeout_ms % 1000) * 1000,
	};

	if (s->sk)
		return s->sk;
	s->sk = connected();
	if (s->sk &&
	    setsockopt(nl_socket_get_fd(s->sk), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0)
		sock_nl_close(s);
	return s->sk;
}

int sock_nl_open(struct sock_nl *s, unsigned int timeout_ms, struct err *e)
{
	s->sk = NULL;
	s->timeout_ms = timeout_ms;
	return sock_nl_get(s) ? 0 : err_set(e, -errno, "open a routing netlink socket");
}

void sock_nl_close(struct sock_nl *s)
{
	if (s->sk)
		nl_socket_free(s->sk);
	s->sk = NULL;
}

int sock_nl_done(struct sock_nl *s, int r)
{
	int rc = sock_nl_errno(r);

	/* What was not read yet would be taken for the answer to the next question. */
	if (rc == -ETIMEDOUT || rc == -EIO || rc == -EINTR)
		sock_nl_close(s);
	return rc;
}

/* ---- qdiscs --------------------------------------------------------------- */

struct rtnl_qdisc *sock_nl_qdisc(unsigned int ifindex, uint32_t parent, uint32_t handle,
				 const char *kind)
{
	struct rtnl_qdisc *q = rtnl_qdisc_alloc();

	if (!q)
		return NULL;
	rtnl_tc_set_ifindex(TC_CAST(q), (int)ifindex);
	rtnl_tc_set_parent(TC_CAST(q), parent);
	rtnl_tc_set_handle(TC_CAST(q), handle);
	if (rtnl_tc_set_kind(TC_CAST(q), kind) < 0) {
		rtnl_qdisc_put(q);
		return NULL;
	}
	return q;
}

int sock_nl_qdisc_send_take(struct sock_nl *s, struct rtnl_qdisc *q, int flags)
{
	struct nl_sock *sk = sock_nl_get(s);
	int rc = -ENOMEM;

	if (q && sk)
		rc = sock_nl_done(s, rtnl_qdisc_add(sk, q, flags));
	if (q)
		rtnl_qdisc_put(q);
	return rc;
}

/* ---- the queues of a prio ------------------------------------------------ */

static void read_stats(struct nlattr *stats2, struct lane_stats *out)
{
	struct nlattr *tb[TCA_STATS_MAX + 1];
	struct gnet_stats_basic basic;
	struct gnet_stats_queue queue;

	if (nla_parse_nested(tb, TCA_STATS_MAX, stats2, NULL) < 0)
		return;
	if (tb[TCA_STATS_BASIC] && nla_memcpy(&basic, tb[TCA_STATS_BASIC], sizeof(basic)) >=
					   (int)offsetof(struct gnet_stats_basic, packets) + 4)
		out->released = basic.packets;
	if (tb[TCA_STATS_QUEUE] &&
	    nla_memcpy(&queue, tb[TCA_STATS_QUEUE], sizeof(queue)) == (int)sizeof(queue)) {
		out->frames = queue.qlen;
		out->bytes = queue.backlog;
		out->dropped = queue.drops;
	}
}

static int on_class(struct nl_msg *msg, void *arg)
{
	struct sock_nl_lanes *out = arg;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct nlattr *tb[TCA_MAX + 1];
	const struct tcmsg *tcm;
	unsigned int lane;

	if (h->nlmsg_type != RTM_NEWTCLASS || nlmsg_parse(h, sizeof(*tcm), tb, TCA_MAX, NULL) < 0)
		return NL_SKIP;
	tcm = nlmsg_data(h);
	lane = TC_H_MIN(tcm->tcm_handle) - 1;
	out->n++;
	if (lane >= LANES)
		return NL_OK;
	out->leaf[lane] = tcm->tcm_info;
	if (tb[TCA_STATS2])
		read_stats(tb[TCA_STATS2], &out->stats[lane]);
	return NL_OK;
}

static int receive(struct nl_sock *sk, nl_recvmsg_msg_cb_t fn, void *arg)
{
	struct nl_cb *plain = nl_socket_get_cb(sk);
	struct nl_cb *cb = plain ? nl_cb_clone(plain) : NULL;
	int r = -NLE_NOMEM;

	if (cb) {
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, fn, arg);
		r = nl_recvmsgs(sk, cb);
	}
	nl_cb_put(cb);
	nl_cb_put(plain);
	return r;
}

int sock_nl_lanes(struct sock_nl *s, unsigned int ifindex, uint32_t handle,
		  struct sock_nl_lanes *out)
{
	struct nl_sock *sk = sock_nl_get(s);
	struct tcmsg tcm;
	int r;

	memset(out, 0, sizeof(*out));
	if (!sk)
		return -ENOBUFS;
	memset(&tcm, 0, sizeof(tcm));
	tcm.tcm_family = AF_UNSPEC;
	tcm.tcm_ifindex = (int)ifindex;
	tcm.tcm_parent = handle;
	r = nl_send_simple(sk, RTM_GETTCLASS, NLM_F_DUMP, &tcm, sizeof(tcm));
	if (r >= 0)
		r = receive(sk, on_class, out);
	return sock_nl_done(s, r);
}

/* ---- listening ----------------------------------------------------------- */

struct hearing {
	sock_nl_lost_fn *fn;
	void *arg;
};

static int on_lost(struct nl_msg *msg, void *arg)
{
	struct hearing *hear = arg;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	const struct tcmsg *tcm = nlmsg_data(h);
	const struct ifinfomsg *ifi = nlmsg_data(h);

	switch (h->nlmsg_type) {
	case RTM_DELQDISC:
	case RTM_DELTFILTER:
		if (nlmsg_valid_hdr(h, sizeof(*tcm)) && tcm->tcm_ifindex > 0)
			hear->fn(hear->arg, (unsigned int)tcm->tcm_ifindex);
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		if (nlmsg_valid_hdr(h, sizeof(*ifi)) && ifi->ifi_index > 0)
			hear->fn(hear->arg, (unsigned int)ifi->ifi_index);
		break;
	default:
		break;
	}
	return NL_OK;
}

/*
 * Each change of a queue is announced, ours 40 times a second and those of other VMs' workers
 * too; let the kernel drop all that is no loss.
 */
static int only_losses(int fd)
{
#define WANTED(type, jump) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(type), jump, 0)
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		WANTED(RTM_DELQDISC, 4),
		WANTED(RTM_DELTFILTER, 3),
		WANTED(RTM_NEWLINK, 2),
		WANTED(RTM_DELLINK, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
#undef WANTED
	struct sock_fprog prog = {.len = ARRAY_SIZE(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

int sock_nl_listen(struct nl_sock **out, struct err *e)
{
	struct nl_sock *sk = connected();
	int rc;

	if (!sk)
		return err_set(e, -errno, "open a routing netlink socket");
	nl_socket_disable_seq_check(sk);
	rc = only_losses(nl_socket_get_fd(sk));
	if (rc == 0)
		rc = sock_nl_errno(nl_socket_set_nonblocking(sk));
	if (rc == 0)
		rc = sock_nl_errno(nl_socket_set_buffer_size(sk, RECEIVE_BYTES, 0));
	if (rc == 0)
		rc = sock_nl_errno(nl_socket_add_memberships(sk, RTNLGRP_TC, RTNLGRP_LINK, 0));
	if (rc < 0) {
		nl_socket_free(sk);
		return err_set(e, rc, "listen to changes of network devices");
	}
	*out = sk;
	return 0;
}

void sock_nl_hear(struct nl_sock *sk, sock_nl_lost_fn *fn, void *arg)
{
	struct hearing hear = {.fn = fn, .arg = arg};

	for (unsigned int i = 0; i < HEAR_MAX; i++) {
		int r = receive(sk, on_lost, &hear);

		if (r == -NLE_AGAIN)
			return;
		if (r < 0)
			fn(arg, 0); /* messages were lost, or make no sense */
	}
}
