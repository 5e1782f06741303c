/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See names.h. */
#include "lib/names.h"

#include <stddef.h>
#include <string.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

bool name_ok(const char *text)
{
	size_t len = text ? strnlen(text, NAME_SIZE) : 0;

	if (!len || len == NAME_SIZE || !strchr(LETTERS, text[0]))
		return false;
	return strspn(text, LETTERS "._-") == len;
}
