/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Payloads of version 1, and the order in which they may come. Each record of the input: type 1,
 * side 1, epoch 1, length 2, payload. What decodes must encode to the same bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/compiler.h"
#include "lib/err.h"
#include "lib/wire_v1.h"
#include "tests/lib/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[FRAME_MAX_PAYLOAD];

static void decode(const struct frame *f)
{
	const struct frame_rule *rule = frame_rule(f->h.type);
	struct wr w = wr_init(again, sizeof(again));
	uint16_t version = 0;
	struct err e = ERR_INIT;

	if (f->h.type == FRAME_HELLO && wire_hello_version(f, &version, &e) == 0)
		assert(version == 1);
	/* As in conn.c: the frame's own rule was kept before anybody looks at the payload. */
	if (!rule || f->h.length < rule->min || f->h.length > rule->max)
		return;
	e = ERR_INIT;
	if (sample_again(f, &w, &e) < 0)
		return;
	assert(wr_ok(&w) && wr_used(&w) == f->h.length);
	assert(memcmp(again, f->payload, f->h.length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	struct wire_order order = {.phase = 0};
	bool over = false;

	while (rd_left(&r)) {
		struct frame f = {.h = {.version = 1}};
		struct err e = ERR_INIT;
		enum frame_side from;

		f.h.type = rd_u8(&r);
		from = rd_u8(&r) % 2 ? FRAME_BACKUP : FRAME_PRIMARY;
		f.h.epoch = rd_u8(&r);
		f.h.length = rd_u16(&r);
		f.payload = rd_ptr(&r, f.h.length);
		if (!rd_ok(&r))
			break;
		decode(&f);
		if (over || !frame_rule(f.h.type))
			continue;
		over = wire_order_check(&order, from, &f, &e) < 0;
		assert(over == (e.text[0] != 0));
		assert(order.next_ack <= order.next_epoch);
	}
	return 0;
}
