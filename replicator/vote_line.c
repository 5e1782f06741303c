/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vote_line.h. Pure. */
#include "replicator/vote_line.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LINE_SIZE (VOTE_TEXT_SIZE + NAME_SIZE + 40)

enum status {
	STATUS_DONE = 0,
	STATUS_REFUSED = 1,
	STATUS_UNKNOWN = 2,
};

const char *vote_question_name(enum vote_question q)
{
	static const char *const names[] = {"look", "join", "vote"};

	return (unsigned int)q < ARRAY_SIZE(names) ? names[q] : "?";
}

void vote_line_unknown(struct vote_answer *a, const char *fmt, ...)
{
	va_list ap;

	a->vote = VOTE_UNKNOWN;
	a->term = 0;
	a->holder[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
	for (char *p = a->text; *p; p++) {
		if ((unsigned char)*p < 32 || *p == 127)
			*p = ' ';
	}
}

/* Digits alone, no sign, no blank: sscanf() takes both. */
static bool take_term(const char **p, uint64_t *term)
{
	const char *start = *p;

	*term = 0;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (*term > (UINT64_MAX - 9) / 10)
			return false;
		*term = *term * 10 + (uint64_t)(**p - '0');
	}
	return *p > start && *term;
}

/* "TERM HOLDER" and nothing after. */
static bool take_holder(struct vote_answer *a, const char *p)
{
	if (!take_term(&p, &a->term) || *p++ != ' ' || !name_ok(p))
		return false;
	memcpy(a->holder, p, strlen(p) + 1);
	return true;
}

static bool granted(struct vote_answer *a, const char *p)
{
	a->vote = VOTE_GRANTED;
	/* The term that was asked for, or it was the answer to another question. */
	return a->question != VOTE_ASK_LOOK && take_term(&p, &a->term) && !*p &&
	       a->term == a->asked;
}

static bool refused(struct vote_answer *a, const char *p)
{
	a->vote = VOTE_REFUSED;
	return a->question != VOTE_ASK_LOOK && take_holder(a, p) && a->term >= a->asked;
}

static bool held(struct vote_answer *a, const char *p)
{
	a->vote = VOTE_GRANTED;
	return a->question == VOTE_ASK_LOOK && take_holder(a, p);
}

static bool none(struct vote_answer *a, const char *p)
{
	a->vote = VOTE_GRANTED;
	return a->question == VOTE_ASK_LOOK && !*p;
}

static bool unknown(struct vote_answer *a, const char *p)
{
	vote_line_unknown(a, "%s", *p ? p : "the arbiter gives no reason");
	return true;
}

static bool read_line(struct vote_answer *a, const char *line, int status)
{
	static const struct {
		const char *word;
		int status;
		bool (*read)(struct vote_answer *a, const char *rest);
	} words[] = {
		{"granted ", STATUS_DONE, granted},    {"refused ", STATUS_REFUSED, refused},
		{"unknown ", STATUS_UNKNOWN, unknown}, {"held ", STATUS_DONE, held},
		{"none", STATUS_DONE, none},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t len = strlen(words[i].word);

		if (!strncmp(line, words[i].word, len))
			return status == words[i].status && words[i].read(a, line + len);
	}
	return false;
}

void vote_line_read(struct vote_answer *a, const char *said, size_t len, int status)
{
	char line[LINE_SIZE] = "";

	a->vote = VOTE_UNKNOWN;
	a->term = 0;
	a->holder[0] = '\0';
	a->text[0] = '\0';
	if (len && said[len - 1] == '\n')
		len--;
	if (status < 0 && !len) {
		vote_line_unknown(a, "romulus-arbiter was ended before it answered");
		return;
	}
	if (len >= sizeof(line) || memchr(said, '\n', len) || memchr(said, '\0', len)) {
		vote_line_unknown(a, "romulus-arbiter says more than one line");
		return;
	}
	memcpy(line, said, len);
	line[len] = '\0';
	if (!read_line(a, line, status))
		vote_line_unknown(a, "romulus-arbiter says \"%.80s\" and ends with status %d", line,
				  status);
}
