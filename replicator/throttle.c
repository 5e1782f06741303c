/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See throttle.h. Pure. */
#include "replicator/throttle.h"

#include "lib/compiler.h"

/* Small epochs in a row before the cap is raised a step. */
#define CALM_EPOCHS 32

static const uint32_t steps[] = {THROTTLE_NONE, 70, 50, 35, 25, 18, 13, 10};

uint32_t throttle_next(uint32_t percent, uint32_t *calm, uint32_t pages, uint32_t arena_pages)
{
	unsigned int i = 0;

	while (i < ARRAY_SIZE(steps) - 1 && steps[i] > percent)
		i++;
	if (pages > arena_pages / 2) {
		*calm = 0;
		return steps[i < ARRAY_SIZE(steps) - 1 ? i + 1 : i];
	}
	if (pages >= arena_pages / 4) {
		*calm = 0;
		return percent;
	}
	if (++*calm < CALM_EPOCHS)
		return percent;
	*calm = 0;
	return steps[i ? i - 1 : 0];
}
