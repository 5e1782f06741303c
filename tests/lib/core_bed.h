/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A primary's or a backup's core with a clock of its own, for tests that go through its rules step by step. What a step
 * said is text: the actions' names, each followed by what the test wants to see of it.
 */
#ifndef TESTS_LIB_CORE_BED_H
#define TESTS_LIB_CORE_BED_H

#include <stddef.h>
#include <stdint.h>

#include "replicator/backup.h"
#include "replicator/primary.h"

#define MS UINT64_C(1000000)
#define BED_START (UINT64_C(1000) * MS)
#define BED_TERM 7 /* of every event that has one */
#define BED_ARENA 1000
#define BED_TEXT 256

/* Writes what is to be seen of an action behind its name, at most size bytes, and returns how many; 0: nothing. */
typedef int primary_show(const struct primary_action *a, char *out, size_t size);
typedef int backup_show(const struct backup_action *a, char *out, size_t size);

struct primary_bed {
	struct primary p;
	struct primary_actions out;
	uint64_t now;
	char text[BED_TEXT];
	primary_show *show;
};

struct backup_bed {
	struct backup b;
	struct backup_actions out;
	uint64_t now;
	char text[BED_TEXT];
	backup_show *show;
};

/*
 * Heartbeats of 100 ms, a failure timeout of 1 s, epochs of 50 ms. The rest of conf is the test's, but for the
 * primary's term, arena (1000 pages) and outstanding epochs (3).
 */
void primary_bed_start(struct primary_bed *t, struct primary_conf conf, primary_show *show);
void backup_bed_start(struct backup_bed *t, struct backup_conf conf, backup_show *show);

/* One event now; returns what was said, valid until the next one. */
const char *primary_bed_step(struct primary_bed *t, const struct primary_event *ev);
const char *backup_bed_step(struct backup_bed *t, const struct backup_event *ev);
/* Most events need one number at most: the epoch, or the term where there is no epoch. */
const char *primary_bed_feed(struct primary_bed *t, enum primary_event_type type, uint64_t epoch);
const char *backup_bed_feed(struct backup_bed *t, enum backup_event_type type, uint64_t epoch);
/* Time passes for somebody who is always awake, until something is said. */
const char *primary_bed_wait(struct primary_bed *t, uint64_t ns);
const char *backup_bed_wait(struct backup_bed *t, uint64_t ns);

#endif
