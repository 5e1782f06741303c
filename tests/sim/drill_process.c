/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus-drill and the copy that it makes; see drill.h, and replicator/drill_life.c for the one that is. */
#include <string.h>

#include "replicator/drill_share.h"
#include "tests/sim/sim.h"

#define ANSWER_NS (9 * SEC) /* of a view */
#define COPY_NS (300 * SEC)
#define LOOKS 4 /* at the copy's disks, while it lives */

/* Of the epoch that is being read: too large for the world, which is cleared for each seed. */
static struct drill_state states[MAX_PROCESSES];

static struct drill_ev event(const struct sim *s, int i, enum drill_ev_kind kind)
{
	const struct drill_process *p = &s->drills.process[i];

	return (struct drill_ev){.kind = kind, .i = i, .gen = p->number, .token = p->token};
}

static void go_later(struct sim *s, int i, uint64_t min, uint64_t max)
{
	const struct drill_ev ev = event(s, i, DEV_GO);

	drills_push(s, drills_delay(s, min, max), &ev);
}

bool process_is_worker(const struct sim *s, const struct drill_process *p, int slot)
{
	return p->slot == slot && p->gen == s->drills.worker[slot].gen;
}

/* ---- begin ---- */

static int launch(struct sim *s, int slot, enum process_phase phase)
{
	int i = 0;

	while (i < MAX_PROCESSES && (s->drills.process[i].alive || s->drills.process[i].copy_there))
		i++;
	if (i == MAX_PROCESSES) {
		sim_fail(s, "P6", "more than %d drills have not ended", MAX_PROCESSES);
		return -1;
	}
	s->drills.process[i] = (struct drill_process){
		.alive = true,
		.phase = phase,
		.slot = slot,
		.gen = s->b[slot].proc.gen,
		.number = ++s->drills.n_processes,
		.since = s->now,
	};
	go_later(s, i, MS, 30 * MS);
	return i;
}

int process_start(struct sim *s, int slot, const struct fault *plan, struct drill_share *seen)
{
	int i = launch(s, slot, PROCESS_PREPARING);
	struct drill_process *p = &s->drills.process[i < 0 ? 0 : i];
	struct drill_ev ev;

	if (i < 0)
		return i;
	p->seen = seen;
	p->plan.living_ns = plan->duration;
	p->plan.arg = plan->arg;
	p->standby = s->drills.standby;
	p->round = (struct drill_round){
		.disks = s->plan.n_disks > 0,
		.marked = p->marked,
		.pfn = p->pfn,
		.max = DRILL_LAST,
		.batch = DRILL_PAGES_AT_ONCE,
		.state = &states[i],
	};
	p->epoch = EPOCH_NONE;
	p->slow = plan->arg & DRILL_READS_SLOWLY;
	ev = event(s, i, DEV_KILLED);
	ev.ok = plan->arg & DRILL_IS_STUCK;
	if (plan->arg & (DRILL_IS_KILLED | DRILL_IS_STUCK))
		drills_push(s, drills_delay(s, MS, 200 * MS + 2 * plan->duration), &ev);
	return i;
}

int process_clean(struct sim *s, int slot)
{
	return launch(s, slot, PROCESS_CLEANING);
}

/* ---- end ---- */

static void exits(struct sim *s, int i, bool tidy, bool busy)
{
	struct drill_process *p = &s->drills.process[i];
	struct drill_ev ev = {.kind = DEV_GONE, .worker = true, .i = i, .ok = tidy, .busy = busy};

	ev.slot = p->slot;
	ev.gen = p->gen;
	p->alive = false;
	p->lock = false;
	p->token++;
	drill_share_close(p->seen);
	p->seen = NULL;
	drills_push(s, drills_delay(s, 10 * US, 2 * MS), &ev);
}

/* The copy first, at once; then all else. */
static void ends(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	p->phase = PROCESS_ENDING;
	p->since = s->now;
	p->token++;
	if (p->stuck)
		return;
	/* A ladder of seven steps of 5 s, at the worst. */
	go_later(s, i, MS, drills_percent(s, 2) ? 34 * SEC : 300 * MS);
}

static void fails(struct sim *s, int i, const char *why)
{
	sim_trace(s, "D%d   the drill fails: %s", i, why);
	ends(s, i);
}

static void ended(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	p->copy_there = p->copy_runs = false;
	drill_views_close(s, i);
	exits(s, i, true, false);
}

/* Heard where drill_life.c looks: between two batches and while it waits, not while it reads what must be read quickly. */
void process_told(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	if (i < 0 || !p->alive || p->phase == PROCESS_ENDING || p->phase == PROCESS_CLEANING)
		return;
	p->told = true;
	if (p->stuck || p->phase == PROCESS_COPYING)
		return;
	p->token++;
	go_later(s, i, 10 * US, 5 * MS);
}

