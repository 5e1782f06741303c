/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * romulus suspend-bench with a script for the program that measures: what it is asked, what becomes of its words, its
 * silence and its death, and when it is not started at all. The command runs in a child, for argp ends the process.
 */
#include "tests/lib/test.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/json_in.h"
#include "tests/lib/tool_run.h"
#include "tools/tool.h"

struct fixture {
	char dir[64];
	char out[16384];
	char err[16384];
	pid_t worker;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test_sbench.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	if (f->worker) {
		kill(f->worker, SIGKILL);
		assert_int_equal(waitpid(f->worker, NULL, 0), f->worker);
	}
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* A worker that says `status` to whatever it is asked. */
static void worker(struct fixture *f, const char *name, const char *status)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s.ctl", f->dir, name);
	unlink(addr.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	if (f->worker) {
		kill(f->worker, SIGKILL);
		waitpid(f->worker, NULL, 0);
	}
	f->worker = fork();
	while (!f->worker) {
		char line[256];
		int client = accept(fd, NULL, NULL);

		(void)!recv(client, line, sizeof(line), 0);
		send(client, status, strlen(status), MSG_NOSIGNAL);
		send(client, "\n", 1, MSG_NOSIGNAL);
		close(client);
	}
	close(fd);
}

/* The program that measures: its arguments go to args, then the lines of `body` run. */
static void program(const struct fixture *f, const char *body)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/romulus-suspend-bench", f->dir);
	file = fopen(path, "w");
	fprintf(file, "#!/bin/sh\necho \"$*\" >>%s/args\ncase $* in *--rescue*) exit 0 ;; esac\n%s",
		f->dir, body);
	fclose(file);
	assert_int_equal(chmod(path, 0755), 0);
}

static const char *file(const struct fixture *f, const char *name, char *buf, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return tool_file(path, buf, size);
}

static pid_t start(struct fixture *f, const char *const *args)
{
	char run_dir[96];
	char libexec_dir[96];
	char *argv[16] = {(char *)(uintptr_t) "romulus suspend-bench", run_dir, libexec_dir};
	int argc = 3;

	snprintf(run_dir, sizeof(run_dir), "--run-dir=%s", f->dir);
	snprintf(libexec_dir, sizeof(libexec_dir), "--libexec-dir=%s", f->dir);
	while (*args)
		argv[argc++] = (char *)(uintptr_t)*args++;
	return tool_start(f->dir, cmd_suspend_bench, argc, argv);
}

static int finish(struct fixture *f, pid_t pid)
{
	return tool_finish(f->dir, pid, (struct tool_said){f->out, sizeof(f->out)},
			   (struct tool_said){f->err, sizeof(f->err)});
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define RUN(f, ...) finish(f, start(f, ARGS(__VA_ARGS__)))

#define TWO_SAMPLES                                                                          \
	"echo sample path=xenstore suspend_ns=16000000 resume_ns=600000 total_ns=16600000\n" \
	"echo sample path=pause suspend_ns=28000 resume_ns=27000 total_ns=55000\n"

static void measures(void **state)
{
	struct fixture *f = *state;
	char args[512];
	char plot[96];
	char drawing[16384];

	program(f, TWO_SAMPLES "echo skipped: channel >&2\necho done\n");
	assert_int_equal(RUN(f, "web"), TOOL_OK);
	assert_string_equal(file(f, "args", args, sizeof(args)),
			    "--domain web --cycles 200 --hz 20 --paths "
			    "xenstore,channel,channel-bare,pause\n");
	tool_says(
		f->out,
		"web: suspended and resumed 200 times by each path, at most 20 times a second; ms\n");
	tool_says(f->out, "no figures: channel\nno figures: channel-bare\n");
	tool_says(f->out, "  xenstore          16.600 ");
	assert_string_equal(f->err, "skipped: channel\n");
	snprintf(plot, sizeof(plot), "--plot=%s/plot.svg", f->dir);
	assert_int_equal(RUN(f, "web", "--paths=pause,xenstore", "--compare", "--cycles=7",
			     "--rate=1000", plot),
			 TOOL_OK);
	tool_says(file(f, "args", args, sizeof(args)),
		  "\n--domain web --cycles 7 --hz 1000 --paths pause,xenstore,toolstack\n");
	tool_says(file(f, "plot.svg", drawing, sizeof(drawing)), "</svg>\n");
	assert_int_equal(RUN(f, "web", "--plot=/no/such/dir/x"), TOOL_ERROR);
	tool_says(f->err, "/no/such/dir/x");
	assert_int_equal(RUN(f, "web", "--plot=/dev/full"), TOOL_ERROR);
	tool_says(f->err, "write /dev/full");
}

static void json(void **state)
{
	struct fixture *f = *state;
	struct json_in *v = NULL;

	program(f, TWO_SAMPLES "echo done\n");
	assert_int_equal(RUN(f, "web", "--json", "--paths=xenstore,pause"), TOOL_OK);
	assert_int_equal(json_in_parse(f->out, strlen(f->out), &v, NULL), 0);
	assert_int_equal(json_in_count(v, "paths"), 2);
	assert_true(json_in_bool(v, "complete", false));
	json_in_free(v);
}

static void refuses_what_is_protected(void **state)
{
	static const struct {
		const char *worker;
		const char *status;
		const char *why; /* NULL: it is no obstacle */
	} table[] = {
		{"web.primary", "{\"ok\":true,\"state\":\"protected\",\"protected\":true}",
		 "web is protected (protected)"},
		{"web.primary", "{\"ok\":true,\"state\":\"lost\"}", "web is protected (lost)"},
		{"web.primary", "garbage", "web is protected (silent)"},
		{"web.primary", "{\"ok\":true,\"state\":\"ended\"}", NULL},
		{"web.backup", "{\"ok\":true,\"state\":\"standing\"}", "this host is the backup"},
		{"web.backup", "{\"ok\":true,\"state\":\"active\"}", NULL},
		{"web2.primary", "{\"ok\":true,\"state\":\"protected\"}", NULL},
		{"romulusd",
		 "{\"ok\":true,\"vms\":[{\"vm\":\"web\",\"role\":\"primary\",\"peer\":\"b\"}]}",
		 "web is protected (stopped)"},
		{"romulusd",
		 "{\"ok\":true,\"vms\":[{\"vm\":\"web\",\"role\":\"active\",\"peer\":\"b\"}]}",
		 NULL},
	};
	struct fixture *f = *state;
	char text[512];

	program(f, TWO_SAMPLES "echo done\n");
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		snprintf(text, sizeof(text), "rm -f %s/args %s/*.ctl", f->dir, f->dir);
		assert_int_equal(system(text), 0);
		worker(f, table[i].worker, table[i].status);
		assert_int_equal(RUN(f, "web"), table[i].why ? TOOL_ERROR : TOOL_OK);
		file(f, "args", text, sizeof(text));
		if (!table[i].why) {
			assert_int_not_equal(text[0], 0);
			continue;
		}
		tool_says(f->err, table[i].why);
		assert_string_equal(text, "");
		assert_int_equal(RUN(f, "web", "--rescue"), TOOL_ERROR);
		assert_string_equal(file(f, "args", text, sizeof(text)), "");
	}
}

