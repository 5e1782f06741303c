/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one interface of all arbiters: a question as romulus.conf has it, an answer. Each adapter bounds
 * itself (conf_arbiter_bound()), may be killed at any instant, and gives UNKNOWN with a sentence whenever
 * anything is not as it should be: nobody goes alone by it.
 */
#ifndef ARBITER_ARBITER_H
#define ARBITER_ARBITER_H

#include <signal.h>
#include <stdbool.h>

#include "arbiter/ballot.h"

struct conf;

struct arbiter_ask {
	struct ballot ballot; /* the asker is conf's host */
	bool is_backup;	      /* the VM's standby is here: a fence waits for fence-delay */
	/* Once this is not 0 a fence agent is ended; NULL: never. */
	const volatile sig_atomic_t *stop;
};

/* conf has an arbiter or not; ask->ballot must make sense. */
void arbiter_ask(const struct conf *conf, const struct arbiter_ask *ask, struct verdict *v);

#endif
