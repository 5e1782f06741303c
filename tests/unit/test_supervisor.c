/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workers with real processes: shell scripts stand in for romulus-primary and romulus-backup. Also worker.c
 * and launch.c, which are of use only here. Time is a parameter, so backoff needs no waiting.
 */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "replicator/launch.h"
#include "replicator/supervisor.h"
#include "replicator/worker.h"

#define DEADLINE_NS (20 * NS_PER_SEC)

struct fixture {
	char dir[64];
	struct supervisor *s;
	bool is_wanted;
	int n_ended;
	int last_code;
	bool last_fresh;
	char last_vm[NAME_SIZE];
	int n_activated;
	char activated_vm[NAME_SIZE];
};

static bool wanted(void *ctx, const char *vm)
{
	return ((struct fixture *)ctx)->is_wanted;
}

static void ended(void *ctx, const char *vm, int code, bool fresh)
{
	struct fixture *f = ctx;

	f->n_ended++;
	f->last_code = code;
	f->last_fresh = fresh;
	snprintf(f->last_vm, sizeof(f->last_vm), "%s", vm);
}

static void activated(void *ctx, const char *vm)
{
	struct fixture *f = ctx;

	f->n_activated++;
	snprintf(f->activated_vm, sizeof(f->activated_vm), "%s", vm);
}