static void program_fails(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->err, "/romulus-suspend-bench: No such file");
	program(f, "echo no such domain >&2; exit 1\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->err, "no such domain\n");
	tool_says(f->err, "ended with status 1 after 0 cycles");
	assert_string_equal(f->out, "");
	program(f, TWO_SAMPLES "exit 1\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->err, "ended with status 1 after 2 cycles");
	tool_says(f->out, "BROKEN OFF");
	tool_says(f->out, "  pause ");
	program(f, TWO_SAMPLES);
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->err, "ended with status 0 after 2 cycles");
	program(f, TWO_SAMPLES "echo hello\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->err, "not a sample: \"hello\"");
	program(f, TWO_SAMPLES "echo done; echo done\n");
	assert_int_equal(RUN(f, "web"), TOOL_ERROR);
	tool_says(f->err, "words after the last one");
	program(f, TWO_SAMPLES TWO_SAMPLES "echo done\n");
	assert_int_equal(RUN(f, "web", "--cycles=1"), TOOL_ERROR);
	tool_says(f->err, "more than 1 samples of xenstore");
}

static void rescues_after_a_death(void **state)
{
	struct fixture *f = *state;
	char args[512];

	program(f, TWO_SAMPLES "kill -9 $$\n");
	assert_int_equal(RUN(f, "web", "--paths=pause,xenstore"), TOOL_ERROR);
	tool_says(f->err, "ended with status 137 after 2 cycles");
	tool_says(file(f, "args", args, sizeof(args)), "pause,xenstore\n--rescue --domain web\n");
	assert_int_equal(RUN(f, "web", "--rescue"), TOOL_OK);
	assert_string_equal(f->out, "");
}

static void stops_and_shows_what_there_is(void **state)
{
	const struct timespec step = {.tv_nsec = 10000000};
	struct fixture *f = *state;
	char begun[96];
	char args[512];
	pid_t pid;

	program(f,
		"trap 'echo sample path=pause suspend_ns=1 resume_ns=2 total_ns=3; exit 1' TERM\n" TWO_SAMPLES
		"touch $(dirname $0)/begun; while :; do sleep 0.1; done\n");
	snprintf(begun, sizeof(begun), "%s/begun", f->dir);
	pid = start(f, ARGS("web"));
	for (int i = 0; i < 5000 && access(begun, F_OK) < 0; i++)
		nanosleep(&step, NULL);
	kill(pid, SIGINT);
	assert_int_equal(finish(f, pid), TOOL_ERROR);
	tool_says(f->err, "was stopped");
	tool_says(f->out, "BROKEN OFF");
	tool_says(f->out, "  pause              0.014     0.000     0.028 ");
	assert_null(strstr(file(f, "args", args, sizeof(args)), "rescue"));
}

static void usage_errors(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, "--json"), TOOL_USAGE);
	assert_int_equal(RUN(f, "a", "b"), TOOL_USAGE);
	assert_int_equal(RUN(f, "a/b"), TOOL_USAGE);
	assert_int_equal(RUN(f, "17"), TOOL_USAGE);
	tool_says(f->err, "name is wanted");
	assert_int_equal(RUN(f, "web", "--cycles=0"), TOOL_USAGE);
	assert_int_equal(RUN(f, "web", "--cycles=1000001"), TOOL_USAGE);
	assert_int_equal(RUN(f, "web", "--cycles=-1"), TOOL_USAGE);
	assert_int_equal(RUN(f, "web", "--cycles=10x"), TOOL_USAGE);
	assert_int_equal(RUN(f, "web", "--rate=1001"), TOOL_USAGE);
	assert_int_equal(RUN(f, "web", "--rate="), TOOL_USAGE);
	assert_int_equal(RUN(f, "web", "--paths=fast"), TOOL_USAGE);
	assert_int_equal(RUN(f, "web", "--paths="), TOOL_USAGE);
	assert_int_equal(RUN(f, "web", "--nonsense"), TOOL_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(measures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(json, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_what_is_protected, set_up, tear_down),
		cmocka_unit_test_setup_teardown(program_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rescues_after_a_death, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stops_and_shows_what_there_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(usage_errors, set_up, tear_down),
	};

	return RUN_TESTS("suspend_bench_cmd", tests);
}
