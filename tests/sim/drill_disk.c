/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk of host B while a drill looks at it: the real guard between what is left of a journal in disks_b.c and a volume of some
 * blocks; and romulus-drill-disk, which shows the copy what the volume was. See drill.h.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "disk/drill_guard.h"
#include "disk/drill_talk.h"
#include "disk/journal.h"
#include "lib/err.h"
#include "tests/sim/sim.h"

/* The guard's talk has a number for whom it talks to, and nothing else: the world is one at a time. */
static struct sim *world;

#define HANDLE(n, token) ((int)((token) % 1000000) * MAX_VIEWS + (n))

static struct drill_disk *disk_of(int handle)
{
	struct drill_disk *d = &world->drills.disk[handle % MAX_VIEWS];

	return d->open && HANDLE(handle % MAX_VIEWS, d->token) == handle ? d : NULL;
}

static struct drill_ev event(const struct drill_disk *d, int n, enum drill_ev_kind kind)
{
	return (struct drill_ev){.kind = kind, .n = n, .token = d->token};
}

/* In their order. */
static void send(struct sim *s, int n, uint64_t *newest, const struct drill_ev *ev)
{
	*newest = MAX(*newest, s->now + drills_delay(s, 5 * US, MS));
	drills_push(s, *newest - s->now, ev);
}

static bool is_there(const struct sim *s, int n)
{
	return s->host[SIDE_B].up && s->now >= s->disk_b[n].dead_until;
}

/* ---- the guard's end of the talk ---- */

static int talk_say(int handle, const struct drill_msg *m)
{
	struct drill_disk *d = disk_of(handle);
	int n = handle % MAX_VIEWS;
	struct drill_ev ev;

	if (!d || d->gone)
		return -EPIPE;
	if (d->n_told == MAX_WORDS)
		return -EAGAIN;
	if (m->word == DRILL_WORD_READY)
		oracle_drill_ready(world, n, m->epoch);
	ev = event(d, n, DEV_WORD);
	ev.m = *m;
	d->n_told += m->word == DRILL_WORD_GOING;
	send(world, n, &d->word_at, &ev);
	return 0;
}

static int talk_hear(int handle, struct drill_msg *m)
{
	struct drill_disk *d = disk_of(handle);

	if (!d)
		return -EPIPE;
	if (!d->n_said)
		return d->gone ? -EPIPE : 0;
	*m = d->said[0];
	d->n_said--;
	memmove(d->said, d->said + 1, d->n_said * sizeof(d->said[0]));
	return 1;
}

/* Whoever looks learns it later. */
static void talk_close(int handle)
{
	struct drill_disk *d = disk_of(handle);
	struct drill_ev ev;

	if (!d)
		return;
	sim_trace(world, "Bv%d  the guard ends the view", handle % MAX_VIEWS);
	ev = event(d, handle % MAX_VIEWS, DEV_WORD);
	d->open = false;
	send(world, handle % MAX_VIEWS, &d->word_at, &ev);
}

static const struct drill_talk talk = {.say = talk_say, .hear = talk_hear, .close = talk_close};

/* ---- the volume ---- */

static void volume_submit(struct block_store *base, struct block_req *r)
{
	struct drill_disk *d = container_of(base, struct drill_disk, inner);

	d->vol[r->off] = d->value[r->off];
	r->next = d->done;
	d->done = r;
}

static int volume_wait(struct block_store *base)
{
	return -ENOENT;
}

static const struct block_store_ops volume_ops = {.submit = volume_submit, .wait = volume_wait};

/* ---- the journal's part ---- */

/* What was under way before the disk changed is void. */
static void look_for_change(struct sim *s, int n)
{
	struct drill_disk *d = &s->drills.disk[n];

	if (d->session_token == s->disk_b[n].token)
		return;
	d->session_token = s->disk_b[n].token;
	d->applied = d->due = EPOCH_NONE;
	d->changing = d->changing && s->disk_b[n].state == DISK_CONSISTENT;
}

