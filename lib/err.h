/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An error that an operator can read. It lives on the stack of whoever wants to
 * know, its text is fixed in size, so reporting cannot fail. Any thread; an
 * object belongs to one thread at a time.
 *
 *	struct err e = ERR_INIT;
 *	rc = conf_load(path, &conf, &e);
 *	if (rc < 0)
 *		log_err("%s; keeping the old settings", e.text);
 *
 * The text is made where the cause is known and quotes the offending value; a
 * caller adds what it was doing:
 *
 *	rc = read_key(path, &key, e);
 *	if (rc < 0)
 *		return err_wrap(e, rc, "vm %s", name);
 */
#ifndef LIB_ERR_H
#define LIB_ERR_H

#include "lib/compiler.h"

#define ERR_TEXT_SIZE 512

struct err {
	int rc; /* negative errno; 0: no error */
	char text[ERR_TEXT_SIZE];
};

#define ERR_INIT ((struct err){.rc = 0})

/*
 * Makes *e this error: the formatted text, ": " and what the errno -rc means.
 * A text that is too long ends in "...". Returns rc, which is a negative errno.
 * e may be NULL, then only rc is passed on. What *e said before is replaced.
 */
PRINTF(3, 4) COLD int err_set(struct err *e, int rc, const char *fmt, ...);
/* The same without what the errno means, where the text says it all. */
PRINTF(3, 4) COLD int err_setx(struct err *e, int rc, const char *fmt, ...);
/* Puts the formatted text and ": " before the text of *e. Returns rc. */
PRINTF(3, 4) COLD int err_wrap(struct err *e, int rc, const char *fmt, ...);

#endif
