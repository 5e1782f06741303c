/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disk/journal_change.c once more, with rules that can be broken (disk/journal_mutant.h). */
#define JOURNAL_MUTATION
/* The .c on purpose: the same rules compiled a second time, not a copy that drifts. */
#include "disk/journal_change.c" /* NOLINT(bugprone-suspicious-include) */
