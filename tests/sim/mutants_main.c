/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim-mutants: breaks one rule of the cores after the other and demands that the oracle sees it. An
 * oracle that is blind to a broken rule proves nothing about the rule.
 *
 *	sim-mutants [--seeds N]      all, by seeds, and some by a written plan; the last line is "mutations: planted= caught="
 *	sim-mutants --mutate K [--seed S] [--trace]   that one; stops at the first violation
 *	sim-mutants --mutate K --scenario NAME|all    that one in a written plan (scenario.h)
 *
 * Exit status 0 if each was caught; with --mutate, if that one was.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk/mutant.h"
#include "lib/log.h"
#include "replicator/mutant.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim.h"

int core_mutant;
int disk_mutant;

static struct sim world;

/* Behind those of the cores: of the guard of a disk that a drill looks at. */
#define GUARD_FIRST DISK_MUTANT_VIEW_EARLY
#define GUARD_LAST DISK_MUTANT_WAITS_AFTER_VIEW
#define ALL_COUNT (MUTANT_COUNT + GUARD_LAST - GUARD_FIRST + 1)
#define GUARD(name) [MUTANT_COUNT + DISK_MUTANT_##name - GUARD_FIRST]

static const char *const names[ALL_COUNT] = {
	[MUTANT_NONE] = "none",
	[MUTANT_RELEASE_WHEN_SENT] = "release-when-sent",
	[MUTANT_RELEASE_AHEAD] = "release-ahead",
	[MUTANT_ACK_ANY_TERM] = "ack-any-term",
	[MUTANT_ACK_ANY_EPOCH] = "ack-any-epoch",
	[MUTANT_OPEN_WHEN_LOST] = "open-when-lost",
	[MUTANT_OPEN_ON_LINK_DOWN] = "open-on-link-down",
	[MUTANT_OPEN_WITHOUT_BYE_OK] = "open-without-bye-ok",
	[MUTANT_NO_LEASE] = "no-lease",
	[MUTANT_PROTECTED_SUSPECT] = "protected-suspect",
	[MUTANT_DEPOSE_ANY_TERM] = "depose-any-term",
	[MUTANT_NO_RECONNECT] = "no-reconnect",
	[MUTANT_NO_OUTSTANDING_BOUND] = "no-outstanding-bound",
	[MUTANT_OPEN_DURING_PAUSE] = "open-during-pause",
	[MUTANT_COPY_UNSYNCED] = "copy-unsynced",
	[MUTANT_DROP_IGNORED] = "drop-ignored",
	[MUTANT_ERROR_TO_GUEST] = "error-to-guest",
	[MUTANT_NO_DISKS_LEAVE] = "no-disks-leave",
	[MUTANT_RELEASE_AFTER_HANDOVER] = "release-after-handover",
	[MUTANT_ALONE_AFTER_HANDOVER] = "alone-after-handover",
	[MUTANT_HANDOVER_FORGOTTEN] = "handover-forgotten",
	[MUTANT_RELEASE_LATE] = "release-late",
	[MUTANT_ALONE_WITHOUT_VOTE] = "alone-without-vote",
	[MUTANT_OUTBID] = "outbid",
	[MUTANT_FORCE_UNASKED] = "force-unasked",
	[MUTANT_TERM_NOT_KEPT] = "term-not-kept",
	[MUTANT_ASKED_FORGOTTEN] = "asked-forgotten",
	[MUTANT_OVERTAKEN] = "overtaken",
	[MUTANT_LAST_UNDRAINED] = "last-undrained",
	[MUTANT_LEFT_PARKED] = "left-parked",
	[MUTANT_HANDOVER_EARLY] = "handover-early",
	[MUTANT_HANDOVER_RUNNING] = "handover-running",
	[MUTANT_ACK_AHEAD] = "ack-ahead",
	[MUTANT_ACK_AFTER_DECISION] = "ack-after-decision",
	[MUTANT_ACTIVATE_UNAPPLIED] = "activate-unapplied",
	[MUTANT_KEEP_PARTIAL] = "keep-partial",
	[MUTANT_ACTIVATE_UNDER_HOLD] = "activate-under-hold",
	[MUTANT_ACTIVATE_EARLY] = "activate-early",
	[MUTANT_COMMIT_ANY_EPOCH] = "commit-any-epoch",
	[MUTANT_NO_TERM] = "no-term",
	[MUTANT_TELL_EARLY] = "tell-early",
	[MUTANT_ABANDON_ON_LOSS] = "abandon-on-loss",
	[MUTANT_PROTECTING_SUSPECT] = "protecting-suspect",
	[MUTANT_COMMIT_WITHOUT_DISKS] = "commit-without-disks",
	[MUTANT_COMMIT_WITHOUT_MEMORY] = "commit-without-memory",
	[MUTANT_ACK_BEFORE_HELD] = "ack-before-held",
	[MUTANT_ACK_NOT_DURABLE] = "ack-not-durable",
	[MUTANT_RUN_BEFORE_DISKS] = "run-before-disks",
	[MUTANT_DISKS_OTHER_EPOCH] = "disks-other-epoch",
	[MUTANT_FORGET_LEAVE] = "forget-leave",
	[MUTANT_DISK_FAILURE_IGNORED] = "disk-failure-ignored",
	[MUTANT_HANDOVER_IGNORED] = "handover-ignored",
	[MUTANT_ACTIVATE_WITHOUT_VOTE] = "activate-without-vote",
	[MUTANT_OUTBID_PRIMARY] = "outbid-primary",
	[MUTANT_VOTE_UNNEEDED] = "vote-unneeded",
	[MUTANT_LEASE_CUT_SHORT] = "lease-cut-short",
	[MUTANT_FORCED_TERM] = "forced-term",
	[MUTANT_ASKED_NOT_KEPT] = "asked-not-kept",
	[MUTANT_ABANDON_OUTVOTED] = "abandon-outvoted",
	[MUTANT_JUMP_ENDS_LEASE] = "jump-ends-lease",
	[MUTANT_TAKE_DISKS_BACK] = "take-disks-back",
	[MUTANT_SILENT_WHILE_ACTIVATING] = "silent-while-activating",
	[MUTANT_SLEEP_IS_SILENCE] = "sleep-is-silence",
	[MUTANT_HEARD_WHEN_READ] = "heard-when-read",
	[MUTANT_DRILL_FED_UNSAID] = "drill-fed-unsaid",
	[MUTANT_DRILL_TAKEN_IS_SETTLED] = "drill-taken-is-settled",
	[MUTANT_DRILL_UNSETTLED] = "drill-unsettled",
	[MUTANT_DRILL_WINDOW_STAYS] = "drill-window-stays",
	[MUTANT_DRILL_UNCONFIRMED] = "drill-unconfirmed",
	[MUTANT_DRILL_MARKS_OF_NEXT] = "drill-marks-of-next",
	[MUTANT_DRILL_ANY_STATE_OF_CPU] = "drill-any-state-of-cpu",
	[MUTANT_DRILL_ANY_STATE] = "drill-any-state",
	[MUTANT_DRILL_TWICE] = "drill-twice",
	[MUTANT_DRILL_IN_THE_WAY] = "drill-in-the-way",
	[MUTANT_DRILL_OUTLIVES_STANDBY] = "drill-outlives-standby",
	[MUTANT_DRILL_WITHOUT_LEASE] = "drill-without-lease",
	[MUTANT_DRILL_SPARED] = "drill-spared",
	[MUTANT_DRILL_LEFT_BEHIND] = "drill-left-behind",
	GUARD(VIEW_EARLY) = "drill-view-early",
	GUARD(OVERWRITTEN_UNSAVED) = "drill-overwritten-unsaved",
	GUARD(HOLD_FOR_EVER) = "drill-hold-for-ever",
	GUARD(JOURNAL_FILLS) = "drill-journal-fills",
	GUARD(HOLD_OUTLIVES_VIEW) = "drill-hold-outlives-view",
	GUARD(WAITS_AFTER_VIEW) = "drill-waits-after-view",
};

