/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world of the simulator: two hosts, one VM, one network, in virtual time. Both cores run in it
 * unchanged; the files of this folder play the shells around them, and everything around those.
 *
 *	run.c           one seed from beginning to end, and what must be true at the end
 *	event.c         the queue of things to come
 *	primary_side.c  host A: the worker's control thread and data thread
 *	backup_side.c   host B: workers, standby, durable state
 *	guest.c         the guest and the lanes of its output
 *	disks_a.c, disks_b.c  its disks
 *	arbiter.c       the third machine
 *	net.c           connections (ordered, delayed, cut, reset) and heartbeats (also lost, doubled)
 *	faults.c        what goes wrong, when
 *	drill_*.c       drills of the standby: drill.h
 *	oracle.c        P1 to P6, after every event; oracle_disks.c what they mean for disks,
 *	                oracle_vote.c what they mean with an arbiter
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "replicator/backup.h"
#include "replicator/primary.h"
#include "tests/sim/drill.h"
#include "tests/sim/rng.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define SEC UINT64_C(1000000000)
#define NEVER UINT64_MAX

#define MAX_EVENTS 512 /* to come, at one time */
#define MAX_CONNS 16
#define MAX_WORKERS 4 /* of the VM on host B, at one time */
#define MAX_CMDS 16
#define MAX_IN 48 /* messages that a backup has not read */
#define MAX_FAULTS 12
#define MAX_DRILLS 4 /* in a plan */
#define MAX_LANES (PRIMARY_MAX_OUTSTANDING + 1)
#define MAX_DISKS 3
#define JOURNAL_EPOCHS 6 /* that a disk's journal at host B holds */
#define MAX_TRUTHS 64
#define MAX_TERMS 256

/* ---- messages between the hosts ---- */

enum msg_type {
	MSG_HELLO,    /* term */
	MSG_HELLO_OK, /* term */
	MSG_REFUSE,
	MSG_ACTIVATED, /* REFUSE(ACTIVATED) and TAKEOVER: term */
	MSG_PARTIAL,   /* the first pages of epoch */
	MSG_EPOCH,     /* epoch, term, state: all of it, and EPOCH_END */
	MSG_ACK,       /* epoch, term */
	MSG_BYE,       /* leave */
	MSG_BYE_OK,
	MSG_CLOSE,	   /* FIN or RST */
	MSG_DISKS,	   /* a session of a VM with disks */
	MSG_DISK_END,	   /* disk, epoch, state: its newest write, flush */
	MSG_DISK_PROGRESS, /* disk, epoch, state: durable at B */
	MSG_HANDOVER,	   /* epoch; whole: planned */
};

struct msg {
	enum msg_type type;
	uint64_t epoch;
	uint64_t term;
	uint64_t state;
	enum leave_reason leave;
	uint8_t disk;
	bool flush;
	bool whole;
};

enum side {
	SIDE_A,
	SIDE_B
};

/* A TCP connection. Its number is the session's. */
struct conn {
	uint32_t id;
	bool open[2];		/* the end is there and has not closed */
	uint32_t gen[2];	/* of the worker at the end */
	int slot;		/* of the worker at B, -1 while there is none */
	uint64_t last[2];	/* when the newest message to this side arrives */
	uint64_t not_before[2]; /* a cut or a stall delays all that comes after */
	uint32_t sent[2];	/* messages to this side */
};

struct network {
	struct conn conn[MAX_CONNS];
	uint32_t next_id;
	uint64_t delay_min; /* one way */
	uint64_t delay_max;
	uint64_t udp_late_max; /* how late the latest heartbeat may be */
	unsigned int loss;     /* of heartbeats, percent */
	unsigned int doubled;
	/* By the side that receives; until the instant. */
	uint64_t cut_until[2];	     /* everything */
	uint64_t udp_cut_until[2];   /* heartbeats only */
	uint64_t tcp_stall_until[2]; /* connections only */
	uint64_t slow_until;
};

/* ---- events ---- */

