/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See ctl_std.h. */
#include "lib/ctl_std.h"

#include <errno.h>
#include <unistd.h>

#include "lib/ctl_server.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "lib/log.h"

static int on_version(void *ctx, struct ctl_request *rq, struct err *e)
{
	json_out_text(rq->reply, "program", ctx);
	json_out_text(rq->reply, "version", VERSION_TEXT);
	json_out_i64(rq->reply, "pid", getpid());
	return 0;
}

static int on_log_level(void *ctx, struct ctl_request *rq, struct err *e)
{
	const char *module = rq->argc == 2 ? rq->argv[1] : NULL;
	enum log_level level;
	int rc = log_level_parse(rq->argv[0], &level);

	if (rc < 0)
		return err_setx(e, rc, "\"%.40s\" is none of: err, warn, info, debug", rq->argv[0]);
	rc = log_set_level(module, level);
	return rc < 0 ? err_set(e, rc, "set the level of \"%.40s\"", module ? module : "all") : 0;
}

static void add_line(void *arg, const char *line)
{
	json_out_text(arg, NULL, line);
}

static int on_log_dump(void *ctx, struct ctl_request *rq, struct err *e)
{
	log_ring_dump(add_line, json_out_array(rq->reply, "lines"));
	return 0;
}

int ctl_std_add(struct ctl_server *s, const char *program)
{
	const struct ctl_command commands[] = {
		{"version", " what this is", 0, 0, on_version, (void *)program},
		{"log/level", "err|warn|info|debug [MODULE]  what is logged from now on", 1, 2,
		 on_log_level, NULL},
		{"log/dump", " the last log lines", 0, 0, on_log_dump, NULL},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(commands); i++)
		rc = ctl_server_add(s, &commands[i]);
	return rc;
}
