/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Epoch numbers and the words that both sides' decisions share. Pure. */
#ifndef REPLICATOR_EPOCH_H
#define REPLICATOR_EPOCH_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

/*
 * Epoch n is the guest's execution up to checkpoint n. Epoch 0 is the first copy. Numbers rise by one
 * within a session and never repeat in it; a new session starts at 0 again under the same term.
 */
#define EPOCH_NONE UINT64_MAX

/* What a side may do by itself when the other is silent for the failure timeout. Values are on the wire. */
enum peer_loss_policy {
	POLICY_HOLD = 1,
	POLICY_PRIMARY_WINS = 2,
	POLICY_BACKUP_WINS = 3,
	POLICY_ARBITER = 4, /* either side, with a vote for the next term */
};

/* What an arbiter says to a side that asks for a term. */
enum vote {
	VOTE_UNKNOWN, /* it was not reached, or makes no sense: nothing is decided */
	VOTE_GRANTED, /* the term is that side's, now and when it asks again, and never another's */
	VOTE_REFUSED, /* somebody else holds that term, or a newer one */
};

const char *policy_name(enum peer_loss_policy p);
const char *vote_name(enum vote v);
/* 0 and *p set, or -EINVAL. */
MUST_CHECK int policy_parse(const char *text, enum peer_loss_policy *p);

/* True if want is have or comes before it; EPOCH_NONE is before everything. */
bool epoch_reached(uint64_t have, uint64_t want);
/* The number after e; 0 after EPOCH_NONE. */
uint64_t epoch_next(uint64_t e);
/* How many epochs behind is behind have; have must have reached it. */
uint64_t epoch_distance(uint64_t have, uint64_t behind);

#endif
