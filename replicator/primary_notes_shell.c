// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the primary's shell keeps for those who ask: the problem and the figures for status, what was decided for the events,
 * the flight recorder's epochs; see primary_shell_impl.h. Control thread.
 */
#include "replicator/primary_shell_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/event_log.h"
#include "lib/flight.h"
#include "lib/log.h"

/* ---- the problem ---- */

PRINTF(3, 4)
void primary_shell_problem__(struct primary_shell *s, const char *hint, const char *fmt, ...)
{
	char before[sizeof(s->problem)];
	uint64_t now = clock_now();
	va_list ap;

	memcpy(before, s->problem, sizeof(before));

	va_start(ap, fmt);
	vsnprintf(s->problem, sizeof(s->problem), fmt, ap);
	va_end(ap);
	snprintf(s->hint, sizeof(s->hint), "%s", hint);
	log_warn("%s%s%s", s->problem, *hint ? "; " : "", hint);
	/* An attempt to connect that fails as the last one did is no news. */
	if (strcmp(before, s->problem) == 0 || now < s->problem_told_ns)
		return;
	s->problem_told_ns = clock_add(now, STORY_PROBLEM_NS);
	event_log_say(s->events, "problem", s->state.vm, "%s%s%s", s->problem, *hint ? "; " : "",
		      hint);
}

void primary_shell_no_problem__(struct primary_shell *s)
{
	s->problem[0] = '\0';
	s->hint[0] = '\0';
}

/* ---- events ---- */

static void put_story(struct primary_shell *s, struct event *ev)
{
	snprintf(ev->vm, sizeof(ev->vm), "%s", s->state.vm);
	event_fact_text(ev, "peer", s->state.peer);
	event_log_put(s->events, ev);
}

static void tell_vote(struct primary_shell *s, const struct primary *was, uint64_t now,
		      const struct primary_event *cause)
{
	struct event ev;

	ev.at_ns = now;
	ev.wall_us = event_now();
	if (story_primary_vote(&s->story, was, &s->core, cause, s->said, &ev))
		put_story(s, &ev);
}

/* For those who ask afterwards what was decided, and on which evidence. An answer comes before what comes of it. */
void primary_shell_tell_story__(struct primary_shell *s, const struct primary *was, uint64_t now,
				const struct primary_event *cause)
{
	bool is_answer = cause->type == PEV_VOTE;
	struct event ev;

	if (is_answer)
		tell_vote(s, was, now, cause);
	ev.at_ns = now;
	ev.wall_us = event_now();
	if (story_primary(&s->story, was, &s->core, cause, &ev))
		put_story(s, &ev);
	if (!is_answer)
		tell_vote(s, was, now, cause);
}

/* ---- figures ---- */

void primary_shell_init_figures__(struct primary_figures *f)
{
	memset(f, 0, sizeof(*f));
	hist_init(&f->pause_us);
	hist_init(&f->request_us);
	hist_init(&f->switch_us);
	hist_init(&f->bitmap_us);
	hist_init(&f->copy_us);
	hist_init(&f->state_us);
	hist_init(&f->resume_us);
	hist_init(&f->dirty_pages);
	hist_init(&f->lag_us);
}

static void record_taken(struct primary_shell *s, const struct pd_msg *m)
{
	const struct checkpoint_phases *ph = &m->phases;
	struct flight_epoch f = {.epoch = m->epoch, .at_ns = m->at_ns, .pages = m->pages};

	for (int p = 0; p < FLIGHT_PHASES; p++)
		f.us[p] = FLIGHT_UNKNOWN;
	f.us[FLIGHT_REQUEST] = (uint32_t)(ph->request_ns / NS_PER_US);
	f.us[FLIGHT_SWITCH] = (uint32_t)(ph->switch_ns / NS_PER_US);
	f.us[FLIGHT_BITMAP] = (uint32_t)(ph->bitmap_ns / NS_PER_US);
	f.us[FLIGHT_COPY] = (uint32_t)(ph->copy_ns / NS_PER_US);
	f.us[FLIGHT_STATE] = (uint32_t)(ph->state_ns / NS_PER_US);
	f.us[FLIGHT_RESUME] = (uint32_t)(ph->resume_ns / NS_PER_US);
	f.us[FLIGHT_PAUSE] = (uint32_t)(ph->pause_ns / NS_PER_US);
	flight_begin(s->flight, &f);
}

static void count_taken(struct primary_shell *s, const struct pd_msg *m)
{
	struct primary_figures *f = &s->fig;
	const struct checkpoint_phases *ph = &m->phases;

	hist_add(&f->pause_us, ph->pause_ns / NS_PER_US);
	hist_add(&f->request_us, ph->request_ns / NS_PER_US);
	hist_add(&f->switch_us, ph->switch_ns / NS_PER_US);
	hist_add(&f->bitmap_us, ph->bitmap_ns / NS_PER_US);
	hist_add(&f->copy_us, ph->copy_ns / NS_PER_US);
	hist_add(&f->state_us, ph->state_ns / NS_PER_US);
	hist_add(&f->resume_us, ph->resume_ns / NS_PER_US);
	hist_add(&f->dirty_pages, m->pages);
	f->last_pages = m->pages;
	f->suspend_path = m->suspend_path;
	f->self_aware = m->self_aware;
	f->guest = m->guest;
	f->taken_at[f->n_taken++ % SHELL_RATE_WINDOW] = m->at_ns;
}

void primary_shell_note_taken__(struct primary_shell *s, const struct pd_msg *m)
{
	count_taken(s, m);
	record_taken(s, m);
}

void primary_shell_count_ack__(struct primary_shell *s, const struct pd_msg *m)
{
	struct primary_figures *f = &s->fig;
	uint64_t behind;

	if (s->core.taken == EPOCH_NONE || m->epoch > s->core.taken)
		return;
	behind = s->core.taken - m->epoch;
	f->acks++;
	if (behind < f->n_taken && behind < SHELL_RATE_WINDOW)
		hist_add(&f->lag_us,
			 clock_until(m->at_ns,
				     f->taken_at[(f->n_taken - 1 - behind) % SHELL_RATE_WINDOW]) /
				 NS_PER_US);
}

void primary_shell_note_disk__(struct primary_shell *s, const struct pd_msg *m)
{
	struct primary_figures *f = &s->fig;
	struct port_compared compared;

	/* What it says of an older pass had left before the command for the newest came. */
	compared = m->disk.compared.pass < s->verify_pass ? f->disk[m->index].compared
							  : m->disk.compared;
	f->disk[m->index] = m->disk;
	f->disk[m->index].compared = compared;
	f->n_disks = MAX(f->n_disks, m->index + 1);
	f->disk_lacked[m->index] = MAX(f->disk_lacked[m->index], m->disk.behind_bytes);
}
