/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of a daemon: whatever they are, a report is read from them and written in all forms. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "lib/json_in.h"
#include "tools/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct report r;
	struct json_in *v = NULL;
	struct err e = ERR_INIT;
	FILE *out;
	int rc;

	if (json_in_parse((const char *)data, size, &v, &e) < 0) {
		assert(*e.text);
		return 0;
	}
	out = fopen("/dev/null", "w");
	assert(out);
	r.n = 1;
	r.host = v;
	r.vm[0] = (struct seen){.vm = "web", .role = "primary", .state = "copying", .status = v};
	tool_clean(json_in_text(v, "problem", ""), r.vm[0].problem, sizeof(r.vm[0].problem));
	write_table(out, &r);
	write_detail(out, &r.vm[0]);
	write_prometheus(out, &r);
	rc = write_json(out, &r);
	assert(rc == 0);
	fclose(out);
	json_in_free(v);
	return 0;
}