/* Which blocks the guest wrote to in an epoch whose newest write is this one. */
static unsigned int blocks_of(int n, uint64_t newest)
{
	uint64_t x = (newest * MAX_VIEWS + (unsigned int)n) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned int)((x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9) >> 56) |
	       1u << newest % 8;
}

static void written(struct block_req *r, int rc)
{
	struct drill_disk *d = r->arg;

	assert(d->writes && rc == 0);
	d->writes--;
}

/* What leads to the epoch is written, each block once. */
static void begin_round(struct sim *s, int n, uint64_t end)
{
	struct drill_disk *d = &s->drills.disk[n];
	const struct disk_b *b = &s->disk_b[n];
	unsigned int blocks = 0;

	for (unsigned int i = 0; i < b->n && b->j[i].epoch <= end; i++) {
		unsigned int mask = blocks_of(n, b->j[i].newest);

		for (unsigned int k = 0; k < DRILL_BLOCKS; k++) {
			if (mask & 1u << k)
				d->value[k] = b->j[i].newest;
		}
		blocks |= mask;
	}
	d->round = end;
	d->round_token = b->token;
	for (unsigned int k = 0; k < DRILL_BLOCKS; k++) {
		if (!(blocks & 1u << k))
			continue;
		d->req[k] = (struct block_req){
			.op = BLOCK_WRITE, .off = k, .len = 1, .done = written, .arg = d};
		d->writes++;
		block_submit(drill_guard_blocks(d->guard), &d->req[k]);
	}
}

/* How far the journal may go now. */
static uint64_t may_apply(const struct drill_disk *d)
{
	if (d->due == EPOCH_NONE || !d->held)
		return d->due;
	return d->hold_epoch == EPOCH_NONE ? EPOCH_NONE : MIN(d->due, d->hold_epoch);
}

/* True: something has changed. */
static bool journal_goes_on(struct sim *s, int n)
{
	struct drill_disk *d = &s->drills.disk[n];
	uint64_t end = d->round;
	bool is_void = d->round_token != s->disk_b[n].token;

	look_for_change(s, n);
	if (end == EPOCH_NONE) {
		end = may_apply(d);
		if (end == EPOCH_NONE || epoch_reached(d->applied, end))
			return false;
		begin_round(s, n, end);
		return true;
	}
	if (d->writes)
		return false;
	d->round = EPOCH_NONE;
	if (is_void)
		return true;
	d->applied = end;
	disks_b_applied(s, n, end);
	return true;
}

bool drill_disk_applies(struct sim *s, int n, uint64_t epoch)
{
	struct drill_disk *d = &s->drills.disk[n];

	if (!s->drilling)
		return false;
	look_for_change(s, n);
	if (!epoch_reached(d->due, epoch))
		d->due = epoch;
	if (!d->held && d->round == EPOCH_NONE && drill_guard_fd(d->guard) < 0) {
		d->applied = d->due;
		return false;
	}
	return true;
}

bool drill_disk_keeps(struct sim *s, int n, uint64_t epoch)
{
	if (!s->drilling)
		return false;
	look_for_change(s, n);
	return epoch_reached(s->drills.disk[n].due, epoch);
}

void drill_disk_activates(struct sim *s, int n)
{
	if (!s->drilling)
		return;
	drill_guard_end(s->drills.disk[n].guard, "the VM is to run here");
	s->drills.disk[n].changing = true;
}

/* True: some were. */
static bool writes_done(struct drill_disk *d)
{
	struct block_req *r = d->done;

	if (!r)
		return false;
	d->done = NULL;
	for (; r; r = r->next)
		r->done(r, 0);
	return true;
}

static void arm_guard(struct sim *s, int n)
{
	struct drill_disk *d = &s->drills.disk[n];
	const struct drill_ev ev = {.kind = DEV_GUARD, .n = n};
	uint64_t at = drill_guard_deadline(d->guard);

	if (at == CLOCK_NEVER || d->guard_at <= at)
		return;
	d->guard_at = at;
	drills_push(s, host_when(s, SIDE_B, at) - s->now, &ev);
}

