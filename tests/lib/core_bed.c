/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See core_bed.h. */
#include "tests/lib/core_bed.h"

#include <stdio.h>

#include "lib/err.h"
#include "tests/lib/test.h"

static struct timing bed_timing(void)
{
	const struct timing_conf tc = {
		.heartbeat_period_ns = 100 * MS,
		.failure_timeout_ns = 1000 * MS,
		.epoch_period_ns = 50 * MS,
	};
	struct err e = ERR_INIT;
	struct timing t;

	assert_int_equal(timing_check(&tc, &e), 0);
	timing_derive(&t, &tc);
	return t;
}

static size_t name(char text[BED_TEXT], size_t used, const char *action)
{
	return used +
	       (size_t)snprintf(text + used, BED_TEXT - used, "%s%s", used ? " " : "", action);
}

/* ---- the primary ---- */

void primary_bed_start(struct primary_bed *t, struct primary_conf conf, primary_show *show)
{
	conf.timing = bed_timing();
	conf.term = BED_TERM;
	conf.arena_pages = BED_ARENA;
	conf.max_outstanding = 3;
	t->now = BED_START;
	t->show = show;
	primary_init(&t->p, &conf, t->now);
}

const char *primary_bed_step(struct primary_bed *t, const struct primary_event *ev)
{
	size_t n = 0;

	primary_step(&t->p, t->now, ev, &t->out);
	t->text[0] = '\0';
	for (unsigned int i = 0; i < t->out.n; i++) {
		n = name(t->text, n, primary_action_name(t->out.a[i].type));
		n += (size_t)t->show(&t->out.a[i], t->text + n, BED_TEXT - n);
		assert_true(n < BED_TEXT);
	}
	return t->text;
}

const char *primary_bed_feed(struct primary_bed *t, enum primary_event_type type, uint64_t epoch)
{
	const struct primary_event ev = {.type = type, .epoch = epoch, .term = BED_TERM};

	return primary_bed_step(t, &ev);
}

const char *primary_bed_wait(struct primary_bed *t, uint64_t ns)
{
	uint64_t end = t->now + ns;
	const char *said = "";

	while (t->now < end && !*said) {
		t->now = MIN(primary_next_deadline(&t->p), end);
		said = primary_bed_feed(t, PEV_TICK, 0);
	}
	return said;
}

/* ---- the backup ---- */

void backup_bed_start(struct backup_bed *t, struct backup_conf conf, backup_show *show)
{
	conf.timing = bed_timing();
	t->now = BED_START;
	t->show = show;
	backup_init(&t->b, &conf, t->now);
}

const char *backup_bed_step(struct backup_bed *t, const struct backup_event *ev)
{
	size_t n = 0;

	backup_step(&t->b, t->now, ev, &t->out);
	t->text[0] = '\0';
	for (unsigned int i = 0; i < t->out.n; i++) {
		n = name(t->text, n, backup_action_name(t->out.a[i].type));
		n += (size_t)t->show(&t->out.a[i], t->text + n, BED_TEXT - n);
		assert_true(n < BED_TEXT);
	}
	return t->text;
}

const char *backup_bed_feed(struct backup_bed *t, enum backup_event_type type, uint64_t epoch)
{
	const struct backup_event ev = {.type = type, .epoch = epoch, .term = BED_TERM};

	return backup_bed_step(t, &ev);
}

const char *backup_bed_wait(struct backup_bed *t, uint64_t ns)
{
	uint64_t end = t->now + ns;
	const char *said = "";

	while (t->now < end && !*said) {
		t->now = MIN(backup_next_deadline(&t->b), end);
		said = backup_bed_feed(t, BEV_TICK, 0);
	}
	return said;
}
