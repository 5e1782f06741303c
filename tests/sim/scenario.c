/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See scenario.h. Each plan runs with several seeds: other delays, other phases of the epochs. */
#include "tests/sim/scenario.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/scenario_impl.h"

#define ROUNDS 20
#define ACTIONS 60 /* so far into the run a process dies or stops at each of its actions */

#define FAILURE SEC
/* From the last word of a dead primary to its VM running here, the domain's completion included. */
#define FAILOVER_MAX (FAILURE + 500 * MS)
/* From the last act of a guest at A to its first one at B: its last epoch, three words, the domain's completion. */
#define MOVE_MAX (600 * MS)
/* How far apart are the instants at which a sweep strikes that has no action to strike at. */
#define STEP (5 * MS)

static const struct scenario scenarios[] = {
	{"host-death", BACKUP, TAKEN_OVER, {FAULT(KILL_HOST, A, .at = T5)}},
	{"host-death-hold", HOLD, STANDING, {FAULT(KILL_HOST, A, .at = T5)}},
	{"host-death-primary-wins", PRIMARY, STANDING, {FAULT(KILL_HOST, A, .at = T5)}},
	{"host-death-operator",
	 HOLD,
	 TAKEN_OVER,
	 {FAULT(KILL_HOST, A, .at = T5), FAULT(FAILOVER, B, .at = 8 * SEC)}},
	{"failover-forced", HOLD, TAKEN_OVER, {FAULT(FAILOVER, B, .at = T5, .arg = 1)}},
	{"failover-refused", HOLD, PROTECTED, {FAULT(FAILOVER, B, .at = T5)}},
	{"link-cut", BACKUP, TAKEN_OVER, {FAULT(CUT, A, .at = T5, .duration = 3 * SEC, .arg = 1)}},
	{"link-cut-hold",
	 HOLD,
	 PROTECTED,
	 {FAULT(CUT, A, .at = T5, .duration = 3 * SEC, .arg = 1)}},
	{"link-cut-primary-wins",
	 PRIMARY,
	 PROTECTED,
	 {FAULT(CUT, A, .at = T5, .duration = 3 * SEC, .arg = 1)}},
	{"link-cut-short",
	 BACKUP,
	 PROTECTED,
	 {FAULT(CUT, A, .at = T5, .duration = 500 * MS, .arg = 1)}},
	{"link-cut-to-backup", BACKUP, TAKEN_OVER, {FAULT(CUT, B, .at = T5, .duration = 3 * SEC)}},
	{"link-cut-to-primary",
	 BACKUP,
	 WORLD_IS_WELL,
	 {FAULT(CUT, A, .at = T5, .duration = 3 * SEC)}},
	{"link-reset", BACKUP, PROTECTED, {FAULT(RESET, A, .at = T5)}},
	{"backup-death", BACKUP, HELD, {FAULT(KILL_HOST, B, .at = T5)}},
	{"backup-death-hold", HOLD, HELD, {FAULT(KILL_HOST, B, .at = T5)}},
	{"backup-death-primary-wins", PRIMARY, ALONE, {FAULT(KILL_HOST, B, .at = T5)}},
	{"backup-death-unprotect-force",
	 BACKUP,
	 ENDED,
	 {FAULT(KILL_HOST, B, .at = T5), FAULT(UNPROTECT, A, .at = 8 * SEC, .arg = 1)}},
	{"primary-worker-killed", BACKUP, PROTECTED, {FAULT(KILL_WORKER, A, .at = T5)}},
	{"backup-worker-killed", BACKUP, PROTECTED, {FAULT(KILL_WORKER, B, .at = T5)}},
	{"primary-stopped",
	 BACKUP,
	 TAKEN_OVER,
	 {FAULT(STOP_WORKER, A, .at = T5, .duration = 3 * SEC)}},
	{"primary-stopped-hold",
	 HOLD,
	 PROTECTED,
	 {FAULT(STOP_WORKER, A, .at = T5, .duration = 3 * SEC)}},
	{"primary-stopped-primary-wins",
	 PRIMARY,
	 PROTECTED,
	 {FAULT(STOP_WORKER, A, .at = T5, .duration = 1050 * MS)}},
	{"backup-stopped",
	 BACKUP,
	 PROTECTED,
	 {FAULT(STOP_WORKER, B, .at = T5, .duration = 3 * SEC)}},
	{"backup-stopped-primary-wins",
	 PRIMARY,
	 PROTECTED,
	 {FAULT(STOP_WORKER, B, .at = T5, .duration = 3 * SEC)}},
	{"primary-host-frozen",
	 BACKUP,
	 TAKEN_OVER,
	 {FAULT(FREEZE_HOST, A, .at = T5, .duration = 3 * SEC)}},
	{"primary-host-frozen-with-its-clock",
	 BACKUP,
	 TAKEN_OVER,
	 {FAULT(FREEZE_HOST, A, .at = T5, .duration = 3 * SEC, .arg = 1)}},
	{"slow-link", BACKUP, PROTECTED, {FAULT(SLOW, A, .at = T5, .duration = 3 * SEC)}},
	{"dirty-guest", HOLD, PROTECTED, {FAULT(DIRTY, A, .at = T5, .duration = SEC)}},
	{"unprotect", BACKUP, ENDED, {FAULT(UNPROTECT, A, .at = T5)}},
	{"guest-shutdown", BACKUP, ENDED, {FAULT(GUEST, A, .at = T5, .arg = LEAVE_GUEST_SHUTDOWN)}},
	{"guest-changed",
	 BACKUP,
	 PROTECTED,
	 {FAULT(GUEST, A, .at = T5, .arg = LEAVE_GUEST_CHANGED)}},
	{"standby-fails-behind-a-stall",
	 BACKUP,
	 PROTECTED,
	 {FAULT(TCP_STALL, A, .at = T5, .duration = 800 * MS), FAULT(STANDBY, B, .at = T5)}},
	{"standby-fails", BACKUP, PROTECTED, {FAULT(STANDBY, B, .at = T5)}},
	{"standby-completes-itself", BACKUP, PROTECTED, {FAULT(STANDBY, B, .at = T5, .arg = 1)}},
	{"standby-completes-itself-hold", HOLD, PROTECTED, {FAULT(STANDBY, B, .at = T5, .arg = 1)}},
};

