/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lanes of one vif in the kernel: see build_nl.h. Each step leaves alone what is already as
 * it should be, so that making and taking over are the same walk, and one that was interrupted
 * can be walked again.
 */
#include "netbuffer/build_nl.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <time.h>

#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/plug.h>
#include <netlink/route/qdisc/prio.h>
#include <netlink/route/tc.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "netbuffer/filter_nl.h"

#define IFB_TXQUEUELEN 1000 /* its own 32 would stop the queue at each burst */
/* How long detach waits for frames that were let out. */
#define DRAIN_NS UINT64_C(200000000)
#define NAP_NS 1000000L

static void nap(void)
{
	const struct timespec ts = {.tv_nsec = NAP_NS};

	nanosleep(&ts, NULL);
}

/* ---- plugs ---------------------------------------------------------------- */

static struct rtnl_qdisc *plug_new(const struct vif_nl *v, unsigned int lane)
{
	return sock_nl_qdisc(v->ifb_index, LANES_NL_CLASS(lane), LANES_NL_PLUG(lane), "plug");
}

int build_nl_plug(struct sock_nl *s, const struct vif_nl *v, unsigned int lane, enum plug_nl what)
{
	struct rtnl_qdisc *q;

	if (v->ifb_index == 0)
		return -ENODEV;
	q = plug_new(v, lane);
	/* Both only note what to send, and cannot fail on a plug. */
	if (q && what == PLUG_NL_OPEN)
		(void)rtnl_qdisc_plug_release_indefinite(q);
	else if (q)
		(void)rtnl_qdisc_plug_buffer(q);
	return sock_nl_qdisc_send_take(s, q, 0);
}

/* A new one starts closed. */
static int plug_ensure(struct sock_nl *s, const struct vif_nl *v, unsigned int lane, bool is_there,
		       uint32_t bytes)
{
	struct rtnl_qdisc *q = plug_new(v, lane);

	if (q)
		(void)rtnl_qdisc_plug_set_limit(q, (int)bytes);
	return sock_nl_qdisc_send_take(s, q, is_there ? 0 : NLM_F_CREATE | NLM_F_EXCL);
}

int build_nl_limit(struct sock_nl *s, const struct vif_nl *v, unsigned int lane, uint32_t bytes)
{
	if (v->ifb_index == 0)
		return -ENODEV;
	return plug_ensure(s, v, lane, true, bytes);
}

int build_nl_stats(struct sock_nl *s, const struct vif_nl *v, struct lane_stats out[LANES])
{
	struct sock_nl_lanes lanes;
	int rc;

	if (v->ifb_index == 0)
		return -ENODEV;
	rc = sock_nl_lanes(s, v->ifb_index, LANES_NL_PRIO, &lanes);
	if (rc < 0)
		return rc;
	for (unsigned int l = 0; l < LANES; l++)
		if (lanes.n != LANES || lanes.leaf[l] != LANES_NL_PLUG(l))
			return -ENOENT;
	memcpy(out, lanes.stats, sizeof(lanes.stats));
	return 0;
}

/* ---- IFB and its queues ---------------------------------------------------- */

/* *up: it runs. -ENODEV: there is none of that name. */
static int ifb_look(struct sock_nl *s, const char *name, bool *up, struct err *e)
{
	struct nl_sock *sk = sock_nl_get(s);
	struct rtnl_link *link = NULL;
	const char *type;
	int rc;

	if (!sk)
		return err_set(e, -ENOBUFS, "look at device %s", name);
	rc = sock_nl_done(s, rtnl_link_get_kernel(sk, 0, name, &link));
	if (rc < 0)
		return err_set(e, rc == -ENOENT ? -ENODEV : rc, "look at device %s", name);
	type = rtnl_link_get_type(link);
	*up = rtnl_link_get_flags(link) & IFF_UP;
	if (!type || strcmp(type, "ifb") != 0)
		rc = err_setx(e, -EEXIST, "device %s is in the way: it is not an IFB", name);
	rtnl_link_put(link);
	return rc;
}

/* Creates it, or switches it on. */
static int ifb_send(struct sock_nl *s, const struct vif_nl *v, int flags)
{
	struct nl_sock *sk = sock_nl_get(s);
	struct rtnl_link *link = rtnl_link_alloc();
	int r = -NLE_NOMEM;

	if (link && sk) {
		rtnl_link_set_name(link, v->ifb);
		rtnl_link_set_txqlen(link, IFB_TXQUEUELEN);
		rtnl_link_set_flags(link, IFF_UP);
		r = rtnl_link_set_type(link, "ifb");
		if (r >= 0)
			r = rtnl_link_add(sk, link, flags);
	}
	rtnl_link_put(link);
	return sock_nl_done(s, r);
}

