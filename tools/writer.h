/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A report for people, programs and Prometheus. Writes to a stream, asks nobody. */
#ifndef TOOLS_WRITER_H
#define TOOLS_WRITER_H

#include <stdio.h>

#include "lib/compiler.h"
#include "tools/collect.h"

/* One line a VM, and below it what is wrong and what to do. */
void write_table(FILE *out, const struct report *r);
/* Everything about one VM on one side. */
void write_detail(FILE *out, const struct seen *s);
/* {"vms":[...the workers' own answers...],"host":{...}} on one line. 0 or -ENOMEM. */
MUST_CHECK int write_json(FILE *out, const struct report *r);
/* The text format of Prometheus, version 0.0.4. */
void write_prometheus(FILE *out, const struct report *r);

#endif
