/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drills in the simulator. The rules are the real ones (replicator/drill_feed, drill_share, drill_round, drill_rule,
 * disk/drill_guard); the files here play what is around them:
 *
 *	drill_worker.c   the worker's control thread and data thread; the standby, page by page
 *	drill_process.c  romulus-drill, and the copy
 *	drill_disk.c     a disk's journal and volume, block by block, and romulus-drill-disk
 *	drill_fakes.c    what the real rules call of apply.h and journal.h
 *	oracle_drill.c   what a drill may not do (docs/promises.md)
 *	twin.c           ... above all: the world is, event by event, what it is without
 *
 * So that the latter can be asked, a drill has a queue and random numbers of its own: no event and no number of the world's.
 */
#ifndef TESTS_SIM_DRILL_H
#define TESTS_SIM_DRILL_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/block_store.h"
#include "disk/drill_wire.h"
#include "lib/wire_v1.h"
#include "replicator/drill_feed.h"
#include "replicator/drill_round.h"
#include "replicator/drill_rule.h"
#include "tests/sim/rng.h"

struct sim;
struct fault;
struct drill_guard;

#define DRILL_PAGES 40 /* of the guest */
#define DRILL_LAST 16  /* ... that are read between two epochs, at most */
#define DRILL_PAGES_AT_ONCE 5
#define DRILL_BLOCKS 8	 /* of a disk */
#define DRILL_EPOCHS 64	 /* of which it is known what each page was */
#define DRILL_EVENTS 128 /* to come, at one time */
#define MAX_PROCESSES 4
#define MAX_VIEWS 3 /* MAX_DISKS */
#define MAX_WORDS 16

/* What a drill of the plan is like beside its times: struct fault's arg. */
#define DRILL_IS_ASKED_TWICE 0x01
#define DRILL_IS_FORGOTTEN 0x02 /* nobody goes on asking for it */
#define DRILL_IS_STUCK 0x04	/* at some point of its life its process stops for good */
#define DRILL_IS_KILLED 0x08	/* ... or is killed */
#define DRILL_SAVES_SLOWLY 0x10
#define DRILL_SAVES_NOTHING 0x20
#define DRILL_READS_SLOWLY 0x40 /* it gets little of the CPU */

/* ---- what is to come ---- */

enum drill_ev_kind {
	DEV_ASKED,    /* drill i of the plan begins */
	DEV_AGAIN,    /* worker: the operator asks how it is, or for one more */
	DEV_COMMAND,  /* worker: its data thread looks at its commands */
	DEV_FEED,     /* worker: ... begins to feed an epoch */
	DEV_PUMP,     /* worker: ... at what the standby has worked in */
	DEV_TIMER,    /* worker */
	DEV_GONE,     /* worker: process i has ended */
	DEV_GO,	      /* process i goes on: token */
	DEV_KILLED,   /* process i: token */
	DEV_WAKES,    /* one that was stuck */
	DEV_COPY_END, /* what process i has left is destroyed by its builder */
	DEV_WORD,     /* guard's word arrives at the view of disk n: token */
	DEV_SAID,     /* ... and the view's at the guard: token */
	DEV_GUARD,    /* disk n: the guard wants to be called */
};

struct drill_ev {
	enum drill_ev_kind kind;
	uint64_t t;
	uint32_t seq;
	bool worker; /* of the worker in `slot`, else of host B */
	int slot;
	uint32_t gen; /* of that worker; of a process its number */
	int i, n;
	uint32_t token;
	struct drill_msg m;
	bool ok;
	bool busy; /* GONE: another one had the lock */
};

/* ---- the worker ---- */

/* drill_fakes.c: how far the standby's reader is. */
struct apply {
	struct sim *s;
	bool there;
	uint64_t fed;
	uint64_t pfn[DRILL_PAGES]; /* of the sealed epoch */
	uint32_t n;
	struct wire_tsc_info tsc;
	struct wire_param param;
	uint8_t hvm[8];
	uint64_t taken_at;  /* all bytes are out of our hands */
	uint64_t worked_at; /* ... and in the standby */
	bool marked;
	uint64_t mark_at;
};

