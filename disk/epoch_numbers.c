/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See epoch_numbers.h. */
#include "disk/epoch_numbers.h"

#include "lib/wr.h"

void epoch_count_init(struct epoch_count *c)
{
	digest_init(&c->running);
	c->records = c->bytes = 0;
}

void epoch_count_add(struct epoch_count *c, const struct write_req *r, bool sync)
{
	uint8_t head[16];
	struct wr w = wr_init(head, sizeof(head));

	wr_u64(&w, r->off);
	wr_u32(&w, r->len);
	wr_u32(&w, sync ? EPOCH_OP_SYNC : (uint32_t)r->op);
	assert(wr_ok(&w));
	digest_update(&c->running, head, sizeof(head));
	c->records++;
	c->bytes += r->len;
	if (r->op == WRITE_DATA)
		digest_update(&c->running, r->data, r->len);
}

struct epoch_numbers epoch_count_get(const struct epoch_count *c)
{
	return (struct epoch_numbers){
		.records = c->records,
		.bytes = c->bytes,
		.digest = digest_final(&c->running),
	};
}
