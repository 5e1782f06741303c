/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's decisions. Pure: no system call, clock, log, allocation or thread.
 *
 * The control thread of romulus-primary, and the simulator, turn what happens into events, execute
 * the returned actions in order and feed their results back as events. docs/architecture.md draws
 * the states; docs/promises.md says which promise each rule keeps.
 */
#ifndef REPLICATOR_PRIMARY_H
#define REPLICATOR_PRIMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/timing.h"
#include "replicator/epoch.h"
#include "replicator/liveness.h"

enum primary_state {
	PRIMARY_CONNECTING, /* no session; output open, or being opened (`held`) */
	PRIMARY_COPYING,    /* first copy runs; output open */
	PRIMARY_SYNCING,    /* checkpoint 0 ordered, ACK(0) not seen; output held */
	PRIMARY_PROTECTED,  /* output held, released epoch by epoch */
	PRIMARY_LOST,	    /* peer or link lost after checkpoint 0; output held */
	PRIMARY_LEAVING,    /* BYE sent, waiting for BYE_OK; output held */
	PRIMARY_HANDING,    /* HANDOVER sent: the peer is to run the VM; output held, for good */
	PRIMARY_DEPOSED,    /* the peer runs the VM: our copy is being destroyed; final */
	PRIMARY_ENDED,	    /* nothing is left to do; final */
};

/* Why protection is left. The wire's BYE reason has the same values. */
enum leave_reason {
	LEAVE_UNPROTECT,      /* the operator said so: ends */
	LEAVE_RESYNC,	      /* overflow, tampering, abort: starts again with a first copy */
	LEAVE_GUEST_SHUTDOWN, /* powered off or rebooted by itself: ends, on_* obeyed */
	LEAVE_GUEST_CRASH,
	LEAVE_GUEST_DESTROYED,
	LEAVE_GUEST_SUSPENDED, /* somebody else (xl save) suspended it: ends */
	LEAVE_GUEST_CHANGED,   /* memory or devices changed: starts again */
};

/*
 * What the core relies on:
 * - Each PACT_CONNECT ends in exactly one PEV_LINK_DOWN, or in PEV_PEER_ACTIVATED without PEV_LINK_UP.
 *   A session that is up ends in exactly one PEV_LINK_DOWN, also after PACT_DISCONNECT. Nothing of a
 *   session is fed after its PEV_LINK_DOWN.
 * - Each PACT_CHECKPOINT ends in exactly one PEV_CHECKPOINT_TAKEN or _ABORTED, whatever else happens
 *   (link down, guest event), and before the PEV_LINK_UP of a later session.
 * - Heartbeats are sent at most while primary_heartbeats() says so (P5).
 * - PACT_OPEN_OUTPUT is repeated by the shell until it is carried out; then PEV_OUTPUT_OPENED.
 *
 * Of policy `arbiter` (docs/promises.md, "Votes"):
 * - Each PACT_ASK_VOTE ends in one PEV_VOTE, within a bounded time, and if it is `unknown`. A new one voids the one under
 *   way. An answer that comes late, twice or after all is harmless.
 * - The arbiter grants each term to one side, for ever, and none below the newest that it has granted.
 *
 * Of a VM with disks (docs/disk.md; "port" is what is said at each disk's port there):
 * - PEV_DISKS_SYNCED: what the copiers had to copy is in the stream, of every disk; from here on the
 *   peer's disks differ by nothing but what is on its way. An error of a copier is PEV_DISK_DROPPED.
 * - PEV_EPOCH_SENT of epoch n: with DISK_END(n) of every disk. A disk that cannot give its end of an
 *   epoch has dropped out.
 * - From PACT_DISKS_SYNC on a disk is in the stream, until PACT_DISKS_LEAVE. One that is not answers
 *   errors to the guest by itself.
 */
