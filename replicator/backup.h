/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's decisions, "may I activate?" among them. Pure, like primary.h.
 *
 * One struct backup is one session: it never connects again. A new session of the same VM has a new
 * one, which is fed BEV_HELLO only after the old one has answered its BEV_SUPERSEDE with `ok`
 * (backup_welcome()).
 */
#ifndef REPLICATOR_BACKUP_H
#define REPLICATOR_BACKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/timing.h"
#include "replicator/epoch.h"
#include "replicator/liveness.h"
#include "replicator/primary.h"

enum backup_state {
	BACKUP_WAITING,	   /* connection accepted, no valid HELLO yet */
	BACKUP_BUILDING,   /* first copy; cannot be activated */
	BACKUP_STANDING,   /* at least epoch 0 is committed */
	BACKUP_ACTIVATING, /* the decision is made: the standby is being completed and run */
	BACKUP_ACTIVE,	   /* the VM runs here; final for this issue */
	BACKUP_ABANDONING, /* the standby is being destroyed without ever running */
	BACKUP_ENDED,	   /* final */
};

#define BACKUP_MAX_DISKS 16

/* What an acknowledgement waits for when all of an epoch is held. Values are on the wire (DISKS). */
enum backup_ack_mode {
	BACKUP_ACK_MEMORY = 1, /* nothing more */
	BACKUP_ACK_FLUSH = 2,  /* the journals, of an epoch in which the guest flushed a disk */
	BACKUP_ACK_EPOCH = 3,  /* the journals, of each */
};

/*
 * What the core relies on:
 * - BEV_EPOCH_COMPLETE: lengths, digest and order are verified and every page of the epoch is held
 *   here. Not fed between BACT_APPLY and its answer.
 * - BEV_ACTIVATED: the VM runs here; that it may was durable before it did.
 * - BEV_STANDBY_FAILED after BACT_RUN: it is certain that the VM never ran. Where it is not, the worker ends, and leaves
 *   to the next one, and to the operator, what it finds.
 * - Heartbeats are sent while backup_heartbeats() says so (P5).
 * - Of policy `arbiter`: what primary.h says of PACT_ASK_VOTE and PEV_VOTE.
 *
 * Of a VM with disks (docs/disk.md; "port" is what is said at each disk's port there):
 * - BEV_DISKS comes when DISKS has, before anything of an epoch. DISKS_OK and REFUSE of what does not fit
 *   are the shell's; so is REFUSE of a VM whose CONFIG has disks of ours and that begins its copy without DISKS.
 * - BEV_DISK_HELD: the disk has all of the epoch, as DISK_END counts it. Said once for each epoch, in order.
 * - BEV_DISK_DURABLE: the journal, with the commit of the epoch, is. Stands for all epochs before.
 * - BEV_DISK_FAILED: ERROR, or the server died, or it broke this contract. Also when it could not BEGIN.
 * - After BEV_ABANDONED no disk of the session can be activated any more: all are OUTDATED, durably.
 */
enum backup_event_type {
	BEV_TICK,
	BEV_HELLO,	    /* valid and allowed; term */
	BEV_EPOCH_COMPLETE, /* epoch, term: everything received and verified */
	BEV_APPLIED,	    /* epoch: fed to the standby */
	BEV_STANDBY_FAILED, /* the standby cannot be used any more (build or apply error, child died) */
	BEV_LINK_DOWN,	    /* the connection broke or the peer broke the protocol */
	BEV_HEARTBEAT,
	BEV_BYE,       /* reason in `leave` */
	BEV_SUPERSEDE, /* a new session for this VM asks us to abandon */
	BEV_FAILOVER, /* operator; `force` = although the primary was heard or the policy says no */
	BEV_ACTIVATED, /* BACT_RUN was carried out: the VM runs */
	BEV_ABANDONED, /* BACT_ABANDON was carried out: nothing is left of the standby */
	BEV_DISKS,     /* the VM has n_disks; ack_mode */
	BEV_DISK_HELD, /* port: HELD; disk, epoch, `flush`: the guest was answered a flush in it */
	BEV_DISK_DURABLE, /* port: DURABLE; disk, epoch */
	BEV_DISK_FAILED,  /* port: ERROR or its end; disk */
	BEV_DISKS_ACTIVE, /* port: every disk has answered ACTIVE; epoch */
	/*
	 * The primary wants us to run the VM; epoch: the newest whose ACK it has; `planned`: it could go on with it as well, so
	 * nothing is waited for that does not come at once.
	 */
	BEV_HANDOVER,
	BEV_VOTE,  /* as PEV_VOTE */
	BEV_BUILT, /* the standby is complete and could run, perhaps unasked */
	BEV_COUNT
};

