/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the journal share, and nobody else: journal.c (life, session, events), journal_ring.c (items into
 * memory and ring), journal_sb.c (superblocks and syncs), journal_apply.c (from there to the disk), journal_change.c
 * (what the disk is), journal_recover.c (reading back).
 *
 * Items, records, places in the ring and in memory are counted from the opening on and never wrap; the index into the
 * array, the offset in the ring, follow by a remainder. All four are queues: what is freed is the oldest.
 */
#ifndef DISK_JOURNAL_IMPL_H
#define DISK_JOURNAL_IMPL_H

#include "disk/coalesce.h"
#include "disk/journal.h"
#include "disk/journal_mutant.h"

#define IO_DEPTH_MAX 64
#define PASS_RECORDS 8192u /* writes that are coalesced together, at most */
#define LOAD_BATCHES 4	   /* batches that are read again together, at most */

/* A batch, COMMIT or BEGIN, from the first record to the end of all need for it. */
struct item {
	struct journal *j;
	uint64_t pos; /* in the ring */
	uint64_t lsn;
	uint64_t prev; /* digest of the item before */
	uint64_t session;
	uint64_t epoch;
	uint64_t ram_pos;
	uint64_t payload_digest;
	uint64_t rec_first;
	uint32_t session_no; /* counts sessions of this opening */
	uint32_t n_recs;
	uint32_t payload_len;
	uint32_t size;	   /* in the ring and in memory */
	uint32_t load_off; /* where it is read to; of the present pass */
	enum journal_item_type type;
	bool direct;  /* not for the ring: a first copy's */
	bool open;    /* records still come */
	bool written; /* its write into the ring is complete */
	bool spilled; /* its memory was given up, the ring has it */
	bool copied;  /* its records are on the disk, if not synced; or are void */
	bool done;    /* nothing needs it any more */
	struct block_req req;
};

struct rec {
	uint64_t off;
	uint32_t len;
	uint32_t payload_off; /* in its batch */
	enum journal_op op;
};

/* An epoch without commit(). */
struct pending {
	uint64_t epoch;
	uint32_t batches;
	bool ended;
	bool direct;
	struct journal_count count;
};

enum round_step {
	ROUND_NONE,
	ROUND_MARK,  /* COMMIT is durable; the superblock that names it becomes so */
	ROUND_LOAD,  /* what was spilled is read */
	ROUND_WRITE, /* the disk is written */
	ROUND_SYNC,  /* and synced */
};

struct pass_rec {
	const uint8_t *data;
	enum journal_op op;
};

struct round {
	enum round_step step;
	bool direct;
	bool empty; /* no writes at all */
	bool synced;
	uint64_t end;	     /* items before this; the last one is the COMMIT, if not direct */
	uint64_t sb_seq;     /* MARK: waits for it */
	uint64_t pass_first; /* items of the present pass: [first, next) */
	uint64_t pass_next;
	uint32_t n_recs;
	uint32_t n_load;
	size_t n_pieces;
	size_t next_piece;
	uint64_t next_load; /* item */
};

enum change_kind {
	CHANGE_NONE,
	CHANGE_COPY,
	CHANGE_SETTLE,
	CHANGE_ACTIVATE,
	CHANGE_LEAVE,
	CHANGE_SET,
};

enum change_step {
	CHANGE_DRAIN,
	CHANGE_SYNC, /* the disk */
	CHANGE_SB1,
	CHANGE_SB2,
};

struct change {
	enum change_kind kind;
	enum change_step step;
	bool started; /* the step's request is on its way */
	bool synced;
	uint64_t sb_seq;
	enum journal_state state;
	struct journal_gens gens;
	uint64_t session;
	uint64_t epoch; /* COPY: the first; SETTLE: the last of the copy */
};

struct journal {
	struct block_store *file;
	struct block_store *disk;
	struct journal_opts o;
	struct journal_events ev;
	void *ev_arg;
	uint64_t now;

	/* superblock: what the next one will say */
	struct journal_sb sb;
	uint8_t *sb_block;
	struct block_req sb_req;
	bool sb_busy;	  /* from the write to the sync */
	bool sb_complete; /* the write is */
	bool sb_dirty;	  /* there is progress to be written */
	uint64_t sb_at;	  /* ns: when the last one was begun */
	uint64_t sb_durable_seq;
	uint64_t sb_synced_seq; /* what the sync in flight makes durable */
	uint64_t sb_tail_item;	/* whose place the one in flight has as tail */
	uint64_t sb_tail_pos;
	uint64_t sb_older_item; /* the same of the one before, which is still there */
	uint64_t sb_older_pos;
	uint64_t sb_waiting; /* bytes of the ring that the next one frees */

	/* sync of the file */
	struct block_req sync_req;
	bool sync_busy;
	uint64_t sync_items;	 /* items before this are made durable */
	uint64_t sync_urgent;	 /* items before this are waited for */
	uint64_t unsynced_since; /* ns; CLOCK_NEVER: nothing is */
	uint64_t unsynced_bytes;

	/* items: first <= ... <= head */
	struct item *items;
	uint64_t it_first;
	uint64_t it_durable;
	uint64_t it_written;
	uint64_t it_ram; /* the first whose memory is not given back */
	uint64_t it_head;
	uint64_t it_commit;	 /* one past the last COMMIT that is written; 0 none */
	uint64_t it_commit_safe; /* the same, that is durable */
	uint32_t n_direct;	 /* not done */
	struct rec *recs;
	uint64_t rec_first;
	uint64_t rec_head;

	/* ring */
	uint64_t ring_off; /* in the file */
	uint64_t pos_free; /* may be written from here, less one lap */
	uint64_t pos_head;
	uint64_t next_lsn;
	uint64_t chain; /* digest of the newest item */