enum primary_event_type {
	PEV_TICK,    /* time passed; nothing else happened */
	PEV_LINK_UP, /* HELLO_OK came: any older standby is abandoned (term of HELLO_OK, >= ours) */
	PEV_LINK_DOWN,		/* connect failed, or the connection broke */
	PEV_PEER_ACTIVATED,	/* REFUSE(ACTIVATED) or TAKEOVER: the VM runs at the peer (term) */
	PEV_HEARTBEAT,		/* authenticated heartbeat from the session's peer */
	PEV_COPY_DONE,		/* live rounds are over: a checkpoint may end the copy */
	PEV_COPY_FAILED,	/* reason in `leave` */
	PEV_CHECKPOINT_TAKEN,	/* epoch, pages; the guest runs again; nothing sent yet */
	PEV_CHECKPOINT_ABORTED, /* epoch; guest runs on in the same epoch, dirty pages kept */
	PEV_EPOCH_SENT,	     /* epoch: all of it handed to the link; at_ns: before EPOCH_END was */
	PEV_ACK,	     /* epoch, term; after its PEV_EPOCH_SENT */
	PEV_BYE_OK,	     /* the standby is abandoned: the peer cannot go alone; term */
	PEV_OUTPUT_OPENED,   /* PACT_OPEN_OUTPUT was carried out */
	PEV_OUTPUT_PRESSURE, /* held output reached half of its limit */
	PEV_GUEST_EVENT,     /* reason in `leave`: guest ended, suspended by others, changed */
	PEV_UNPROTECT,	     /* operator; `force` = release without the peer's word */
	PEV_GUEST_GONE_DONE, /* PACT_DESTROY_GUEST was carried out */
	PEV_DISKS_SYNCED,    /* every disk is in sync, and stays so by its stream */
	PEV_DISK_DROPPED, /* port: DROPPED, or its server died: a disk has left the stream by itself */
	PEV_DISK_ERROR, /* port: ERROR: a local disk failed the guest, whose answer is kept back */
	PEV_SWITCHOVER, /* operator: the peer is to run the VM; ignored when primary_may_switch_over() says no */
	PEV_VOTE, /* the arbiter's `vote` on the term `asked`; refused: `term` is the one that it has */
	PEV_COUNT
};

struct primary_event {
	enum primary_event_type type;
	uint64_t epoch;
	uint64_t term;
	uint64_t
		at_ns; /* EPOCH_SENT: the instant from which the lease counts; HEARTBEAT: when it came; 0: now */
	uint32_t pages; /* CHECKPOINT_TAKEN: dirty pages of the epoch */
	enum leave_reason leave;
	bool force;
	enum vote vote;
	uint64_t asked;
};

