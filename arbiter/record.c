/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See record.h. */
#include "arbiter/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"

#define FORM "romulus-term 1 "

bool record_has_member(const struct record *r, const char *host)
{
	for (size_t i = 0; i < RECORD_MEMBERS; i++) {
		if (!strcmp(r->member[i], host))
			return true;
	}
	return false;
}

static bool makes_sense(const struct record *r)
{
	return !uuid_is_nil(r->uuid) && r->term && r->term <= RECORD_MAX_TERM &&
	       name_ok(r->member[0]) && name_ok(r->member[1]) &&
	       strcmp(r->member[0], r->member[1]) != 0 && record_has_member(r, r->holder);
}

static size_t print(const struct record *r, char text[RECORD_TEXT_SIZE])
{
	char uuid[UUID_TEXT_SIZE];
	int n = snprintf(text, RECORD_TEXT_SIZE, FORM "%s %" PRIu64 " %s %s %s\n",
			 uuid_format(r->uuid, uuid), r->term, r->holder, r->member[0],
			 r->member[1]);

	assert(n > 0 && n < RECORD_TEXT_SIZE);
	return (size_t)n;
}

size_t record_encode(const struct record *r, char text[RECORD_TEXT_SIZE])
{
	assert(makes_sense(r));
	return print(r, text);
}

int record_decode(struct record *r, const char *text, size_t len, struct err *e)
{
	char copy[RECORD_TEXT_SIZE];
	char again[RECORD_TEXT_SIZE];
	char uuid[UUID_TEXT_SIZE];
	char term[21];

	*r = (struct record){.term = 0};
	if (len >= sizeof(copy))
		return err_setx(e, -EBADMSG, "%zu bytes are no record of a term", len);
	memcpy(copy, text, len);
	copy[len] = 0;
	if (strncmp(copy, "romulus-term ", 13) == 0 && strncmp(copy, FORM, sizeof(FORM) - 1) != 0)
		return err_setx(e, -EBADMSG, "written by another version of Romulus");
	if (sscanf(copy, FORM "%36s %20s %63s %63s %63s", uuid, term, r->holder, r->member[0],
		   r->member[1]) != 5 ||
	    uuid_parse(uuid, r->uuid) < 0)
		return err_setx(e, -EBADMSG, "no record of a term");
	r->term = strtoull(term, NULL, 10);
	/* Whatever was read loosely is not the text that it would be written as. */
	if (!makes_sense(r) || print(r, again) != len || memcmp(again, text, len) != 0)
		return err_setx(e, -EBADMSG, "a record of a term that contradicts itself");
	return 0;
}
