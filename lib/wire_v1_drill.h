/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DRILL and DRILL_SAYS of protocol version 1: what the tool asks at the primary about drills, and what the backup answers. Two
 * texts and the number that ties them. As wire_v1.h. Neither type is mandatory: a peer that does not know them answers nothing.
 */
#ifndef LIB_WIRE_V1_DRILL_H
#define LIB_WIRE_V1_DRILL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/frame.h"
#include "lib/wr.h"

struct err;

#define WIRE_DRILL_MAX 2048	  /* bytes of a question */
#define WIRE_DRILL_SAYS_MAX 16384 /* bytes of an answer */
/* Questions that are not answered yet. */
#define WIRE_DRILLS_UNANSWERED 4

struct wire_drill {
	uint32_t id;	  /* of the question, not 0 */
	const char *text; /* without control characters, borrowed; a decoded one has no final 0 */
	size_t size;
};

void wire_drill_encode(struct wr *w, const struct wire_drill *m);
MUST_CHECK int wire_drill_decode(const struct frame *f, struct wire_drill *m, struct err *e);

#endif
