/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal-mutants: breaks one rule of the journal after the other and demands that journal-prefixes would see it.
 *
 *	journal-mutants [--prefixes N]              all; the last line is "journal-mutants: n= caught= missed="
 *	journal-mutants --mutate K [--prefixes N] [--seed S]   that one; stops when it is seen
 *
 * Exit status 0 if each was caught; with --mutate, if that one was.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk/journal_mutant.h"
#include "tests/journal/run.h"

int journal_mutant;

static const char *const names[JM_COUNT] = {
	[JM_NONE] = "none",
	[JM_NO_BLOCK_DIGEST] = "no-block-digest",
	[JM_NO_PAYLOAD_DIGEST] = "no-payload-digest",
	[JM_ANY_INCARNATION] = "any-incarnation",
	[JM_ANY_POSITION] = "any-position",
	[JM_REPLAY_UNCOMMITTED] = "replay-uncommitted",
	[JM_OLDER_SUPERBLOCK] = "older-superblock",
	[JM_ONE_SUPERBLOCK] = "one-superblock",
	[JM_NO_APPLYING] = "no-applying",
	[JM_REPLAY_UNSYNCED] = "replay-unsynced",
	[JM_RECOVER_NO_SYNC] = "recover-no-sync",
	[JM_KEEP_INCARNATION] = "keep-incarnation",
	[JM_STAY_CONSISTENT] = "stay-consistent",
	[JM_APPLY_UNDURABLE] = "apply-undurable",
	[JM_NO_APPLYING_WRITTEN] = "no-applying-written",
	[JM_TAIL_EARLY] = "tail-early",
	[JM_SPACE_EARLY] = "space-early",
	[JM_SPACE_ONE] = "space-one",
	[JM_DURABLE_WHEN_WRITTEN] = "durable-when-written",
	[JM_DURABLE_INFLIGHT] = "durable-inflight",
	[JM_FIRST_WRITER] = "first-writer",
	[JM_COMMIT_NOT_WAITED] = "commit-not-waited",
	[JM_KEEP_DROPPED] = "keep-dropped",
	[JM_COPY_BEFORE_SYNCING] = "copy-before-syncing",
	[JM_CONSISTENT_UNSYNCED] = "consistent-unsynced",
	[JM_CHANGE_ONE] = "change-one",
	[JM_ACTIVATE_UNAPPLIED] = "activate-unapplied",
};

/* True if something bad was seen within n prefixes. */
static bool hunt(int mutant, uint64_t seed, uint64_t n)
{
	static struct life l;
	struct tally t = {.prefixes = 0};

	journal_mutant = mutant;
	for (; t.prefixes < n && !t.bad; seed++) {
		printf("%-22s ", names[mutant]);
		if (!life_run(&l, seed)) {
			printf("life %" PRIu64 ": %s\n", seed, l.why);
			return true;
		}
		l.seed = seed;
		trial_life(&l, &t, MIN(n, t.prefixes + 2500), true);
		life_fini(&l);
		printf("%s", t.bad ? "" : "\r");
	}
	if (!t.bad)
		printf("%-22s NOT CAUGHT in %" PRIu64 " prefixes\n", names[mutant], t.prefixes);
	return t.bad;
}

/* In a process of its own: an assertion catches a mutant just as well. */
static bool caught(int mutant, uint64_t n)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		bool ok;

		/* An assertion that it dies of is one of the answers. */
		close(STDERR_FILENO);
		ok = hunt(mutant, 1, n);
		fflush(stdout);
		_exit(ok ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
		printf("%-22s by an assertion\n", names[mutant]);
		return true;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"prefixes", required_argument, NULL, 'n'},
						{"mutate", required_argument, NULL, 'm'},
						{"seed", required_argument, NULL, 's'},
						{NULL, 0, NULL, 0}};
	uint64_t n = 40000;
	uint64_t seed = 1;
	int mutant = 0;
	int count = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			n = strtoull(optarg, NULL, 10);
		else if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'm')
			mutant = (int)strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (mutant < 0 || mutant >= JM_COUNT)
		return 2;
	if (mutant)
		return !hunt(mutant, seed, n);
	for (int k = JM_NONE + 1; k < JM_COUNT; k++)
		count += caught(k, n);
	printf("journal-mutants: n=%d caught=%d missed=%d\n", JM_COUNT - 1, count,
	       JM_COUNT - 1 - count);
	return count != JM_COUNT - 1;
}
