/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk is on this host, and what keeps account of it: journal file, dirty map, intent log, epoch log and copier,
 * wired to the block server. Knows nothing of workers: primary_disk.h and backup_disk.h drive it. The loop's thread.
 *
 * A guest is served while the state is ACTIVE, or was when the journal file failed. Two things hold up a write: its region
 * must be set durably in the intent log, and a generation that is due must be durable (docs/disk.md).
 *
 * Changes of what the journal says are durable before they have an effect. They are wished for, one or more at a time, and
 * done when disk_wants() no longer says so.
 */
#ifndef DISK_DISK_STATE_H
#define DISK_DISK_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/blk_io.h"
#include "disk/generation.h"
#include "disk/intent_log.h"
#include "disk/journal.h"
#include "disk/tracker.h"
#include "disk/write_sink.h"
#include "lib/compiler.h"
#include "lib/names.h"

struct blk_store;
struct block_server;
struct drill_guard;
struct copier;
struct dirty_map;
struct epoch_log;
struct err;

#define DISK_WHY_SIZE 256
/* Of a chunk that is compared by hash, and of the buffers of those who read. */
#define DISK_CHUNK (UINT32_C(1) << 20)
/* Jobs of the copier at a time. */
#define DISK_COPY_SLOTS 8

/* A bit each. */
enum disk_wish {
	DISK_WISH_ALONE = 1,	/* gen_alone() */
	DISK_WISH_FINISH = 2,	/* gen_finish() */
	DISK_WISH_ACTIVATE = 4, /* gen_activate() with the pending generation */
	DISK_WISH_OUTDATED = 8, /* the peer runs the guest; nothing more is served */
	DISK_WISH_SURRENDER =
		16, /* gen_surrender(): OUTDATED, or SYNCING still; nothing more is served */
};

struct disk_conf {
	const char *name;
	const char *journal_path;
	const char *state_path; /* the runtime file; NULL: none */
	const char *
		used_path; /* there while a guest has the disk, says the hotplug script; NULL: none */
	enum blk_engine engine;
	bool may_cache;
	struct blk_dev *blk; /* borrowed, as is the server */
	struct block_server *server;
	uint64_t queue_bytes;
	uint64_t stall_ns;
	uint64_t copy_rate; /* bytes a second */
};

/* Who writes a block of the intent log. */
enum intent_step {
	INTENT_IDLE,
	INTENT_WRITING,
	INTENT_SYNCING,
};

/* Read by primary_disk.c, backup_disk.c and the readers; changed by disk_state.c, but where it says so. */
struct disk {
	struct disk_conf conf;
	struct blk_dev *file_blk;
	struct blk_store *file;
	struct blk_store *data;
	struct drill_guard *guard; /* before data: what the journal writes goes through it */
	struct journal *journal;
	struct journal_geometry geo;
	struct dirty_map *map;
	struct intent_log *intents;
	struct epoch_log *log;
	struct copier *copier;
	struct tracker tracker; /* of the four above */
	struct write_sink gate;

	enum journal_state state; /* durable */
	struct journal_gens gens;
	char why[DISK_WHY_SIZE]; /* what is wrong, or empty */
	bool dirt_known;
	bool serving;
	unsigned int version; /* counts changes of the above */

	unsigned int wanted; /* enum disk_wish */
	unsigned int doing;
	bool changing; /* by whoever called journal_*(): set it there */
	bool adopts;   /* ... with which this side's own marks end: set it there, too */
	uint64_t
		target_generation; /* of the copy that DISK_WISH_FINISH ends; 0: none. primary_disk.c sets it */
	bool leaving; /* a session is over, the journal does not say so yet: backup_disk.c's */
	uint64_t
		pending_generation; /* of an activation, perhaps of an earlier server's; 0: none. backup_disk.c sets it, too */
	bool starts_alone; /* the guest is started here, nobody told us: alone from its first write on */

	bool news; /* something has come of what was asked for: roles are to go on; the shell clears it */
	bool dropped; /* the log left the stream by itself; primary_disk.c clears it */
	char drop_why[DISK_WHY_SIZE];
	int failed; /* what the local disk said while streaming; the same */

	enum intent_step intent_step;
	uint64_t intent_seq;
	uint64_t intent_idle_ns;
	uint8_t *intent_block;
	struct block_req intent_req;
	uint64_t deadline;
};

/* Opens the journal, brings the disk to its last committed epoch, and takes over the server. Blocks. */
MUST_CHECK int disk_open(struct disk **out, const struct disk_conf *c, struct err *e);
/* Waits for what is under way in the journal's file. The server must be gone. NULL is a no-op. */
void disk_free(struct disk *d);

/* Does what can be done; after each event and at the deadline. Roles go on after it. */
void disk_go_on(struct disk *d, uint64_t now);

void disk_want(struct disk *d, enum disk_wish wish);
static inline bool disk_wants(const struct disk *d, enum disk_wish wish)
{
	return d->wanted & (unsigned int)wish;
}
/* Nothing is being changed: journal_*() that change may be called. */
static inline bool disk_settled(const struct disk *d)
{
	return !d->changing && !d->doing && !d->wanted;
}

/* Marks in map and intent log what may differ; done when the log is durable is not waited for. */
void disk_mark(struct disk *d, uint64_t off, uint64_t len);
/* The stream is left: marks, and answers what was held back. Also when there is none. */
void disk_leave_stream(struct disk *d);
/*
 * The operator gives up what is here: may that be wished for? 0; else e says who has the disk, or why there is nothing to
 * give up. What follows is DISK_WISH_SURRENDER.
 */
MUST_CHECK int disk_may_surrender(const struct disk *d, struct err *e);
bool disk_is_surrendered(const struct disk *d);
/* The server stops or starts to serve the guest. */
void disk_serve(struct disk *d, bool on);

/* A guest has it, or a client does. */
bool disk_in_use(const struct disk *d);

uint64_t disk_random(void);

#endif
