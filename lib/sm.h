/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State machines as data: each state has a name and the set of states that may
 * follow. A move that the table does not allow is our mistake and ends the
 * program. Pure: who wants a log line compares the state before and after.
 */
#ifndef LIB_SM_H
#define LIB_SM_H

#include <stdbool.h>
#include <stdint.h>

#define SM_MAX_STATES 32
#define SM_BIT(state) (UINT32_C(1) << (state))

enum sm_flag {
	SM_INITIAL = 1, /* a machine may begin here */
	SM_FINAL = 2,	/* nothing follows */
};

struct sm_state {
	const char *name;
	uint32_t next; /* SM_BIT of each state that may follow; staying is not a move */
	uint32_t flags;
};

struct sm_table {
	const char *name;
	const struct sm_state *states; /* indexed by the machine's enum */
	unsigned int n;		       /* at most SM_MAX_STATES */
};

bool sm_allowed(const struct sm_table *t, unsigned int from, unsigned int to);

/* Returns to; does not return if the table does not allow the move. */
unsigned int sm_move(const struct sm_table *t, unsigned int from, unsigned int to);

/* "?" for a number that is no state. */
const char *sm_name(const struct sm_table *t, unsigned int state);

/*
 * NULL, or what is wrong with the table itself: a state without a name, a way to
 * a state that is not there, a final state that goes on, one that cannot be
 * reached, one that is not final and leads nowhere.
 */
const char *sm_flaw(const struct sm_table *t);

#endif
