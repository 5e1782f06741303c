/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal-prefixes: lives of a journal, and for each instant of them a loss of power, a recovery and a look at what is there.
 *
 *	journal-prefixes [--prefixes N] [--seed S]
 *
 * The last line is "journal: prefixes= torn= recovered= refused= bad="; exit status 0 if bad=0.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/journal/run.h"

int main(int argc, char **argv)
{
	static const struct option options[] = {{"prefixes", required_argument, NULL, 'n'},
						{"seed", required_argument, NULL, 's'},
						{NULL, 0, NULL, 0}};
	static struct life l;
	struct tally t = {.prefixes = 0};
	unsigned long drops = 0, kills = 0, copies = 0, activations = 0, eagain = 0, efbig = 0;
	uint64_t seed = 1;
	uint64_t lives = 0;
	uint64_t n = 10000;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			n = strtoull(optarg, NULL, 10);
		else if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	for (; t.prefixes < n && t.bad < 10; seed++, lives++) {
		/* So many of each life that there are at least eight. */
		uint64_t share = MIN(n, t.prefixes + n / 8 + 1);

		if (!life_run(&l, seed)) {
			printf("bad: life %" PRIu64 ": %s\n", seed, l.why);
			t.bad++;
		}
		l.seed = seed;
		trial_life(&l, &t, share, false);
		drops += l.drops;
		kills += l.kills;
		copies += l.copies;
		activations += l.activations;
		eagain += l.eagain;
		efbig += l.efbig;
		life_fini(&l);
	}
	printf("lives=%" PRIu64
	       " copies=%lu drops=%lu kills=%lu activations=%lu again=%lu too-big=%lu\n",
	       lives, copies, drops, kills, activations, eagain, efbig);
	printf("journal: prefixes=%" PRIu64 " torn=%" PRIu64 " recovered=%" PRIu64
	       " refused=%" PRIu64 " bad=%" PRIu64 "\n",
	       t.prefixes, t.torn, t.recovered, t.refused, t.bad);
	return t.bad != 0;
}
