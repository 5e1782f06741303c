/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's worker as far as a drill is concerned: who asks, its data thread, the standby's pages. See drill.h. */
#include "tests/sim/drill.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "replicator/drill_request.h"
#include "replicator/drill_share.h"
#include "tests/sim/sim.h"

#define ASK_NS SEC /* the tool asks so often */

/* ---- what is to come ---- */

bool drills_percent(struct sim *s, unsigned int percent)
{
	return rng_percent(&s->drills.rng, percent);
}

uint64_t drills_delay(struct sim *s, uint64_t min, uint64_t max)
{
	uint64_t span = max - min + 1;

	if (rng_below(&s->drills.rng, 8))
		span = span / 8 + 1;
	return MIN(min + rng_below(&s->drills.rng, span), max);
}

static void push_at(struct sim *s, uint64_t t, const struct drill_ev *ev)
{
	struct drills *d = &s->drills;

	if (d->n_ev == DRILL_EVENTS) {
		sim_fail(s, "P6", "more than %d things to come of drills", DRILL_EVENTS);
		return;
	}
	d->ev[d->n_ev] = *ev;
	d->ev[d->n_ev].t = t;
	d->ev[d->n_ev++].seq = d->seq++;
}

void drills_push(struct sim *s, uint64_t delay, const struct drill_ev *ev)
{
	push_at(s, s->now + delay, ev);
}

static unsigned int soonest(const struct drills *d)
{
	unsigned int best = 0;

	for (unsigned int i = 1; i < d->n_ev; i++) {
		if (d->ev[i].t < d->ev[best].t ||
		    (d->ev[i].t == d->ev[best].t && d->ev[i].seq < d->ev[best].seq))
			best = i;
	}
	return best;
}

uint64_t drills_next(const struct sim *s)
{
	return s->drills.n_ev ? s->drills.ev[soonest(&s->drills)].t : NEVER;
}

static struct drill_ev worker_event(const struct sim *s, int slot, enum drill_ev_kind kind)
{
	return (struct drill_ev){
		.kind = kind, .worker = true, .slot = slot, .gen = s->b[slot].proc.gen};
}

/* As may_run() of the world, but it leaves no trace there. */
static bool may_come(struct sim *s, const struct drill_ev *ev)
{
	const struct host *h = &s->host[SIDE_B];
	const struct process *p = &s->b[ev->slot].proc;

	if (ev->kind == DEV_ASKED)
		return true;
	if (!h->up || (ev->worker && (!p->alive || p->gen != ev->gen)))
		return false;
	if (h->frozen && h->thaw > s->now) {
		push_at(s, h->thaw, ev);
		return false;
	}
	if (ev->worker && p->frozen && s->now < p->thaw) {
		push_at(s, p->thaw, ev);
		return false;
	}
	return true;
}

/* ---- the standby ---- */

static uint64_t shown_by(const struct sim *s, const struct drill_page *p)
{
	return s->now >= p->at ? p->now : p->old;
}

void drill_standby_begins(struct sim *s, int slot)
{
	struct drills *d = &s->drills;

	if (!s->drilling)
		return;
	d->standby++;
	d->worker[slot].ap = (struct apply){.s = s, .there = true, .fed = EPOCH_NONE};
	memset(d->page, 0, sizeof(d->page));
	d->known_epoch = EPOCH_NONE;
}

bool drill_read_page(const struct sim *s, uint64_t standby, uint64_t pfn, uint64_t *value)
{
	const struct drills *d = &s->drills;

	if (!s->standby.exists || d->standby != standby)
		return false;
	/* It is being completed, or runs: anything may be in there. */
	*value = s->standby.completing || s->standby.runs ? s->now : shown_by(s, &d->page[pfn]);
	return true;
}