static void put_program(const struct fixture *f, const char *name, const char *script)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	unlink(path);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", script);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0755), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct supervisor_conf conf = {
		.libexec_dir = f->dir,
		.conf_path = "/the.conf",
		.run_dir = f->dir,
		.max_unauthenticated = 2,
		.handshake_timeout_ns = 5 * NS_PER_SEC,
		.ctx = f,
		.wanted = wanted,
		.ended = ended,
		.activated = activated,
	};
	struct err e = ERR_INIT;

	log_set_fd(-1);
	f->is_wanted = true;
	strcpy(f->dir, "/tmp/test_sup.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(supervisor_new(&conf, &f->s, &e), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = {"romulus-primary", "romulus-backup", "args", "env",
					    "web.primary.pid", "web.backup.pid", "go"};
	struct fixture *f = *state;
	char path[128];

	supervisor_free(f->s);
	supervisor_free(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* Dispatches at the time `now` until cond holds. */
#define UNTIL(f, now, cond)                                                                      \
	do {                                                                                     \
		uint64_t until_end = clock_now() + DEADLINE_NS;                                  \
		while (!(cond)) {                                                                \
			struct pollfd until_p = {.fd = supervisor_fd((f)->s), .events = POLLIN}; \
			if (clock_now() > until_end)                                             \
				fail_msg("in vain waited for %s", #cond);                        \
			poll(&until_p, 1, 10);                                                   \
			supervisor_dispatch((f)->s, now);                                        \
		}                                                                                \
	} while (0)

static const struct supervised *web(const struct fixture *f)
{
	return supervisor_find(f->s, "web", WORKER_PRIMARY);
}

static bool read_line(const struct fixture *f, const char *name, char buf[512])
{
	char path[128];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	file = fopen(path, "r");
	if (!file)
		return false;
	ok = fgets(buf, 512, file) && strchr(buf, '\n');
	fclose(file);
	return ok;
}

static void backoff(void **state)
{
	static const uint64_t ms[] = {0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};

	for (unsigned int i = 0; i < ARRAY_SIZE(ms); i++)
		assert_int_equal(supervisor_backoff(i), ms[i] * NS_PER_MS);
	assert_int_equal(supervisor_backoff(UINT32_MAX), 5 * NS_PER_SEC);
}

static void starts_with_arguments(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char script[256];
	char line[512];

	snprintf(
		script, sizeof(script),
		"echo \"$*\" >%s/args; [ -e /proc/$$/fd/3 ] || exit 1; [ ! -e /proc/$$/fd/4 ] || exit 1; "
		"exit 0",
		f->dir);
	put_program(f, "romulus-primary", script);
	assert_int_equal(supervisor_protect(f->s, "web", false, 1000, &e), 0);
	assert_int_equal(web(f)->state, SUPERVISED_RUNNING);
	assert_int_equal(supervisor_protect(f->s, "web", false, 1000, &e), -EBUSY);
	UNTIL(f, 1000, f->n_ended);
	assert_int_equal(f->last_code, WORKER_DONE);
	assert_true(f->last_fresh);
	assert_string_equal(f->last_vm, "web");
	assert_null(web(f));
	assert_true(read_line(f, "args", line));
	assert_string_equal(line, "--config /the.conf --status-fd 3 web\n");
	assert_int_equal(supervisor_deadline(f->s), CLOCK_NEVER);
}

static void restarts_a_crash(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	uint64_t now = 1000 * NS_PER_SEC;
	char script[256];
	char line[512];
	int pid;

	snprintf(script, sizeof(script), "echo \"$*\" >%s/args; kill -9 $$", f->dir);
	put_program(f, "romulus-primary", script);
	assert_int_equal(supervisor_protect(f->s, "web", false, now, &e), 0);
	pid = web(f)->pid;
	/* The first restart comes at once, with --adopt; the second waits 100 ms. */
	UNTIL(f, now, web(f)->crashes == 2);
	assert_int_equal(web(f)->state, SUPERVISED_RESTARTING);
	assert_int_not_equal(web(f)->pid, pid);
	assert_non_null(strstr(web(f)->problem, "signal 9 (KILL)"));
	assert_true(read_line(f, "args", line));
	assert_string_equal(line, "--config /the.conf --status-fd 3 --adopt web\n");
	assert_int_equal(supervisor_deadline(f->s), now + 100 * NS_PER_MS);
	supervisor_dispatch(f->s, now + 99 * NS_PER_MS);
	assert_int_equal(web(f)->state, SUPERVISED_RESTARTING);
	now += 100 * NS_PER_MS;
	UNTIL(f, now, web(f)->crashes == 3);
	assert_int_equal(supervisor_deadline(f->s), now + 200 * NS_PER_MS);
	/* One that was steady for a minute counts from one again. */
	put_program(f, "romulus-primary", "sleep 20");
	now += 200 * NS_PER_MS;
	UNTIL(f, now, web(f)->state == SUPERVISED_RUNNING);
	assert_int_equal(kill(web(f)->pid, SIGKILL), 0);
	now += SUPERVISOR_STEADY_NS;
	UNTIL(f, now, web(f)->crashes == 1);
	/* Nobody wants it any more. */
	f->is_wanted = false;
	assert_int_equal(kill(web(f)->pid, SIGKILL), 0);
	UNTIL(f, now, !web(f));
	assert_int_equal(f->n_ended, 0);
}

static void final_codes(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	put_program(f, "romulus-primary", "exit 10");
	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), 0);
	UNTIL(f, 1, f->n_ended == 1);
	assert_int_equal(f->last_code, WORKER_DEPOSED);
	assert_null(web(f));

	put_program(f, "romulus-primary", "exit 11");
	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), 0);
	UNTIL(f, 1, f->n_ended == 2);
	assert_int_equal(f->last_code, WORKER_REFUSED);
	assert_int_equal(web(f)->state, SUPERVISED_REFUSED);
	assert_string_equal(web(f)->problem, "ended with code 11");
	assert_int_equal(supervisor_deadline(f->s), CLOCK_NEVER);
	/* A refused one may be tried again, or forgotten. */
	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), 0);
	assert_int_equal(supervisor_forget(f->s, "web", &e), -EBUSY);
	UNTIL(f, 1, f->n_ended == 3);
	assert_int_equal(supervisor_forget(f->s, "web", &e), 0);
	assert_null(web(f));
	assert_int_equal(supervisor_forget(f->s, "web", &e), 0);
	/* An ordinary failure is a crash. */
	put_program(f, "romulus-primary", "exit 1");
	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), 0);
	UNTIL(f, 1, web(f)->crashes == 2);
	assert_int_equal(f->n_ended, 3);
	assert_int_equal(supervisor_forget(f->s, "web", &e), 0);
}

