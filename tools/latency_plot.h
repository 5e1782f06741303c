/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Distributions of latencies side by side, as an SVG document: panels below each other with one logarithmic axis,
 * in each a strip of dots for every series, with marks at the median and at the 99th percentile and their
 * figures beside. Black on white: nothing is told by colour. Writes to a stream, asks nobody.
 */
#ifndef TOOLS_LATENCY_PLOT_H
#define TOOLS_LATENCY_PLOT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Of a strip with more samples only so many are drawn, evenly chosen, and always the least and the largest. */
#define LATENCY_PLOT_DOTS 500

struct latency_strip {
	const char *label;
	const uint64_t *ns; /* ascending */
	size_t n;
};

struct latency_panel {
	const char *title;
	const struct latency_strip *strip;
	size_t n;
};

struct latency_plot {
	const char *title;
	const struct latency_panel *panel;
	size_t n;
};

/* Texts may be anything. What a stream that fails has got is for the caller to find out. */
void latency_plot_write(FILE *out, const struct latency_plot *p);

#endif
