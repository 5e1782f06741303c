/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subcommands of romulus against fake daemons: exit codes, what is asked, what is said. Each command
 * runs in a child, for argp ends the process; the daemons are children that answer from a script.
 */
#include "tests/lib/test.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/json_in.h"
#include "tests/lib/tool_run.h"
#include "tools/tool.h"

#define MAX_FAKES 8

struct fixture {
	char dir[64];
	char run_dir[96]; /* "--run-dir=..." */
	char out[65536];
	char err[16384];
	pid_t fake[MAX_FAKES];
	int n_fakes;
};

/* An answer to requests that start with `request`; of several, each is given once, the last for ever. */
struct answer {
	const char *request;
	const char *answer; /* NULL: remove the socket and end, "": hang up */
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test_tools.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->run_dir, sizeof(f->run_dir), "--run-dir=%s", f->dir);
	*state = f;
	return 0;
}

static void stop_fakes(struct fixture *f)
{
	while (f->n_fakes) {
		pid_t pid = f->fake[--f->n_fakes];

		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	stop_fakes(f);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* ---- fake daemons ---- */

static void serve_one(int fd, const char *log, const char *socket_path,
		      const struct answer *answers, int *given)
{
	static const struct answer unknown = {"", "{\"ok\":false,\"error\":\"unknown command\"}"};
	const struct answer *use = NULL;
	char line[8192] = "";
	size_t used = 0;
	FILE *file;
	int at = -1;

	while (used < sizeof(line) - 1 && !memchr(line, '\n', used)) {
		ssize_t n = recv(fd, line + used, sizeof(line) - 1 - used, 0);

		if (n <= 0)
			return;
		used += (size_t)n;
	}
	line[used] = 0;
	file = fopen(log, "a");
	fputs(line, file);
	fclose(file);
	for (int i = 0; answers[i].request; i++) {
		if (strncmp(line, answers[i].request, strlen(answers[i].request)) != 0)
			continue;
		use = &answers[i];
		at = i;
		if (!given[i])
			break;
	}
	if (use)
		given[at] = 1;
	else
		use = &unknown;
	if (!use->answer) {
		unlink(socket_path);
		_exit(0);
	}
	if (*use->answer) {
		send(fd, use->answer, strlen(use->answer), MSG_NOSIGNAL);
		send(fd, "\n", 1, MSG_NOSIGNAL);
	}
}

/* name: "romulusd", "web.primary". Requests are logged in <dir>/<name>.log. */
static void fake(struct fixture *f, const char *name, const struct answer *answers)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int given[32] = {0};
	char log[128];
	pid_t pid;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s.ctl", f->dir, name);
	snprintf(log, sizeof(log), "%s/%s.log", f->dir, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	pid = fork();
	if (!pid) {
		alarm(60);
		for (;;) {
			int client = accept(fd, NULL, NULL);

			serve_one(client, log, addr.sun_path, answers, given);
			close(client);
		}
	}
	close(fd);
	assert_true(f->n_fakes < MAX_FAKES);
	f->fake[f->n_fakes++] = pid;
}

static const char *asked(const struct fixture *f, const char *name, char buf[4096])
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s.log", f->dir, name);
	tool_file(path, buf, 4096);
	unlink(path);
	return buf;
}

/* ---- running a command ---- */

static int run_args(struct fixture *f, tool_fn fn, const char *const *args, int n)
{
	char *argv[16] = {(char *)(uintptr_t) "romulus test", f->run_dir};
	int argc = fn == cmd_cert ? 1 : 2;

	for (int i = 0; i < n; i++)
		argv[argc++] = (char *)(uintptr_t)args[i];
	argv[argc] = NULL;
	return tool_finish(f->dir, tool_start(f->dir, fn, argc, argv),
			   (struct tool_said){f->out, sizeof(f->out)},
			   (struct tool_said){f->err, sizeof(f->err)});
}

#define RUN(f, fn, ...)                                                 \
	run_args(f, fn, (const char *const[]){NULL, ##__VA_ARGS__} + 1, \
		 (int)(sizeof((const char *const[]){NULL, ##__VA_ARGS__}) / sizeof(char *)) - 1)

#define HOST "{\"ok\":true,\"role\":\"host\",\"host\":\"hosta\",\"workers\":[],\"vms\":[]}"
#define PROTECTED                                                                                        \
	"{\"ok\":true,\"vm\":\"web\",\"role\":\"primary\",\"state\":\"protected\",\"protected\":true,"   \
	"\"since_ms\":5000,\"term\":1,\"epoch\":1234,\"acked\":1233,\"peer\":\"hostb\","                 \
	"\"peer_heard_ms\":20,\"policy\":\"backup-wins\",\"rate_hz\":19.9,\"pause_us\":{\"count\":1234," \
	"\"p50\":1500,\"p99\":3200,\"max\":9000},\"dirty_pages\":{\"last\":3,\"p50\":500,\"p99\":900},"  \
	"\"wire\":{\"raw_bytes\":1000000,\"sent_bytes\":250000},\"lag_ms\":{\"p50\":52.5,\"p99\":70},"   \
	"\"output\":{\"held_frames\":12,\"held_bytes\":3482,\"dropped\":0},\"throttle_percent\":80,"     \
	"\"problem\":\"\",\"hint\":\"\"}"
#define STATE(role, state)                                                     \
	"{\"ok\":true,\"vm\":\"web\",\"role\":\"" role "\",\"state\":\"" state \
	"\",\"peer\":\"hostb\"}"
#define COPYING(percent)                                                                       \
	"{\"ok\":true,\"state\":\"copying\",\"peer\":\"hostb\",\"copy\":{\"percent\":" percent \
	",\"mb_s\":110}}"

static const struct answer host_empty[] = {{"status", HOST}, {0}};

/* ---- status ---- */

static void status_without_daemons(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, cmd_status), TOOL_ERROR);
	tool_says(f->out, "romulusd does not run");
	assert_int_equal(RUN(f, cmd_status, "web"), TOOL_ERROR);
	fake(f, "romulusd", host_empty);
	assert_int_equal(RUN(f, cmd_status), TOOL_NOT_PROTECTED);
	tool_says(f->out, "no VM is protected");
	assert_int_equal(RUN(f, cmd_status, "web"), TOOL_NOT_PROTECTED);
	tool_says(f->out, "web: NOT PROTECTED");
}

static void status_exit_codes(void **state)
{
	static const struct {
		const char *answer;
		int code;
	} table[] = {
		{PROTECTED, TOOL_OK},
		{STATE("primary", "connecting"), TOOL_DEGRADED},
		{STATE("primary", "copying"), TOOL_DEGRADED},
		{STATE("primary", "syncing"), TOOL_DEGRADED},
		/* Honest: the state's name is not enough. */
		{STATE("primary", "protected"), TOOL_DEGRADED},
		{STATE("primary", "lost"), TOOL_DEGRADED},
		{STATE("primary", "handing-over"), TOOL_DEGRADED},
		{STATE("primary", "leaving"), TOOL_NOT_PROTECTED},
		{STATE("primary", "deposed"), TOOL_NOT_PROTECTED},
		{STATE("primary", "ended"), TOOL_NOT_PROTECTED},
		{STATE("backup", "building"), TOOL_DEGRADED},
		{STATE("backup", "standing"), TOOL_DEGRADED},
		{STATE("backup", "active"), TOOL_NOT_PROTECTED},
		{"{\"ok\":true}", TOOL_NOT_PROTECTED},
		{"{\"ok\":true,\"state\":7,\"protected\":\"yes\",\"peer\":[],\"pause_us\":3}",
		 TOOL_NOT_PROTECTED},
		{"{\"ok\":false,\"error\":\"busy\"}", TOOL_DEGRADED},
		{"garbage", TOOL_DEGRADED},
		{"", TOOL_DEGRADED},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct answer worker[] = {{"status", table[i].answer}, {0}};
		char path[128];
		int code;

		snprintf(path, sizeof(path), "%s/web.primary.ctl", f->dir);
		unlink(path);
		fake(f, "web.primary", worker);
		code = RUN(f, cmd_status);
		if (code != table[i].code)
			fail_msg("%s gave %d:\n%s", table[i].answer, code, f->out);
		assert_int_equal(RUN(f, cmd_status, "web"), table[i].code);
		tool_says(f->out, "web: ");
		assert_int_equal(RUN(f, cmd_status, "other"), TOOL_ERROR);
		stop_fakes(f);
	}
}

static void status_text(void **state)
{
	static const struct answer web[] = {{"status", PROTECTED}, {0}};
	static const struct answer db[] = {
		{"status", "{\"ok\":true,\"state\":\"lost\",\"peer\":\"hostb\",\"problem\":"
			   "\"no word \\u001b[2J for 3 s\",\"hint\":\"look at hostb\"}"},
		{0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host_empty);
	fake(f, "web.primary", web);
	fake(f, "db.backup", db);
	assert_int_equal(RUN(f, cmd_status), TOOL_DEGRADED);
	tool_says(
		f->out,
		"web              primary  protected      hostb              1234   19.9    1.5 ms "
		"   3.2 ms   52.5 ms\n");
	tool_says(f->out, "db               backup   lost ");
	tool_says(f->out, "problem: no word ?[2J for 3 s\n");
	tool_says(f->out, "do: look at hostb\n");
	assert_null(strchr(f->out, '\033'));
	assert_int_equal(RUN(f, cmd_status, "web"), TOOL_OK);
	tool_says(
		f->out,
		"web: protected, protected (here: primary, peer: hostb, on peer loss: backup-wins)");
	tool_says(f->out, "epoch    1234, acknowledged 1233, 19.9 a second, term 1");
	tool_says(f->out,
		  "pause    p50 1.5 ms, p99 3.2 ms, max 9.0 ms; dirty pages p50 500, p99 900");
	tool_says(f->out, "12 frames held (3.4 KiB), 0 dropped");
	tool_says(f->out, "244.1 KiB for 976.6 KiB of pages (25%)");
	tool_says(f->out, "80 percent of its CPU time");
	assert_int_equal(RUN(f, cmd_status, "web", "--watch=100ms", "--count=3"), TOOL_OK);
	{
		const char *second = strstr(f->out + 1, "web: protected");

		assert_non_null(second);
		assert_non_null(strstr(second + 1, "web: protected"));
	}
}

static void status_of_disks(void **state)
{
	static const struct answer web[] = {
		{"status",
		 "{\"ok\":true,\"state\":\"copying\",\"peer\":\"hostb\",\"disks\":["
		 "{\"name\":\"root\",\"served\":true,\"state\":\"active\",\"in_sync\":true,"
		 "\"behind_bytes\":4096,\"left_s\":null,\"fill_percent\":12,"
		 "\"journal_free_bytes\":1048576,\"problem\":\"\"},"
		 "{\"name\":\"data\",\"served\":true,\"state\":\"active\",\"in_sync\":false,"
		 "\"behind_bytes\":1073741824,\"left_s\":90,\"fill_percent\":0,\"journal_free_bytes\":0,\"problem\":\"slow \\u001b\"},"
		 "{\"name\":\"log\",\"served\":false,\"state\":\"unknown\",\"journal_free_bytes\":null}]}"},
		{0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host_empty);
	fake(f, "web.primary", web);
	assert_int_equal(RUN(f, cmd_status, "web"), TOOL_DEGRADED);
	tool_says(f->out, "disk     root: active, in sync, 4.0 KiB behind, log 12% full, journal "
			  "1.0 MiB free\n");
	tool_says(
		f->out,
		"disk     data: active, NOT in sync, 1.0 GiB behind, 90 s to go, journal 0 bytes free\n");
	tool_says(f->out, "           slow ?\n");
	tool_says(f->out, "disk     log: unknown, its romulus-disk does not answer");
}

static void status_json(void **state)
{
	static const struct answer web[] = {{"status", PROTECTED}, {0}};
	static const struct answer dead[] = {{"status", ""}, {0}};
	struct fixture *f = *state;
	struct json_in *v = NULL;

	fake(f, "romulusd", host_empty);
	fake(f, "web.primary", web);
	fake(f, "db.primary", dead);
	assert_int_equal(RUN(f, cmd_status, "--json"), TOOL_DEGRADED);
	assert_int_equal(json_in_parse(f->out, strlen(f->out), &v, NULL), 0);
	assert_int_equal(json_in_count(v, "vms"), 2);
	assert_string_equal(json_in_text(json_in_item(v, "vms", 0), "state", ""), "silent");
	assert_int_equal(json_in_u64(json_in_item(v, "vms", 1), "pause_us.p99", 0), 3200);
	assert_string_equal(json_in_text(v, "host.host", ""), "hosta");
	json_in_free(v);
}

static void status_prometheus(void **state)
{
	static const struct answer web[] = {{"status", PROTECTED}, {0}};
	struct fixture *f = *state;
	regex_t line;
	char *save = NULL;
	int n = 0;

	assert_int_equal(
		regcomp(&line,
			"^(# (HELP romulus_[a-z_]+ .+|TYPE romulus_[a-z_]+ (gauge|counter))|"
			"romulus_[a-z_]+(\\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\\})? "
			"[-+0-9.e]+)$",
			REG_EXTENDED | REG_NOSUB),
		0);
	fake(f, "web.primary", web);
	assert_int_equal(RUN(f, cmd_status, "--prometheus"), TOOL_OK);
	tool_says(f->out, "romulus_up 0\n");
	tool_says(f->out, "romulus_protected{vm=\"web\",role=\"primary\"} 1\n");
	tool_says(f->out, "romulus_state{vm=\"web\",role=\"primary\",state=\"protected\"} 1\n");
	tool_says(f->out,
		  "romulus_pause_seconds{vm=\"web\",role=\"primary\",quantile=\"0.5\"} 0.0015");
	tool_says(f->out, "romulus_wire_sent_bytes_total{vm=\"web\",role=\"primary\"} 250000\n");
	for (char *p = strtok_r(f->out, "\n", &save); p; p = strtok_r(NULL, "\n", &save), n++) {
		if (regexec(&line, p, 0, NULL, 0) != 0)
			fail_msg("no line of Prometheus: %s", p);
	}
	assert_true(n > 40);
	regfree(&line);
}

static void status_of_what_has_no_worker(void **state)
{
	static const struct answer host[] = {
		{"status",
		 "{\"ok\":true,\"workers\":["
		 "{\"vm\":\"web\",\"side\":\"primary\",\"state\":\"refused\",\"problem\":\"there is no VM web\"},"
		 "{\"vm\":\"db\",\"side\":\"primary\",\"state\":\"restarting\",\"problem\":\"ended by signal 9\"},"
		 "{\"vm\":\"\",\"side\":\"backup\",\"state\":\"running\"},"
		 "{\"vm\":\"../x\",\"side\":\"backup\",\"state\":\"running\"},7],"
		 "\"vms\":[{\"vm\":\"web\",\"role\":\"primary\",\"peer\":\"hostb\"},"
		 "{\"vm\":\"mail\",\"role\":\"active\",\"peer\":\"hostb\"},"
		 "{\"vm\":\"old\",\"role\":\"none\"},{\"vm\":\"torn\",\"problem\":\"torn file\"}]}"},
		{0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host);
	assert_int_equal(RUN(f, cmd_status), TOOL_NOT_PROTECTED);
	tool_says(f->out, "web              primary  refused        hostb");
	tool_says(f->out, "problem: there is no VM web");
	tool_says(f->out, "db               primary  restarting");
	tool_says(f->out, "mail             none     alone ");
	tool_says(f->out, "whether it runs is not known");
	tool_says(f->out, "problem: torn file");
	assert_null(strstr(f->out, "old "));
	assert_null(strstr(f->out, "../x"));
	assert_int_equal(RUN(f, cmd_status, "db"), TOOL_DEGRADED);
	assert_int_equal(RUN(f, cmd_status, "mail"), TOOL_NOT_PROTECTED);
}

static void usage_errors(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN(f, cmd_status, "--nonsense"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_status, "a/b"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_status, "a", "b"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_status, "--watch=5"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_status, "--watch=1ms"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_status, "--count=0"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_protect), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_protect, "web", "--epoch=fast"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_protect, "web", "--to=a b"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_protect, "web", "--on-peer-loss=both"), TOOL_USAGE);
	tool_says(f->err, "There is no default");
	assert_int_equal(RUN(f, cmd_unprotect), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_failover), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_forget), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_surrender), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_surrender, "web", "db"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--disk=a/b"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--disk=a", "--disk=a"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_cert), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_cert, "host"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_cert, "ca", "x", "y"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_cert, "ca", "--days=0"), TOOL_USAGE);
}

