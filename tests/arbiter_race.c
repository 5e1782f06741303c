/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two hosts that race for terms: tests/check-arbiters runs it while it kills the arbiter.
 *
 *	arbiter_race [-s SECONDS] [-v VMS] [-t THREADS] [-m MIN] [-x SEED] CONF-A CONF-B
 *
 * Each thread asks as one of the hosts, by that host's configuration, for the newest term it has heard of,
 * the one after it, or one further on. Everything that was ever granted is kept: a term of a VM that was
 * granted to both hosts, or a holder that is named and was not the one, ends it with status 1. So does a
 * run in which fewer than MIN terms were granted. At the end the arbiter must answer.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arbiter/arbiter.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"

#define MAX_VMS 16
#define MAX_TERMS 100000
#define MAX_THREADS 8
#define SETTLE_NS (20 * NS_PER_SEC)
#define PAUSE_NS (5 * NS_PER_MS) /* after an answer that says nothing */

enum host {
	NOBODY,
	HOST_A,
	HOST_B,
};

struct vm {
	uint8_t uuid[UUID_SIZE];
	uint64_t newest; /* term that anybody heard of */
	uint8_t holder[MAX_TERMS];
};

static struct {
	pthread_mutex_t lock;
	const struct conf *conf[3]; /* by enum host */
	struct vm vm[MAX_VMS];
	unsigned int n_vms;
	uint64_t end_ns;
	unsigned int count[VERDICT_NONE + 1];
	unsigned int terms; /* granted for the first time */
	bool broken;
} race = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct racer {
	pthread_t thread;
	enum host host;
	unsigned int seed;
};

static enum host host_of(const char *name)
{
	for (enum host h = HOST_A; h <= HOST_B; h++) {
		if (!strcmp(race.conf[h]->host_name, name))
			return h;
	}
	return NOBODY;
}

/* What this host is told of that term. */
static void note(struct vm *vm, uint64_t term, enum host holder, const char *what)
{
	if (term >= MAX_TERMS || holder == NOBODY) {
		printf("term %llu, held by nobody of us\n", (unsigned long long)term);
		race.broken = true;
		return;
	}
	if (vm->holder[term] != NOBODY && vm->holder[term] != holder) {
		printf("VM %ld, term %llu: %s to host %d, but host %d was granted it\n",
		       (long)(vm - race.vm), (unsigned long long)term, what, holder,
		       vm->holder[term]);
		race.broken = true;
	}
	vm->newest = MAX(vm->newest, term);
}

static void judge(struct vm *vm, enum host asker, const struct verdict *v)
{
	autolock(&race.lock);

	race.count[v->kind]++;
	switch (v->kind) {
	case VERDICT_GRANTED:
		note(vm, v->term, asker, "granted");
		race.terms += vm->holder[v->term % MAX_TERMS] == NOBODY;
		vm->holder[v->term % MAX_TERMS] = (uint8_t)asker;
		break;
	case VERDICT_REFUSED:
	case VERDICT_HELD:
		/* Whoever holds it may not have heard so: its answer was lost. From now on it is a fact. */
		note(vm, v->term, host_of(v->holder), "held");
		vm->holder[v->term % MAX_TERMS] = (uint8_t)host_of(v->holder);
		break;
	case VERDICT_UNKNOWN:
	case VERDICT_NONE:
		break;
	}
}

static void ask(enum ballot_op op, struct vm *vm, enum host asker, uint64_t term, struct verdict *v)
{
	const enum host other = asker == HOST_A ? HOST_B : HOST_A;
	struct arbiter_ask q = {.ballot = {.op = op, .term = term}};

	memcpy(q.ballot.uuid, vm->uuid, sizeof(q.ballot.uuid));
	memcpy(q.ballot.asker, race.conf[asker]->host_name, sizeof(q.ballot.asker));
	memcpy(q.ballot.peer, race.conf[other]->host_name, sizeof(q.ballot.peer));
	arbiter_ask(race.conf[asker], &q, v);
	judge(vm, asker, v);
}

static void pause_ns(uint64_t ns)
{
	struct timespec ts = clock_timespec(ns);

	(void)nanosleep(&ts, NULL);
}

static uint64_t newest(const struct vm *vm)
{
	autolock(&race.lock);

	return vm->newest;
}

static bool goes_on(void)
{
	autolock(&race.lock);

	return !race.broken && clock_now() < race.end_ns;
}