/* What is too rare for that many seeds has a written plan. */
static const char *const plans[ALL_COUNT] = {
	[MUTANT_JUMP_ENDS_LEASE] = "vote-clock-jumps-forced",
	[MUTANT_DRILL_WINDOW_STAYS] = "drill-at-any-time-of-a-failover",
	[MUTANT_TAKE_DISKS_BACK] = "disk-server-dies-backup-let-run",
};

static void plant(int mutant)
{
	core_mutant = mutant < MUTANT_COUNT ? mutant : MUTANT_NONE;
	disk_mutant = mutant < MUTANT_COUNT ? DISK_MUTANT_NONE
					    : mutant - MUTANT_COUNT + GUARD_FIRST;
}

/* True if a violation was seen within n seeds. Says what it was. */
static bool hunt(int mutant, uint64_t first, uint64_t n, bool trace)
{
	plant(mutant);
	for (uint64_t i = 0; i < n; i++) {
		if (sim_run(&world, first + i, trace))
			continue;
		printf("%-22s seed %" PRIu64 ": %s\n", names[mutant], first + i, world.why);
		return true;
	}
	if (n > 1 && plans[mutant]) {
		printf("%-22s ", names[mutant]);
		if (scenario_run(&world, plans[mutant], trace))
			return true;
	}
	printf("%-22s NOT CAUGHT in %" PRIu64 " seeds\n", names[mutant], n);
	return false;
}

/* In a process of its own: an assertion of the core catches a mutant just as well. */
static bool caught(int mutant, uint64_t n)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		bool ok = hunt(mutant, 1, n, false);

		fflush(stdout);
		_exit(ok ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
		printf("%-22s by an assertion\n", names[mutant]);
		return true;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int all(uint64_t n)
{
	int count = 0;

	for (int k = MUTANT_NONE + 1; k < ALL_COUNT; k++)
		count += caught(k, n);
	printf("mutations: planted=%d caught=%d\n", ALL_COUNT - 1, count);
	return count != ALL_COUNT - 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seeds", required_argument, NULL, 'n'}, {"mutate", required_argument, NULL, 'm'},
		{"seed", required_argument, NULL, 's'},	 {"scenario", required_argument, NULL, 'c'},
		{"trace", no_argument, NULL, 't'},	 {NULL, 0, NULL, 0},
	};
	uint64_t n = 20000;
	uint64_t first = 1;
	int mutant = 0;
	const char *scenario = NULL;
	bool trace = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			n = strtoull(optarg, NULL, 10);
			break;
		case 'm':
			mutant = (int)strtol(optarg, NULL, 10);
			break;
		case 's':
			first = strtoull(optarg, NULL, 10);
			n = 1;
			break;
		case 'c':
			scenario = optarg;
			break;
		case 't':
			trace = true;
			break;
		default:
			return 2;
		}
	}
	(void)!log_set_level(NULL, LOG_AT_ERR);
	if (mutant < 0 || mutant >= ALL_COUNT || !names[mutant] || optind != argc)
		return 2;
	plant(mutant);
	if (scenario)
		return scenario_run(&world, scenario, trace);
	return mutant ? !hunt(mutant, first, n, trace) : all(n);
}
