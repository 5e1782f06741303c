/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's core once more, with rules that can be broken (replicator/mutant.h). */
#define CORE_MUTATION
/* The .c on purpose: the same rules compiled a second time, not a copy that drifts. */
#include "replicator/backup.c"	      /* NOLINT(bugprone-suspicious-include) */
#include "replicator/backup_commit.c" /* NOLINT(bugprone-suspicious-include) */
#include "replicator/backup_vote.c"   /* NOLINT(bugprone-suspicious-include) */