static void *run(void *arg)
{
	struct racer *r = arg;

	while (goes_on()) {
		struct vm *vm = &race.vm[(unsigned int)rand_r(&r->seed) % race.n_vms];
		unsigned int dice = (unsigned int)rand_r(&r->seed) % 16;
		uint64_t term = newest(vm) + (dice < 2 ? 0 : dice < 15 ? 1 : 2);
		struct verdict v = {.kind = VERDICT_UNKNOWN};

		if (term < MAX_TERMS)
			ask(dice == 1 ? BALLOT_JOIN : BALLOT_VOTE, vm, r->host, term, &v);
		if (v.kind == VERDICT_UNKNOWN)
			pause_ns(PAUSE_NS);
	}
	return NULL;
}

/* Until the arbiter answers, for a while. 0 or -ETIMEDOUT. */
static int insist(enum ballot_op op, struct vm *vm, enum host asker, uint64_t term)
{
	uint64_t deadline = clock_add(clock_now(), SETTLE_NS);
	struct verdict v;

	do {
		ask(op, vm, asker, term, &v);
		if (v.kind != VERDICT_UNKNOWN)
			return 0;
		pause_ns(20 * PAUSE_NS);
	} while (clock_now() < deadline);
	printf("host %d: %s: %s\n", asker, ballot_op_name(op), v.text);
	return -ETIMEDOUT;
}

static int begin(unsigned int seed)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < race.n_vms; i++) {
		memcpy(race.vm[i].uuid, &seed, sizeof(seed));
		race.vm[i].uuid[15] = (uint8_t)(i + 1);
		rc = insist(BALLOT_JOIN, &race.vm[i], HOST_A, 1);
	}
	return rc;
}

/* What is recorded at the end is not older than what was granted, and both hosts see the same. */
static int end(void)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < race.n_vms; i++) {
		struct vm *vm = &race.vm[i];
		uint64_t before = vm->newest;
		struct verdict a = {.term = 0};
		struct verdict b = {.term = 0};

		rc = insist(BALLOT_LOOK, vm, HOST_A, 0);
		if (rc < 0)
			break;
		ask(BALLOT_LOOK, vm, HOST_A, 0, &a);
		ask(BALLOT_LOOK, vm, HOST_B, 0, &b);
		if (a.kind == VERDICT_HELD && b.kind == VERDICT_HELD && a.term >= before &&
		    a.term == b.term && !strcmp(a.holder, b.holder))
			continue;
		printf("VM %u: at the end term %llu and %llu are held, %llu was granted\n", i,
		       (unsigned long long)a.term, (unsigned long long)b.term,
		       (unsigned long long)before);
		race.broken = true;
	}
	return rc;
}

static int race_all(struct racer *racer, unsigned int n, unsigned int seed)
{
	for (unsigned int i = 0; i < n; i++) {
		racer[i].host = i % 2 ? HOST_B : HOST_A;
		racer[i].seed = seed + i;
		if (pthread_create(&racer[i].thread, NULL, run, &racer[i]))
			return -EAGAIN;
	}
	for (unsigned int i = 0; i < n; i++)
		(void)pthread_join(racer[i].thread, NULL);
	return 0;
}

static int load(char **path)
{
	struct err e = ERR_INIT;

	for (enum host h = HOST_A; h <= HOST_B; h++) {
		if (conf_load(path[h - HOST_A], &race.conf[h], &e) == 0)
			continue;
		printf("%s\n", e.text);
		return -EINVAL;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct racer racer[MAX_THREADS];
	unsigned int seed = (unsigned int)time(NULL);
	unsigned int threads = 4;
	unsigned int seconds = 3;
	unsigned int min = 1;
	int opt;
	int rc;

	race.n_vms = 4;
	while ((opt = getopt(argc, argv, "s:v:t:m:x:")) != -1) {
		unsigned int n = opt == '?' ? 0 : (unsigned int)strtoul(optarg, NULL, 10);

		if (opt == '?')
			return 2;
		*(opt == 's'   ? &seconds
		  : opt == 'v' ? &race.n_vms
		  : opt == 't' ? &threads
		  : opt == 'm' ? &min
			       : &seed) = n;
	}
	if (argc - optind != 2 || !race.n_vms || race.n_vms > MAX_VMS || threads < 2 ||
	    threads > MAX_THREADS || !seed || load(argv + optind) < 0)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	rc = begin(seed);
	race.end_ns = clock_add(clock_now(), seconds * NS_PER_SEC);
	if (!rc)
		rc = race_all(racer, threads, seed);
	if (!rc)
		rc = end();
	printf("seed %u: %u terms granted, %u answers granted, %u refused, %u unknown\n", seed,
	       race.terms, race.count[VERDICT_GRANTED], race.count[VERDICT_REFUSED],
	       race.count[VERDICT_UNKNOWN]);
	if (race.terms < min)
		printf("fewer than %u\n", min);
	conf_free(race.conf[HOST_A]);
	conf_free(race.conf[HOST_B]);
	return rc < 0 || race.broken || race.terms < min ? 1 : 0;
}