/* All pages of the first copy; of a later epoch few, or very many. */
static void choose_pages(struct sim *s, struct apply *ap, uint64_t epoch)
{
	struct rng *r = &s->drills.rng;
	uint64_t most = s->now < s->dirty_until || rng_percent(r, 10) ? DRILL_PAGES : DRILL_LAST;
	uint64_t want = rng_between(r, 1, most);

	ap->n = 0;
	for (uint64_t pfn = 0; pfn < DRILL_PAGES; pfn++) {
		if (epoch == 0 || rng_below(r, DRILL_PAGES) < want)
			ap->pfn[ap->n++] = pfn;
	}
}

/* Each at its own moment, before or after the reader has taken the last byte. */
static void work_in(struct sim *s, struct apply *ap, uint64_t epoch)
{
	struct drills *d = &s->drills;
	uint64_t from = MAX(s->now, ap->worked_at);

	ap->worked_at = MAX(from, ap->taken_at) + drills_delay(s, 10 * US, 20 * MS);
	for (uint32_t i = 0; i < ap->n; i++) {
		struct drill_page *p = &d->page[ap->pfn[i]];

		p->old = p->now;
		p->now = epoch + 1;
		p->at = rng_between(&d->rng, from, ap->worked_at);
	}
	for (unsigned int i = 0; i < DRILL_PAGES; i++)
		d->known[epoch % DRILL_EPOCHS][i] = d->page[i].now;
	d->known_epoch = epoch;
}

/* apply_epoch() of the data thread; it has fed all bytes when the world says so, in drill_fed(). */
static void feed(struct sim *s, int slot)
{
	struct backup_side *w = &s->b[slot];
	struct drill_worker *dw = &s->drills.worker[slot];
	struct apply *ap = &dw->ap;
	uint64_t epoch = w->arena_epoch;

	if (!dw->feed_due)
		return;
	dw->feed_due = false;
	choose_pages(s, ap, epoch);
	ap->tsc.khz = (uint32_t)epoch + 1;
	ap->param = (struct wire_param){.index = epoch, .value = w->arena_state};
	ap->hvm[0] = (uint8_t)epoch;
	ap->marked = false;
	s->drills.known_state[epoch % DRILL_EPOCHS] = w->arena_state;
	if (epoch > 0)
		drill_feed_before(&dw->feed, ap, epoch);
	work_in(s, ap, epoch);
}

void drill_feeds(struct sim *s, int slot, uint64_t taking)
{
	struct drill_worker *dw = &s->drills.worker[slot];
	const struct drill_ev ev = worker_event(s, slot, DEV_FEED);

	if (!s->drilling || s->standby.owner != s->b[slot].proc.gen)
		return;
	dw->applying = true;
	dw->feed_due = true;
	dw->ap.taken_at = s->now + taking;
	drills_push(s, rng_between(&s->drills.rng, s->drills.late ? taking * 7 / 8 : 0, taking - 1),
		    &ev);
}

/* ---- the data thread ---- */

static void pump_later(struct sim *s, int slot)
{
	struct drill_worker *dw = &s->drills.worker[slot];
	const struct drill_ev ev = worker_event(s, slot, DEV_PUMP);

	if (dw->pumps || !drill_feed_waits(&dw->feed))
		return;
	dw->pumps = true;
	drills_push(s, rng_between(&s->drills.rng, 100 * US, DRILL_FEED_POLL_MS * MS), &ev);
}

static void begin_drill(struct drill_worker *dw, struct drill_share *share)
{
	static const struct wire_static statics = {.n_leaves = 1};

	if (dw->ap.there) {
		drill_feed_begin_take(&dw->feed, share, &statics, &dw->ap);
		return;
	}
	drill_share_end(share);
	drill_share_close(share);
}

static void obey(struct sim *s, int slot)
{
	struct drill_worker *dw = &s->drills.worker[slot];

	for (unsigned int i = 0; i < dw->n_cmds; i++) {
		if (dw->cmd[i].type == DRILL_CMD_BEGIN)
			begin_drill(dw, dw->cmd[i].share);
		else
			drill_feed_end(&dw->feed);
	}
	dw->n_cmds = 0;
	pump_later(s, slot);
}

