// SPDX-License-Identifier: GPL-2.0-or-later
/* See checkpoint.h. Primary's data thread. */
#include "replicator/checkpoint.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/wire_v1.h"
#include "replicator/dirty.h"
#include "replicator/page_codec.h"

/* A resume that fails is tried so often; a hypercall that is interrupted is the only cause known. */
#define RESUME_TRIES 5

/* ---- the pause ---- */

/* 0, -ESTALE (it runs, but not by our doing), or it does not run. */
static int resume(struct checkpoint *c)
{
	int rc = -EAGAIN;

	for (int i = 0; rc < 0 && rc != -ESTALE && i < RESUME_TRIES; i++)
		rc = guest_resume(c->guest);
	return rc;
}

static bool runs(int resumed)
{
	return resumed == 0 || resumed == -ESTALE;
}

/* [pause] */
static int postsuspend(struct checkpoint *c, uint64_t epoch)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < c->n_devices; i++)
		rc = c->device[i]->ops->postsuspend(c->device[i], epoch);
	return rc;
}

/* [pause] */
static int preresume(struct checkpoint *c, uint64_t epoch)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < c->n_devices; i++)
		rc = c->device[i]->ops->preresume(c->device[i], epoch);
	return rc;
}

/* [pause] Gives the checkpoint up: the guest goes on in the same epoch. */
static enum checkpoint_outcome give_up(struct checkpoint *c, uint64_t epoch,
				       enum checkpoint_outcome why)
{
	for (unsigned int i = 0; i < c->n_devices; i++)
		c->device[i]->ops->abort(c->device[i], epoch);
	return runs(resume(c)) ? why : CHECKPOINT_STUCK;
}

/* [pause] Lists the dirty pages in the arena and copies them there. */
static int collect(struct checkpoint *c)
{
	struct dirty_found found;
	uint64_t t0 = clock_now(), t1;
	int rc = guest_dirty_fetch_final(c->guest, c->dirty);

	if (rc < 0)
		return rc;
	rc = dirty_scan(c->dirty, c->guest->present, guest_bitmap_words(c->guest), c->arena->pfn,
			c->arena->pages, &found);
	t1 = clock_now();
	c->phases.bitmap_ns = t1 - t0;
	c->dirty_pages = found.pages;
	if (rc < 0)
		return rc;
	c->arena->count = (uint32_t)found.pages;
	for (uint32_t i = 0; i < found.pages; i++)
		memcpy(arena_slot(c->arena, i), c->guest->mem + c->arena->pfn[i] * GUEST_PAGE_SIZE,
		       GUEST_PAGE_SIZE);
	c->phases.copy_ns = clock_now() - t1;
	return 0;
}

/* [pause] From suspended to running again. *cause: the errno of what failed. */
static enum checkpoint_outcome paused(struct checkpoint *c, uint64_t epoch, int *cause)
{
	struct checkpoint_phases *ph = &c->phases;
	uint64_t t0 = c->suspend.suspended_ns, t1, t2;

	*cause = postsuspend(c, epoch);
	t1 = clock_now();
	ph->switch_ns = t1 - t0;
	if (*cause < 0)
		return give_up(c, epoch, CHECKPOINT_ABORTED);
	*cause = collect(c);
	if (*cause == -ENOSPC)
		return give_up(c, epoch, CHECKPOINT_OVERFLOW);
	if (*cause < 0)
		return give_up(c, epoch,
			       *cause == -ESTALE ? CHECKPOINT_RESYNC : CHECKPOINT_ABORTED);
	t1 = clock_now();
	*cause = guest_state_capture(c->guest, &c->state);
	if (*cause == 0)
		*cause = preresume(c, epoch);
	t2 = clock_now();
	ph->state_ns = t2 - t1;
	if (*cause < 0)
		return give_up(c, epoch, CHECKPOINT_ABORTED);
	if (c->stay) {
		ph->pause_ns = t2 - t0;
		return CHECKPOINT_TAKEN;
	}
	*cause = resume(c);
	t1 = clock_now();
	ph->resume_ns = t1 - t2;
	ph->pause_ns = t1 - t0;
	/* P2: somebody else let it run in the pause, so what was copied is not one instant. */
	if (*cause == -ESTALE)
		return CHECKPOINT_RESYNC;
	return *cause < 0 ? CHECKPOINT_STUCK : CHECKPOINT_TAKEN;
}

