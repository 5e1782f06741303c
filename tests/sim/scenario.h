/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Written plans with a known end, named as the lab's: the timelines of docs/promises.md. */
#ifndef TESTS_SIM_SCENARIO_H
#define TESTS_SIM_SCENARIO_H

#include <stdbool.h>

struct sim;

int scenario_list(void);
/* name or "all"; prints "scenario: passed= failed=" last. 0 if all passed. */
int scenario_run(struct sim *s, const char *name, bool trace);

#endif