static void cannot_start(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), -ENOENT);
	assert_non_null(strstr(e.text, "romulus-primary"));
	assert_null(web(f));
	/* One that vanished while its VM is protected is tried for again. */
	put_program(f, "romulus-primary", "exit 1");
	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), 0);
	{
		char path[128];

		snprintf(path, sizeof(path), "%s/romulus-primary", f->dir);
		unlink(path);
	}
	UNTIL(f, 1, web(f)->crashes >= 2);
	assert_int_equal(web(f)->state, SUPERVISED_RESTARTING);
	assert_non_null(strstr(web(f)->problem, "romulus-primary"));
	assert_int_equal(supervisor_forget(f->s, "web", &e), 0);
}

/* Says over descriptor 3 what a worker would; a byte, then text, a packet per printf. */
static void hears_a_reason(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	put_program(f, "romulus-primary", "printf '\\003there is no VM web' >&3; exit 11");
	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), 0);
	UNTIL(f, 1, f->n_ended);
	assert_string_equal(web(f)->problem, "there is no VM web");
	assert_int_equal(supervisor_forget(f->s, "web", &e), 0);
}

/* One that cannot begin now is tried again, and what it said stays to be seen until one is ready. */
static void keeps_the_reason(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	uint64_t now = 1000 * NS_PER_SEC;

	put_program(f, "romulus-primary", "printf '\\003no memory' >&3; exit 1");
	assert_int_equal(supervisor_protect(f->s, "web", true, now, &e), 0);
	UNTIL(f, now, web(f)->crashes == 2);
	assert_int_equal(web(f)->state, SUPERVISED_RESTARTING);
	assert_string_equal(web(f)->problem, "no memory");
	assert_int_equal(f->n_ended, 0);
	/* One that is killed said nothing, whatever the one before it said. */
	put_program(f, "romulus-primary", "exec sleep 60");
	now += NS_PER_SEC;
	UNTIL(f, now, web(f)->state == SUPERVISED_RUNNING);
	assert_string_equal(web(f)->problem, "no memory");
	assert_int_equal(kill(web(f)->pid, SIGKILL), 0);
	UNTIL(f, now, web(f)->crashes == 3);
	assert_non_null(strstr(web(f)->problem, "KILL"));
	put_program(f, "romulus-primary", "printf '\\002' >&3; exec sleep 60");
	now += NS_PER_SEC;
	UNTIL(f, now, web(f)->state == SUPERVISED_RUNNING && !*web(f)->problem);
	assert_int_equal(kill(web(f)->pid, SIGKILL), 0);
	f->is_wanted = false;
	UNTIL(f, now, !web(f));
}

/* Only a VM that never was ready to be protected is forgotten when its worker refuses. */
static void fresh_until_ready(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char script[256];
	char line[512];

	put_program(f, "romulus-primary", "printf '\\002' >&3; exit 11");
	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), 0);
	UNTIL(f, 1, f->n_ended == 1);
	assert_int_equal(f->last_code, WORKER_REFUSED);
	assert_false(f->last_fresh);
	/* Nor one that was protected before. */
	snprintf(script, sizeof(script), "echo \"$*\" >%s/args; exit 11", f->dir);
	put_program(f, "romulus-primary", script);
	assert_int_equal(supervisor_protect(f->s, "web", true, 1, &e), 0);
	UNTIL(f, 1, f->n_ended == 2);
	assert_false(f->last_fresh);
	assert_true(read_line(f, "args", line));
	assert_string_equal(line, "--config /the.conf --status-fd 3 --adopt web\n");
	assert_int_equal(supervisor_protect(f->s, "web", false, 1, &e), 0);
	UNTIL(f, 1, f->n_ended == 3);
	assert_true(f->last_fresh);
	assert_int_equal(supervisor_forget(f->s, "web", &e), 0);
}

