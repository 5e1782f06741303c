/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What romulus-arbiter says, or whoever stands in its place: whatever is believed is the answer to what was asked,
 * and all else decides nothing and says why. The first bytes are the question, the exit status and one, and the term.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/rd.h"
#include "replicator/vote_line.h"

#define HEAD 10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_clean(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 32 || *text == 127)
			return false;
	}
	return true;
}

/* What was believed, said by us, is what came. */
static void check_line(const struct vote_answer *a, const char *said, size_t len)
{
	char line[VOTE_TEXT_SIZE];
	const char *word = a->vote == VOTE_REFUSED ? "refused" : "held";

	if (a->question != VOTE_ASK_LOOK && a->vote == VOTE_GRANTED)
		snprintf(line, sizeof(line), "granted %llu", (unsigned long long)a->term);
	else if (a->term)
		snprintf(line, sizeof(line), "%s %llu %s", word, (unsigned long long)a->term,
			 a->holder);
	else
		snprintf(line, sizeof(line), "none");
	len -= len && said[len - 1] == '\n';
	/* But for zeroes before the term. */
	if (strlen(line) == len)
		assert(!memcmp(line, said, len));
	else
		assert(strlen(line) < len && memchr(said, '0', len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	struct vote_answer a = {.question = (enum vote_question)(rd_u8(&r) % 3)};
	int status = (int)rd_u8(&r) - 1; /* -1: it had to be ended */
	const char *said;

	a.asked = rd_u64(&r);
	if (!rd_ok(&r))
		return 0;
	if (a.question == VOTE_ASK_LOOK)
		a.asked = 0;
	said = (const char *)data + HEAD;
	vote_line_read(&a, said, size - HEAD, status);
	if (a.vote == VOTE_UNKNOWN) {
		assert(*a.text && is_clean(a.text) && !a.term && !*a.holder);
		return 0;
	}
	assert(!*a.text && (!*a.holder || name_ok(a.holder)));
	assert(status == (a.vote == VOTE_REFUSED ? 1 : 0));
	if (a.vote == VOTE_REFUSED)
		assert(a.question != VOTE_ASK_LOOK && a.term >= a.asked && *a.holder);
	else if (a.question != VOTE_ASK_LOOK)
		assert(a.term == a.asked && a.asked && !*a.holder);
	else
		assert(!a.term == !*a.holder);
	check_line(&a, said, size - HEAD);
	return 0;
}
