/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_report.h. */
#include "replicator/drill_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json_out.h"
#include "replicator/epoch.h"

const char *drill_phase_name(enum drill_phase p)
{
	static const char *const names[] = {"preparing", "copying", "building",
					    "living",	 "ending",  "over"};

	return names[p];
}

const char *drill_verdict_name(enum drill_verdict v)
{
	static const char *const names[] = {"undecided", "passed", "failed", "broken",
					    "called-off"};

	return names[v];
}

void drill_report_phase(struct drill_report *r, enum drill_phase p, uint64_t now)
{
	r->phase = p;
	if (!r->at_ns[p])
		r->at_ns[p] = now;
}

void drill_report_verdict(struct drill_report *r, enum drill_verdict v, const char *fmt, ...)
{
	va_list ap;

	if (r->verdict != DRILL_UNDECIDED && !(v == DRILL_BROKEN && r->verdict == DRILL_PASSED))
		return;
	r->verdict = v;
	va_start(ap, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
}

void drill_report_left(struct drill_report *r, const char *what)
{
	size_t used = strlen(r->why);

	if (r->verdict == DRILL_UNDECIDED || r->verdict == DRILL_PASSED)
		drill_report_verdict(r, DRILL_BROKEN, "%s", what);
	else
		snprintf(r->why + used, sizeof(r->why) - used, "; and %s", what);
}

/* From the beginning of a phase to that of the next one that was begun, or to now. */
static double lasted_ms(const struct drill_report *r, enum drill_phase p, uint64_t now)
{
	uint64_t end = r->phase == p ? now : 0;

	if (!r->at_ns[p])
		return 0;
	for (unsigned int i = (unsigned int)p + 1; !end && i <= DRILL_OVER; i++)
		end = r->at_ns[i];
	return (double)clock_until(end, r->at_ns[p]) / (double)NS_PER_MS;
}

static void put_times(struct json *j, const struct drill_report *r, uint64_t now)
{
	struct json *o = json_out_object(j, "ms");
	uint64_t end = r->phase == DRILL_OVER ? r->at_ns[DRILL_OVER] : now;

	for (enum drill_phase p = DRILL_PREPARING; p < DRILL_OVER; p++)
		if (r->at_ns[p])
			json_out_double(o, drill_phase_name(p), lasted_ms(r, p, now));
	if (r->answered_ns)
		json_out_double(o, "answered",
				(double)clock_until(r->answered_ns, r->at_ns[DRILL_LIVING]) /
					(double)NS_PER_MS);
	json_out_double(o, "all",
			(double)clock_until(end, r->at_ns[DRILL_PREPARING]) / (double)NS_PER_MS);
}

static void put_memory(struct json *j, const struct drill_report *r)
{
	struct json *o = json_out_object(j, "memory");

	json_out_u64(o, "needed_mib", r->memory_kib >> 10);
	json_out_u64(o, "free_mib", r->free_kib >> 10);
	if (r->phase == DRILL_OVER)
		json_out_u64(o, "free_after_mib", r->free_after_kib >> 10);
	json_out_u64(o, "copied_pages", r->copied_pages);
	json_out_u64(o, "rounds", r->rounds);
	json_out_u64(o, "last_pages", r->last_pages);
}

void drill_report_put(struct json *j, const struct drill_report *r, uint64_t now)
{
	struct json *o;

	json_out_text(j, "vm", r->vm);
	json_out_text(j, "host", r->host);
	json_out_text(j, "phase", drill_phase_name(r->phase));
	json_out_bool(j, "over", r->phase == DRILL_OVER);
	json_out_text(j, "verdict", drill_verdict_name(r->verdict));
	json_out_bool(j, "passed", r->verdict == DRILL_PASSED);
	json_out_text(j, "why", r->why);
	if (r->epoch == EPOCH_NONE)
		json_out_text(j, "epoch", NULL);
	else
		json_out_u64(j, "epoch", r->epoch);
	put_memory(j, r);
	put_times(j, r, now);
	json_out_double(j, "cpu_ms", (double)r->cpu_ns / (double)NS_PER_MS);
	json_out_text(j, "address", r->address);
	o = json_out_object(j, "probe");
	json_out_text(o, "what", r->probe);
	json_out_i64(o, "status", r->probe_status);
	json_out_text(o, "output", r->output);
	o = json_out_object(j, "disks");
	json_out_u64(o, "count", r->n_disks);
	json_out_u64(o, "overlay_bytes", r->overlay_bytes);
}
