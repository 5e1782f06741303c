/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the backup's core share among themselves: backup.c, backup_commit.c, backup_vote.c. Pure. */
#ifndef REPLICATOR_BACKUP_IMPL_H
#define REPLICATOR_BACKUP_IMPL_H

#include <assert.h>

#include "lib/sm.h"
#include "replicator/backup.h"

static inline struct backup_action *act(struct backup_actions *out, enum backup_action_type type)
{
	struct backup_action *a;

	assert(out->n < BACKUP_MAX_ACTIONS);
	a = &out->a[out->n++];
	*a = (struct backup_action){.type = type};
	return a;
}

static inline void go(struct backup *b, enum backup_state to, uint64_t now)
{
	b->state = sm_move(&backup_table, b->state, to);
	b->state_since_ns = now;
}

static inline uint16_t all_disks(const struct backup *b)
{
	return (uint16_t)((UINT32_C(1) << b->n_disks) - 1);
}

static inline bool by_vote(const struct backup *b)
{
	return b->conf.policy == POLICY_ARBITER;
}

/* backup.c */
void backup_answer__(const struct backup *b, enum backup_event_type request,
		     enum backup_refusal why, struct backup_actions *out);
/* The primary breaks the protocol; the session ends. */
void backup_protocol_error__(struct backup *b, uint64_t now, struct backup_actions *out);
/* The only way to a second life. From here on nothing is committed or acknowledged. */
void backup_decide__(struct backup *b, uint64_t now, struct backup_actions *out);

/* backup_vote.c */
void backup_vote__(struct backup *b, uint64_t now, const struct backup_event *ev,
		   struct backup_actions *out);
/* The operator's failover of a standby, which waits for the arbiter. */
void backup_vote_failover__(struct backup *b, uint64_t now, bool force, struct backup_actions *out);
/* The standby goes: who waits for a failover waits in vain. */
void backup_vote_void__(struct backup *b, struct backup_actions *out);
/* Asks, if a vote is needed and may be asked for. */
void backup_vote_pump__(struct backup *b, uint64_t now, struct backup_actions *out);
/* When to look again, in STANDING; UINT64_MAX if time alone changes nothing. */
uint64_t backup_vote_deadline__(const struct backup *b);

/* backup_commit.c: the events that bring a commit nearer, or its acknowledgement. */
void backup_disks__(struct backup *b, uint64_t now, const struct backup_event *ev,
		    struct backup_actions *out);
void backup_epoch_complete__(struct backup *b, uint64_t now, const struct backup_event *ev,
			     struct backup_actions *out);
void backup_disk_held__(struct backup *b, uint64_t now, const struct backup_event *ev,
			struct backup_actions *out);
void backup_disk_durable__(struct backup *b, const struct backup_event *ev,
			   struct backup_actions *out);

#endif