enum primary_action_type {
	PACT_CONNECT,	 /* open a session: HELLO(term), adopt flag if `held` */
	PACT_DISCONNECT, /* drop the connection now, the peer is not told; then PEV_LINK_DOWN */
	/* CONFIG, STATIC; log-dirty on, live rounds; then PEV_COPY_DONE or _FAILED. After PACT_DISKS_SYNC
	   the set-up frames are sent already. */
	PACT_START_COPY,
	/*
	 * epoch: hold output from the pause on; then TAKEN or ABORTED, then SENT. `last`: when it is TAKEN the guest is still
	 * suspended, and stays so until PACT_RESUME or PACT_DESTROY_GUEST. The worker's end resumes it, as it does after any
	 * checkpoint.
	 */
	PACT_CHECKPOINT,
	/*
	 * epoch: let the output of this epoch out (P1); port: ACKED(epoch). Only before `until_ns`, which is looked at as late
	 * as can be; else the session is ended in its place (PEV_LINK_DOWN): whoever slept since it was decided may be too
	 * late (P3).
	 */
	PACT_RELEASE,
	/*
	 * Release everything and stop holding; then PEV_OUTPUT_OPENED. From here on the disks' history is
	 * our own: their new generation is durable before.
	 */
	PACT_OPEN_OUTPUT,
	PACT_SEND_BYE, /* reason; then PEV_BYE_OK or PEV_LINK_DOWN */
	PACT_THROTTLE, /* percent of a CPU's time that the guest may use, 100 = no cap */
	/*
	 * Deposed: our copy must never speak again; its disks become OUTDATED and get no new generation.
	 * Then PEV_GUEST_GONE_DONE.
	 */
	PACT_DESTROY_GUEST,
	PACT_END_GUEST, /* obey on_poweroff/on_reboot/on_crash of a guest that ended itself */
	PACT_END,	/* close everything; the worker ends */
	/* CONFIG, STATIC, DISKS; port: BEGIN and the copiers of every disk; then PEV_DISKS_SYNCED. */
	PACT_DISKS_SYNC,
	/*
	 * Port: LEAVE, every disk: the guest's I/O goes on without the stream, what was not acknowledged is
	 * dirty, an error that was kept back is answered.
	 */
	PACT_DISKS_LEAVE,
	PACT_SEND_HANDOVER, /* epoch, planned: HANDOVER; then PEV_PEER_ACTIVATED or PEV_LINK_DOWN */
	/*
	 * `handed`: a HANDOVER may be with the peer, durable before the next action. If it cannot be made so, the
	 * session is ended in place of the next action (PEV_LINK_DOWN): the disk that fails may be this one. A worker
	 * that finds it has it in its primary_conf. PACT_END forgets it with the role.
	 */
	PACT_PERSIST_HANDOVER,
	/*
	 * `term` is ours, `asked` the newest that we ask for: durable before the next action. If they cannot be made so, then
	 * in place of PACT_START_COPY or PACT_DISKS_SYNC the session is ended, and in place of PACT_ASK_VOTE its answer is
	 * `unknown`; nothing else depends on it.
	 */
	PACT_PERSIST_TERM,
	PACT_ASK_VOTE, /* term: may we have it? Then PEV_VOTE */
	/* The guest, suspended since its last checkpoint, goes on. Not told back: what cannot be resumed ends the worker. */
	PACT_RESUME,
	/* Nothing comes of the switchover: answer who wanted it. After a HANDOVER (`handed`) the peer may take the VM yet. */
	PACT_SWITCHOVER_FAILED,
};

struct primary_action {
	enum primary_action_type type;
	uint64_t epoch;
	uint64_t term;
	uint64_t asked;
	uint64_t until_ns;
	uint32_t percent;
	enum leave_reason leave;
	bool handed;
	bool last;
	bool planned;
};

#define PRIMARY_MAX_ACTIONS 10
struct primary_actions {
	unsigned int n;
	struct primary_action a[PRIMARY_MAX_ACTIONS];
};

struct primary_conf {
	struct timing timing;
	enum peer_loss_policy policy; /* epoch.h */
	uint64_t term;
	uint64_t
		asked; /* newest term that this host has asked the arbiter for, as it is durable; 0 if none */
	uint32_t arena_pages;
	/* Epochs that may be taken and not yet acknowledged: lanes - 1. 1 to PRIMARY_MAX_OUTSTANDING. */
	uint32_t max_outstanding;
	/* The worker found held output or a pinned lane: it died before. Output counts as held. */
	bool adopt;
	/* ... and a HANDOVER may be with the peer (PACT_PERSIST_HANDOVER). */
	bool handed;
	bool disks; /* the VM has any */
};

/* The states and which may follow which (lib/sm.h). */
extern const struct sm_table primary_table;

/* More than this is not used: an ACK may release so many epochs at once. */
#define PRIMARY_MAX_OUTSTANDING 6

