/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts of a peer, and of this host: whatever they are, the judgement is in bounds and clean for a terminal. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "lib/err.h"
#include "lib/json_in.h"
#include "tools/doctor_judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct json_in *here, const struct json_in *there)
{
	static struct doctor_report r;
	const struct doctor_case c = {.peer = "b",
				      .vm = "web",
				      .policy = "hold",
				      .here = here,
				      .there = there,
				      .here_problem = "",
				      .there_problem = "",
				      .rtt_us = 300,
				      .asked_us = 1000000,
				      .now = 1795694400,
				      .arbiter_text = ""};

	doctor_judge(&c, &r);
	assert(r.n && r.n <= DOCTOR_LINES);
	for (unsigned int i = 0; i < r.n; i++) {
		assert(r.line[i].verdict <= r.worst && *r.line[i].check);
		assert(!*r.line[i].todo == (r.line[i].verdict == DOCTOR_OK));
		for (const char *p = r.line[i].found; *p; p++)
			assert((unsigned char)*p >= ' ' && *p != 0x7f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char good[] =
		"{\"host\":\"a\",\"bridges\":[\"xenbr0\"],\"xen\":{\"hap\":true,\"free_mib\":4000,"
		"\"cpu\":{\"vendor\":\"x\",\"features\":{\"7.ebx\":32}}},\"disks\":[{\"name\":\"d\","
		"\"size\":512,\"server\":{}}],\"vm\":{\"found\":true,\"type\":\"pvh\",\"hap\":true,"
		"\"max_mib\":100,\"vifs\":[{\"bridge\":\"xenbr0\"}],\"disks\":[{\"name\":\"d\"}]}}";
	struct json_in *v = NULL, *other = NULL;
	struct err e = ERR_INIT;

	if (json_in_parse((const char *)data, size, &v, &e) < 0)
		return 0;
	if (json_in_parse(good, sizeof(good) - 1, &other, &e) < 0)
		assert(false);
	judge(other, v);
	judge(v, other);
	judge(v, v);
	judge(v, NULL);
	json_in_free(v);
	json_in_free(other);
	return 0;
}
