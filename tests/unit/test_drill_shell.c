/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's hold on a drill, whose process is this very program in another role (SHELL_ROLE); and the file by which a drill
 * that died is found.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "lib/mem.h"
#include "lib/wire_v1.h"
#include "replicator/config_fd.h"
#include "replicator/drill_keep.h"
#include "replicator/drill_share.h"
#include "replicator/drill_shell.h"

static bool no_pidfd;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long arg[4];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < ARRAY_SIZE(arg); i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (no_pidfd && number == SYS_pidfd_open) {
		errno = EMFILE;
		return -1;
	}
	return __real_syscall(number, arg[0], arg[1], arg[2], arg[3]);
}

/* ---- the drill's process ----------------------------------------------------------- */

static void child_trace(int argc, char **argv)
{
	const char *path = getenv("SHELL_TRACE");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;

	for (int i = 1; i < argc; i++)
		dprintf(fd, "%s%c", argv[i], i + 1 < argc ? ' ' : '\n');
	close(fd);
}

static int child_say(const char *text)
{
	return send(3, text, strlen(text), MSG_NOSIGNAL) < 0;
}

static int child_main(int argc, char **argv)
{
	const char *role = getenv("SHELL_ROLE");
	struct drill_share *share;
	bool right;
	char text[256] = "";
	char json[16] = "";

	if (!role || !getenv("SHELL_TRACE"))
		return 90;
	child_trace(argc, argv);
	if (strcmp(argv[1], "--clean") == 0)
		return strcmp(role, "die-left") == 0 ? 1 : 0;
	if (drill_share_open(&share, 4, NULL) < 0)
		return 94;
	right = drill_share_mem_pages(share) == 500;
	drill_share_close(share);
	if (!right || pread(5, json, sizeof(json) - 1, 0) != 4 || strcmp(json, "{ a}") != 0)
		return 91;
	if (child_say("{\"phase\":\"copying\",\"over\":false}") || child_say("no json"))
		return 92;
	if (strncmp(role, "die", 3) == 0)
		raise(SIGKILL);
	if (strcmp(role, "linger") == 0) {
		if (recv(3, text, sizeof(text) - 1, 0) <= 4)
			return 93;
		child_trace(2, (char *[]){argv[0], text, NULL});
	}
	return child_say("{\"phase\":\"over\",\"over\":true,\"verdict\":\"passed\"}");
}

/* ---- the world ---------------------------------------------------------------------- */

struct world {
	struct drill_shell d;
	struct conf conf;
	char dir[32];
	char trace[48];
	unsigned int begun, ended;
	struct drill_share *share;
};

static void begin_take(void *arg, struct drill_share *share)
{
	struct world *w = arg;

	w->begun++;
	drill_share_close(w->share);
	w->share = share;
}

static void end(void *arg)
{
	struct world *w = arg;

	w->ended++;
}

static const struct drill_shell_ops ops = {.begin_take = begin_take, .end = end};

static struct world *world_new(const char *role)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	snprintf(w->dir, sizeof(w->dir), "%s", "/tmp/drill-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->trace, sizeof(w->trace), "%s/trace", w->dir);
	assert_int_equal(setenv("SHELL_ROLE", role, 1), 0);
	assert_int_equal(setenv("SHELL_TRACE", w->trace, 1), 0);
	snprintf(w->conf.host_name, sizeof(w->conf.host_name), "%s", "hostb");
	snprintf(w->conf.run_dir, sizeof(w->conf.run_dir), "%s", w->dir);
	snprintf(w->conf.drill_probe_dir, sizeof(w->conf.drill_probe_dir), "%s",
		 "/etc/romulus/probe.d");
	drill_shell_init(&w->d);
	assert_true(sd_event_new(&w->d.loop) >= 0);
	w->d.conf = &w->conf;
	w->d.ops = &ops;
	w->d.arg = w;
	w->d.program = "/proc/self/exe";
	w->d.vm = "web";
	w->d.mem_pages = 500;
	w->d.json = mem_strdup("{ a}");
	w->d.json_size = 4;
	snprintf(w->conf.path, sizeof(w->conf.path), "%s", "/etc/x.conf");
	w->d.n_disks = 1;
	w->d.disk[0] = "root";
	return w;
}

