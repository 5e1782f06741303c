/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How hard the guest's CPU is capped, from how much it dirties. Pure. */
#ifndef REPLICATOR_THROTTLE_H
#define REPLICATOR_THROTTLE_H

#include <stdint.h>

#define THROTTLE_NONE 100 /* percent */

/*
 * P6: one epoch has to fit the arena, so the guest is slowed before it does not. percent is the cap
 * in force, the result the cap from now on: one step harder after an epoch of more than half the
 * arena, one step softer after a row of epochs below a quarter of it. *calm counts that row, and
 * belongs to the caller.
 */
uint32_t throttle_next(uint32_t percent, uint32_t *calm, uint32_t pages, uint32_t arena_pages);
/* The next harder cap; the hardest stays. */
uint32_t throttle_harder(uint32_t percent);

#endif
