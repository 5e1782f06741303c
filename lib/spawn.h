/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a program to its end: an argument vector, never a shell, always with a
 * time limit. Blocks the caller, so no thread that has deadlines calls it.
 * SIGCHLD must not be ignored in the process.
 */
#ifndef LIB_SPAWN_H
#define LIB_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

struct spawn {
	const char *const *argv; /* ends with NULL; argv[0] is looked up in PATH */
	uint64_t timeout_ns;	 /* then it and its process group are killed */
	/* Where its output goes, always closed by a 0; NULL: nowhere. */
	char *out;
	size_t out_size;
	/* Where its standard error goes, likewise; NULL: into out, as it comes. */
	char *err;
	size_t err_size;

	/* What came of it. */
	size_t out_used; /* bytes in out, without the 0 */
	bool out_cut;	 /* it said more */
	int status;	 /* exit status, or 128 + the signal that ended it */
};

/*
 * Standard input is /dev/null; no other descriptor is passed on; signals are as
 * at the start of a process. Returns 0 when the program ended by itself with
 * whatever status, and fills in what came of it. -ENOENT: no such program;
 * -ETIMEDOUT: it had to be killed (out has what it said); other errors of the system.
 */
MUST_CHECK int spawn_run(struct spawn *s, struct err *e);

/* The same, where any status but 0 is an error too: -EIO, which quotes the end of what it said (err, or out). */
MUST_CHECK int spawn_check(struct spawn *s, struct err *e);

#endif
