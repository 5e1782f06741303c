/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one line that romulus-arbiter says, and the status it ends with, as the cores want it. A program that says
 * anything else, or that says one thing and ends with another, has decided nothing. Pure.
 */
#ifndef REPLICATOR_VOTE_LINE_H
#define REPLICATOR_VOTE_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"
#include "replicator/epoch.h"

enum vote_question {
	VOTE_ASK_LOOK, /* what is recorded? Changes nothing */
	VOTE_ASK_JOIN,
	VOTE_ASK_VOTE,
};

const char *vote_question_name(enum vote_question q); /* "look", "join", "vote" */

#define VOTE_TEXT_SIZE 320

struct vote_answer {
	enum vote_question question;
	uint64_t asked; /* 0 of a look */
	enum vote vote; /* of a look: GRANTED when there was an answer */
	uint64_t term;	/* that is recorded, 0 if none or not known */
	char holder[NAME_SIZE];
	char text[VOTE_TEXT_SIZE]; /* UNKNOWN: why, one sentence */
};

/*
 * said: len bytes of its output, with the newline or without; status: its exit status, negative if it had to be ended.
 * question and asked are set already; all else is filled in.
 */
void vote_line_read(struct vote_answer *a, const char *said, size_t len, int status);
/* UNKNOWN, and why. */
PRINTF(2, 3) void vote_line_unknown(struct vote_answer *a, const char *fmt, ...);

#endif