enum ev_kind {
	EV_A_CORE,    /* p: for the primary's core */
	EV_A_TICK,    /* token */
	EV_A_DATA,    /* token: the data thread's command goes on */
	EV_A_HEART,   /* token: time to send a heartbeat */
	EV_A_EXEC,    /* the rest of the actions after a freeze */
	EV_A_RESTART, /* romulusd starts the worker */
	EV_A_GONE,    /* the guest is destroyed */
	EV_A_SYNCED,  /* the disks' copiers are done: conn */
	EV_B_CORE,    /* b: for a backup's core */
	EV_B_TICK,
	EV_B_HEART,
	EV_B_EXEC,
	EV_B_ANSWER,	/* to the worker that asked for SUPERSEDE: `ok`, term */
	EV_B_APPLIED,	/* the restorer took the epoch */
	EV_B_COMPLETED, /* the domain could run: token */
	EV_B_ACTIVATED, /* the domain runs: token */
	EV_B_ABANDONED, /* the domain is destroyed: token */
	EV_B_DISK_HELD, /* of disk `fault`, epoch in m: token */
	EV_B_DISK_DURABLE,
	EV_B_DISK_APPLIED,
	EV_B_DISK_ACTIVE,
	EV_VOTE_ASKED,	 /* arrives at the arbiter: the term is m.epoch */
	EV_VOTE_ANSWER,	 /* `ok`: granted; m.term is what is recorded */
	EV_VOTE_TIMEOUT, /* token */
	EV_MSG,		 /* m arrives on conn, to side */
	EV_HEARTBEAT,	 /* arrives, of session conn, to side */
	EV_GUEST,	 /* the guest says something */
	EV_FAULT,	 /* number */
	EV_THAW,	 /* side */
	EV_BOOT,	 /* side */
	EV_END_OF_FAULTS,
};

/* Whose event it is: it dies with it and waits while it is frozen. */
enum where {
	AT_NONE,
	AT_A_HOST,
	AT_A_WORKER,
	AT_B_HOST,
	AT_B_WORKER
};

struct ev {
	enum ev_kind kind;
	enum where where;
	int slot;
	uint32_t gen;
	uint32_t conn;
	uint32_t token;
	enum side side;
	bool ok;
	int fault; /* FAULT: its number, `ok`: its moment has come. B_DISK_...: the disk's */
	uint64_t
		at_ns; /* of a heartbeat that waits to be read: when it came, by its host's clock */
	union {
		struct primary_event p;
		struct backup_event b;
		struct msg m;
	};
};

struct ev_ref {
	uint64_t t;
	uint32_t seq;
	uint32_t index;
};

struct ev_queue {
	struct ev_ref heap[MAX_EVENTS];
	struct ev pool[MAX_EVENTS];
	uint32_t free[MAX_EVENTS];
	uint32_t n_free;
	uint32_t n;
	uint32_t seq;
};

/* ---- hosts ---- */

struct host {
	bool up;
	bool frozen; /* as a whole */
	bool clock_stops;
	uint64_t frozen_at;
	uint64_t thaw;
	uint64_t daemon_back; /* romulusd runs from then on */
	uint64_t listens_since;
	uint64_t stopped; /* time that its clock missed */
	uint64_t base;	  /* its clock when the run began */
	int64_t ppm;	  /* how wrong its clock goes */
};

/* A worker process may die or be stopped at, before or after any of its actions. */
struct trap {
	unsigned int countdown; /* actions from now on; 0: no trap */
	bool after;
	bool freeze;
	uint64_t duration;
};

struct process {
	bool alive;
	bool frozen;
	uint64_t thaw;
	uint64_t thawed_at;
	uint64_t listens_since; /* the end of its last long sleep */
	uint32_t gen;
	uint64_t tick_at;
	uint32_t tick_token;
	uint32_t heart_token;
	uint64_t last_post;
	uint32_t vote_token; /* of the question that has no answer yet */
	struct trap trap;
};

/* ---- host A ---- */

enum cmd_type {
	CMD_CONNECT,
	CMD_START_COPY,
	CMD_CHECKPOINT,
	CMD_BYE,
	CMD_DISKS_SYNC,
	CMD_HANDOVER,
	CMD_RESUME
};

struct cmd {
	enum cmd_type type;
	uint64_t epoch;
	uint64_t term;
	enum leave_reason leave;
	bool last;
	bool planned;
};

enum data_phase {
	DATA_IDLE,
	DATA_CONNECTING,
	DATA_COPYING,
	DATA_SUSPENDING,
	DATA_PAUSED,
	DATA_SENDING,
};

