/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is pure of romulus suspend-bench: the lines of the program that measures, the order of the paths, figures,
 * table, JSON and the plot. (The command itself: test_tools.)
 */
#include "tests/lib/test.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bench.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/mem.h"
#include "replicator/bench_order.h"
#include "tools/bench_report.h"
#include "tools/bench_stats.h"
#include "tools/latency_plot.h"

static void says(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("\"%s\" is not in: %s", what, text);
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

/* ---- lib/bench ---- */

static void lists(void **state)
{
	static const char *const bad[] = {
		"",
		",",
		"channel,",
		",pause",
		"channel,,pause",
		"chan",
		"channels",
		"pause ",
		"Pause",
		"xenstore,pause,xenstore",
		"channel-bare-",
		"none",
		"toolstack;pause",
	};
	struct err e = ERR_INIT;
	char buf[BENCH_LIST_SIZE];
	struct bench_list l;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(bench_list_parse(bad[i], &l, NULL), -EINVAL);
	assert_int_equal(bench_list_parse("pause,pause", &l, &e), -EINVAL);
	assert_string_equal(e.text, "pause is named twice");
	assert_int_equal(bench_list_parse("channel,x%sy", &l, &e), -EINVAL);
	says(e.text, "\"x%sy\" is no path");
	assert_int_equal(bench_list_parse("channel-bare", &l, &e), 0);
	assert_int_equal(l.n, 1);
	assert_true(bench_list_has(&l, BENCH_CHANNEL_BARE));
	assert_false(bench_list_has(&l, BENCH_CHANNEL));
	/* All of them, which must fit, in the order given. */
	assert_int_equal(bench_list_parse("pause,channel-bare,channel,xenstore,toolstack", &l, &e),
			 0);
	assert_int_equal(l.n, BENCH_PATHS);
	assert_string_equal(bench_list_format(&l, buf),
			    "pause,channel-bare,channel,xenstore,toolstack");
}

static void lines_go_round(void **state)
{
	static const struct bench_sample samples[] = {
		{BENCH_TOOLSTACK, {0, 0, 0}},
		{BENCH_CHANNEL_BARE, {1755000, 32000, 1787000}},
		{BENCH_PAUSE, {UINT64_MAX, UINT64_MAX, UINT64_MAX}},
	};
	char buf[BENCH_LINE_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct bench_sample got;
		bool done = true;

		bench_line_format(&samples[i], buf);
		assert_int_equal(bench_line_parse(buf, &got, &done, NULL), 0);
		assert_false(done);
		assert_int_equal(got.path, samples[i].path);
		assert_memory_equal(got.ns, samples[i].ns, sizeof(got.ns));
	}
	assert_string_equal(bench_line_format(&samples[1], buf),
			    "sample path=channel-bare suspend_ns=1755000 resume_ns=32000 "
			    "total_ns=1787000");
}

static void bad_lines(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"done ",
		"Done",
		"sample",
		"sample path=",
		"sample path=channel",
		"sample path=channel suspend_ns=1 resume_ns=2",
		"sample path=channel suspend_ns=1 resume_ns=2 total_ns=",
		"sample path=channel suspend_ns=1 resume_ns=2 total_ns=3 ",
		"sample path=channel suspend_ns=1 resume_ns=2 total_ns=3 more=4",
		"sample path=channel suspend_ns= resume_ns=2 total_ns=3",
		"sample path=channel suspend_ns=-1 resume_ns=2 total_ns=3",
		"sample path=channel suspend_ns=+1 resume_ns=2 total_ns=3",
		"sample path=channel suspend_ns=0x1 resume_ns=2 total_ns=3",
		"sample path=channel suspend_ns=1.5 resume_ns=2 total_ns=3",
		"sample path=channel suspend_ns=18446744073709551616 resume_ns=2 total_ns=3",
		"sample path=channel suspend_ns=99999999999999999999999 resume_ns=2 total_ns=3",
		"sample path=channel resume_ns=1 suspend_ns=2 total_ns=3",
		"sample path=channel  suspend_ns=1 resume_ns=2 total_ns=3",
		"sample  path=channel suspend_ns=1 resume_ns=2 total_ns=3",
		"sample path=nothing suspend_ns=1 resume_ns=2 total_ns=3",
		"sample path= suspend_ns=1 resume_ns=2 total_ns=3",
		"(XEN) d1v0 something",
	};
	struct bench_sample s;
	struct err e = ERR_INIT;
	bool done;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (bench_line_parse(bad[i], &s, &done, &e) != -EBADMSG || done)
			fail_msg("taken: \"%s\"", bad[i]);
	}
	assert_string_equal(e.text, "not a sample: \"(XEN) d1v0 something\"");
	assert_int_equal(bench_line_parse("done", &s, &done, &e), 0);
	assert_true(done);
}

