/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The samples of a comparison of suspend paths, all of them, and exact figures from them. Pure. */
#ifndef TOOLS_BENCH_STATS_H
#define TOOLS_BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/bench.h"
#include "lib/compiler.h"

struct err;

struct bench_series {
	size_t n;
	uint64_t *ns[BENCH_TIMES]; /* NULL: a path that was not asked for */
};

struct bench_stats {
	size_t room; /* samples of each path */
	struct bench_series path[BENCH_PATHS];
};

#define BENCH_STATS_INIT ((struct bench_stats){.room = 0})

/* Room for `cycles` samples of each of the paths. -ENOMEM. Give it back with bench_stats_fini(), also after that. */
MUST_CHECK int bench_stats_init(struct bench_stats *b, const struct bench_list *paths,
				size_t cycles, struct err *e);
/* A second one is a no-op. */
void bench_stats_fini(struct bench_stats *b);

/* -EBADMSG: of a path that was not asked for, or more than were. */
MUST_CHECK int bench_stats_add(struct bench_stats *b, const struct bench_sample *s, struct err *e);
/* Once, after the last sample: from now on each series ascends. */
void bench_stats_sort(struct bench_stats *b);

/* ns. Of nothing: all 0. */
struct bench_figures {
	double avg;
	uint64_t min;
	uint64_t max;
	uint64_t median; /* of an even number: between the two in the middle */
	uint64_t p99;	 /* the least that at least 99 percent do not exceed */
};

void bench_figures(const uint64_t *sorted, size_t n, struct bench_figures *out);

/* The path's median total time by that of the toolstack's path; below 0 where there is no such thing. */
double bench_ratio(const struct bench_stats *b, enum bench_path path);

#endif
