/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_feed.h. */
#include "replicator/drill_feed.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lib/err.h"
#include "replicator/apply.h"
#include "replicator/drill_share.h"
#include "replicator/mutant.h"

void drill_feed_begin_take(struct drill_feed *f, struct drill_share *share,
			   const struct wire_static *statics, const struct apply *ap)
{
	drill_feed_end(f);
	f->share = share;
	f->epoch = apply_fed(ap);
	/* What was fed before may still be on its way into the standby, unmarked: that is waited for first. */
	f->mark = DRILL_MARK_DUE;
	drill_share_begin(share, statics, f->epoch);
}

void drill_feed_end(struct drill_feed *f)
{
	if (f->share)
		drill_share_end(f->share);
	drill_share_close(f->share);
	*f = (struct drill_feed){.share = NULL};
}

void drill_feed_before(struct drill_feed *f, const struct apply *ap, uint64_t epoch)
{
	struct apply_sealed sealed;
	struct drill_state *st;

	if (!f->share)
		return;
	apply_sealed(ap, &sealed);
	f->epoch = epoch;
	f->mark = DRILL_MARK_NONE;
	drill_share_feeding(f->share, epoch, sealed.pfn, sealed.n);
	st = drill_share_state_of(f->share, epoch);
	st->tsc = *sealed.tsc;
	st->n_params = sealed.n_params;
	memcpy(st->param, sealed.param, sealed.n_params * sizeof(sealed.param[0]));
	st->hvm_size = (uint32_t)sealed.hvm_size;
	memcpy(st->hvm, sealed.hvm, sealed.hvm_size);
}

void drill_feed_after(struct drill_feed *f)
{
	if (f->share)
		f->mark = DRILL_MARK_DUE;
}

bool drill_feed_waits(const struct drill_feed *f)
{
	return f->mark != DRILL_MARK_NONE;
}

void drill_feed_pump(struct drill_feed *f, struct apply *ap)
{
	struct err ignored = ERR_INIT;
	int rc = -EPIPE;

	if (!drill_feed_waits(f))
		return;
	if (f->mark == DRILL_MARK_DUE && MUTANT(MUTANT_DRILL_TAKEN_IS_SETTLED))
		f->mark = DRILL_MARK_SENT;
	if (f->mark == DRILL_MARK_DUE) {
		rc = ap ? apply_mark(ap) : -EPIPE;
		if (rc == 0)
			f->mark = DRILL_MARK_SENT;
	}
	if (f->mark == DRILL_MARK_SENT)
		rc = ap ? apply_drained(ap, &ignored) : -EPIPE;
	if (rc == 0) {
		drill_share_settled(f->share, f->epoch);
		f->mark = DRILL_MARK_NONE;
	} else if (rc != -EAGAIN) {
		/* The standby is lost, and who feeds it next will say so. */
		drill_feed_end(f);
	}
}
