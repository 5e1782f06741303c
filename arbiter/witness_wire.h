/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two messages between a host and romulus-witness, of fixed size; docs/protocol.md draws them. The
 * asker is not in the question: it is the name in the certificate. Pure.
 */
#ifndef ARBITER_WITNESS_WIRE_H
#define ARBITER_WITNESS_WIRE_H

#include <stdint.h>

#include "arbiter/ballot.h"
#include "lib/compiler.h"

struct err;

#define WITNESS_VERSION 1
#define WITNESS_ASK_SIZE 104
#define WITNESS_ANSWER_SIZE 432

void witness_ask_encode(const struct ballot *b, uint8_t buf[WITNESS_ASK_SIZE]);
/*
 * Any bytes; fills in all but the asker, which must be there already. 0; -EBADMSG: no question;
 * -EPROTO: of another version (the text says which; an answer of this version is understood).
 */
MUST_CHECK int witness_ask_decode(struct ballot *b, const uint8_t buf[WITNESS_ASK_SIZE],
				  struct err *e);

/* b is what was asked: its op and uuid are repeated. */
void witness_answer_encode(const struct ballot *b, const struct verdict *v,
			   uint8_t buf[WITNESS_ANSWER_SIZE]);
/* Any bytes; must answer exactly *b. 0 or -EBADMSG. */
MUST_CHECK int witness_answer_decode(const struct ballot *b, struct verdict *v,
				     const uint8_t buf[WITNESS_ANSWER_SIZE], struct err *e);

#endif
