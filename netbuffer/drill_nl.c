/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_nl.h. */
#include "netbuffer/drill_nl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <netlink/addr.h>
#include <netlink/route/act/gact.h>
#include <netlink/route/action.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/matchall.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>

#include "lib/cleanup.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "netbuffer/sock_nl.h"

#define TIMEOUT_MS 5000
#define ALIAS "romulus drill of "
#define INGRESS TC_HANDLE(0xffff, 0)
#define PATH_SIZE 96

static void named(const char *prefix, const char *vm, char name[DRILL_NL_NAME_SIZE])
{
	snprintf(name, DRILL_NL_NAME_SIZE, "%s-%08x", prefix,
		 (unsigned int)digest_of(vm, strlen(vm)));
}

void drill_nl_bridge(const char *vm, char name[DRILL_NL_NAME_SIZE])
{
	named("rmd", vm, name);
}

/* ---- words in files --------------------------------------------------------- */

static int write_word(const char *path, const char *word, struct err *e)
{
	autofd fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, word, strlen(word)) != (ssize_t)strlen(word))
		return err_set(e, -errno, "write %s", path);
	return 0;
}

static int mark(const char *bridge, const char *vm, struct err *e)
{
	char path[PATH_SIZE];
	char alias[PATH_SIZE];

	snprintf(path, sizeof(path), "/sys/class/net/%s/ifalias", bridge);
	snprintf(alias, sizeof(alias), ALIAS "%s", vm);
	return write_word(path, alias, e);
}

/* A host that knows no IPv6 has no such file. */
static int no_ipv6(const char *dev, struct err *e)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", dev);
	return access(path, F_OK) == 0 ? write_word(path, "1", e) : 0;
}

/* ---- links -------------------------------------------------------------------- */

static int link_send_take(struct sock_nl *s, struct rtnl_link *link, int flags)
{
	struct nl_sock *sk = sock_nl_get(s);
	int rc = -ENOMEM;

	if (link && sk)
		rc = sock_nl_done(s, rtnl_link_add(sk, link, flags));
	rtnl_link_put(link);
	return rc;
}

static struct rtnl_link *link_of_type(const char *name, const char *type)
{
	struct rtnl_link *link = rtnl_link_alloc();

	if (link && type && rtnl_link_set_type(link, type) < 0) {
		rtnl_link_put(link);
		return NULL;
	}
	if (link)
		rtnl_link_set_name(link, name);
	return link;
}

static int link_up(struct sock_nl *s, const char *name, const char *type)
{
	struct rtnl_link *link = link_of_type(name, type);

	if (link)
		rtnl_link_set_flags(link, IFF_UP);
	return link_send_take(s, link, 0);
}

/* An address of its own, not that of its lowest port, which may be anybody's. */
static int bridge_add(struct sock_nl *s, const char *name)
{
	struct rtnl_link *link = link_of_type(name, "bridge");
	struct nl_addr *addr;
	uint8_t mac[6];

	if (getrandom(mac, sizeof(mac), 0) != sizeof(mac)) {
		rtnl_link_put(link);
		return -errno;
	}
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
	addr = nl_addr_build(AF_LLC, mac, sizeof(mac));
	if (link && addr)
		rtnl_link_set_addr(link, addr);
	nl_addr_put(addr);
	return link_send_take(s, link, NLM_F_CREATE | NLM_F_EXCL);
}

static int pair_add(struct sock_nl *s, const char *port, const char *bridge, int ns_fd)
{
	struct rtnl_link *link = rtnl_link_veth_alloc();
	struct rtnl_link *peer = link ? rtnl_link_veth_get_peer(link) : NULL;

	if (peer) {
		rtnl_link_set_name(link, port);
		rtnl_link_set_master(link, (int)if_nametoindex(bridge));
		rtnl_link_set_name(peer, DRILL_NL_INSIDE);
		rtnl_link_set_ns_fd(peer, ns_fd);
	} else {
		rtnl_link_put(link);
		link = NULL;
	}
	rtnl_link_put(peer);
	return link_send_take(s, link, NLM_F_CREATE | NLM_F_EXCL);
}

static int link_remove(struct sock_nl *s, const char *name, const char *kind, struct err *e)
{
	struct nl_sock *sk = sock_nl_get(s);
	struct rtnl_link *link = NULL;
	const char *type;
	int rc = -ENOMEM;

	if (!if_nametoindex(name))
		return 0;
	if (sk)
		rc = sock_nl_done(s, rtnl_link_get_kernel(sk, 0, name, &link));
	if (rc < 0)
		return rc == -ENODEV || rc == -ENOENT ? 0
						      : err_set(e, rc, "look at device %s", name);
	type = rtnl_link_get_type(link);
	if (!type || strcmp(type, kind) != 0) {
		rtnl_link_put(link);
		return err_setx(e, -EEXIST, "device %s is in the way: it is no %s", name, kind);
	}
	rc = sock_nl_done(s, rtnl_link_delete(sk, link));
	rtnl_link_put(link);
	return rc < 0 && rc != -ENODEV ? err_set(e, rc, "remove device %s", name) : 0;
}

