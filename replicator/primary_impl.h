/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the primary's core share among themselves: primary.c, primary_disks.c, primary_vote.c,
   primary_switchover.c. Pure. */
#ifndef REPLICATOR_PRIMARY_IMPL_H
#define REPLICATOR_PRIMARY_IMPL_H

#include <assert.h>

#include "lib/sm.h"
#include "replicator/primary.h"

static inline struct primary_action *act(struct primary_actions *out, enum primary_action_type type)
{
	struct primary_action *a;

	assert(out->n < PRIMARY_MAX_ACTIONS);
	a = &out->a[out->n++];
	*a = (struct primary_action){.type = type};
	return a;
}

static inline void go(struct primary *p, enum primary_state to, uint64_t now)
{
	p->state = sm_move(&primary_table, p->state, to);
	p->state_since_ns = now;
}

static inline bool has_session(const struct primary *p)
{
	return p->link_up && !p->closing;
}

/* The decision to open is made; only its execution is missing. */
static inline bool will_open(const struct primary *p)
{
	return p->open_wanted || p->opening;
}

static inline bool by_vote(const struct primary *p)
{
	return p->conf.policy == POLICY_ARBITER;
}

/* primary.c */
void primary_throttle__(struct primary *p, uint32_t percent, struct primary_actions *out);
/* Protection is to begin again with a first copy. */
void primary_resync__(struct primary *p, uint64_t now, enum leave_reason reason,
		      struct primary_actions *out);

/* Its own decision, or the arbiter's, or the operator's: output is opened as soon as that may be. */
void primary_want_open__(struct primary *p);
void primary_go_alone__(struct primary *p, uint64_t now);

/* primary_switchover.c */
void primary_switchover__(struct primary *p, uint64_t now);
/* The next checkpoint is the one after which the guest stays suspended. */
bool primary_is_last__(const struct primary *p);
/* It was taken. */
void primary_parked__(struct primary *p, uint64_t now, struct primary_actions *out);
/* If the guest is parked, it goes on. */
void primary_unpark__(struct primary *p, struct primary_actions *out);
/* The same, and nothing comes of a switchover. */
void primary_stays__(struct primary *p, struct primary_actions *out);
/* From here on only the peer's word says who runs the VM. planned: the guest could go on here as well, and is parked. */
void primary_hand_over__(struct primary *p, uint64_t now, bool planned,
			 struct primary_actions *out);
/* An epoch was acknowledged, and its output is out. */
void primary_switchover_acked__(struct primary *p, uint64_t now, struct primary_actions *out);
/* It did not come to its last checkpoint in time. */
bool primary_switchover_late__(const struct primary *p, uint64_t now);
uint64_t primary_switchover_deadline__(const struct primary *p);

/* primary_vote.c */
void primary_vote__(struct primary *p, uint64_t now, const struct primary_event *ev,
		    struct primary_actions *out);
/* The operator wants to go on without the peer, LOST. */
void primary_vote_force__(struct primary *p, uint64_t now);
/* Asks, if a vote is needed and may be asked for. */
void primary_vote_pump__(struct primary *p, uint64_t now, struct primary_actions *out);
/* When to look again, in LOST; UINT64_MAX if time alone changes nothing. */
uint64_t primary_vote_deadline__(const struct primary *p);
/* A new session: its term settles what was asked for. */
void primary_vote_settled__(struct primary *p);
/* What HELLO says: a term that was asked for is used up, granted or not. */
uint64_t primary_hello_term__(const struct primary *p);
/* What the session rests on is durable before anything of it is. */
void primary_keep_term__(struct primary *p, struct primary_actions *out);

/* primary_disks.c */
void primary_start_copy__(struct primary *p, uint64_t now, struct primary_actions *out);
/* The first copy is given up; nothing is held for it. */
void primary_copy_over__(struct primary *p, uint64_t now, struct primary_actions *out);
/* P4: nobody takes their stream any more, and no error waits for a better answer. */
void primary_disks_leave__(struct primary *p, struct primary_actions *out);
/* HANDOVER may be with the peer, or it has stood down. */
void primary_set_handed__(struct primary *p, bool handed, struct primary_actions *out);
void primary_disks_synced__(struct primary *p, struct primary_actions *out);
void primary_disk_dropped__(struct primary *p, uint64_t now, struct primary_actions *out);
void primary_disk_error__(struct primary *p, uint64_t now, struct primary_actions *out);

#endif