/* ---- protect ---- */

#define PLAN                                                                                                \
	"{\"ok\":true,\"vm\":\"web\",\"peer\":\"hostb\",\"policy\":\"backup-wins\",\"epoch_period_ms\":50," \
	"\"failure_timeout_ms\":1000}"
static const struct answer host_willing[] = {{"protect", PLAN}, {"status", HOST}, {0}};

static void protect_asks(void **state)
{
	struct fixture *f = *state;
	char log[4096];

	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor", "--to=hostb",
			     "--on-peer-loss=hold"),
			 TOOL_ERROR);
	tool_says(f->err, "romulusd does not run");
	fake(f, "romulusd", host_willing);
	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor", "--to=hostb",
			     "--on-peer-loss=backup-wins", "--epoch=25ms", "--heartbeat=50ms",
			     "--failure-timeout=2s", "--no-wait"),
			 TOOL_OK);
	assert_string_equal(asked(f, "romulusd", log),
			    "protect web to=hostb policy=backup-wins epoch-period=25ms "
			    "heartbeat-period=50ms failure-timeout=2s\n");
	tool_says(f->out,
		  "web: being protected to hostb, on peer loss backup-wins, an epoch every 50 ms");
	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor", "--dry-run"), TOOL_OK);
	assert_string_equal(asked(f, "romulusd", log), "protect web dry-run\n");
	tool_says(f->out, "would be protected");
}

