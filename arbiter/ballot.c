/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See ballot.h. */
#include "arbiter/ballot.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *ballot_op_name(enum ballot_op op)
{
	static const char *const names[] = {"?", "join", "vote", "look"};

	return (unsigned int)op < ARRAY_SIZE(names) ? names[op] : "?";
}

bool ballot_ok(const struct ballot *b)
{
	if (uuid_is_nil(b->uuid) || !name_ok(b->asker))
		return false;
	switch (b->op) {
	case BALLOT_JOIN:
	case BALLOT_VOTE:
		return b->term && b->term <= RECORD_MAX_TERM && name_ok(b->peer) &&
		       strcmp(b->asker, b->peer) != 0;
	case BALLOT_LOOK:
		return !b->term && (!*b->peer || name_ok(b->peer));
	}
	return false;
}

void verdict_unknown(struct verdict *v, const char *fmt, ...)
{
	va_list args;
	int n;

	*v = (struct verdict){.kind = VERDICT_UNKNOWN};
	va_start(args, fmt);
	n = vsnprintf(v->text, sizeof(v->text), fmt, args);
	va_end(args);
	if (n >= (int)sizeof(v->text))
		memcpy(v->text + sizeof(v->text) - 4, "...", 4);
	for (char *p = v->text; *p; p++) {
		if ((unsigned char)*p < 32 || *p == 127)
			*p = ' ';
	}
}

const char *verdict_format(const struct verdict *v, char buf[VERDICT_LINE_SIZE])
{
	switch (v->kind) {
	case VERDICT_GRANTED:
		(void)snprintf(buf, VERDICT_LINE_SIZE, "granted %" PRIu64, v->term);
		break;
	case VERDICT_REFUSED:
		(void)snprintf(buf, VERDICT_LINE_SIZE, "refused %" PRIu64 " %s", v->term,
			       v->holder);
		break;
	case VERDICT_UNKNOWN:
		(void)snprintf(buf, VERDICT_LINE_SIZE, "unknown %s", v->text);
		break;
	case VERDICT_HELD:
		(void)snprintf(buf, VERDICT_LINE_SIZE, "held %" PRIu64 " %s", v->term, v->holder);
		break;
	case VERDICT_NONE:
		(void)snprintf(buf, VERDICT_LINE_SIZE, "none");
		break;
	}
	return buf;
}

static void say_recorded(struct verdict *v, enum verdict_kind kind, const struct record *r)
{
	*v = (struct verdict){.kind = kind, .term = r->term};
	memcpy(v->holder, r->holder, sizeof(v->holder));
}

static bool grant(const struct ballot *b, struct record *next, struct verdict *v)
{
	*next = (struct record){.term = b->term};
	memcpy(next->uuid, b->uuid, sizeof(next->uuid));
	memcpy(next->holder, b->asker, sizeof(next->holder));
	memcpy(next->member[0], b->asker, sizeof(next->member[0]));
	memcpy(next->member[1], b->peer, sizeof(next->member[1]));
	*v = (struct verdict){.kind = VERDICT_GRANTED, .term = b->term};
	return true;
}

/* Not older than what is asked for, and not the asker's own from an earlier answer. */
static bool is_taken(const struct ballot *b, const struct record *r)
{
	return r->term > b->term || (r->term == b->term && strcmp(r->holder, b->asker) != 0);
}

static bool decide_join(const struct ballot *b, const struct record *r, struct record *next,
			struct verdict *v)
{
	if (!r)
		return grant(b, next, v);
	if (is_taken(b, r)) {
		say_recorded(v, VERDICT_REFUSED, r);
		return false;
	}
	/*
	 * A newer term than the one recorded: the operator forced it, or it was gained while there was no
	 * arbiter. A member could have voted for it, so joining with it gives nothing more.
	 */
	if (!record_has_member(r, b->asker)) {
		verdict_unknown(v, "%s is none of the VM's members %s and %s", b->asker,
				r->member[0], r->member[1]);
		return false;
	}
	return grant(b, next, v);
}

static bool decide_vote(const struct ballot *b, const struct record *r, struct record *next,
			struct verdict *v)
{
	/* Without a record nobody knows whose VM it is, nor whether a grant was lost. */
	if (!r) {
		verdict_unknown(v, "nothing is recorded of this VM: it was never joined, or the "
				   "record was removed; protect it again");
		return false;
	}
	if (!record_has_member(r, b->asker) || !record_has_member(r, b->peer)) {
		verdict_unknown(v, "%s and %s are not the VM's members, %s and %s are", b->asker,
				b->peer, r->member[0], r->member[1]);
		return false;
	}
	if (is_taken(b, r)) {
		say_recorded(v, VERDICT_REFUSED, r);
		return false;
	}
	return grant(b, next, v);
}

bool ballot_decide(const struct ballot *b, const struct record *recorded, struct record *next,
		   struct verdict *v)
{
	assert(ballot_ok(b));
	switch (b->op) {
	case BALLOT_JOIN:
		return decide_join(b, recorded, next, v);
	case BALLOT_VOTE:
		return decide_vote(b, recorded, next, v);
	case BALLOT_LOOK:
		if (recorded)
			say_recorded(v, VERDICT_HELD, recorded);
		else
			*v = (struct verdict){.kind = VERDICT_NONE};
		return false;
	}
	return false;
}
