/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nbd_sysfs.h. */
#include "disk/nbd_sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "disk/nbd_wire.h"
#include "lib/cleanup.h"
#include "lib/err.h"

#define PATH_SIZE 256

static bool has_id(const char *block, const char *device, const char *id)
{
	char path[PATH_SIZE];
	char text[NBDSYS_ID_SIZE + 1];
	autofd fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%.16s/backend", block, device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return !strcmp(text, id);
}

int nbdsys_find(const char *block, const char *id)
{
	DIR *dir = opendir(block);
	const struct dirent *d;
	int found = -ENOENT;

	if (!dir)
		return -errno;
	while (found < 0 && (d = readdir(dir))) {
		int index;
		char rest;

		if (sscanf(d->d_name, "nbd%9d%c", &index, &rest) == 1 && index >= 0 &&
		    has_id(block, d->d_name, id))
			found = index;
	}
	closedir(dir);
	return found;
}

static int set(const char *block, int index, const char *what, const char *value, struct err *e)
{
	char path[PATH_SIZE];
	autofd fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/nbd%d/queue/%s", block, index, what);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	n = write(fd, value, strlen(value));
	return n < 0 ? err_set(e, -errno, "write %s to %s", value, path) : 0;
}

int nbdsys_tune(const char *block, int index, struct err *e)
{
	char kib[16];
	int rc;

	snprintf(kib, sizeof(kib), "%u", NBDWIRE_MAX_PAYLOAD >> 10);
	rc = set(block, index, "max_sectors_kb", kib, e);
	return rc ? rc : set(block, index, "scheduler", "none", e);
}

int nbdsys_touch(int index, struct err *e)
{
	char path[32];
	autofd fd = -1;

	snprintf(path, sizeof(path), "/dev/nbd%d", index);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_set(e, -errno, "open %s", path) : 0;
}
