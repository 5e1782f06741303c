// SPDX-License-Identifier: GPL-2.0-or-later
/* See xen_version.h. */
#include "replicator/xen_version.h"

#include <errno.h>
#include <stdio.h>

#include "lib/err.h"

#define VERSION_DIR "/sys/hypervisor/version"

static int read_number(const char *path, uint32_t *n, struct err *e)
{
	FILE *f = fopen(path, "re");
	int found;

	if (!f)
		return err_set(e, -errno, "%s (is this a Xen host?)", path);
	found = fscanf(f, "%10u", n);
	fclose(f);
	return found == 1 ? 0 : err_setx(e, -EPROTO, "%s holds no number", path);
}

int xen_version(uint32_t *major, uint32_t *minor, struct err *e)
{
	int rc = read_number(VERSION_DIR "/major", major, e);

	return rc < 0 ? rc : read_number(VERSION_DIR "/minor", minor, e);
}