static void command(struct sim *s, int slot, enum drill_cmd type, struct drill_share *share)
{
	struct drill_worker *dw = &s->drills.worker[slot];
	const struct drill_ev ev = worker_event(s, slot, DEV_COMMAND);

	assert(dw->n_cmds < MAX_WORDS);
	dw->cmd[dw->n_cmds].type = type;
	dw->cmd[dw->n_cmds++].share = share;
	drills_push(s, rng_below(&s->drills.rng, 200 * US), &ev);
}

void drill_fed(struct sim *s, int slot)
{
	struct drill_worker *dw = &s->drills.worker[slot];

	if (!s->drilling)
		return;
	feed(s, slot);
	dw->applying = false;
	dw->ap.fed = s->standby.epoch;
	drill_feed_after(&dw->feed);
	obey(s, slot);
	pump_later(s, slot);
}

/* finish_stream(): the standby completes itself. */
void drill_finishes(struct sim *s, int slot)
{
	struct drill_worker *dw = &s->drills.worker[slot];

	if (!s->drilling)
		return;
	obey(s, slot);
	drill_feed_end(&dw->feed);
	dw->ap.there = false;
}

/* ---- the control thread ---- */

static void arm(struct sim *s, int slot)
{
	struct drill_worker *dw = &s->drills.worker[slot];
	const struct drill_ev ev = worker_event(s, slot, DEV_TIMER);
	uint64_t at = drill_rule_deadline(&dw->rule);

	if (at == CLOCK_NEVER || dw->timer_at <= at)
		return;
	dw->timer_at = at;
	push_at(s, host_when(s, SIDE_B, at), &ev);
}

/* drill_shell_end() */
static void end_drill(struct sim *s, int slot, const char *why)
{
	struct drill_worker *dw = &s->drills.worker[slot];

	if (!drill_rule_end(&dw->rule, host_clock(s, SIDE_B)))
		return;
	sim_trace(s, "B%d   the drill ends: %s", slot, why);
	dw->told_at = s->now;
	process_told(s, dw->process);
	command(s, slot, DRILL_CMD_END, NULL);
	arm(s, slot);
}

void drill_make_way(struct sim *s, int slot)
{
	const char *why;

	if (!s->drilling)
		return;
	why = drill_rule_must_end(&s->b[slot].core);
	s->drills.made_way += why && s->drills.worker[slot].rule.stage == DRILL_STAGE_UNDER_WAY;
	if (why)
		end_drill(s, slot, why);
}

static void timer(struct sim *s, int slot)
{
	struct drill_worker *dw = &s->drills.worker[slot];

	dw->timer_at = NEVER;
	switch (drill_rule_due(&dw->rule, host_clock(s, SIDE_B))) {
	case DRILL_DUE_KILL:
		process_killed(s, dw->process);
		break;
	case DRILL_DUE_END:
		end_drill(s, slot, "nobody asked for it any more");
		break;
	case DRILL_DUE_NOTHING:
		break;
	}
	arm(s, slot);
}

static void begin(struct sim *s, int slot, const struct fault *plan)
{
	struct drill_worker *dw = &s->drills.worker[slot];
	struct drill_share *share, *seen;
	int fd;

	if (drill_share_make(&share, DRILL_PAGES, &fd, NULL) < 0 ||
	    drill_share_open(&seen, fd, NULL) < 0) {
		sim_fail(s, "plan", "no memory to share with a drill");
		return;
	}
	close(fd);
	dw->process = process_start(s, slot, plan, seen);
	command(s, slot, DRILL_CMD_BEGIN, share);
	drill_rule_begun(&dw->rule, host_clock(s, SIDE_B));
	dw->asked_at = s->now;
	s->drills.begun++;
	arm(s, slot);
}

