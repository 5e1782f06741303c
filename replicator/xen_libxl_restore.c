/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See xen_libxl.h: a standby, from the primary's configuration and a stream to a running domain. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/log.h"
#include "replicator/standby.h"
#include "replicator/xen_libxl.h"
#include "replicator/xen_libxl_impl.h"

/* ---- what the primary says ------------------------------------------------- */

#define SCRIPT_DIR "/etc/xen/scripts/"
/* Of 256 that a domain has by default. */
#define DRILL_WEIGHT 8
/* A drill leaves so much of the host's memory free: a failover in its midst must not want for it. */
#define DRILL_SPARE_KIB (32 << 10)

#define DEVICES(field) offsetof(libxl_domain_config, num_##field)
#define OF_BUILD(field) \
	(offsetof(libxl_domain_config, b_info) + offsetof(libxl_domain_build_info, num_##field))

/* What a checkpoint does not hold. */
static const struct refused_device {
	const char *what;
	size_t count_offset; /* of an int in libxl_domain_config */
} refused_devices[] = {
	{"PCI devices", DEVICES(pcidevs)},
	{"reserved memory regions", DEVICES(rdms)},
	{"device-tree devices", DEVICES(dtdevs)},
	{"virtual framebuffers", DEVICES(vfbs)},
	{"virtual keyboards", DEVICES(vkbs)},
	{"virtual TPMs", DEVICES(vtpms)},
	{"9pfs shares", DEVICES(p9s)},
	{"pvcalls interfaces", DEVICES(pvcallsifs)},
	{"virtual displays", DEVICES(vdispls)},
	{"virtual sound cards", DEVICES(vsnds)},
	{"channels", DEVICES(channels)},
	{"USB controllers", DEVICES(usbctrls)},
	{"USB devices", DEVICES(usbdevs)},
	{"I/O ports", OF_BUILD(ioports)},
	{"interrupts", OF_BUILD(irqs)},
	{"I/O memory", OF_BUILD(iomem)},
};

/* A program that libxl runs as root here, though the peer named it: only one of Xen's own folder. */
static bool script_ok(const char *path)
{
	if (!path)
		return true;
	if (strncmp(path, SCRIPT_DIR, sizeof(SCRIPT_DIR) - 1) == 0)
		path += sizeof(SCRIPT_DIR) - 1;
	return *path && *path != '.' && !strchr(path, '/');
}

static int check_nic(const libxl_device_nic *nic, int i, struct err *e)
{
	char path[64];
	int n;

	if (nic->backend_domid || nic->backend_domname)
		return err_setx(e, -EINVAL, "interface %d is served by a driver domain", i);
	if (!script_ok(nic->script))
		return err_setx(e, -EINVAL, "script '%.100s' of interface %d is not in " SCRIPT_DIR,
				nic->script, i);
	/* Open vSwitch wants more than a device's name there: its own script will tell. */
	if (!nic->bridge || strpbrk(nic->bridge, ".:"))
		return 0;
	n = snprintf(path, sizeof(path), "/sys/class/net/%s", nic->bridge);
	if (n < 0 || (size_t)n >= sizeof(path) || strchr(nic->bridge, '/') || access(path, F_OK))
		return err_setx(e, -ENODEV,
				"bridge '%.63s' of interface %d does not exist on this host",
				nic->bridge, i);
	return 0;
}

static int check_config(const libxl_domain_config *dc, const char *vm, struct err *e)
{
	struct disk_list disks;
	int rc;

	if (dc->c_info.type != LIBXL_DOMAIN_TYPE_PVH)
		return err_setx(e, -EINVAL, "the guest is of type %s; only PVH can be protected",
				libxl_domain_type_to_string(dc->c_info.type)
					? libxl_domain_type_to_string(dc->c_info.type)
					: "unknown");
	for (size_t i = 0; i < ARRAY_SIZE(refused_devices); i++) {
		int n;

		memcpy(&n, (const char *)dc + refused_devices[i].count_offset, sizeof(n));
		if (n)
			return err_setx(e, -EINVAL, "the guest has %s, which cannot be protected",
					refused_devices[i].what);
	}
	if (dc->num_nics > XEN_LIBXL_MAX_VIFS)
		return err_setx(e, -E2BIG, "the guest has %d interfaces, more than %d",
				dc->num_nics, XEN_LIBXL_MAX_VIFS);
	for (int i = 0; i < dc->num_nics; i++) {
		rc = check_nic(&dc->nics[i], i, e);
		if (rc < 0)
			return rc;
	}
	rc = xen_libxl_take_disks(dc, vm, &disks, e);
	if (rc < 0)
		return rc;
	if (dc->b_info.bootloader && strchr(dc->b_info.bootloader, '/'))
		return err_setx(e, -EINVAL, "boot loader '%.100s' is given with a path",
				dc->b_info.bootloader);
	return 0;
}

/* ---- what this host says --------------------------------------------------- */

static int check_names(struct xen_libxl *x, const struct xen_libxl_restore *r, struct err *e)
{
	uint32_t domid;

	if (libxl_name_to_domid(x->ctx, r->vm, &domid) == 0)
		return err_setx(e, -EEXIST,
				"a domain '%s' exists on this host (domain %u): destroy it, or "
				"protect it from here",
				r->vm, domid);
	if (libxl_name_to_domid(x->ctx, r->build_name, &domid) != 0)
		return 0;
	if (r->drill_bridge)
		return err_setx(
			e, -EEXIST,
			"domain %u of this host is called '%s', as the drill's copy would be: xl "
			"rename it, or xl destroy it if it is no VM of yours",
			domid, r->build_name);
	return err_setx(e, -EEXIST,
			"a standby '%s' is left on this host (domain %u): xl destroy it",
			r->build_name, domid);
}

static bool uuid_in_use(struct xen_libxl *x, const libxl_uuid *uuid)
{
	bool found = false;
	int n = 0;
	libxl_dominfo *list = libxl_list_domain(x->ctx, &n);

	for (int i = 0; list && i < n; i++)
		found |= libxl_uuid_compare(&list[i].uuid, uuid) == 0;
	if (list)
		libxl_dominfo_list_free(list, n);
	return found;
}

static int check_memory(struct xen_libxl *x, libxl_domain_config *dc, bool drill, struct err *e)
{
	const char *what = drill ? "the drill's copy" : "the standby";
	libxl_domain_config copy;
	uint64_t need = 0;
	uint64_t have = 0;
	int r;

	/* libxl fills in defaults as it counts. */
	libxl_domain_config_init(&copy);
	libxl_domain_config_copy(x->ctx, &copy, dc);
	r = libxl_domain_need_memory(x->ctx, &copy, INVALID_DOMID, &need);
	libxl_domain_config_dispose(&copy);
	if (!r)
		r = libxl_get_free_memory(x->ctx, &have);
	if (r)
		return xen_libxl_failed(x, r, e, "count the memory of %s", what);
	if (drill)
		need += DRILL_SPARE_KIB;
	if (need > have)
		return err_setx(e, -ENOMEM,
				"%s needs %llu MiB, %llu MiB are free on this host: free "
				"%llu MiB (xl mem-set 0, or dom0_mem= at boot)",
				what, (unsigned long long)(need >> 10),
				(unsigned long long)(have >> 10),
				(unsigned long long)((need - have + 1023) >> 10));
	return 0;
}

/*
 * A drill's copy meets nobody: its interfaces keep their addresses and nothing else that says where they go. It is
 * another domain, it gives way to all others, and it is gone when it ends.
 */
static int isolate(const struct xen_libxl_restore *r, libxl_domain_config *dc, struct err *e)
{
	if (!r->drill_bridge)
		return 0;
	/* The standby's own disks are never a copy's: activated in this very moment, they would be written by both. */
	for (int i = 0; i < dc->num_disks; i++) {
		libxl_device_disk *disk = &dc->disks[i];
		char *shown = NULL;

		if (asprintf(&shown, "%s" DRILL_SUFFIX, disk->pdev_path) < 0)
			return err_set(e, -ENOMEM, "disk %d", i);
		free(disk->pdev_path);
		disk->pdev_path = shown;
	}
	for (int i = 0; i < dc->num_nics; i++) {
		libxl_device_nic *nic = &dc->nics[i];
		libxl_device_nic plain;

		libxl_device_nic_init(&plain);
		plain.devid = nic->devid;
		plain.nictype = nic->nictype;
		plain.mtu = nic->mtu;
		memcpy(plain.mac, nic->mac, sizeof(plain.mac));
		plain.bridge = strdup(r->drill_bridge);
		plain.script = strdup(SCRIPT_DIR "vif-romulus-drill");
		libxl_device_nic_dispose(nic);
		*nic = plain;
		if (!nic->bridge || !nic->script)
			return err_set(e, -ENOMEM, "interface %d", i);
	}
	libxl_uuid_generate(&dc->c_info.uuid);
	dc->b_info.sched_params.weight = DRILL_WEIGHT;
	dc->on_poweroff = dc->on_reboot = dc->on_crash = LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
	dc->on_watchdog = dc->on_soft_reset = LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
	return 0;
}

/* What only means something on the host that it came from. */
static int adapt_config(struct xen_libxl *x, const struct xen_libxl_restore *r,
			libxl_domain_config *dc, struct err *e)
{
	char *name = strdup(r->build_name);
	int rc;

	if (!name)
		return err_set(e, -ENOMEM, "name of the standby");
	free(dc->c_info.name);
	dc->c_info.name = name;
	dc->c_info.domid = INVALID_DOMID;
	free(dc->c_info.pool_name);
	dc->c_info.pool_name = NULL;
	dc->c_info.poolid = 0;
	rc = isolate(r, dc, e);
	if (rc < 0)
		return rc;
	if (uuid_in_use(x, &dc->c_info.uuid)) {
		log_warn("a domain of this host has the UUID of %s; the standby gets another",
			 r->vm);
		libxl_uuid_generate(&dc->c_info.uuid);
	}
	return 0;
}

static int make_config(struct xen_libxl *x, const struct xen_libxl_restore *r,
		       libxl_domain_config *dc, struct err *e)
{
	int rc;
	int n;

	xen_libxl_begin(x);
	n = libxl_domain_config_from_json(x->ctx, dc, r->json);
	if (n)
		return xen_libxl_failed(x, n, e, "read the configuration of %s", r->vm);
	rc = check_config(dc, r->vm, e);
	if (rc == 0)
		rc = check_names(x, r, e);
	if (rc == 0)
		rc = adapt_config(x, r, dc, e);
	if (rc == 0)
		rc = check_memory(x, dc, r->drill_bridge, e);
	return rc;
}

/* ---- building and running -------------------------------------------------- */

static int build(struct xen_libxl *x, const struct xen_libxl_restore *r, libxl_domain_config *dc,
		 uint32_t *domid, struct err *e)
{
	libxl_domain_restore_params params;
	struct xen_libxl_op op;
	bool given_up = false;
	int poll_fd = r->poll_fd;
	int rc = 0;
	int n;

	xen_libxl_begin(x);
	xen_libxl_op_init(&op);
	libxl_domain_restore_params_init(&params);
	params.checkpointed_stream = LIBXL_CHECKPOINTED_STREAM_REMUS;
	params.stream_version = 2;
	n = libxl_domain_create_restore(x->ctx, dc, domid, r->stream_fd, -1, &params, &op.how,
					NULL);
	if (n)
		op = (struct xen_libxl_op){.done = true, .r = n};
	while (!op.done) {
		enum xen_libxl_heed heed;

		rc = xen_libxl_pass(x, poll_fd, -1, e);
		if (rc < 0)
			break; /* libxl's loop is broken: only the end of the process helps */
		heed = rc > 0 ? r->poll_fn(r->arg) : XEN_LIBXL_GO_ON;
		if (heed != XEN_LIBXL_GO_ON)
			poll_fd = -1;
		if (heed == XEN_LIBXL_GIVE_UP) {
			given_up = true;
			n = libxl_ao_abort(x->ctx, &op.how);
			if (n && n != ERROR_NOTFOUND)
				log_warn("libxl cannot be interrupted: %s",
					 libxl_error_to_string((libxl_error)n));
		}
	}
	libxl_domain_restore_params_dispose(&params);
	if (rc < 0)
		return rc;
	if (given_up)
		return err_setx(e, -ECANCELED, "the standby was given up");
	if (op.r)
		return xen_libxl_failed(x, op.r, e, "build the standby");
	return 0;
}

int xen_libxl_restore(struct xen_libxl *x, const struct xen_libxl_restore *r, uint32_t *domid,
		      struct xen_libxl_vifs *vifs, struct err *e)
{
	libxl_domain_config dc;
	int rc;

	*domid = INVALID_DOMID;
	libxl_domain_config_init(&dc);
	rc = make_config(x, r, &dc, e);
	if (rc == 0)
		rc = build(x, r, &dc, domid, e);
	/* Asking libxl later would take time from a guest that has just come alive. */
	if (rc == 0)
		rc = xen_libxl_take_vifs(&dc, *domid, vifs, e);
	libxl_domain_config_dispose(&dc);
	/* libxl cleans up after itself, but not in every case of being interrupted. */
	if (rc < 0 && libxl_domid_valid_guest(*domid) &&
	    libxl_domain_info(x->ctx, NULL, *domid) == 0) {
		struct err ignored = ERR_INIT;

		if (xen_libxl_destroy(x, *domid, &ignored) < 0)
			log_err("%s", ignored.text);
	}
	return rc;
}

int xen_libxl_run(struct xen_libxl *x, uint32_t domid, const char *name, struct err *e)
{
	uint32_t other;
	int r;

	xen_libxl_begin(x);
	if (name && libxl_name_to_domid(x->ctx, name, &other) == 0 && other != domid)
		return err_setx(e, -EEXIST,
				"domain %u of this host is called '%s': rename or destroy it",
				other, name);
	/* First life, then the name: renaming takes libxl as long as some round trips of the guest. */
	r = libxl_domain_unpause(x->ctx, domid, NULL);
	if (r)
		return xen_libxl_failed(x, r, e, "unpause domain %u", domid);
	if (!name)
		return 0;
	xen_libxl_begin(x);
	r = libxl_domain_rename(x->ctx, domid, NULL, name);
	if (r) {
		struct err renaming = ERR_INIT;

		xen_libxl_failed(x, r, &renaming, "rename domain %u to '%s'", domid, name);
		log_err("%s; it runs, rename it with xl", renaming.text);
	}
	return 0;
}