/* This host died as the primary, and its peer went on: what the worker found of that is said until the VM has a backup's here. */
static void a_backup_ends_what_a_primary_refused(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	int pair[2];

	put_program(f, "romulus-primary", "printf '\\003there is no VM web' >&3; exit 11");
	assert_int_equal(supervisor_protect(f->s, "web", true, 1, &e), 0);
	UNTIL(f, 1, f->n_ended == 1);
	assert_int_equal(web(f)->state, SUPERVISED_REFUSED);
	put_program(f, "romulus-backup",
		    "printf '\\001web' >&3; printf '\\002' >&3; exec sleep 60");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	/* Of a VM that is still to be protected from here it is no news. */
	assert_int_equal(supervisor_connection(f->s, pair[0], 1, &e), 0);
	UNTIL(f, 1, supervisor_find(f->s, "web", WORKER_BACKUP));
	for (int i = 0; i < 20; i++) {
		supervisor_dispatch(f->s, 1);
		poll(NULL, 0, 5);
	}
	assert_non_null(web(f));
	assert_int_equal(kill(supervisor_find(f->s, "web", WORKER_BACKUP)->pid, SIGKILL), 0);
	UNTIL(f, 1, !supervisor_find(f->s, "web", WORKER_BACKUP));
	f->is_wanted = false;
	assert_int_equal(supervisor_connection(f->s, pair[0], 1, &e), 0);
	UNTIL(f, 1, !web(f));
	assert_int_equal(kill(supervisor_find(f->s, "web", WORKER_BACKUP)->pid, SIGKILL), 0);
	UNTIL(f, 1, !supervisor_find(f->s, "web", WORKER_BACKUP));
	close(pair[0]);
	close(pair[1]);
}

static void connections(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	uint64_t now = 1000 * NS_PER_SEC;
	char line[512] = "";
	char script[300];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	snprintf(
		script, sizeof(script),
		"echo \"$*\" >%s/args; echo hello >&4; read word <&4; printf '\\001web' >&3; read word <&4; printf '\\004' >&3; read word <&4",
		f->dir);
	put_program(f, "romulus-backup", script);
	assert_int_equal(supervisor_connection(f->s, pair[0], now, &e), 0);
	close(pair[0]);
	assert_int_equal(read(pair[1], line, sizeof(line)), 6);
	assert_string_equal(line, "hello\n");
	assert_true(read_line(f, "args", line));
	assert_string_equal(line, "--config /the.conf --status-fd 3 --fd 4\n");
	assert_int_equal(supervisor_deadline(f->s), now + 5 * NS_PER_SEC);
	assert_non_null(supervisor_find(f->s, "", WORKER_BACKUP));
	assert_int_equal(write(pair[1], "go\n", 3), 3);
	UNTIL(f, now, supervisor_find(f->s, "web", WORKER_BACKUP));
	assert_int_equal(supervisor_deadline(f->s), CLOCK_NEVER);
	supervisor_dispatch(f->s, now + 60 * NS_PER_SEC);
	assert_non_null(supervisor_find(f->s, "web", WORKER_BACKUP));
	assert_int_equal(f->n_activated, 0);
	assert_int_equal(write(pair[1], "go\n", 3), 3);
	UNTIL(f, now, f->n_activated == 1);
	assert_string_equal(f->activated_vm, "web");
	/* Ends with its connection, and is not started again. */
	close(pair[1]);
	UNTIL(f, now, !supervisor_at(f->s, 0));
}