struct primary_side {
	struct process proc;
	struct primary core;
	struct primary_actions todo; /* being executed */
	unsigned int done;
	bool lapsed; /* a release came too late: none of this session is carried out any more */
	enum data_phase phase;
	uint32_t token;
	struct cmd cmds[MAX_CMDS];
	unsigned int n_cmds;
	struct cmd cmd;	  /* under way */
	uint32_t conn;	  /* number, 0: none */
	uint32_t session; /* the newest conn that was accepted */
	uint32_t heart_conn;
	bool in_time;	   /* the guest suspends as it should */
	uint64_t captured; /* state of the epoch being sent */
	bool durable_role;
	bool durable_handed;
	uint64_t durable_term;
	uint64_t durable_asked;
	uint64_t session_at;	     /* when the newest session began */
	uint64_t durable_session_at; /* ... whose term was made durable */
	uint64_t last_heard;	     /* by the core */
	uint64_t alone_after;	     /* it had heard nothing for so long when it went alone */
	bool waited; /* ... for the failure timeout, and heard nothing since, awake or not */
	bool alone_waited;
	bool unasked; /* the operator wants to go on, and the arbiter has not failed to answer since */
	uint64_t started;
	uint32_t n_connects;
	unsigned int disk_news; /* disks that left, on their way to the core */
};

struct lane {
	uint64_t epoch;
	uint32_t frames;
	uint64_t newest; /* state of the newest frame */
	uint64_t since;	 /* when the first frame came */
};

enum open_reason {
	OPEN_PLAIN,
	OPEN_ALONE,
	OPEN_FORCED
};

struct output {
	bool held;
	enum open_reason reason;
	struct lane lane[MAX_LANES];
	unsigned int n;
	uint32_t session;
	uint32_t frames; /* held in all lanes */
	uint32_t dropped;
	bool pressure_told;
};

struct guest {
	bool exists;
	bool suspended;
	bool parked; /* ... after its last checkpoint */
	bool dying;  /* being destroyed: does not run again */
	bool ended;
	enum leave_reason reason;
	uint64_t state; /* rises with all that it does */
	uint64_t suspended_at;
	uint64_t dirty_rate; /* pages in an epoch period */
	uint64_t dirty_since;
};

/* ---- host B ---- */

struct backup_side {
	struct process proc;
	struct backup core;
	struct backup_actions todo;
	unsigned int done;
	bool told_hello; /* the core has had BEV_HELLO */
	uint64_t session_at;
	uint32_t conn;
	uint64_t hello_term;
	int asker; /* slot of the worker whose SUPERSEDE waits, -1 */
	uint32_t asker_gen;
	struct msg in[MAX_IN]; /* not read yet: the arena is in use */
	unsigned int n_in;
	bool arena_busy;
	bool deaf;    /* takes nothing into the arena any more */
	bool partial; /* half an epoch lies in the arena */
	uint64_t partial_state;
	uint64_t arena_epoch; /* whole, verified */
	uint64_t arena_state;
	uint64_t last_heard; /* by the core */
	bool waited;	     /* as at host A */
	bool unasked;
	uint64_t committed; /* what this session's core committed: epoch and state */
	uint64_t committed_state;
	bool hole;		/* an epoch is missing */
	unsigned int disk_news; /* failures of disks on their way to the core */
	bool asked_to_abandon;	/* BYE, SUPERSEDE or a failure was fed */
	uint64_t
		leave_by; /* what disks can still be told to leave until then, once they are told at all */
	bool was_good; /* the primary of its session holds its output and lives */
	uint64_t last_good;
};

/* The domain on host B. */
struct standby {
	bool exists;
	bool runs;
	bool completing; /* ACTIVATE under way in romulus-domain; ends with the worker */
	uint64_t due;	 /* what the newest commit was when ACTIVATE began */
	bool good;	 /* every epoch was applied in order */
	uint32_t owner;	 /* gen of the worker */
	uint32_t token;
	uint64_t epoch;
	uint64_t state;
};

/* ---- disks ---- */

/* 0: none */
struct generations {
	uint64_t current;
	uint64_t bitmap;
	uint64_t history[2];
};

