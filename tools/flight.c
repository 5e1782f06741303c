/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See flight.h. */
#include "tools/flight.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/event.h"
#include "lib/flight.h"
#include "lib/json_out.h"
#include "lib/mem.h"
#include "tools/tool.h"

/* By the clocks of the instant at which the worker began. */
static uint64_t wall_us(const struct flight_head *h, uint64_t at_ns)
{
	return h->wall_us + clock_until(at_ns, h->began_ns) / NS_PER_US;
}

static bool is_of(const struct flight_head *h, enum flight_phase p)
{
	return !strcmp(h->side, "backup") == (p == FLIGHT_COMMIT || p == FLIGHT_APPLY);
}

/* ---- for people ---- */

static void print_head(const struct flight_view *v, const char *path)
{
	char time[EVENT_TIME_SIZE];

	printf("%s, %s, process %u, began %s: %u epochs; %s\n", v->head.vm, v->head.side,
	       v->head.pid, event_time(v->head.wall_us, time), v->n, path);
	if (v->torn)
		printf("(%u records are torn: it was written when the worker died, or is now)\n",
		       v->torn);
	printf("%-15s %8s %7s", "at (UTC)", "epoch", "pages");
	for (int p = 0; p < FLIGHT_PHASES; p++) {
		if (is_of(&v->head, p))
			printf(" %8s", flight_phase_name(p));
	}
	printf("   (us)\n");
}

static void print_epoch(const struct flight_head *h, const struct flight_epoch *f)
{
	char time[EVENT_TIME_SIZE];

	/* The time of day: 12:00:00.123456 */
	printf("%.15s %8" PRIu64 " %7u", event_time(wall_us(h, f->at_ns), time) + 11, f->epoch,
	       f->pages);
	for (int p = 0; p < FLIGHT_PHASES; p++) {
		if (is_of(h, p) && f->us[p] == FLIGHT_UNKNOWN)
			printf(" %8s", "-");
		else if (is_of(h, p))
			printf(" %8u", f->us[p]);
	}
	putchar('\n');
}

static void print_text(const struct flight_view *v, const char *path)
{
	print_head(v, path);
	for (unsigned int i = 0; i < v->n; i++) {
		if (i && v->epoch[i].session != v->epoch[i - 1].session)
			printf("-- a new session\n");
		print_epoch(&v->head, &v->epoch[i]);
	}
}

/* ---- for programs ---- */

static int print_json(const struct flight_view *v)
{
	for (unsigned int i = 0; i < v->n; i++) {
		const struct flight_epoch *f = &v->epoch[i];
		struct json *j = json_out_new();
		struct json *us;
		char time[EVENT_TIME_SIZE];
		const char *line;
		size_t len;

		json_out_text(j, "vm", v->head.vm);
		json_out_text(j, "side", v->head.side);
		json_out_u64(j, "pid", v->head.pid);
		json_out_u64(j, "session", f->session);
		json_out_u64(j, "epoch", f->epoch);
		json_out_text(j, "time", event_time(wall_us(&v->head, f->at_ns), time));
		json_out_u64(j, "boot_us", f->at_ns / NS_PER_US);
		json_out_u64(j, "pages", f->pages);
		json_out_u64(j, "bytes", f->bytes);
		us = json_out_object(j, "us");
		for (int p = 0; p < FLIGHT_PHASES; p++) {
			if (f->us[p] != FLIGHT_UNKNOWN)
				json_out_u64(us, flight_phase_name(p), f->us[p]);
		}
		line = j ? json_out_line(j, &len) : NULL;
		if (line)
			printf("%s\n", line);
		json_out_free(j);
		if (!line)
			return tool_fail(TOOL_ERROR, "out of memory");
	}
	return TOOL_OK;
}

/* ---- finding them ---- */

static int show_file(const struct flight_from *from, const char *path)
{
	autofree struct flight_view *v = mem_zalloc(sizeof(*v));
	struct err e = ERR_INIT;

	if (!v)
		return tool_fail(TOOL_ERROR, "out of memory");
	if (flight_read(v, path, &e) < 0)
		return tool_fail(TOOL_ERROR, "%s", e.text);
	if (from->json)
		return print_json(v);
	print_text(v, path);
	return TOOL_OK;
}

/* -ENOENT: there is none of that side. */
static int find(const struct flight_from *from, const char *side, char path[FLIGHT_PATH_SIZE],
		struct err *e)
{
	int rc = flight_path(path, from->run_dir, from->vm, side, e);

	if (rc < 0 || access(path, F_OK) == 0)
		return rc;
	return flight_newest(&(const struct flight_place){from->state_dir, from->vm, side}, path,
			     e);
}

int flight_show(const struct flight_from *from)
{
	static const char *const sides[] = {"primary", "backup"};
	char path[FLIGHT_PATH_SIZE];
	struct err e = ERR_INIT;
	int shown = 0, code = TOOL_OK;

	if (from->file)
		return show_file(from, from->file);
	for (size_t i = 0; i < ARRAY_SIZE(sides) && code == TOOL_OK; i++) {
		int rc = find(from, sides[i], path, &e);

		if (rc == -ENOENT)
			continue;
		code = rc < 0 ? tool_fail(TOOL_ERROR, "%s", e.text) : show_file(from, path);
		shown++;
	}
	if (shown)
		return code;
	return tool_fail(
		TOOL_ERROR,
		"nothing was recorded of %s here: it is not protected, and lost no protection",
		from->vm);
}