static void world_free(struct world *w)
{
	char command[64];

	drill_shell_fini(&w->d);
	sd_event_unref(w->d.loop);
	drill_share_close(w->share);
	snprintf(command, sizeof(command), "%s/trace", w->dir);
	unlink(command);
	snprintf(command, sizeof(command), "%s/web.drill", w->dir);
	unlink(command);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
}

static const char *traced(struct world *w)
{
	static char text[2048];
	int fd = open(w->trace, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static int ask(struct world *w, const char *text, bool by_peer, struct json_in **j, struct err *e)
{
	const struct drill_asked a = {
		.text = text, .size = strlen(text), .by_peer = by_peer, .may = true};
	struct json *reply = json_out_new();
	int rc = drill_shell_request(&w->d, &a, reply, e);
	const char *line;
	size_t len;

	*j = NULL;
	if (rc == 0) {
		line = json_out_line(reply, &len);
		assert_int_equal(json_in_parse(line, len, j, NULL), 0);
	}
	json_out_free(reply);
	return rc;
}

/* Lets things happen until no process is left. */
static void run_out(struct world *w)
{
	uint64_t deadline = clock_now() + 20 * NS_PER_SEC;

	while (w->d.pid && clock_now() < deadline)
		assert_true(sd_event_run(w->d.loop, 100000) >= 0);
	assert_int_equal(w->d.pid, 0);
}

static void from_start_to_end(void **state)
{
	struct world *w = world_new("pass");
	struct json_in *j;
	struct err e = ERR_INIT;

	assert_int_equal(ask(w, "ask", false, &j, &e), -ENOENT);
	assert_int_equal(ask(w, "start {\"probe\":\"a b\",\"time_ms\":2000}", false, &j, &e), 0);
	assert_string_equal(json_in_text(j, "drill.phase", ""), "preparing");
	json_in_free(j);
	assert_int_equal(ask(w, "start", false, &j, &e), -EBUSY);
	run_out(w);
	assert_int_equal(w->begun, 1);
	assert_int_equal(w->ended, 1);
	world_free(w);
}

static void is_told_what_it_is(void **state)
{
	struct world *w = world_new("pass");
	char line[256];
	struct json_in *j;
	struct err e = ERR_INIT;

	assert_int_equal(ask(w, "start {\"probe\":\"a b\",\"time_ms\":2000}", false, &j, &e), 0);
	json_in_free(j);
	run_out(w);
	snprintf(line, sizeof(line),
		 "--vm web --host hostb --run-dir %s --time-ms 2000 --ctl-fd 3 --share-fd 4 "
		 "--config-fd 5 --probe a b --config /etc/x.conf --disk root\n",
		 w->dir);
	assert_string_equal(traced(w), line);
	assert_int_equal(ask(w, "ask", true, &j, &e), 0);
	assert_true(json_in_bool(j, "drill.over", false));
	assert_string_equal(json_in_text(j, "drill.verdict", ""), "passed");
	json_in_free(j);
	/* And again. */
	assert_int_equal(ask(w, "start", false, &j, &e), 0);
	json_in_free(j);
	run_out(w);
	assert_int_equal(w->begun, 2);
	world_free(w);
}

static void a_peer_names_our_programs(void **state)
{
	struct world *w = world_new("pass");
	struct json_in *j;
	struct err e = ERR_INIT;

	assert_int_equal(ask(w, "start {\"probe\":\"rm -rf /\"}", true, &j, &e), -EPERM);
	assert_int_equal(w->begun, 0);
	/* One that is not there is not looked for when the copy lives. */
	assert_int_equal(ask(w, "start {\"probe\":\"shop\"}", true, &j, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/etc/romulus/probe.d/shop of host hostb"));
	assert_int_equal(w->begun, 0);
	snprintf(w->conf.drill_probe_dir, sizeof(w->conf.drill_probe_dir), "%s", "/bin");
	assert_int_equal(ask(w, "start {\"probe\":\"sh\"}", true, &j, &e), 0);
	json_in_free(j);
	run_out(w);
	assert_non_null(strstr(traced(w), "--probe-path /bin/sh "));
	world_free(w);
}

static void needs_a_standby(void **state)
{
	struct world *w = world_new("pass");
	const struct drill_asked a = {.text = "start", .size = 5};
	struct err e = ERR_INIT;

	assert_int_equal(drill_shell_request(&w->d, &a, NULL, &e), -ENOTCONN);
	assert_non_null(strstr(e.text, "protected VM"));
	world_free(w);
}

static void ends_when_told(void **state)
{
	struct world *w = world_new("linger");
	struct json_in *j;
	struct err e = ERR_INIT;

	drill_shell_end(&w->d, "there is none");
	assert_int_equal(ask(w, "start", false, &j, &e), 0);
	json_in_free(j);
	drill_shell_end(&w->d, "a failover: the VM is to run here");
	drill_shell_end(&w->d, "twice");
	/* From that instant on nothing of the standby is told to it. */
	assert_int_equal(w->ended, 1);
	run_out(w);
	assert_non_null(strstr(traced(w), "\nend a failover: the VM is to run here\n"));
	assert_null(strstr(traced(w), "twice"));
	world_free(w);
}

static void the_operator_calls_it_off(void **state)
{
	struct world *w = world_new("linger");
	struct json_in *j;
	struct err e = ERR_INIT;

	assert_int_equal(ask(w, "start", false, &j, &e), 0);
	json_in_free(j);
	assert_int_equal(ask(w, "end", false, &j, &e), 0);
	json_in_free(j);
	run_out(w);
	assert_non_null(strstr(traced(w), "\nend the operator called it off\n"));
	world_free(w);
}

/* Who asked is gone: it is ended when the lease is over. */
static void ends_when_nobody_asks(void **state)
{
	struct world *w = world_new("linger");
	struct json_in *j;
	struct err e = ERR_INIT;

	assert_int_equal(ask(w, "start", false, &j, &e), 0);
	json_in_free(j);
	assert_true(w->d.rule.lease_ns > clock_now() + 10 * NS_PER_SEC);
	w->d.rule.lease_ns = 0;
	assert_int_equal(ask(w, "ask", false, &j, &e), 0);
	json_in_free(j);
	assert_true(w->d.rule.lease_ns > clock_now() + 10 * NS_PER_SEC);
	w->d.rule.lease_ns = clock_now();
	assert_true(sd_event_source_set_time(w->d.timer, 1) >= 0);
	run_out(w);
	assert_non_null(strstr(traced(w), "\nend nobody asked for it any more\n"));
	world_free(w);
}

static void one_that_dies_is_cleaned_up_after(void **state)
{
	struct world *w = world_new("die");
	char line[128];
	struct json_in *j;
	struct err e = ERR_INIT;

	assert_int_equal(ask(w, "start", false, &j, &e), 0);
	json_in_free(j);
	run_out(w);
	snprintf(line, sizeof(line), "--clean --vm web --run-dir %s --config /etc/x.conf\n",
		 w->dir);
	assert_non_null(strstr(traced(w), line));
	assert_int_equal(w->ended, 1);
	assert_false(w->d.rule.left);
	assert_int_equal(ask(w, "ask", false, &j, &e), 0);
	assert_true(json_in_bool(j, "drill.over", false));
	assert_string_equal(json_in_text(j, "drill.verdict", ""), "broken");
	assert_non_null(strstr(json_in_text(j, "drill.why", ""), "signal 9"));
	json_in_free(j);
	world_free(w);
	w = world_new("die-left");
	assert_int_equal(ask(w, "start", false, &j, &e), 0);
	json_in_free(j);
	run_out(w);
	assert_true(w->d.rule.left);
	world_free(w);
}

static void that_cannot_be_started(void **state)
{
	struct world *w = world_new("pass");
	struct json_in *j;
	struct err e = ERR_INIT;

	w->d.program = "/nowhere/romulus-drill";
	assert_int_equal(ask(w, "start", false, &j, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere"));
	assert_int_equal(w->begun, 0);
	assert_int_equal(ask(w, "start", false, &j, &e), -ENOENT);
	world_free(w);
}

/* No descriptor is left to watch it by: it does not go on unwatched. */
static void that_cannot_be_watched(void **state)
{
	const char *const argv[] = {"/bin/sleep", "20", NULL};
	struct err e = ERR_INIT;
	pid_t pid = -1;
	int pidfd = -1;

	no_pidfd = true;
	assert_int_equal(drill_keep_spawn(argv, NULL, 0, &pid, &pidfd, &e), -EMFILE);
	no_pidfd = false;
	assert_int_equal(pid, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_configuration_is_passed_on(void **state)
{
	struct err e = ERR_INIT;
	char *json = NULL;
	size_t size = 0;
	int fd = -1;

	assert_int_equal(config_fd_make("{ a}", 4, &fd, &e), 0);
	/* As often as somebody wants to read it. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(config_fd_read(fd, &json, &size, &e), 0);
		assert_int_equal(size, 4);
		assert_string_equal(json, "{ a}");
		mem_free(json);
	}
	assert_int_equal(ftruncate(fd, 1), 0);
	assert_int_equal(config_fd_read(fd, &json, &size, &e), -EMSGSIZE);
	assert_int_equal(ftruncate(fd, WIRE_CONFIG_MAX + 1), 0);
	assert_int_equal(config_fd_read(fd, &json, &size, &e), -EMSGSIZE);
	close(fd);
	assert_int_equal(config_fd_read(fd, &json, &size, &e), -EBADF);
}

/* ---- the file ------------------------------------------------------------------------- */

static void seen(void *arg, const char *vm)
{
	size_t used = strlen(arg);

	snprintf((char *)arg + used, 64, "%s ", vm);
}

static void is_found_again(void **state)
{
	struct world *w = world_new("pass");
	char found[256] = "", path[64];
	struct err e = ERR_INIT;
	int fd = -1, other = -1;
	bool left;

	assert_false(drill_keep_is_left(w->dir, "web"));
	assert_int_equal(drill_keep_claim(w->dir, "web", &fd, &left, &e), 0);
	/* Nothing is, so a domain of its copy's name is not ours to destroy. */
	assert_false(left);
	assert_int_equal(drill_keep_claim(w->dir, "web", &other, &left, &e), -EBUSY);
	assert_false(drill_keep_is_left(w->dir, "web"));
	drill_keep_scan(w->dir, seen, found);
	assert_string_equal(found, "");
	/* It died: the file is there, and nobody has it. */
	close(fd);
	assert_true(drill_keep_is_left(w->dir, "web"));
	snprintf(path, sizeof(path), "%s/.x.drill", w->dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	drill_keep_scan(w->dir, seen, found);
	unlink(path);
	assert_string_equal(found, "web ");
	assert_int_equal(drill_keep_claim(w->dir, "web", &fd, &left, &e), 0);
	assert_true(left);
	drill_keep_unclaim(w->dir, "web", fd, false);
	assert_true(drill_keep_is_left(w->dir, "web"));
	assert_int_equal(drill_keep_claim(w->dir, "web", &fd, &left, &e), 0);
	assert_true(left);
	drill_keep_unclaim(w->dir, "web", fd, true);
	assert_false(drill_keep_is_left(w->dir, "web"));
	drill_keep_unclaim(w->dir, "web", -1, true);
	drill_keep_scan("/nowhere", seen, found);
	world_free(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_start_to_end),
		cmocka_unit_test(is_told_what_it_is),
		cmocka_unit_test(a_peer_names_our_programs),
		cmocka_unit_test(needs_a_standby),
		cmocka_unit_test(ends_when_told),
		cmocka_unit_test(the_operator_calls_it_off),
		cmocka_unit_test(ends_when_nobody_asks),
		cmocka_unit_test(one_that_dies_is_cleaned_up_after),
		cmocka_unit_test(that_cannot_be_started),
		cmocka_unit_test(that_cannot_be_watched),
		cmocka_unit_test(a_configuration_is_passed_on),
		cmocka_unit_test(is_found_again),
	};

	return argc > 1 ? child_main(argc, argv) : RUN_TESTS("drill_shell", tests);
}