/* ---- replicator/bench_order ---- */

static void order_is_balanced(void **state)
{
	for (size_t n = 1; n <= 7; n++) {
		size_t at[7][7] = {{0}};
		size_t after[7][7] = {{0}};

		for (size_t round = 0; round < 2 * n; round++) {
			bool seen[7] = {false};

			for (size_t place = 0; place < n; place++) {
				size_t i = bench_order(n, round, place);

				assert_true(i < n);
				assert_false(seen[i]);
				seen[i] = true;
				at[i][place]++;
				if (place)
					after[bench_order(n, round, place - 1)][i]++;
			}
		}
		for (size_t i = 0; i < n; i++) {
			for (size_t k = 0; k < n; k++) {
				assert_int_equal(at[i][k], 2);
				if (i != k)
					assert_int_equal(after[i][k], 2);
			}
		}
	}
}

/* ---- tools/bench_stats ---- */

static void figures(void **state)
{
	uint64_t ns[1000];
	struct bench_figures f;

	bench_figures(NULL, 0, &f);
	assert_true(f.min == 0 && f.max == 0 && f.median == 0 && f.p99 == 0 && f.avg == 0);
	ns[0] = 7;
	bench_figures(ns, 1, &f);
	assert_true(f.min == 7 && f.max == 7 && f.median == 7 && f.p99 == 7 && f.avg == 7);
	for (size_t i = 0; i < 1000; i++)
		ns[i] = i + 1;
	bench_figures(ns, 2, &f);
	assert_true(f.median == 1 && f.p99 == 2 && f.avg == 1.5);
	bench_figures(ns, 3, &f);
	assert_true(f.median == 2 && f.p99 == 3);
	bench_figures(ns, 99, &f);
	assert_true(f.median == 50 && f.p99 == 99);
	bench_figures(ns, 100, &f);
	assert_true(f.median == 50 && f.p99 == 99 && f.max == 100);
	bench_figures(ns, 200, &f);
	assert_true(f.p99 == 198);
	bench_figures(ns, 1000, &f);
	assert_true(f.median == 500 && f.p99 == 990 && f.avg == 500.5);
	/* No sum and no middle may overflow. */
	ns[0] = ns[1] = UINT64_MAX - 1;
	ns[2] = ns[3] = UINT64_MAX;
	bench_figures(ns, 4, &f);
	assert_true(f.median == UINT64_MAX - 1);
	assert_true(f.avg > 1.8e19 && f.avg < 1.9e19);
}

static void add(struct bench_stats *b, enum bench_path path, uint64_t suspend_ns,
		uint64_t resume_ns)
{
	const struct bench_sample s = {path, {suspend_ns, resume_ns, suspend_ns + resume_ns}};

	assert_int_equal(bench_stats_add(b, &s, NULL), 0);
}

static struct bench_stats stats_of(const char *paths, size_t cycles)
{
	struct bench_stats b;
	struct bench_list l;

	assert_int_equal(bench_list_parse(paths, &l, NULL), 0);
	assert_int_equal(bench_stats_init(&b, &l, cycles, NULL), 0);
	return b;
}

static void samples_are_kept(void **state)
{
	struct bench_stats b = stats_of("toolstack,channel", 3);
	struct bench_sample s = {.path = BENCH_PAUSE};
	struct err e = ERR_INIT;

	assert_true(bench_ratio(&b, BENCH_CHANNEL) < 0);
	add(&b, BENCH_CHANNEL, 3, 10);
	add(&b, BENCH_CHANNEL, 1, 30);
	add(&b, BENCH_CHANNEL, 2, 20);
	assert_true(bench_ratio(&b, BENCH_CHANNEL) < 0);
	assert_int_equal(bench_stats_add(&b, &s, &e), -EBADMSG);
	assert_string_equal(e.text, "a sample of pause, which was not asked for");
	s.path = BENCH_CHANNEL;
	assert_int_equal(bench_stats_add(&b, &s, &e), -EBADMSG);
	assert_string_equal(e.text, "more than 3 samples of channel");
	add(&b, BENCH_TOOLSTACK, 200, 20);
	bench_stats_sort(&b);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(b.path[BENCH_CHANNEL].ns[BENCH_SUSPEND][i], i + 1);
		assert_int_equal(b.path[BENCH_CHANNEL].ns[BENCH_RESUME][i], 10 * (i + 1));
	}
	assert_true(bench_ratio(&b, BENCH_CHANNEL) == 0.1);
	assert_true(bench_ratio(&b, BENCH_TOOLSTACK) == 1);
	assert_true(bench_ratio(&b, BENCH_XENSTORE) < 0);
	bench_stats_fini(&b);
	bench_stats_fini(&b);
}

