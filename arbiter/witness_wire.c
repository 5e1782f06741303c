/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See witness_wire.h. */
#include "arbiter/witness_wire.h"

#include <errno.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/rd.h"
#include "lib/wr.h"

#define ASK_MAGIC 0x51574d52	/* "RMWQ" */
#define ANSWER_MAGIC 0x41574d52 /* "RMWA" */

/* A text field: what is there, then zeroes to its end, at least one. */
static void put_text(struct wr *w, const char *text, size_t size)
{
	size_t len = strnlen(text, size - 1);

	wr_bytes(w, text, len);
	wr_zero(w, size - len);
}

static void get_text(struct rd *r, char *text, size_t size)
{
	size_t len;

	rd_bytes(r, text, size);
	len = strnlen(text, size);
	if (len == size)
		rd_set_bad(r);
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (i < len ? c < 32 || c == 127 : c)
			rd_set_bad(r);
	}
	text[size - 1] = 0;
}

/* Over all that was written before it. */
static void put_digest(struct wr *w)
{
	wr_u64(w, digest_of(w->buf, wr_used(w)));
}

static bool digest_is_right(const uint8_t *buf, size_t size)
{
	struct rd r = rd_init(buf + size - 8, 8);

	return rd_u64(&r) == digest_of(buf, size - 8);
}

void witness_ask_encode(const struct ballot *b, uint8_t buf[WITNESS_ASK_SIZE])
{
	struct wr w = wr_init(buf, WITNESS_ASK_SIZE);
	bool ok;

	assert(ballot_ok(b));
	wr_u32(&w, ASK_MAGIC);
	wr_u16(&w, WITNESS_VERSION);
	wr_u8(&w, (uint8_t)b->op);
	wr_zero(&w, 1);
	wr_bytes(&w, b->uuid, sizeof(b->uuid));
	wr_u64(&w, b->term);
	put_text(&w, b->peer, sizeof(b->peer));
	put_digest(&w);
	ok = wr_ok(&w) && !wr_left(&w);
	assert(ok);
}

int witness_ask_decode(struct ballot *b, const uint8_t buf[WITNESS_ASK_SIZE], struct err *e)
{
	struct rd r = rd_init(buf, WITNESS_ASK_SIZE);
	uint16_t version;

	if (rd_u32(&r) != ASK_MAGIC || !digest_is_right(buf, WITNESS_ASK_SIZE))
		return err_setx(e, -EBADMSG, "no question to a witness");
	version = rd_u16(&r);
	b->op = (enum ballot_op)rd_u8(&r);
	rd_zero(&r, 1);
	rd_bytes(&r, b->uuid, sizeof(b->uuid));
	if (version != WITNESS_VERSION)
		return err_setx(e, -EPROTO, "a question of version %u, this witness speaks %u",
				version, WITNESS_VERSION);
	b->term = rd_u64(&r);
	get_text(&r, b->peer, sizeof(b->peer));
	rd_skip(&r, 8);
	if (!rd_done(&r) || !ballot_ok(b))
		return err_setx(e, -EBADMSG, "a question that contradicts itself");
	return 0;
}

void witness_answer_encode(const struct ballot *b, const struct verdict *v,
			   uint8_t buf[WITNESS_ANSWER_SIZE])
{
	struct wr w = wr_init(buf, WITNESS_ANSWER_SIZE);
	bool ok;

	wr_u32(&w, ANSWER_MAGIC);
	wr_u16(&w, WITNESS_VERSION);
	wr_u8(&w, (uint8_t)b->op);
	wr_u8(&w, (uint8_t)v->kind);
	wr_bytes(&w, b->uuid, sizeof(b->uuid));
	wr_u64(&w, v->term);
	put_text(&w, v->holder, sizeof(v->holder));
	put_text(&w, v->text, sizeof(v->text));
	wr_zero(&w, 8);
	put_digest(&w);
	ok = wr_ok(&w) && !wr_left(&w);
	assert(ok);
}

/* The answer of this kind has what it needs, is one to this question, and has nothing else. */
static bool makes_sense(const struct ballot *b, const struct verdict *v)
{
	bool look = b->op == BALLOT_LOOK;
	bool has_term = v->term && v->term <= RECORD_MAX_TERM;

	switch (v->kind) {
	case VERDICT_GRANTED:
		return !look && v->term == b->term && !*v->holder && !*v->text;
	case VERDICT_REFUSED:
		return !look && has_term && v->term >= b->term && name_ok(v->holder) && !*v->text;
	case VERDICT_UNKNOWN:
		return !v->term && !*v->holder && *v->text;
	case VERDICT_HELD:
		return look && has_term && name_ok(v->holder) && !*v->text;
	case VERDICT_NONE:
		return look && !v->term && !*v->holder && !*v->text;
	}
	return false;
}

int witness_answer_decode(const struct ballot *b, struct verdict *v,
			  const uint8_t buf[WITNESS_ANSWER_SIZE], struct err *e)
{
	struct rd r = rd_init(buf, WITNESS_ANSWER_SIZE);
	uint8_t uuid[UUID_SIZE];
	uint16_t version;
	uint8_t op;

	*v = (struct verdict){.term = 0};
	if (rd_u32(&r) != ANSWER_MAGIC || !digest_is_right(buf, WITNESS_ANSWER_SIZE))
		return err_setx(e, -EBADMSG, "no answer of a witness");
	version = rd_u16(&r);
	if (version != WITNESS_VERSION)
		return err_setx(e, -EBADMSG, "an answer of version %u, this host speaks %u",
				version, WITNESS_VERSION);
	op = rd_u8(&r);
	v->kind = (enum verdict_kind)rd_u8(&r);
	rd_bytes(&r, uuid, sizeof(uuid));
	v->term = rd_u64(&r);
	get_text(&r, v->holder, sizeof(v->holder));
	get_text(&r, v->text, sizeof(v->text));
	rd_zero(&r, 8);
	rd_skip(&r, 8);
	if (!rd_done(&r) || op != b->op || memcmp(uuid, b->uuid, sizeof(uuid)) != 0 ||
	    !makes_sense(b, v))
		return err_setx(e, -EBADMSG, "an answer to something else");
	return 0;
}
