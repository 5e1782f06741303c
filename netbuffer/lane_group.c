/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lanes of all vifs of a VM: see lane_group.h.
 */
#include "netbuffer/lane_group.h"

#include <errno.h>
#include <string.h>

#include "lib/log.h"

int lane_group_init(struct lane_group *g, const struct lane_ops *ops, void *ctx,
		    uint32_t lane_bytes)
{
	memset(g, 0, sizeof(*g));
	g->ops = ops;
	g->ctx = ctx;
	g->lane_bytes = lane_bytes;
	g->n = ops->count(ctx);
	if (g->n > NETBUF_VIFS_MAX)
		return -E2BIG;
	for (unsigned int i = 0; i < g->n; i++)
		g->vifs[i].stats.name = ops->name(ctx, i);
	return 0;
}

/*
 * An operation failed: the lanes are gone, or somebody shall try again. What is left of the
 * error.
 */
static int failed(struct lane_group *g, unsigned int i, const char *what, int rc)
{
	g->failures++;
	if (rc == -ENODEV || rc == -ENOENT) {
		g->vifs[i].gone = true;
		return 0;
	}
	log_limited(LOG_AT_WARN, "%s: cannot %s: %s; trying again", g->vifs[i].stats.name, what,
		    strerror(-rc));
	return rc;
}

typedef int lane_fn(void *ctx, unsigned int vif, unsigned int lane);

/* The lane of this vif may be filled again. */
static int uncap(struct lane_group *g, unsigned int i, unsigned int lane)
{
	int rc;

	if (!g->vifs[i].capped[lane])
		return 0;
	rc = g->ops->limit(g->ctx, i, lane, g->lane_bytes);
	if (rc == 0)
		g->vifs[i].capped[lane] = false;
	return rc;
}

static int each_vif(struct lane_group *g, lane_fn *fn, const char *what, unsigned int lane)
{
	int rc = 0;

	for (unsigned int i = 0; i < g->n; i++) {
		int r;

		if (g->vifs[i].gone)
			continue;
		r = fn(g->ctx, i, lane);
		if (r == 0)
			r = uncap(g, i, lane);
		if (r < 0)
			r = failed(g, i, what, r);
		if (rc == 0)
			rc = r;
	}
	return rc;
}

int lane_group_release(struct lane_group *g, unsigned int lane)
{
	return each_vif(g, g->ops->release, "let out a lane", lane);
}

int lane_group_close(struct lane_group *g, unsigned int lane)
{
	return each_vif(g, g->ops->close, "close a lane", lane);
}

void lane_group_mark_held(struct lane_group *g, bool held)
{
	for (unsigned int i = 0; i < g->n; i++)
		if (!g->vifs[i].gone)
			g->ops->mark_held(g->ctx, i, held);
}

/* Reads the lanes of a vif and adds up what is new. Of one that is gone: zeros. */
static int read_stats(struct lane_group *g, unsigned int i, struct lane_stats out[LANES])
{
	struct lane_group_vif *v = &g->vifs[i];
	int rc = 0;

	memset(out, 0, LANES * sizeof(*out));
	if (!v->gone)
		rc = g->ops->stats(g->ctx, i, out);
	if (rc < 0)
		rc = failed(g, i, "look at the lanes", rc);
	if (rc < 0 || v->gone) {
		memset(out, 0, LANES * sizeof(*out));
		return rc;
	}
	for (unsigned int l = 0; l < LANES; l++) {
		v->stats.dropped_frames += out[l].dropped - v->last[l].dropped;
		v->stats.released_frames += out[l].released - v->last[l].released;
		v->last[l] = out[l];
	}
	return 0;
}

int lane_group_frames(struct lane_group *g, uint64_t frames[LANES])
{
	struct lane_stats s[LANES];

	memset(frames, 0, LANES * sizeof(*frames));
	for (unsigned int i = 0; i < g->n; i++) {
		int rc = read_stats(g, i, s);

		if (rc < 0)
			return rc;
		for (unsigned int l = 0; l < LANES; l++)
			frames[l] += s[l].frames;
	}
	return 0;
}

/* Small frames take more of the kernel's memory than their bytes. */
static uint64_t lane_cost(const struct lane_stats *s)
{
	return MAX((uint64_t)s->bytes, s->frames * NETBUF_FRAME_COST);
}

uint64_t lane_group_measure(struct lane_group *g, unsigned int cur)
{
	struct lane_stats s[LANES];
	uint64_t most = 0;

	for (unsigned int i = 0; i < g->n; i++) {
		struct netbuf_stats *v = &g->vifs[i].stats;

		if (read_stats(g, i, s) == 0) {
			v->held_bytes = 0;
			v->held_frames = 0;
			for (unsigned int l = 0; l < LANES; l++) {
				v->held_bytes += s[l].bytes;
				v->held_frames += s[l].frames;
			}
			v->peak_bytes = MAX(v->peak_bytes, v->held_bytes);
			most = MAX(most, lane_cost(&s[cur]));
		}
	}
	return most;
}

void lane_group_cap(struct lane_group *g, unsigned int cur)
{
	for (unsigned int i = 0; i < g->n; i++) {
		struct lane_group_vif *v = &g->vifs[i];
		int rc;

		if (v->gone || v->capped[cur] || lane_cost(&v->last[cur]) <= g->lane_bytes)
			continue;
		rc = g->ops->limit(g->ctx, i, cur, v->last[cur].bytes);
		if (rc < 0) {
			(void)failed(g, i, "limit a lane",
				     rc); /* the next measurement tries again */
			continue;
		}
		v->capped[cur] = true;
		log_limited(LOG_AT_WARN,
			    "%s: %u small frames are held; what the guest sends is dropped until "
			    "they may leave",
			    v->stats.name, v->last[cur].frames);
	}
}