static int ifb_ensure(struct sock_nl *s, struct vif_nl *v, struct err *e)
{
	bool up = true;
	int rc = 0;

	if (if_nametoindex(v->ifb) != 0) {
		rc = ifb_look(s, v->ifb, &up, e);
		if (rc < 0)
			return rc;
		if (!up)
			rc = ifb_send(s, v, 0);
	} else {
		rc = ifb_send(s, v, NLM_F_CREATE | NLM_F_EXCL);
	}
	if (rc < 0)
		return err_set(e, rc, "make IFB %s", v->ifb);
	v->ifb_index = if_nametoindex(v->ifb);
	return v->ifb_index ? 0 : err_set(e, -errno, "find IFB %s", v->ifb);
}

/* A missing one is fine. */
static int ifb_remove(struct sock_nl *s, const char *name, struct err *e)
{
	struct rtnl_link *link;
	struct nl_sock *sk;
	bool up;
	int r = -NLE_NOMEM;
	int rc = ifb_look(s, name, &up, e);

	if (rc < 0)
		return rc == -ENODEV ? 0 : rc;
	link = rtnl_link_alloc();
	sk = sock_nl_get(s);
	if (link && sk) {
		rtnl_link_set_name(link, name);
		r = rtnl_link_delete(sk, link);
	}
	rtnl_link_put(link);
	rc = sock_nl_done(s, r);
	return rc < 0 && rc != -ENODEV ? err_set(e, rc, "remove IFB %s", name) : 0;
}

static int prio_add(struct sock_nl *s, const struct vif_nl *v)
{
	struct rtnl_qdisc *q = sock_nl_qdisc(v->ifb_index, TC_H_ROOT, LANES_NL_PRIO, "prio");
	uint8_t map[TC_PRIO_MAX + 1] = {0};

	if (q) {
		rtnl_qdisc_prio_set_bands(q, LANES);
		(void)rtnl_qdisc_prio_set_priomap(q, map, ARRAY_SIZE(map));
	}
	return sock_nl_qdisc_send_take(s, q, NLM_F_CREATE | NLM_F_EXCL);
}

static int lanes_ensure(struct sock_nl *s, const struct vif_nl *v, uint32_t bytes, struct err *e)
{
	struct sock_nl_lanes lanes;
	int rc;

	rc = sock_nl_lanes(s, v->ifb_index, LANES_NL_PRIO, &lanes);
	if (rc == 0 && lanes.n == 0) {
		rc = prio_add(s, v);
		if (rc < 0)
			return err_set(e, rc, "put a prio queue on %s", v->ifb);
	}
	for (unsigned int l = 0; l < LANES && rc == 0; l++)
		rc = plug_ensure(s, v, l, lanes.leaf[l] == LANES_NL_PLUG(l), bytes);
	return rc < 0 ? err_set(e, rc, "put %u plug queues on %s (module sch_plug)", LANES, v->ifb)
		      : 0;
}

/* ---- all of it --------------------------------------------------------------- */

/* Opens the word; *fresh: it is new, else it is the one that this vif had. */
static int word_open(struct sock_nl *s, struct vif_nl *v, bool *fresh, struct err *e)
{
	unsigned int index;
	bool found;
	int rc = lane_switch_open(&v->sw, v->name, &found, e);

	*fresh = !found;
	if (rc < 0 || !found)
		return rc;
	index = atomic_load(&v->sw.word->vif_index);
	if (index == v->vif_index)
		return 0;
	*fresh = true;
	/* Another device of that name had it, which is gone, and so is who sent what is held. */
	lane_switch_close(&v->sw);
	rc = lane_switch_unpin(v->name, e);
	if (rc == 0 && index != 0)
		rc = ifb_remove(s, v->ifb, e);
	return rc < 0 ? rc : lane_switch_open(&v->sw, v->name, &found, e);
}

static int build(struct sock_nl *s, struct vif_nl *v, uint32_t lane_bytes, bool fresh,
		 struct err *e)
{
	bool held = atomic_load(&v->sw.word->held);
	int rc;

	rc = ifb_ensure(s, v, e);
	if (rc == 0)
		rc = lanes_ensure(s, v, lane_bytes, e);
	if (rc == 0)
		rc = filter_nl_classifier_ensure(s, v, fresh, e);
	if (rc < 0)
		return rc;
	if (!held) {
		rc = build_nl_plug(s, v, lane_switch_get(&v->sw), PLUG_NL_OPEN);
		if (rc < 0)
			return err_set(e, rc, "open a lane of %s", v->ifb);
	}
	atomic_store(&v->sw.word->ifb_index, v->ifb_index);
	atomic_store(&v->sw.word->vif_index, v->vif_index);
	return filter_nl_redirect_ensure(s, v, e); /* the last: now it counts */
}