enum drill_cmd {
	DRILL_CMD_BEGIN,
	DRILL_CMD_END
};

struct drill_worker {
	uint32_t gen;
	struct drill_rule rule;
	struct drill_feed feed;
	struct apply ap;
	bool applying; /* from the order on */
	bool feed_due; /* ... until its first byte */
	struct {
		enum drill_cmd type;
		struct drill_share *share;
	} cmd[MAX_WORDS];
	unsigned int n_cmds;
	int process;	   /* -1: none */
	uint64_t asked_at; /* last */
	uint64_t told_at;
	uint64_t timer_at;
	bool pumps;
};

/* A page of the standby: old until at. */
struct drill_page {
	uint64_t old, now;
	uint64_t at;
};

/* ---- romulus-drill ---- */

enum process_phase {
	PROCESS_PREPARING,
	PROCESS_COPYING,
	PROCESS_BUILDING,
	PROCESS_LIVING,
	PROCESS_ENDING,
	PROCESS_CLEANING, /* --clean */
};

struct drill_process {
	bool alive;
	bool lock;
	enum process_phase phase;
	int slot; /* of its worker */
	uint32_t gen;
	uint32_t number; /* no other one has had it; events' gen */
	uint32_t token;
	struct {
		uint64_t living_ns;
		uint64_t arg;
	} plan;
	uint64_t standby; /* which one it looks at */
	struct drill_share *seen;
	struct drill_round round;
	enum drill_todo todo;
	bool io;     /* ... is to be done yet */
	uint32_t at; /* page */
	uint64_t marked[1];
	uint64_t pfn[DRILL_PAGES];
	uint64_t last[DRILL_PAGES];
	uint64_t copy[DRILL_PAGES];
	bool told;
	bool stuck;
	bool slow;
	bool copy_there, copy_runs;
	bool passed;
	uint64_t state; /* of the guest, that was copied */
	uint64_t epoch;
	uint64_t since; /* phase */
	unsigned int answers;
	uint64_t alone_since; /* its worker is gone, 0: it is not */
};

/* ---- disks ---- */

/* drill_fakes.c: what the guard knows of the journal. */
struct journal {
	struct sim *s;
	int n;
};

struct drill_disk {
	struct drill_guard *guard;
	struct block_store inner;
	struct block_req *done; /* written, not told */
	struct journal j;
	bool held;
	uint64_t held_since;
	uint64_t hold_epoch;
	uint64_t applied; /* of this session */
	uint64_t due;	  /* would be applied, were it not for a drill */
	uint64_t round;	  /* is being applied, EPOCH_NONE: none */
	uint32_t round_token, session_token;
	unsigned int writes;  /* of it that are not done */
	unsigned int were;    /* ... when the oracle looked */
	uint64_t waits_since; /* ... and since when */
	bool changing;
	struct block_req req[DRILL_BLOCKS];
	uint64_t value[DRILL_BLOCKS];
	uint64_t vol[DRILL_BLOCKS];
	uint64_t guard_at;

	/* The view. */
	int process; /* -1: none */
	uint32_t token;
	bool open; /* the guard has it */
	bool gone; /* it has closed its end */
	struct drill_msg said[MAX_WORDS], going[MAX_WORDS];
	unsigned int n_said, n_going;
	unsigned int n_told; /* ... that are not saved */
	uint64_t word_at, said_at;
	bool serving, spoiled;
	bool saved[DRILL_BLOCKS];
	uint64_t saved_as[DRILL_BLOCKS];
	uint64_t shown[DRILL_BLOCKS]; /* what it must show */
	uint64_t least;
};

