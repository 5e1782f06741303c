/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal-prefixes: a recorded life of a journal from a seed (life.c), what must be found after a loss of power at any
 * instant of it (oracle.c), and the trial of it (trial.c).
 */
#ifndef TESTS_JOURNAL_RUN_H
#define TESTS_JOURNAL_RUN_H

#include "disk/journal.h"
#include "tests/lib/block_crash.h"
#include "tests/lib/block_rec.h"

#define SECTORS 512u
#define SECTOR 512u
#define DISK_SIZE ((uint64_t)SECTORS * SECTOR)
#define FILE_MAX (200ull * JOURNAL_BLOCK)
#define SNAPS_MAX 400
#define ENDED_MAX 16

enum {
	STORE_FILE,
	STORE_DISK
};

/* What each sector holds: 0 zeroes, ANYTHING, or a number that its bytes are made from. */
#define ANYTHING 1
struct content {
	uint64_t tag[SECTORS];
};

struct snap {
	uint64_t session;
	uint64_t epoch;
	struct content c;
};

enum note {
	NOTE_COMMIT, /* snapshot k may be found from now on */
	NOTE_SAFE,   /* none older than k may be found from now on */
	NOTE_ASKED,  /* this state may be found */
	NOTE_TOLD,   /* only this state may be found */
	NOTE_GUEST,  /* 1: the guest writes, the content is not known; 0: it is snapshot max */
	NOTE_GEN,    /* ACTIVE has this generation */
};

/* What may be found at this prefix of the log. */
struct oracle {
	uint64_t min, max; /* snapshots, counted from 1; 0: none */
	enum journal_state told;
	enum journal_state asked; /* = told: nothing */
	bool guest;
	uint64_t gen;
};

struct life {
	uint64_t seed;	   /* of what happens */
	uint64_t io_seed;  /* of the order of completion */
	uint64_t inc_seed; /* of random numbers */
	struct journal_opts o;
	struct journal *j;
	struct block_rec file, disk;
	uint8_t *file_view, *disk_view;
	uint8_t *file_start, *disk_start;
	struct rec_log log;
	uint64_t now;

	struct snap *snaps; /* [1..n_snaps] */
	uint64_t n_snaps;
	struct content now_written; /* with all that was appended */
	struct content ended[ENDED_MAX];
	uint64_t ended_epoch[ENDED_MAX];
	unsigned int n_ended;
	uint64_t tag;
	unsigned int unit;	  /* sectors that a record is a multiple of */
	unsigned int commit_rate; /* of 1000 steps */

	enum journal_state state; /* told */
	enum journal_state asked;
	bool in_session;
	bool blocked; /* waits for space() */
	bool open;    /* something was appended to `epoch` */
	bool settling;
	uint64_t settle_epoch;
	uint64_t session;
	uint64_t epoch;	      /* to append to */
	unsigned int copied;  /* sectors that the first copy has brought */
	uint64_t blocked_for; /* steps */
	char why[512];	      /* what went wrong, "" nothing */
	/* how much of what was seen */
	unsigned long drops, kills, copies, activations, eagain, efbig;
};

/* Lives it. False: something went wrong already, life.why. */
bool life_run(struct life *l, uint64_t seed);
void life_fini(struct life *l);
void life_opts(const struct life *l, struct journal_opts *o, uint64_t *inc_seed);

void oracle_init(struct oracle *o);
void oracle_note(struct oracle *o, const struct rec_entry *e);
void content_fill(uint64_t tag, uint64_t sector, uint8_t *to);
/* -1: as it should be; else the first sector that is not. */
int content_differs(const struct content *c, const uint8_t *disk);

struct found {
	enum journal_state state;
	struct journal_gens gens;
	uint64_t session;
	uint64_t epoch; /* that the disk is of */
	int rc;		/* of journal_open() */
	char why[512];
};
/* Opens the journal on these images and says what is there. */
void found_open(struct found *f, const struct life *l, struct block_rec *file,
		struct block_rec *disk, uint64_t inc_seed);
enum flip {
	FLIP_NONE,
	FLIP_SUPERBLOCK, /* a bit of one; that costs nothing, unless the other one was just being written */
	FLIP_RING, /* a bit of it: epochs may be lost, or FAILED, but no mix */
};
/* NULL: it may be; else what is wrong. */
const char *oracle_judge(const struct oracle *o, const struct life *l, const struct found *f,
			 const uint8_t *disk, enum flip flip);

struct tally {
	uint64_t prefixes, torn, recovered, refused, bad;
};
/* Tries the life's prefixes until its end, or until `upto` are tried in all; stops at the first bad one if so said. */
void trial_life(struct life *l, struct tally *n, uint64_t upto, bool stop);

#endif