/* The link between the hosts, both ways. */
#define LINK_CUT FAULT(CUT, A, .at = T5, .duration = 3 * SEC, .arg = 1)
/* Nobody's, A's, B's sight of the arbiter. */
#define UNSEEN FAULT(ARBITER_CUT, A, .at = T5, .duration = 3 * SEC, .arg = 1)
#define UNSEEN_BY_A FAULT(ARBITER_CUT, A, .at = T5, .duration = 3 * SEC)
#define UNSEEN_BY_B FAULT(ARBITER_CUT, B, .at = T5, .duration = 3 * SEC)
#define ARBITER_IS(what, ...) FAULT(ARBITER_##what, A, .at = T5, __VA_ARGS__)

static const struct scenario vote_scenarios[] = {
	{"vote-host-death", ARBITER, TAKEN_OVER, {FAULT(KILL_HOST, A, .at = T5)}},
	{"vote-backup-death", ARBITER, ALONE, {FAULT(KILL_HOST, B, .at = T5)}},
	{"vote-backup-reboots",
	 ARBITER,
	 PROTECTED,
	 {FAULT(KILL_HOST, B, .at = T5, .duration = 3 * SEC, .flag = true)}},
	{"vote-link-cut", ARBITER, ONE_SERVES, {LINK_CUT}},
	{"vote-link-cut-seen-by-backup", ARBITER, TAKEN_OVER, {LINK_CUT, UNSEEN_BY_A}},
	{"vote-link-cut-seen-by-primary", ARBITER, PROTECTED, {LINK_CUT, UNSEEN_BY_B}},
	{"vote-link-cut-unseen", ARBITER, PROTECTED, {LINK_CUT, UNSEEN}},
	{"vote-link-cut-short",
	 ARBITER,
	 PROTECTED,
	 {FAULT(CUT, A, .at = T5, .duration = 500 * MS, .arg = 1)}},
	{"vote-link-cut-to-backup",
	 ARBITER,
	 TAKEN_OVER,
	 {FAULT(CUT, B, .at = T5, .duration = 3 * SEC)}},
	{"vote-link-cut-to-primary",
	 ARBITER,
	 PROTECTED,
	 {FAULT(CUT, A, .at = T5, .duration = 3 * SEC)}},
	{"vote-arbiter-dies", ARBITER, UNTOUCHED, {ARBITER_IS(DIES, .duration = 4 * SEC)}},
	{"vote-arbiter-unseen", ARBITER, UNTOUCHED, {UNSEEN}},
	{"vote-host-death-arbiter-restarts",
	 ARBITER,
	 TAKEN_OVER,
	 {ARBITER_IS(DIES, .duration = 4 * SEC), FAULT(KILL_HOST, A, .at = T5)}},
	{"vote-backup-death-arbiter-restarts",
	 ARBITER,
	 ALONE,
	 {ARBITER_IS(DIES, .duration = 4 * SEC), FAULT(KILL_HOST, B, .at = T5)}},
	{"vote-link-cut-arbiter-killed-in-the-vote",
	 ARBITER,
	 ONE_SERVES,
	 {LINK_CUT, FAULT(ARBITER_DIES, A, .at = T5 + SEC, .duration = 500 * MS)}},
	{"vote-grant-lost",
	 ARBITER,
	 TAKEN_OVER,
	 {ARBITER_IS(MUTE, .duration = 4 * SEC), FAULT(KILL_HOST, A, .at = T5)}},
	{"vote-grant-lost-link-cut",
	 ARBITER,
	 ONE_SERVES,
	 {ARBITER_IS(MUTE, .duration = 2 * SEC), LINK_CUT}},
	{"vote-grant-late-and-doubled",
	 ARBITER,
	 ONE_SERVES,
	 {ARBITER_IS(SLOW, .duration = 3 * SEC), ARBITER_IS(DOUBLE, .duration = 6 * SEC),
	  LINK_CUT}},
	{"vote-primary-frozen",
	 ARBITER,
	 TAKEN_OVER,
	 {FAULT(FREEZE_HOST, A, .at = T5, .duration = 3 * SEC)}},
	{"vote-primary-frozen-link-cut",
	 ARBITER,
	 TAKEN_OVER,
	 {FAULT(FREEZE_HOST, A, .at = T5, .duration = 3 * SEC), LINK_CUT}},
	{"vote-backup-frozen",
	 ARBITER,
	 PROTECTED,
	 {FAULT(FREEZE_HOST, B, .at = T5, .duration = 3 * SEC)}},
	{"vote-primary-stopped",
	 ARBITER,
	 TAKEN_OVER,
	 {FAULT(STOP_WORKER, A, .at = T5, .duration = 3 * SEC)}},
	{"vote-backup-stopped",
	 ARBITER,
	 PROTECTED,
	 {FAULT(STOP_WORKER, B, .at = T5, .duration = 3 * SEC)}},
	{"vote-primary-worker-killed", ARBITER, PROTECTED, {FAULT(KILL_WORKER, A, .at = T5)}},
	{"vote-backup-worker-killed", ARBITER, PROTECTED, {FAULT(KILL_WORKER, B, .at = T5)}},
	{"vote-primary-worker-killed-in-the-vote",
	 ARBITER,
	 ALONE,
	 {FAULT(KILL_HOST, B, .at = T5), ARBITER_IS(SLOW, .duration = 3 * SEC),
	  FAULT(KILL_WORKER, A, .at = T5 + 1100 * MS)}},
	{"vote-hosts-restart-primary-first",
	 ARBITER,
	 WORLD_IS_WELL,
	 {FAULT(KILL_HOST, A, .at = T5, .duration = 2 * SEC, .flag = true),
	  FAULT(KILL_HOST, B, .at = T5 + 1500 * MS, .duration = 2 * SEC, .flag = true)}},
	{"vote-hosts-restart-backup-first",
	 ARBITER,
	 WORLD_IS_WELL,
	 {FAULT(KILL_HOST, B, .at = T5, .duration = 2 * SEC, .flag = true),
	  FAULT(KILL_HOST, A, .at = T5 + 1500 * MS, .duration = 2 * SEC, .flag = true)}},
	{"vote-failover-forced", ARBITER, TAKEN_OVER, {FAULT(FAILOVER, B, .at = T5, .arg = 1)}},
	{"vote-failover-refused", ARBITER, UNTOUCHED, {FAULT(FAILOVER, B, .at = T5)}},
	{"vote-two-operators",
	 ARBITER,
	 ONE_SERVES,
	 {LINK_CUT, FAULT(FAILOVER, B, .at = T5 + 950 * MS, .arg = 1),
	  FAULT(UNPROTECT, A, .at = T5 + 950 * MS, .arg = 1)}},
	{"vote-two-operators-linked",
	 ARBITER,
	 ONE_SERVES,
	 {FAULT(FAILOVER, B, .at = T5, .arg = 1), FAULT(UNPROTECT, A, .at = T5, .arg = 1)}},
	{"vote-unprotect-backup-dead",
	 ARBITER,
	 ENDED,
	 {FAULT(KILL_HOST, B, .at = T5), FAULT(UNPROTECT, A, .at = T5 + 500 * MS)}},
	{"vote-clock-jumps-primary",
	 ARBITER,
	 PROTECTED,
	 {FAULT(CLOCK_JUMP, A, .at = T5, .duration = 3600 * SEC)}},
	{"vote-clock-jumps-forced",
	 ARBITER,
	 TAKEN_OVER,
	 {FAULT(TCP_STALL, A, .at = T5 - 60 * MS, .duration = 700 * MS),
	  FAULT(FAILOVER, B, .at = T5, .arg = 1),
	  FAULT(CLOCK_JUMP, B, .at = T5 + 20 * MS, .duration = 3600 * SEC)}},
	{"vote-clock-jumps-backup",
	 ARBITER,
	 PROTECTED,
	 {FAULT(CLOCK_JUMP, B, .at = T5, .duration = 3600 * SEC)}},
};

