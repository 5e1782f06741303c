/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See throttle.h. Pure. */
#include "replicator/throttle.h"

#include "lib/compiler.h"

/* Small epochs in a row before the cap is raised a step. */
#define CALM_EPOCHS 32

static const uint32_t steps[] = {THROTTLE_NONE, 70, 50, 35, 25, 18, 13, 10};

static unsigned int step_of(uint32_t percent)
{
	unsigned int i = 0;

	while (i < ARRAY_SIZE(steps) - 1 && steps[i] > percent)
		i++;
	return i;
}

uint32_t throttle_harder(uint32_t percent)
{
	unsigned int i = step_of(percent);

	return steps[i < ARRAY_SIZE(steps) - 1 ? i + 1 : i];
}

uint32_t throttle_next(uint32_t percent, uint32_t *calm, uint32_t pages, uint32_t arena_pages)
{
	unsigned int i = step_of(percent);

	if (pages > arena_pages / 2) {
		*calm = 0;
		return throttle_harder(percent);
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
