/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the primary remembers of one disk, in the right order: the write_sink that the block server shows each
 * write to, made of intent log, epoch log and copier, which all look at one dirty map. Pure; the block server's
 * thread. Owns nothing: the four are the caller's, who talks to them directly but for what is here.
 *
 * A write goes through the intent log first (its region must be durable before the local disk may change), then
 * through the epoch log, which gives it its epoch, and only then are its regions tied to that epoch.
 */
#ifndef DISK_TRACKER_H
#define DISK_TRACKER_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/copier.h"
#include "disk/write_sink.h"
#include "lib/compiler.h"

struct dirty_map;
struct epoch_log;
struct epoch_word;
struct intent_log;

/* Embedded by its owner; the fields are private. */
struct tracker {
	struct write_sink sink;
	struct dirty_map *map;
	struct intent_log *intent;
	struct epoch_log *log;
	struct copier *copier;
};

struct tracker_parts {
	struct dirty_map *map;
	struct intent_log *intent;
	struct epoch_log *log;
	struct copier *copier;
};

/* All are borrowed. */
void tracker_init(struct tracker *t, const struct tracker_parts *parts);

/*
 * For block_server_set_sink(). After -EAGAIN the server asks again when the epoch log's wake() comes, or when
 * the caller has told intent_log_written().
 */
struct write_sink *tracker_sink(struct tracker *t);

/* Instead of copier_read(): a record of the copier keeps its regions set until it is settled. */
void tracker_copier_read(struct tracker *t, const struct copier_job *job, const void *data, int rc);
/* To be called from copier_conf.differs: what verification found must survive a crash too. */
void tracker_differs(struct tracker *t, uint64_t off, uint32_t len);

/* epoch_log_begin(), after all that an earlier stream may have left. Then copier_start(). */
MUST_CHECK int tracker_begin(struct tracker *t, const struct epoch_word *word);
/* epoch_log_settle() for both logs. */
MUST_CHECK int tracker_settle(struct tracker *t, uint64_t epoch);
/* Break, LEAVE, or after the epoch log has said dropped(): all is marked, nothing is streamed or copied. */
void tracker_leave(struct tracker *t);
/* Anything marked, not settled, or set: struct gen_side's dirt. */
bool tracker_dirt(const struct tracker *t);

#endif
