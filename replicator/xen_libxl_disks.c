/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See xen_libxl.h: the disks of a guest as its configuration has them. */
#include <stdlib.h>

#include "lib/err.h"
#include "replicator/xen_libxl.h"
#include "replicator/xen_libxl_impl.h"

/*
 * A PVH guest has no emulated disks, whatever their names: there is no device model. That it is one is checked elsewhere
 * (xen_domain.c, check_config() in xen_libxl_restore.c).
 */
int xen_libxl_take_disks(const libxl_domain_config *dc, const char *vm, struct disk_list *disks,
			 struct err *e)
{
	*disks = (struct disk_list){.n = 0};
	for (int i = 0; i < dc->num_disks; i++) {
		const libxl_device_disk *d = &dc->disks[i];
		const struct disk_seen seen = {
			.vdev = d->vdev,
			.target = d->pdev_path,
			.script = d->script,
			.writable = d->readwrite != 0,
			.elsewhere = d->backend_domid || d->backend_domname,
		};
		int rc = disk_list_add(disks, &seen, vm, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int xen_libxl_disks(struct xen_libxl *x, uint32_t domid, struct disk_list *disks, struct err *e)
{
	libxl_domain_config dc;
	int rc;
	int r;

	xen_libxl_begin(x);
	libxl_domain_config_init(&dc);
	r = libxl_retrieve_domain_configuration(x->ctx, domid, &dc, NULL);
	if (r)
		rc = xen_libxl_failed(x, r, e, "disks of domain %u", domid);
	else
		rc = xen_libxl_take_disks(&dc, dc.c_info.name ? dc.c_info.name : "the guest", disks,
					  e);
	libxl_domain_config_dispose(&dc);
	return rc;
}
