/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of every arbiter that keeps records, in one pure function: a question and what is recorded give
 * an answer and what has to be recorded before it is given. For each VM and term at most one host is ever
 * answered GRANTED, as long as records change only this way and are never lost (P3).
 */
#ifndef ARBITER_BALLOT_H
#define ARBITER_BALLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/record.h"
#include "lib/uuid.h"
#include "lib/compiler.h"
#include "lib/names.h"

/* Values are on the wire. */
enum ballot_op {
	BALLOT_JOIN = 1, /* these two are members under this term, and I hold it */
	BALLOT_VOTE = 2, /* I want this term */
	BALLOT_LOOK = 3, /* what is recorded? */
};

struct ballot {
	enum ballot_op op;
	uint8_t uuid[UUID_SIZE];
	uint64_t term;	       /* 1..RECORD_MAX_TERM; LOOK: 0 */
	char asker[NAME_SIZE]; /* who asks: what its certificate says, where that is known */
	char peer[NAME_SIZE];  /* the other member; LOOK: may be empty */
};

/* Values are on the wire. */
enum verdict_kind {
	VERDICT_GRANTED = 1, /* the asker holds `term` */
	VERDICT_REFUSED = 2, /* `holder` holds `term`, which is not older than what was asked for */
	VERDICT_UNKNOWN = 3, /* nothing was decided; `text` says why */
	VERDICT_HELD = 4,    /* LOOK: `holder` holds `term` */
	VERDICT_NONE = 5,    /* LOOK: nothing is recorded */
};

#define VERDICT_TEXT_SIZE 320

struct verdict {
	enum verdict_kind kind;
	uint64_t term;
	char holder[NAME_SIZE];
	char text[VERDICT_TEXT_SIZE];
};

/*
 * recorded: NULL if nothing is. True: *next must be recorded, durably and instead of *recorded, before the
 * answer *v is given; *next may equal *recorded (asked again: whoever keeps files makes sure once more).
 * A failure to do so makes it UNKNOWN. *b must make sense (ballot_ok()).
 */
MUST_CHECK bool ballot_decide(const struct ballot *b, const struct record *recorded,
			      struct record *next, struct verdict *v);

/* A question that can be answered: names, term, uuid. */
MUST_CHECK bool ballot_ok(const struct ballot *b);

const char *ballot_op_name(enum ballot_op op);

/* One sentence: control characters become spaces, what is too long is cut. */
PRINTF(2, 3) void verdict_unknown(struct verdict *v, const char *fmt, ...);
/* "granted 7", "refused 7 hosta", "unknown TEXT", "held 7 hosta", "none"; without a newline. Returns buf. */
#define VERDICT_LINE_SIZE (VERDICT_TEXT_SIZE + NAME_SIZE + 40)
const char *verdict_format(const struct verdict *v, char buf[VERDICT_LINE_SIZE]);

#endif
