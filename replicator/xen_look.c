/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See xen_look.h. Only nodes that the toolstack owns are believed of devices (/libxl/D). */
#include "replicator/xen_look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/hvm/params.h>

#include "lib/err.h"

int xen_store_path(char path[XEN_PATH_SIZE], const char *fmt, va_list ap)
{
	int n = vsnprintf(path, XEN_PATH_SIZE, fmt, ap);

	return n < 0 || n >= XEN_PATH_SIZE ? -ENAMETOOLONG : 0;
}

char *xen_store_read(struct xs_handle *xs, unsigned int *len, const char *fmt, ...)
{
	char path[XEN_PATH_SIZE];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = xen_store_path(path, fmt, ap);
	va_end(ap);
	if (rc < 0) {
		errno = -rc;
		return NULL;
	}
	return xs_read(xs, XBT_NULL, path, len);
}

int xen_look_number(const char *text, uint32_t *domid)
{
	char *end;
	unsigned long n;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n >= DOMID_FIRST_RESERVED)
		return -EINVAL;
	*domid = (uint32_t)n;
	return 0;
}

int xen_look_domain(struct xs_handle *xs, const char *name, uint32_t *domid)
{
	unsigned int n = 0;
	char **ids = xs_directory(xs, XBT_NULL, "/local/domain", &n);
	int rc = -ENOENT;

	if (!ids)
		return -errno;
	for (unsigned int i = 0; i < n && rc == -ENOENT; i++) {
		char *got = xen_store_read(xs, NULL, "/local/domain/%s/name", ids[i]);

		if (got && strcmp(got, name) == 0)
			rc = xen_look_number(ids[i], domid);
		free(got);
	}
	free(ids);
	return rc;
}

static bool is_known(const char *kind)
{
	static const char *const known[] = {"vif", "vbd", "console", "vkbd"};

	for (size_t k = 0; k < ARRAY_SIZE(known); k++) {
		if (strcmp(kind, known[k]) == 0)
			return true;
	}
	return false;
}

int xen_look_odd_device(struct xs_handle *xs, uint32_t domid, char kind[XEN_KIND_SIZE],
			struct err *e)
{
	char path[XEN_PATH_SIZE];
	unsigned int n = 0;
	char **kinds;

	kind[0] = '\0';
	snprintf(path, sizeof(path), "/libxl/%u/device", domid);
	kinds = xs_directory(xs, XBT_NULL, path, &n);
	if (!kinds && errno != ENOENT)
		return err_set(e, -errno, "list %s", path);
	for (unsigned int i = 0; kinds && i < n && !kind[0]; i++) {
		if (!is_known(kinds[i]))
			snprintf(kind, XEN_KIND_SIZE, "%s", kinds[i]);
	}
	free(kinds);
	return 0;
}

bool xen_look_can_suspend(xc_interface *xch, struct xs_handle *xs, uint32_t domid)
{
	char *text = xen_store_read(xs, NULL, "/local/domain/%u/control/feature-suspend", domid);
	bool silent = !text || !*text;
	bool can = !silent && strcmp(text, "1") == 0;
	uint64_t callback = 0;

	free(text);
	if (silent)
		can = xc_hvm_param_get(xch, domid, HVM_PARAM_CALLBACK_IRQ, &callback) == 0 &&
		      callback != 0;
	return can;
}