static void protect_is_refused(void **state)
{
	static const struct answer host[] = {
		{"protect",
		 "{\"ok\":false,\"missing\":\"policy\",\"error\":\"on-peer-loss is not given\"}"},
		{"protect",
		 "{\"ok\":false,\"error\":\"web is already protected\",\"code\":\"EEXIST\"}"},
		{0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host);
	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor", "--to=hostb"), TOOL_USAGE);
	tool_says(f->err, "backup-wins   The backup takes");
	tool_says(f->err, "primary-wins  The VM goes on here");
	tool_says(f->err, "hold          Nobody goes on alone");
	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor", "--to=hostb"), TOOL_ERROR);
	tool_says(f->err, "already protected");
}

/* What romulusd knows by itself comes first; nothing begins when the doctor finds a reason. */
static void protect_sees_the_doctor(void **state)
{
	struct fixture *f = *state;
	char log[4096], conf[160];

	snprintf(conf, sizeof(conf), "--config=%s/none.conf", f->dir);
	fake(f, "romulusd", host_willing);
	assert_int_equal(RUN(f, cmd_protect, "web", "--to=hostb", "--on-peer-loss=hold", conf),
			 TOOL_ERROR);
	assert_string_equal(asked(f, "romulusd", log),
			    "protect web to=hostb policy=hold dry-run\nversion\n");
	tool_says(f->err, "error: config: ");
	tool_says(f->err, "none.conf");
	tool_says(f->err, "error: peer: hostb");
	tool_says(f->err, "web is not protected: it would fail");
	tool_says(f->err, "--skip-doctor");
}

static void protect_follows(void **state)
{
	static const struct answer web[] = {{"status", STATE("primary", "connecting")},
					    {"status", COPYING("3")},
					    {"status", COPYING("47.5")},
					    {"status", STATE("primary", "syncing")},
					    {"status", PROTECTED},
					    {0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host_willing);
	fake(f, "web.primary", web);
	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor"), TOOL_OK);
	tool_says(
		f->out,
		"web: connecting\nweb: copying\nfirst copy: 3%, 110 MB/s\nfirst copy: 47%, 110 MB/s\n"
		"web: syncing\nweb: protected\nweb: protected to hostb; pause p50 1.5 ms\n");
}

static void protect_ends_badly(void **state)
{
	static const struct answer refused[] = {
		{"protect", PLAN},
		{"status",
		 "{\"ok\":true,\"workers\":[{\"vm\":\"web\",\"side\":\"primary\",\"state\":"
		 "\"refused\",\"problem\":\"there is no VM web\"}]}"},
		{0}};
	static const struct answer slow[] = {{"status", COPYING("3")}, {0}};
	static const struct answer deposed[] = {{"status", STATE("primary", "deposed")}, {0}};
	struct fixture *f = *state;
	char path[128];

	fake(f, "romulusd", refused);
	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor"), TOOL_ERROR);
	tool_says(f->err, "web is not protected (refused): there is no VM web");
	fake(f, "web.primary", slow);
	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor", "--timeout=300ms"),
			 TOOL_DEGRADED);
	tool_says(f->err, "not protected yet");
	snprintf(path, sizeof(path), "%s/web.primary.ctl", f->dir);
	unlink(path);
	fake(f, "web.primary", deposed);
	assert_int_equal(RUN(f, cmd_protect, "web", "--skip-doctor"), TOOL_ERROR);
	tool_says(f->err, "(deposed)");
}

/* ---- unprotect, forget ---- */

static void unprotect_works(void **state)
{
	static const struct answer web[] = {{"status", PROTECTED},
					    {"unprotect", "{\"ok\":true}"},
					    {"status", STATE("primary", "leaving")},
					    {"status", NULL},
					    {0}};
	struct fixture *f = *state;
	char log[4096];

	fake(f, "romulusd", host_empty);
	fake(f, "web.primary", web);
	assert_int_equal(RUN(f, cmd_unprotect, "web"), TOOL_OK);
	tool_says(f->out, "web: not protected any more, it runs on alone");
	tool_says(asked(f, "web.primary", log), "unprotect\n");
	assert_string_equal(f->err, "");
}

static void unprotect_by_force(void **state)
{
	static const struct answer web[] = {
		{"status", STATE("primary", "lost")},
		{"unprotect force", "{\"ok\":true}"},
		{"unprotect", "{\"ok\":false,\"error\":\"hostb does not answer; --force\"}"},
		{"status", STATE("primary", "ended")},
		{0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host_empty);
	fake(f, "web.primary", web);
	assert_int_equal(RUN(f, cmd_unprotect, "web"), TOOL_ERROR);
	tool_says(f->err, "hostb does not answer; --force");
	assert_int_equal(RUN(f, cmd_unprotect, "--force", "web"), TOOL_OK);
	tool_says(f->err, "What cannot be verified from here: that hostb has not activated");
	tool_says(f->err, "two copies of web");
}

static void unprotect_in_vain(void **state)
{
	static const struct answer backup[] = {{"status", STATE("backup", "standing")}, {0}};
	static const struct answer stopped[] = {
		{"status",
		 "{\"ok\":true,\"vms\":[{\"vm\":\"db\",\"role\":\"primary\",\"peer\":\"hostb\"}]}"},
		{0}};
	struct fixture *f = *state;
	char path[128];

	assert_int_equal(RUN(f, cmd_unprotect, "web"), TOOL_ERROR);
	tool_says(f->err, "romulusd does not run");
	fake(f, "romulusd", host_empty);
	assert_int_equal(RUN(f, cmd_unprotect, "web"), TOOL_NOT_PROTECTED);
	tool_says(f->err, "web is not protected");
	fake(f, "web.backup", backup);
	assert_int_equal(RUN(f, cmd_unprotect, "web"), TOOL_ERROR);
	tool_says(f->err, "this host is the backup of web; type romulus unprotect web at hostb");
	stop_fakes(f);
	snprintf(path, sizeof(path), "%s/romulusd.ctl", f->dir);
	unlink(path);
	fake(f, "romulusd", stopped);
	assert_int_equal(RUN(f, cmd_unprotect, "db"), TOOL_ERROR);
	tool_says(f->err, "romulus forget db");
}

static void forgets(void **state)
{
	static const struct answer host[] = {
		{"forget web", "{\"ok\":true,\"hint\":\"output may be held\"}"},
		{"forget", "{\"ok\":false,\"error\":\"nothing is known\"}"},
		{0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host);
	assert_int_equal(RUN(f, cmd_forget, "web"), TOOL_OK);
	tool_says(f->out, "output may be held");
	assert_int_equal(RUN(f, cmd_forget, "db"), TOOL_ERROR);
	tool_says(f->err, "nothing is known");
}

/* ---- surrender ---- */

#define DISK(vm, given_up)                                                                     \
	"{\"ok\":true,\"vm\":" vm ",\"state\":\"active\",\"generation\":\"00000000000000ab\"," \
	"\"dirty_bytes\":3145728,\"surrendered\":" given_up "}"
#define OF_WEB DISK("\"web\"", "false")

static void fake_disk(struct fixture *f, const char *name, const struct answer *answers)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/disk", f->dir);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "disk/%s", name);
	fake(f, path, answers);
}

static const struct answer disk_of_web[] = {
	{"status", OF_WEB}, {"surrender dry-run", OF_WEB}, {"surrender\n", OF_WEB}, {0}};
static const struct answer disk_of_db[] = {
	{"status", DISK("\"db\"", "false")}, {"surrender dry-run", DISK("\"db\"", "false")}, {0}};
static const struct answer disk_of_nobody[] = {{"status", DISK("null", "false")},
					       {"surrender dry-run", DISK("null", "true")},
					       {"surrender\n", DISK("null", "true")},
					       {0}};

/* Said first, and done with --yes: what its servers know as this VM's, and no other. */
static void surrenders(void **state)
{
	struct fixture *f = *state;
	char log[4096];

	fake(f, "romulusd", host_empty);
	fake_disk(f, "web-root", disk_of_web);
	fake_disk(f, "web-data", disk_of_web);
	fake_disk(f, "db-root", disk_of_db);
	fake_disk(f, "other", disk_of_nobody);
	assert_int_equal(RUN(f, cmd_surrender, "web"), TOOL_ERROR);
	tool_says(
		f->out,
		"web: this host's copy of these disks is to be given up; the other host's overwrites it.");
	tool_says(
		f->out,
		"  web-data: active, generation 00000000000000ab; 3.0 MiB are marked as written here");
	tool_says(f->out, "What cannot be verified from here: that the other host has a copy");
	tool_says(f->err, "nothing was done; with --yes it is");
	assert_string_equal(asked(f, "disk/web-root", log), "status\nsurrender dry-run\n");
	assert_int_equal(RUN(f, cmd_surrender, "web", "--yes"), TOOL_OK);
	tool_says(f->out, "web-data: given up\nweb-root: given up\n");
	assert_string_equal(asked(f, "disk/web-root", log),
			    "status\nsurrender dry-run\nsurrender\n");
	assert_string_equal(asked(f, "disk/db-root", log), "status\nstatus\n");
	assert_string_equal(asked(f, "disk/other", log), "status\nstatus\n");
}

/* Named: those and no other, also when their servers were never told whose they are. */
static void surrenders_what_is_named(void **state)
{
	struct fixture *f = *state;
	char log[4096];

	fake(f, "romulusd", host_empty);
	fake_disk(f, "web-root", disk_of_web);
	fake_disk(f, "other", disk_of_nobody);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--disk", "other", "--yes"), TOOL_OK);
	tool_says(f->out, "  other: was given up before, and waits to be overwritten\n");
	tool_says(f->out, "other: given up\n");
	assert_string_equal(asked(f, "disk/web-root", log), "");
}

/* This host would not take the other's copy until that is forgotten as well. */
static void surrender_of_what_was_active(void **state)
{
	static const struct answer alone[] = {
		{"status",
		 "{\"ok\":true,\"vms\":[{\"vm\":\"web\",\"role\":\"active\",\"peer\":\"hostb\"}]}"},
		{0}};
	struct fixture *f = *state;

	fake(f, "romulusd", alone);
	fake_disk(f, "web-root", disk_of_web);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--yes"), TOOL_OK);
	tool_says(f->out, "web was activated here: romulus forget web");
}

static void surrender_in_vain(void **state)
{
	static const struct answer primary[] = {{"status", STATE("primary", "lost")}, {0}};
	static const struct answer active[] = {{"status", STATE("backup", "active")}, {0}};
	static const struct answer used[] = {
		{"status", OF_WEB},
		{"surrender dry-run",
		 "{\"ok\":false,\"error\":\"a guest of this host has disk \\\"web-used\\\"\"}"},
		{0}};
	static const struct answer full[] = {
		{"status", OF_WEB},
		{"surrender dry-run", OF_WEB},
		{"surrender\n",
		 "{\"ok\":false,\"error\":\"disk \\\"web-z\\\" could not be given up\"}"},
		{0}};
	struct fixture *f = *state;
	char log[4096];

	fake(f, "romulusd", host_empty);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--yes"), TOOL_ERROR);
	tool_says(f->err, "no disk of this host is known to be one of web");
	fake_disk(f, "web-root", disk_of_web);
	fake_disk(f, "db-root", disk_of_db);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--disk=gone", "--yes"), TOOL_ERROR);
	tool_says(f->err, "no romulus-disk serves \"gone\" on this host");
	/* All are asked before one is touched. */
	assert_int_equal(RUN(f, cmd_surrender, "web", "--disk=web-root", "--disk=db-root", "--yes"),
			 TOOL_ERROR);
	tool_says(f->err, "disk \"db-root\" is one of db, not of web");
	fake_disk(f, "web-used", used);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--yes"), TOOL_ERROR);
	tool_says(f->err, "a guest of this host has disk \"web-used\"");
	assert_null(strstr(asked(f, "disk/web-root", log), "surrender\n"));
	/* And what was done is said when the rest cannot be. */
	fake_disk(f, "web-z", full);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--disk=web-root", "--disk=web-z", "--yes"),
			 TOOL_ERROR);
	tool_says(f->out, "web-root: given up\n");
	tool_says(f->err, "could not be given up; 1 of 2 disks are given up");
	/* Where the VM runs it stands on that copy. */
	fake(f, "web.backup", active);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--yes"), TOOL_ERROR);
	tool_says(f->err, "web runs here; end it first");
	fake(f, "web.primary", primary);
	assert_int_equal(RUN(f, cmd_surrender, "web", "--yes"), TOOL_ERROR);
	tool_says(f->err, "web is protected from this host");
}

/* ---- switchover ---- */

static void switchover_works(void **state)
{
	static const struct answer web[] = {{"status", PROTECTED},
					    {"switchover", "{\"ok\":true,\"term\":8}"},
					    {"status", PROTECTED},
					    {0}};
	static const struct answer standby[] = {
		{"status", STATE("backup", "building")},
		{"status",
		 "{\"ok\":true,\"role\":\"backup\",\"state\":\"standing\",\"protected\":true}"},
		{0}};
	struct fixture *f = *state;
	char log[4096];

	fake(f, "romulusd", host_empty);
	fake(f, "web.primary", web);
	fake(f, "web.backup", standby);
	assert_int_equal(RUN(f, cmd_switchover, "web", "--dry-run"), TOOL_OK);
	assert_string_equal(asked(f, "web.primary", log), "status\n");
	tool_says(f->out, "after one last checkpoint it stands still here until hostb runs it");
	assert_int_equal(RUN(f, cmd_switchover, "web"), TOOL_OK);
	tool_says(f->out, "web: runs at hostb now, under term 8");
	tool_says(f->out, "web: protected again, this host is its backup");
	assert_int_equal(RUN(f, cmd_switchover), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_switchover, "web", "db"), TOOL_USAGE);
}

