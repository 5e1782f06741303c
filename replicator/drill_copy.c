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
#include "replicator/drill_round.h"
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

	c->round = (struct drill_round){
		.disks = c->at != NULL,
		.max = last_max(c),
		.batch = DRILL_COPY_BATCH,
		.marked = mem_array(drill_share_words(drill_share_mem_pages(c->share)),
				    sizeof(*c->round.marked)),
		.pfn = mem_array(room, sizeof(*c->round.pfn)),
		.state = mem_zalloc(sizeof(*c->round.state)),
	};
	c->room = mem_aligned(PAGE_SIZE, (size_t)room * PAGE_SIZE);
	c->have = mem_array(room, sizeof(*c->have));
	if (c->round.marked && c->room && c->round.pfn && c->have && c->round.state)
		return 0;
	return err_set(e, -ENOMEM, "buffers of the copy");
}

static void release(struct drill_copy *c)
{
	mem_free(c->round.marked);
	mem_free(c->round.pfn);
	mem_free(c->round.state);
	mem_free(c->room);
	mem_free(c->have);
	c->round.marked = NULL;
	c->round.pfn = NULL;
	c->round.state = NULL;
	c->room = NULL;
	c->have = NULL;
}

static int pass(const struct drill_copy *c, struct err *e)
{
	if (drill_share_ended(c->share))
		return err_setx(e, -ESTALE, "the standby is not what it was any more");
	if (clock_now() < c->deadline_ns)
		return c->between ? c->between(c->arg, e) : 0;
	if (!c->memory)
		return err_setx(e, -ETIMEDOUT,
				"the standby was not copied in time: is this host, or its memory, "
				"that busy? Ask again later");
	return err_setx(
		e, -ETIMEDOUT,
		"no epoch could be copied whole: after %u rounds %u pages had changed since the "
		"last one, and %u can be read between two epochs; lower the guest's load, or ask "
		"again later",
		c->round.rounds, c->round.last_pages, last_max(c));
}

static int nap(const struct drill_copy *c, struct err *e)
{
	(void)poll(NULL, 0, WAIT_MS);
	return pass(c, e);
}

static void hasten(struct drill_copy *c, bool on)
{
	if (c->hasty == on)
		return;
	c->hasty = on;
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
	int rc = c->read(c->arg, c->round.pfn, n, c->room, c->have, e);

	if (rc == 0)
		rc = send_batch(c, c->round.pfn, c->room, c->have, n, e);
	return rc < 0 ? rc : pass(c, e);
}

static int copy_all(struct drill_copy *c, struct err *e)
{
	uint64_t end = drill_share_mem_pages(c->share);
	int rc = apply_static(c->apply, drill_share_statics(c->share), e);

	for (uint64_t pfn = 0; rc == 0 && pfn < end; pfn += DRILL_COPY_BATCH) {
		uint32_t n = (uint32_t)MIN((uint64_t)DRILL_COPY_BATCH, end - pfn);

		for (uint32_t i = 0; i < n; i++)
			c->round.pfn[i] = pfn + i;
		rc = copy_batch(c, n, e);
	}
	c->memory = c->pages;
	return rc;
}

/* Empties the bitmap into the stream. */
static int copy_round(struct drill_copy *c, struct err *e)
{
	size_t words = drill_share_words(drill_share_mem_pages(c->share));
	uint64_t *todo = c->round.marked;
	uint32_t n = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < words; i++) {
		for (; todo[i]; todo[i] &= todo[i] - 1)
			c->round.pfn[n++] = i * 64 + (uint64_t)__builtin_ctzll(todo[i]);
		if (n > DRILL_COPY_BATCH - 64) {
			rc = copy_batch(c, n, e);
			n = 0;
		}
	}
	if (rc == 0 && n)
		rc = copy_batch(c, n, e);
	return rc;
}

/* ---- the last one ---- */

static int read_batch(struct drill_copy *c, struct err *e)
{
	uint32_t from = c->round.from;

	return c->read(c->arg, c->round.pfn + from, c->round.count,
		       c->room + (size_t)from * PAGE_SIZE, c->have + from, e);
}

static int send_state(struct drill_copy *c, struct err *e)
{
	const struct drill_state *from = c->round.state;
	struct wire_state st = {.kind = WIRE_HVM_CONTEXT,
				.hvm = {.data = from->hvm, .size = from->hvm_size},
				.tsc = from->tsc,
				.n_params = from->n_params};
	int rc;

	memcpy(st.param, from->param, sizeof(st.param));
	rc = apply_state(c->apply, &st, e);
	st.kind = WIRE_TSC_INFO;
	if (rc == 0)
		rc = apply_state(c->apply, &st, e);
	st.kind = WIRE_HVM_PARAMS;
	if (rc == 0)
		rc = apply_state(c->apply, &st, e);
	return rc;
}

static int send_last(struct drill_copy *c, struct err *e)
{
	int rc = send_batch(c, c->round.pfn, c->room, c->have, c->round.n, e);

	if (rc == 0)
		rc = send_state(c, e);
	if (rc == 0)
		rc = apply_seal(c->apply, 0, e);
	if (rc == 0)
		rc = apply_commit(c->apply, 0, e);
	if (rc == 0)
		rc = apply_finish(c->apply, e);
	if (rc == 0)
		c->epoch = c->round.epoch;
	return rc;
}

static int carry_out(struct drill_copy *c, enum drill_todo todo, struct err *e)
{
	if (todo == DRILL_TODO_READ && !c->hasty)
		c->tries++;
	hasten(c, todo == DRILL_TODO_READ);
	switch (todo) {
	case DRILL_TODO_AGAIN:
		return 0;
	case DRILL_TODO_NAP:
		return nap(c, e);
	case DRILL_TODO_ALL:
		return copy_all(c, e);
	case DRILL_TODO_ROUND:
		return copy_round(c, e);
	case DRILL_TODO_HOLD:
		return c->hold ? c->hold(c->arg, &c->round.least, e) : 0;
	case DRILL_TODO_READ:
		return read_batch(c, e);
	case DRILL_TODO_DISKS:
		return c->at(c->arg, c->round.epoch, e);
	case DRILL_TODO_SEND:
		return send_last(c, e);
	}
	return 0;
}

int drill_copy_run(struct drill_copy *c, struct err *e)
{
	enum drill_todo todo = DRILL_TODO_AGAIN;
	int rc = allocate(c, e);

	c->epoch = EPOCH_NONE;
	c->hasty = false;
	c->deadline_ns = clock_add(clock_now(), c->timeout_ns);
	while (rc == 0 && todo != DRILL_TODO_SEND) {
		todo = drill_round_next(&c->round, c->share);
		rc = carry_out(c, todo, e);
	}
	hasten(c, false);
	c->rounds = c->round.rounds;
	c->last_pages = c->round.last_pages;
	release(c);
	return rc;
}