/* Its helpers see it, and take away what is theirs. */
void process_killed(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];
	struct drill_ev ev;

	if (i < 0 || !p->alive)
		return;
	sim_trace(s, "D%d   is killed", i);
	drill_views_close(s, i);
	exits(s, i, false, false);
	ev = event(s, i, DEV_COPY_END);
	drills_push(s, drills_delay(s, MS, 2 * SEC), &ev);
}

/* ---- the copy ---- */

static bool read_pages(struct sim *s, struct drill_process *p, const uint64_t *pfn, uint32_t n,
		       uint64_t *to)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!drill_read_page(s, p->standby, pfn[i], &to[i]))
			return false;
	}
	return true;
}

/* Some pages of what is to be copied at once. True: there are more. */
static bool copy_some(struct sim *s, struct drill_process *p)
{
	unsigned int done = 0;

	for (; p->at < DRILL_PAGES && done < DRILL_PAGES_AT_ONCE; p->at++) {
		const uint64_t bit = UINT64_C(1) << p->at;
		const uint64_t pfn = p->at;

		if (p->todo == DRILL_TODO_ROUND && !(p->marked[0] & bit))
			continue;
		if (p->todo == DRILL_TODO_ROUND)
			p->marked[0] &= ~bit;
		if (!read_pages(s, p, &pfn, 1, &p->copy[pfn]))
			p->standby = 0;
		done++;
	}
	return p->at < DRILL_PAGES;
}

/* The pages of an epoch are confirmed, at this instant. */
static void had(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	for (uint32_t k = 0; k < p->round.n; k++)
		p->copy[p->pfn[k]] = p->last[k];
	p->epoch = p->round.epoch;
	p->state = p->round.state->param[0].value;
	s->drills.copied++;
	sim_trace(s, "D%d   has epoch %llu, after %u rounds", i, (unsigned long long)p->epoch,
		  p->round.rounds);
	oracle_drill_copied(s, p, p->round.state);
}

static void built(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	p->phase = PROCESS_BUILDING;
	p->since = s->now;
	go_later(s, i, 2 * MS, 100 * MS);
}

/* What was to be done takes its time, and is done at the end of it. */
static void begin_todo(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	p->io = true;
	p->at = 0;
	p->answers = 0;
	if (p->todo == DRILL_TODO_DISKS || (p->todo == DRILL_TODO_SEND && !p->round.disks))
		had(s, i);
	switch (p->todo) {
	case DRILL_TODO_AGAIN:
		go_later(s, i, 1 * US, MS);
		break;
	case DRILL_TODO_NAP:
		go_later(s, i, 300 * US, 5 * MS);
		break;
	case DRILL_TODO_ALL:
	case DRILL_TODO_ROUND:
	case DRILL_TODO_READ:
		go_later(s, i, 10 * US, p->slow ? 40 * MS : MS);
		break;
	case DRILL_TODO_HOLD:
	case DRILL_TODO_DISKS:
		/* The views' answers come before that, or never. */
		p->token++;
		drill_views_tell(s, i, p->todo == DRILL_TODO_HOLD ? DRILL_WORD_HOLD : DRILL_WORD_AT,
				 p->round.epoch);
		go_later(s, i, ANSWER_NS, ANSWER_NS);
		break;
	case DRILL_TODO_SEND:
		built(s, i);
		break;
	}
}

/* The work of a step. True: there is more of it. */
static bool work(struct sim *s, struct drill_process *p)
{
	switch (p->todo) {
	case DRILL_TODO_ALL:
	case DRILL_TODO_ROUND:
		return copy_some(s, p);
	case DRILL_TODO_READ:
		if (!read_pages(s, p, p->pfn + p->round.from, p->round.count,
				p->last + p->round.from))
			p->standby = 0;
		return false;
	case DRILL_TODO_AGAIN:
	case DRILL_TODO_NAP:
	case DRILL_TODO_HOLD:
	case DRILL_TODO_DISKS:
	case DRILL_TODO_SEND:
		return false;
	}
	return false;
}

/* pass() of drill_copy.c: not where the last pages are read. */
static bool called_off(const struct sim *s, const struct drill_process *p)
{
	if (p->todo != DRILL_TODO_NAP && p->todo != DRILL_TODO_ALL && p->todo != DRILL_TODO_ROUND)
		return false;
	return p->told || drill_share_ended(p->seen) || s->now > p->since + COPY_NS;
}