static void undo(struct sock_nl *s, struct vif_nl *v)
{
	struct err e = ERR_INIT;

	if (build_nl_detach(s, v, true, &e) < 0)
		log_warn("%s: left behind by a failed start: %s", v->name, e.text);
}

int build_nl_attach(struct sock_nl *s, struct vif_nl *v, uint32_t lane_bytes,
		    enum lane_found *found, struct err *e)
{
	struct filter_nl_redirect r = {0};
	bool fresh;
	int rc;

	v->suspect = false;
	v->reported = 0;
	v->vif_index = if_nametoindex(v->name);
	if (v->vif_index == 0)
		return err_set(e, -errno, "network device %s", v->name);
	rc = word_open(s, v, &fresh, e);
	if (rc < 0)
		return rc;
	v->ifb_index = if_nametoindex(v->ifb);
	if (v->ifb_index)
		rc = filter_nl_redirect_look(s, v, &r);
	if (rc < 0) {
		err_set(e, rc, "look at the filters of %s", v->name);
		goto out;
	}
	/* The word was lost, but output is led through lanes: take it for held. */
	if (fresh && r.ours)
		atomic_store(&v->sw.word->held, 1);
	if (atomic_load(&v->sw.word->held))
		*found = LANES_FOUND_HELD;
	else
		*found = fresh ? LANES_NEW : LANES_FOUND_OPEN;
	rc = build(s, v, lane_bytes, fresh, e);
out:
	if (rc < 0) {
		if (fresh && !r.ours)
			undo(s, v);
		lane_switch_close(&v->sw);
		v->ifb_index = 0;
	}
	return rc;
}

/* Lets all of it out, and waits until it is. */
static void drain(struct sock_nl *s, const struct vif_nl *v)
{
	uint64_t end = clock_add(clock_now(), DRAIN_NS);
	struct lane_stats stats[LANES];
	uint64_t left;

	for (unsigned int l = 0; l < LANES; l++)
		if (build_nl_plug(s, v, l, PLUG_NL_OPEN) < 0)
			return;
	do {
		nap();
		if (build_nl_stats(s, v, stats) < 0)
			return;
		left = 0;
		for (unsigned int l = 0; l < LANES; l++)
			left += stats[l].frames;
	} while (left > 0 && clock_now() < end);
	nap(); /* the IFB itself has some for a moment */
}

int build_nl_detach(struct sock_nl *s, struct vif_nl *v, bool keep_flow, struct err *e)
{
	struct err more = ERR_INIT;
	int rc = 0;
	int r;

	if (keep_flow) {
		rc = filter_nl_redirect_remove(s, v, e);
		drain(s, v);
		r = filter_nl_ingress_remove(s, v, rc < 0 ? &more : e);
		rc = rc < 0 ? rc : r;
	}
	r = ifb_remove(s, v->ifb, rc < 0 ? &more : e);
	rc = rc < 0 ? rc : r;
	r = lane_switch_unpin(v->name, rc < 0 ? &more : e);
	rc = rc < 0 ? rc : r;
	lane_switch_close(&v->sw);
	v->ifb_index = 0;
	return rc;
}

int build_nl_audit(struct sock_nl *s, const struct vif_nl *v, enum lane_tamper *how,
		   const char **what)
{
	struct lane_stats stats[LANES];
	struct err ignored = ERR_INIT;
	struct filter_nl_redirect r;
	bool ok = false;
	int rc;

	*how = LANE_VIF_GONE;
	*what = "the device is gone";
	if (if_nametoindex(v->name) != v->vif_index)
		return 1;
	*how = LANE_IFB_GONE;
	*what = "its IFB was removed";
	rc = ifb_look(s, v->ifb, &ok, &ignored);
	if (rc == -ENODEV || (rc == 0 && if_nametoindex(v->ifb) != v->ifb_index))
		return 1;
	*what = "its IFB was shut down";
	if (rc < 0 || !ok)
		return rc < 0 ? rc : 1;
	*how = LANE_QDISC_GONE;
	*what = "the queues of its IFB were changed";
	rc = build_nl_stats(s, v, stats);
	if (rc < 0)
		return rc == -ENOENT ? 1 : rc;
	*what = "the classifier of its IFB was removed";
	rc = filter_nl_has_classifier(s, v, &ok);
	if (rc < 0 || !ok)
		return rc < 0 ? rc : 1;
	*how = LANE_REDIRECT_GONE;
	*what = "its redirection into the lanes was removed";
	rc = filter_nl_redirect_look(s, v, &r);
	if (rc < 0)
		return rc;
	return !r.ours || (r.foreign && r.foreign < r.ours);
}