/* The failure matrix of docs/disk.md. */
static const struct disk_scenario disk_scenarios[] = {
	{2, MEMORY, {"disk-host-death", BACKUP, TAKEN_OVER, {FAULT(KILL_HOST, A, .at = T5)}}},
	{2, FLUSH, {"disk-host-death-flush", BACKUP, TAKEN_OVER, {FAULT(KILL_HOST, A, .at = T5)}}},
	{3, EPOCH, {"disk-host-death-epoch", BACKUP, TAKEN_OVER, {FAULT(KILL_HOST, A, .at = T5)}}},
	{2,
	 MEMORY,
	 {"disk-host-death-slow-journal",
	  BACKUP,
	  WORLD_IS_WELL,
	  {DISK(SLOW, B, .at = T5 - 300 * MS), FAULT(KILL_HOST, A, .at = T5)}}},
	{2,
	 EPOCH,
	 {"disk-link-cut",
	  BACKUP,
	  TAKEN_OVER,
	  {FAULT(CUT, A, .at = T5, .duration = 3 * SEC, .arg = 1)}}},
	{2,
	 FLUSH,
	 {"disk-link-cut-hold",
	  HOLD,
	  PROTECTED,
	  {FAULT(CUT, A, .at = T5, .duration = 3 * SEC, .arg = 1)}}},
	{2, FLUSH, {"disk-link-reset", BACKUP, PROTECTED, {FAULT(RESET, A, .at = T5)}}},
	{2,
	 FLUSH,
	 {"disk-primary-worker-killed", BACKUP, PROTECTED, {FAULT(KILL_WORKER, A, .at = T5)}}},
	{2,
	 FLUSH,
	 {"disk-backup-worker-killed", BACKUP, PROTECTED, {FAULT(KILL_WORKER, B, .at = T5)}}},
	{2,
	 MEMORY,
	 {"disk-backup-reboots",
	  BACKUP,
	  PROTECTED,
	  {FAULT(KILL_HOST, B, .at = T5, .duration = 2 * SEC, .flag = true)}}},
	{2,
	 MEMORY,
	 {"disk-backup-reboots-slow-journal",
	  BACKUP,
	  PROTECTED,
	  {DISK(SLOW, B, .at = T5 - 300 * MS),
	   FAULT(KILL_HOST, B, .at = T5, .duration = 2 * SEC, .flag = true)}}},
	{2, FLUSH, {"disk-error", BACKUP, TAKEN_OVER, {DISK(ERROR, A, .at = T5)}}},
	{1, MEMORY, {"disk-error-hold", HOLD, TAKEN_OVER, {DISK(ERROR, A, .at = T5)}}},
	{3, EPOCH, {"disk-error-primary-wins", PRIMARY, TAKEN_OVER, {DISK(ERROR, A, .at = T5)}}},
	{2,
	 MEMORY,
	 {"disk-error-link-cut",
	  PRIMARY,
	  WORLD_IS_WELL,
	  {DISK(ERROR, A, .at = T5), FAULT(CUT, A, .at = T5, .duration = 3 * SEC, .arg = 1)}}},
	{1,
	 MEMORY,
	 {"disk-error-no-answer",
	  PRIMARY,
	  TAKEN_OVER,
	  {FAULT(CUT, A, .at = T5, .duration = 4 * SEC), DISK(ERROR, A, .at = T5)}}},
	{1,
	 MEMORY,
	 {"disk-error-backup-dead",
	  HOLD,
	  HELD,
	  {FAULT(KILL_HOST, B, .at = T5), DISK(ERROR, A, .at = T5 + 100 * MS)}}},
	{1,
	 MEMORY,
	 {"disk-error-backup-dead-primary-wins",
	  PRIMARY,
	  HELD,
	  {FAULT(KILL_HOST, B, .at = T5), DISK(ERROR, A, .at = T5)}}},
	{1,
	 MEMORY,
	 {"disk-error-backup-reboots",
	  PRIMARY,
	  PROTECTED,
	  {FAULT(KILL_HOST, B, .at = T5, .duration = 3 * SEC, .flag = true),
	   DISK(ERROR, A, .at = T5)}}},
	{1,
	 MEMORY,
	 {"disk-error-both-hosts",
	  BACKUP,
	  WORLD_IS_WELL,
	  {DISK(ERROR, A, .at = T5), DISK(ERROR, B, .at = T5 + 50 * MS)}}},
	{1,
	 MEMORY,
	 {"disk-error-unprotected",
	  PRIMARY,
	  ALONE,
	  {FAULT(KILL_HOST, B, .at = T5), DISK(ERROR, A, .at = 8 * SEC)}}},
	{2, FLUSH, {"disk-error-vote", ARBITER, TAKEN_OVER, {DISK(ERROR, A, .at = T5)}}},
	{2,
	 FLUSH,
	 {"disk-error-vote-arbiter-dead",
	  ARBITER,
	  WORLD_IS_WELL,
	  {DISK(ERROR, A, .at = T5), FAULT(ARBITER_DIES, A, .at = T5, .duration = 5 * SEC)}}},
	{2,
	 MEMORY,
	 {"disk-error-vote-backup-dies",
	  ARBITER,
	  ALONE,
	  {DISK(ERROR, A, .at = T5), FAULT(KILL_HOST, B, .at = T5 + 5 * MS)}}},
	{2, EPOCH, {"disk-link-cut-vote", ARBITER, ONE_SERVES, {LINK_CUT}}},
	{2, MEMORY, {"disk-drops-out", BACKUP, PROTECTED, {DISK(DROP, A, .at = T5)}}},
	{2, MEMORY, {"disk-server-dies-primary", BACKUP, PROTECTED, {DISK(SERVER, A, .at = T5)}}},
	{2, EPOCH, {"disk-server-dies-backup", BACKUP, PROTECTED, {DISK(SERVER, B, .at = T5)}}},
	{2, MEMORY, {"disk-fails-backup", BACKUP, PROTECTED, {DISK(ERROR, B, .at = T5)}}},
	{1,
	 MEMORY,
	 {"disk-fails-backup-host-death",
	  BACKUP,
	  WORLD_IS_WELL,
	  {DISK(ERROR, B, .at = T5), FAULT(KILL_HOST, A, .at = T5 + 20 * MS)}}},
	{2,
	 MEMORY,
	 {"disk-fails-backup-held",
	  PRIMARY,
	  PROTECTED,
	  {DISK(ERROR, B, .at = T5, .upon = MOMENT_HELD, .replaced = true)}}},
	{2,
	 EPOCH,
	 {"disk-server-dies-backup-active",
	  HOLD,
	  PROTECTED,
	  {DISK(SERVER, B, .at = T5, .upon = MOMENT_ACTIVE),
	   FAULT(FAILOVER, B, .at = T5, .arg = 1)}}},
	{3,
	 MEMORY,
	 {"disk-server-dies-backup-let-run",
	  PRIMARY,
	  TAKEN_OVER,
	  {DISK(SERVER, B, .at = T5, .upon = MOMENT_B + BACT_RUN), DISK(ERROR, A, .at = T5)}}},
	{2,
	 MEMORY,
	 {"disk-fails-backup-let-run",
	  BACKUP,
	  TAKEN_OVER,
	  {DISK(ERROR, B, .at = T5, .upon = MOMENT_B + BACT_RUN), FAULT(KILL_HOST, A, .at = T5)}}},
	{2,
	 MEMORY,
	 {"disk-journal-full",
	  HOLD,
	  PROTECTED,
	  {FAULT(DISK_SLOW, B, .at = T5, .duration = 4 * SEC)}}},
	{2,
	 EPOCH,
	 {"disk-journal-slow",
	  HOLD,
	  PROTECTED,
	  {FAULT(DISK_SLOW, B, .at = T5, .duration = 4 * SEC)}}},
	{2,
	 MEMORY,
	 {"disk-backup-reads-an-old-session",
	  PRIMARY,
	  PROTECTED,
	  {FAULT(KILL_WORKER, B, .at = T5),
	   FAULT(STOP_AT, B, .at = T5 + MS, .arg = 1, .flag = true, .duration = 1015 * MS)}}},
	{2, MEMORY, {"disk-unprotect", BACKUP, ENDED, {FAULT(UNPROTECT, A, .at = T5)}}},
};

