/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_guard.h. */
#include "disk/drill_guard.h"

#include <errno.h>

#include "disk/drill_talk.h"
#include "disk/drill_wire.h"
#include "disk/journal.h"
#include "disk/mutant.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"

/* What is read of the view in a turn. */
#define HEAR_MAX 64

enum guard_step {
	GUARD_OFF,
	GUARD_HERE,    /* a view came and has said nothing */
	GUARD_HOLDING, /* the journal applies nothing new */
	GUARD_ASKED,   /* ... and the epoch of the view is known, but not committed here yet */
	GUARD_GOING,   /* ... but what leads to the epoch of the view */
	GUARD_ON,      /* nothing is overwritten unasked */
};

struct drill_guard {
	struct block_store base;
	struct block_store *inner;
	const struct drill_talk *talk;
	struct journal *journal;
	enum guard_step step;
	int fd;
	uint64_t epoch;
	uint64_t
		since_ns; /* HOLDING to GOING; ON: the oldest that waits. CLOCK_NEVER: nothing is waited for */
	uint64_t now;
	/* That wait to be saved, in their order; `next` is the store's. */
	struct block_req *first;
	struct block_req **last;
	uint32_t seq;	    /* of the newest that was told */
	uint32_t seq_first; /* of the first that waits */
};

static bool overwrites(const struct block_req *r)
{
	return r->op == BLOCK_WRITE || r->op == BLOCK_ZERO || r->op == BLOCK_DISCARD;
}

static void let_through(struct drill_guard *g)
{
	struct block_req *r = g->first;

	g->first = r->next;
	if (!g->first)
		g->last = &g->first;
	g->seq_first++;
	g->since_ns = g->first ? g->now : CLOCK_NEVER;
	block_submit(g->inner, r);
}

void drill_guard_end(struct drill_guard *g, const char *why)
{
	if (g->step == GUARD_OFF)
		return;
	log_info("the drill's view of this disk ends: %s", why);
	g->step = GUARD_OFF;
	g->talk->close(g->fd);
	g->fd = -1;
	if (!DISK_MUTANT(DISK_MUTANT_HOLD_OUTLIVES_VIEW))
		journal_release(g->journal);
	while (g->first && !DISK_MUTANT(DISK_MUTANT_WAITS_AFTER_VIEW))
		let_through(g);
	g->since_ns = CLOCK_NEVER;
}

static int say(struct drill_guard *g, const struct drill_msg *m)
{
	return g->talk->say(g->fd, m);
}

/* ---- the store ---- */

/* Whoever does not read so many short words in a second gets no more of them, and that is the end. */
static void guard_submit(struct block_store *base, struct block_req *r)
{
	struct drill_guard *g = container_of(base, struct drill_guard, base);
	struct drill_msg m = {.word = DRILL_WORD_GOING, .off = r->off, .len = r->len};

	if (g->step != GUARD_ON || !overwrites(r) || DISK_MUTANT(DISK_MUTANT_OVERWRITTEN_UNSAVED)) {
		block_submit(g->inner, r);
		return;
	}
	m.seq = ++g->seq;
	r->next = NULL;
	*g->last = r;
	g->last = &r->next;
	if (say(g, &m) < 0)
		drill_guard_end(g, "it does not hear what is going to be overwritten");
}

/* Who waits for the disk itself has no time for a drill. */
static int guard_wait(struct block_store *base)
{
	struct drill_guard *g = container_of(base, struct drill_guard, base);

	if (g->first)
		drill_guard_end(g, "the disk is waited for");
	return g->inner->ops->wait(g->inner);
}

static const struct block_store_ops guard_ops = {.submit = guard_submit, .wait = guard_wait};

/* ---- the view ---- */

static void on_hold(struct drill_guard *g)
{
	struct drill_msg m = {.word = DRILL_WORD_HELD};

	g->step = GUARD_HOLDING;
	g->since_ns = g->now;
	m.epoch = journal_hold(g->journal);
	if (say(g, &m) < 0)
		drill_guard_end(g, "it does not hear");
}

static void on_at(struct drill_guard *g, uint64_t epoch)
{
	g->step = GUARD_ASKED;
	g->epoch = epoch;
}

/* The worker's word that it is committed comes by another socket, and may come later. */
static void set_out(struct drill_guard *g)
{
	int rc = g->step == GUARD_ASKED ? journal_hold_at(g->journal, g->epoch) : -EAGAIN;

	if (rc == 0)
		g->step = GUARD_GOING;
	else if (rc != -EAGAIN)
		drill_guard_end(g, "the disk cannot be at the epoch of the drill's memory");
}

