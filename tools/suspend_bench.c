/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus suspend-bench: how long a guest takes to be suspended and resumed, by each path. Measured by
 * romulus-suspend-bench, a program of its own, since only that one needs the hypervisor's libraries.
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/spawn.h"
#include "tools/bench_report.h"
#include "tools/collect.h"
#include "tools/tool.h"

enum {
	OPT_RUN_DIR = 256,
	OPT_LIBEXEC,
	OPT_CYCLES,
	OPT_RATE,
	OPT_PATHS,
	OPT_COMPARE,
	OPT_JSON,
	OPT_PLOT,
	OPT_RESCUE,
};

#define PATH_SIZE 512
/* A cycle may take 10 s, an end with a request in the guest's hands 30 s more. */
#define SILENCE_NS (60 * NS_PER_SEC)
#define GRACE_NS (60 * NS_PER_SEC)
#define RESCUE_NS (60 * NS_PER_SEC)

struct options {
	const char *run_dir;
	const char *libexec_dir;
	const char *vm;
	const char *plot;
	unsigned long cycles;
	unsigned long hz;
	struct bench_list paths;
	bool compare;
	bool json;
	bool rescue;
};

/* What comes from the program while it runs. */
struct hearing {
	struct bench_stats stats;
	size_t n;
	bool done;
	bool show; /* how far it is */
};

static volatile sig_atomic_t stop;

static const struct argp_option option_list[] = {
	{"cycles", OPT_CYCLES, "N", 0, "Suspend and resume N times by each path (200)", 0},
	{"rate", OPT_RATE, "HZ", 0, "At most HZ cycles a second, all paths together (20)", 0},
	{"paths", OPT_PATHS, "LIST", 0,
	 "Of xenstore, channel, channel-bare, pause (these four unless given) and toolstack", 0},
	{"compare", OPT_COMPARE, NULL, 0,
	 "Also the path toolstack, xl's own. It harms programs in the guest that use AVX", 0},
	{"json", OPT_JSON, NULL, 0, "All figures as one JSON object on one line", 0},
	{"plot", OPT_PLOT, "FILE", 0, "Write the distributions to FILE, an SVG drawing", 0},
	{"rescue", OPT_RESCUE, NULL, 0,
	 "Measure nothing: undo what a measurement that was killed left on the VM", 0},
	{"run-dir", OPT_RUN_DIR, "DIR", 0, "Where the control sockets are", 0},
	{"libexec-dir", OPT_LIBEXEC, "DIR", 0, "Where the program that measures is", 0},
	{0},
};

static unsigned long number(struct argp_state *state, const char *option, const char *arg,
			    unsigned long max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno || !n || n > max)
		argp_error(state, "--%s=%s is not a number from 1 to %lu", option, arg, max);
	return n;
}

