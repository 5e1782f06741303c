/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See latency_plot.h. */
#include "tools/latency_plot.h"

#include "lib/compiler.h"
#include "tools/bench_stats.h"

/* Of the drawing, in its units. */
#define WIDTH 960
#define LEFT 120  /* of the axis; labels are left of it */
#define RIGHT 700 /* figures are right of it */
#define TOP 48
#define TITLE 30 /* height of a panel's */
#define STRIP 36
#define FOOT 64
#define FONT "font-family=\"sans-serif\" font-size=\"12\""

/* The logarithmic axis: whole decades of nanoseconds. */
struct axis {
	int first;
	int decades; /* at least 1 */
};

/* ---- numbers ---- */

/* Base 10, of a value of at least 1. By squaring: no other code of the tools wants libm. */
static double log10_of(uint64_t v)
{
	const double log10_2 = 0.30102999566398119521;
	int whole = 63 - __builtin_clzll(v);
	double m = (double)v / (double)(UINT64_C(1) << whole);
	double log2 = whole;
	double bit = 0.5;

	for (int i = 0; i < 40; i++, bit /= 2) {
		m *= m;
		if (m >= 2) {
			m /= 2;
			log2 += bit;
		}
	}
	return log2 * log10_2;
}

/* Decades that are complete below v, which is at least 1. */
static int decade_of(uint64_t v)
{
	int d = 0;

	for (; v >= 10; v /= 10)
		d++;
	return d;
}

static double at(const struct axis *a, uint64_t ns)
{
	double decades = log10_of(MAX(ns, UINT64_C(1))) - a->first;

	return LEFT + decades / a->decades * (RIGHT - LEFT);
}

static struct axis fit(const struct latency_plot *p)
{
	uint64_t min = UINT64_MAX;
	uint64_t max = 1;
	struct axis a;

	for (size_t i = 0; i < p->n; i++) {
		for (size_t k = 0; k < p->panel[i].n; k++) {
			const struct latency_strip *s = &p->panel[i].strip[k];

			if (!s->n)
				continue;
			min = MIN(min, s->ns[0]);
			max = MAX(max, s->ns[s->n - 1]);
		}
	}
	min = MAX(MIN(min, max), UINT64_C(1));
	a.first = decade_of(min);
	a.decades = decade_of(max) + 1 - a.first;
	return a;
}

/* ---- text ---- */

/* Other than plain ASCII becomes '?': no reader of XML can stumble over it. */
static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			fputc(*text >= ' ' && *text < 0x7f ? *text : '?', out);
		}
	}
}

/* Three digits that matter, with a unit. */
static void put_ns(FILE *out, uint64_t ns)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double v = (double)ns;
	size_t i = 0;

	for (; v >= 1000 && i < ARRAY_SIZE(units) - 1; i++)
		v /= 1000;
	fprintf(out, "%.*f %s", i == 0 || v >= 100 ? 0 : v >= 10 ? 1 : 2, v, units[i]);
}

/* "1 us" and so on for whole decades: no fraction. */
static void put_decade(FILE *out, int decade)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	int unit = MIN(decade / 3, (int)ARRAY_SIZE(units) - 1);

	fputc('1', out);
	for (int i = unit * 3; i < decade; i++)
		fputc('0', out);
	fprintf(out, " %s", units[unit]);
}

/* ---- drawing ---- */

static void draw_grid(FILE *out, const struct axis *a, int bottom)
{
	double step = (double)(RIGHT - LEFT) / a->decades;

	fputs("<g stroke=\"#888\" stroke-width=\"0.5\">\n", out);
	for (int d = 0; d <= a->decades; d++) {
		uint64_t tenth = 1;

		fprintf(out, "<path d=\"M%.1f %dV%d\"/>\n", LEFT + d * step, TOP, bottom + 6);
		/* 2 to 9 of the decade, shorter: only the axis has them. */
		for (tenth = 2; d < a->decades && tenth < 10; tenth++)
			fprintf(out, "<path d=\"M%.1f %dV%d\"/>\n",
				LEFT + (d + log10_of(tenth)) * step, bottom, bottom + 4);
	}
	fprintf(out, "</g>\n<g " FONT " text-anchor=\"middle\">\n");
	for (int d = 0; d <= a->decades; d++) {
		fprintf(out, "<text x=\"%.1f\" y=\"%d\">", LEFT + d * step, bottom + 20);
		put_decade(out, a->first + d);
		fputs("</text>\n", out);
	}
	fprintf(out,
		"<text x=\"%d\" y=\"%d\">time, logarithmic. A dot is a cycle, the bar the median, "
		"the dashed line the 99th percentile.</text>\n</g>\n",
		(LEFT + RIGHT) / 2, bottom + 42);
}

