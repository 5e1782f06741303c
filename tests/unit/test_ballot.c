/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules of arbiters, their records, their answers; and that no term is granted twice, by brute force. */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arbiter/ballot.h"
#include "lib/err.h"

#define UUID_TEXT "8c5f2a1e-0b1d-4c6f-9e51-2f6f2d1a7b90"

static struct ballot make(enum ballot_op op, const char *asker, const char *peer, uint64_t term)
{
	struct ballot b = {.op = op, .term = term};

	assert_int_equal(uuid_parse(UUID_TEXT, b.uuid), 0);
	snprintf(b.asker, sizeof(b.asker), "%s", asker);
	snprintf(b.peer, sizeof(b.peer), "%s", peer);
	return b;
}

static struct record held(uint64_t term, const char *holder)
{
	struct record r = {.term = term, .member = {"a", "b"}};

	assert_int_equal(uuid_parse(UUID_TEXT, r.uuid), 0);
	snprintf(r.holder, sizeof(r.holder), "%s", holder);
	return r;
}

static void uuids(void **state)
{
	static const char *const bad[] = {
		"",
		"8c5f2a1e-0b1d-4c6f-9e51-2f6f2d1a7b9",
		"8c5f2a1e-0b1d-4c6f-9e51-2f6f2d1a7b900",
		"8c5f2a1e00b1d-4c6f-9e51-2f6f2d1a7b90",
		"8c5f2a1e-0b1d-4c6f-9e51-2f6f2d1a7b9g",
		"00000000-0000-0000-0000-000000000000",
	};
	char text[UUID_TEXT_SIZE];
	uint8_t uuid[UUID_SIZE];

	assert_int_equal(uuid_parse("8C5F2A1E-0b1d-4c6f-9e51-2f6f2d1a7b90", uuid), 0);
	assert_string_equal(uuid_format(uuid, text), UUID_TEXT);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(uuid_parse(bad[i], uuid), -EINVAL);
}

static void a_record_is_one_line(void **state)
{
	struct record r = held(7, "b");
	char text[RECORD_TEXT_SIZE];
	struct record again;
	size_t len = record_encode(&r, text);

	assert_string_equal(text, "romulus-term 1 " UUID_TEXT " 7 b a b\n");
	assert_int_equal(record_decode(&again, text, len, NULL), 0);
	assert_memory_equal(&again, &r, sizeof(r));
	r.term = RECORD_MAX_TERM;
	memset(r.member[0], 'm', NAME_SIZE - 1);
	memset(r.holder, 'n', NAME_SIZE - 1);
	memset(r.member[1], 'n', NAME_SIZE - 1);
	len = record_encode(&r, text);
	assert_int_equal(record_decode(&again, text, len, NULL), 0);
	assert_memory_equal(&again, &r, sizeof(r));
}

static void other_lines_are_no_record(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"romulus-term 1 " UUID_TEXT " 7 b a b",
		"romulus-term 1 " UUID_TEXT " 7 b a b\n\n",
		"romulus-term 1 " UUID_TEXT " 7 b a b c\n",
		"romulus-term 1 " UUID_TEXT " 7  b a b\n",
		"romulus-term 1 " UUID_TEXT " 07 b a b\n",
		"romulus-term 1 " UUID_TEXT " +7 b a b\n",
		"romulus-term 1 " UUID_TEXT " 0 b a b\n",
		"romulus-term 1 " UUID_TEXT " -1 b a b\n",
		"romulus-term 1 " UUID_TEXT " 18446744073709551615 b a b\n",
		"romulus-term 1 " UUID_TEXT " 18446744073709551617 b a b\n",
		"romulus-term 1 " UUID_TEXT " 7 c a b\n",
		"romulus-term 1 " UUID_TEXT " 7 a a a\n",
		"romulus-term 1 " UUID_TEXT " 7 a a -b\n",
		"romulus-term 1 8C5f2a1e-0b1d-4c6f-9e51-2f6f2d1a7b90 7 b a b\n",
		"romulus-term 1 00000000-0000-0000-0000-000000000000 7 b a b\n",
		" romulus-term 1 " UUID_TEXT " 7 b a b\n",
	};
	struct err e = ERR_INIT;
	struct record r;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (record_decode(&r, bad[i], strlen(bad[i]), &e) != -EBADMSG || !*e.text)
			fail_msg("taken: %s", bad[i]);
	}
	assert_int_equal(record_decode(&r, "romulus-term 2 x\n", 17, &e), -EBADMSG);
	assert_string_equal(e.text, "written by another version of Romulus");
	/* A byte 0 hides nothing. */
	assert_int_equal(record_decode(&r, "romulus-term 1 " UUID_TEXT " 7 b a b\n\0x", 63, &e),
			 -EBADMSG);
}