#define MOVE(...) FAULT(SWITCHOVER, A, .at = T5, __VA_ARGS__)

static const struct disk_scenario switchover_scenarios[] = {
	{0, MEMORY, {"switchover", BACKUP, MOVED, {MOVE()}}},
	{0, MEMORY, {"switchover-hold", HOLD, MOVED, {MOVE()}}},
	{0, MEMORY, {"switchover-primary-wins", PRIMARY, MOVED, {MOVE()}}},
	{0, MEMORY, {"switchover-arbiter", ARBITER, MOVED, {MOVE()}}},
	{2, MEMORY, {"switchover-disks", BACKUP, MOVED, {MOVE()}}},
	{2, FLUSH, {"switchover-disks-flush", HOLD, MOVED, {MOVE()}}},
	{3, EPOCH, {"switchover-disks-epoch", PRIMARY, MOVED, {MOVE()}}},
	{0,
	 MEMORY,
	 {"switchover-slow-link",
	  BACKUP,
	  WORLD_IS_WELL,
	  {FAULT(SLOW, A, .at = T5 - SEC, .duration = 6 * SEC), MOVE()}}},
	{0,
	 MEMORY,
	 {"switchover-refused",
	  HOLD,
	  UNTOUCHED,
	  {FAULT(SWITCHOVER, A, .at = 20 * MS), FAULT(SWITCHOVER, A, .at = 60 * MS)}}},
	{0,
	 MEMORY,
	 {"switchover-refused-suspect",
	  HOLD,
	  UNTOUCHED,
	  {FAULT(UDP_CUT, A, .at = T5 - 350 * MS, .duration = 600 * MS), MOVE()}}},
	/* The guest does not suspend. */
	{0,
	 MEMORY,
	 {"switchover-guest-does-not-suspend",
	  HOLD,
	  STAYED,
	  {FAULT(NO_SUSPEND, A, .at = T5, .duration = 6 * SEC), MOVE()}}},
	{0,
	 MEMORY,
	 {"switchover-arbiter-dead",
	  ARBITER,
	  STAYED,
	  {ARBITER_IS(DIES, .duration = 4 * SEC), MOVE()}}},
	{0,
	 MEMORY,
	 {"switchover-grant-lost",
	  ARBITER,
	  STAYED,
	  {ARBITER_IS(MUTE, .duration = 4 * SEC), MOVE()}}},
	/* Nothing of it arrives, or no word comes back. */
	{1,
	 MEMORY,
	 {"switchover-link-stalls",
	  HOLD,
	  STAYED,
	  {FAULT(TCP_STALL, B, .at = T5, .duration = 3 * SEC), MOVE()}}},
	{1,
	 MEMORY,
	 {"switchover-acks-stall",
	  HOLD,
	  STAYED,
	  {FAULT(TCP_STALL, A, .at = T5, .duration = 3 * SEC), MOVE()}}},
	{1,
	 MEMORY,
	 {"switchover-during-failover",
	  HOLD,
	  TAKEN_OVER,
	  {MOVE(), FAULT(FAILOVER, B, .at = T5 + MS, .arg = 1)}}},
	{1,
	 MEMORY,
	 {"switchover-after-failover",
	  HOLD,
	  TAKEN_OVER,
	  {FAULT(FAILOVER, B, .at = T5 - 5 * MS, .arg = 1), MOVE()}}},
	{1, MEMORY, {"switchover-twice", HOLD, MOVED, {MOVE(), MOVE()}}},
	{1,
	 MEMORY,
	 {"switchover-unprotect",
	  HOLD,
	  WORLD_IS_WELL,
	  {MOVE(), FAULT(UNPROTECT, A, .at = T5 + 5 * MS)}}},
	{1,
	 MEMORY,
	 {"switchover-disk-error", HOLD, TAKEN_OVER, {DISK(ERROR, A, .at = T5), MOVE()}}},
	{1,
	 MEMORY,
	 {"switchover-disk-fails-backup",
	  HOLD,
	  WORLD_IS_WELL,
	  {MOVE(), DISK(ERROR, B, .at = T5 + 20 * MS)}}},
	{0,
	 MEMORY,
	 {"switchover-guest-ends",
	  HOLD,
	  WORLD_IS_WELL,
	  {MOVE(), FAULT(GUEST, A, .at = T5 + 5 * MS, .arg = LEAVE_GUEST_DESTROYED)}}},
};