/* ---- around it ---- */

static enum checkpoint_outcome not_suspended(const struct checkpoint *c, int rc, struct err *e)
{
	switch (c->suspend.outcome) {
	case SUSPEND_TIMEOUT:
		err_setx(e, -ETIMEDOUT, "the guest did not suspend in time (%s)",
			 c->suspend.taken ? "it took the request" : "it ignored the request");
		return CHECKPOINT_ABORTED;
	case SUSPEND_FAILED:
		if (!e->rc)
			err_set(e, rc, "cannot ask the guest to suspend");
		return CHECKPOINT_ABORTED;
	case SUSPEND_GONE:
		err_setx(e, -ESRCH, "the guest was destroyed");
		return CHECKPOINT_GUEST;
	case SUSPEND_SHUTDOWN:
		err_setx(e, -ESHUTDOWN, "the guest ended by itself");
		return CHECKPOINT_GUEST;
	case SUSPEND_FOREIGN:
		err_setx(e, -EBUSY, "somebody else suspended the guest (xl save?)");
		return CHECKPOINT_GUEST;
	case SUSPEND_CHANGED:
		if (!e->rc)
			err_setx(e, -ESTALE, "the guest's memory or devices changed");
		return CHECKPOINT_GUEST;
	case SUSPEND_DONE:
		break;
	}
	return CHECKPOINT_ABORTED;
}

/*
 * Pages were dirtied where none was mapped. If they are pages by now, the epoch that was just taken lacks
 * them and so does the standby.
 */
static enum checkpoint_outcome holes(struct checkpoint *c, struct err *e)
{
	int rc = guest_map_late(c->guest, c->dirty);

	if (rc == 0)
		return CHECKPOINT_TAKEN;
	err_setx(e, -ESTALE, "%d pages of guest memory appeared that were not there before", rc);
	return CHECKPOINT_RESYNC;
}

enum checkpoint_outcome checkpoint_take(struct checkpoint *c, uint64_t epoch, uint64_t deadline_ns,
					struct err *e)
{
	size_t words = guest_bitmap_words(c->guest);
	enum checkpoint_outcome out;
	int rc;

	memset(&c->phases, 0, sizeof(c->phases));
	c->dirty_pages = 0;
	arena_reset(c->arena);
	rc = guest_suspend(c->guest, deadline_ns, &c->suspend, e);
	if (c->suspend.outcome != SUSPEND_DONE)
		return not_suspended(c, rc, e);
	c->phases.request_ns = clock_until(c->suspend.suspended_ns, c->suspend.request_ns);

	out = paused(c, epoch, &rc);

	if (out == CHECKPOINT_OVERFLOW) {
		err_setx(e, rc, "%zu dirty pages in one epoch, the arena has %u", c->dirty_pages,
			 c->arena->pages);
		return out;
	}
	if (out == CHECKPOINT_RESYNC) {
		err_setx(
			e, rc,
			"in the pause somebody else resumed the guest, or took its log of dirty pages");
		return out;
	}
	if (out != CHECKPOINT_TAKEN) {
		err_set(e, rc, "checkpoint given up");
		return out;
	}
	/* What is left after this are pages in holes. */
	dirty_drop(c->dirty, c->guest->present, words);
	if (dirty_next(c->dirty, words, 0) != UINT64_MAX)
		out = holes(c, e);
	dirty_clear(c->dirty, words);
	if (c->stay && out != CHECKPOINT_TAKEN && !runs(resume(c)))
		return CHECKPOINT_STUCK;
	return out;
}

int checkpoint_resume(struct checkpoint *c)
{
	int rc = resume(c);

	return runs(rc) ? 0 : rc;
}

/* ---- afterwards ---- */

