/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's core once more, with rules that can be broken (replicator/mutant.h). */
#define CORE_MUTATION
/* The .c on purpose: the same rules compiled a second time, not a copy that drifts. */
#include "replicator/primary.c"		   /* NOLINT(bugprone-suspicious-include) */
#include "replicator/primary_disks.c"	   /* NOLINT(bugprone-suspicious-include) */
#include "replicator/primary_switchover.c" /* NOLINT(bugprone-suspicious-include) */
#include "replicator/primary_vote.c"	   /* NOLINT(bugprone-suspicious-include) */
