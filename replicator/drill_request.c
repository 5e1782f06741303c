/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_request.h. */
#include "replicator/drill_request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/names.h"

static bool is_word(const char *text, size_t size, const char *word)
{
	return size == strlen(word) && memcmp(text, word, size) == 0;
}

/* A command line: printable, one line. */
static int take_probe(struct drill_request *r, const char *probe, struct err *e)
{
	size_t len = strnlen(probe, DRILL_PROBE_SIZE);

	if (len == DRILL_PROBE_SIZE)
		return err_setx(e, -EINVAL, "a probe of more than %d bytes: put it into a script",
				DRILL_PROBE_SIZE - 1);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)probe[i] < ' ' || probe[i] == 0x7f)
			return err_setx(e, -EINVAL, "the probe has a control character in it");
	memcpy(r->probe, probe, len + 1);
	return 0;
}

static int parse_start(struct drill_request *r, const char *text, size_t size, struct err *e)
{
	struct json_in *j = NULL;
	int rc = json_in_parse(text, size, &j, e);

	if (rc < 0)
		return err_wrap(e, -EINVAL, "start of a drill");
	r->time_ms = json_in_u64(j, "time_ms", DRILL_TIME_DEFAULT_MS);
	rc = take_probe(r, json_in_text(j, "probe", ""), e);
	json_in_free(j);
	if (rc < 0)
		return rc;
	if (r->time_ms < DRILL_TIME_MIN_MS || r->time_ms > DRILL_TIME_MAX_MS)
		return err_setx(e, -EINVAL, "a drill of %" PRIu64 " ms: it must be %d to %d",
				r->time_ms, DRILL_TIME_MIN_MS, DRILL_TIME_MAX_MS);
	return 0;
}

int drill_request_parse(struct drill_request *r, const char *text, size_t size, struct err *e)
{
	static const char start[] = "start ";

	*r = (struct drill_request){.verb = DRILL_ASK, .time_ms = DRILL_TIME_DEFAULT_MS};
	if (is_word(text, size, "ask"))
		return 0;
	if (is_word(text, size, "end")) {
		r->verb = DRILL_END;
		return 0;
	}
	r->verb = DRILL_START;
	if (is_word(text, size, "start"))
		return 0;
	if (size > sizeof(start) - 1 && memcmp(text, start, sizeof(start) - 1) == 0)
		return parse_start(r, text + sizeof(start) - 1, size - (sizeof(start) - 1), e);
	return err_setx(e, -EINVAL, "a drill's word '%.*s'; there are start, ask and end",
			(int)MIN(size, (size_t)32), text);
}

int drill_request_remote(const struct drill_request *r, const char *dir, char *path, size_t size,
			 struct err *e)
{
	int n;

	if (!name_ok(r->probe))
		return err_setx(e, -EPERM,
				"'%.64s' was asked for by the other host, which may only name a "
				"program in %s of this one: put it there, or type the drill here",
				r->probe, dir);
	n = snprintf(path, size, "%s/%s", dir, r->probe);
	if (n < 0 || (size_t)n >= size)
		return err_set(e, -ENAMETOOLONG, "probe %s", r->probe);
	return 0;
}