struct disk_a {
	struct generations gen;
	struct generations said[MAX_CONNS]; /* in DISKS of that session */
	uint64_t target;		    /* B's generation, by DISKS_OK of the newest session */
	uint64_t newest;		    /* write that it holds */
	uint64_t clean; /* no block that was written after this is thought to be equal at B */
	bool streaming;
	bool synced;	     /* its copier is done */
	bool flushed;	     /* in the epoch that is being written */
	uint64_t at_barrier; /* newest write of the epoch being sent */
	bool flush_at_barrier;
	uint64_t broken_until; /* its writes fail */
	uint64_t dead_until;   /* its server is not there */
	uint64_t error_since;  /* an error that is kept from the guest, 0: none */
	bool owed;	       /* ... and that was to be handed over */
	uint64_t left_at;
};

enum disk_state {
	DISK_EMPTY,
	DISK_SYNCING,
	DISK_CONSISTENT,
	DISK_ACTIVE,
	DISK_OUTDATED,
	DISK_FAILED
};

struct disk_epoch {
	uint64_t epoch;
	uint64_t newest;
	bool flush;
	bool whole; /* nothing that the disk should have had before it is missing */
	bool held;
	bool committed;
	bool durable;
};

struct disk_b {
	enum disk_state state;
	bool serves;	/* ACTIVE, or was when its journal failed */
	uint32_t owner; /* gen of the worker of its session, 0: none */
	uint32_t
		leaver; /* ... of the one that has to tell it to leave: its server died while ACTIVE */
	int slot;
	uint32_t token;	  /* what was under way before it changed is void */
	uint64_t content; /* newest write in the volume */
	uint64_t current; /* generation */
	uint64_t before;  /* ... until the commit of epoch 0 is durable */
	uint64_t peer_current;
	struct disk_epoch j[JOURNAL_EPOCHS];
	unsigned int n;
	bool waits; /* the next epoch, for room in the journal */
	struct msg waiting;
	uint32_t holder;  /* the session that `held` and `durable` speak of, as gen */
	uint64_t held;	  /* epoch */
	uint64_t durable; /* epoch */
	uint64_t flushes; /* epochs that have one, as bits */
	uint64_t dead_until;
};

/* What an epoch is in truth. */
struct truth {
	uint64_t epoch;
	uint64_t state;
	uint64_t disk[MAX_DISKS];
};

/* ---- the arbiter ---- */

struct arbiter {
	uint64_t term; /* durable, as the rest of its record */
	enum side holder;
	uint8_t granted[MAX_TERMS]; /* to a side + 1 */
	uint64_t granted_at[MAX_TERMS];
	uint64_t asks[2];
	uint32_t gen;
	uint64_t down_until;
	uint64_t cut_until[2];
	uint64_t slow_until;
	uint64_t mute_until;
	uint64_t double_until;
};

enum b_role {
	ROLE_NONE,
	ROLE_BACKUP,
	ROLE_ACTIVE
};

/* ---- faults ---- */

enum fault_type {
	FAULT_NONE,
	FAULT_CUT, /* side: receiver, or both (arg 2) */
	FAULT_UDP_CUT,
	FAULT_TCP_STALL,
	FAULT_RESET,
	FAULT_SLOW,
	FAULT_KILL_WORKER, /* side */
	FAULT_KILL_AT,	   /* side, arg: actions from now */
	FAULT_STOP_WORKER, /* side, duration: SIGSTOP */
	FAULT_STOP_AT,
	FAULT_KILL_HOST,   /* side, duration until it is back */
	FAULT_FREEZE_HOST, /* side, duration, arg: its clock stops too */
	FAULT_KILL_DAEMON,
	FAULT_UNPROTECT,  /* arg: force */
	FAULT_FAILOVER,	  /* arg: force */
	FAULT_SWITCHOVER, /* the operator wants the VM at B */
	FAULT_GUEST,	  /* arg: leave reason */
	FAULT_NO_SUSPEND, /* the guest does not suspend in time */
	FAULT_BURST,	  /* the guest says very much */
	FAULT_DIRTY,	  /* the guest dirties more than fits */
	FAULT_STANDBY,	  /* the standby breaks; arg 1: by completing itself, unasked */
	FAULT_SLOW_APPLY,
	FAULT_FALSE_ACK, /* arg 0: other term, 1: epoch not sent yet */
	FAULT_FALSE_ACTIVATED,
	FAULT_SKIP_EPOCH,  /* the primary's encoder forgets one */
	FAULT_DISK_ERROR,  /* side, arg: disk; A: its writes fail, B: it is out */
	FAULT_DISK_SERVER, /* side, arg: disk; dies, and is back after duration */
	FAULT_DISK_DROP,   /* arg: disk; leaves the stream by itself */
	FAULT_DISK_SLOW,   /* at B */
	FAULT_CLOCK_JUMP,  /* side; forward, by duration */
	/* Of the arbiter; arg of a cut: both sides. */
	FAULT_ARBITER_CUT,    /* side */
	FAULT_ARBITER_DIES,   /* and is back after duration */
	FAULT_ARBITER_SLOW,   /* questions and answers */
	FAULT_ARBITER_MUTE,   /* it grants, the answer is lost */
	FAULT_ARBITER_DOUBLE, /* its answers come more than once */
	FAULT_DRILL,	      /* at B, for duration; arg: drill.h. No part of `fault` */
	FAULT_COUNT
};

