/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words for the cores' states, events, actions and reasons, for people to read. Pure. */
#include "lib/sm.h"
#include "replicator/backup.h"
#include "replicator/primary.h"

const char *primary_state_name(enum primary_state s)
{
	return sm_name(&primary_table, s);
}

const char *primary_event_name(enum primary_event_type t)
{
	static const char *const names[PEV_COUNT] = {
		[PEV_TICK] = "tick",
		[PEV_LINK_UP] = "link-up",
		[PEV_LINK_DOWN] = "link-down",
		[PEV_PEER_ACTIVATED] = "peer-activated",
		[PEV_HEARTBEAT] = "heartbeat",
		[PEV_COPY_DONE] = "copy-done",
		[PEV_COPY_FAILED] = "copy-failed",
		[PEV_CHECKPOINT_TAKEN] = "checkpoint-taken",
		[PEV_CHECKPOINT_ABORTED] = "checkpoint-aborted",
		[PEV_EPOCH_SENT] = "epoch-sent",
		[PEV_ACK] = "ack",
		[PEV_BYE_OK] = "bye-ok",
		[PEV_OUTPUT_OPENED] = "output-opened",
		[PEV_OUTPUT_PRESSURE] = "output-pressure",
		[PEV_GUEST_EVENT] = "guest-event",
		[PEV_UNPROTECT] = "unprotect",
		[PEV_GUEST_GONE_DONE] = "guest-gone",
		[PEV_DISKS_SYNCED] = "disks-synced",
		[PEV_DISK_DROPPED] = "disk-dropped",
		[PEV_DISK_ERROR] = "disk-error",
		[PEV_SWITCHOVER] = "switchover",
		[PEV_VOTE] = "vote",
	};

	return (unsigned int)t < PEV_COUNT ? names[t] : "?";
}

const char *primary_action_name(enum primary_action_type t)
{
	static const char *const names[] = {
		[PACT_CONNECT] = "connect",
		[PACT_DISCONNECT] = "disconnect",
		[PACT_START_COPY] = "start-copy",
		[PACT_CHECKPOINT] = "checkpoint",
		[PACT_RELEASE] = "release",
		[PACT_OPEN_OUTPUT] = "open-output",
		[PACT_SEND_BYE] = "send-bye",
		[PACT_THROTTLE] = "throttle",
		[PACT_DESTROY_GUEST] = "destroy-guest",
		[PACT_END_GUEST] = "end-guest",
		[PACT_END] = "end",
		[PACT_DISKS_SYNC] = "disks-sync",
		[PACT_DISKS_LEAVE] = "disks-leave",
		[PACT_SEND_HANDOVER] = "send-handover",
		[PACT_PERSIST_HANDOVER] = "persist-handover",
		[PACT_PERSIST_TERM] = "persist-term",
		[PACT_ASK_VOTE] = "ask-vote",
		[PACT_RESUME] = "resume",
		[PACT_SWITCHOVER_FAILED] = "switchover-failed",
	};

	return (unsigned int)t < ARRAY_SIZE(names) ? names[t] : "?";
}

const char *switchover_refusal_text(enum switchover_refusal r)
{
	static const char *const texts[] = {
		[SWITCHOVER_MAY] = "",
		[SWITCHOVER_NOT_PROTECTED] =
			"it is not protected now, so the backup has nothing that it could run",
		[SWITCHOVER_SUSPECT] =
			"nothing was heard from the backup just now; it may be gone, or busy",
		[SWITCHOVER_LEAVING] = "its protection is about to end",
		[SWITCHOVER_HANDED] = "the backup takes it over already",
		[SWITCHOVER_BUSY] = "a switchover is under way already",
	};

	return (unsigned int)r < ARRAY_SIZE(texts) ? texts[r] : "?";
}