/* asked, recorded, what is said, whether it is recorded. */
struct rule {
	const char *name;
	enum ballot_op op;
	const char *asker;
	const char *peer;
	uint64_t term;
	uint64_t recorded; /* 0: nothing */
	const char *holder;
	const char *says;
	const char *then; /* NULL: nothing changes */
};

static const struct rule rules[] = {
	{"first join", BALLOT_JOIN, "a", "b", 1, 0, "", "granted 1", "1 a a b"},
	{"first join, later term", BALLOT_JOIN, "b", "a", 9, 0, "", "granted 9", "9 b b a"},
	{"join again", BALLOT_JOIN, "a", "b", 3, 3, "a", "granted 3", "3 a a b"},
	{"join with a new peer", BALLOT_JOIN, "a", "c", 3, 3, "a", "granted 3", "3 a a c"},
	{"join, held by the other", BALLOT_JOIN, "a", "b", 3, 3, "b", "refused 3 b", NULL},
	{"join, newer recorded", BALLOT_JOIN, "a", "b", 3, 4, "b", "refused 4 b", NULL},
	{"join, own newer one", BALLOT_JOIN, "a", "b", 3, 4, "a", "refused 4 a", NULL},
	{"join after the operator's force", BALLOT_JOIN, "b", "a", 5, 3, "a", "granted 5",
	 "5 b b a"},
	{"join of a stranger", BALLOT_JOIN, "c", "b", 5, 3, "a",
	 "unknown c is none of the VM's members a and b", NULL},
	{"join of a stranger, older", BALLOT_JOIN, "c", "b", 1, 3, "a", "refused 3 a", NULL},
	{"vote", BALLOT_VOTE, "b", "a", 4, 3, "a", "granted 4", "4 b b a"},
	{"vote of the holder", BALLOT_VOTE, "a", "b", 4, 3, "a", "granted 4", "4 a a b"},
	{"vote with a gap", BALLOT_VOTE, "b", "a", 40, 3, "a", "granted 40", "40 b b a"},
	{"vote again", BALLOT_VOTE, "b", "a", 4, 4, "b", "granted 4", "4 b b a"},
	{"vote too late", BALLOT_VOTE, "a", "b", 4, 4, "b", "refused 4 b", NULL},
	{"vote far too late", BALLOT_VOTE, "a", "b", 4, 9, "b", "refused 9 b", NULL},
	{"vote behind oneself", BALLOT_VOTE, "a", "b", 4, 9, "a", "refused 9 a", NULL},
	{"vote of a stranger", BALLOT_VOTE, "c", "a", 4, 3, "a",
	 "unknown c and a are not the VM's members, a and b are", NULL},
	{"vote with a stranger", BALLOT_VOTE, "a", "c", 4, 3, "a",
	 "unknown a and c are not the VM's members, a and b are", NULL},
	{"vote without a record", BALLOT_VOTE, "a", "b", 4, 0, "",
	 "unknown nothing is recorded of this VM: it was never joined, or the record was "
	 "removed; protect it again",
	 NULL},
	{"look", BALLOT_LOOK, "c", "", 0, 3, "a", "held 3 a", NULL},
	{"look at nothing", BALLOT_LOOK, "a", "", 0, 0, "", "none", NULL},
};

