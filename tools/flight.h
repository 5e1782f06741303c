/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shows flight recorders: where the time of a VM's newest epochs went. For romulus events. */
#ifndef TOOLS_FLIGHT_H
#define TOOLS_FLIGHT_H

#include <stdbool.h>

struct flight_from {
	const char *run_dir;
	const char *state_dir;
	const char *vm;
	const char *file; /* this one, or NULL: of both sides the live one, else the newest kept */
	bool json;
};

/* To standard output. An enum tool_exit. */
int flight_show(const struct flight_from *from);

#endif
