/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See uuid.h. */
#include "lib/uuid.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static int digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)((at - digits) % 16) : -1;
}

/* A dash comes before these bytes. */
static bool after_dash(size_t i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

int uuid_parse(const char *text, uint8_t uuid[UUID_SIZE])
{
	const char *p = text;

	if (strlen(text) != UUID_TEXT_SIZE - 1)
		return -EINVAL;
	for (size_t i = 0; i < UUID_SIZE; i++, p += 2) {
		if (after_dash(i) && *p++ != '-')
			return -EINVAL;
		if (digit(p[0]) < 0 || digit(p[1]) < 0)
			return -EINVAL;
		uuid[i] = (uint8_t)(digit(p[0]) * 16 + digit(p[1]));
	}
	return uuid_is_nil(uuid) ? -EINVAL : 0;
}

const char *uuid_format(const uint8_t uuid[UUID_SIZE], char text[UUID_TEXT_SIZE])
{
	char *p = text;

	for (size_t i = 0; i < UUID_SIZE; i++, p += 2) {
		if (after_dash(i))
			*p++ = '-';
		(void)snprintf(p, 3, "%02x", uuid[i]);
	}
	return text;
}

bool uuid_is_nil(const uint8_t uuid[UUID_SIZE])
{
	static const uint8_t nil[UUID_SIZE];

	return memcmp(uuid, nil, sizeof(nil)) == 0;
}
