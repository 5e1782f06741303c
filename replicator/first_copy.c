// SPDX-License-Identifier: GPL-2.0-or-later
/* See first_copy.h. Primary's data thread. */
#include "replicator/first_copy.h"

#include <errno.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/wire_v1.h"
#include "replicator/dirty.h"

/* After so many rounds a guest that dirties faster than the link takes it is slowed, step by step. */
#define FREE_ROUNDS 3
/* P6: no copy goes on for ever. */
#define MAX_ROUNDS 12

static const unsigned int cap_steps[] = {50, 25, 10};

static int tell_round(struct first_copy *fc, struct err *e)
{
	const struct wire_copy_round m = {
		.round = fc->round, .pages = fc->round_pages, .sent = fc->sent};
	struct wr w;
	int rc =
		conn_begin(fc->conn, FRAME_COPY_ROUND, 0, &w, clock_now() + fc->send_timeout_ns, e);

	if (rc < 0)
		return rc;
	wire_copy_round_encode(&w, &m);
	return conn_end(fc->conn, &w, e);
}

/* One frame of pages from *pfn on; *pfn is UINT64_MAX when none is left. */
static int send_batch(struct first_copy *fc, uint64_t *pfn, struct err *e)
{
	size_t words = guest_bitmap_words(fc->guest);
	uint32_t count = 0;
	struct wr w;
	const void *page;
	int kind,
		rc = conn_begin(fc->conn, FRAME_PAGES, 0, &w, clock_now() + fc->send_timeout_ns, e);

	if (rc < 0)
		return rc;
	wire_pages_begin(&w);
	for (; *pfn != UINT64_MAX && count < WIRE_MAX_PAGES;
	     *pfn = dirty_next(fc->dirty, words, *pfn + 1)) {
		page = guest_page(fc->guest, *pfn);
		if (!page) {
			dirty_unset(fc->dirty, *pfn);
			continue;
		}
		kind = page_encode_live(fc->enc, *pfn, page, &w);
		if (kind == -ENOSPC)
			break;
		if (kind < 0) {
			conn_cancel(fc->conn);
			return err_set(e, kind, "page %llu", (unsigned long long)*pfn);
		}
		dirty_unset(fc->dirty, *pfn);
		fc->round_done++;
		fc->sent++;
		count += kind != PAGE_UNCHANGED;
	}
	if (!count) {
		conn_cancel(fc->conn);
		return 0;
	}
	wire_pages_end(&w, count);
	return conn_end(fc->conn, &w, e);
}

static int run_round(struct first_copy *fc, struct err *e)
{
	size_t words = guest_bitmap_words(fc->guest);
	uint64_t pfn = dirty_next(fc->dirty, words, 0);
	int rc;

	fc->round++;
	fc->round_done = 0;
	fc->round_pages = dirty_count(fc->dirty, words);
	rc = tell_round(fc, e);
	while (rc == 0 && pfn != UINT64_MAX) {
		rc = send_batch(fc, &pfn, e);
		if (rc == 0)
			rc = fc->between(fc->arg, fc, e);
	}
	if (rc < 0)
		return rc;
	return conn_flush(fc->conn, clock_now() + fc->send_timeout_ns, e);
}

/* Slows a guest that outruns the link; -ENOSPC when it did not help. */
static int slow_down(struct first_copy *fc, uint64_t left, struct err *e)
{
	unsigned int step;

	if (fc->round < FREE_ROUNDS)
		return 0;
	if (fc->round >= MAX_ROUNDS)
		return err_setx(e, -ENOSPC,
				"the guest still dirties %llu pages in a round after %u rounds, "
				"more than the arena's %u",
				(unsigned long long)left, fc->round, fc->arena_pages);
	step = fc->round - FREE_ROUNDS;
	if (step >= ARRAY_SIZE(cap_steps))
		return 0;
	log_info("first copy: %llu pages dirty after round %u, guest's CPU capped at %u%%",
		 (unsigned long long)left, fc->round, cap_steps[step]);
	return guest_cpu_cap(fc->guest, cap_steps[step], e);
}

static int run_rounds(struct first_copy *fc, struct err *e)
{
	size_t words = guest_bitmap_words(fc->guest);
	uint64_t left;
	int rc;

	dirty_clear(fc->dirty, words);
	dirty_or(fc->dirty, fc->guest->present, words);
	for (;;) {
		rc = run_round(fc, e);
		if (rc < 0)
			return rc;
		rc = guest_dirty_fetch_live(fc->guest, fc->dirty);
		if (rc < 0)
			return err_set(e, rc, "dirty log");
		left = dirty_count(fc->dirty, words);
		if (left <= fc->arena_pages / 4)
			return 0;
		rc = slow_down(fc, left, e);
		if (rc < 0)
			return rc;
	}
}

int first_copy_run(struct first_copy *fc, struct err *e)
{
	struct err ignored = ERR_INIT;
	int rc = guest_logdirty_enable(fc->guest, e);

	fc->round = 0;
	fc->sent = 0;
	if (rc < 0)
		return err_wrap(e, rc, "dirty log");
	rc = run_rounds(fc, e);
	/* The cap was for the copy; the epochs have their own. A failure is told by guest_close(). */
	if (guest_cpu_cap(fc->guest, 0, &ignored) < 0)
		log_warn("%s", ignored.text);
	return rc;
}