static const struct sweep sweeps[] = {
	{"primary-killed-at-any-action", BACKUP, {FAULT(KILL_AT, A, .flag = false)}},
	{"backup-killed-at-any-action", BACKUP, {FAULT(KILL_AT, B, .flag = false)}},
	{"primary-stopped-at-any-action", BACKUP, {FAULT(STOP_AT, A, .duration = 3 * SEC)}},
	{"backup-stopped-at-any-action", BACKUP, {FAULT(STOP_AT, B, .duration = 3 * SEC)}},
	{"primary-stopped-at-any-action-for-the-timeout",
	 PRIMARY,
	 {FAULT(STOP_AT, A, .duration = 1050 * MS)}},
	{"backup-stopped-at-any-action-for-the-timeout",
	 BACKUP,
	 {FAULT(STOP_AT, B, .duration = 1050 * MS)}},
	{"primary-killed-at-any-action-of-unprotect",
	 HOLD,
	 {FAULT(KILL_AT, A, .flag = false), FAULT(UNPROTECT, A, .at = 200 * MS)}},
	{"backup-killed-at-any-action-of-failover",
	 BACKUP,
	 {FAULT(KILL_AT, B, .flag = false), FAULT(FAILOVER, B, .at = 200 * MS, .arg = 1)}},
	{"backup-killed-at-any-action-of-a-cut",
	 BACKUP,
	 {FAULT(KILL_AT, B, .flag = false),
	  FAULT(CUT, A, .at = 200 * MS, .duration = 3 * SEC, .arg = 1)}},
	{"primary-killed-at-any-action-of-a-cut",
	 PRIMARY,
	 {FAULT(KILL_AT, A, .flag = false),
	  FAULT(CUT, A, .at = 200 * MS, .duration = 3 * SEC, .arg = 1)}},
};