/* An epoch on its way. */
struct sending {
	struct checkpoint *c;
	uint64_t epoch;
	struct page_enc *enc;
	struct conn *conn;
	uint64_t deadline_ns;
};

/* One PAGES frame from page *i on. */
static int send_pages(const struct sending *s, uint32_t *i, struct err *e)
{
	const struct arena *a = s->c->arena;
	uint32_t count = 0;
	struct wr w;
	int kind, rc = conn_begin(s->conn, FRAME_PAGES, s->epoch, &w, s->deadline_ns, e);

	if (rc < 0)
		return rc;
	wire_pages_begin(&w);
	for (; *i < a->count && count < WIRE_MAX_PAGES; ++*i) {
		kind = page_encode(s->enc, a->pfn[*i], arena_slot(a, *i), &w);
		if (kind == -ENOSPC)
			break;
		if (kind < 0) {
			conn_cancel(s->conn);
			return err_set(e, kind, "page %llu", (unsigned long long)a->pfn[*i]);
		}
		count += kind != PAGE_UNCHANGED;
	}
	if (!count) {
		conn_cancel(s->conn);
		return 0;
	}
	wire_pages_end(&w, count);
	return conn_end(s->conn, &w, e);
}

static int send_one_state(const struct sending *s, const struct wire_state *st, struct err *e)
{
	struct wr w;
	int rc = conn_begin(s->conn, FRAME_STATE, s->epoch, &w, s->deadline_ns, e);

	if (rc < 0)
		return rc;
	wire_state_encode(&w, st);
	return conn_end(s->conn, &w, e);
}

static int send_state(const struct sending *s, struct err *e)
{
	const struct guest_state *gs = s->c->state;
	struct wire_state st = {.kind = WIRE_TSC_INFO};
	int rc;

	st.tsc = (struct wire_tsc_info){
		.mode = gs->tsc_mode,
		.khz = gs->tsc_khz,
		.nsec = gs->tsc_nsec,
		.incarnation = gs->tsc_incarnation,
	};
	rc = send_one_state(s, &st, e);
	if (rc < 0)
		return rc;
	st.kind = WIRE_HVM_CONTEXT;
	st.hvm.data = gs->context;
	st.hvm.size = gs->context_size;
	rc = send_one_state(s, &st, e);
	if (rc < 0)
		return rc;
	st.kind = WIRE_HVM_PARAMS;
	st.n_params = gs->n_params;
	for (uint32_t i = 0; i < gs->n_params; i++)
		st.param[i] = (struct wire_param){.index = gs->param[i].index,
						  .value = gs->param[i].value};
	return send_one_state(s, &st, e);
}

static int send_end(const struct sending *s, struct err *e)
{
	struct page_counters *told = &s->c->told, now;
	struct wire_epoch_end end;
	struct wr w;
	int rc = conn_begin(s->conn, FRAME_EPOCH_END, s->epoch, &w, s->deadline_ns, e);

	if (rc < 0)
		return rc;
	page_enc_counters(s->enc, &now);
	end.pages = page_records(&now) - page_records(told);
	end.raw_bytes = end.pages * PAGE_BYTES;
	end.wire_bytes = now.wire_bytes - told->wire_bytes;
	end.digest = page_enc_digest(s->enc);
	*told = now;
	s->c->end_ns = clock_now();
	wire_epoch_end_encode(&w, &end);
	return conn_end(s->conn, &w, e);
}

int checkpoint_send(struct checkpoint *c, uint64_t epoch, struct page_enc *enc, struct conn *conn,
		    uint64_t deadline_ns, struct err *e)
{
	const struct sending s = {
		.c = c, .epoch = epoch, .enc = enc, .conn = conn, .deadline_ns = deadline_ns};
	uint32_t i = 0;
	int rc = 0;

	while (rc == 0 && i < c->arena->count)
		rc = send_pages(&s, &i, e);
	if (rc == 0)
		rc = send_state(&s, e);
	if (rc == 0 && c->before_end)
		rc = c->before_end(c->arg, epoch, e);
	if (rc == 0)
		rc = send_end(&s, e);
	return rc < 0 ? rc : conn_flush(conn, deadline_ns, e);
}