/* A number would be taken for a domain's, and whether that one is protected is known by its name. */
static void take_vm(struct argp_state *state, struct options *o, const char *arg)
{
	if (o->vm || !name_ok(arg))
		argp_error(state, "\"%s\" is not one VM's name", arg);
	if (!arg[strspn(arg, "0123456789")])
		argp_error(state, "\"%s\" is a number; the VM's name is wanted", arg);
	o->vm = arg;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	struct err e = ERR_INIT;

	switch (key) {
	case OPT_CYCLES:
		o->cycles = number(state, "cycles", arg, BENCH_MAX_CYCLES);
		return 0;
	case OPT_RATE:
		o->hz = number(state, "rate", arg, BENCH_MAX_HZ);
		return 0;
	case OPT_PATHS:
		if (bench_list_parse(arg, &o->paths, &e) < 0)
			argp_error(state, "--paths=%s: %s", arg, e.text);
		return 0;
	case OPT_COMPARE:
		o->compare = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_PLOT:
		o->plot = arg;
		return 0;
	case OPT_RESCUE:
		o->rescue = true;
		return 0;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		return 0;
	case OPT_LIBEXEC:
		if (strlen(arg) > PATH_SIZE / 2)
			argp_error(state, "--libexec-dir: too long");
		o->libexec_dir = arg;
		return 0;
	case ARGP_KEY_ARG:
		take_vm(state, o, arg);
		return 0;
	case ARGP_KEY_END:
		if (!o->vm)
			argp_error(state, "which VM?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- is it protected? ---- */

static int refuse(const struct options *o, const struct seen *s)
{
	/* Nothing left to do. */
	if (!strcmp(s->state, "ended"))
		return TOOL_OK;
	if (!strcmp(s->role, "primary"))
		return tool_fail(
			TOOL_ERROR,
			"%s is protected (%s), and this would end it; first: romulus unprotect %s",
			o->vm, s->state, o->vm);
	/* One that is active runs here, alone. */
	if (!strcmp(s->role, "backup") && strcmp(s->state, "active") != 0)
		return tool_fail(TOOL_ERROR,
				 "this host is the backup of %s (%s); it does not run here", o->vm,
				 s->state);
	return TOOL_OK;
}

static int refuse_protected(const struct options *o)
{
	struct report *r = NULL;
	struct err e = ERR_INIT;
	int code = TOOL_OK;

	if (collect(o->run_dir, o->vm, &r, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	for (size_t i = 0; i < r->n && code == TOOL_OK; i++)
		code = refuse(o, &r->vm[i]);
	collect_free(r);
	return code;
}

/* ---- the program ---- */

static void on_signal(int sig)
{
	stop = 1;
}

static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static int hear(void *arg, const char *line, struct err *e)
{
	struct hearing *h = arg;
	struct bench_sample s;
	int rc;

	if (h->done)
		return err_setx(e, -EBADMSG, "words after the last one: \"%.80s\"", line);
	rc = bench_line_parse(line, &s, &h->done, e);
	if (rc < 0 || h->done)
		return rc;
	h->n++;
	/* Not at each: a terminal is work for this host too. */
	if (h->show && h->n % 10 == 0)
		fprintf(stderr, "\r%zu cycles ", h->n);
	return bench_stats_add(&h->stats, &s, e);
}

static const char *program(const struct options *o, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/romulus-suspend-bench", o->libexec_dir);
	return path;
}

static int rescue(const struct options *o)
{
	char path[PATH_SIZE];
	char said[1024] = "";
	const char *const argv[] = {program(o, path), "--rescue", "--domain", o->vm, NULL};
	struct spawn s = {
		.argv = argv, .timeout_ns = RESCUE_NS, .out = said, .out_size = sizeof(said)};
	struct err e = ERR_INIT;

	if (spawn_check(&s, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	fputs(said, stderr);
	return TOOL_OK;
}

/* Why there are not all samples; code TOOL_OK when there are. Standard error has what the program said itself. */
static int verdict(const struct hearing *h, const struct spawn *s, int rc, const struct err *e)
{
	if (rc < 0)
		return tool_fail(TOOL_ERROR, "%s", e->text);
	if (s->status || !h->done)
		return tool_fail(
			TOOL_ERROR,
			"%s ended with status %d after %zu cycles; the figures are of these",
			s->argv[0], s->status, h->n);
	return TOOL_OK;
}

static int measure(const struct options *o, struct hearing *h)
{
	char path[PATH_SIZE];
	char cycles[24];
	char hz[24];
	char paths[BENCH_LIST_SIZE];
	char line[BENCH_LINE_SIZE];
	const char *const argv[] = {program(o, path), "--domain", o->vm,     "--cycles", cycles,
				    "--hz",	      hz,	  "--paths", paths,	 NULL};
	struct spawn s = {.argv = argv,
			  .timeout_ns = SILENCE_NS,
			  .out = line,
			  .out_size = sizeof(line),
			  .line = hear,
			  .arg = h,
			  .stop = &stop,
			  .grace_ns = GRACE_NS};
	struct err e = ERR_INIT;
	int rc;
	int code;

	snprintf(cycles, sizeof(cycles), "%lu", o->cycles);
	snprintf(hz, sizeof(hz), "%lu", o->hz);
	bench_list_format(&o->paths, paths);
	catch_signals();
	rc = spawn_run(&s, &e);
	if (h->show)
		fputc('\n', stderr);
	code = verdict(h, &s, rc, &e);
	/* Killed, by us or by somebody: it could not look after the VM any more. */
	if (s.status >= 128 && rescue(o) != TOOL_OK)
		tool_fail(TOOL_ERROR, "look whether %s runs: xl list %s", o->vm, o->vm);
	return code;
}

/* ---- the result ---- */

static int write_result(const struct options *o, const struct bench_report *r, FILE *plot)
{
	int code = TOOL_OK;

	if (!o->json)
		bench_report_table(stdout, r);
	else if (bench_report_json(stdout, r) < 0)
		code = tool_fail(TOOL_ERROR, "out of memory");
	if (fflush(stdout) == EOF)
		code = tool_fail(TOOL_ERROR, "write: %s", strerrordesc_np(errno));
	if (!plot)
		return code;
	bench_report_plot(plot, r);
	if (fflush(plot) == EOF || ferror(plot))
		code = tool_fail(TOOL_ERROR, "write %s: %s", o->plot, strerrordesc_np(errno));
	return code;
}

static int bench(const struct options *o, FILE *plot)
{
	struct hearing h = {.stats = BENCH_STATS_INIT, .show = isatty(STDERR_FILENO) && !o->json};
	struct bench_report r = {.vm = o->vm, .cycles = o->cycles, .hz = o->hz, .stats = &h.stats};
	struct err e = ERR_INIT;
	int code;

	if (bench_stats_init(&h.stats, &o->paths, o->cycles, &e) < 0) {
		bench_stats_fini(&h.stats);
		return tool_fail(TOOL_ERROR, "%s", e.text);
	}
	code = measure(o, &h);
	r.complete = code == TOOL_OK;
	bench_stats_sort(&h.stats);
	if (h.n && write_result(o, &r, plot) != TOOL_OK)
		code = TOOL_ERROR;
	bench_stats_fini(&h.stats);
	return code;
}

static void choose_paths(struct options *o)
{
	static const struct bench_list harmless = {
		.n = 4, .path = {BENCH_XENSTORE, BENCH_CHANNEL, BENCH_CHANNEL_BARE, BENCH_PAUSE}};

	if (!o->paths.n)
		o->paths = harmless;
	if (o->compare && !bench_list_has(&o->paths, BENCH_TOOLSTACK))
		o->paths.path[o->paths.n++] = BENCH_TOOLSTACK;
}

int cmd_suspend_bench(int argc, char **argv)
{
	const struct argp argp = {
		option_list,
		parse_option,
		"VM",
		"Suspend and resume a running VM of this host, by several paths in turn, and tell how long "
		"that takes. The VM must not be protected; it is slow meanwhile.\v"
		"Exit status: 0 done, 1 error, or broken off, 2 usage.",
		NULL,
		NULL,
		NULL};
	struct options o = {
		.run_dir = RUN_DIR, .libexec_dir = LIBEXEC_DIR, .cycles = 200, .hz = 20};
	FILE *plot = NULL;
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	choose_paths(&o);
	code = refuse_protected(&o);
	if (code != TOOL_OK)
		return code;
	if (o.rescue)
		return rescue(&o);
	/* Now, and not after the work. */
	if (o.plot) {
		plot = fopen(o.plot, "we");
		if (!plot)
			return tool_fail(TOOL_ERROR, "%s: %s", o.plot, strerrordesc_np(errno));
	}
	code = bench(&o, plot);
	if (plot)
		fclose(plot);
	return code;
}
