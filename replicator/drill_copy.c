/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_copy.h. */
#include "replicator/drill_copy.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "replicator/apply.h"
#include "replicator/drill_share.h"
#include "replicator/epoch.h"

#define PAGE_SIZE 4096
#define WAIT_MS 1

static uint32_t last_max(const struct drill_copy *c)
{
	return c->last_max ? c->last_max : DRILL_COPY_LAST_PAGES;
}

static int allocate(struct drill_copy *c, struct err *e)
{
	uint32_t room = MAX(last_max(c), (uint32_t)DRILL_COPY_BATCH);

	c->todo = mem_array(drill_share_words(drill_share_mem_pages(c->share)), sizeof(*c->todo));
	c->room = mem_aligned(PAGE_SIZE, (size_t)room * PAGE_SIZE);
	c->last_pfn = mem_array(room, sizeof(*c->last_pfn));
	c->last_have = mem_array(room, sizeof(*c->last_have));
	c->state = mem_zalloc(sizeof(*c->state));
	if (c->todo && c->room && c->last_pfn && c->last_have && c->state)
		return 0;
	return err_set(e, -ENOMEM, "buffers of the copy");
}

static void release(struct drill_copy *c)
{
	mem_free(c->todo);
	mem_free(c->room);
	mem_free(c->last_pfn);
	mem_free(c->last_have);
	mem_free(c->state);
	c->todo = NULL;
	c->room = NULL;
	c->last_pfn = NULL;
	c->last_have = NULL;
	c->state = NULL;
}

static int pass(const struct drill_copy *c, struct err *e)
{
	if (drill_share_ended(c->share))
		return err_setx(e, -ESTALE, "the standby is not what it was any more");
	if (clock_now() < c->deadline_ns)
		return c->between ? c->between(c->arg, e) : 0;
	if (!c->rounds)
		return err_setx(e, -ETIMEDOUT,
				"the standby was not copied in time: is this host, or its memory, "
				"that busy? Ask again later");
	return err_setx(
		e, -ETIMEDOUT,
		"no epoch could be copied whole: after %u rounds %u pages had changed since the "
		"last one, and %u can be read between two epochs; lower the guest's load, or ask "
		"again later",
		c->rounds, c->last_pages, last_max(c));
}

static int nap(const struct drill_copy *c, struct err *e)
{
	(void)poll(NULL, 0, WAIT_MS);
	return pass(c, e);
}

static void hasten(const struct drill_copy *c, bool on)
{
	if (c->haste)
		c->haste(c->arg, on);
}

/* ---- rounds that are not the last ---- */

static int send_batch(struct drill_copy *c, const uint64_t *pfn, const uint8_t *pages,
		      const bool *have, uint32_t n, struct err *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		if (!have[i])
			continue;
		rc = apply_page(c->apply, pfn[i], pages + (size_t)i * PAGE_SIZE, e);
		c->pages++;
	}
	return rc;
}

static int copy_batch(struct drill_copy *c, uint32_t n, struct err *e)
{
	int rc = c->read(c->arg, c->last_pfn, n, c->room, c->last_have, e);

	if (rc == 0)
		rc = send_batch(c, c->last_pfn, c->room, c->last_have, n, e);
	return rc < 0 ? rc : pass(c, e);
}

static int copy_all(struct drill_copy *c, struct err *e)
{
	uint64_t end = drill_share_mem_pages(c->share);
	int rc = 0;

	for (uint64_t pfn = 0; rc == 0 && pfn < end; pfn += DRILL_COPY_BATCH) {
		uint32_t n = (uint32_t)MIN((uint64_t)DRILL_COPY_BATCH, end - pfn);

		for (uint32_t i = 0; i < n; i++)
			c->last_pfn[i] = pfn + i;
		rc = copy_batch(c, n, e);
	}
	c->memory = c->pages;
	c->rounds = 1;
	return rc;
}

/* Empties the bitmap into the stream. */
static int copy_round(struct drill_copy *c, struct err *e)
{
	size_t words = drill_share_words(drill_share_mem_pages(c->share));
	uint32_t n = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < words; i++) {
		for (; c->todo[i]; c->todo[i] &= c->todo[i] - 1)
			c->last_pfn[n++] = i * 64 + (uint64_t)__builtin_ctzll(c->todo[i]);
		if (n > DRILL_COPY_BATCH - 64) {
			rc = copy_batch(c, n, e);
			n = 0;
		}
	}
	if (rc == 0 && n)
		rc = copy_batch(c, n, e);
	c->rounds++;
	return rc;
}

/* ---- the last one ---- */

