/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's core once more, with rules that can be broken (replicator/mutant.h). */
#define CORE_MUTATION
#include "replicator/backup.c"
