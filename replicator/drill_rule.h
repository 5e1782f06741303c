/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's rules of a drill: when one may begin, that it makes way for the standby, how long it lives without being asked
 * for, and when it is killed. Pure; drill_shell.c has the process, the simulator another one. Control thread.
 */
#ifndef REPLICATOR_DRILL_RULE_H
#define REPLICATOR_DRILL_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"
#include "lib/compiler.h"

struct backup;

/* Told to end, it is killed after so long: longer than the drill gives the copy's own builder to end. */
#define DRILL_KILL_NS (75 * NS_PER_SEC)

enum drill_stage {
	DRILL_STAGE_NONE, /* no process */
	DRILL_STAGE_UNDER_WAY,
	DRILL_STAGE_TOLD,     /* ... to end */
	DRILL_STAGE_CLEANING, /* the process only removes what another one has left */
};

struct drill_rule {
	enum drill_stage stage;
	uint64_t lease_ns; /* CLOCK_NEVER: none; as the next */
	uint64_t kill_ns;
	bool left; /* cleaning up has failed; the next drill tries again */
};

enum drill_due {
	DRILL_DUE_NOTHING,
	DRILL_DUE_END,	/* nobody has asked for it: drill_rule_end() */
	DRILL_DUE_KILL, /* it does not end: kill it */
};

void drill_rule_init(struct drill_rule *r);

/* Is the standby being kept up to date? Without a session no epoch comes, and a drill takes one that comes. */
bool drill_rule_may(const struct backup *core);
/*
 * Why a drill must end, NULL: it need not. After each step of the core and before its actions are carried out (P4): what the
 * core has just decided needs nothing that a drill has.
 */
const char *drill_rule_must_end(const struct backup *core);

/* 0; -EBUSY: there is a process; -ENOTCONN: it may not (`may`: drill_rule_may(), and all that the shell needs is there). */
MUST_CHECK int drill_rule_check(const struct drill_rule *r, bool may);
void drill_rule_begun(struct drill_rule *r, uint64_t now);
/* Somebody asks for it: for DRILL_LEASE_MS more nobody need to. */
void drill_rule_asked(struct drill_rule *r, uint64_t now);
/* True: it is to be told now, and the standby says nothing to it any more. */
MUST_CHECK bool drill_rule_end(struct drill_rule *r, uint64_t now);
enum drill_due drill_rule_due(struct drill_rule *r, uint64_t now);
uint64_t drill_rule_deadline(const struct drill_rule *r);

/*
 * The process has ended; tidy: nothing of it is left, busy: it was none, another one has the lock. True: what it has left is
 * to be removed, and drill_rule_cleaning() follows if somebody does.
 */
bool drill_rule_gone(struct drill_rule *r, bool tidy, bool busy);
void drill_rule_cleaning(struct drill_rule *r);

#endif