/* disk_go_on() */
static void go_on(struct sim *s, int n)
{
	struct drill_disk *d = &s->drills.disk[n];
	bool more = true;

	for (int i = 0; i < 30 && more; i++) {
		more = writes_done(d);
		more = journal_goes_on(s, n) || more;
		more = drill_guard_go_on(d->guard, host_clock(s, SIDE_B)) || more;
	}
	if (more)
		sim_fail(s, "P6", "disk %d goes on and on", n);
	arm_guard(s, n);
}

void drill_disk_goes_on(struct sim *s, int n)
{
	const struct drill_disk *d = &s->drills.disk[n];

	if (!s->drilling || s->host[SIDE_B].frozen || !is_there(s, n))
		return;
	if (drill_guard_fd(d->guard) >= 0 || d->done || d->round != EPOCH_NONE ||
	    d->due != d->applied)
		go_on(s, n);
	oracle_drill_disk(s, n);
}

static void server_starts(struct sim *s, int n)
{
	struct drill_disk *d = &s->drills.disk[n];

	drill_guard_free(d->guard);
	d->inner = (struct block_store){.ops = &volume_ops, .size = DRILL_BLOCKS, .block_size = 1};
	d->done = NULL;
	d->held = false;
	d->guard_at = NEVER;
	d->round = EPOCH_NONE;
	d->writes = 0;
	if (drill_guard_new(&d->guard, &d->inner, &talk) < 0)
		sim_fail(s, "plan", "no memory for a guard");
}

void drill_disk_died(struct sim *s, int n)
{
	if (!s->drilling)
		return;
	server_starts(s, n);
}

/* ---- romulus-drill-disk ---- */

/* Each asks its disk's server whether it may look. */
bool drill_views_open(struct sim *s, int i)
{
	for (int n = 0; n < s->plan.n_disks; n++) {
		struct drill_disk *d = &s->drills.disk[n];
		bool was_open = d->open;

		/* The one of another drill stays what it is. */
		if (was_open || d->process >= 0 || !is_there(s, n))
			return false;
		d->process = i;
		d->token++;
		d->open = true;
		d->gone = d->serving = d->spoiled = false;
		d->n_said = d->n_going = d->n_told = 0;
		d->least = EPOCH_NONE;
		memset(d->saved, 0, sizeof(d->saved));
		if (drill_guard_begin_take(d->guard, &d->j, HANDLE(n, d->token)) < 0)
			return false;
		for (unsigned int k = 0; k < DRILL_BLOCKS; k++)
			d->vol[k] = s->disk_b[n].content;
	}
	return true;
}

static void say(struct sim *s, int n, const struct drill_msg *m)
{
	struct drill_disk *d = &s->drills.disk[n];
	struct drill_ev ev = event(d, n, DEV_SAID);

	ev.m = *m;
	send(s, n, &d->said_at, &ev);
}

void drill_views_tell(struct sim *s, int i, enum drill_word word, uint64_t epoch)
{
	const struct drill_msg m = {.word = word, .epoch = epoch};

	for (int n = 0; n < s->plan.n_disks; n++) {
		if (s->drills.disk[n].process == i)
			say(s, n, &m);
	}
}

static uint64_t shows(const struct drill_disk *d, unsigned int k)
{
	return d->saved[k] ? d->saved_as[k] : d->vol[k];
}

void drill_views_look(struct sim *s, int i)
{
	for (int n = 0; n < s->plan.n_disks; n++) {
		const struct drill_disk *d = &s->drills.disk[n];

		/* Once the guard has ended it, the view says so as soon as it hears of it. */
		if (d->process != i || !d->serving || d->spoiled || !d->open)
			continue;
		for (unsigned int k = 0; k < DRILL_BLOCKS; k++) {
			if (shows(d, k) != d->shown[k])
				sim_fail(s, "P2",
					 "block %u of disk %d is %llu to a drill that began with "
					 "%llu",
					 k, n, (unsigned long long)shows(d, k),
					 (unsigned long long)d->shown[k]);
		}
	}
}