/* Spread over the height by the golden ratio: neighbours do not hide each other. */
static void draw_dots(FILE *out, const struct axis *a, const struct latency_strip *s, int top)
{
	size_t dots = MIN(s->n, (size_t)LATENCY_PLOT_DOTS);
	double y = 0;

	fputs("<path fill=\"none\" stroke=\"#000\" stroke-width=\"3\" stroke-opacity=\"0.35\" "
	      "stroke-linecap=\"round\" d=\"",
	      out);
	for (size_t i = 0; i < dots; i++) {
		size_t from = dots < 2 ? 0 : (s->n - 1) * i / (dots - 1);

		y += 0.61803398875;
		y -= y >= 1;
		fprintf(out, "M%.1f %.1fh0", at(a, s->ns[from]), top + 4 + y * (STRIP - 8));
	}
	fputs("\"/>\n", out);
}

static void draw_strip(FILE *out, const struct axis *a, const struct latency_strip *s, int top)
{
	struct bench_figures f;

	fprintf(out,
		"<path stroke=\"#888\" stroke-width=\"0.5\" d=\"M%d %dH%d\"/>\n"
		"<text x=\"%d\" y=\"%d\" text-anchor=\"end\">",
		LEFT, top + STRIP, RIGHT, LEFT - 8, top + STRIP / 2 + 4);
	put_text(out, s->label);
	fputs("</text>\n", out);
	if (!s->n)
		return;
	bench_figures(s->ns, s->n, &f);
	draw_dots(out, a, s, top);
	fprintf(out,
		"<path stroke=\"#000\" stroke-width=\"3\" d=\"M%.1f %dV%d\"/>\n"
		"<path stroke=\"#000\" stroke-width=\"1\" stroke-dasharray=\"4 3\" "
		"d=\"M%.1f %dV%d\"/>\n<text x=\"%d\" y=\"%d\">median ",
		at(a, f.median), top + 1, top + STRIP - 1, at(a, f.p99), top + 1, top + STRIP - 1,
		RIGHT + 12, top + STRIP / 2 + 4);
	put_ns(out, f.median);
	fputs(", p99 ", out);
	put_ns(out, f.p99);
	fprintf(out, ", n %zu</text>\n", s->n);
}

static int draw_panel(FILE *out, const struct axis *a, const struct latency_panel *panel, int top)
{
	fprintf(out, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">", LEFT, top + TITLE - 8);
	put_text(out, panel->title);
	fputs("</text>\n", out);
	top += TITLE;
	fprintf(out, "<path stroke=\"#888\" stroke-width=\"0.5\" d=\"M%d %dH%d\"/>\n", LEFT, top,
		RIGHT);
	for (size_t i = 0; i < panel->n; i++, top += STRIP)
		draw_strip(out, a, &panel->strip[i], top);
	return top;
}

void latency_plot_write(FILE *out, const struct latency_plot *p)
{
	const struct axis a = fit(p);
	int top = TOP;
	int bottom = TOP;

	for (size_t i = 0; i < p->n; i++)
		bottom += TITLE + (int)p->panel[i].n * STRIP;
	fprintf(out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
		"viewBox=\"0 0 %d %d\">\n<title>",
		WIDTH, bottom + FOOT, WIDTH, bottom + FOOT);
	put_text(out, p->title);
	fprintf(out,
		"</title>\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n"
		"<text x=\"%d\" y=\"28\" font-family=\"sans-serif\" font-size=\"16\">",
		WIDTH, bottom + FOOT, LEFT);
	put_text(out, p->title);
	fputs("</text>\n", out);
	draw_grid(out, &a, bottom);
	fputs("<g " FONT ">\n", out);
	for (size_t i = 0; i < p->n; i++)
		top = draw_panel(out, &a, &p->panel[i], top);
	fputs("</g>\n</svg>\n", out);
}