static void no_memory(void **state)
{
	struct bench_stats b;
	struct bench_list l;

	assert_int_equal(bench_list_parse("pause,channel", &l, NULL), 0);
	for (long n = 0; n < 2 * BENCH_TIMES; n++) {
		mem_fail_after(n);
		assert_int_equal(bench_stats_init(&b, &l, 10, NULL), -ENOMEM);
		bench_stats_fini(&b);
	}
	mem_fail_after(MEM_NEVER);
	/* A ratio by a toolstack that takes no time at all is none. */
	b = stats_of("toolstack,pause", 1);
	add(&b, BENCH_TOOLSTACK, 0, 0);
	add(&b, BENCH_PAUSE, 1, 1);
	assert_true(bench_ratio(&b, BENCH_PAUSE) < 0);
	bench_stats_fini(&b);
}

/* ---- tools/bench_report ---- */

static struct bench_stats some_stats(void)
{
	struct bench_stats b = stats_of("toolstack,xenstore,channel-bare", 4);

	for (uint64_t i = 0; i < 4; i++) {
		add(&b, BENCH_TOOLSTACK, 17000000 + i * 1000000, 600000);
		add(&b, BENCH_CHANNEL_BARE, 1700000 + i * 100000, 60000);
	}
	bench_stats_sort(&b);
	return b;
}

static char *written(const struct bench_report *r,
		     void (*write)(FILE *, const struct bench_report *))
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	write(out, r);
	fclose(out);
	return text;
}

static void table(void **state)
{
	struct bench_stats b = some_stats();
	struct bench_report r = {.vm = "web", .cycles = 4, .hz = 20, .complete = true, .stats = &b};
	char *text = written(&r, bench_report_table);

	assert_string_equal(
		text,
		"web: suspended and resumed 4 times by each path, at most 20 times a second; ms\n"
		"no figures: xenstore\n"
		"\n"
		"                       avg       min       max    median       p99\n"
		"\n"
		"request to suspended\n"
		"  toolstack         18.500    17.000    20.000    18.500    20.000\n"
		"  channel-bare       1.850     1.700     2.000     1.850     2.000\n"
		"\n"
		"resume\n"
		"  toolstack          0.600     0.600     0.600     0.600     0.600\n"
		"  channel-bare       0.060     0.060     0.060     0.060     0.060\n"
		"\n"
		"request to resumed (total); at the end of a row: its median by that of toolstack\n"
		"  toolstack         19.100    17.600    20.600    19.100    20.600\n"
		"  channel-bare       1.910     1.760     2.060     1.910     2.060     0.100\n");
	free(text);
	bench_stats_fini(&b);
	/* Without the toolstack there is nothing to compare with. */
	b = stats_of("pause", 1);
	add(&b, BENCH_PAUSE, 28000, 27000);
	r.complete = false;
	text = written(&r, bench_report_table);
	says(text, "BROKEN OFF");
	says(text,
	     "request to resumed (total)\n  pause              0.055     0.055     0.055     0.055     0.055\n");
	free(text);
	bench_stats_fini(&b);
}

static void write_json(FILE *out, const struct bench_report *r)
{
	assert_int_equal(bench_report_json(out, r), 0);
}

