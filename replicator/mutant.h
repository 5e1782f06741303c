/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules broken on purpose, to prove that the simulator's oracle would see it. MUTANT(x) is a constant
 * false everywhere but in the test program sim-mutants, which compiles the core once more with
 * CORE_MUTATION defined (tests/sim/mutants.c).
 */
#ifndef REPLICATOR_MUTANT_H
#define REPLICATOR_MUTANT_H

#ifdef CORE_MUTATION
extern int core_mutant;
#define MUTANT(name) (core_mutant == (name))
#else
#define MUTANT(name) 0
#endif

enum core_mutant {
	MUTANT_NONE,
	/* primary */
	MUTANT_RELEASE_WHEN_SENT,      /* output let out before its ACK */
	MUTANT_RELEASE_AHEAD,	       /* ACK(n) releases n + 1 too */
	MUTANT_ACK_ANY_TERM,	       /* an ACK of another term counts */
	MUTANT_ACK_ANY_EPOCH,	       /* an ACK of an epoch never sent counts */
	MUTANT_OPEN_WHEN_LOST,	       /* opens on silence under every policy */
	MUTANT_OPEN_ON_LINK_DOWN,      /* primary-wins does not wait for the failure timeout */
	MUTANT_OPEN_WITHOUT_BYE_OK,    /* BYE without an answer counts as answered */
	MUTANT_NO_LEASE,	       /* a late ACK counts */
	MUTANT_PROTECTED_SUSPECT,      /* "protected" although the peer was not heard */
	MUTANT_DEPOSE_ANY_TERM,	       /* destroys the guest on a stale word */
	MUTANT_NO_RECONNECT,	       /* LOST does not try again */
	MUTANT_NO_OUTSTANDING_BOUND,   /* takes checkpoints without end */
	MUTANT_OPEN_DURING_PAUSE,      /* opens while a checkpoint may close a lane again */
	MUTANT_COPY_UNSYNCED,	       /* checkpoint 0 does not wait for the disks */
	MUTANT_DROP_IGNORED,	       /* a disk that left the stream does not end protection */
	MUTANT_ERROR_TO_GUEST,	       /* a protected guest is shown its disk's error */
	MUTANT_NO_DISKS_LEAVE,	       /* the disks are not told that the session is over */
	MUTANT_RELEASE_AFTER_HANDOVER, /* an ACK counts although the peer may run the VM */
	MUTANT_ALONE_AFTER_HANDOVER,   /* primary-wins forgets that it handed the VM over */
	MUTANT_HANDOVER_FORGOTTEN,     /* ... once its worker died */
	MUTANT_RELEASE_LATE,	       /* a release is carried out whenever the worker wakes up */
	MUTANT_ALONE_WITHOUT_VOTE, /* an arbiter that does not answer counts as one that grants */
	MUTANT_OUTBID,		   /* asks for the term after the one that it was refused */
	MUTANT_FORCE_UNASKED,	/* the operator's word counts although the arbiter could be asked */
	MUTANT_TERM_NOT_KEPT,	/* the session's term is not durable before there is a standby */
	MUTANT_ASKED_FORGOTTEN, /* HELLO does not say that a term is used up */
	MUTANT_OVERTAKEN,	/* a session under a term that was left behind goes on */
	MUTANT_LAST_UNDRAINED,	/* the last checkpoint is taken while older ones are outstanding */
	MUTANT_LEFT_PARKED,	/* a guest that is not moved after all stays suspended */
	MUTANT_HANDOVER_EARLY,	/* handed over before the last epoch is acknowledged */
	MUTANT_HANDOVER_RUNNING, /* handed over while the guest runs on */
	/* backup */
	MUTANT_ACK_AHEAD,	    /* ACK(n + 1) with ACK(n) */
	MUTANT_ACK_AFTER_DECISION,  /* still commits while it activates */
	MUTANT_ACTIVATE_UNAPPLIED,  /* does not wait for the committed epoch to be applied */
	MUTANT_KEEP_PARTIAL,	    /* activates with half an epoch in the arena */
	MUTANT_ACTIVATE_UNDER_HOLD, /* activates under every policy */
	MUTANT_ACTIVATE_EARLY,	    /* activates when suspect */
	MUTANT_COMMIT_ANY_EPOCH,    /* takes epochs in any order */
	MUTANT_NO_TERM,		    /* activates without a durable term */
	MUTANT_TELL_EARLY,	    /* says "the VM runs here" before it does */
	MUTANT_ABANDON_ON_LOSS,	    /* destroys a good standby when the link breaks */
	MUTANT_PROTECTING_SUSPECT,
	MUTANT_COMMIT_WITHOUT_DISKS,  /* commits when the memory is there */
	MUTANT_COMMIT_WITHOUT_MEMORY, /* ... or when the disks are */
	MUTANT_ACK_BEFORE_HELD,	      /* acknowledges what the disks do not hold */
	MUTANT_ACK_NOT_DURABLE,	      /* the ack mode is not obeyed */
	MUTANT_RUN_BEFORE_DISKS,      /* completes the standby while a disk is not there yet */
	MUTANT_DISKS_OTHER_EPOCH,     /* the disks are activated one epoch before the memory */
	MUTANT_FORGET_LEAVE,	      /* abandons without the disks */
	MUTANT_DISK_FAILURE_IGNORED,  /* a standby without one of its disks stands by */
	MUTANT_HANDOVER_IGNORED,      /* goes on standing by */
	MUTANT_ACTIVATE_WITHOUT_VOTE, /* an arbiter that does not answer counts as one that grants */
	MUTANT_OUTBID_PRIMARY,	      /* asks for the term after the one that it was refused */
	MUTANT_VOTE_UNNEEDED,	      /* asks, and uses a vote, although the primary was heard */
	MUTANT_LEASE_CUT_SHORT,	 /* forced, it does not wait for the end of what it acknowledged */
	MUTANT_FORCED_TERM,	 /* the operator's word has the term of a vote that was not heard */
	MUTANT_ASKED_NOT_KEPT,	 /* the next session does not know that a term is used up */
	MUTANT_ABANDON_OUTVOTED, /* destroys a good standby because of a refusal */
	MUTANT_JUMP_ENDS_LEASE,	 /* a clock that jumps ends the wait for what was acknowledged */
	MUTANT_TAKE_DISKS_BACK,	 /* gives up a VM that was let run, for a disk of it */
	MUTANT_SILENT_WHILE_ACTIVATING, /* who handed the VM over does not hear that it is being taken */
	/* both */
	MUTANT_SLEEP_IS_SILENCE, /* time in which we did not listen counts as the peer's silence */
	MUTANT_HEARD_WHEN_READ,	 /* a heartbeat is as fresh as its reading */
	/* a drill: what the worker says of its standby, and how that is copied */
	MUTANT_DRILL_FED_UNSAID,       /* an epoch is announced when it is there, not before */
	MUTANT_DRILL_TAKEN_IS_SETTLED, /* what the standby's reader has taken counts as worked in */
	MUTANT_DRILL_UNSETTLED,	       /* what was fed before the drill began is not waited for */
	MUTANT_DRILL_WINDOW_STAYS,     /* a standby that is completed can still be copied */
	MUTANT_DRILL_UNCONFIRMED,      /* nobody asks whether an epoch has come meanwhile */
	MUTANT_DRILL_MARKS_OF_NEXT, /* pages of an epoch that is not there yet are copied as it */
	MUTANT_DRILL_ANY_STATE_OF_CPU, /* the vCPUs of whatever epoch */
	/* ... and the worker's hold on it */
	MUTANT_DRILL_ANY_STATE,	       /* begins whatever the standby is */
	MUTANT_DRILL_TWICE,	       /* ... although there is one */
	MUTANT_DRILL_IN_THE_WAY,       /* goes on while the VM is to run here */
	MUTANT_DRILL_OUTLIVES_STANDBY, /* ... while the standby is abandoned */
	MUTANT_DRILL_WITHOUT_LEASE,    /* ... although nobody asks for it */
	MUTANT_DRILL_SPARED,	       /* one that does not end is not killed */
	MUTANT_DRILL_LEFT_BEHIND,      /* what is left of one that died is not removed */
	MUTANT_COUNT
};

#endif
