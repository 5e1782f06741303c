/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What written plans are made of: for the tables of scenario.c and scenario_drill.c. */
#ifndef TESTS_SIM_SCENARIO_IMPL_H
#define TESTS_SIM_SCENARIO_IMPL_H

#include "tests/sim/sim.h"

enum outcome {
	PROTECTED,    /* both sides work */
	TAKEN_OVER,   /* the VM runs at B, nothing is left at A */
	STANDING,     /* A is gone, B waits for the operator */
	HELD,	      /* the guest runs at A, its output is held */
	ALONE,	      /* the guest runs at A, its output is open */
	ENDED,	      /* no protection, nothing left behind */
	ONE_SERVES,   /* at A, protected or not, or at B */
	UNTOUCHED,    /* both sides work, and have never stopped */
	MOVED,	      /* the VM was moved to B: nothing is lost, it hardly stood still */
	STAYED,	      /* it was not, and both sides work */
	WORLD_IS_WELL /* whatever the oracle accepts */
};

#define FAULT(what, where, ...)                                         \
	{                                                               \
		.type = FAULT_##what, .side = SIDE_##where, __VA_ARGS__ \
	}
/* When most faults strike: the pair has long been protected. */
#define T5 (5 * SEC)
#define HOLD POLICY_HOLD
#define PRIMARY POLICY_PRIMARY_WINS
#define BACKUP POLICY_BACKUP_WINS
#define ARBITER POLICY_ARBITER
#define MEMORY BACKUP_ACK_MEMORY
#define FLUSH BACKUP_ACK_FLUSH
#define EPOCH BACKUP_ACK_EPOCH
#define DISK(what, ...) FAULT(DISK_##what, __VA_ARGS__, .duration = SEC)
#define T3 (3 * SEC)

struct scenario {
	const char *name;
	enum peer_loss_policy policy;
	enum outcome outcome;
	struct fault fault[4];
};

struct disk_scenario {
	int disks;
	enum backup_ack_mode ack_mode;
	struct scenario s;
};

/*
 * Plans that strike each of a worker's actions in turn, from its first one on and in the steady state, or from the
 * instant of the first fault on; or, if it is not an action that is struck, one instant after the other.
 */
struct sweep {
	const char *name;
	enum peer_loss_policy policy;
	struct fault fault[3];
};

/* What comes of the drills of a plan. */
enum drill_end {
	PASSES,
	MAKES_WAY,
	FAILS,
	REFUSED,
	ENDS /* somehow */
};

struct drill_scenario {
	enum drill_end end;
	struct disk_scenario d;
};

extern const struct drill_scenario drill_scenarios[];
extern const unsigned int n_drill_scenarios;
/* Without and with disks. */
extern const struct sweep drill_sweeps[];
extern const unsigned int n_drill_sweeps;

#endif