static void json(void **state)
{
	struct bench_stats b = some_stats();
	const struct bench_report r = {
		.vm = "web", .cycles = 4, .hz = 20, .complete = true, .stats = &b};
	char *text = written(&r, write_json);
	struct json_in *v = NULL;
	const struct json_in *p;
	FILE *null = fopen("/dev/null", "w");

	assert_int_equal(json_in_parse(text, strlen(text), &v, NULL), 0);
	assert_string_equal(json_in_text(v, "vm", ""), "web");
	assert_int_equal(json_in_u64(v, "cycles", 0), 4);
	assert_int_equal(json_in_u64(v, "rate_hz", 0), 20);
	assert_true(json_in_bool(v, "complete", false));
	assert_int_equal(json_in_count(v, "paths"), 3);
	p = json_in_item(v, "paths", 1);
	assert_string_equal(json_in_text(p, "path", ""), "xenstore");
	assert_int_equal(json_in_u64(p, "samples", 7), 0);
	assert_false(json_in_has(p, "total_ns"));
	p = json_in_item(v, "paths", 2);
	assert_string_equal(json_in_text(p, "path", ""), "channel-bare");
	assert_int_equal(json_in_u64(p, "samples", 0), 4);
	assert_int_equal(json_in_u64(p, "suspend_ns.min", 0), 1700000);
	assert_int_equal(json_in_u64(p, "suspend_ns.max", 0), 2000000);
	assert_int_equal(json_in_u64(p, "suspend_ns.median", 0), 1850000);
	assert_int_equal(json_in_u64(p, "suspend_ns.p99", 0), 2000000);
	assert_true(json_in_double(p, "total_ns.avg", 0) == 1910000);
	assert_int_equal(json_in_u64(p, "resume_ns.max", 0), 60000);
	assert_true(json_in_double(p, "by_toolstack", 0) == 0.1);
	json_in_free(v);
	mem_fail_after(0);
	assert_int_equal(bench_report_json(null, &r), -ENOMEM);
	mem_fail_after(MEM_NEVER);
	fclose(null);
	free(text);
	bench_stats_fini(&b);
}

/* ---- tools/latency_plot ---- */

#define MAX_OPEN 16

static const char *name_end(const char *at)
{
	while (isalnum((unsigned char)*at) || *at == '-' || *at == ':')
		at++;
	return at;
}

static bool same_name(const char *a, const char *b)
{
	size_t len = (size_t)(name_end(a) - a);

	return b + len == name_end(b) && !strncmp(a, b, len);
}

/* name="value" with nothing in the value that must not be there. */
static const char *attribute(const char *at)
{
	const char *end = name_end(at);

	assert_true(end != at && end[0] == '=' && end[1] == '"');
	at = end + 2;
	end = at + strcspn(at, "\"<>");
	assert_true(*end == '"');
	return end + 1;
}

static const char *entity(const char *at)
{
	static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strncmp(at, known[i], strlen(known[i])) == 0)
			return at + strlen(known[i]);
	}
	fail_msg("no entity: %.20s", at);
	return at;
}