const char *leave_reason_name(enum leave_reason r)
{
	static const char *const names[] = {
		[LEAVE_UNPROTECT] = "unprotect",
		[LEAVE_RESYNC] = "resync",
		[LEAVE_GUEST_SHUTDOWN] = "guest-shutdown",
		[LEAVE_GUEST_CRASH] = "guest-crash",
		[LEAVE_GUEST_DESTROYED] = "guest-destroyed",
		[LEAVE_GUEST_SUSPENDED] = "guest-suspended",
		[LEAVE_GUEST_CHANGED] = "guest-changed",
	};

	return (unsigned int)r < ARRAY_SIZE(names) ? names[r] : "?";
}

const char *backup_state_name(enum backup_state s)
{
	return sm_name(&backup_table, s);
}

const char *backup_event_name(enum backup_event_type t)
{
	static const char *const names[BEV_COUNT] = {
		[BEV_TICK] = "tick",
		[BEV_HELLO] = "hello",
		[BEV_EPOCH_COMPLETE] = "epoch-complete",
		[BEV_APPLIED] = "applied",
		[BEV_STANDBY_FAILED] = "standby-failed",
		[BEV_LINK_DOWN] = "link-down",
		[BEV_HEARTBEAT] = "heartbeat",
		[BEV_BYE] = "bye",
		[BEV_SUPERSEDE] = "supersede",
		[BEV_FAILOVER] = "failover",
		[BEV_ACTIVATED] = "activated",
		[BEV_ABANDONED] = "abandoned",
		[BEV_DISKS] = "disks",
		[BEV_DISK_HELD] = "disk-held",
		[BEV_DISK_DURABLE] = "disk-durable",
		[BEV_DISK_FAILED] = "disk-failed",
		[BEV_DISKS_ACTIVE] = "disks-active",
		[BEV_HANDOVER] = "handover",
		[BEV_VOTE] = "vote",
		[BEV_BUILT] = "built",
	};

	return (unsigned int)t < BEV_COUNT ? names[t] : "?";
}

const char *backup_action_name(enum backup_action_type t)
{
	static const char *const names[] = {
		[BACT_HELLO_OK] = "hello-ok",
		[BACT_ACK] = "ack",
		[BACT_APPLY] = "apply",
		[BACT_DROP_PARTIAL] = "drop-partial",
		[BACT_PERSIST_TERM] = "persist-term",
		[BACT_TAKEOVER] = "takeover",
		[BACT_ACTIVATE] = "activate",
		[BACT_RUN] = "run",
		[BACT_ABANDON] = "abandon",
		[BACT_BYE_OK] = "bye-ok",
		[BACT_ANSWER] = "answer",
		[BACT_DISCONNECT] = "disconnect",
		[BACT_END] = "end",
		[BACT_DISKS_COMMIT] = "disks-commit",
		[BACT_DISKS_ACTIVATE] = "disks-activate",
		[BACT_DISKS_LEAVE] = "disks-leave",
		[BACT_REFUSE] = "refuse",
		[BACT_ASK_VOTE] = "ask-vote",
	};

	return (unsigned int)t < ARRAY_SIZE(names) ? names[t] : "?";
}

const char *backup_refusal_text(enum backup_refusal r)
{
	static const char *const texts[] = {
		[REFUSED_NOT] = "accepted",
		[REFUSED_NOTHING_COMMITTED] =
			"the first copy is not complete: there is nothing that could run here",
		[REFUSED_PRIMARY_ALIVE] =
			"the primary was heard within the failure timeout; --force activates "
			"although the VM may run there",
		[REFUSED_POLICY] = "under primary-wins the primary may run the VM alone; --force "
				   "activates although nobody here can rule that out",
		[REFUSED_ACTIVE] = "the VM runs here already, or is about to",
		[REFUSED_ENDING] = "the standby is being taken down",
		[REFUSED_NO_VOTE] =
			"the arbiter does not answer, and without its vote nobody here can rule out "
			"that the primary runs the VM; --force activates on your word that it does not",
		[REFUSED_OUTVOTED] =
			"the arbiter gave the VM to another host, under the term shown: this copy is older than "
			"what may run there; --force, said again, activates it on your word that nothing does",
	};

	return (unsigned int)r < ARRAY_SIZE(texts) ? texts[r] : "?";
}
