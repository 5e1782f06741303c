/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to try to protect a VM again that was activated here (docs/promises.md, "Protected again"). Knows names and times
 * only: whoever calls does it, and says how it went. Pure.
 *
 * What is tried is to start its worker here. Until the other host is back, it is that worker that connects again and again;
 * a try that fails means that it could not even start.
 */
#ifndef REPLICATOR_REPROTECT_H
#define REPLICATOR_REPROTECT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"

#define REPROTECT_MAX 128
/* Not before the activated VM has been announced to the LAN, which its backup's worker does. */
#define REPROTECT_FIRST_NS (UINT64_C(2) * 1000000000)
/* Doubled after each failure, up to the first; after so many, about a day, it is left to the operator. */
#define REPROTECT_MAX_NS (UINT64_C(300) * 1000000000)
#define REPROTECT_TRIES 296

struct reprotect {
	struct reprotect_vm {
		char vm[NAME_SIZE]; /* empty: unused */
		uint64_t
			at_ns; /* of the next try; CLOCK_NEVER: one is under way, or it is given up */
		unsigned int tries;
	} slot[REPROTECT_MAX];
};

/* All zeroes is empty. The VM was activated here, or is found to have been. False: there is no place. */
bool reprotect_want(struct reprotect *r, const char *vm, uint64_t now);
/* The last try came to nothing. False: that was the last one. */
bool reprotect_failed(struct reprotect *r, const char *vm, uint64_t now);
/* It is protected, or is not to be: nothing is tried any more. Fine when it never was. */
void reprotect_drop(struct reprotect *r, const char *vm);
/* CLOCK_NEVER: none. */
uint64_t reprotect_deadline(const struct reprotect *r);
/* A VM that is due, whose try is under way from now on; false: none. */
bool reprotect_due(struct reprotect *r, uint64_t now, char vm[NAME_SIZE]);

#endif