static void on_saved(struct drill_guard *g, uint32_t seq)
{
	if (!g->first || seq != g->seq_first)
		drill_guard_end(g, "it saves what it was not asked for");
	else
		let_through(g);
}

static void on_word(struct drill_guard *g, const struct drill_msg *m)
{
	if (m->word == DRILL_WORD_HOLD && g->step == GUARD_HERE)
		on_hold(g);
	else if (m->word == DRILL_WORD_AT && g->step == GUARD_HOLDING)
		on_at(g, m->epoch);
	else if (m->word == DRILL_WORD_SAVED && g->step == GUARD_ON)
		on_saved(g, m->seq);
	else
		drill_guard_end(g, "it says what makes no sense");
}

static void hear(struct drill_guard *g)
{
	for (int i = 0; i < HEAR_MAX && g->step != GUARD_OFF; i++) {
		struct drill_msg m;
		int rc = g->talk->hear(g->fd, &m);

		if (rc == 0)
			return;
		if (rc > 0)
			on_word(g, &m);
		else
			drill_guard_end(g, rc == -EPIPE ? "it has gone" : "it talks nonsense");
	}
}

/* The disk is at the epoch: from here on the view is of what is there now. */
static void arrive(struct drill_guard *g)
{
	struct drill_msg m = {.word = DRILL_WORD_READY, .epoch = g->epoch};

	if (g->step != GUARD_GOING ||
	    !(journal_is_at(g->journal, g->epoch) || DISK_MUTANT(DISK_MUTANT_VIEW_EARLY)))
		return;
	g->step = GUARD_ON;
	g->since_ns = CLOCK_NEVER;
	if (say(g, &m) < 0)
		drill_guard_end(g, "it does not hear");
	else
		journal_release(g->journal);
}

uint64_t drill_guard_deadline(const struct drill_guard *g)
{
	uint64_t patience = g->step == GUARD_ON ? DRILL_SAVE_NS : DRILL_HOLD_NS;

	if (DISK_MUTANT(DISK_MUTANT_HOLD_FOR_EVER))
		return CLOCK_NEVER;
	return g->since_ns == CLOCK_NEVER ? CLOCK_NEVER : clock_add(g->since_ns, patience);
}

static bool must_go_on(const struct drill_guard *g)
{
	return journal_must_go_on(g->journal, g->first != NULL) &&
	       !DISK_MUTANT(DISK_MUTANT_JOURNAL_FILLS);
}

bool drill_guard_go_on(struct drill_guard *g, uint64_t now)
{
	enum guard_step before = g->step;

	g->now = now;
	if (g->step == GUARD_OFF)
		return false;
	hear(g);
	set_out(g);
	arrive(g);
	/* What was submitted since the last turn waits from now on: who submits has no clock. */
	if (g->first && g->since_ns == CLOCK_NEVER)
		g->since_ns = now;
	if (g->step != GUARD_OFF && must_go_on(g))
		drill_guard_end(g, "the journal must be worked off");
	if (now >= drill_guard_deadline(g))
		drill_guard_end(g, g->step == GUARD_ON ? "it does not save in time"
						       : "it holds the journal for too long");
	return g->step != before;
}

int drill_guard_begin_take(struct drill_guard *g, struct journal *j, int fd)
{
	if (g->step != GUARD_OFF || !journal_may_hold(j)) {
		g->talk->close(fd);
		return g->step != GUARD_OFF ? -EBUSY : -EPERM;
	}
	g->step = GUARD_HERE;
	g->journal = j;
	g->fd = fd;
	g->seq = 0;
	g->seq_first = 1;
	g->since_ns = CLOCK_NEVER;
	log_info("a drill looks at this disk");
	return 0;
}

int drill_guard_fd(const struct drill_guard *g)
{
	return g->fd;
}

struct block_store *drill_guard_blocks(struct drill_guard *g)
{
	return &g->base;
}

int drill_guard_new(struct drill_guard **out, struct block_store *inner,
		    const struct drill_talk *talk)
{
	struct drill_guard *g = mem_zalloc(sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->base = (struct block_store){
		.ops = &guard_ops, .size = inner->size, .block_size = inner->block_size};
	g->inner = inner;
	g->talk = talk;
	g->fd = -1;
	g->last = &g->first;
	g->since_ns = CLOCK_NEVER;
	*out = g;
	return 0;
}

void drill_guard_free(struct drill_guard *g)
{
	if (!g)
		return;
	if (g->fd >= 0)
		g->talk->close(g->fd);
	mem_free(g);
}
