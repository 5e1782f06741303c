/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filters of the lanes: see filter_nl.h.
 */
#include "netbuffer/filter_nl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/route/act/gact.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/action.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/matchall.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "netbuffer/build_nl.h"

#define INGRESS TC_HANDLE(0xffff, 0)
/* The redirection must be the first filter; the second place is for replacing it without a gap. */
#define REDIRECT_PRIO 1
#define REDIRECT_PRIO_LAST 2
#define CLASSIFIER_PRIO 1

/* The filters at a place, as a cache to be freed; *cache NULL when there is no such place. */
static int filters_get(struct sock_nl *s, unsigned int ifindex, uint32_t parent,
		       struct nl_cache **cache)
{
	struct nl_sock *sk = sock_nl_get(s);
	int rc;

	*cache = NULL;
	if (!sk)
		return -ENOBUFS;
	rc = sock_nl_done(s, rtnl_cls_alloc_cache(sk, (int)ifindex, parent, cache));
	if (rc == -ENODEV || rc == -ENOENT || rc == -EINVAL)
		return 0;
	return rc;
}

static struct rtnl_cls *filter_new(unsigned int ifindex, uint32_t parent, unsigned int prio,
				   const char *kind)
{
	struct rtnl_cls *c = rtnl_cls_alloc();

	if (!c)
		return NULL;
	rtnl_tc_set_ifindex(TC_CAST(c), (int)ifindex);
	rtnl_tc_set_parent(TC_CAST(c), parent);
	rtnl_cls_set_prio(c, (uint16_t)prio);
	rtnl_cls_set_protocol(c, ETH_P_ALL);
	if (rtnl_tc_set_kind(TC_CAST(c), kind) < 0) {
		rtnl_cls_put(c);
		return NULL;
	}
	return c;
}

/* A missing one is fine. */
static int filter_remove(struct sock_nl *s, unsigned int ifindex, uint32_t parent,
			 unsigned int prio, const char *kind)
{
	struct rtnl_cls *c = filter_new(ifindex, parent, prio, kind);
	struct nl_sock *sk = sock_nl_get(s);
	int rc = -ENOMEM;

	if (c && sk)
		rc = sock_nl_done(s, rtnl_cls_delete(sk, c, 0));
	if (c)
		rtnl_cls_put(c);
	return rc == -ENODEV || rc == -ENOENT || rc == -EINVAL ? 0 : rc;
}

/* libnl knows no cls_bpf. */
static int classifier_add(struct sock_nl *s, const struct vif_nl *v, int prog_fd)
{
	struct nl_sock *sk = sock_nl_get(s);
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL);
	struct nlattr *options;
	struct tcmsg tcm;

	if (!msg || !sk)
		goto fail;
	memset(&tcm, 0, sizeof(tcm));
	tcm.tcm_family = AF_UNSPEC;
	tcm.tcm_ifindex = (int)v->ifb_index;
	tcm.tcm_parent = LANES_NL_PRIO;
	tcm.tcm_info = TC_H_MAKE(CLASSIFIER_PRIO << 16, htons(ETH_P_ALL));
	if (nlmsg_append(msg, &tcm, sizeof(tcm), NLMSG_ALIGNTO) < 0 ||
	    nla_put_string(msg, TCA_KIND, "bpf") < 0)
		goto fail;
	options = nla_nest_start(msg, TCA_OPTIONS);
	if (!options || nla_put_u32(msg, TCA_BPF_FD, (uint32_t)prog_fd) < 0 ||
	    nla_put_string(msg, TCA_BPF_NAME, "romulus_lane") < 0)
		goto fail;
	nla_nest_end(msg, options);
	return sock_nl_done(s, nl_send_sync(sk, msg)); /* frees it */
fail:
	nlmsg_free(msg);
	return -ENOMEM;
}

