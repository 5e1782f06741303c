/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_keep.h. */
#include "replicator/drill_keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/names.h"

#define SUFFIX ".drill"
#define FIRST_FD 3
#define MAX_FDS 4

static void path_of(char path[DRILL_KEEP_PATH_SIZE], const char *run_dir, const char *vm)
{
	snprintf(path, DRILL_KEEP_PATH_SIZE, "%s/%s" SUFFIX, run_dir, vm);
}

/* ---- the file ---- */

int drill_keep_claim(const char *run_dir, const char *vm, int *lock_fd, bool *left, struct err *e)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[DRILL_KEEP_PATH_SIZE];
	struct stat ours, there;
	autofd fd = -1;

	path_of(path, run_dir, vm);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	*left = fd >= 0;
	if (fd < 0 && errno == ENOENT)
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	if (fcntl(fd, F_OFD_SETLK, &l) < 0)
		return errno == EAGAIN || errno == EACCES
			       ? err_setx(e, -EBUSY, "a drill of %s is under way", vm)
			       : err_set(e, -errno, "lock %s", path);
	/* Its last owner may have removed it between the two. */
	if (fstat(fd, &ours) < 0 || stat(path, &there) < 0 || ours.st_ino != there.st_ino)
		return err_setx(e, -EBUSY, "a drill of %s is just ending", vm);
	*lock_fd = take_fd(&fd);
	return 0;
}

void drill_keep_unclaim(const char *run_dir, const char *vm, int lock_fd, bool tidy)
{
	char path[DRILL_KEEP_PATH_SIZE];

	if (lock_fd < 0)
		return;
	path_of(path, run_dir, vm);
	if (tidy)
		unlink(path);
	close(lock_fd);
}

bool drill_keep_is_left(const char *run_dir, const char *vm)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[DRILL_KEEP_PATH_SIZE];
	autofd fd = -1;

	path_of(path, run_dir, vm);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type == F_UNLCK;
}

void drill_keep_scan(const char *run_dir, void (*fn)(void *arg, const char *vm), void *arg)
{
	static const size_t tail = sizeof(SUFFIX) - 1;
	DIR *dir = opendir(run_dir);
	const struct dirent *d;

	while (dir && (d = readdir(dir))) {
		size_t len = strlen(d->d_name);
		char vm[NAME_SIZE] = "";

		if (len <= tail || len - tail >= sizeof(vm) ||
		    strcmp(d->d_name + len - tail, SUFFIX) != 0)
			continue;
		memcpy(vm, d->d_name, len - tail);
		if (name_ok(vm) && drill_keep_is_left(run_dir, vm))
			fn(arg, vm);
	}
	if (dir)
		closedir(dir);
}

/* ---- processes ---- */

int drill_keep_spawn(const char *const *argv, const int *fds, int n, pid_t *pid, int *pidfd,
		     struct err *e)
{
	struct child_fd fd[MAX_FDS] = {{-1, FIRST_FD}};
	int got = 0;
	int rc = 0;

	assert(n <= MAX_FDS);
	/* Above where they go, so that none covers another. */
	for (; rc == 0 && got < n; got++) {
		fd[got].ours = fcntl(fds[got], F_DUPFD_CLOEXEC, FIRST_FD + MAX_FDS);
		fd[got].theirs = FIRST_FD + got;
		if (fd[got].ours < 0)
			rc = -errno;
	}
	if (rc == 0)
		rc = child_start(argv, NULL, fd, (unsigned int)n, pid);
	for (int i = 0; i < got; i++)
		if (fd[i].ours >= 0)
			close(fd[i].ours);
	if (rc < 0)
		return err_set(e, rc, "start %s", argv[0]);
	*pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	if (*pidfd >= 0)
		return 0;
	/* Nobody would ever know how it ends. */
	rc = -errno;
	(void)kill(*pid, SIGKILL);
	(void)waitid(P_PID, (id_t)*pid, &(siginfo_t){0}, WEXITED);
	*pid = 0;
	return err_set(e, rc, "watch %s", argv[0]);
}

int drill_keep_clean(const char *program, const struct conf *conf, const char *vm, pid_t *pid,
		     int *pidfd, struct err *e)
{
	const char *const argv[] = {program,
				    "--clean",
				    "--vm",
				    vm,
				    "--run-dir",
				    conf->run_dir,
				    conf->path[0] ? "--config" : NULL,
				    conf->path,
				    NULL};

	return drill_keep_spawn(argv, NULL, 0, pid, pidfd, e);
}
