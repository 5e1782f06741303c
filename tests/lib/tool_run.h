/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a subcommand of `romulus` as main() would, in a child, and keeps what it says. Failures end the test. */
#ifndef TESTS_LIB_TOOL_RUN_H
#define TESTS_LIB_TOOL_RUN_H

#include <stddef.h>
#include <sys/types.h>

typedef int (*tool_fn)(int argc, char **argv);

/* Its outputs go to DIR/out and DIR/err. argv ends with NULL. It is killed after a minute. */
pid_t tool_start(const char *dir, tool_fn fn, int argc, char **argv);

struct tool_said {
	char *text;
	size_t size;
};

/* Waits for it; its exit status. Both outputs, cut to size, closed by a 0. */
int tool_finish(const char *dir, pid_t pid, struct tool_said out, struct tool_said err);

/* The file's content, cut to size, closed by a 0; empty when there is none. Returns buf. */
const char *tool_file(const char *path, char *buf, size_t size);

/* `what` is in `text`. */
void tool_says(const char *text, const char *what);

#endif
