/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/child: what a program finds that goes on beside us. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"

/* Its output, by a shell that is told what to say; *pid has ended. */
static void run(const char *script, const struct child_fd *more, char *said, size_t size)
{
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	struct child_fd fd[2] = {{-1, 1}};
	size_t used = 0;
	ssize_t n;
	pid_t pid;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fd[0].ours = p[1];
	if (more)
		fd[1] = *more;
	assert_int_equal(child_start(argv, NULL, fd, more ? 2 : 1, &pid), 0);
	close(p[1]);
	while ((n = read(p[0], said + used, size - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(p[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_session_of_its_own(void **state)
{
	char said[64];

	run("read pid name state parent group session rest </proc/$$/stat; echo $session $$", NULL,
	    said, sizeof(said));
	assert_int_equal(strtol(said, NULL, 10), strtol(strchr(said, ' '), NULL, 10));
}

static void environment_as_given(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "exit ${ROMULUS_TEST:-9}", NULL};
	const char *const env[] = {"ROMULUS_TEST=7", NULL};
	int status;
	pid_t pid;

	assert_int_equal(child_start(argv, env, NULL, 0, &pid), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(setenv("ROMULUS_TEST", "5", 1), 0);
	assert_int_equal(child_start(argv, NULL, NULL, 0, &pid), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 5);
	unsetenv("ROMULUS_TEST");
}

static void signals_as_at_the_start(void **state)
{
	unsigned long long blocked, ignored;
	char said[256];
	sigset_t all, was;

	sigfillset(&all);
	assert_int_equal(sigprocmask(SIG_BLOCK, &all, &was), 0);
	signal(SIGTERM, SIG_IGN);
	/* By the shell itself: while it waits for another program it blocks all of them for a moment. */
	run("while read -r l; do case $l in SigBlk* | SigIgn*) echo \"$l\" ;; esac; done </proc/self/status",
	    NULL, said, sizeof(said));
	signal(SIGTERM, SIG_DFL);
	assert_int_equal(sigprocmask(SIG_SETMASK, &was, NULL), 0);
	assert_int_equal(sscanf(said, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
	assert_int_equal(blocked, 0);
	/* The C library keeps two of its own. */
	assert_int_equal(ignored & 1ull << (SIGTERM - 1), 0);
}

static void no_descriptor_but_those_named(void **state)
{
	const char *const script = "[ -e /proc/$$/fd/77 ] && echo leaked\n"
				   "readlink /proc/$$/fd/0; read x <&3 && echo \"$x\"";
	char said[256];
	int p[2];

	/* Without O_CLOEXEC. */
	assert_int_equal(dup2(0, 77), 77);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(write(p[1], "hello\n", 6), 6);
	run(script, &(const struct child_fd){p[0], 3}, said, sizeof(said));
	assert_string_equal(said, "/dev/null\nhello\n");
	close(p[0]);
	close(p[1]);
	close(77);
}

static void a_program_that_is_none(void **state)
{
	const char *const argv[] = {"/nowhere/at-all", NULL};
	pid_t pid;

	assert_int_equal(child_start(argv, NULL, NULL, 0, &pid), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_of_its_own),
		cmocka_unit_test(environment_as_given),
		cmocka_unit_test(signals_as_at_the_start),
		cmocka_unit_test(no_descriptor_but_those_named),
		cmocka_unit_test(a_program_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