/* What a fault may wait for, from its time on: the instants at which it hurts. */
enum moment {
	MOMENT_NONE,
	MOMENT_HELD,	/* a disk of B has said HELD, the core has not heard it */
	MOMENT_DURABLE, /* ... DURABLE */
	MOMENT_ACTIVE,	/* ... ACTIVE */
	MOMENT_RUNS,	/* the VM has begun to run at B, the core has not heard it */
	MOMENT_A,	/* and PACT_...: that was begun */
	MOMENT_B = MOMENT_A + PACT_ASK_VOTE + 1, /* and BACT_... */
	MOMENT_COUNT = MOMENT_B + BACT_ASK_VOTE + 1
};

struct fault {
	enum fault_type type;
	unsigned int upon; /* enum moment */
	uint64_t after;	   /* ... and so much later */
	enum side side;
	uint64_t at;
	uint64_t duration;
	uint64_t arg;
	bool flag;     /* the host comes back; the worker dies after the action, not before */
	bool replaced; /* DISK_ERROR at B: at once, by one that is fresh */
};

struct plan {
	enum peer_loss_policy policy;
	struct timing_conf timing;
	struct fault fault[MAX_FAULTS];
	int n;
	struct fault drill[MAX_DRILLS];
	int n_drills;
	bool drills_pass; /* nothing is in their way */
	bool well;	  /* nothing goes wrong: what is in `fault` are wishes of the operator */
	uint64_t end_of_faults;
	uint32_t max_outstanding;
	unsigned int loss;	  /* of heartbeats, percent */
	bool hearts_outlive_link; /* the primary's heartbeats go on while it reconnects */
	int n_disks;
	enum backup_ack_mode ack_mode;
	unsigned int no_persist; /* how often A cannot make anything durable, percent */
};

/* ---- the world ---- */

struct sim {
	struct rng rng;
	uint64_t seed;
	uint64_t now;
	uint64_t n_events;
	bool trace;
	struct plan plan;
	struct timing t;
	struct ev_queue q;
	struct network net;
	struct host host[2];
	struct primary_side a;
	struct guest guest;
	struct output out;
	struct backup_side b[MAX_WORKERS];
	struct standby standby;
	struct disk_a disk_a[MAX_DISKS];
	struct disk_b disk_b[MAX_DISKS];
	struct arbiter arbiter;
	struct truth truth[MAX_TRUTHS];
	uint64_t n_truths;
	uint64_t n_generations;
	uint32_t disks_ok; /* the session that B has said DISKS_OK of */
	enum b_role b_role;
	uint64_t b_term;
	uint32_t next_gen;
	struct trap b_trap; /* for the next worker of host B */
	unsigned int armed; /* faults that wait for their moment, a bit each */
	/* modes that faults switch on */
	uint64_t no_suspend_until;
	uint64_t dirty_until;
	uint64_t slow_apply_until;
	uint64_t slow_disk_until;
	bool skip_epoch;
	bool fail_standby;
	bool complete_standby;
	bool faults_over;
	bool drilling;	 /* else those of the plan are left out */
	bool winding_up; /* all is settled but a drill */
	/* what the oracle remembers */
	bool vm_ran_at_b;
	bool operator_forced;
	bool forced_over;	   /* ... without a vote, or against one */
	bool b_duty;		   /* host A died and a standby could go on */
	bool wants_out;		   /* somebody asked for the end of protection */
	bool host_a_slept;	   /* with its clock stopped */
	unsigned int moves_failed; /* switchovers of which nothing came, as the operator was told */
	uint64_t
		pause_ns; /* of the guest that was moved: from its last act at A to its first at B */
	bool handed;	  /* HANDOVER was sent, and nobody has stood down since */
	uint64_t b_activated_at;
	uint64_t plain_newest; /* newest state that was let out under P1 */
	uint64_t alone_newest; /* ... and by a primary alone */
	uint32_t commit_conn;
	uint64_t commit_state; /* newest state committed in session commit_conn */
	uint64_t last_emit;
	bool was_good;
	uint64_t
		last_good; /* the last instant at which the standby protected the primary's session */
	uint32_t good_conn;
	uint64_t same_time;
	uint32_t p3_holes;
	bool failed;
	char why[256];
	struct drills drills; /* last: cleared only for who has some */
};

