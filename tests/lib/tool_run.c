/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See tool_run.h. */
#include "tests/lib/tool_run.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "tools/tool.h"

#define PATH_SIZE 128
#define LIMIT_SECONDS 60

static void name_outputs(const char *dir, char out[PATH_SIZE], char err[PATH_SIZE])
{
	snprintf(out, PATH_SIZE, "%s/out", dir);
	snprintf(err, PATH_SIZE, "%s/err", dir);
}

pid_t tool_start(const char *dir, tool_fn fn, int argc, char **argv)
{
	char out[PATH_SIZE];
	char err[PATH_SIZE];
	pid_t pid = fork();
	int status;

	if (pid)
		return pid;
	name_outputs(dir, out, err);
	alarm(LIMIT_SECONDS);
	if (!freopen(out, "w", stdout) || !freopen(err, "w", stderr))
		_exit(99);
	argp_err_exit_status = TOOL_USAGE;
	status = fn(argc, argv);
	fflush(NULL);
	_exit(status);
}

int tool_finish(const char *dir, pid_t pid, struct tool_said out, struct tool_said err)
{
	char out_path[PATH_SIZE];
	char err_path[PATH_SIZE];
	int status;

	name_outputs(dir, out_path, err_path);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	tool_file(out_path, out.text, out.size);
	tool_file(err_path, err.text, err.size);
	if (!WIFEXITED(status))
		fail_msg("ended by signal %d: %s", WTERMSIG(status), err.text);
	return WEXITSTATUS(status);
}

const char *tool_file(const char *path, char *buf, size_t size)
{
	FILE *file = fopen(path, "r");

	buf[0] = 0;
	if (!file)
		return buf;
	buf[fread(buf, 1, size - 1, file)] = 0;
	fclose(file);
	return buf;
}

void tool_says(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("\"%s\" is not in: %s", what, text);
}