int filter_nl_has_classifier(struct sock_nl *s, const struct vif_nl *v, bool *has)
{
	struct nl_cache *cache;
	int rc = filters_get(s, v->ifb_index, LANES_NL_PRIO, &cache);

	*has = false;
	if (rc < 0 || !cache)
		return rc;
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		const char *kind = rtnl_tc_get_kind(TC_CAST(o));

		*has = *has || (kind && strcmp(kind, "bpf") == 0);
	}
	nl_cache_free(cache);
	return 0;
}

int filter_nl_classifier_ensure(struct sock_nl *s, const struct vif_nl *v, bool fresh,
				struct err *e)
{
	autofd prog = -1;
	bool has;
	int rc = filter_nl_has_classifier(s, v, &has);

	if (rc == 0 && has && !fresh)
		return 0;
	if (rc == 0 && has)
		rc = filter_remove(s, v->ifb_index, LANES_NL_PRIO, CLASSIFIER_PRIO, "bpf");
	if (rc < 0)
		return err_set(e, rc, "look at the filters of %s", v->ifb);
	rc = lane_switch_load(&v->sw, &prog, e);
	if (rc < 0)
		return rc;
	rc = classifier_add(s, v, prog);
	return rc < 0 ? err_set(e, rc, "put the classifier on %s (module cls_bpf)", v->ifb) : 0;
}

/* Where a filter like ours leads, 0 when that device is gone; -1: it is not like ours. */
static int mirred_target(struct rtnl_cls *c)
{
	struct rtnl_act *a = rtnl_mall_get_first_action(c);
	const char *kind = a ? rtnl_tc_get_kind(TC_CAST(a)) : NULL;
	int target = kind && strcmp(kind, "mirred") == 0 ? (int)rtnl_mirred_get_ifindex(a) : -1;

	if (a)
		rtnl_act_put(a);
	return target;
}

int filter_nl_redirect_look(struct sock_nl *s, const struct vif_nl *v, struct filter_nl_redirect *r)
{
	struct nl_cache *cache;
	int rc = filters_get(s, v->vif_index, INGRESS, &cache);

	memset(r, 0, sizeof(*r));
	if (rc < 0 || !cache)
		return rc;
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		struct rtnl_cls *c = (struct rtnl_cls *)o;
		const char *kind = rtnl_tc_get_kind(TC_CAST(c));
		unsigned int prio = rtnl_cls_get_prio(c);
		int target;

		if (rtnl_tc_get_handle(TC_CAST(c)) == 0)
			continue; /* announces a priority, the filter follows */
		target = kind && strcmp(kind, "matchall") == 0 ? mirred_target(c) : -1;
		r->any = true;
		if (target < 0 || prio > REDIRECT_PRIO_LAST)
			r->foreign = r->foreign ? MIN(r->foreign, prio) : prio;
		else if (v->ifb_index && target == (int)v->ifb_index)
			r->ours = prio;
		else
			r->stale = prio;
	}
	nl_cache_free(cache);
	return 0;
}

static int append_action(struct rtnl_cls *c, struct rtnl_act *a, int r)
{
	if (r >= 0)
		r = rtnl_mall_append_action(c, a);
	rtnl_act_put(a);
	return r;
}

/*
 * Not mirred's own "redirect, stolen": with pipe it clones, and a clone has its data copied out
 * of the guest's pages. Held frames would otherwise pin the guest's transmit ring, and its vif
 * when it is destroyed.
 */
static int add_actions(struct rtnl_cls *c, unsigned int ifb_index)
{
	struct rtnl_act *clone = rtnl_act_alloc();
	struct rtnl_act *drop = rtnl_act_alloc();
	int r = -NLE_NOMEM;

	if (!clone || !drop) {
		rtnl_act_put(clone);
		rtnl_act_put(drop);
		return r;
	}
	r = rtnl_tc_set_kind(TC_CAST(clone), "mirred");
	if (r >= 0)
		r = rtnl_mirred_set_action(clone, TCA_EGRESS_REDIR);
	if (r >= 0)
		r = rtnl_mirred_set_ifindex(clone, ifb_index);
	if (r >= 0)
		r = rtnl_mirred_set_policy(clone, TC_ACT_PIPE);
	r = append_action(c, clone, r);
	if (r >= 0)
		r = rtnl_tc_set_kind(TC_CAST(drop), "gact");
	if (r >= 0)
		r = rtnl_gact_set_action(drop, TC_ACT_STOLEN);
	return append_action(c, drop, r);
}