/* event.c: an event is copied; t is never in the past. */
void ev_init(struct sim *s);
void ev_push(struct sim *s, uint64_t t, const struct ev *ev);
bool ev_pop(struct sim *s, struct ev *ev);
/* NEVER: nothing is to come. */
uint64_t ev_next(const struct sim *s);

/* run.c */
bool sim_run(struct sim *s, uint64_t seed, bool trace);
/* The same seed, but half of its faults wait for a moment: plan_aim(). */
bool sim_run_aimed(struct sim *s, uint64_t seed, bool trace);
bool sim_run_plan(struct sim *s, uint64_t seed, const struct plan *plan, bool trace);
PRINTF(2, 3) void sim_trace(struct sim *s, const char *fmt, ...);
PRINTF(3, 4) void sim_fail(struct sim *s, const char *promise, const char *fmt, ...);
bool host_daemon(const struct sim *s, enum side side);
uint64_t host_clock(const struct sim *s, enum side side);
/* When the host's clock shows at, at the earliest. */
uint64_t host_when(const struct sim *s, enum side side, uint64_t at);
/* min to max, most often near min. */
uint64_t sim_delay(struct sim *s, uint64_t min, uint64_t max);

/* net.c */
uint32_t net_connect(struct sim *s, uint64_t term);
struct conn *net_conn(struct sim *s, uint32_t id);
void net_send(struct sim *s, uint32_t conn, enum side to, const struct msg *m);
void net_close(struct sim *s, uint32_t conn, enum side from);
void net_reset(struct sim *s, uint32_t conn);
void net_heartbeat(struct sim *s, uint32_t conn, enum side to);
void net_arrive(struct sim *s, const struct ev *ev);
void net_heartbeat_arrive(struct sim *s, const struct ev *ev);

/* primary_side.c */
void a_start(struct sim *s);
void a_post(struct sim *s, const struct primary_event *p);
void a_event(struct sim *s, const struct ev *ev);
void a_message(struct sim *s, const struct msg *m, uint32_t conn);
void a_heard(struct sim *s, uint32_t conn, uint64_t at_ns);
void a_crash(struct sim *s);
bool a_freeze(struct sim *s, uint64_t duration);

/* backup_side.c */
void b_accept(struct sim *s, struct conn *c, const struct msg *hello);
void b_post(struct sim *s, int slot, const struct backup_event *b);
void b_event(struct sim *s, const struct ev *ev);
void b_message(struct sim *s, int slot, const struct msg *m);
void b_crash(struct sim *s, int slot);
bool b_freeze(struct sim *s, int slot, uint64_t duration);
void b_host_died(struct sim *s);
/* The newest worker that has a session, -1 if none. */
int b_current(const struct sim *s);

/* guest.c */
void guest_start(struct sim *s);
void guest_speak(struct sim *s);
void guest_end(struct sim *s, enum leave_reason reason);
void output_switch(struct sim *s, uint32_t session, uint64_t epoch);
void output_release(struct sim *s, uint64_t epoch);
void output_open(struct sim *s);
void output_say(struct sim *s);