static const struct sweep vote_sweeps[] = {
	{"vote-primary-killed-at-any-action-of-a-cut",
	 ARBITER,
	 {FAULT(KILL_AT, A, .at = 3 * SEC),
	  FAULT(CUT, A, .at = 3 * SEC, .duration = 3 * SEC, .arg = 1),
	  FAULT(ARBITER_CUT, B, .at = 3 * SEC, .duration = 1500 * MS)}},
	{"vote-backup-killed-at-any-action-of-a-cut",
	 ARBITER,
	 {FAULT(KILL_AT, B, .at = 3 * SEC),
	  FAULT(CUT, A, .at = 3 * SEC, .duration = 3 * SEC, .arg = 1),
	  FAULT(ARBITER_CUT, A, .at = 3 * SEC, .duration = 1500 * MS)}},
	{"vote-primary-stopped-at-any-action-of-a-cut",
	 ARBITER,
	 {FAULT(STOP_AT, A, .at = 3 * SEC, .duration = 3 * SEC),
	  FAULT(CUT, A, .at = 3 * SEC, .duration = 3 * SEC, .arg = 1)}},
	{"vote-backup-stopped-at-any-action-of-a-cut",
	 ARBITER,
	 {FAULT(STOP_AT, B, .at = 3 * SEC, .duration = 3 * SEC),
	  FAULT(CUT, A, .at = 3 * SEC, .duration = 3 * SEC, .arg = 1)}},
	{"vote-primary-killed-at-any-action", ARBITER, {FAULT(KILL_AT, A, .flag = false)}},
	{"vote-backup-killed-at-any-action-of-failover",
	 ARBITER,
	 {FAULT(KILL_AT, B, .at = 3 * SEC), FAULT(FAILOVER, B, .at = 3 * SEC, .arg = 1)}},
};

#define MOVE3 FAULT(SWITCHOVER, A, .at = T3)

/* Without and with a disk. */
static const struct sweep switchover_sweeps[] = {
	{"switchover-primary-killed-at-any-action", BACKUP, {FAULT(KILL_AT, A, .at = T3), MOVE3}},
	{"switchover-primary-killed-at-any-action-primary-wins",
	 PRIMARY,
	 {FAULT(KILL_AT, A, .at = T3), MOVE3}},
	{"switchover-primary-killed-at-any-action-in-a-cut",
	 PRIMARY,
	 {FAULT(KILL_AT, A, .at = T3), MOVE3, FAULT(CUT, A, .at = T3 + 20 * MS, .duration = T3)}},
	{"switchover-primary-killed-at-any-action-arbiter",
	 ARBITER,
	 {FAULT(KILL_AT, A, .at = T3), MOVE3}},
	{"switchover-backup-killed-at-any-action", BACKUP, {FAULT(KILL_AT, B, .at = T3), MOVE3}},
	{"switchover-backup-killed-at-any-action-hold", HOLD, {FAULT(KILL_AT, B, .at = T3), MOVE3}},
	{"switchover-backup-killed-at-any-action-arbiter",
	 ARBITER,
	 {FAULT(KILL_AT, B, .at = T3), MOVE3}},
	{"switchover-primary-stopped-at-any-action",
	 BACKUP,
	 {FAULT(STOP_AT, A, .at = T3, .duration = T3), MOVE3}},
	{"switchover-backup-stopped-at-any-action",
	 HOLD,
	 {FAULT(STOP_AT, B, .at = T3, .duration = T3), MOVE3}},
	{"switchover-peer-dies", HOLD, {FAULT(KILL_HOST, B, .at = T3), MOVE3}},
	{"switchover-peer-dies-primary-wins", PRIMARY, {FAULT(KILL_HOST, B, .at = T3), MOVE3}},
	{"switchover-peer-dies-arbiter", ARBITER, {FAULT(KILL_HOST, B, .at = T3), MOVE3}},
	{"switchover-peer-reboots",
	 BACKUP,
	 {FAULT(KILL_HOST, B, .at = T3, .duration = SEC, .flag = true), MOVE3}},
	{"switchover-primary-dies", BACKUP, {FAULT(KILL_HOST, A, .at = T3), MOVE3}},
	{"switchover-primary-dies-arbiter", ARBITER, {FAULT(KILL_HOST, A, .at = T3), MOVE3}},
	{"switchover-link-cut", BACKUP, {FAULT(CUT, A, .at = T3, .duration = T3, .arg = 1), MOVE3}},
	{"switchover-link-cut-primary-wins",
	 PRIMARY,
	 {FAULT(CUT, A, .at = T3, .duration = T3, .arg = 1), MOVE3}},
	{"switchover-link-cut-to-primary", HOLD, {FAULT(CUT, A, .at = T3, .duration = T3), MOVE3}},
	{"switchover-link-cut-to-backup",
	 ARBITER,
	 {FAULT(CUT, B, .at = T3, .duration = T3), MOVE3}},
	{"switchover-link-reset", HOLD, {FAULT(RESET, A, .at = T3), MOVE3}},
	{"switchover-standby-fails", HOLD, {FAULT(STANDBY, B, .at = T3), MOVE3}},
};