/* Embedded by value; private to primary.c, readable by the simulator's oracle and by status. */
struct primary {
	struct primary_conf conf;
	enum primary_state state;
	struct liveness peer;
	uint64_t state_since_ns;
	uint64_t next_epoch; /* the number that the next checkpoint gets */
	uint64_t ordered;    /* the number of the checkpoint under way */
	uint64_t acked;	     /* newest acknowledged epoch, EPOCH_NONE if none this session */
	uint64_t taken;	     /* newest checkpoint taken, EPOCH_NONE if none */
	uint64_t sent;	     /* newest epoch completely sent, EPOCH_NONE if none */
	uint64_t next_checkpoint_ns;
	uint64_t oldest_unacked_since_ns; /* lease of the oldest epoch sent and not acknowledged */
	uint64_t lease_ns[PRIMARY_MAX_OUTSTANDING]; /* of epoch n, at n % size */
	uint64_t busy_since_ns; /* checkpointing, or sending the epoch taken last */
	uint64_t retry_ns;	/* not before this instant is the next connect */
	uint32_t failures;	/* sessions lost, refused or left since the last good one */
	uint32_t throttle_percent;
	uint32_t resync_percent; /* the cap after the next first copy */
	uint32_t calm;		 /* small epochs in a row */
	uint32_t aborts;	 /* checkpoints aborted in a row */
	bool link_up;
	bool connecting;
	bool closing;	    /* PACT_DISCONNECT given, PEV_LINK_DOWN not seen */
	bool checkpointing; /* PACT_CHECKPOINT given, result not seen */
	bool held;	    /* output is held (or must be assumed to be) */
	bool open_wanted;   /* decided to open; waits for `checkpointing` to end */
	bool opening;	    /* PACT_OPEN_OUTPUT given, result not seen */
	bool pressure;
	bool alone_decided; /* primary-wins: we chose to go alone */
	bool leaving;	    /* protection ends as soon as it may, for the reason in `leave` */
	bool leave_force;   /* ... and without the peer's word if it does not come */
	bool streaming;	    /* the disks are in the stream, or on their way into it */
	bool synced;	    /* ... and in sync */
	bool handed;	    /* HANDOVER may be with a peer that has not stood down since */
	enum leave_reason leave;
	bool moving; /* the operator wants the VM at the peer, and nothing has come in between */
	bool last;   /* the checkpoint under way is the last one */
	bool parked; /* the guest is suspended since then */
	uint64_t moving_since_ns;
	bool asking;		/* PACT_ASK_VOTE given, PEV_VOTE not seen */
	bool outvoted;		/* refused: the peer may run the VM, or will */
	uint64_t asked;		/* newest term asked for; conf.asked from before */
	uint64_t outvoted_term; /* the arbiter's */
	uint64_t over;		/* a term that the operator overrides, 0 none */
	uint64_t vote_retry_ns; /* not before this instant is the next question */
};

/* Why a switchover is refused; the tool shows the sentence. */
enum switchover_refusal {
	SWITCHOVER_MAY, /* not refused */
	SWITCHOVER_NOT_PROTECTED,
	SWITCHOVER_SUSPECT, /* nothing was heard from the peer just now */
	SWITCHOVER_LEAVING,
	SWITCHOVER_HANDED, /* the peer has it, or is about to */
	SWITCHOVER_BUSY,   /* one is under way */
};

/* now: any monotonic nanosecond clock, the same one for all calls. First actions come from a PEV_TICK. */
void primary_init(struct primary *p, const struct primary_conf *conf, uint64_t now);

/*
 * Handle one event. out is overwritten. An event that cannot be in this state (late, duplicated) is
 * ignored, never an error: events come from threads and peers that do not know our state yet.
 */
void primary_step(struct primary *p, uint64_t now, const struct primary_event *ev,
		  struct primary_actions *out);

/* When PEV_TICK is wanted at the latest; UINT64_MAX if never. */
uint64_t primary_next_deadline(const struct primary *p);

/* Would PEV_SWITCHOVER be obeyed now? */
enum switchover_refusal primary_may_switch_over(const struct primary *p, uint64_t now);

/* P5. True only while P1 and P2 hold and the peer was heard within two heartbeats. */
bool primary_is_protected(const struct primary *p, uint64_t now);

/*
 * The guest's output is held, or will be, for the session's standby: tell it that we live. After
 * PEV_LINK_DOWN (LOST) it is a choice: with heartbeats the standby waits for us, without them it may
 * activate after the failure timeout.
 */
bool primary_heartbeats(const struct primary *p);

/* assert()s what must hold between events (P1, P6); called by primary_step() itself. */
void primary_check(const struct primary *p);

const char *primary_state_name(enum primary_state s);
const char *primary_event_name(enum primary_event_type t);
const char *primary_action_name(enum primary_action_type t);
const char *leave_reason_name(enum leave_reason r);
const char *switchover_refusal_text(enum switchover_refusal r);

#endif
