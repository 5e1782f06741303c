// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the store says about a guest. Only nodes that the toolstack owns are believed (/libxl/D and the
 * backends'); a guest can write anything into its own. Data thread, the two plain readers any thread.
 */
#include "replicator/xen_guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/mem.h"

int xen_store_write(struct xs_handle *xs, const char *value, const char *fmt, ...)
{
	char path[XEN_PATH_SIZE];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = xen_store_path(path, fmt, ap);
	va_end(ap);
	if (rc < 0)
		return rc;
	return xs_write(xs, XBT_NULL, path, value, (unsigned int)strlen(value)) ? 0 : -errno;
}

void xen_store_remove(struct xs_handle *xs, const char *fmt, ...)
{
	char path[XEN_PATH_SIZE];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = xen_store_path(path, fmt, ap);
	va_end(ap);
	if (rc == 0)
		(void)xs_rm(xs, XBT_NULL, path);
}

/* ---- which domain ---- */

int xen_store_find(struct xen_guest *x, const char *name, struct err *e)
{
	struct guest_info *info = &x->g.info;
	char *got;
	int rc;

	rc = xen_look_number(name, &info->domid);
	if (rc < 0)
		rc = xen_look_domain(x->xs, name, &info->domid);
	if (rc == -ENOENT)
		return err_setx(e, rc, "there is no domain %s on this host; see xl list", name);
	if (rc < 0)
		return err_set(e, rc, "look for domain %s in xenstore", name);
	if (info->domid == 0)
		return err_setx(e, -EOPNOTSUPP, "domain 0 cannot be protected");
	got = xen_store_read(x->xs, NULL, "/local/domain/%u/name", info->domid);
	if (!got)
		return err_setx(e, -ENOENT, "there is no domain %s on this host; see xl list",
				name);
	snprintf(info->name, sizeof(info->name), "%s", got);
	free(got);
	snprintf(x->shutdown_path, sizeof(x->shutdown_path), "/local/domain/%u/control/shutdown",
		 info->domid);
	return 0;
}

/* ---- devices ---- */

static int check_kinds(struct xen_guest *x, struct err *e)
{
	char kind[XEN_KIND_SIZE];
	int rc = xen_look_odd_device(x->xs, x->g.info.domid, kind, e);

	if (rc == 0 && kind[0])
		rc = err_setx(e, -EOPNOTSUPP,
			      "the guest has a device of kind %s; only network, disk and "
			      "console devices can be protected",
			      kind);
	return rc;
}

static int parse_mac(const char *text, uint8_t mac[6])
{
	unsigned int m[6];
	char end;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5],
		   &end) != 6)
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)m[i];
	return 0;
}

static int read_vif(struct xen_guest *x, const char *devid, struct guest_vif *vif, struct err *e)
{
	char expected[XEN_PATH_SIZE];
	char *text;
	int rc;

	*vif = (struct guest_vif){.devid = 0};
	rc = xen_look_number(devid, &vif->devid);
	if (rc < 0)
		return err_setx(e, rc, "network device %s has no number", devid);
	snprintf(expected, sizeof(expected), "/local/domain/0/backend/vif/%u/%u", x->g.info.domid,
		 vif->devid);
	text = xen_store_read(x->xs, NULL, "/libxl/%u/device/vif/%u/backend", x->g.info.domid,
			      vif->devid);
	rc = text && strcmp(text, expected) == 0 ? 0 : -EOPNOTSUPP;
	free(text);
	if (rc < 0)
		return err_setx(e, rc, "network device %u is served by another domain than 0",
				vif->devid);
	text = xen_store_read(x->xs, NULL, "%s/mac", expected);
	rc = text ? parse_mac(text, vif->mac) : -errno;
	free(text);
	if (rc < 0)
		return err_set(e, rc, "%s/mac", expected);
	text = xen_store_read(x->xs, NULL, "%s/vifname", expected);
	if (text)
		rc = snprintf(vif->ifname, sizeof(vif->ifname), "%s", text);
	else
		rc = snprintf(vif->ifname, sizeof(vif->ifname), "vif%u.%u", x->g.info.domid,
			      vif->devid);
	free(text);
	if (rc < 1 || rc >= (int)sizeof(vif->ifname))
		return err_setx(e, -EINVAL, "%s/vifname is no name of an interface", expected);
	return 0;
}

int xen_store_devices(struct xen_guest *x, struct err *e)
{
	struct guest_info *info = &x->g.info;
	char path[XEN_PATH_SIZE];
	unsigned int n = 0;
	char **ids;
	int rc;

	rc = check_kinds(x, e);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "/libxl/%u/device/vif", info->domid);
	ids = xs_directory(x->xs, XBT_NULL, path, &n);
	if (!ids && errno != ENOENT)
		return err_set(e, -errno, "list %s", path);
	if (ids && n > GUEST_MAX_VIFS)
		rc = err_setx(e, -E2BIG,
			      "the guest has %u network devices; at most %d can be protected", n,
			      GUEST_MAX_VIFS);
	info->n_vifs = 0;
	for (unsigned int i = 0; ids && i < n && rc == 0; i++) {
		rc = read_vif(x, ids[i], &info->vif[i], e);
		if (rc == 0)
			info->n_vifs++;
	}
	free(ids);
	if (rc < 0)
		return rc;
	n = 0;
	snprintf(path, sizeof(path), "/libxl/%u/device/vbd", info->domid);
	free(xs_directory(x->xs, XBT_NULL, path, &n));
	info->n_disks = n;
	return 0;
}

int xen_store_can_suspend(struct xen_guest *x, struct err *e)
{
	if (xen_look_can_suspend(x->xch, x->xs, x->g.info.domid))
		return 0;
	return err_setx(
		e, -EAGAIN,
		"the guest does not say that it can be suspended: it has not booted yet, or "
		"its kernel has no Xen drivers");
}