/* With one disk. */
static const struct sweep disk_sweeps[] = {
	{"disk-primary-killed-at-any-action", BACKUP, {FAULT(KILL_AT, A, .flag = false)}},
	{"disk-backup-killed-at-any-action", BACKUP, {FAULT(KILL_AT, B, .flag = false)}},
	{"disk-primary-stopped-at-any-action", BACKUP, {FAULT(STOP_AT, A, .duration = 3 * SEC)}},
	{"disk-backup-stopped-at-any-action", BACKUP, {FAULT(STOP_AT, B, .duration = 3 * SEC)}},
	{"disk-primary-killed-at-any-action-of-a-handover",
	 PRIMARY,
	 {FAULT(KILL_AT, A, .at = 3 * SEC), DISK(ERROR, A, .at = 3 * SEC)}},
	{"disk-primary-killed-at-any-action-of-a-handover-in-a-cut",
	 PRIMARY,
	 {FAULT(KILL_AT, A, .at = 3 * SEC), DISK(ERROR, A, .at = 3 * SEC),
	  FAULT(CUT, A, .at = 3 * SEC, .duration = 3 * SEC)}},
	{"disk-backup-killed-at-any-action-of-a-handover",
	 HOLD,
	 {FAULT(KILL_AT, B, .at = 3 * SEC), DISK(ERROR, A, .at = 3 * SEC)}},
	{"disk-backup-killed-at-any-action-of-a-cut",
	 BACKUP,
	 {FAULT(KILL_AT, B, .at = 3 * SEC),
	  FAULT(CUT, A, .at = 3 * SEC, .duration = 3 * SEC, .arg = 1)}},
};

/* Drills are no part of the world's faults. */
static void add(struct plan *p, const struct fault *f, unsigned int n)
{
	for (unsigned int i = 0; i < n && f[i].type != FAULT_NONE; i++) {
		if (f[i].type == FAULT_DRILL)
			p->drill[p->n_drills++] = f[i];
		else
			p->fault[p->n++] = f[i];
	}
}

static void plan_init(struct plan *p, enum peer_loss_policy policy)
{
	*p = (struct plan){
		.policy = policy,
		.timing = {.heartbeat_period_ns = 100 * MS,
			   .failure_timeout_ns = FAILURE,
			   .epoch_period_ns = 50 * MS},
		.max_outstanding = 3,
		.end_of_faults = 12 * SEC,
	};
}

static bool came_to(const struct sim *s, enum outcome o)
{
	const struct primary *p = &s->a.core;

	switch (o) {
	case PROTECTED:
		return s->a.proc.alive && p->state == PRIMARY_PROTECTED;
	case TAKEN_OVER:
		return s->standby.runs && !s->guest.exists && !s->a.proc.alive;
	case STANDING:
		return !s->guest.exists && !s->vm_ran_at_b && b_current(s) >= 0 &&
		       s->b[b_current(s)].core.state == BACKUP_STANDING;
	case HELD:
		return s->guest.exists && s->out.held && p->state == PRIMARY_LOST;
	case ALONE:
		return s->guest.exists && !s->out.held && p->state == PRIMARY_CONNECTING;
	case ENDED:
		return !s->a.proc.alive && !s->a.durable_role && !s->vm_ran_at_b;
	case ONE_SERVES:
		return s->standby.runs !=
		       (s->guest.exists && (!s->out.held || p->state == PRIMARY_PROTECTED));
	case UNTOUCHED:
		return s->a.n_connects == 1 && p->state == PRIMARY_PROTECTED;
	case MOVED:
		return s->standby.runs && !s->a.proc.alive && s->pause_ns &&
		       s->pause_ns <= MOVE_MAX && !s->moves_failed;
	case STAYED:
		return s->a.proc.alive && p->state == PRIMARY_PROTECTED && s->moves_failed == 1;
	case WORLD_IS_WELL:
		return true;
	}
	return false;
}

/* P3: with an arbiter there are no holes but the operator's. */
static bool is_whole(const struct sim *s)
{
	return s->plan.policy != POLICY_ARBITER || s->forced_over || !s->p3_holes;
}

static bool in_time(const struct sim *s, const struct scenario *c)
{
	if (c->outcome != TAKEN_OVER || c->fault[0].type != FAULT_KILL_HOST ||
	    (c->policy != BACKUP && c->policy != ARBITER))
		return true;
	return s->b_activated_at <= c->fault[0].at + FAILOVER_MAX;
}

/* NULL: there was no drill. */
static bool drills_ended(const struct sim *s, const struct drill_scenario *c)
{
	const struct drills *d = &s->drills;

	if (!c)
		return true;
	switch (c->end) {
	case PASSES:
		return d->begun && d->passed == d->begun;
	case MAKES_WAY:
		return d->begun == 1 && d->made_way == 1 && !d->passed;
	case FAILS:
		return d->begun == 1 && !d->passed;
	case REFUSED:
		return !d->begun && d->asked == (unsigned int)s->plan.n_drills;
	case ENDS:
		return d->begun;
	}
	return false;
}

static bool run_one(struct sim *s, const struct scenario *c, const struct disk_scenario *d,
		    const struct drill_scenario *drill, bool trace)
{
	struct plan plan;

	plan_init(&plan, c->policy);
	plan.n_disks = d ? d->disks : 0;
	plan.ack_mode = d ? d->ack_mode : MEMORY;
	add(&plan, c->fault, ARRAY_SIZE(c->fault));
	for (uint64_t seed = 1; seed <= (trace ? 1 : ROUNDS); seed++) {
		const char *why = s->why;

		if (sim_run_plan(s, seed, &plan, trace)) {
			if (came_to(s, c->outcome) && in_time(s, c) && is_whole(s) &&
			    drills_ended(s, drill))
				continue;
			why = "another end than expected";
		}
		printf("scenario %s, seed %llu: %s\n", c->name, (unsigned long long)seed, why);
		return false;
	}
	return true;
}

