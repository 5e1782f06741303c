/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See config_fd.h. */
#include "replicator/config_fd.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/wire_v1.h"

int config_fd_make(const char *json, size_t size, int *out, struct err *e)
{
	autofd fd = memfd_create("config", MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return err_set(e, -errno, "pass a configuration on");
	while (done < size) {
		ssize_t n = write(fd, json + done, size - done);

		if (n < 0 && errno != EINTR)
			return err_set(e, -errno, "pass a configuration on");
		done += n > 0 ? (size_t)n : 0;
	}
	*out = take_fd(&fd);
	return 0;
}

int config_fd_read(int fd, char **json, size_t *size, struct err *e)
{
	autofree char *text = NULL;
	struct stat st;
	size_t used = 0;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "configuration");
	if (st.st_size < 2 || (size_t)st.st_size > WIRE_CONFIG_MAX)
		return err_setx(e, -EMSGSIZE, "a configuration of %lld bytes",
				(long long)st.st_size);
	text = mem_zalloc((size_t)st.st_size + 1);
	if (!text)
		return err_set(e, -ENOMEM, "configuration");
	while (used < (size_t)st.st_size) {
		ssize_t n = pread(fd, text + used, (size_t)st.st_size - used, (off_t)used);

		if (n <= 0)
			return err_set(e, n < 0 ? -errno : -EIO, "read the configuration");
		used += (size_t)n;
	}
	*json = take_ptr(&text);
	*size = used;
	return 0;
}