static int redirect_add(struct sock_nl *s, const struct vif_nl *v, unsigned int prio)
{
	struct rtnl_cls *c = filter_new(v->vif_index, INGRESS, prio, "matchall");
	struct nl_sock *sk = sock_nl_get(s);
	int r = -NLE_NOMEM;

	if (c && sk) {
		r = add_actions(c, v->ifb_index);
		if (r >= 0)
			r = rtnl_cls_add(sk, c, NLM_F_CREATE | NLM_F_EXCL);
	}
	if (c)
		rtnl_cls_put(c);
	return sock_nl_done(s, r);
}

int filter_nl_redirect_ensure(struct sock_nl *s, const struct vif_nl *v, struct err *e)
{
	struct filter_nl_redirect r;
	unsigned int prio = REDIRECT_PRIO;
	int rc;

	rc = sock_nl_qdisc_send_take(s,
				     sock_nl_qdisc(v->vif_index, TC_H_INGRESS, INGRESS, "ingress"),
				     NLM_F_CREATE | NLM_F_EXCL);
	if (rc < 0 && rc != -EEXIST)
		return err_set(e, rc, "put an ingress queue on %s", v->name);
	rc = filter_nl_redirect_look(s, v, &r);
	if (rc < 0)
		return err_set(e, rc, "look at the filters of %s", v->name);
	if (r.foreign && r.foreign <= REDIRECT_PRIO_LAST)
		return err_setx(e, -EEXIST,
				"%s has an ingress filter of priority %u in the way: move it to "
				"priority 3 or later",
				v->name, r.foreign);
	if (!r.ours) {
		if (r.stale == REDIRECT_PRIO)
			prio = REDIRECT_PRIO_LAST;
		rc = redirect_add(s, v, prio);
		if (rc < 0)
			return err_set(e, rc, "redirect %s to %s", v->name, v->ifb);
	}
	if (r.stale)
		rc = filter_remove(s, v->vif_index, INGRESS, r.stale, "matchall");
	return rc < 0 ? err_set(e, rc, "remove the old redirection of %s", v->name) : 0;
}

int filter_nl_redirect_remove(struct sock_nl *s, const struct vif_nl *v, struct err *e)
{
	struct filter_nl_redirect r;
	int rc = filter_nl_redirect_look(s, v, &r);

	if (rc == 0 && r.ours)
		rc = filter_remove(s, v->vif_index, INGRESS, r.ours, "matchall");
	if (rc == 0 && r.stale)
		rc = filter_remove(s, v->vif_index, INGRESS, r.stale, "matchall");
	return rc < 0 ? err_set(e, rc, "remove the redirection of %s", v->name) : 0;
}

int filter_nl_ingress_remove(struct sock_nl *s, const struct vif_nl *v, struct err *e)
{
	struct rtnl_qdisc *q;
	struct nl_sock *sk;
	struct filter_nl_redirect r;
	int rc = filter_nl_redirect_look(s, v, &r);

	if (rc == 0 && !r.any) {
		q = sock_nl_qdisc(v->vif_index, TC_H_INGRESS, INGRESS, "ingress");
		sk = sock_nl_get(s);
		rc = q && sk ? sock_nl_done(s, rtnl_qdisc_delete(sk, q)) : -ENOMEM;
		if (q)
			rtnl_qdisc_put(q);
	}
	if (rc == -ENODEV || rc == -ENOENT || rc == -EINVAL)
		rc = 0;
	return rc < 0 ? err_set(e, rc, "remove the ingress queue of %s", v->name) : 0;
}