static void switchover_in_vain(void **state)
{
	static const struct answer refuses[] = {
		{"status", PROTECTED},
		{"switchover",
		 "{\"ok\":false,\"error\":\"web cannot be moved to hostb now: busy\"}"},
		{0}};
	static const struct answer standby[] = {
		{"status",
		 "{\"ok\":true,\"role\":\"backup\",\"state\":\"standing\",\"peer\":\"hosta\"}"},
		{0}};
	static const struct answer moves[] = {
		{"status", PROTECTED}, {"switchover", "{\"ok\":true,\"term\":8}"}, {0}};
	static const struct answer stays[] = {
		{"status",
		 "{\"ok\":true,\"role\":\"primary\",\"state\":\"protected\",\"protected\":true,"
		 "\"peer\":\"hostb\",\"reprotect\":\"never\"}"},
		{"switchover", "{\"ok\":true,\"term\":8}"},
		{0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host_empty);
	assert_int_equal(RUN(f, cmd_switchover, "web"), TOOL_NOT_PROTECTED);
	fake(f, "web.backup", standby);
	assert_int_equal(RUN(f, cmd_switchover, "web"), TOOL_ERROR);
	tool_says(f->err, "type romulus switchover web at hosta");
	fake(f, "web.primary", refuses);
	assert_int_equal(RUN(f, cmd_switchover, "web"), TOOL_ERROR);
	tool_says(f->err, "cannot be moved to hostb now: busy");
	/* Moved, and not protected again in time; or not to be. */
	fake(f, "db.primary", moves);
	assert_int_equal(RUN(f, cmd_switchover, "db", "--timeout=200ms"), TOOL_DEGRADED);
	tool_says(f->err, "see romulus status db at hostb");
	fake(f, "mail.primary", stays);
	assert_int_equal(RUN(f, cmd_switchover, "mail"), TOOL_OK);
}

/* ---- failover ---- */

static void failover_works(void **state)
{
	static const struct answer web[] = {
		{"status", STATE("backup", "standing")},
		{"failover", "{\"ok\":false,\"error\":\"the primary is alive; --force\"}"},
		{"failover force", "{\"ok\":true}"},
		{"status", STATE("backup", "standing")},
		{"status", STATE("backup", "standing")},
		{"status", STATE("backup", "activating")},
		{"status", STATE("backup", "active")},
		{0}};
	struct fixture *f = *state;
	char log[4096];

	fake(f, "romulusd", host_empty);
	fake(f, "web.backup", web);
	assert_int_equal(RUN(f, cmd_failover, "web", "--dry-run"), TOOL_OK);
	assert_string_equal(asked(f, "web.backup", log), "status\n");
	tool_says(f->out, "What cannot be verified from here: that hostb is dead.");
	assert_int_equal(RUN(f, cmd_failover, "web"), TOOL_ERROR);
	tool_says(f->err, "the primary is alive; --force");
	assert_int_equal(RUN(f, cmd_failover, "web", "--force"), TOOL_OK);
	tool_says(f->out, "You said --force");
	tool_says(f->out, "web: runs here now");
}

static void failover_in_vain(void **state)
{
	static const struct answer primary[] = {{"status", PROTECTED}, {0}};
	static const struct answer gave_up[] = {
		{"status", STATE("backup", "standing")},
		{"failover", "{\"ok\":true}"},
		{"status", "{\"ok\":true,\"state\":\"abandoning\",\"problem\":\"restore failed\"}"},
		{0}};
	static const struct answer stuck[] = {
		{"status", STATE("backup", "activating")}, {"failover", "{\"ok\":true}"}, {0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host_empty);
	assert_int_equal(RUN(f, cmd_failover, "web"), TOOL_NOT_PROTECTED);
	fake(f, "web.primary", primary);
	assert_int_equal(RUN(f, cmd_failover, "web"), TOOL_ERROR);
	tool_says(f->err, "type romulus failover web at hostb");
	fake(f, "db.backup", gave_up);
	assert_int_equal(RUN(f, cmd_failover, "db"), TOOL_ERROR);
	tool_says(f->err, "the standby was given up: restore failed");
	fake(f, "mail.backup", stuck);
	assert_int_equal(RUN(f, cmd_failover, "mail", "--timeout=200ms"), TOOL_DEGRADED);
}

/* ---- verify ---- */

#define VERIFY(pass, state, differed, busy)                                                      \
	"{\"ok\":true,\"state\":\"protected\",\"protected\":true,\"disks\":[{\"name\":\"root\"," \
	"\"state\":\"active\",\"served\":true,\"in_sync\":true,\"verify\":{\"pass\":" #pass      \
	",\"state\":\"" state "\",\"verified_bytes\":1048576,\"differed_bytes\":" #differed      \
	",\"busy_bytes\":" #busy "}}]}"

static void verify_follows(void **state)
{
	static const struct answer web[] = {{"verify", "{\"ok\":true,\"pass\":2}"},
					    {"status", VERIFY(2, "running", 0, 0)},
					    {"status", VERIFY(2, "done", 0, 0)},
					    {0}};
	static const struct answer bad[] = {{"verify", "{\"ok\":true,\"pass\":2}"},
					    {"status", VERIFY(2, "done", 4096, 0)},
					    {0}};
	static const struct answer busy[] = {
		{"verify", "{\"ok\":true,\"pass\":2}"}, {"status", VERIFY(2, "done", 0, 512)}, {0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host_empty);
	fake(f, "web.primary", web);
	assert_int_equal(RUN(f, cmd_verify, "web"), TOOL_OK);
	tool_says(f->out, "web: its disks are being compared; romulus status web says");
	assert_int_equal(RUN(f, cmd_verify, "--wait", "web"), TOOL_OK);
	assert_string_equal(f->out, "root: 1.0 MiB compared, all equal\n");
	assert_int_equal(RUN(f, cmd_status, "web"), TOOL_OK);
	tool_says(f->out,
		  "verify done: 1.0 MiB compared, 0 bytes different, 0 bytes not compared\n");
	fake(f, "bad.primary", bad);
	assert_int_equal(RUN(f, cmd_verify, "--wait", "bad"), TOOL_DEGRADED);
	tool_says(f->out, "root: 1.0 MiB compared, 4.0 KiB DIFFERENT and copied again\n");
	assert_int_equal(RUN(f, cmd_verify, "--wait", "--json", "bad"), TOOL_DEGRADED);
	assert_string_equal(
		f->out, "{\"disks\":[{\"name\":\"root\",\"verify\":{\"pass\":2,\"state\":\"done\","
			"\"verified_bytes\":1048576,\"differed_bytes\":4096,\"busy_bytes\":0}}],"
			"\"vm\":\"bad\",\"pass\":2}\n");
	fake(f, "busy.primary", busy);
	assert_int_equal(RUN(f, cmd_verify, "--wait", "busy"), TOOL_DEGRADED);
	tool_says(f->out, "all equal, 512 bytes not compared\n");
}

static void verify_in_vain(void **state)
{
	static const struct answer none[] = {
		{"verify", "{\"ok\":false,\"error\":\"none has no disks of Romulus\"}"}, {0}};
	static const struct answer anew[] = {
		{"verify", "{\"ok\":true,\"pass\":2}"}, {"status", VERIFY(1, "done", 0, 0)}, {0}};
	static const struct answer cut[] = {{"verify", "{\"ok\":true,\"pass\":2}"},
					    {"status", VERIFY(2, "broken off", 0, 0)},
					    {0}};
	static const struct answer backup[] = {{"status", STATE("backup", "standing")}, {0}};
	struct fixture *f = *state;

	fake(f, "romulusd", host_empty);
	assert_int_equal(RUN(f, cmd_verify, "web"), TOOL_NOT_PROTECTED);
	tool_says(f->err, "web is not protected from this host");
	fake(f, "none.primary", none);
	assert_int_equal(RUN(f, cmd_verify, "none"), TOOL_ERROR);
	tool_says(f->err, "none has no disks of Romulus");
	fake(f, "anew.primary", anew);
	assert_int_equal(RUN(f, cmd_verify, "anew", "--wait"), TOOL_ERROR);
	tool_says(f->err, "began anew meanwhile");
	fake(f, "cut.primary", cut);
	assert_int_equal(RUN(f, cmd_verify, "cut", "--wait"), TOOL_DEGRADED);
	tool_says(f->out, "root: BROKEN OFF");
	fake(f, "db.backup", backup);
	assert_int_equal(RUN(f, cmd_verify, "db"), TOOL_ERROR);
	tool_says(f->err, "type romulus verify db there");
}

/* ---- drill ---- */

#define DRILL(over, phase, verdict, why)                                                     \
	"{\"ok\":true,\"drill\":{\"vm\":\"web\",\"host\":\"hostb\",\"phase\":\"" phase       \
	"\",\"over\":" #over ",\"verdict\":\"" verdict "\",\"why\":\"" why "\",\"epoch\":7," \
	"\"memory\":{\"needed_mib\":64,\"free_mib\":100,\"copied_pages\":500,\"rounds\":2,"  \
	"\"last_pages\":9},\"ms\":{\"copying\":1500,\"all\":2500},\"address\":\"10.0.0.5\"," \
	"\"probe\":{\"what\":\"ping\",\"status\":0,\"output\":\"\"}}}"

static void drill_follows(void **state)
{
	static const struct answer web[] = {
		{"drill \"start", DRILL(false, "preparing", "", "")},
		{"drill ask", DRILL(false, "copying", "", "")},
		{"drill ask", DRILL(true, "over", "passed", "10.0.0.5 answered a ping")},
		{0}};
	static const struct answer bad[] = {{"drill \"start", DRILL(false, "preparing", "", "")},
					    {"drill ask",
					     DRILL(true, "over", "failed", "no \\u001b[2J")},
					    {0}};
	static const struct answer broken[] = {
		{"drill \"start", DRILL(true, "over", "broken", "the copy needs 64 MiB")}, {0}};
	/* It was copied for a while, but no epoch came of it. */
	static const struct answer none[] = {
		{"drill \"start",
		 "{\"ok\":true,\"drill\":{\"host\":\"hostb\",\"over\":true,\"verdict\":\"broken\",\"why\":\"too busy\","
		 "\"epoch\":null,\"memory\":{\"rounds\":2,\"copied_pages\":5,\"last_pages\":1},"
		 "\"disks\":{\"count\":2,\"overlay_bytes\":3145728}}}"},
		{0}};
	struct fixture *f = *state;
	char log[128], said[2048];

	fake(f, "web.primary", web);
	assert_int_equal(RUN(f, cmd_drill, "web", "--time=10s", "--probe=a \"b\" c"), TOOL_OK);
	assert_string_equal(f->out,
			    "drill of web at hostb, as of epoch 7\n"
			    "  memory     64 MiB needed, 100 MiB were free\n"
			    "  copied     500 pages in 2 rounds, 9 of them between two epochs\n"
			    "  copying    1.5 s\n"
			    "  address    10.0.0.5\n"
			    "  probe      ping\n"
			    "  all of it  2.5 s\n"
			    "PASSED: 10.0.0.5 answered a ping\n");
	tool_says(f->err, "preparing...\ncopying...\n");
	snprintf(log, sizeof(log), "%s/web.primary.log", f->dir);
	tool_says(tool_file(log, said, sizeof(said)), "10000");
	tool_says(said, "a \\\\\\\"b\\\\\\\" c");
	/* At the backup; the same words. */
	fake(f, "bad.backup", bad);
	assert_int_equal(RUN(f, cmd_drill, "bad"), TOOL_DEGRADED);
	tool_says(f->out, "FAILED: no ?[2J\n");
	assert_int_equal(RUN(f, cmd_drill, "bad", "--json"), TOOL_DEGRADED);
	tool_says(f->out, "{\"vm\":\"web\",\"host\":\"hostb\",\"phase\":\"over\"");
	tool_says(f->out, "\"output\":\"\"}}\n");
	fake(f, "broken.backup", broken);
	assert_int_equal(RUN(f, cmd_drill, "broken"), TOOL_ERROR);
	tool_says(f->out, "NOT DONE: the copy needs 64 MiB\n");
	fake(f, "none.backup", none);
	assert_int_equal(RUN(f, cmd_drill, "none"), TOOL_ERROR);
	assert_string_equal(f->out,
			    "drill of none at hostb\n"
			    "  copied     5 pages in 2 rounds, 1 of them between two epochs\n"
			    "  disks      2, 3.0 MiB of changes kept apart\n"
			    "NOT DONE: too busy\n");
}

static void drill_in_vain(void **state)
{
	static const struct answer refused[] = {
		{"drill",
		 "{\"ok\":false,\"error\":\"\\u001b[2Ja drill of web is under way already\"}"},
		{0}};
	static const struct answer lost[] = {
		{"drill \"start", DRILL(false, "preparing", "", "")}, {"drill ask", NULL}, {0}};
	static const struct answer slow[] = {{"drill \"start", DRILL(false, "living", "", "")},
					     {"drill ask", DRILL(false, "living", "", "")},
					     {"drill end", DRILL(false, "ending", "", "")},
					     {0}};
	struct fixture *f = *state;
	char log[128], said[2048];
	char vm[] = "slow", name[] = "drill";
	char *argv[] = {name, f->run_dir, vm, NULL};
	struct tool_said out = {f->out, sizeof(f->out)}, err = {f->err, sizeof(f->err)};
	pid_t pid;

	assert_int_equal(RUN(f, cmd_drill, "web"), TOOL_NOT_PROTECTED);
	assert_int_equal(RUN(f, cmd_drill, "web", "--time=soon"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_drill, "web", "--time=0s"), TOOL_USAGE);
	assert_int_equal(RUN(f, cmd_drill), TOOL_USAGE);
	fake(f, "web.primary", refused);
	assert_int_equal(RUN(f, cmd_drill, "web"), TOOL_ERROR);
	/* What another host says does nothing to a terminal. */
	tool_says(f->err, "romulus: ?[2Ja drill of web is under way already\n");
	fake(f, "lost.primary", lost);
	assert_int_equal(RUN(f, cmd_drill, "lost"), TOOL_ERROR);
	tool_says(f->err, "what has come of the drill cannot be told");
	/* Ctrl-C calls it off, and waits for what comes of that. */
	fake(f, "slow.primary", slow);
	pid = tool_start(f->dir, cmd_drill, 3, argv);
	snprintf(log, sizeof(log), "%s/slow.primary.log", f->dir);
	while (!strstr(tool_file(log, said, sizeof(said)), "drill ask"))
		usleep(10000);
	assert_int_equal(kill(pid, SIGINT), 0);
	while (!strstr(tool_file(log, said, sizeof(said)), "drill end"))
		usleep(10000);
	stop_fakes(f);
	assert_int_equal(tool_finish(f->dir, pid, out, err), TOOL_ERROR);
}

/* ---- cert ---- */

static void makes_certificates(void **state)
{
	struct fixture *f = *state;
	char out[96];
	char file[128];
	struct stat st;

	snprintf(out, sizeof(out), "--out=%s", f->dir);
	assert_int_equal(RUN(f, cmd_cert, "host", "hosta", out), TOOL_ERROR);
	assert_int_equal(RUN(f, cmd_cert, "ca", out), TOOL_OK);
	tool_says(f->out, "/ca.pem\n");
	assert_int_equal(RUN(f, cmd_cert, "ca", out), TOOL_ERROR);
	assert_int_equal(RUN(f, cmd_cert, "host", "hosta", "--san=10.0.0.1", "--san=a.example",
			     out),
			 TOOL_OK);
	assert_int_equal(RUN(f, cmd_cert, "host", "hosta", out), TOOL_ERROR);
	assert_int_equal(RUN(f, cmd_cert, "host", "a b", out), TOOL_ERROR);
	snprintf(file, sizeof(file), "%s/host.key", f->dir);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(file, sizeof(file), "%s/host.pem", f->dir);
	assert_int_equal(RUN(f, cmd_cert, "show", file), TOOL_OK);
	tool_says(f->out, "name        hosta\n");
	tool_says(f->out, "issuer      romulus\n");
	snprintf(file, sizeof(file), "%s/out", f->dir);
	assert_int_equal(RUN(f, cmd_cert, "show", file), TOOL_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(status_without_daemons, set_up, tear_down),
		cmocka_unit_test_setup_teardown(status_exit_codes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(status_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(status_of_disks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(status_json, set_up, tear_down),
		cmocka_unit_test_setup_teardown(status_prometheus, set_up, tear_down),
		cmocka_unit_test_setup_teardown(status_of_what_has_no_worker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(usage_errors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(protect_asks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(protect_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(protect_sees_the_doctor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(protect_follows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(protect_ends_badly, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unprotect_works, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unprotect_by_force, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unprotect_in_vain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(forgets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(verify_follows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(verify_in_vain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(surrenders, set_up, tear_down),
		cmocka_unit_test_setup_teardown(surrenders_what_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(surrender_of_what_was_active, set_up, tear_down),
		cmocka_unit_test_setup_teardown(surrender_in_vain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(switchover_works, set_up, tear_down),
		cmocka_unit_test_setup_teardown(switchover_in_vain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(drill_follows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(drill_in_vain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(failover_works, set_up, tear_down),
		cmocka_unit_test_setup_teardown(failover_in_vain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(makes_certificates, set_up, tear_down),
	};

	return RUN_TESTS("tools", tests);
}