/* *n: pages that are marked, all of them in last_pfn if they are not too many. */
static void list_todo(struct drill_copy *c, uint64_t *n)
{
	size_t words = drill_share_words(drill_share_mem_pages(c->share));

	*n = 0;
	for (size_t i = 0; i < words; i++)
		for (uint64_t w = c->todo[i]; w; w &= w - 1, (*n)++)
			if (*n < last_max(c))
				c->last_pfn[*n] = i * 64 + (uint64_t)__builtin_ctzll(w);
}

/* 1: pages and state are what they were at this epoch; 0: it passed. */
static int read_last(struct drill_copy *c, uint64_t epoch, uint32_t n, struct err *e)
{
	const struct drill_state *st = drill_share_state(c->share, epoch);

	if (!st)
		return 0;
	*c->state = *st;
	for (uint32_t i = 0; i < n; i += DRILL_COPY_BATCH) {
		int rc = c->read(c->arg, c->last_pfn + i, MIN(n - i, (uint32_t)DRILL_COPY_BATCH),
				 c->room + (size_t)i * PAGE_SIZE, c->last_have + i, e);

		if (rc < 0)
			return rc;
		if (!drill_share_still(c->share, epoch))
			return 0;
	}
	return drill_share_still(c->share, epoch);
}

static int send_state(struct drill_copy *c, struct err *e)
{
	struct wire_state st = {.kind = WIRE_HVM_CONTEXT,
				.hvm = {.data = c->state->hvm, .size = c->state->hvm_size},
				.tsc = c->state->tsc,
				.n_params = c->state->n_params};
	int rc;

	memcpy(st.param, c->state->param, sizeof(st.param));
	rc = apply_state(c->apply, &st, e);
	st.kind = WIRE_TSC_INFO;
	if (rc == 0)
		rc = apply_state(c->apply, &st, e);
	st.kind = WIRE_HVM_PARAMS;
	if (rc == 0)
		rc = apply_state(c->apply, &st, e);
	return rc;
}

static int send_last(struct drill_copy *c, uint64_t epoch, uint32_t n, struct err *e)
{
	int rc = send_batch(c, c->last_pfn, c->room, c->last_have, n, e);

	if (rc == 0)
		rc = send_state(c, e);
	if (rc == 0)
		rc = apply_seal(c->apply, 0, e);
	if (rc == 0)
		rc = apply_commit(c->apply, 0, e);
	if (rc == 0)
		rc = apply_finish(c->apply, e);
	c->rounds++;
	if (rc == 0)
		c->epoch = epoch;
	return rc;
}

/* One look at what has changed. 1: done; 0: go on. */
static int look(struct drill_copy *c, struct err *e)
{
	uint64_t epoch = drill_share_window(c->share);
	uint64_t n;
	int rc;

	if (epoch == EPOCH_NONE)
		return nap(c, e);
	drill_share_take(c->share, c->todo);
	/* Some of it may be of an epoch that is not in the standby yet: it stays until that is. */
	if (!drill_share_still(c->share, epoch))
		return nap(c, e);
	list_todo(c, &n);
	c->last_pages = (uint32_t)MIN(n, (uint64_t)UINT32_MAX);
	if (n > last_max(c))
		return copy_round(c, e);
	if (!c->held) {
		c->held = true;
		return c->hold ? c->hold(c->arg, &c->least, e) : 0;
	}
	/* A disk is further already. */
	if (c->least != EPOCH_NONE && epoch < c->least)
		return nap(c, e);
	c->tries++;
	hasten(c, true);
	rc = read_last(c, epoch, (uint32_t)n, e);
	hasten(c, false);
	if (rc == 1) {
		rc = c->at ? c->at(c->arg, epoch, e) : 0;
		if (rc == 0)
			rc = send_last(c, epoch, (uint32_t)n, e);
		return rc < 0 ? rc : 1;
	}
	/* Too late: what was to be the last round is one more, so that the next one has less. */
	if (rc == 0 && n)
		rc = copy_round(c, e);
	return rc < 0 ? rc : nap(c, e);
}

/* What was fed before the drill began is in the standby, and marked from here on is all that changes. */
static int await_first(const struct drill_copy *c, struct err *e)
{
	int rc = 0;

	while (rc == 0 && !drill_share_begun(c->share))
		rc = nap(c, e);
	return rc;
}

int drill_copy_run(struct drill_copy *c, struct err *e)
{
	int rc = allocate(c, e);

	c->epoch = c->least = EPOCH_NONE;
	c->held = false;
	c->deadline_ns = clock_add(clock_now(), c->timeout_ns);
	if (rc == 0)
		rc = await_first(c, e);
	if (rc == 0)
		rc = apply_static(c->apply, drill_share_statics(c->share), e);
	if (rc == 0)
		rc = copy_all(c, e);
	while (rc == 0)
		rc = look(c, e);
	release(c);
	return rc < 0 ? rc : 0;
}
