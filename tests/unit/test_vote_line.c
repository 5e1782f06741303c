/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What romulus-arbiter may say, and what is not believed. */
#include "tests/lib/test.h"

#include <string.h>

#include "replicator/vote_line.h"

static struct vote_answer read_of(enum vote_question q, uint64_t asked, const char *said,
				  int status)
{
	struct vote_answer a = {.question = q, .asked = asked};

	vote_line_read(&a, said, strlen(said), status);
	return a;
}

static void believed(void **state)
{
	static const struct {
		enum vote_question question;
		uint64_t asked;
		const char *said;
		int status;
		enum vote vote;
		uint64_t term;
		const char *holder;
		const char *text;
	} cases[] = {
		{VOTE_ASK_VOTE, 7, "granted 7\n", 0, VOTE_GRANTED, 7, "", ""},
		{VOTE_ASK_VOTE, 7, "granted 7", 0, VOTE_GRANTED, 7, "", ""},
		{VOTE_ASK_JOIN, 1, "granted 1\n", 0, VOTE_GRANTED, 1, "", ""},
		{VOTE_ASK_VOTE, 7, "refused 7 hosta\n", 1, VOTE_REFUSED, 7, "hosta", ""},
		{VOTE_ASK_VOTE, 7, "refused 18446744073709551600 b.c-d\n", 1, VOTE_REFUSED,
		 UINT64_C(18446744073709551600), "b.c-d", ""},
		{VOTE_ASK_VOTE, 7, "unknown nobody is there\n", 2, VOTE_UNKNOWN, 0, "",
		 "nobody is there"},
		{VOTE_ASK_LOOK, 0, "held 9 hostb\n", 0, VOTE_GRANTED, 9, "hostb", ""},
		{VOTE_ASK_LOOK, 0, "none\n", 0, VOTE_GRANTED, 0, "", ""},
		{VOTE_ASK_LOOK, 0, "unknown a\tb\n", 2, VOTE_UNKNOWN, 0, "", "a b"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct vote_answer a =
			read_of(cases[i].question, cases[i].asked, cases[i].said, cases[i].status);

		assert_int_equal(a.vote, cases[i].vote);
		assert_true(a.term == cases[i].term);
		assert_string_equal(a.holder, cases[i].holder);
		assert_string_equal(a.text, cases[i].text);
	}
}

/* Anything else decides nothing, and says what it was. */
static void not_believed(void **state)
{
	static const struct {
		const char *said;
		enum vote_question question;
		int status;
	} cases[] = {
		{"", VOTE_ASK_VOTE, 0},
		{"", VOTE_ASK_VOTE, -1},
		{"granted 7\n", VOTE_ASK_VOTE, 1},
		{"granted 7\n", VOTE_ASK_VOTE, 2},
		{"granted 7\n", VOTE_ASK_VOTE, -1},
		{"granted 8\n", VOTE_ASK_VOTE, 0},
		{"granted 6\n", VOTE_ASK_VOTE, 0},
		{"granted\n", VOTE_ASK_VOTE, 0},
		{"granted 7 hosta\n", VOTE_ASK_VOTE, 0},
		{"granted +7\n", VOTE_ASK_VOTE, 0},
		{"granted  7\n", VOTE_ASK_VOTE, 0},
		{"granted 7\ngranted 7\n", VOTE_ASK_VOTE, 0},
		{"Granted 7\n", VOTE_ASK_VOTE, 0},
		{"granted 18446744073709551623\n", VOTE_ASK_VOTE, 0},
		{"refused 7 hosta\n", VOTE_ASK_VOTE, 0},
		{"refused 6 hosta\n", VOTE_ASK_VOTE, 1},
		{"refused 7\n", VOTE_ASK_VOTE, 1},
		{"refused 7 \n", VOTE_ASK_VOTE, 1},
		{"refused 7 a b\n", VOTE_ASK_VOTE, 1},
		{"refused 7 ../a\n", VOTE_ASK_VOTE, 1},
		{"unknown x\n", VOTE_ASK_VOTE, 0},
		{"held 7 hosta\n", VOTE_ASK_VOTE, 0},
		{"none\n", VOTE_ASK_VOTE, 0},
		{"granted 7\n", VOTE_ASK_LOOK, 0},
		{"refused 7 hosta\n", VOTE_ASK_LOOK, 1},
		{"held 0 hosta\n", VOTE_ASK_LOOK, 0},
		{"none at all\n", VOTE_ASK_LOOK, 0},
		{"Usage: romulus-arbiter\n", VOTE_ASK_LOOK, 64},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct vote_answer a =
			read_of(cases[i].question, 7, cases[i].said, cases[i].status);

		if (a.vote != VOTE_UNKNOWN || a.term || *a.holder || !*a.text)
			fail_msg("\"%s\" with %d: %s %llu", cases[i].said, cases[i].status,
				 vote_name(a.vote), (unsigned long long)a.term);
	}
}

static void odd_bytes(void **state)
{
	struct vote_answer a = {.question = VOTE_ASK_VOTE, .asked = 7};
	char big[600];

	vote_line_read(&a, "granted 7\0x", 11, 0);
	assert_int_equal(a.vote, VOTE_UNKNOWN);
	memset(big, 'x', sizeof(big));
	for (size_t i = 0; i < 8; i++)
		big[i] = "unknown "[i];
	vote_line_read(&a, big, sizeof(big), 2);
	assert_int_equal(a.vote, VOTE_UNKNOWN);
	assert_non_null(strstr(a.text, "more than one line"));
	vote_line_read(&a, "unknown \x1b[2J\n", 13, 2);
	assert_string_equal(a.text, " [2J");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(believed),
		cmocka_unit_test(not_believed),
		cmocka_unit_test(odd_bytes),
	};

	return RUN_TESTS("vote-line", tests);
}