static void each_rule(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		const struct rule *t = &rules[i];
		struct ballot b = make(t->op, t->asker, t->peer, t->term);
		struct record recorded = held(t->recorded, t->holder);
		char line[VERDICT_LINE_SIZE];
		char text[RECORD_TEXT_SIZE];
		char want[RECORD_TEXT_SIZE];
		struct record next;
		struct verdict v;
		bool change = ballot_decide(&b, t->recorded ? &recorded : NULL, &next, &v);

		if (strcmp(verdict_format(&v, line), t->says) != 0)
			fail_msg("%s: says \"%s\" instead of \"%s\"", t->name, line, t->says);
		if (change != (t->then != NULL))
			fail_msg("%s: changes the record or does not", t->name);
		if (!change)
			continue;
		record_encode(&next, text);
		snprintf(want, sizeof(want), "romulus-term 1 " UUID_TEXT " %s\n", t->then);
		if (strcmp(text, want) != 0)
			fail_msg("%s: records \"%s\" instead of \"%s\"", t->name, text, want);
	}
}

static void questions_that_make_no_sense(void **state)
{
	struct ballot b = make(BALLOT_VOTE, "a", "b", 1);

	assert_true(ballot_ok(&b));
	b.term = 0;
	assert_false(ballot_ok(&b));
	b.term = UINT64_MAX;
	assert_false(ballot_ok(&b));
	b = make(BALLOT_JOIN, "a", "a", 1);
	assert_false(ballot_ok(&b));
	b = make(BALLOT_JOIN, "a", "", 1);
	assert_false(ballot_ok(&b));
	b = make(BALLOT_LOOK, "a", "", 1);
	assert_false(ballot_ok(&b));
	b = make((enum ballot_op)4, "a", "b", 1);
	assert_false(ballot_ok(&b));
	b = make(BALLOT_VOTE, "", "b", 1);
	assert_false(ballot_ok(&b));
	memset(b.uuid, 0, sizeof(b.uuid));
	assert_false(ballot_ok(&b));
}

/* All questions of two members in random order, answers lost or not: each term has one host for ever. */
static void no_term_has_two_hosts(void **state)
{
	const char *granted[64] = {NULL};
	struct record recorded = {.term = 0};
	unsigned int seed = 1;
	unsigned int n = 0;

	for (int i = 0; i < 200000; i++) {
		const char *asker = (seed = seed * 1103515245 + 12345) >> 16 & 1 ? "a" : "b";
		unsigned int r = seed >> 17;
		uint64_t term = 1 + MIN(recorded.term + r % 4, (uint64_t)62) - (r % 4 == 3);
		struct ballot b = make(r & 64 ? BALLOT_VOTE : BALLOT_JOIN, asker,
				       *asker == 'a' ? "b" : "a", MAX(term, UINT64_C(1)));
		struct record next;
		struct verdict v;

		if (ballot_decide(&b, recorded.term ? &recorded : NULL, &next, &v)) {
			assert_true(next.term >= recorded.term);
			recorded = next;
		}
		if (v.kind != VERDICT_GRANTED)
			continue;
		n++;
		if (granted[v.term] && strcmp(granted[v.term], asker) != 0)
			fail_msg("term %d was granted to a and b", (int)v.term);
		granted[v.term] = asker;
		/* Begin anew now and then. */
		if (recorded.term == 63) {
			memset(granted, 0, sizeof(granted));
			recorded.term = 0;
		}
	}
	assert_true(n > 10000);
}

static void an_unknown_is_one_line(void **state)
{
	char line[VERDICT_LINE_SIZE];
	struct verdict v;

	verdict_unknown(&v, "two\nlines\t\x7f");
	assert_string_equal(verdict_format(&v, line), "unknown two lines  ");
	verdict_unknown(&v, "%0500d", 1);
	assert_int_equal(strlen(v.text), VERDICT_TEXT_SIZE - 1);
	assert_string_equal(v.text + VERDICT_TEXT_SIZE - 4, "...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uuids),
		cmocka_unit_test(a_record_is_one_line),
		cmocka_unit_test(other_lines_are_no_record),
		cmocka_unit_test(each_rule),
		cmocka_unit_test(questions_that_make_no_sense),
		cmocka_unit_test(no_term_has_two_hosts),
		cmocka_unit_test(an_unknown_is_one_line),
	};

	return RUN_TESTS("ballot", tests);
}
