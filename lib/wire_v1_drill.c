/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See wire_v1_drill.h. Both types have the same layout. */
#include "lib/wire_v1_drill.h"

#include <errno.h>

#include "lib/err.h"
#include "lib/rd.h"
#include "lib/wire_impl.h"

void wire_drill_encode(struct wr *w, const struct wire_drill *m)
{
	assert(m->id && m->size && m->size <= WIRE_DRILL_SAYS_MAX);
	wr_u32(w, m->id);
	wr_zero(w, 4);
	wire_put_text__(w, m->text, m->size);
}

int wire_drill_decode(const struct frame *f, struct wire_drill *m, struct err *e)
{
	struct rd r = rd_init(f->payload, f->h.length);

	m->id = rd_u32(&r);
	rd_zero(&r, 4);
	if (!rd_ok(&r))
		return wire_done__(e, f, &r);
	m->size = rd_left(&r);
	m->text = (const char *)rd_ptr(&r, m->size);
	if (!m->id)
		return wire_bad__(e, f, "id");
	if (!m->size || m->size > WIRE_DRILL_SAYS_MAX)
		return wire_bad__(e, f, "text");
	for (size_t i = 0; m->text && i < m->size; i++)
		if ((unsigned char)m->text[i] < ' ' || m->text[i] == 0x7f)
			return wire_bad__(e, f, "text");
	return wire_done__(e, f, &r);
}
