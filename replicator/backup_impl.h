/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the backup's core share among themselves: backup.c, backup_commit.c. Pure. */
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

/* backup.c: the primary breaks the protocol; the session ends. */
void backup_protocol_error__(struct backup *b, uint64_t now, struct backup_actions *out);

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