struct backup_event {
	enum backup_event_type type;
	uint64_t epoch;
	uint64_t term;
	enum leave_reason leave;
	bool force;
	uint64_t at_ns; /* HEARTBEAT: when it came; 0: now */
	uint8_t disk;
	uint8_t n_disks;
	enum backup_ack_mode ack_mode;
	bool flush;
	bool planned;
	enum vote vote;
	uint64_t asked;
};

enum backup_action_type {
	BACT_HELLO_OK, /* start the session (older standbys are gone before BEV_HELLO is fed) */
	BACT_ACK,      /* epoch: it is committed */
	BACT_APPLY,    /* epoch: feed the committed epoch; then BEV_APPLIED or _STANDBY_FAILED */
	BACT_DROP_PARTIAL, /* forget what was received of an incomplete epoch */
	BACT_PERSIST_TERM, /* term: durable before the next action; retried until it is */
	BACT_TAKEOVER, /* tell the primary, if it can be reached, that the VM runs here (term) */
	BACT_ACTIVATE, /* complete the standby from the newest committed epoch; then BEV_BUILT or _STANDBY_FAILED */
	/*
	 * Make "active" durable; only then let the VM run. If the worker dies in between, the domain must not run. From
	 * here on only BEV_STANDBY_FAILED takes the standby down.
	 */
	BACT_RUN,
	BACT_ABANDON, /* destroy the standby, it never runs; then BEV_ABANDONED */
	BACT_BYE_OK, /* tell the primary that the standby is gone (term: the newest used up here) */
	BACT_ANSWER, /* answer all waiting requests of the kind `request`: `ok`, `why`, `term` */
	BACT_DISCONNECT,
	BACT_END,
	BACT_DISKS_COMMIT, /* port: COMMIT(epoch), every disk; then BEV_DISK_DURABLE of each */
	/*
	 * Port: ACTIVATE(epoch), every disk: what is committed and not applied is, the rest is dropped. Then
	 * BEV_DISKS_ACTIVE or _FAILED. A disk makes its new generation before the first write of the guest,
	 * not here: of an activation that comes to nothing no history may be left.
	 */
	BACT_DISKS_ACTIVATE,
	BACT_DISKS_LEAVE, /* port: LEAVE, every disk: what is committed is kept, OUTDATED */
	BACT_REFUSE, /* REFUSE(INTERNAL) with the disk's error as its text; then the end of the link */
	BACT_ASK_VOTE, /* term, which is used up from here on: may we have it? Then BEV_VOTE */
};

/* Why a request was refused; the tool turns it into a sentence. */
enum backup_refusal {
	REFUSED_NOT, /* not refused */
	REFUSED_NOTHING_COMMITTED,
	REFUSED_PRIMARY_ALIVE, /* needs force */
	REFUSED_POLICY,	       /* needs force: under primary-wins the primary may have gone alone */
	REFUSED_ACTIVE,	       /* the VM runs here already, or is about to */
	REFUSED_ENDING,
	REFUSED_NO_VOTE,  /* needs force: the arbiter does not answer */
	REFUSED_OUTVOTED, /* needs force: the arbiter gave the VM away, under `term` */
};

struct backup_action {
	enum backup_action_type type;
	uint64_t epoch;
	uint64_t term;
	bool ok;
	enum backup_refusal why;
	enum backup_event_type request; /* ANSWER: BEV_FAILOVER or BEV_SUPERSEDE */
};

#define BACKUP_MAX_ACTIONS 12
struct backup_actions {
	unsigned int n;
	struct backup_action a[BACKUP_MAX_ACTIONS];
};

struct backup_conf {
	struct timing timing;
	enum peer_loss_policy policy;
	uint64_t term; /* newest durable term that this host knows for the VM, 0 if none */
};

/* The states and which may follow which (lib/sm.h). */
extern const struct sm_table backup_table;