/* drill_shell_request() */
static void request(struct sim *s, int slot, const struct fault *plan)
{
	const struct backup_side *w = &s->b[slot];
	struct drill_worker *dw = &s->drills.worker[slot];
	bool may = drill_rule_may(&w->core) && s->standby.exists && s->standby.owner == w->proc.gen;
	int rc = drill_rule_check(&dw->rule, may);

	sim_trace(s, "B%d   a drill is asked for: %s", slot, rc < 0 ? "no" : "it begins");
	if (rc == 0)
		begin(s, slot, plan);
}

/* The tool asks how it is; some operators ask for a second one meanwhile. */
static void again(struct sim *s, const struct drill_ev *ev)
{
	struct drill_worker *dw = &s->drills.worker[ev->slot];

	if (!ev->ok) {
		request(s, ev->slot, &s->plan.drill[ev->i]);
		return;
	}
	drill_rule_asked(&dw->rule, host_clock(s, SIDE_B));
	if (dw->rule.stage != DRILL_STAGE_UNDER_WAY)
		return;
	dw->asked_at = s->now;
	arm(s, ev->slot);
	drills_push(s, ASK_NS, ev);
}

static void asked(struct sim *s, int i)
{
	const struct fault *f = &s->plan.drill[i];
	int slot = b_current(s);
	struct drill_ev ev;

	s->drills.asked++;
	sim_trace(s, "!! drill for %llu ms, %#llx", (unsigned long long)(f->duration / MS),
		  (unsigned long long)f->arg);
	/* The control socket is not answered, or answered when it is too late to matter. */
	if (slot < 0 || s->b[slot].proc.frozen || s->host[SIDE_B].frozen)
		return;
	request(s, slot, f);
	ev = worker_event(s, slot, DEV_AGAIN);
	ev.i = i;
	ev.ok = true;
	if (!(f->arg & DRILL_IS_FORGOTTEN))
		drills_push(s, ASK_NS, &ev);
	ev.ok = false;
	if (f->arg & DRILL_IS_ASKED_TWICE)
		drills_push(s, rng_below(&s->drills.rng, SEC), &ev);
}

/* on_exit_of() */
static void gone(struct sim *s, const struct drill_ev *ev)
{
	struct drill_worker *dw = &s->drills.worker[ev->slot];
	bool cleaned = dw->rule.stage == DRILL_STAGE_CLEANING;
	bool busy = ev->busy, tidy = ev->ok;
	bool left;

	if (dw->process != ev->i)
		return;
	left = drill_rule_gone(&dw->rule, tidy, busy);
	dw->process = -1;
	if (cleaned)
		return;
	command(s, ev->slot, DRILL_CMD_END, NULL);
	if (left) {
		drill_rule_cleaning(&dw->rule);
		dw->process = process_clean(s, ev->slot);
	} else if (!tidy && !busy) {
		sim_fail(s, "P6", "what a drill has left is not removed");
	}
}

/* ---- begin and end ---- */

void drill_worker_begins(struct sim *s, int slot)
{
	struct drill_worker *dw = &s->drills.worker[slot];

	if (!s->drilling)
		return;
	*dw = (struct drill_worker){.gen = s->b[slot].proc.gen, .process = -1, .timer_at = NEVER};
	drill_rule_init(&dw->rule);
}

/* Of one that crashes nobody says anything: the memory is as it was. */
void drill_worker_died(struct sim *s, int slot, bool crash)
{
	struct drill_worker *dw = &s->drills.worker[slot];

	if (!s->drilling)
		return;
	for (unsigned int i = 0; i < dw->n_cmds; i++)
		drill_share_close(dw->cmd[i].share);
	dw->n_cmds = 0;
	if (crash) {
		drill_share_close(dw->feed.share);
		dw->feed = (struct drill_feed){.share = NULL};
	}
	drill_feed_end(&dw->feed);
	dw->ap.there = false;
	for (int i = 0; i < MAX_PROCESSES; i++) {
		struct drill_process *p = &s->drills.process[i];

		if (p->alive && process_is_worker(s, p, slot) && !p->alone_since) {
			p->alone_since = s->now;
			process_told(s, i);
		}
	}
}