/* disks_a.c, disks_b.c; A's are told by the worker's shell, B's by that of the worker in the slot. */
void disks_write(struct sim *s);
void disks_a_begin(struct sim *s);
void disks_a_say(struct sim *s, uint32_t conn);
void disks_a_leave(struct sim *s);
void disks_a_asked(struct sim *s);
void disks_a_alone(struct sim *s);
bool disks_a_streaming(const struct sim *s);
void disks_a_synced(struct sim *s);
/* DISKS_OK of this session has come: before that nothing is copied. */
bool disks_a_welcome(const struct sim *s, uint32_t conn);
bool disks_a_good(const struct sim *s);
void disks_barrier(struct sim *s, uint64_t epoch, uint64_t state);
bool disks_send_ends(struct sim *s, uint32_t conn, uint64_t epoch);
void disks_a_progress(struct sim *s, const struct msg *m);
void disks_a_host_died(struct sim *s);
void disks_b_begin(struct sim *s, int slot);
void disks_b_end(struct sim *s, int slot, const struct msg *m);
void disks_b_commit(struct sim *s, int slot, uint64_t epoch);
void disks_b_activate(struct sim *s, int slot, uint64_t epoch);
/* by_word: LEAVE; else the worker is gone, and a disk that is ACTIVE cannot know whether the VM runs. */
void disks_b_leave(struct sim *s, int slot, bool by_word);
/* Those whose server died are told when it is back. 0: all have left; else when to ask again. */
uint64_t disks_b_left(struct sim *s, int slot);
void disks_b_host_died(struct sim *s);
bool disks_b_hold(const struct sim *s, int slot, uint64_t epoch);
bool disks_b_good(const struct sim *s, int slot);
void disks_event(struct sim *s, const struct ev *ev);
void disks_a_server_dies(struct sim *s, int n, uint64_t until);
void disks_a_drop_out(struct sim *s, int n);
void disks_b_server_dies(struct sim *s, int n, uint64_t until);
void disks_b_break(struct sim *s, int n);
void disks_b_repaired(struct sim *s, int n);
/* The volume has the epoch, and the journal room. */
void disks_b_applied(struct sim *s, int n, uint64_t epoch);
bool disks_b_owned(const struct sim *s, const struct disk_b *d, int slot);
bool disks_quiet(const struct sim *s);

/* oracle_disks.c */
void oracle_ack(struct sim *s, int slot, uint64_t epoch);
void oracle_disks_left(struct sim *s, int slot);
void oracle_disks_activated(struct sim *s, uint64_t state);
void oracle_disks_move(struct sim *s);

/* arbiter.c */
void arbiter_join(struct sim *s, uint64_t term);
void arbiter_ask(struct sim *s, enum side side, int slot, uint64_t term);
void arbiter_dies(struct sim *s, uint64_t until);
void arbiter_event(struct sim *s, const struct ev *ev);
/* This term was granted to this side. */
bool arbiter_gave(const struct sim *s, enum side side, uint64_t term);

/* oracle_vote.c */
bool by_vote(const struct sim *s);
/* Nobody but the operator answers for what happens now. */
bool vote_was_overridden(const struct sim *s);
void oracle_alone_by_vote(struct sim *s);
void oracle_decided_by_vote(struct sim *s, const struct backup_side *w);
/* A refusal made the side give up. */
void oracle_outvoted(struct sim *s, enum side side, uint64_t term, uint64_t session_at);
void oracle_asks(struct sim *s);

/* faults.c */
void plan_random(struct sim *s, struct plan *p);
void plan_aim(uint64_t seed, struct plan *p);
/* Seeds with drills have them beside what they have without. */
void plan_drills(uint64_t seed, struct plan *p);
void fault_strike(struct sim *s, int n);
void fault_moment(struct sim *s, unsigned int moment);
void fault_thaw(struct sim *s, enum side side);
void fault_boot(struct sim *s, enum side side);
void faults_end(struct sim *s);
const char *fault_name(enum fault_type t);

/* oracle.c */
void oracle_before(struct sim *s);
void oracle_after(struct sim *s);
void oracle_emit(struct sim *s, uint64_t newest, bool open);
void oracle_open(struct sim *s);
void oracle_decided(struct sim *s, const struct backup_side *w);
/* How long this process has listened and its peer said nothing. */
uint64_t oracle_silence(const struct sim *s, enum side side, const struct process *p,
			uint64_t heard);
void oracle_activated(struct sim *s);
/* Its last checkpoint is ordered; it is handed over; nothing comes of it. */
void oracle_last(struct sim *s);
void oracle_hands_over(struct sim *s);
void oracle_stays(struct sim *s);
/* A guest that is to be moved does not stand still for longer. */
uint64_t oracle_park_max(const struct sim *s);
void oracle_destroy(struct sim *s);
void oracle_abandon(struct sim *s, const struct backup_side *b);
bool standby_can_run(const struct sim *s);
/* Nothing more will happen by itself, and it is as it should be. */
bool oracle_settled(const struct sim *s);

#endif
