/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See bench_report.h. */
#include "tools/bench_report.h"

#include <errno.h>

#include "lib/clock.h"
#include "lib/json_out.h"
#include "tools/latency_plot.h"

static const char *const headings[BENCH_TIMES] = {
	[BENCH_SUSPEND] = "request to suspended",
	[BENCH_RESUME] = "resume",
	[BENCH_TOTAL] = "request to resumed (total)",
};

static double ms(uint64_t ns)
{
	return (double)ns / (double)NS_PER_MS;
}

/* ---- text ---- */

static void write_row(FILE *out, const struct bench_stats *b, enum bench_path p, enum bench_time t)
{
	const struct bench_series *s = &b->path[p];
	double ratio = t == BENCH_TOTAL && p != BENCH_TOOLSTACK ? bench_ratio(b, p) : -1;
	struct bench_figures f;

	bench_figures(s->ns[t], s->n, &f);
	fprintf(out, "  %-14s %9.3f %9.3f %9.3f %9.3f %9.3f", bench_path_name(p),
		f.avg / (double)NS_PER_MS, ms(f.min), ms(f.max), ms(f.median), ms(f.p99));
	if (ratio >= 0)
		fprintf(out, " %9.3f", ratio);
	fputc('\n', out);
}

static void write_group(FILE *out, const struct bench_stats *b, enum bench_time t)
{
	fprintf(out, "\n%s%s\n", headings[t],
		t == BENCH_TOTAL && b->path[BENCH_TOOLSTACK].n
			? "; at the end of a row: its median by that of toolstack"
			: "");
	for (enum bench_path p = 0; p < BENCH_PATHS; p++) {
		if (b->path[p].n)
			write_row(out, b, p, t);
	}
}

static void write_skipped(FILE *out, const struct bench_stats *b)
{
	for (enum bench_path p = 0; p < BENCH_PATHS; p++) {
		if (b->path[p].ns[0] && !b->path[p].n)
			fprintf(out, "no figures: %s\n", bench_path_name(p));
	}
}

void bench_report_table(FILE *out, const struct bench_report *r)
{
	fprintf(out,
		"%s: suspended and resumed %lu times by each path, at most %lu times a second; ms%s\n",
		r->vm, r->cycles, r->hz, r->complete ? "" : "; BROKEN OFF before the end");
	write_skipped(out, r->stats);
	fprintf(out, "\n  %-14s %9s %9s %9s %9s %9s\n", "", "avg", "min", "max", "median", "p99");
	for (enum bench_time t = 0; t < BENCH_TIMES; t++)
		write_group(out, r->stats, t);
}

/* ---- JSON ---- */

static void put_figures(struct json *path, const struct bench_series *s, enum bench_time t)
{
	static const char *const keys[BENCH_TIMES] = {"suspend_ns", "resume_ns", "total_ns"};
	struct json *j = json_out_object(path, keys[t]);
	struct bench_figures f;

	bench_figures(s->ns[t], s->n, &f);
	json_out_double(j, "avg", f.avg);
	json_out_u64(j, "min", f.min);
	json_out_u64(j, "max", f.max);
	json_out_u64(j, "median", f.median);
	json_out_u64(j, "p99", f.p99);
}

static void put_path(struct json *paths, const struct bench_stats *b, enum bench_path p)
{
	const struct bench_series *s = &b->path[p];
	double ratio = bench_ratio(b, p);
	struct json *j;

	if (!s->ns[0])
		return;
	j = json_out_object(paths, NULL);
	json_out_text(j, "path", bench_path_name(p));
	json_out_u64(j, "samples", s->n);
	if (!s->n)
		return;
	for (enum bench_time t = 0; t < BENCH_TIMES; t++)
		put_figures(j, s, t);
	if (ratio >= 0)
		json_out_double(j, "by_toolstack", ratio);
}

int bench_report_json(FILE *out, const struct bench_report *r)
{
	struct json *j = json_out_new();
	struct json *paths;
	const char *line;
	size_t len;

	json_out_text(j, "vm", r->vm);
	json_out_u64(j, "cycles", r->cycles);
	json_out_u64(j, "rate_hz", r->hz);
	json_out_bool(j, "complete", r->complete);
	paths = json_out_array(j, "paths");
	for (enum bench_path p = 0; p < BENCH_PATHS; p++)
		put_path(paths, r->stats, p);
	line = j ? json_out_line(j, &len) : NULL;
	if (line)
		fprintf(out, "%s\n", line);
	json_out_free(j);
	return line ? 0 : -ENOMEM;
}

/* ---- plot ---- */

void bench_report_plot(FILE *out, const struct bench_report *r)
{
	struct latency_strip strips[BENCH_TIMES][BENCH_PATHS];
	struct latency_panel panels[BENCH_TIMES];
	struct latency_plot plot = {.panel = panels, .n = BENCH_TIMES};
	char title[160];

	for (enum bench_time t = 0; t < BENCH_TIMES; t++) {
		panels[t] = (struct latency_panel){.title = headings[t], .strip = strips[t]};
		for (enum bench_path p = 0; p < BENCH_PATHS; p++) {
			const struct bench_series *s = &r->stats->path[p];

			if (s->n)
				strips[t][panels[t].n++] = (struct latency_strip){
					.label = bench_path_name(p), .ns = s->ns[t], .n = s->n};
		}
	}
	snprintf(title, sizeof(title), "%.63s: suspended and resumed %lu times by each path%s",
		 r->vm, r->cycles, r->complete ? "" : ", broken off");
	plot.title = title;
	latency_plot_write(out, &plot);
}