	/* memory */
	uint8_t *ram;
	uint64_t ram_size;
	uint64_t ram_tail;
	uint64_t ram_head;
	bool starved; /* somebody got EAGAIN */

	/* session */
	bool in_session;
	bool direct; /* records do not go to the ring */
	uint32_t session_no;
	uint64_t session;
	uint64_t next_epoch;
	uint64_t committed_epoch;
	uint64_t durable_epoch;
	uint64_t durable_told;
	uint64_t applied_epoch;
	uint64_t applied_told;
	struct pending pend[JOURNAL_UNCOMMITTED];
	uint32_t n_pend;
	uint64_t settle_epoch; /* JOURNAL_NO_EPOCH: none */
	bool adopts;
	struct journal_gens adopted;

	/* applying */
	struct round round;
	uint64_t committed_since; /* ns: the oldest that is not applied; CLOCK_NEVER: none */
	uint64_t lag_bytes;
	uint64_t lag_records;
	uint32_t pass_records; /* that are coalesced together, at most */
	struct extent *ext;
	struct pass_rec *src;
	struct heap_node *scratch;
	struct piece *pieces;
	uint8_t *load;
	struct block_req io[IO_DEPTH_MAX];
	uint64_t io_busy; /* a bit each */

	struct change change;

	/* a drill looks (journal_hold.c) */
	bool held;
	uint64_t hold_epoch; /* what may be applied all the same; JOURNAL_NO_EPOCH: nothing */

	/* failure */
	int rc; /* 0, or why it is FAILED */
	bool fail_told;
	unsigned int fail_sbs; /* superblocks still to be written */
	char why[JOURNAL_WHY_SIZE];

	unsigned int in_flight;
	uint64_t spilled;
	uint64_t merged;
	uint64_t replayed;
};

static inline struct item *item_at(const struct journal *j, uint64_t n)
{
	return &j->items[n & (j->o.max_items - 1)];
}

static inline struct rec *rec_at(const struct journal *j, uint64_t n)
{
	return &j->recs[n & (j->o.max_records - 1)];
}

static inline uint32_t batch_max(const struct journal *j)
{
	return JOURNAL_BLOCK + j->o.batch_bytes;
}

/* journal_ring.c */
/* 0, or as journal_append(): room for a batch. */
MUST_CHECK int ring_room(struct journal *j, uint32_t bytes);
void ring_close(struct journal *j);
/* COMMIT or BEGIN; there must be room. */
void ring_mark(struct journal *j, enum journal_item_type type, const struct pending *p);
void ring_drop(struct journal *j);
/* Follows completed writes; gives back memory. */
void ring_advance(struct journal *j);
/* The items before this are freed, and the ring up to there. */
void ring_free_until(struct journal *j, uint64_t item, uint64_t pos);

/* journal_sb.c */
/* Writes sb, if none is on its way: true. */
bool sb_put(struct journal *j);
void sb_advance(struct journal *j);
void sync_advance(struct journal *j);
uint64_t sb_deadline(const struct journal *j);

/* journal_hold.c */
/* Only what leads to hold_epoch may be applied. */
bool hold_counts(const struct journal *j);
/* One past the last COMMIT before `end` that a hold lets be applied; 0: none. */
uint64_t hold_end(const struct journal *j, uint64_t end);

/* journal_apply.c */
/* More than half of something is used: epochs wait for what is not applied. */
bool apply_pressed(const struct journal *j);
void apply_advance(struct journal *j);
/* All that is committed is on the disk, nothing is under way. */
bool apply_finished(const struct journal *j);
/* One request of the pool, NULL when all are in flight. */
struct block_req *io_get(struct journal *j, enum block_op op, uint64_t off);
void io_submit(struct journal *j, struct block_store *s, struct block_req *r);
uint64_t apply_deadline(const struct journal *j);
/* Of what is coalesced, by ext and src: what is to be done with a piece. */
enum block_op piece_op(const struct journal *j, const struct piece *p);
/* Adds the piece to the request if it goes on where that ends, and fits. To an empty one of its op and place it does. */
bool piece_add(const struct journal *j, struct block_req *req, const struct piece *p);

/* journal_change.c */
void change_advance(struct journal *j);
static inline bool change_seals(const struct journal *j)
{
	if (j->change.kind == CHANGE_COPY)
		return !j->in_session;
	return j->change.kind != CHANGE_NONE && j->change.kind != CHANGE_SETTLE;
}
void change_settle(struct journal *j);

/* journal_replay.c */
struct replay {
	struct journal *j;
	uint32_t n;    /* records of the pass */
	uint64_t used; /* bytes of j->ram */
	int rc;	       /* the first error of the disk; nothing more is written */
};
/* The next record in the order of epochs; data may be used again at once. What is added is written with replay_flush() at the latest. */
MUST_CHECK int replay_add(struct replay *p, const struct journal_desc *d, uint8_t *data);
/* All that was added is on the disk, not synced. */
MUST_CHECK int replay_flush(struct replay *p);

/* journal_recover.c */
MUST_CHECK int recover(struct journal *j, struct err *e);
/* Of the two, the one that counts. */
MUST_CHECK int recover_sb(struct block_store *file, struct journal_sb *sb, struct err *e);
/* Both places, each synced. */
MUST_CHECK int recover_put_both(struct block_store *file, struct journal_sb *sb, void *block);

/* journal.c */
/* Is it the epoch's turn? Begins it when it is new. 0 or as journal_append(). */
MUST_CHECK int journal_epoch_open(struct journal *j, uint64_t epoch);
PRINTF(3, 4) void journal_fail_with(struct journal *j, int rc, const char *fmt, ...);

#endif
