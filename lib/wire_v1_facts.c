/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The question and the answer of `romulus doctor`: ASK_FACTS, FACTS. Pure. See wire_v1.h, docs/protocol.md. */
#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/wire_impl.h"

void wire_ask_facts_encode(struct wr *w, const struct wire_ask_facts *m)
{
	if (*m->vm)
		wire_put_name__(w, m->vm);
	else
		wr_zero(w, NAME_SIZE);
	wr_zero(w, 8);
}

static bool is_blank(const struct frame *f)
{
	for (size_t i = 0; i < NAME_SIZE; i++) {
		if (f->payload[i])
			return false;
	}
	return true;
}

int wire_ask_facts_decode(const struct frame *f, struct wire_ask_facts *m, struct err *e)
{
	struct rd r = rd_init(f->payload, f->h.length);

	memset(m, 0, sizeof(*m));
	if (f->h.length >= NAME_SIZE && is_blank(f))
		rd_zero(&r, NAME_SIZE);
	else if (!wire_get_name__(&r, m->vm))
		return wire_bad__(e, f, "the VM's name");
	rd_zero(&r, 8);
	return wire_done__(e, f, &r);
}

void wire_facts_encode(struct wr *w, const char *json, size_t size)
{
	assert(size >= 2 && size <= WIRE_FACTS_MAX && !memchr(json, 0, size));
	wr_bytes(w, json, size);
}

int wire_facts_decode(const struct frame *f, const char **json, size_t *size, struct err *e)
{
	if (f->h.length < 2 || f->h.length > WIRE_FACTS_MAX || memchr(f->payload, 0, f->h.length))
		return wire_bad__(e, f, "text");
	*json = (const char *)f->payload;
	*size = f->h.length;
	return 0;
}