/* The fault of round i. */
static void aim(struct fault *f, const struct fault *c, unsigned int i)
{
	f->at = c->at ? c->at : 30 * MS;
	if (c->type != FAULT_KILL_AT && c->type != FAULT_STOP_AT) {
		f->at += i * STEP;
		return;
	}
	f->arg = i / 2 + 1;
	f->flag = i % 2;
}

static bool sweep_one(struct sim *s, const struct sweep *c, int disks)
{
	for (unsigned int i = 0; i < 2 * ACTIONS; i++) {
		struct plan plan;

		plan_init(&plan, c->policy);
		plan.end_of_faults = 5 * SEC + c->fault[0].at;
		plan.n_disks = disks;
		plan.ack_mode = i % 2 ? EPOCH : MEMORY;
		add(&plan, c->fault, ARRAY_SIZE(c->fault));
		plan.drills_pass = plan.n_drills && !plan.n;
		aim(c->fault[0].type == FAULT_DRILL ? &plan.drill[0] : &plan.fault[0], &c->fault[0],
		    i);
		for (uint64_t seed = 1; seed <= 3; seed++) {
			if (sim_run_plan(s, seed, &plan, false))
				continue;
			printf("scenario %s, action %u, seed %llu: %s\n", c->name, i / 2 + 1,
			       (unsigned long long)seed, s->why);
			return false;
		}
	}
	return true;
}

int scenario_list(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(scenarios); i++)
		puts(scenarios[i].name);
	for (unsigned int i = 0; i < ARRAY_SIZE(vote_scenarios); i++)
		puts(vote_scenarios[i].name);
	for (unsigned int i = 0; i < ARRAY_SIZE(disk_scenarios); i++)
		puts(disk_scenarios[i].s.name);
	for (unsigned int i = 0; i < ARRAY_SIZE(switchover_scenarios); i++)
		puts(switchover_scenarios[i].s.name);
	for (unsigned int i = 0; i < n_drill_scenarios; i++)
		puts(drill_scenarios[i].d.s.name);
	for (unsigned int i = 0; i < n_drill_sweeps; i++)
		puts(drill_sweeps[i].name);
	for (unsigned int i = 0; i < ARRAY_SIZE(sweeps); i++)
		puts(sweeps[i].name);
	for (unsigned int i = 0; i < ARRAY_SIZE(switchover_sweeps); i++)
		puts(switchover_sweeps[i].name);
	for (unsigned int i = 0; i < ARRAY_SIZE(vote_sweeps); i++)
		puts(vote_sweeps[i].name);
	for (unsigned int i = 0; i < ARRAY_SIZE(disk_sweeps); i++)
		puts(disk_sweeps[i].name);
	return 0;
}

struct tally {
	const char *name; /* that is wanted, or "all" */
	unsigned int passed;
	unsigned int failed;
};

static bool wanted(const struct tally *t, const char *name)
{
	return !strcmp(t->name, "all") || !strcmp(t->name, name);
}

static void count(struct tally *t, bool passed)
{
	t->passed += passed;
	t->failed += !passed;
}

int scenario_run(struct sim *s, const char *name, bool trace)
{
	struct tally t = {.name = name};

	for (unsigned int i = 0; i < ARRAY_SIZE(scenarios); i++) {
		if (wanted(&t, scenarios[i].name))
			count(&t, run_one(s, &scenarios[i], NULL, NULL, trace));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(vote_scenarios); i++) {
		if (wanted(&t, vote_scenarios[i].name))
			count(&t, run_one(s, &vote_scenarios[i], NULL, NULL, trace));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(disk_scenarios); i++) {
		const struct disk_scenario *d = &disk_scenarios[i];

		if (wanted(&t, d->s.name))
			count(&t, run_one(s, &d->s, d, NULL, trace));
	}
	for (unsigned int i = 0; i < n_drill_scenarios; i++) {
		const struct drill_scenario *d = &drill_scenarios[i];

		if (wanted(&t, d->d.s.name))
			count(&t, run_one(s, &d->d.s, &d->d, d, trace));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(switchover_scenarios); i++) {
		const struct disk_scenario *d = &switchover_scenarios[i];

		if (wanted(&t, d->s.name))
			count(&t, run_one(s, &d->s, d, NULL, trace));
	}
	for (unsigned int i = 0; i < n_drill_sweeps; i++) {
		if (wanted(&t, drill_sweeps[i].name))
			count(&t, sweep_one(s, &drill_sweeps[i], 0) &&
					  sweep_one(s, &drill_sweeps[i], 2));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(sweeps); i++) {
		if (wanted(&t, sweeps[i].name))
			count(&t, sweep_one(s, &sweeps[i], 0));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(switchover_sweeps); i++) {
		if (wanted(&t, switchover_sweeps[i].name))
			count(&t, sweep_one(s, &switchover_sweeps[i], 0) &&
					  sweep_one(s, &switchover_sweeps[i], 1));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(vote_sweeps); i++) {
		if (wanted(&t, vote_sweeps[i].name))
			count(&t, sweep_one(s, &vote_sweeps[i], i % 2));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(disk_sweeps); i++) {
		if (wanted(&t, disk_sweeps[i].name))
			count(&t, sweep_one(s, &disk_sweeps[i], 1));
	}
	printf("scenario: passed=%u failed=%u\n", t.passed, t.failed);
	return t.failed || !t.passed;
}
