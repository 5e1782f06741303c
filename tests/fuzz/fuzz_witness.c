/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What comes to a witness and from it, and what is recorded: as it is and with right digests. What is taken
 * makes sense and is written as the same bytes again.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arbiter/ballot.h"
#include "arbiter/record.h"
#include "arbiter/witness_wire.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/wr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_record(const uint8_t *data, size_t size)
{
	char text[RECORD_TEXT_SIZE];
	struct err e = ERR_INIT;
	struct record r;

	if (record_decode(&r, (const char *)data, size, &e) < 0) {
		assert(*e.text);
		return;
	}
	assert(record_encode(&r, text) == size && !memcmp(text, data, size));
}

static void look_at_question(const uint8_t buf[WITNESS_ASK_SIZE])
{
	struct ballot b = {.asker = "asker"};
	uint8_t again[WITNESS_ASK_SIZE];
	struct err e = ERR_INIT;
	struct record next;
	struct verdict v;

	if (witness_ask_decode(&b, buf, &e) < 0) {
		assert(*e.text);
		return;
	}
	witness_ask_encode(&b, again);
	assert(!memcmp(again, buf, sizeof(again)));
	(void)!ballot_decide(&b, NULL, &next, &v);
}

static void look_at_answer(const uint8_t buf[WITNESS_ANSWER_SIZE])
{
	struct ballot b = {.op = (enum ballot_op)(buf[6] % 3 + 1), .asker = "a", .peer = "b"};
	uint8_t again[WITNESS_ANSWER_SIZE];
	char line[VERDICT_LINE_SIZE];
	struct err e = ERR_INIT;
	struct verdict v;

	/* The question that it could be the answer to. */
	memcpy(b.uuid, buf + 8, sizeof(b.uuid));
	memcpy(&b.term, buf + 24, sizeof(b.term));
	if (witness_answer_decode(&b, &v, buf, &e) < 0) {
		assert(*e.text);
		return;
	}
	witness_answer_encode(&b, &v, again);
	assert(!memcmp(again, buf, sizeof(again)));
	assert(v.kind != VERDICT_GRANTED || v.term == b.term);
	assert(!strchr(verdict_format(&v, line), '\n'));
}

/* The last 8 bytes of buf become the digest of the others. */
static void sign(uint8_t *buf, size_t size)
{
	struct wr w = wr_init(buf + size - 8, 8);

	wr_u64(&w, digest_of(buf, size - 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t buf[WITNESS_ANSWER_SIZE];

	look_at_record(data, size);
	if (size == WITNESS_ASK_SIZE) {
		look_at_question(data);
		memcpy(buf, data, size);
		sign(buf, size);
		look_at_question(buf);
	} else if (size == WITNESS_ANSWER_SIZE) {
		look_at_answer(data);
		memcpy(buf, data, size);
		sign(buf, size);
		look_at_answer(buf);
	}
	return 0;
}