void drill_host_died(struct sim *s)
{
	if (!s->drilling)
		return;
	for (int i = 0; i < MAX_WORKERS; i++)
		drill_worker_died(s, i, true);
	for (int i = 0; i < MAX_PROCESSES; i++) {
		struct drill_process *p = &s->drills.process[i];

		drill_share_close(p->seen);
		*p = (struct drill_process){.alive = false};
	}
	for (int i = 0; i < s->plan.n_disks; i++)
		drill_disk_died(s, i);
}

void drills_begin(struct sim *s)
{
	struct drills *d = &s->drills;

	if (!s->drilling)
		return;
	rng_seed(&d->rng, s->seed ^ UINT64_C(0xd2111));
	d->late = rng_percent(&d->rng, 50);
	for (int i = 0; i < MAX_WORKERS; i++)
		d->worker[i].process = -1;
	drill_disks_begin(s);
	for (int i = 0; i < s->plan.n_drills; i++) {
		const struct drill_ev ev = {.kind = DEV_ASKED, .i = i};

		push_at(s, s->plan.drill[i].at, &ev);
	}
}

void drills_end(struct sim *s)
{
	struct drills *d = &s->drills;

	if (!s->drilling)
		return;
	for (int i = 0; i < MAX_WORKERS; i++)
		drill_worker_died(s, i, true);
	for (int i = 0; i < MAX_PROCESSES; i++)
		drill_share_close(d->process[i].seen);
	drill_disks_free(s);
}

/* Drills that wait for it are asked for now. */
void drills_moment(struct sim *s, unsigned int moment)
{
	if (!s->drilling)
		return;
	for (int i = 0; i < s->plan.n_drills; i++) {
		const struct drill_ev ev = {.kind = DEV_ASKED, .i = i, .ok = true};

		if (!(s->drills.armed & 1u << i) || s->plan.drill[i].upon != moment)
			continue;
		s->drills.armed &= ~(1u << i);
		drills_push(s, s->plan.drill[i].after, &ev);
	}
}

void drills_go_on(struct sim *s)
{
	if (!s->drilling)
		return;
	for (int n = 0; n < s->plan.n_disks; n++)
		drill_disk_goes_on(s, n);
	oracle_drill(s);
}

void drills_step(struct sim *s)
{
	struct drills *d = &s->drills;
	unsigned int k = soonest(d);
	struct drill_ev ev = d->ev[k];
	struct drill_worker *dw = &d->worker[ev.slot];

	d->ev[k] = d->ev[--d->n_ev];
	s->now = ev.t;
	if (!may_come(s, &ev))
		return;
	switch (ev.kind) {
	case DEV_ASKED:
		if (s->plan.drill[ev.i].upon && !ev.ok)
			d->armed |= 1u << ev.i;
		else
			asked(s, ev.i);
		break;
	case DEV_AGAIN:
		again(s, &ev);
		break;
	case DEV_COMMAND:
		if (!dw->applying)
			obey(s, ev.slot);
		break;
	case DEV_FEED:
		feed(s, ev.slot);
		break;
	case DEV_PUMP:
		dw->pumps = false;
		if (!dw->applying)
			drill_feed_pump(&dw->feed, dw->ap.there ? &dw->ap : NULL);
		pump_later(s, ev.slot);
		break;
	case DEV_TIMER:
		timer(s, ev.slot);
		break;
	case DEV_GONE:
		gone(s, &ev);
		break;
	case DEV_GO:
	case DEV_KILLED:
	case DEV_WAKES:
	case DEV_COPY_END:
		process_event(s, &ev);
		break;
	case DEV_WORD:
	case DEV_SAID:
	case DEV_GUARD:
		drill_disk_event(s, &ev);
		break;
	}
	drills_go_on(s);
}
