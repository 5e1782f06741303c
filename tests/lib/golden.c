/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See golden.h. */
#include "tests/lib/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/test.h"

#define GOLDEN_MAX 16384

static FILE *open_file(const char *name, const char *mode)
{
	char path[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "tests/lib/golden/%s.hex", name);
	f = fopen(path, mode);
	if (!f)
		fail_msg("%s: cannot be opened; tests run in the tree's top folder", path);
	return f;
}

size_t golden_load(const char *name, void *buf, size_t size)
{
	FILE *f = open_file(name, "r");
	unsigned char *out = buf;
	size_t n = 0;
	char line[256];

	while (fgets(line, sizeof(line), f)) {
		char *p = line;
		int used;
		unsigned int byte;

		while (line[0] != '#' && sscanf(p, " %2x%n", &byte, &used) == 1) {
			if (n == size)
				fail_msg("%s.hex is too long", name);
			out[n++] = (unsigned char)byte;
			p += used;
		}
	}
	(void)fclose(f);
	return n;
}

static void save(const char *name, const unsigned char *data, size_t size)
{
	FILE *f = open_file(name, "w");

	(void)fprintf(f, "# %s, %zu bytes\n", name, size);
	for (size_t i = 0; i < size; i++)
		(void)fprintf(f, "%02x%c", data[i], i % 16 == 15 || i + 1 == size ? '\n' : ' ');
	if (fclose(f) != 0)
		fail_msg("%s.hex cannot be written", name);
}

void golden_check(const char *name, const void *data, size_t size)
{
	static unsigned char good[GOLDEN_MAX];
	const char *mode = getenv("GOLDEN");

	if (mode && strcmp(mode, "write") == 0)
		save(name, data, size);
	assert_int_equal(golden_load(name, good, sizeof(good)), size);
	assert_memory_equal(good, data, size);
}
