// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * romulus-suspend-bench: suspends and resumes a running guest without checkpointing, by several paths in turn, and
 * tells on standard output what each cycle took (lib/bench.h). `romulus suspend-bench` starts it and has looked
 * before whether the guest is protected. Nothing is printed while the guest is suspended. One thread.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/bench.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "replicator/bench_order.h"
#include "replicator/bench_signals.h"
#include "replicator/xen_bench.h"
#include "replicator/xen_domain.h"

struct options {
	const char *domain;
	unsigned long cycles;
	unsigned long hz;
	struct bench_list paths;
	bool rescue;
};

struct run {
	const struct options *opt;
	struct bench_list paths; /* those that the guest offers */
	struct guest *guest;
	struct xen_bench *bench;
	uint64_t begun_ns;  /* the last cycle */
	sigset_t open_mask; /* for the waits between cycles */
};

static volatile sig_atomic_t stop;

/* ---- options ---- */

static int usage(int rc)
{
	fputs("usage: romulus-suspend-bench --domain NAME --cycles N --hz HZ --paths a,b,...\n"
	      "       romulus-suspend-bench --domain NAME --rescue\n"
	      "Started by romulus suspend-bench; see romulus-suspend-bench(8).\n",
	      rc ? stderr : stdout);
	return rc;
}

/* 0 when it is no number from 1 to max. */
static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	return text[0] < '0' || text[0] > '9' || *end || errno || n > max ? 0 : n;
}

static int complete(const struct options *o)
{
	if (!o->domain || (!o->rescue && (!o->cycles || !o->hz || !o->paths.n)))
		return -EINVAL;
	return 0;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"domain", required_argument, NULL, 'd'}, {"cycles", required_argument, NULL, 'n'},
		{"hz", required_argument, NULL, 'z'},	  {"paths", required_argument, NULL, 'p'},
		{"rescue", no_argument, NULL, 'r'},	  {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},	  {NULL, 0, NULL, 0},
	};
	struct err e = ERR_INIT;
	int c;

	*o = (struct options){.domain = NULL};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'd':
			o->domain = optarg;
			break;
		case 'n':
			o->cycles = number(optarg, BENCH_MAX_CYCLES);
			break;
		case 'z':
			o->hz = number(optarg, BENCH_MAX_HZ);
			break;
		case 'p':
			if (bench_list_parse(optarg, &o->paths, &e) < 0)
				fprintf(stderr, "--paths: %s\n", e.text);
			break;
		case 'r':
			o->rescue = true;
			break;
		case 'h':
			exit(usage(0));
		case 'V':
			puts("romulus-suspend-bench " VERSION_TEXT);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	return optind == argc ? complete(o) : -EINVAL;
}

/* ---- measuring ---- */

/*
 * The next cycle begins not before a period after this one; and the guest runs between for half of it at least, and
 * for as long as it was kept busy, or it would still be at work on its resume.
 */
static uint64_t next_begin(const struct run *r, const struct bench_sample *last)
{
	uint64_t period = NS_PER_SEC / r->opt->hz;
	uint64_t pause = MAX(period / 2, last->ns[BENCH_TOTAL]);

	return MAX(clock_add(r->begun_ns, period), clock_add(clock_now(), pause));
}

/* Signals are let in here alone: a cycle that has begun is finished. */
static void rest(const struct run *r, const struct bench_sample *last)
{
	uint64_t until = next_begin(r, last);
	uint64_t now = clock_now();

	while (!stop && now < until) {
		struct timespec left = clock_timespec(until - now);

		if (ppoll(NULL, 0, &left, &r->open_mask) < 0 && errno != EINTR)
			return;
		now = clock_now();
	}
}

static int measure_one(struct run *r, enum bench_path path, struct bench_sample *s, struct err *e)
{
	int rc;

	r->begun_ns = clock_now();
	rc = xen_bench_cycle(r->bench, path, s, e);
	return rc < 0 ? err_wrap(e, rc, "%s", bench_path_name(path)) : 0;
}

/* A first cycle of each path that does not count: it shows what the guest offers, and touches all memory once. */
static int try_paths(struct run *r, struct err *e)
{
	for (size_t i = 0; i < r->opt->paths.n && !stop; i++) {
		enum bench_path path = r->opt->paths.path[i];
		struct bench_sample s;
		int rc = measure_one(r, path, &s, e);

		if (rc == 0)
			r->paths.path[r->paths.n++] = path;
		else if (rc == -EOPNOTSUPP)
			fprintf(stderr, "romulus-suspend-bench: skipped: %s\n", e->text);
		else
			return rc;
		rest(r, &s);
	}
	if (!stop && !r->paths.n)
		return err_setx(e, -EOPNOTSUPP, "the guest offers none of the paths");
	return 0;
}

static int tell(const char *line, struct err *e)
{
	if (puts(line) == EOF || fflush(stdout) == EOF)
		return err_set(e, -errno, "write to standard output");
	return 0;
}

static int measure(struct run *r, struct err *e)
{
	const size_t paths = r->paths.n;
	char line[BENCH_LINE_SIZE];
	struct bench_sample s;
	size_t n = 0;
	int rc;

	for (; !stop && n < r->opt->cycles * paths; n++) {
		rc = measure_one(r, r->paths.path[bench_order(paths, n / paths, n % paths)], &s, e);
		/* At once: whoever reads is to be asleep again when the next cycle begins. */
		if (rc == 0)
			rc = tell(bench_line_format(&s, line), e);
		if (rc < 0)
			return rc;
		rest(r, &s);
	}
	return stop ? err_setx(e, -EINTR, "stopped by a signal after %zu cycles", n) : 0;
}

/* ---- around it ---- */

static int run(const struct options *o, struct err *e)
{
	const struct xen_guest_conf conf = {.name = o->domain, .suspend_only = true};
	struct run r = {.opt = o};
	int rc;

	bench_signals_hold(&stop, &r.open_mask);
	rc = xen_guest_open(&r.guest, &conf, e);
	if (rc < 0)
		return rc;
	rc = xen_bench_new(r.guest, &r.bench, e);
	if (rc == 0 && mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		log_warn("memory is not locked: %s", strerror(errno));
	if (rc == 0)
		rc = try_paths(&r, e);
	if (rc == 0)
		rc = measure(&r, e);
	xen_bench_free(r.bench);
	guest_close(r.guest);
	return rc == 0 ? tell(BENCH_LINE_DONE, e) : rc;
}

/* After one that was killed: nothing of it is left on the guest, nor in xenstored's mind. */
static int rescue(const struct options *o, struct err *e)
{
	const struct xen_guest_conf conf = {.name = o->domain, .suspend_only = true};
	struct xen_bench *b = NULL;
	struct guest *g = NULL;
	bool resumed;
	int rc = xen_guest_rescue(o->domain, &resumed, e);

	if (rc == 0 && resumed)
		fprintf(stderr, "romulus-suspend-bench: %s was suspended, it runs again\n",
			o->domain);
	if (rc == 0)
		rc = xen_guest_open(&g, &conf, e);
	if (rc == 0)
		rc = xen_bench_new(g, &b, e);
	xen_bench_free(b);
	guest_close(g);
	return rc;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct options o;
	int rc;

	if (parse(argc, argv, &o) < 0)
		return usage(2);
	rc = o.rescue ? rescue(&o, &e) : run(&o, &e);
	if (rc < 0)
		fprintf(stderr, "romulus-suspend-bench: %s\n", e.text);
	return rc < 0;
}
