/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See bench.h. */
#include "lib/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"

static const char *const path_names[BENCH_PATHS] = {
	[BENCH_TOOLSTACK] = "toolstack", [BENCH_XENSTORE] = "xenstore",
	[BENCH_CHANNEL] = "channel",	 [BENCH_CHANNEL_BARE] = "channel-bare",
	[BENCH_PAUSE] = "pause",
};

static const char *const time_names[BENCH_TIMES] = {
	[BENCH_SUSPEND] = "suspend",
	[BENCH_RESUME] = "resume",
	[BENCH_TOTAL] = "total",
};

const char *bench_path_name(enum bench_path path)
{
	return path_names[path];
}

const char *bench_time_name(enum bench_time time)
{
	return time_names[time];
}

/* ---- lists ---- */

bool bench_list_has(const struct bench_list *l, enum bench_path path)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->path[i] == path)
			return true;
	}
	return false;
}

/* The path whose name is the first len bytes of text; BENCH_PATHS: none. */
static enum bench_path find_path(const char *text, size_t len)
{
	enum bench_path p = 0;

	while (p < BENCH_PATHS &&
	       (strlen(path_names[p]) != len || memcmp(text, path_names[p], len) != 0))
		p++;
	return p;
}

int bench_list_parse(const char *text, struct bench_list *out, struct err *e)
{
	*out = (struct bench_list){.n = 0};
	for (;;) {
		size_t len = strcspn(text, ",");
		enum bench_path p = find_path(text, len);

		if (p == BENCH_PATHS)
			return err_setx(e, -EINVAL,
					"\"%.*s\" is no path; there are toolstack, xenstore, "
					"channel, channel-bare and pause",
					(int)MIN(len, (size_t)32), text);
		if (bench_list_has(out, p))
			return err_setx(e, -EINVAL, "%s is named twice", path_names[p]);
		out->path[out->n++] = p;
		if (!text[len])
			return 0;
		text += len + 1;
	}
}

const char *bench_list_format(const struct bench_list *l, char buf[BENCH_LIST_SIZE])
{
	size_t used = 0;

	buf[0] = 0;
	for (size_t i = 0; i < l->n && used < BENCH_LIST_SIZE; i++)
		used += (size_t)snprintf(buf + used, BENCH_LIST_SIZE - used, "%s%s", i ? "," : "",
					 path_names[l->path[i]]);
	return buf;
}

/* ---- lines ---- */

const char *bench_line_format(const struct bench_sample *s, char buf[BENCH_LINE_SIZE])
{
	snprintf(buf, BENCH_LINE_SIZE,
		 "sample path=%s suspend_ns=%" PRIu64 " resume_ns=%" PRIu64 " total_ns=%" PRIu64,
		 path_names[s->path], s->ns[BENCH_SUSPEND], s->ns[BENCH_RESUME],
		 s->ns[BENCH_TOTAL]);
	return buf;
}

static bool take_text(const char **at, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

static bool take_path(const char **at, enum bench_path *out)
{
	size_t len = strcspn(*at, " ");

	*out = find_path(*at, len);
	*at += len;
	return *out != BENCH_PATHS;
}

static bool take_number(const char **at, uint64_t *out)
{
	const char *begin = *at;
	uint64_t v = 0;

	for (; **at >= '0' && **at <= '9'; ++*at) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**at - '0'), &v))
			return false;
	}
	*out = v;
	return *at != begin;
}

int bench_line_parse(const char *line, struct bench_sample *out, bool *done, struct err *e)
{
	const char *at = line;
	bool ok;

	*done = !strcmp(line, BENCH_LINE_DONE);
	if (*done)
		return 0;
	ok = take_text(&at, "sample path=") && take_path(&at, &out->path);
	for (enum bench_time t = 0; ok && t < BENCH_TIMES; t++)
		ok = take_text(&at, " ") && take_text(&at, time_names[t]) &&
		     take_text(&at, "_ns=") && take_number(&at, &out->ns[t]);
	if (ok && !*at)
		return 0;
	return err_setx(e, -EBADMSG, "not a sample: \"%.80s\"", line);
}
