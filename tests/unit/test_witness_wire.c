/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arbiter/witness_wire.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/wr.h"

static struct ballot question(enum ballot_op op)
{
	struct ballot b = {.op = op, .term = op == BALLOT_LOOK ? 0 : 7, .asker = "a", .peer = "b"};

	for (size_t i = 0; i < UUID_SIZE; i++)
		b.uuid[i] = (uint8_t)(i + 1);
	return b;
}

/* As if the sender had meant what stands there. */
static void sign(uint8_t *buf, size_t size)
{
	struct wr w = wr_init(buf + size - 8, 8);

	wr_u64(&w, digest_of(buf, size - 8));
}

static void golden_question(void **state)
{
	static const uint8_t golden[] = {'R', 'M', 'W', 'Q', 1, 0, 2,  0,  1,  2,  3,
					 4,   5,   6,	7,   8, 9, 10, 11, 12, 13, 14,
					 15,  16,  7,	0,   0, 0, 0,  0,  0,  0,  'b'};
	struct ballot b = question(BALLOT_VOTE);
	struct ballot again = {.asker = "a"};
	uint8_t buf[WITNESS_ASK_SIZE];

	witness_ask_encode(&b, buf);
	assert_memory_equal(buf, golden, sizeof(golden));
	for (size_t i = sizeof(golden); i < WITNESS_ASK_SIZE - 8; i++)
		assert_int_equal(buf[i], 0);
	assert_int_equal(witness_ask_decode(&again, buf, NULL), 0);
	assert_int_equal(again.op, b.op);
	assert_int_equal(again.term, b.term);
	assert_memory_equal(again.uuid, b.uuid, sizeof(b.uuid));
	assert_memory_equal(again.asker, b.asker, sizeof(b.asker));
	assert_memory_equal(again.peer, b.peer, sizeof(b.peer));
}

