/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See block_store.h. */
#include "disk/block_store.h"

#include <errno.h>

struct outcome {
	int done;
	int rc;
};

static void took_place(struct block_req *r, int rc)
{
	struct outcome *o = r->arg;

	*o = (struct outcome){.done = 1, .rc = rc};
}

int block_do(struct block_store *s, enum block_op op, uint64_t off, void *buf, uint64_t len)
{
	struct outcome o = {0, 0};
	struct block_req r = {
		.op = op,
		.off = off,
		.len = len,
		.n_iov = buf ? 1 : 0,
		.iov = {{.iov_base = buf, .iov_len = buf ? len : 0}},
		.done = took_place,
		.arg = &o,
	};

	block_submit(s, &r);
	while (!o.done) {
		int rc = s->ops->wait(s);

		/* The request is on our stack and must not outlive the call. */
		assert(rc == 0);
	}
	return o.rc;
}
