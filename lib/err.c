/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See err.h. */
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Shows that the text was cut. */
static void mark_cut(char text[ERR_TEXT_SIZE])
{
	memcpy(text + ERR_TEXT_SIZE - 4, "...", 4);
}

static void append(char text[ERR_TEXT_SIZE], const char *more)
{
	size_t used = strlen(text);
	size_t n = strlen(more);

	if (n < ERR_TEXT_SIZE - used) {
		memcpy(text + used, more, n + 1);
		return;
	}
	memcpy(text + used, more, ERR_TEXT_SIZE - 1 - used);
	mark_cut(text);
}

PRINTF(2, 0) static void format(char text[ERR_TEXT_SIZE], const char *fmt, va_list args)
{
	int n = vsnprintf(text, ERR_TEXT_SIZE, fmt, args);

	if (n < 0)
		text[0] = 0;
	else if (n >= ERR_TEXT_SIZE)
		mark_cut(text);
}

PRINTF(3, 0) static void start(struct err *e, int rc, const char *fmt, va_list args)
{
	/* Formatted aside: an argument may be the old text. */
	char text[ERR_TEXT_SIZE];

	format(text, fmt, args);
	*e = (struct err){.rc = rc};
	append(e->text, text);
}

int err_set(struct err *e, int rc, const char *fmt, ...)
{
	const char *meaning = strerrordesc_np(-rc);
	char number[32];
	va_list args;

	if (!e)
		return rc;
	va_start(args, fmt);
	start(e, rc, fmt, args);
	va_end(args);
	if (!meaning) {
		snprintf(number, sizeof(number), "error %d", rc);
		meaning = number;
	}
	append(e->text, ": ");
	append(e->text, meaning);
	return rc;
}

int err_setx(struct err *e, int rc, const char *fmt, ...)
{
	va_list args;

	if (!e)
		return rc;
	va_start(args, fmt);
	start(e, rc, fmt, args);
	va_end(args);
	return rc;
}

int err_wrap(struct err *e, int rc, const char *fmt, ...)
{
	char text[ERR_TEXT_SIZE];
	va_list args;

	if (!e)
		return rc;
	va_start(args, fmt);
	format(text, fmt, args);
	va_end(args);
	append(text, ": ");
	append(text, e->text);
	memcpy(e->text, text, sizeof(text));
	e->rc = rc;
	return rc;
}