static void a_broken_question_is_none(void **state)
{
	struct ballot b = question(BALLOT_VOTE);
	uint8_t buf[WITNESS_ASK_SIZE];

	witness_ask_encode(&b, buf);
	for (size_t bit = 0; bit < sizeof(buf) * 8; bit++) {
		struct ballot again = {.asker = "a"};

		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(witness_ask_decode(&again, buf, NULL), -EBADMSG);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void a_question_must_make_sense(void **state)
{
	/* offset, value */
	static const uint8_t changes[][2] = {{6, 0},  {6, 4},	 {7, 1},    {24, 0}, {32, 'a'},
					     {32, 0}, {33, '/'}, {95, 'x'}, {32, 1}};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct ballot b = question(BALLOT_VOTE);
		struct ballot again = {.asker = "a"};
		uint8_t buf[WITNESS_ASK_SIZE];
		struct err e = ERR_INIT;

		witness_ask_encode(&b, buf);
		buf[changes[i][0]] = changes[i][1];
		sign(buf, sizeof(buf));
		if (witness_ask_decode(&again, buf, &e) != -EBADMSG || !*e.text)
			fail_msg("change %zu was taken", i);
	}
}

static void another_version_is_told(void **state)
{
	struct ballot b = question(BALLOT_VOTE);
	struct ballot again = {.asker = "a"};
	uint8_t buf[WITNESS_ASK_SIZE];
	struct err e = ERR_INIT;

	witness_ask_encode(&b, buf);
	buf[4] = 2;
	sign(buf, sizeof(buf));
	assert_int_equal(witness_ask_decode(&again, buf, &e), -EPROTO);
	assert_string_equal(e.text, "a question of version 2, this witness speaks 1");
	/* Enough for an answer to it. */
	assert_int_equal(again.op, BALLOT_VOTE);
	assert_memory_equal(again.uuid, b.uuid, UUID_SIZE);
}

static const struct {
	enum ballot_op op;
	struct verdict v;
} answers[] = {
	{BALLOT_VOTE, {.kind = VERDICT_GRANTED, .term = 7}},
	{BALLOT_JOIN, {.kind = VERDICT_REFUSED, .term = 7, .holder = "b"}},
	{BALLOT_VOTE, {.kind = VERDICT_REFUSED, .term = 9, .holder = "a"}},
	{BALLOT_VOTE, {.kind = VERDICT_UNKNOWN, .text = "no"}},
	{BALLOT_LOOK, {.kind = VERDICT_UNKNOWN, .text = "no"}},
	{BALLOT_LOOK, {.kind = VERDICT_HELD, .term = 3, .holder = "b"}},
	{BALLOT_LOOK, {.kind = VERDICT_NONE}},
};

static void each_answer(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct ballot b = question(answers[i].op);
		uint8_t buf[WITNESS_ANSWER_SIZE];
		struct verdict v;

		witness_answer_encode(&b, &answers[i].v, buf);
		assert_int_equal(witness_answer_decode(&b, &v, buf, NULL), 0);
		assert_int_equal(v.kind, answers[i].v.kind);
		assert_int_equal(v.term, answers[i].v.term);
		assert_memory_equal(v.holder, answers[i].v.holder, sizeof(v.holder));
		assert_memory_equal(v.text, answers[i].v.text, sizeof(v.text));
		for (size_t bit = 0; bit < sizeof(buf) * 8; bit++) {
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(witness_answer_decode(&b, &v, buf, NULL), -EBADMSG);
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

/* Whatever says "granted" to another question grants nothing. */
static void an_answer_must_fit_its_question(void **state)
{
	static const struct verdict bad[] = {
		{.kind = VERDICT_GRANTED, .term = 8},
		{.kind = VERDICT_GRANTED},
		{.kind = VERDICT_GRANTED, .term = 7, .holder = "a"},
		{.kind = VERDICT_GRANTED, .term = 7, .text = "but"},
		{.kind = VERDICT_REFUSED, .term = 6, .holder = "b"},
		{.kind = VERDICT_REFUSED, .term = 7},
		{.kind = VERDICT_REFUSED, .term = UINT64_MAX, .holder = "b"},
		{.kind = VERDICT_UNKNOWN},
		{.kind = VERDICT_UNKNOWN, .text = "no", .term = 1},
		{.kind = VERDICT_HELD, .term = 7, .holder = "b"},
		{.kind = VERDICT_NONE},
		{.kind = (enum verdict_kind)0},
		{.kind = (enum verdict_kind)6},
	};
	const struct verdict granted = {.kind = VERDICT_GRANTED, .term = 7};
	struct ballot b = question(BALLOT_VOTE);
	struct ballot other = question(BALLOT_VOTE);
	uint8_t buf[WITNESS_ANSWER_SIZE];
	struct verdict v;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		witness_answer_encode(&b, &bad[i], buf);
		if (witness_answer_decode(&b, &v, buf, NULL) != -EBADMSG)
			fail_msg("answer %zu was taken", i);
	}
	other.uuid[3] ^= 1;
	witness_answer_encode(&other, &granted, buf);
	assert_int_equal(witness_answer_decode(&b, &v, buf, NULL), -EBADMSG);
	other = question(BALLOT_JOIN);
	witness_answer_encode(&other, &granted, buf);
	assert_int_equal(witness_answer_decode(&b, &v, buf, NULL), -EBADMSG);
	witness_answer_encode(&b, &granted, buf);
	buf[420] = 1; /* reserved */
	sign(buf, sizeof(buf));
	assert_int_equal(witness_answer_decode(&b, &v, buf, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_question),
		cmocka_unit_test(a_broken_question_is_none),
		cmocka_unit_test(a_question_must_make_sense),
		cmocka_unit_test(another_version_is_told),
		cmocka_unit_test(each_answer),
		cmocka_unit_test(an_answer_must_fit_its_question),
	};

	return RUN_TESTS("witness_wire", tests);
}
