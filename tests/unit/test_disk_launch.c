/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/disk_launch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "tests/lib/test.h"

/* A folder with a romulus-disk of shell, which notes its arguments and does what the file `do` says. */
struct rig {
	char dir[24];
	char conf_path[64];
	const struct conf *conf;
	struct disk_launch *d;
};

static void put(const struct rig *r, const char *name, const char *text, mode_t mode)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;
	char text[512];

	assert_non_null(r);
	log_set_fd(-1);
	strcpy(r->dir, "/tmp/dl.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(
		text, sizeof(text),
		"host = { name = \"a\"; };\npaths = { run-dir = \"%s\"; state-dir = \"%s\"; };\n"
		"disks = ( { name = \"web\"; path = \"%s/x\"; }, { name = \"db\"; path = \"%s/y\"; } );\n",
		r->dir, r->dir, r->dir, r->dir);
	put(r, "romulus.conf", text, 0600);
	snprintf(text, sizeof(text), "#!/bin/sh\necho \"$*\" >>%s/started.$3\n. %s/do\n", r->dir,
		 r->dir);
	put(r, "romulus-disk", text, 0755);
	put(r, "do", "exec sleep 1000\n", 0600);
	snprintf(text, sizeof(text), "%s/disk", r->dir);
	assert_int_equal(mkdir(text, 0700), 0);
	snprintf(r->conf_path, sizeof(r->conf_path), "%s/romulus.conf", r->dir);
	assert_int_equal(conf_load(r->conf_path, &r->conf, &e), 0);
	*state = r;
	return 0;
}

static void end(const struct rig *r, const char *name)
{
	pid_t pid = r->d ? disk_launch_pid(r->d, name) : 0;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static int tear_down(void **state)
{
	struct rig *r = *state;
	char command[64];

	end(r, "web");
	end(r, "db");
	disk_launch_free(r->d);
	conf_free(r->conf);
	snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	assert_int_equal(system(command), 0);
	free(r);
	return 0;
}

static void begin(struct rig *r)
{
	const struct disk_launch_conf c = {
		.libexec_dir = r->dir, .conf_path = r->conf_path, .conf = r->conf};
	struct err e = ERR_INIT;

	assert_int_equal(disk_launch_new(&c, 1000, &r->d, &e), 0);
}

/* Something has ended. */
static void wait_for_end(const struct rig *r)
{
	struct pollfd p = {.fd = disk_launch_fd(r->d), .events = POLLIN};

	assert_int_equal(poll(&p, 1, 10000), 1);
}

static void starts_each(void **state)
{
	struct rig *r = *state;

	begin(r);
	assert_true(disk_launch_pid(r->d, "web") > 0);
	assert_true(disk_launch_pid(r->d, "db") > 0);
	assert_int_equal(disk_launch_pid(r->d, "other"), 0);
	assert_true(disk_launch_deadline(r->d) == CLOCK_NEVER);
}

static void restarts_what_dies(void **state)
{
	struct rig *r = *state;
	uint64_t now = 2000;
	pid_t pid;

	begin(r);
	for (unsigned int i = 1; i < 4; i++) {
		pid = disk_launch_pid(r->d, "web");
		kill(pid, SIGKILL);
		wait_for_end(r);
		disk_launch_dispatch(r->d, now);
		if (i > 1) {
			/* In a row: it has to wait. */
			assert_int_equal(disk_launch_pid(r->d, "web"), 0);
			assert_true(disk_launch_deadline(r->d) == now + disk_launch_backoff(i));
			now = disk_launch_deadline(r->d);
			disk_launch_dispatch(r->d, now);
		}
		assert_true(disk_launch_pid(r->d, "web") > 0);
		assert_int_not_equal(disk_launch_pid(r->d, "web"), pid);
	}
	/* One that has lived for long begins a new row. */
	now += 61 * NS_PER_SEC;
	pid = disk_launch_pid(r->d, "web");
	kill(pid, SIGKILL);
	wait_for_end(r);
	disk_launch_dispatch(r->d, now);
	assert_true(disk_launch_pid(r->d, "web") > 0);
}

static void ended_in_order_stays_away(void **state)
{
	struct rig *r = *state;

	put(r, "do", "exit 0\n", 0600);
	begin(r);
	while (disk_launch_pid(r->d, "web") || disk_launch_pid(r->d, "db")) {
		wait_for_end(r);
		disk_launch_dispatch(r->d, 2000);
	}
	assert_true(disk_launch_deadline(r->d) == CLOCK_NEVER);
}

static void no_program(void **state)
{
	struct rig *r = *state;
	char path[64];

	snprintf(path, sizeof(path), "%s/romulus-disk", r->dir);
	assert_int_equal(unlink(path), 0);
	begin(r);
	assert_int_equal(disk_launch_pid(r->d, "web"), 0);
	assert_true(disk_launch_deadline(r->d) != CLOCK_NEVER);
}

/* As a romulus-disk of an earlier romulusd: listens at its control socket. */
static pid_t stand_in(const struct rig *r)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char ready = 0;
	int p[2];
	pid_t pid;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/disk/web.ctl", r->dir);
	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 8) == 0)
			(void)!write(p[1], "x", 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(p[0], &ready, 1), 1);
	close(p[0]);
	close(p[1]);
	close(fd);
	return pid;
}

static void finds_again(void **state)
{
	struct rig *r = *state;
	pid_t pid = stand_in(r);

	begin(r);
	assert_int_equal(disk_launch_pid(r->d, "web"), pid);
	assert_true(disk_launch_pid(r->d, "db") > 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	wait_for_end(r);
	disk_launch_dispatch(r->d, 2000);
	assert_true(disk_launch_pid(r->d, "web") > 0);
	assert_int_not_equal(disk_launch_pid(r->d, "web"), pid);
}

static void waits_longer(void **state)
{
	assert_true(disk_launch_backoff(1) == 0);
	assert_true(disk_launch_backoff(2) == 200 * NS_PER_MS);
	assert_true(disk_launch_backoff(3) == 400 * NS_PER_MS);
	assert_true(disk_launch_backoff(9) == 25600 * NS_PER_MS);
	assert_true(disk_launch_backoff(10) == 30 * NS_PER_SEC);
	assert_true(disk_launch_backoff(1000) == 30 * NS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(starts_each, set_up, tear_down),
		cmocka_unit_test_setup_teardown(restarts_what_dies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ended_in_order_stays_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_program, set_up, tear_down),
		cmocka_unit_test_setup_teardown(finds_again, set_up, tear_down),
		cmocka_unit_test(waits_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