static void copy_on(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];
	bool more;

	/* The time is over: the views were waited for in vain. */
	if (p->todo == DRILL_TODO_HOLD || p->todo == DRILL_TODO_DISKS) {
		fails(s, i, "a disk's view does not answer");
		return;
	}
	if (p->io) {
		more = work(s, p);
		p->io = more;
		if (!p->standby)
			fails(s, i, "the standby is gone");
		else if (called_off(s, p))
			fails(s, i, "called off");
		else
			/* Anything may happen before the next look. */
			go_later(s, i, 1 * US, p->slow ? 20 * MS : 200 * US);
		return;
	}
	p->todo = drill_round_next(&p->round, p->seen);
	begin_todo(s, i);
}

void process_hears(struct sim *s, int i, bool ok)
{
	struct drill_process *p = &s->drills.process[i];
	uint64_t least = EPOCH_NONE;

	if (i < 0 || !p->alive || p->stuck || p->phase == PROCESS_ENDING)
		return;
	if (!ok) {
		fails(s, i, "a disk's view has failed");
		return;
	}
	if (p->phase != PROCESS_COPYING || ++p->answers < (unsigned int)s->plan.n_disks)
		return;
	for (int n = 0; n < s->plan.n_disks; n++) {
		uint64_t e = s->drills.disk[n].least;

		if (e != EPOCH_NONE)
			least = least == EPOCH_NONE ? e : MAX(least, e);
	}
	if (p->todo == DRILL_TODO_HOLD)
		p->round.least = least;
	p->token++;
	p->todo = DRILL_TODO_AGAIN;
	p->io = false;
	/* Waiting for them ends early when it is told to end. */
	if (p->told)
		fails(s, i, "called off");
	else
		go_later(s, i, 1 * US, MS);
}

/* ---- its life ---- */

static void prepare(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	for (int k = 0; k < MAX_PROCESSES; k++) {
		struct drill_process *o = &s->drills.process[k];

		if (k != i && o->alive && o->lock) {
			exits(s, i, false, true);
			return;
		}
		/* What one that was killed has left is removed first. */
		if (k != i && !o->alive)
			o->copy_there = o->copy_runs = false;
	}
	p->lock = true;
	if (p->phase == PROCESS_CLEANING) {
		ended(s, i);
		return;
	}
	if (p->told || !drill_views_open(s, i)) {
		fails(s, i, p->told ? "called off" : "a disk cannot be looked at");
		return;
	}
	p->phase = PROCESS_COPYING;
	p->since = s->now;
	p->todo = DRILL_TODO_AGAIN;
	p->copy_there = true;
	go_later(s, i, MS, 20 * MS);
}

static void live(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	drill_views_look(s, i);
	if (p->told) {
		fails(s, i, "called off");
	} else if (s->now >= p->since + p->plan.living_ns) {
		p->passed = true;
		s->drills.passed++;
		sim_trace(s, "D%d   the drill has passed", i);
		ends(s, i);
	} else {
		go_later(s, i, 1 * US, 1 + 2 * p->plan.living_ns / LOOKS);
	}
}

static void go_on(struct sim *s, int i)
{
	struct drill_process *p = &s->drills.process[i];

	switch (p->phase) {
	case PROCESS_PREPARING:
	case PROCESS_CLEANING:
		prepare(s, i);
		break;
	case PROCESS_COPYING:
		copy_on(s, i);
		break;
	case PROCESS_BUILDING:
		if (p->told) {
			fails(s, i, "called off");
			break;
		}
		p->phase = PROCESS_LIVING;
		p->since = s->now;
		p->copy_runs = true;
		s->drills.lived++;
		live(s, i);
		break;
	case PROCESS_LIVING:
		live(s, i);
		break;
	case PROCESS_ENDING:
		ended(s, i);
		break;
	}
}

void process_event(struct sim *s, const struct drill_ev *ev)
{
	struct drill_process *p = &s->drills.process[ev->i];
	const struct drill_ev wakes = {.kind = DEV_WAKES, .i = ev->i, .gen = ev->gen};

	if (ev->gen != p->number)
		return;
	if (ev->kind == DEV_COPY_END)
		p->copy_there = p->copy_runs = false;
	if (!p->alive)
		return;
	if (ev->kind == DEV_KILLED && ev->ok) {
		sim_trace(s, "D%d   is stuck", ev->i);
		p->stuck = true;
		p->token++;
		/* Longer than anybody has patience. */
		drills_push(s, 120 * SEC, &wakes);
	} else if (ev->kind == DEV_KILLED) {
		process_killed(s, ev->i);
	} else if (ev->kind == DEV_WAKES) {
		p->stuck = false;
		p->told = true;
		ends(s, ev->i);
	} else if (ev->token == p->token && !p->stuck) {
		go_on(s, ev->i);
	}
}
