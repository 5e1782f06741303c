/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a program to its end: an argument vector, never a shell, always with a
 * time limit. Blocks the caller, so no thread that has deadlines calls it.
 * SIGCHLD must not be ignored in the process.
 */
#ifndef LIB_SPAWN_H
#define LIB_SPAWN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

/* A complete line, without its newline; valid until it returns. A negative errno ends the program. */
typedef int spawn_line_fn(void *arg, const char *line, struct err *e);

struct spawn {
	const char *const *argv; /* ends with NULL; argv[0] is looked up in PATH */
	uint64_t timeout_ns;	 /* then it and its process group are ended */
	/* What its standard input has, through memory and so never a file or a full pipe; NULL: nothing. */
	const char *in;
	/* Where its output goes, always closed by a 0; NULL: nowhere. */
	char *out;
	size_t out_size;
	/* Where its standard error goes, likewise; NULL: into out, as it comes. */
	char *err;
	size_t err_size;

	/*
	 * For a program that talks while it works: each line of its standard output goes to
	 * line() as it comes, out is the room for one of them, its standard error is ours unless
	 * there is err, and timeout_ns is how long it may say nothing.
	 */
	spawn_line_fn *line;
	void *arg;
	/* For a program that must not be torn from its work: */
	const volatile sig_atomic_t *stop; /* end it once this is not 0; NULL: never */
	uint64_t grace_ns; /* from SIGTERM to SIGKILL when it has to end; 0: SIGKILL at once */

	/* What came of it. */
	size_t out_used; /* bytes in out, without the 0 */
	bool out_cut;	 /* it said more */
	int status;	 /* exit status, or 128 + the signal that ended it */
};

/*
 * Standard input is /dev/null or what `in` has; no other descriptor is passed on; signals are as
 * at the start of a process. Returns 0 when the program ended by itself with
 * whatever status, and fills in what came of it. -ENOENT: no such program;
 * -ETIMEDOUT: it had to be ended (out has what it said); -EINTR: by *stop;
 * what line() returned, or -EMSGSIZE for a line that is too long; other errors
 * of the system. status tells whether it had to be killed.
 */
MUST_CHECK int spawn_run(struct spawn *s, struct err *e);

/* The same, where any status but 0 is an error too: -EIO, which quotes the end of what it said (err, or out). */
MUST_CHECK int spawn_check(struct spawn *s, struct err *e);

#endif