static void strangers(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	uint64_t now = 1000 * NS_PER_SEC;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	put_program(f, "romulus-backup", "exec sleep 60");
	assert_int_equal(supervisor_connection(f->s, null, now, &e), 0);
	assert_int_equal(supervisor_connection(f->s, null, now, &e), 0);
	assert_int_equal(supervisor_connection(f->s, null, now, &e), -EBUSY);
	/* Too late: they are killed, and there is room again. */
	supervisor_dispatch(f->s, now + 5 * NS_PER_SEC);
	UNTIL(f, now + 5 * NS_PER_SEC, !supervisor_at(f->s, 0));
	assert_int_equal(supervisor_connection(f->s, null, now, &e), 0);
	assert_int_equal(kill(supervisor_at(f->s, 0)->pid, SIGKILL), 0);
	UNTIL(f, now, !supervisor_at(f->s, 0));
	close(null);
}

/* The accepted end of a connection from this address of the loopback network; *client is the other. */
static int connection_from(uint32_t address, int *client)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
	socklen_t size = sizeof(sa);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd;

	*client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &size), 0);
	assert_int_equal(bind(*client, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(*client, (struct sockaddr *)&sa, sizeof(sa)), 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

/* One that connects without end does not keep the others out. */
static void one_source_has_half(void **state)
{
	static const struct {
		uint32_t from;
		int rc;
	} table[] = {
		{0x7f000001, 0},
		{0x7f000001, -EBUSY},
		{0x7f000002, 0},
		{0x7f000003, -EBUSY},
	};
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	uint64_t now = 1000 * NS_PER_SEC;

	put_program(f, "romulus-backup", "exec sleep 60");
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int client;
		int fd = connection_from(table[i].from, &client);

		assert_int_equal(supervisor_connection(f->s, fd, now, &e), table[i].rc);
		close(fd);
		close(client);
		if (i == 1)
			assert_non_null(strstr(e.text, "127.0.0.1"));
	}
	supervisor_dispatch(f->s, now + 5 * NS_PER_SEC);
	UNTIL(f, now + 5 * NS_PER_SEC, !supervisor_at(f->s, 0));
}

/* ---- pid files ---- */

/* A process that claims web's primary and stays. */
static pid_t claimant(const struct fixture *f)
{
	int ready[2];
	int lock = -1;
	char c;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		alarm(60);
		if (worker_claim(f->dir, "web", WORKER_PRIMARY, &lock, NULL) < 0 ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void claims(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char path[WORKER_PATH_SIZE];
	int lock = -1;
	int second = -1;
	int pidfd = -1;
	pid_t pid = 0;

	assert_int_equal(worker_find(f->dir, "web", WORKER_PRIMARY, &pid, &pidfd, &e), -ESRCH);
	assert_int_equal(worker_claim(f->dir, "web", WORKER_PRIMARY, &lock, &e), 0);
	assert_int_equal(worker_claim(f->dir, "web", WORKER_PRIMARY, &second, &e), -EBUSY);
	assert_non_null(strstr(e.text, "already"));
	assert_int_equal(worker_claim(f->dir, "web", WORKER_BACKUP, &second, &e), 0);
	worker_unclaim(f->dir, "web", WORKER_BACKUP, &second);
	assert_int_equal(second, -1);
	assert_int_equal(worker_find(f->dir, "web", WORKER_PRIMARY, &pid, &pidfd, &e), 0);
	assert_int_equal(pid, getpid());
	close(pidfd);
	worker_unclaim(f->dir, "web", WORKER_PRIMARY, &lock);
	worker_unclaim(f->dir, "web", WORKER_PRIMARY, &lock);
	worker_pid_path(path, f->dir, "web", WORKER_PRIMARY);
	assert_int_equal(access(path, F_OK), -1);
	/* What a crash leaves is no worker, and no obstacle. */
	pid = claimant(f);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(worker_find(f->dir, "web", WORKER_PRIMARY, &pid, &pidfd, &e), -ESRCH);
	assert_int_equal(worker_claim(f->dir, "web", WORKER_PRIMARY, &lock, &e), 0);
	worker_unclaim(f->dir, "web", WORKER_PRIMARY, &lock);
}

/* The file is locked by a living process, but its text is not to be trusted. */
static void lying_pid_files(void **state)
{
	static const char *const texts[] = {
		"",   "x",     "1 5\n", "-5 5\n", "99999999999 5\n", "5",
		"5 ", "0 0\n", "5 x\n", "%d 1\n", "%d 1 1",	     "999999 99\n"};
	struct fixture *f = *state;
	char path[WORKER_PATH_SIZE];
	char text[64];
	pid_t child = claimant(f);

	worker_pid_path(path, f->dir, "web", WORKER_PRIMARY);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err e = ERR_INIT;
		int pidfd = -1;
		int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		pid_t pid;

		_Pragma("GCC diagnostic push")
			_Pragma("GCC diagnostic ignored \"-Wformat-nonliteral\"")
				snprintf(text, sizeof(text), texts[i], (int)child);
		_Pragma("GCC diagnostic pop")
			assert_int_equal(write(fd, text, strlen(text)), strlen(text));
		close(fd);
		assert_int_equal(worker_find(f->dir, "web", WORKER_PRIMARY, &pid, &pidfd, &e),
				 -ESRCH);
		assert_int_equal(pidfd, -1);
	}
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void adopts(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char script[256];
	char line[512];
	pid_t pid = claimant(f);

	snprintf(script, sizeof(script), "echo \"$*\" >%s/args; exec sleep 60", f->dir);
	put_program(f, "romulus-primary", script);
	assert_int_equal(supervisor_adopt(f->s, "web", WORKER_PRIMARY, 1, &e), 0);
	assert_int_equal(web(f)->pid, pid);
	assert_int_equal(web(f)->state, SUPERVISED_RUNNING);
	/* Its exit code cannot be seen; the durable state says that it is still wanted. */
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	UNTIL(f, 1, web(f)->pid != pid && read_line(f, "args", line));
	assert_string_equal(line, "--config /the.conf --status-fd 3 --adopt web\n");
	assert_int_equal(kill(web(f)->pid, SIGKILL), 0);
	f->is_wanted = false;
	UNTIL(f, 1, !web(f));
	/* None lives: one is started. */
	f->is_wanted = true;
	assert_int_equal(supervisor_adopt(f->s, "web", WORKER_PRIMARY, 1, &e), 0);
	assert_int_not_equal(web(f)->pid, pid);
	assert_int_equal(kill(web(f)->pid, SIGKILL), 0);
	f->is_wanted = false;
	UNTIL(f, 1, !web(f));
	/* It cannot be started just now. */
	{
		char path[128];

		snprintf(path, sizeof(path), "%s/romulus-primary", f->dir);
		unlink(path);
	}
	f->is_wanted = true;
	assert_int_equal(supervisor_adopt(f->s, "web", WORKER_PRIMARY, 1, &e), 0);
	assert_int_equal(web(f)->state, SUPERVISED_RESTARTING);
	assert_non_null(strstr(web(f)->problem, "romulus-primary"));
	assert_int_equal(supervisor_forget(f->s, "web", &e), 0);
	/* A backup's is never started from here. */
	assert_int_equal(supervisor_adopt(f->s, "web", WORKER_BACKUP, 1, &e), -ESRCH);
	assert_null(supervisor_at(f->s, 0));
}

static void adopts_backups(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	int lock = -1;

	assert_int_equal(worker_claim(f->dir, "web", WORKER_BACKUP, &lock, &e), 0);
	supervisor_adopt_backups(f->s, 1);
	assert_int_equal(supervisor_find(f->s, "web", WORKER_BACKUP)->pid, getpid());
	assert_int_equal(supervisor_deadline(f->s), CLOCK_NEVER);
	worker_unclaim(f->dir, "web", WORKER_BACKUP, &lock);
}

/* ---- words ---- */

static void words(void **state)
{
	char text[WORKER_TEXT_SIZE];
	char long_text[400];
	enum worker_word word = 0;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(worker_hear(pair[0], &word, text), 0);
	worker_say(pair[1], WORKER_SAYS_AUTHENTICATED, "web");
	worker_say(pair[1], WORKER_SAYS_READY, NULL);
	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = 0;
	worker_say(pair[1], WORKER_SAYS_PROBLEM, long_text);
	assert_int_equal(worker_hear(pair[0], &word, text), 1);
	assert_int_equal(word, WORKER_SAYS_AUTHENTICATED);
	assert_string_equal(text, "web");
	assert_int_equal(worker_hear(pair[0], &word, text), 1);
	assert_string_equal(text, "");
	assert_int_equal(worker_hear(pair[0], &word, text), 1);
	assert_int_equal(strlen(text), WORKER_TEXT_SIZE - 1);
	assert_int_equal(send(pair[1], "\0x", 2, 0), 2);
	assert_int_equal(worker_hear(pair[0], &word, text), -EBADMSG);
	assert_int_equal(send(pair[1], "\1a\0b", 4, 0), 4);
	assert_int_equal(worker_hear(pair[0], &word, text), -EBADMSG);
	assert_int_equal(send(pair[1], long_text, 300, 0), 300);
	assert_int_equal(worker_hear(pair[0], &word, text), -EBADMSG);
	/* Nobody reads: it is dropped, nobody waits. */
	for (int i = 0; i < 10000; i++)
		worker_say(pair[1], WORKER_SAYS_PROBLEM, long_text);
	close(pair[0]);
	worker_say(pair[1], WORKER_SAYS_READY, "");
	worker_say(-1, WORKER_SAYS_READY, "");
	close(pair[1]);
}

static void hung_up(void **state)
{
	char text[WORKER_TEXT_SIZE];
	enum worker_word word;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	close(pair[1]);
	assert_int_equal(worker_hear(pair[0], &word, text), -EPIPE);
	close(pair[0]);
}

static void launches_clean(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char script[400];
	char path[128];
	const char *const argv[] = {path, NULL};
	const struct launch l = {.argv = argv};
	char line[512];
	sigset_t mask;
	siginfo_t info = {0};
	pid_t pid;
	int pidfd = -1;

	snprintf(path, sizeof(path), "%s/romulus-primary", f->dir);
	snprintf(script, sizeof(script),
		 "x=; for i in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$i ] && x=$x$i; done; "
		 "m=$(sed -n 's/^SigBlk:.//p' /proc/$$/status); s=$(cut -d' ' -f6 /proc/$$/stat); "
		 "[ $s = $$ ] && s=leader; echo \"${NOTIFY_SOCKET-none} $m $s <$x>\" >%s/env",
		 f->dir);
	put_program(f, "romulus-primary", script);
	setenv("NOTIFY_SOCKET", "/x", 1);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	assert_int_equal(launch(&l, &pid, &pidfd, &e), 0);
	assert_int_equal(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED), 0);
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	unsetenv("NOTIFY_SOCKET");
	close(pidfd);
	assert_true(read_line(f, "env", line));
	assert_string_equal(line, "none 0000000000000000 leader <>\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backoff),
		cmocka_unit_test_setup_teardown(starts_with_arguments, set_up, tear_down),
		cmocka_unit_test_setup_teardown(restarts_a_crash, set_up, tear_down),
		cmocka_unit_test_setup_teardown(final_codes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cannot_start, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hears_a_reason, set_up, tear_down),
		cmocka_unit_test_setup_teardown(keeps_the_reason, set_up, tear_down),
		cmocka_unit_test_setup_teardown(fresh_until_ready, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_backup_ends_what_a_primary_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(connections, set_up, tear_down),
		cmocka_unit_test_setup_teardown(strangers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_source_has_half, set_up, tear_down),
		cmocka_unit_test_setup_teardown(claims, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lying_pid_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(adopts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(adopts_backups, set_up, tear_down),
		cmocka_unit_test(words),
		cmocka_unit_test(hung_up),
		cmocka_unit_test_setup_teardown(launches_clean, set_up, tear_down),
	};

	return RUN_TESTS("supervisor", tests);
}