void drill_views_close(struct sim *s, int i)
{
	for (int n = 0; n < s->plan.n_disks; n++) {
		struct drill_disk *d = &s->drills.disk[n];

		if (d->process != i)
			continue;
		drill_views_look(s, i);
		d->process = -1;
		d->gone = true;
		d->serving = false;
	}
}

static const struct drill_process *owner_of(const struct sim *s, const struct drill_disk *d)
{
	return &s->drills.process[d->process];
}

/* One after the other; each takes its time, and only then is the block read. */
static void save_next(struct sim *s, int n)
{
	struct drill_disk *d = &s->drills.disk[n];
	uint64_t arg = owner_of(s, d)->plan.arg;
	struct drill_ev ev = event(d, n, DEV_WORD);
	uint64_t max = arg & DRILL_SAVES_SLOWLY ? 990 * MS : 4 * MS;

	if (!d->n_going || arg & DRILL_SAVES_NOTHING)
		return;
	ev.m = d->going[0];
	ev.ok = true;
	drills_push(s, drills_delay(s, 20 * US, max), &ev);
}

static void on_going(struct sim *s, int n, const struct drill_msg *m)
{
	struct drill_disk *d = &s->drills.disk[n];

	assert(d->n_going < MAX_WORDS);
	d->going[d->n_going++] = *m;
	if (d->n_going == 1)
		save_next(s, n);
}

static void on_saved(struct sim *s, int n, const struct drill_msg *m)
{
	struct drill_disk *d = &s->drills.disk[n];
	const struct drill_msg saved = {.word = DRILL_WORD_SAVED, .seq = m->seq};

	if (!d->saved[m->off])
		d->saved_as[m->off] = d->vol[m->off];
	d->saved[m->off] = true;
	say(s, n, &saved);
	d->n_told--;
	d->n_going--;
	memmove(d->going, d->going + 1, d->n_going * sizeof(d->going[0]));
	save_next(s, n);
}

static void on_word(struct sim *s, const struct drill_ev *ev)
{
	struct drill_disk *d = &s->drills.disk[ev->n];

	switch ((enum drill_word)ev->m.word) {
	case DRILL_WORD_HELD:
		d->least = ev->m.epoch;
		process_hears(s, d->process, true);
		break;
	case DRILL_WORD_READY:
		d->serving = true;
		process_hears(s, d->process, true);
		break;
	case DRILL_WORD_GOING:
		if (ev->ok)
			on_saved(s, ev->n, &ev->m);
		else
			on_going(s, ev->n, &ev->m);
		break;
	case DRILL_WORD_HOLD:
	case DRILL_WORD_AT:
	case DRILL_WORD_SAVED:
		break;
	}
}

void drill_disk_event(struct sim *s, const struct drill_ev *ev)
{
	struct drill_disk *d = &s->drills.disk[ev->n];

	if (ev->kind == DEV_GUARD) {
		d->guard_at = NEVER;
		return; /* the disk goes on after each event */
	}
	if (ev->token != d->token)
		return;
	if (ev->kind == DEV_SAID) {
		if (d->open && !d->gone && d->n_said < MAX_WORDS)
			d->said[d->n_said++] = ev->m;
		return;
	}
	if (d->process < 0)
		return;
	if (ev->m.word) {
		on_word(s, ev);
		return;
	}
	d->spoiled = true;
	process_hears(s, d->process, false);
}

/* ---- begin and end ---- */

void drill_disks_begin(struct sim *s)
{
	world = s;
	for (int n = 0; n < s->plan.n_disks; n++) {
		struct drill_disk *d = &s->drills.disk[n];

		d->process = -1;
		d->j = (struct journal){.s = s, .n = n};
		d->applied = d->due = EPOCH_NONE;
		server_starts(s, n);
	}
}

void drill_disks_free(struct sim *s)
{
	for (int n = 0; n < s->plan.n_disks; n++) {
		drill_guard_free(s->drills.disk[n].guard);
		s->drills.disk[n].guard = NULL;
	}
}
