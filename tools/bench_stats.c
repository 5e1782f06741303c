/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See bench_stats.h. */
#include "tools/bench_stats.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"

int bench_stats_init(struct bench_stats *b, const struct bench_list *paths, size_t cycles,
		     struct err *e)
{
	*b = BENCH_STATS_INIT;
	b->room = cycles;
	for (size_t i = 0; i < paths->n; i++) {
		struct bench_series *s = &b->path[paths->path[i]];

		for (int t = 0; t < BENCH_TIMES; t++) {
			s->ns[t] = mem_array(cycles, sizeof(uint64_t));
			if (!s->ns[t])
				return err_set(e, -ENOMEM, "room for %zu samples", cycles);
		}
	}
	return 0;
}

void bench_stats_fini(struct bench_stats *b)
{
	for (int p = 0; p < BENCH_PATHS; p++) {
		for (int t = 0; t < BENCH_TIMES; t++)
			mem_free(take_ptr(&b->path[p].ns[t]));
		b->path[p].n = 0;
	}
}

int bench_stats_add(struct bench_stats *b, const struct bench_sample *s, struct err *e)
{
	struct bench_series *series = &b->path[s->path];

	if (!series->ns[0])
		return err_setx(e, -EBADMSG, "a sample of %s, which was not asked for",
				bench_path_name(s->path));
	if (series->n == b->room)
		return err_setx(e, -EBADMSG, "more than %zu samples of %s", b->room,
				bench_path_name(s->path));
	for (int t = 0; t < BENCH_TIMES; t++)
		series->ns[t][series->n] = s->ns[t];
	series->n++;
	return 0;
}

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

void bench_stats_sort(struct bench_stats *b)
{
	for (int p = 0; p < BENCH_PATHS; p++) {
		const struct bench_series *s = &b->path[p];

		for (int t = 0; s->n && t < BENCH_TIMES; t++)
			qsort(s->ns[t], s->n, sizeof(uint64_t), ascending);
	}
}

void bench_figures(const uint64_t *sorted, size_t n, struct bench_figures *out)
{
	double sum = 0;
	uint64_t low;
	uint64_t high;

	*out = (struct bench_figures){.avg = 0};
	if (!n)
		return;
	for (size_t i = 0; i < n; i++)
		sum += (double)sorted[i];
	low = sorted[(n - 1) / 2];
	high = sorted[n / 2];
	out->avg = sum / (double)n;
	out->min = sorted[0];
	out->max = sorted[n - 1];
	out->median = low + (high - low) / 2;
	out->p99 = sorted[n - 1 - n / 100];
}

double bench_ratio(const struct bench_stats *b, enum bench_path path)
{
	const struct bench_series *ours = &b->path[path];
	const struct bench_series *theirs = &b->path[BENCH_TOOLSTACK];
	struct bench_figures a;
	struct bench_figures base;

	bench_figures(ours->ns[BENCH_TOTAL], ours->n, &a);
	bench_figures(theirs->ns[BENCH_TOTAL], theirs->n, &base);
	return ours->n && base.median ? (double)a.median / (double)base.median : -1;
}
