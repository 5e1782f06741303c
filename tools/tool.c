/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See tool.h. */
#include "tools/tool.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/ctl_client.h"
#include "lib/err.h"

/* A sentence with an error of a daemon in it. */
#define FAIL_SIZE 2048

int tool_ctl_path(char path[TOOL_PATH_SIZE], const char *run_dir, const char *vm, const char *side,
		  struct err *e)
{
	int n;

	if (vm)
		n = snprintf(path, TOOL_PATH_SIZE, "%s/%s.%s.ctl", run_dir, vm, side);
	else
		n = snprintf(path, TOOL_PATH_SIZE, "%s/romulusd.ctl", run_dir);
	if (n < 0 || n >= TOOL_PATH_SIZE)
		return err_set(e, -ENAMETOOLONG, "%.64s", run_dir);
	return 0;
}

int tool_ask_host(const char *run_dir, const char *const argv[], struct json_in **reply,
		  struct err *e)
{
	char path[TOOL_PATH_SIZE];
	int rc = tool_ctl_path(path, run_dir, NULL, NULL, e);

	*reply = NULL;
	if (rc < 0)
		return rc;
	rc = ctl_client_call(path, argv, TOOL_ASK_NS, reply, e);
	if (tool_nobody(rc))
		return err_wrap(e, rc, "romulusd does not run (systemctl start romulusd)");
	return rc;
}

int tool_ask_worker(const struct tool_worker *w, const char *const argv[], struct json_in **reply,
		    struct err *e)
{
	char path[TOOL_PATH_SIZE];
	int rc = tool_ctl_path(path, w->run_dir, w->vm, w->side, e);

	*reply = NULL;
	return rc < 0 ? rc : ctl_client_call(path, argv, w->timeout_ns, reply, e);
}

bool tool_nobody(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED;
}

int tool_fail(int code, const char *fmt, ...)
{
	char text[FAIL_SIZE], line[FAIL_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fflush(stdout);
	/* What the other host said may be a part of it. */
	fprintf(stderr, "romulus: %s\n", tool_clean(text, line, sizeof(line)));
	return code;
}

void tool_pause(uint64_t ns)
{
	fflush(stdout);
	if (poll(NULL, 0, clock_poll_ms(ns)) < 0 && errno != EINTR)
		tool_fail(TOOL_ERROR, "cannot wait: %s", strerrordesc_np(errno));
}

const char *tool_us(double us, char *buf, size_t size)
{
	if (us < 1000)
		snprintf(buf, size, "%.0f us", us);
	else if (us < 1e6)
		snprintf(buf, size, "%.*f ms", us < 1e5 ? 1 : 0, us / 1e3);
	else
		snprintf(buf, size, "%.1f s", us / 1e6);
	return buf;
}

const char *tool_bytes(double bytes, char *buf, size_t size)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	size_t i = 0;

	while (bytes >= 1024 && i < ARRAY_SIZE(units) - 1) {
		bytes /= 1024;
		i++;
	}
	snprintf(buf, size, "%.*f %s", i ? 1 : 0, bytes, units[i]);
	return buf;
}

const char *tool_clean(const char *text, char *buf, size_t size)
{
	size_t n = 0;

	for (; text && *text && n < size - 1; text++) {
		unsigned char c = (unsigned char)*text;

		buf[n++] = c < ' ' || c == 0x7f ? '?' : *text;
	}
	buf[n] = 0;
	return buf;
}
