/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The request line of the control protocol: words to text and back. Pure; both sides use it. */
#ifndef LIB_CTL_LINE_H
#define LIB_CTL_LINE_H

#include <stddef.h>

#include "lib/compiler.h"

struct err;

#define CTL_LINE_MAX 4096 /* with the newline */
#define CTL_ARGS_MAX 32	  /* words of a request, the command among them */

/*
 * Splits a line (without its newline) into words, in place: spaces and tabs separate, "..." keeps
 * them, \ takes the next byte as it is. Control bytes, an open quote, a \ at the end and more than max
 * words are refused. argv needs room for max + 1. Returns the number of words, -EINVAL or -E2BIG.
 */
MUST_CHECK int ctl_split(char *line, char **argv, int max, struct err *e);

/*
 * The reverse: one line with its newline, and without a final 0, into out. argv ends with NULL.
 * 0, -EMSGSIZE, -E2BIG, or -EINVAL for no word at all or one with control bytes.
 */
MUST_CHECK int ctl_join(const char *const argv[], char *out, size_t size, size_t *len);

#endif
