/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See launch.h. */
#include "replicator/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"

#define FIRST_FD 3

static void reset_signals(void)
{
	const struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Out of the way of the places where they go, then there. Returns where *report is now, or -1. */
static int place_fds(const struct launch *l, int report)
{
	int parked[LAUNCH_MAX_FDS];
	int beyond = FIRST_FD + l->n_fds;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return -1;
	report = fcntl(report, F_DUPFD_CLOEXEC, beyond);
	for (int i = 0; i < l->n_fds; i++) {
		parked[i] = fcntl(l->fds[i], F_DUPFD_CLOEXEC, beyond);
		if (parked[i] < 0)
			return -1;
	}
	for (int i = 0; i < l->n_fds; i++) {
		if (dup2(parked[i], FIRST_FD + i) < 0)
			return -1;
	}
	return report;
}

/* systemd's words are for romulusd, not for its children. */
static void clean_environment(void)
{
	static const char *const ours[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
					   "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		unsetenv(ours[i]);
}

NORETURN static void run_child(const struct launch *l, int report)
{
	int placed;
	int code;

	setsid();
	reset_signals();
	clean_environment();
	placed = place_fds(l, report);
	if (placed >= 0) {
		report = placed;
		execv(l->argv[0], (char *const *)(uintptr_t)l->argv);
	}
	code = errno;
	(void)!write(report, &code, sizeof(code));
	_exit(127);
}

/* 0 when the child's end was closed by its exec, else what kept it from it. */
static int exec_result(int fd)
{
	int code = 0;
	ssize_t n;

	do {
		n = read(fd, &code, sizeof(code));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	return n == sizeof(code) && code > 0 ? -code : -EIO;
}

int launch(const struct launch *l, pid_t *pid, int *pidfd, struct err *e)
{
	autofd listen = -1;
	autofd report = -1;
	autofd pfd = -1;
	int pipe_fds[2];
	int rc;

	assert(l->n_fds <= LAUNCH_MAX_FDS);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_set(e, -errno, "start %s", l->argv[0]);
	listen = pipe_fds[0];
	report = pipe_fds[1];
	*pid = fork();
	if (*pid < 0)
		return err_set(e, -errno, "start %s", l->argv[0]);
	if (*pid == 0)
		run_child(l, report);
	close(take_fd(&report));
	rc = exec_result(listen);
	if (!rc) {
		/* Not waited for yet, so the pid is still its own. */
		pfd = (int)syscall(SYS_pidfd_open, *pid, 0);
		if (pfd < 0) {
			rc = -errno;
			kill(*pid, SIGKILL);
		}
	}
	if (rc < 0) {
		waitpid(*pid, NULL, 0);
		return err_set(e, rc, "start %s", l->argv[0]);
	}
	*pidfd = take_fd(&pfd);
	return 0;
}
