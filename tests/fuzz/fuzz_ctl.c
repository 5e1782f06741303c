/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Request lines: words come out within bounds, and joining and splitting them again changes nothing. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "lib/ctl_line.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char line[CTL_LINE_MAX];
	char again[3 * CTL_LINE_MAX];
	char *argv[CTL_ARGS_MAX + 1];
	char *argv2[CTL_ARGS_MAX + 1];
	struct err e = ERR_INIT;
	size_t len;
	int n;

	if (size >= sizeof(line))
		return 0;
	memcpy(line, data, size);
	line[size] = 0;
	n = ctl_split(line, argv, CTL_ARGS_MAX, &e);
	if (n < 0) {
		assert(*e.text);
		return 0;
	}
	assert(n <= CTL_ARGS_MAX && !argv[n]);
	if (!n)
		return 0;
	for (int i = 0; i < n; i++)
		assert(argv[i] >= line && argv[i] + strlen(argv[i]) < line + sizeof(line));
	assert(ctl_join((const char *const *)argv, again, sizeof(again), &len) == 0);
	assert(len && again[len - 1] == '\n');
	again[len - 1] = 0;
	assert(strlen(again) == len - 1);
	assert(ctl_split(again, argv2, CTL_ARGS_MAX, NULL) == n);
	for (int i = 0; i < n; i++)
		assert(!strcmp(argv[i], argv2[i]));
	return 0;
}
