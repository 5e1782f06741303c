// SPDX-License-Identifier: GPL-2.0-or-later
/* Epochs on the backup's data thread: received, verified, given to the standby; see backup_data_impl.h. */
#include "replicator/backup_data_impl.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/wire_v1.h"
#include "replicator/apply.h"
#include "replicator/drill_feed.h"
#include "replicator/epoch.h"
#include "replicator/xen_version.h"

/* One record of 4 MiB: a standby that takes nothing for so long is tried again, so often. */
#define STALL_NS (5 * NS_PER_SEC)
#define STALL_TRIES 4
/* How long the restorer may take to swallow the first copy's tail. */
#define DRAIN_NS (60 * NS_PER_SEC)
#define DRAIN_POLL_MS 2

/* ---- received ---- */

int backup_data_on_static__(struct backup_data *d, const struct frame *f, struct err *e)
{
	int rc = wire_static_decode(f, d->statics, e);

	return rc < 0 ? rc : apply_static(d->apply, d->statics, e);
}

int backup_data_on_round__(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct wire_copy_round m;
	int rc = wire_copy_round_decode(f, &m, e);

	if (rc < 0)
		return rc;
	d->round = m.round;
	d->round_total = m.pages;
	d->round_done = 0;
	return 0;
}

static void tell_progress(struct backup_data *d)
{
	struct bd_msg m = {.type = BD_PROGRESS};
	uint64_t now = clock_now();

	if (now < d->progress_at_ns)
		return;
	d->progress_at_ns = now + PROGRESS_NS;
	m.round = d->round;
	m.done = d->round_done;
	m.total = d->round_total;
	post(d, &m);
}

int backup_data_on_pages__(struct backup_data *d, const struct frame *f, struct err *e)
{
	const uint8_t *page;
	uint32_t count;
	uint64_t pfn;
	struct rd r;
	int rc = wire_pages_decode(f, &count, &r, e);

	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		rc = page_decode(d->dec, &r, &pfn, &page, e);
		if (rc == 0)
			rc = apply_page(d->apply, pfn, page, e);
	}
	if (rc == 0 && !rd_done(&r))
		rc = err_setx(e, -EBADMSG, "PAGES has bytes after its %u records", count);
	d->round_done += count;
	if (rc == 0 && f->h.epoch == 0)
		tell_progress(d);
	return rc;
}

int backup_data_on_state__(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct wire_state st;
	int rc = wire_state_decode(f, &st, e);

	return rc < 0 ? rc : apply_state(d->apply, &st, e);
}

/* What the primary says it sent is what came: number, bytes, digest. */
static int verify(struct backup_data *d, const struct wire_epoch_end *end, struct bd_msg *m,
		  struct err *e)
{
	struct page_counters now;
	uint64_t pages, bytes, digest = page_dec_digest(d->dec);

	page_dec_counters(d->dec, &now);
	pages = page_records(&now) - page_records(&d->told);
	bytes = now.wire_bytes - d->told.wire_bytes;
	d->told = now;
	m->pages = (uint32_t)pages;
	m->wire = now;
	if (end->pages != pages || end->wire_bytes != bytes)
		return err_setx(e, -EBADMSG,
				"epoch has %llu pages in %llu bytes, its end says %llu in %llu",
				(unsigned long long)pages, (unsigned long long)bytes,
				(unsigned long long)end->pages,
				(unsigned long long)end->wire_bytes);
	if (end->digest != digest)
		return err_setx(e, -EBADMSG, "the epoch's digest does not match its pages");
	return 0;
}

/*
 * The first copy was passed on as it came. It is complete when the restorer has taken all of it: a build that
 * fails (no memory, say) must show before anybody counts on it.
 */
static int feed_first_copy(struct backup_data *d, struct err *e)
{
	struct pollfd p = {.fd = d->stop_fd, .events = POLLIN};
	uint64_t deadline = clock_now() + DRAIN_NS;
	int rc = -ETIMEDOUT;

	for (int i = 0; rc == -ETIMEDOUT && i < STALL_TRIES; i++)
		rc = apply_commit(d->apply, 0, e);
	if (rc < 0)
		return rc;
	while ((rc = apply_drained(d->apply, e)) == -EAGAIN) {
		if (clock_now() >= deadline)
			return err_setx(e, -ETIMEDOUT, "the standby does not take the first copy");
		if (poll(&p, 1, DRAIN_POLL_MS) > 0)
			return err_setx(e, -ECANCELED, "asked to stop");
	}
	return rc;
}

int backup_data_on_epoch_end__(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct bd_msg m = {.type = BD_EPOCH_COMPLETE, .epoch = f->h.epoch};
	struct wire_epoch_end end;
	struct conn_info info;
	int rc = wire_epoch_end_decode(f, &end, e);

	if (rc == 0)
		rc = verify(d, &end, &m, e);
	if (rc == 0)
		rc = apply_seal(d->apply, f->h.epoch, e);
	if (rc < 0)
		return rc;
	if (f->h.epoch == 0) {
		rc = feed_first_copy(d, e);
		if (rc < 0) {
			post_text(d, BD_APPLY_FAILED, e->text);
			d->pause = AWAIT_APPLY;
			return 0;
		}
	}
	conn_info(d->conn, &info);
	m.received_bytes = info.bytes_received;
	d->sealed = f->h.epoch;
	d->pause = AWAIT_APPLY;
	post(d, &m);
	return 0;
}

/* ---- given to the standby ---- */

void backup_data_take_stream__(struct backup_data *d, int fd)
{
	struct apply_conf ac = {
		.arena_pages = d->arena_pages,
		.lock = true,
		.mem_pages = d->mem_pages,
		.stall_ns = STALL_NS,
		.wake_fd = d->stop_fd,
	};
	struct err e = ERR_INIT;
	int rc = xen_version(&ac.xen_major, &ac.xen_minor, &e);

	if (rc == 0)
		rc = apply_new_take(&d->apply, &ac, fd, &e);
	if (rc < 0) {
		close(fd);
		post_text(d, BD_APPLY_FAILED, e.text);
		return;
	}
	d->pause = READING;
}

void backup_data_apply_epoch__(struct backup_data *d, uint64_t epoch)
{
	struct bd_msg done = {.type = BD_APPLIED, .epoch = epoch};
	struct err e = ERR_INIT;
	int rc = -ETIMEDOUT;

	if (epoch == 0)
		rc = 0; /* fed when it was complete */
	else
		drill_feed_before(&d->drill, d->apply, epoch);
	for (int i = 0; rc == -ETIMEDOUT && i < STALL_TRIES; i++)
		rc = apply_commit(d->apply, epoch, &e);
	if (rc < 0) {
		post_text(d, BD_APPLY_FAILED, e.text);
		return;
	}
	drill_feed_after(&d->drill);
	d->sealed = EPOCH_NONE;
	d->pause = READING;
	post(d, &done);
}

void backup_data_finish_stream__(struct backup_data *d)
{
	struct err e = ERR_INIT;

	drill_feed_end(&d->drill);
	if (apply_finish(d->apply, &e) < 0) {
		post_text(d, BD_APPLY_FAILED, e.text);
		return;
	}
	/* The VM runs here from now on, and has better use for the memory. */
	apply_free(d->apply);
	d->apply = NULL;
	page_dec_free(d->dec);
	d->dec = NULL;
	d->pause = FINISHED;
	post_text(d, BD_FINISHED, "");
}
