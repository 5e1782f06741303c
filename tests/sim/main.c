/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: many seeds, or one.
 *
 *	sim --seeds N [--first S]    seeds S to S + N - 1; the last line is "sim: seeds= violations= ..."
 *	sim --seed S [--trace]       that one, told event by event with --trace
 *	sim --aimed ...              the same seeds, but half of the faults wait for a moment at which they hurt
 *	sim --file FILE              the seeds of a file, a number and what it was on each line
 *	sim --scenario NAME|all [--trace]   a written plan; sim --scenarios lists them
 *
 * Exit status 0 if nothing was violated.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim.h"

#define SHOWN 10 /* failing seeds */

struct totals {
	uint64_t seeds;
	uint64_t violations;
	uint64_t events;
	uint64_t holes;
	uint64_t activated;
	uint64_t with_arbiter;
	uint64_t their_holes; /* that no operator asked for */
	uint64_t drills;      /* begun; that had an epoch; that passed */
	uint64_t copies;
	uint64_t passed;
	uint64_t made_way;
	bool aimed;
};

static struct sim world;

/* An assert of a core is a violation too: say which seed it was. */
static char epitaph[96];
static size_t epitaph_size;

static void on_abort(int sig)
{
	if (write(STDERR_FILENO, epitaph, epitaph_size) < 0)
		_exit(3);
	signal(sig, SIG_DFL);
}

static void run_seed(struct totals *t, uint64_t seed, bool trace)
{
	bool ok;

	const char *aimed = t->aimed ? "--aimed " : "";

	epitaph_size = snprintf(epitaph, sizeof(epitaph),
				"sim: assertion; replay: sim %s--seed %" PRIu64 " --trace\n", aimed,
				seed);
	ok = t->aimed ? sim_run_aimed(&world, seed, trace) : sim_run(&world, seed, trace);
	t->seeds++;
	t->events += world.n_events;
	t->holes += world.p3_holes > 0;
	t->activated += world.vm_ran_at_b;
	t->with_arbiter += by_vote(&world);
	if (world.drilling) {
		t->drills += world.drills.begun;
		t->copies += world.drills.copied;
		t->passed += world.drills.passed;
		t->made_way += world.drills.made_way;
	}
	t->their_holes += by_vote(&world) && world.p3_holes > 0 && !world.forced_over;
	if (ok)
		return;
	if (t->violations++ < SHOWN)
		printf("seed %llu: %s; replay: sim %s--seed %llu --trace\n",
		       (unsigned long long)seed, world.why, aimed, (unsigned long long)seed);
}

static int run_file(struct totals *t, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[256];

	if (!f) {
		perror(path);
		return 2;
	}
	while (fgets(line, sizeof(line), f)) {
		char *end;
		uint64_t seed = strtoull(line, &end, 10);

		if (end != line)
			run_seed(t, seed, false);
	}
	fclose(f);
	return 0;
}

static int report(const struct totals *t)
{
	printf("sim: seeds=%" PRIu64 " violations=%" PRIu64 " events=%" PRIu64
	       " activations=%" PRIu64 " p3_known_hole=%" PRIu64 " with_arbiter=%" PRIu64
	       " their_p3_hole=%" PRIu64 " drills=%" PRIu64 " copies=%" PRIu64 " passed=%" PRIu64
	       " made_way=%" PRIu64 "\n",
	       t->seeds, t->violations, t->events, t->activated, t->holes, t->with_arbiter,
	       t->their_holes, t->drills, t->copies, t->passed, t->made_way);
	return t->violations || !t->seeds;
}

static int usage(void)
{
	fputs("usage: sim [--aimed] [--seeds N] [--first S] | [--aimed] --seed S [--trace] | "
	      "--file FILE | --scenario NAME|all [--trace] | --scenarios\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"first", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{"file", required_argument, NULL, 'r'},
		{"scenario", required_argument, NULL, 'c'},
		{"scenarios", no_argument, NULL, 'l'},
		{"trace", no_argument, NULL, 't'},
		{"aimed", no_argument, NULL, 'a'},
		{NULL, 0, NULL, 0},
	};
	struct totals t = {0};
	const char *scenario = NULL;
	const char *file = NULL;
	uint64_t first = 1;
	uint64_t n = 1000;
	bool trace = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			n = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			first = strtoull(optarg, NULL, 10);
			break;
		case 's':
			first = strtoull(optarg, NULL, 10);
			n = 1;
			break;
		case 'r':
			file = optarg;
			break;
		case 'c':
			scenario = optarg;
			break;
		case 'l':
			return scenario_list();
		case 't':
			trace = true;
			break;
		case 'a':
			t.aimed = true;
			break;
		default:
			return usage();
		}
	}
	if (optind != argc)
		return usage();
	signal(SIGABRT, on_abort);
	/* What the real files of a drill say. */
	(void)!log_set_level(NULL, LOG_AT_ERR);
	if (scenario)
		return scenario_run(&world, scenario, trace);
	if (file && run_file(&t, file))
		return 2;
	for (uint64_t i = 0; !file && i < n; i++)
		run_seed(&t, first + i, trace);
	return report(&t);
}