/* ---- nothing gets in ---------------------------------------------------------- */

static int drop_action(struct rtnl_cls *c)
{
	struct rtnl_act *drop = rtnl_act_alloc();
	int r = -NLE_NOMEM;

	if (drop)
		r = rtnl_tc_set_kind(TC_CAST(drop), "gact");
	if (r >= 0)
		r = rtnl_gact_set_action(drop, TC_ACT_SHOT);
	if (r >= 0)
		r = rtnl_mall_append_action(c, drop);
	rtnl_act_put(drop);
	return r;
}

static int deafen(struct sock_nl *s, const char *bridge)
{
	unsigned int ifindex = if_nametoindex(bridge);
	struct rtnl_cls *c = rtnl_cls_alloc();
	struct nl_sock *sk;
	int r = -NLE_NOMEM;
	int rc;

	rc = sock_nl_qdisc_send_take(s, sock_nl_qdisc(ifindex, TC_H_INGRESS, INGRESS, "ingress"),
				     NLM_F_CREATE | NLM_F_EXCL);
	sk = sock_nl_get(s);
	if (c && sk && rc == 0) {
		rtnl_tc_set_ifindex(TC_CAST(c), (int)ifindex);
		rtnl_tc_set_parent(TC_CAST(c), INGRESS);
		rtnl_cls_set_prio(c, 1);
		rtnl_cls_set_protocol(c, ETH_P_ALL);
		r = rtnl_tc_set_kind(TC_CAST(c), "matchall");
		if (r >= 0)
			r = drop_action(c);
		if (r >= 0)
			r = rtnl_cls_add(sk, c, NLM_F_CREATE | NLM_F_EXCL);
		rc = sock_nl_done(s, r);
	} else if (rc == 0) {
		rc = -ENOMEM;
	}
	if (c)
		rtnl_cls_put(c);
	return rc;
}

/* ---- all of it ------------------------------------------------------------------ */

static int remove_all(struct sock_nl *s, const char *vm, struct err *e)
{
	char bridge[DRILL_NL_NAME_SIZE];
	char port[DRILL_NL_NAME_SIZE];
	int rc;

	named("rmd", vm, bridge);
	named("rmp", vm, port);
	rc = link_remove(s, port, "veth", e);
	return rc < 0 ? rc : link_remove(s, bridge, "bridge", e);
}

/* It goes up when nothing of this host listens at it any more. */
static int make_all(struct sock_nl *s, const char *vm, int ns_fd, struct err *e)
{
	char bridge[DRILL_NL_NAME_SIZE];
	char port[DRILL_NL_NAME_SIZE];
	int rc;

	named("rmd", vm, bridge);
	named("rmp", vm, port);
	rc = bridge_add(s, bridge);
	if (rc < 0)
		return err_set(e, rc, "make bridge %s", bridge);
	rc = mark(bridge, vm, e);
	if (rc == 0)
		rc = no_ipv6(bridge, e);
	if (rc < 0)
		return rc;
	rc = deafen(s, bridge);
	if (rc < 0)
		return err_set(e, rc,
			       "let bridge %s drop what arrives at it (act_gact, cls_matchall)",
			       bridge);
	rc = pair_add(s, port, bridge, ns_fd);
	if (rc < 0)
		return err_set(e, rc, "make pair %s (module veth)", port);
	rc = no_ipv6(port, e);
	if (rc < 0)
		return rc;
	rc = link_up(s, bridge, "bridge");
	if (rc == 0)
		rc = link_up(s, port, NULL);
	return rc < 0 ? err_set(e, rc, "let %s go up", bridge) : 0;
}

int drill_nl_make(const char *vm, int ns_fd, struct err *e)
{
	struct err ignored = ERR_INIT;
	struct sock_nl s;
	int rc = sock_nl_open(&s, TIMEOUT_MS, e);

	if (rc < 0)
		return rc;
	rc = remove_all(&s, vm, e);
	if (rc == 0) {
		rc = make_all(&s, vm, ns_fd, e);
		if (rc < 0)
			(void)!remove_all(&s, vm, &ignored);
	}
	sock_nl_close(&s);
	return rc;
}

int drill_nl_up_inside(struct err *e)
{
	struct sock_nl s;
	int rc = sock_nl_open(&s, TIMEOUT_MS, e);

	if (rc < 0)
		return rc;
	rc = link_up(&s, "lo", NULL);
	if (rc == 0)
		rc = link_up(&s, DRILL_NL_INSIDE, NULL);
	sock_nl_close(&s);
	return rc < 0 ? err_set(e, rc, "let %s go up", DRILL_NL_INSIDE) : 0;
}

int drill_nl_remove(const char *vm, struct err *e)
{
	struct sock_nl s;
	int rc = sock_nl_open(&s, TIMEOUT_MS, e);

	if (rc < 0)
		return rc;
	rc = remove_all(&s, vm, e);
	sock_nl_close(&s);
	return rc;
}