/* Every element is closed in its turn, every attribute quoted, no byte that XML cannot have. */
static void well_formed(const char *at)
{
	const char *open[MAX_OPEN] = {""};
	size_t depth = 0;
	size_t roots = 0;

	assert_int_equal(strncmp(at, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", 39), 0);
	for (at += 39; *at;) {
		const char *end;

		assert_true((*at >= ' ' && *at < 0x7f) || *at == '\n');
		assert_true(*at != '>');
		if (*at == '&') {
			assert_true(depth > 0);
			at = entity(at);
		} else if (at[0] == '<' && at[1] == '/') {
			end = name_end(at + 2);
			if (!depth || *end != '>' || !same_name(open[depth - 1], at + 2))
				fail_msg("closes nothing: %.20s", at);
			depth -= depth > 0;
			at = end + 1;
		} else if (*at == '<') {
			roots += depth == 0;
			if (depth == MAX_OPEN)
				fail_msg("too deep");
			open[depth++] = at + 1;
			at = name_end(at + 1);
			while (*at == ' ')
				at = attribute(at + 1);
			depth -= *at == '/';
			at += *at == '/';
			assert_true(*at++ == '>');
		} else {
			assert_true(depth > 0 || *at == '\n');
			at++;
		}
	}
	assert_int_equal(depth, 0);
	assert_int_equal(roots, 1);
}

static char *plotted(const struct latency_plot *p)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	latency_plot_write(out, p);
	fclose(out);
	well_formed(text);
	return text;
}

/* The x of every dot lies between the axis' ends, and they do not go back. */
static size_t dots_of(const char *text)
{
	size_t n = 0;
	double last = 0;

	for (text = strstr(text, "round\" d=\""); text && (text = strpbrk(text, "M\"/"));) {
		double x;
		double y;

		if (n && *text != 'M')
			break;
		if (sscanf(text, "M%lf %lfh0", &x, &y) == 2) {
			assert_true(x >= 119.9 && x <= 700.1 && x >= last);
			last = x;
			n++;
		}
		text++;
	}
	return n;
}

static void plot(void **state)
{
	uint64_t fast[200];
	uint64_t slow[200];
	const struct latency_strip strips[] = {{"channel", fast, 200},
					       {"xl <&> \"it\"'s\x01\xff", slow, 200}};
	const struct latency_panel panel = {"total", strips, 2};
	const struct latency_plot p = {"a & b", &panel, 1};
	char *text;

	for (uint64_t i = 0; i < 200; i++) {
		fast[i] = 1500000 + i * 4000;
		slow[i] = 16000000 + i * 20000;
	}
	text = plotted(&p);
	says(text, "<title>a &amp; b</title>");
	says(text, ">xl &lt;&amp;&gt; &quot;it&quot;&#39;s?"
		   "?<");
	says(text, "median 1.90 ms, p99 2.29 ms, n 200");
	says(text, "median 18.0 ms, p99 19.9 ms, n 200");
	/* From 1 ms to 100 ms: two decades. */
	says(text, ">1 ms<");
	says(text, ">10 ms<");
	says(text, ">100 ms<");
	assert_null(strstr(text, ">1 s<"));
	assert_null(strstr(text, ">100 us<"));
	assert_int_equal(dots_of(text), 200);
	/* The median of the upper strip: log10(1.898) of the first of two decades. */
	says(text, "stroke-width=\"3\" d=\"M200.7 ");
	free(text);
}

static void plot_extremes(void **state)
{
	static const uint64_t zero[] = {0, 0, 0};
	static const uint64_t wide[] = {0, 1, 1000, UINT64_MAX};
	static uint64_t many[100000];
	struct latency_strip strip = {"x", NULL, 0};
	struct latency_panel panel = {"", &strip, 1};
	struct latency_plot p = {"", NULL, 0};
	char *text;

	free(plotted(&p));
	p = (struct latency_plot){"nothing", &panel, 1};
	text = plotted(&p);
	assert_null(strstr(text, "median 0"));
	free(text);
	strip = (struct latency_strip){"x", zero, 3};
	text = plotted(&p);
	says(text, "median 0 ns, p99 0 ns, n 3");
	assert_int_equal(dots_of(text), 3);
	free(text);
	strip = (struct latency_strip){"x", wide, 4};
	text = plotted(&p);
	says(text, ">1 ns<");
	says(text, ">100000000000 s<");
	assert_int_equal(dots_of(text), 4);
	free(text);
	strip = (struct latency_strip){"x", wide + 2, 1};
	text = plotted(&p);
	says(text, "median 1.00 us, p99 1.00 us, n 1<");
	assert_int_equal(dots_of(text), 1);
	free(text);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = i;
	strip = (struct latency_strip){"x", many, ARRAY_SIZE(many)};
	text = plotted(&p);
	assert_int_equal(dots_of(text), LATENCY_PLOT_DOTS);
	assert_true(strlen(text) < 50000);
	free(text);
}

static void plot_of_a_report(void **state)
{
	struct bench_stats b = some_stats();
	struct bench_report r = {.vm = "web", .cycles = 4, .hz = 20, .complete = true, .stats = &b};
	char *text = written(&r, bench_report_plot);

	well_formed(text);
	says(text, "<title>web: suspended and resumed 4 times by each path</title>");
	assert_int_equal(count(text, ">toolstack<"), 3);
	assert_int_equal(count(text, ">channel-bare<"), 3);
	assert_int_equal(count(text, ">xenstore<"), 0);
	says(text, ">request to suspended<");
	says(text, ">resume<");
	says(text, ">request to resumed (total)<");
	free(text);
	bench_stats_fini(&b);
	/* Nothing was measured at all. */
	b = stats_of("pause", 1);
	r.complete = false;
	text = written(&r, bench_report_plot);
	well_formed(text);
	says(text, ", broken off");
	free(text);
	bench_stats_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),	 cmocka_unit_test(lines_go_round),
		cmocka_unit_test(bad_lines),	 cmocka_unit_test(order_is_balanced),
		cmocka_unit_test(figures),	 cmocka_unit_test(samples_are_kept),
		cmocka_unit_test(no_memory),	 cmocka_unit_test(table),
		cmocka_unit_test(json),		 cmocka_unit_test(plot),
		cmocka_unit_test(plot_extremes), cmocka_unit_test(plot_of_a_report),
	};

	return RUN_TESTS("suspend_bench", tests);
}
