/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A comparison of suspend paths for people, programs and eyes. Writes to a stream, asks nobody. */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "lib/compiler.h"
#include "tools/bench_stats.h"

struct bench_report {
	const char *vm;
	unsigned long cycles; /* asked for, of each path */
	unsigned long hz;
	bool complete;			 /* all of them were measured */
	const struct bench_stats *stats; /* sorted */
};

/* Request to suspended, resume, total: a row for each path, in ms. */
void bench_report_table(FILE *out, const struct bench_report *r);
/* All figures, in ns, on one line. 0 or -ENOMEM. */
MUST_CHECK int bench_report_json(FILE *out, const struct bench_report *r);
/* An SVG document. */
void bench_report_plot(FILE *out, const struct bench_report *r);

#endif
