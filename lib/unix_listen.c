/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See unix_listen.h. */
#include "lib/unix_listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"

static int make_room(const char *path, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_setx(e, -EEXIST, "%s is there and is no socket", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, -errno, "remove %s", path);
	return 0;
}

int unix_listen(int *fd, const char *path, int type, int backlog, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	autofd s = -1;
	mode_t old;
	int rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_setx(e, -ENAMETOOLONG, "%s: too long for a socket", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	s = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return err_set(e, -errno, "socket");
	rc = make_room(path, e);
	if (rc < 0)
		return rc;
	old = umask(0177);
	rc = bind(s, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(old);
	if (rc < 0)
		return err_set(e, rc, "bind %s", path);
	if (listen(s, backlog) < 0) {
		rc = err_set(e, -errno, "listen at %s", path);
		unlink(path);
		return rc;
	}
	*fd = take_fd(&s);
	return 0;
}
