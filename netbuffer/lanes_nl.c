/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lanes of all network devices of a VM, behind lane_ops: see lanes_nl.h. build_nl.c makes and
 * removes them; here is what happens at every epoch, and the watch.
 */
#include "netbuffer/lanes_nl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <netlink/socket.h>

#include "lib/err.h"
#include "lib/mem.h"
#include "netbuffer/build_nl.h"
#include "netbuffer/sock_nl.h"

/* sch_plug's limit goes through an int. */
#define LANE_BYTES_MAX INT32_MAX

struct lanes_nl {
	struct sock_nl sock;
	struct nl_sock *watch;
	uint32_t lane_bytes;
	unsigned int n;
	struct vif_nl vifs[LANES_NL_VIFS_MAX];
};

int lanes_nl_ifb_name(const char *vif, char name[LANES_NL_NAME_SIZE])
{
	bool is_vif = strncmp(vif, "vif", 3) == 0 && vif[3] != '\0';
	int n = snprintf(name, LANES_NL_NAME_SIZE, "%s%s", is_vif ? "rm" : "rm-",
			 is_vif ? vif + 3 : vif);

	return n < 0 || n >= LANES_NL_NAME_SIZE ? -ENAMETOOLONG : 0;
}

static int vif_init(struct vif_nl *v, const char *name, struct err *e)
{
	size_t len = strlen(name);
	int rc;

	v->sw = LANE_SWITCH_INIT;
	if (len == 0 || len >= sizeof(v->name))
		return err_setx(e, -EINVAL, "\"%s\" is no name of a network device", name);
	memcpy(v->name, name, len + 1);
	rc = lanes_nl_ifb_name(name, v->ifb);
	return rc < 0 ? err_set(e, rc, "IFB for device %s", name) : 0;
}

struct lanes_nl *lanes_nl_new(const char *const *vifs, unsigned int n, uint32_t lane_bytes,
			      struct err *e)
{
	struct lanes_nl *l;
	int rc = 0;

	if (n > LANES_NL_VIFS_MAX || lane_bytes == 0 || lane_bytes > LANE_BYTES_MAX) {
		err_setx(e, -EINVAL, "%u network devices with lanes of %u bytes: at most %u and %u",
			 n, lane_bytes, LANES_NL_VIFS_MAX, LANE_BYTES_MAX);
		return NULL;
	}
	l = mem_zalloc(sizeof(*l));
	if (!l) {
		err_set(e, -ENOMEM, "lanes");
		return NULL;
	}
	l->lane_bytes = lane_bytes;
	for (unsigned int i = 0; i < n && rc == 0; i++) {
		rc = vif_init(&l->vifs[i], vifs[i], e);
		l->n++;
	}
	if (rc == 0)
		rc = sock_nl_open(&l->sock, LANES_NL_TIMEOUT_MS, e);
	if (rc == 0)
		rc = sock_nl_listen(&l->watch, e);
	if (rc < 0) {
		lanes_nl_free(l);
		return NULL;
	}
	return l;
}

void lanes_nl_free(struct lanes_nl *l)
{
	if (!l)
		return;
	for (unsigned int i = 0; i < l->n; i++)
		lane_switch_close(&l->vifs[i].sw);
	sock_nl_close(&l->sock);
	if (l->watch)
		nl_socket_free(l->watch);
	mem_free(l);
}

static unsigned int op_count(void *ctx)
{
	const struct lanes_nl *l = ctx;

	return l->n;
}

static const char *op_name(void *ctx, unsigned int vif)
{
	const struct lanes_nl *l = ctx;

	return l->vifs[vif].name;
}

static int op_attach(void *ctx, unsigned int vif, enum lane_found *found, unsigned int *cur,
		     struct err *e)
{
	struct lanes_nl *l = ctx;
	struct vif_nl *v = &l->vifs[vif];
	int rc = build_nl_attach(&l->sock, v, l->lane_bytes, found, e);

	if (rc < 0)
		return rc;
	*cur = lane_switch_get(&v->sw);
	/* What the watch missed while it was built. */
	v->suspect = true;
	return 0;
}

static int op_detach(void *ctx, unsigned int vif, bool keep_flow, struct err *e)
{
	struct lanes_nl *l = ctx;

	return build_nl_detach(&l->sock, &l->vifs[vif], keep_flow, e);
}

static void op_set(void *ctx, unsigned int vif, unsigned int lane)
{
	struct lanes_nl *l = ctx;

	if (l->vifs[vif].sw.word)
		lane_switch_set(&l->vifs[vif].sw, lane);
}

static void op_mark_held(void *ctx, unsigned int vif, bool held)
{
	struct lanes_nl *l = ctx;

	if (l->vifs[vif].sw.word)
		atomic_store(&l->vifs[vif].sw.word->held, held);
}

static int op_release(void *ctx, unsigned int vif, unsigned int lane)
{
	struct lanes_nl *l = ctx;

	return build_nl_plug(&l->sock, &l->vifs[vif], lane, PLUG_NL_OPEN);
}

static int op_close(void *ctx, unsigned int vif, unsigned int lane)
{
	struct lanes_nl *l = ctx;

	return build_nl_plug(&l->sock, &l->vifs[vif], lane, PLUG_NL_CLOSE);
}

static int op_limit(void *ctx, unsigned int vif, unsigned int lane, uint32_t bytes)
{
	struct lanes_nl *l = ctx;

	return build_nl_limit(&l->sock, &l->vifs[vif], lane, bytes);
}

static int op_stats(void *ctx, unsigned int vif, struct lane_stats out[LANES])
{
	struct lanes_nl *l = ctx;

	return build_nl_stats(&l->sock, &l->vifs[vif], out);
}

/* ---- watch --------------------------------------------------------------- */

static int op_watch_fd(void *ctx)
{
	const struct lanes_nl *l = ctx;

	return nl_socket_get_fd(l->watch);
}

static void suspect(void *arg, unsigned int ifindex)
{
	struct lanes_nl *l = arg;

	for (unsigned int i = 0; i < l->n; i++) {
		struct vif_nl *v = &l->vifs[i];

		if (ifindex == 0 || ifindex == v->vif_index || ifindex == v->ifb_index)
			v->suspect = true;
	}
}

/* Messages only raise suspicion; what is there decides. */
static void op_watch(void *ctx, lane_tampered_fn *fn, void *arg)
{
	struct lanes_nl *l = ctx;

	sock_nl_hear(l->watch, suspect, l);
	for (unsigned int i = 0; i < l->n; i++) {
		struct vif_nl *v = &l->vifs[i];
		enum lane_tamper how;
		const char *what;
		int rc;

		if (!v->suspect || v->ifb_index == 0)
			continue;
		rc = build_nl_audit(&l->sock, v, &how, &what);
		v->suspect = rc < 0; /* not known yet: at the next event */
		if (rc <= 0 || v->reported & (1U << how))
			continue;
		v->reported |= 1U << how;
		fn(arg, i, how, what);
	}
}

const struct lane_ops lanes_nl_ops = {
	.count = op_count,
	.name = op_name,
	.attach = op_attach,
	.detach = op_detach,
	.set = op_set,
	.mark_held = op_mark_held,
	.release = op_release,
	.close = op_close,
	.limit = op_limit,
	.stats = op_stats,
	.watch_fd = op_watch_fd,
	.watch = op_watch,
};
