/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a step of a core decided, and why, as an event for people: from the core before and after it, and nothing
 * else. Pure; the shells call it after each step and hand the event on (lib/event_log.h).
 */
#ifndef REPLICATOR_STORY_H
#define REPLICATOR_STORY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/event.h"
#include "replicator/backup.h"
#include "replicator/primary.h"
#include "replicator/vote_line.h"

/* At most one doubt about the peer is told in this time: a link that flaps must not fill the file. */
#define STORY_DOUBT_NS (UINT64_C(10) * 1000 * 1000 * 1000)

/* The same for what a shell calls a problem. */
#define STORY_PROBLEM_NS (UINT64_C(1) * 1000 * 1000 * 1000)

/* What was told already. Begins as zeroes. */
struct story {
	bool doubt; /* the peer is not heard, although nothing was decided yet */
	bool lost; /* (backup) ... for the failure timeout, and the policy does not let us go alone */
	uint64_t doubt_ns;
	uint64_t asked;	  /* newest term of which it was told that the arbiter is asked for it */
	uint64_t unknown; /* newest term of which it was told that the arbiter says nothing */
	uint64_t unknown_ns;
	char unknown_text[VOTE_TEXT_SIZE]; /* ... and why */
};

/*
 * ev: at_ns and wall_us are set, this very instant. False: nothing that anybody asks for later; then the rest of *ev is
 * undefined. The event has no VM.
 */
MUST_CHECK bool story_primary(struct story *st, const struct primary *was, const struct primary *p,
			      const struct primary_event *cause, struct event *ev);
MUST_CHECK bool story_backup(struct story *st, const struct backup *was, const struct backup *b,
			     const struct backup_event *cause, struct event *ev);

/*
 * The same of the arbiter: what it is asked, and what it says; beside what the functions above tell of the step. said: what
 * made a VOTE event, NULL of all others.
 */
MUST_CHECK bool story_primary_vote(struct story *st, const struct primary *was,
				   const struct primary *p, const struct primary_event *cause,
				   const struct vote_answer *said, struct event *ev);
MUST_CHECK bool story_backup_vote(struct story *st, const struct backup *was,
				  const struct backup *b, const struct backup_event *cause,
				  const struct vote_answer *said, struct event *ev);

#endif