/* Private to backup.c, readable by the simulator's oracle and by status. */
struct backup {
	struct backup_conf conf;
	enum backup_state state;
	struct liveness peer;
	uint64_t state_since_ns;
	uint64_t term;	    /* the session's */
	uint64_t committed; /* newest committed epoch, EPOCH_NONE */
	uint64_t applied;   /* newest applied epoch, EPOCH_NONE */
	uint64_t
		complete; /* the epoch whose memory is here and which is not committed, EPOCH_NONE */
	uint64_t acked;	  /* newest acknowledged epoch, EPOCH_NONE */
	uint64_t complete_term;
	uint8_t n_disks;
	enum backup_ack_mode ack_mode;
	uint16_t held;	    /* disks that hold all of the epoch after `committed`, as bits */
	bool flushed;	    /* ... and the guest flushed one of them in it */
	uint16_t to_harden; /* epochs not acknowledged that must be durable: bit n % 16 */
	uint64_t durable[BACKUP_MAX_DISKS];
	bool disks_active;
	bool let_run; /* BACT_RUN was said: the VM may run here by now */
	bool link_up;
	bool applying;
	bool bye_wanted;  /* BYE_OK is owed when the standby is gone */
	bool answer_owed; /* a SUPERSEDE waits for the standby to be gone */
	enum leave_reason leave;
	bool asking;	    /* BACT_ASK_VOTE given, BEV_VOTE not seen */
	bool outvoted;	    /* refused: the primary went alone, or will */
	bool takes_over;    /* the primary has handed the VM over, in this session */
	bool planned;	    /* ... as the operator wanted it */
	bool forced;	    /* the operator wants it activated, whatever the arbiter cannot say */
	bool failover_owed; /* a FAILOVER waits for the arbiter's answer */
	bool lease_runs;    /* ACTIVATING: the primary may still let out what we acknowledged */
	uint64_t asked;	    /* newest term asked for */
	uint64_t outvoted_term; /* the arbiter's */
	uint64_t over;		/* a term that the operator overrides, 0 none */
	uint64_t vote_retry_ns; /* not before this instant is the next question */
	uint64_t
		complete_ns; /* when the newest epoch was here: its lease began before; or we slept since, until then */
};

/* What a worker finds when a HELLO for a VM comes in. */
struct backup_found {
	bool role_active; /* durable: the VM was let run here, under a newer term */
	bool vm_runs;	  /* a domain of this VM runs here */
	bool old_worker;  /* an older worker of this VM lives */
	bool other_vm; /* what is here, or was, is another VM of that name: another peer's, another uuid */
	bool role_primary; /* durable: this host protects it */
	bool taken; /* ... and has it by an activation, of which the other host may not know */
	bool primary_worker; /* a worker of that lives */
	bool newer;	     /* our durable term is above HELLO's */
	bool older;	     /* ... below it */
};

enum backup_welcome {
	WELCOME_BUILD,	   /* destroy what is left of an older standby, then BEV_HELLO */
	WELCOME_SUPERSEDE, /* ask the older worker first: BEV_SUPERSEDE there */
	WELCOME_ACTIVATED, /* REFUSE(ACTIVATED, durable term): the primary is deposed */
	WELCOME_OPERATOR,  /* refuse: the VM has run here and does not now; no machine may choose */
	WELCOME_DEPOSED, /* refuse for now: what is here is of an older term, and is being destroyed, or should be */
	WELCOME_PRIMARY,    /* refuse: both protect it under the same term */
	WELCOME_NAME_TAKEN, /* refuse: names are unique on a host only; neither VM is to suffer */
};

/*
 * P4: "activated", which destroys the primary's copy, is said only of a VM that runs. A decision that
 * a crash kept from being carried out is void, its term is used up: the new session goes on with it.
 * A VM that ran here and is gone (this host died too, or the guest ended) leaves an older copy at the
 * primary: neither destroyed nor let out without the operator. Nothing of this is said or done to a VM that
 * only has the name of the one here.
 *
 * Two hosts that both believe to protect it: the newer term has it. The one that runs it under the newer one, by an
 * activation, deposes the other; the one whose own VM is gone (its host was restarted) stands by for the newer one; a VM that
 * is left of the older term is its own worker's to destroy.
 */
enum backup_welcome backup_welcome(const struct backup_found *f);

/* now as in primary_init(). */
void backup_init(struct backup *b, const struct backup_conf *conf, uint64_t now);
void backup_step(struct backup *b, uint64_t now, const struct backup_event *ev,
		 struct backup_actions *out);
uint64_t backup_next_deadline(const struct backup *b);

/* P5: true only while the standby could be activated and the primary was heard within two heartbeats. */
bool backup_is_protecting(const struct backup *b, uint64_t now);

/*
 * The standby is complete: may it run? Only if it was told to be, by BACT_ACTIVATE: what builds it takes an error of reading
 * for the loss of the primary, and completes it unasked. BEV_BUILT asks this; who tries again to let it run asks, too.
 */
bool backup_may_run(const struct backup *b);

/* The standby lives, or is taken down because the primary asked for it: tell the primary. */
bool backup_heartbeats(const struct backup *b);

void backup_check(const struct backup *b);
const char *backup_state_name(enum backup_state s);
const char *backup_event_name(enum backup_event_type t);
const char *backup_action_name(enum backup_action_type t);
const char *backup_refusal_text(enum backup_refusal r);

#endif
