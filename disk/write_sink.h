/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the block server shows each write of the guest before it is completed: the stream to the
 * backup when there is one, the dirty bitmap when there is none. The server knows only this.
 *
 * All calls come from the server's thread. A write is shown in the order of arrival, but one that overlaps an earlier
 * one is shown when that is done: two overlapping writes are never between admit() and done() at once, and every write
 * that was admitted is carried out, also when the connection that brought it has died.
 */
#ifndef DISK_WRITE_SINK_H
#define DISK_WRITE_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

enum write_op {
	WRITE_DATA = 1, /* len bytes at data */
	WRITE_ZERO,	/* no data */
	WRITE_DISCARD,	/* no data; what is read there later is anything */
	WRITE_FLUSH,	/* off and len are 0: what was completed before is wanted durable */
};

struct write_req {
	enum write_op op;
	bool fua;     /* wanted durable by itself, as if a FLUSH of it followed */
	uint64_t off; /* bytes, multiple of the disk's block */
	uint32_t
		len; /* bytes, multiple of the disk's block, not 0 but for FLUSH; only DATA is bounded by 1 MiB */
	const void *data; /* the server's, until done() */
};

struct write_sink;

struct write_sink_ops {
	/*
	 * A write has arrived. 0: taken, go on with it; the sink has queued or marked what it needs. -EAGAIN: not now;
	 * keep it and all later writes, and ask again when block_server_wake() was called. Nothing else may be
	 * returned: a sink cannot fail a guest's write.
	 */
	int (*admit)(struct write_sink *s, const struct write_req *w);

	/*
	 * The local disk has carried out a write that admit() took; rc 0, or the negative errno of the disk. Returns true when
	 * the server may answer the guest, false when it must keep the answer for ever or until
	 * block_server_answer_held(): a protected guest is never shown an error of the local disk (P4).
	 */
	bool (*done)(struct write_sink *s, const struct write_req *w, int rc);

	/* The same for a read that failed with rc: may the error be answered? */
	bool (*read_failed)(struct write_sink *s, uint64_t off, uint32_t len, int rc);
};

struct write_sink {
	const struct write_sink_ops *ops;
};

#endif
