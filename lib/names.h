/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VM or a host may be called. Names become file names, certificate names and words of the
 * control protocol, so the rule is narrow and stands in one place. Pure.
 */
#ifndef LIB_NAMES_H
#define LIB_NAMES_H

#include <stdbool.h>

/* With the final 0. */
#define NAME_SIZE 64

/*
 * 1 to 63 of A-Z a-z 0-9 . _ - and the first one a letter or digit: no path, no option, no hidden
 * file. NULL is not a name.
 */
bool name_ok(const char *text);

#endif
