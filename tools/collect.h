/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known on this host about its VMs: every worker's answer to `status`, and for VMs without a
 * worker what romulusd remembers. Any member of an answer may be missing. One thread.
 */
#ifndef TOOLS_COLLECT_H
#define TOOLS_COLLECT_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/compiler.h"
#include "lib/names.h"
#include "tools/tool.h"

struct err;
struct json_in;

#define COLLECT_MAX 256
#define COLLECT_TEXT 512

/* One VM on one side. Texts are clean for a terminal. */
struct seen {
	char vm[NAME_SIZE];
	char role[16]; /* "primary", "backup", "none" */
	char state
		[32]; /* the worker's word; or "silent", "restarting", "refused", "alone", "stopped" */
	char peer[NAME_SIZE];
	bool is_protected;
	char problem[COLLECT_TEXT]; /* empty: none */
	char hint[COLLECT_TEXT];
	struct json_in *status; /* the worker's answer or NULL */
};

struct report {
	struct json_in *host;		 /* romulusd's answer or NULL */
	char host_problem[COLLECT_TEXT]; /* why it is NULL */
	size_t n;
	struct seen vm[COLLECT_MAX]; /* by name, primary first */
};

/*
 * only: one VM, or NULL for all. 0; -ENOMEM; or the error of reading run_dir. A daemon that does not
 * answer is part of the report. Free *out with collect_free().
 */
MUST_CHECK int collect(const char *run_dir, const char *only, struct report **out, struct err *e);
/* NULL is a no-op. */
void collect_free(struct report *r);

/* Of one VM, and the worst of a report; nothing there is TOOL_NOT_PROTECTED. */
enum tool_exit seen_exit(const struct seen *s);
enum tool_exit report_exit(const struct report *r);

#endif