struct drills {
	struct rng rng;
	struct drill_ev ev[DRILL_EVENTS];
	unsigned int n_ev;
	uint32_t seq;
	struct drill_worker worker[4]; /* MAX_WORKERS */
	struct drill_process process[MAX_PROCESSES];
	struct drill_disk disk[MAX_VIEWS];
	bool late;	    /* the data thread begins late with what it is ordered to feed */
	unsigned int armed; /* drills of the plan that wait for their moment */
	uint32_t n_processes;
	uint64_t standby; /* number of the one that is there */
	struct drill_page page[DRILL_PAGES];
	uint64_t known[DRILL_EPOCHS][DRILL_PAGES]; /* what each page is at an epoch */
	uint64_t known_state[DRILL_EPOCHS];
	uint64_t known_epoch;
	/* figures */
	unsigned int asked, begun, copied, lived, passed, made_way;
};

/* ---- drill_worker.c ---- */

void drills_begin(struct sim *s);
void drills_end(struct sim *s);
/* The next thing to come, NEVER: none; and lets it come. */
uint64_t drills_next(const struct sim *s);
void drills_step(struct sim *s);
void drills_push(struct sim *s, uint64_t delay, const struct drill_ev *ev);
uint64_t drills_delay(struct sim *s, uint64_t min, uint64_t max);
bool drills_percent(struct sim *s, unsigned int percent);
void drills_moment(struct sim *s, unsigned int moment);
/* After an event of the world. */
void drills_go_on(struct sim *s);

void drill_worker_begins(struct sim *s, int slot);
void drill_worker_died(struct sim *s, int slot, bool crash);
void drill_host_died(struct sim *s);
/* The core has stepped. */
void drill_make_way(struct sim *s, int slot);
void drill_standby_begins(struct sim *s, int slot);
/* The data thread is ordered to feed an epoch, and has when so much time has passed. */
void drill_feeds(struct sim *s, int slot, uint64_t taking);
void drill_fed(struct sim *s, int slot);
void drill_finishes(struct sim *s, int slot);
/* What is in a page at this moment. False: there is no such standby. */
bool drill_read_page(const struct sim *s, uint64_t standby, uint64_t pfn, uint64_t *value);

/* ---- drill_process.c ---- */

int process_start(struct sim *s, int slot, const struct fault *plan, struct drill_share *seen);
int process_clean(struct sim *s, int slot);
void process_told(struct sim *s, int i);
void process_killed(struct sim *s, int i);
void process_event(struct sim *s, const struct drill_ev *ev);
/* A view has what it was asked for, or cannot. */
void process_hears(struct sim *s, int i, bool ok);
bool process_is_worker(const struct sim *s, const struct drill_process *p, int slot);

/* ---- drill_disk.c ---- */

void drill_disks_begin(struct sim *s);
void drill_disks_free(struct sim *s);
/* After each event of the disk's server. */
void drill_disk_goes_on(struct sim *s, int n);
void drill_disk_event(struct sim *s, const struct drill_ev *ev);
/* It is told to activate; its server dies. */
void drill_disk_activates(struct sim *s, int n);
void drill_disk_died(struct sim *s, int n);
/* True: it applies the epoch when a drill lets it, by disks_b_applied(). */
bool drill_disk_applies(struct sim *s, int n, uint64_t epoch);
/* ... and it would be applied, did one not look. */
bool drill_disk_keeps(struct sim *s, int n, uint64_t epoch);
/* Views of a process. */
bool drill_views_open(struct sim *s, int i);
void drill_views_tell(struct sim *s, int i, enum drill_word word, uint64_t epoch);
void drill_views_look(struct sim *s, int i);
void drill_views_close(struct sim *s, int i);

/* ---- oracle_drill.c ---- */

void oracle_drill(struct sim *s);
void oracle_drill_copied(struct sim *s, const struct drill_process *p,
			 const struct drill_state *state);
void oracle_drill_disk(struct sim *s, int n);
/* The disk is said to be at the epoch of the copy's memory. */
void oracle_drill_ready(struct sim *s, int n, uint64_t epoch);
/* The run is over: a drill in a world that is well came to its end. */
void oracle_drills_over(struct sim *s);

/* ---- twin.c ---- */

struct ev;
void twin_begin(struct sim *s);
void twin_saw(struct sim *s, const struct ev *ev);
void twin_end(struct sim *s);

#endif
