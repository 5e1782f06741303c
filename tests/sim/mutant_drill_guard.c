/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guard of a disk that a drill looks at once more, with rules that can be broken (disk/mutant.h). */
#define DISK_MUTATION
/* The .c on purpose: the same rules compiled a second time, not a copy that drifts. */
#include "disk/drill_guard.c" /* NOLINT(bugprone-suspicious-include) */
/* And what it calls: a file is of one program. */
#include "tests/sim/drill_fakes.c" /* NOLINT(bugprone-suspicious-include) */
