/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules of a drill once more, such as can be broken (replicator/mutant.h). */
#define CORE_MUTATION
/* The .c on purpose: the same rules compiled a second time, not a copy that drifts. */
#include "replicator/drill_feed.c"  /* NOLINT(bugprone-suspicious-include) */
#include "replicator/drill_rule.c"  /* NOLINT(bugprone-suspicious-include) */
#include "replicator/drill_round.c" /* NOLINT(bugprone-suspicious-include) */
#include "replicator/drill_share.c" /* NOLINT(bugprone-suspicious-include) */
