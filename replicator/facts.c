/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See facts.h. What cannot be found out is left out, or has a member "problem": the judge says what it means. */
#include "replicator/facts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/cert.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/ctl_client.h"
#include "lib/err.h"
#include "lib/event.h"
#include "lib/frame.h"
#include "lib/json_in.h"
#include "lib/json_out.h"
#include "replicator/epoch.h"
#include "replicator/vm_state.h"
#include "replicator/worker.h"

#define DISK_ASK_NS NS_PER_SEC
#define MAX_BRIDGES 256

/* ---- kernel ---- */

/* What holds and directs output, and what serves disks to guests. */
static const char *const modules[] = {
	"sch_plug", "sch_prio", "sch_ingress", "cls_bpf", "cls_matchall", "act_mirred",
	"act_gact", "ifb",	"xen_netback", "nbd",	  "xen_blkback",
};

/* The file lists paths; a module's file may have - where its name has _. */
static bool lists(const char *file, const char *name)
{
	char line[512];
	FILE *f = fopen(file, "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		char *end = strpbrk(line, ":\n");
		char *base;

		if (end)
			*end = '\0';
		base = strrchr(line, '/');
		base = base ? base + 1 : line;
		end = strstr(base, ".ko");
		if (!end)
			continue;
		*end = '\0';
		for (char *p = base; *p; p++)
			*p = *p == '-' ? '_' : *p;
		found = strcmp(base, name) == 0;
	}
	if (f)
		fclose(f);
	return found;
}

static const char *module_state(const char *name, const char *release)
{
	bool known = false;
	char path[256];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (access(path, F_OK) == 0)
		return "loaded";
	snprintf(path, sizeof(path), "/lib/modules/%.64s/modules.builtin", release);
	known = access(path, R_OK) == 0;
	if (lists(path, name))
		return "builtin";
	snprintf(path, sizeof(path), "/lib/modules/%.64s/modules.dep", release);
	/* A kernel of which no list is installed may have it built in. */
	known = known || access(path, R_OK) == 0;
	return lists(path, name) ? "available" : known ? "missing" : "unknown";
}

static void put_kernel(struct json *j)
{
	struct json *o = json_out_object(j, "modules");
	struct utsname u;

	if (uname(&u) < 0)
		return;
	json_out_text(j, "kernel", u.release);
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
		json_out_text(o, modules[i], module_state(modules[i], u.release));
}

static void put_bridges(struct json *j)
{
	struct json *a = json_out_array(j, "bridges");
	DIR *dir = opendir("/sys/class/net");
	const struct dirent *d;
	int n = 0;

	while (dir && n < MAX_BRIDGES && (d = readdir(dir))) {
		char path[320];

		snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", d->d_name);
		if (d->d_name[0] == '.' || access(path, F_OK) < 0)
			continue;
		json_out_text(a, NULL, d->d_name);
		n++;
	}
	if (dir)
		closedir(dir);
}

static void put_memory(struct json *j)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			json_out_u64(j, "dom0_available_mib", kib / 1024);
	}
	if (f)
		fclose(f);
}

static void put_clock(struct json *j)
{
	struct timex t = {.modes = 0};
	int state = adjtimex(&t);

	json_out_u64(j, "wall_us", event_now());
	json_out_bool(j, "clock_synced", state >= 0 && state != TIME_ERROR);
}

/* ---- files ---- */

static void put_cert(struct json *j, const char *key, const char *path)
{
	struct json *o = json_out_object(j, key);
	struct cert_info info;
	struct err e = ERR_INIT;

	json_out_text(o, "path", path);
	if (cert_read(path, &info, &e) < 0) {
		json_out_text(o, "problem", e.text);
		return;
	}
	json_out_text(o, "name", info.name);
	json_out_text(o, "issuer", info.issuer);
	json_out_i64(o, "not_before", (int64_t)info.not_before);
	json_out_i64(o, "not_after", (int64_t)info.not_after);
	json_out_text(o, "fingerprint", info.fingerprint);
}

static int disk_size(const char *path, uint64_t *size)
{
	autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, size) < 0)
		return -errno;
	return S_ISBLK(st.st_mode) || S_ISREG(st.st_mode) ? 0 : -ENOTBLK;
}

/* What its server says of it; no member: nobody serves it. */
static void put_server(struct json *o, const struct conf *c, const char *name)
{
	const char *const argv[] = {"status", NULL};
	struct json_in *reply = NULL;
	struct err e = ERR_INIT;
	char path[CONF_RUN_DIR_SIZE + NAME_SIZE + 16];

	snprintf(path, sizeof(path), "%s/disk/%s.ctl", c->run_dir, name);
	if (ctl_client_call(path, argv, DISK_ASK_NS, &reply, &e) == 0)
		json_out_value(o, "server", reply);
	json_in_free(reply);
}

static void put_disks(struct json *j, const struct conf *c)
{
	static const char *const modes[] = {"memory", "flush", "epoch"};
	struct json *a = json_out_array(j, "disks");

	for (size_t i = 0; i < c->n_disks; i++) {
		const struct conf_disk *d = &c->disk[i];
		struct json *o = json_out_object(a, NULL);
		uint64_t size = 0;
		int rc = disk_size(d->path, &size);

		json_out_text(o, "name", d->name);
		json_out_text(o, "path", d->path);
		if (d->mode < ARRAY_SIZE(modes))
			json_out_text(o, "mode", modes[d->mode]);
		if (rc < 0)
			json_out_text(o, "problem", strerrordesc_np(-rc));
		else
			json_out_u64(o, "size", size);
		put_server(o, c, d->name);
	}
}

static void put_conf(struct json *j, const struct conf *c)
{
	static const char *const arbiters[] = {[CONF_ARBITER_NONE] = "none",
					       [CONF_ARBITER_WITNESS] = "witness",
					       [CONF_ARBITER_ETCD] = "etcd",
					       [CONF_ARBITER_FENCE] = "fence"};
	struct json *o = json_out_object(j, "conf");
	struct json *a = json_out_array(o, "peers");

	for (size_t i = 0; i < c->n_peers; i++) {
		struct json *p = json_out_object(a, NULL);

		json_out_text(p, "name", c->peer[i].name);
		json_out_text(p, "address", c->peer[i].address);
		json_out_u64(p, "port", c->peer[i].port);
	}
	if (c->arbiter_kind < ARRAY_SIZE(arbiters))
		json_out_text(o, "arbiter", arbiters[c->arbiter_kind]);
	if (c->arbiter_kind == CONF_ARBITER_WITNESS)
		json_out_text(o, "arbiter_name", c->witness_name);
	else if (c->arbiter_kind == CONF_ARBITER_ETCD)
		json_out_text(o, "arbiter_name", c->etcd_prefix);
	json_out_u64(o, "arena_bytes", c->arena_bytes);
	json_out_u64(o, "delta_cache_bytes", c->delta_cache_bytes);
	json_out_u64(o, "epoch_period_us", c->epoch_period_ns / NS_PER_US);
	json_out_u64(o, "heartbeat_period_us", c->heartbeat_period_ns / NS_PER_US);
	json_out_u64(o, "failure_timeout_us", c->failure_timeout_ns / NS_PER_US);
	json_out_u64(o, "heartbeat_port", c->heartbeat_port);
	json_out_u64(o, "heartbeat_ports", c->heartbeat_ports);
}

static void put_room(struct json *j, const struct conf *c)
{
	struct statvfs v;

	if (statvfs(c->state_dir, &v) == 0)
		json_out_u64(j, "state_room_kib",
			     (uint64_t)v.f_bavail * (uint64_t)v.f_frsize / 1024);
}

void facts_host(struct json *j, const struct conf *c)
{
	struct json *o;

	json_out_u64(j, "facts", 1);
	json_out_text(j, "host", c->host_name);
	json_out_text(j, "version", VERSION_TEXT);
	o = json_out_object(j, "protocol");
	json_out_u64(o, "min", FRAME_VERSION_MIN);
	json_out_u64(o, "max", FRAME_VERSION_MAX);
	put_clock(j);
	put_kernel(j);
	put_memory(j);
	put_bridges(j);
	put_cert(j, "cert", c->tls_cert);
	put_cert(j, "ca", c->tls_ca);
	put_conf(j, c);
	put_disks(j, c);
	put_room(j, c);
}

/* ---- what is remembered ---- */

static bool has_worker(const struct conf *c, const char *vm, enum worker_side side)
{
	struct err e = ERR_INIT;
	int pidfd = -1;
	pid_t pid;

	if (worker_find(c->run_dir, vm, side, &pid, &pidfd, &e) < 0)
		return false;
	close(pidfd);
	return true;
}

static void put_uuid(struct json *j, const uint8_t uuid[16])
{
	static const uint8_t none[16];
	char text[33];

	if (memcmp(uuid, none, sizeof(none)) == 0)
		return;
	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * (size_t)i, 3, "%02x", uuid[i]);
	json_out_text(j, "uuid", text);
}

void facts_remembered(struct json *j, const struct conf *c, const char *vm)
{
	struct json *o = json_out_object(j, "remembered");
	struct err e = ERR_INIT;
	struct vm_state s;
	int rc = vm_state_load(c->state_dir, vm, &s, &e);

	json_out_bool(o, "primary_worker", has_worker(c, vm, WORKER_PRIMARY));
	json_out_bool(o, "backup_worker", has_worker(c, vm, WORKER_BACKUP));
	if (rc < 0 && rc != -ENOENT) {
		json_out_text(o, "problem", e.text);
		return;
	}
	json_out_text(o, "role", vm_role_name(s.role));
	json_out_u64(o, "term", s.term);
	json_out_u64(o, "asked", s.asked);
	json_out_text(o, "peer", s.peer);
	put_uuid(o, s.uuid);
}

/* ---- the hypervisor ---- */

static void put_cpu(struct json *j, const struct xen_cpu_facts *f)
{
	struct json *o = f->known ? json_out_object(j, "cpu") : NULL;
	struct json *words = o ? json_out_object(o, "features") : NULL;

	if (!o)
		return;
	json_out_text(o, "vendor", f->vendor);
	for (unsigned int i = 0; i < XEN_FACTS_WORDS; i++)
		json_out_u64(words, xen_facts_word_name(i), f->word[i]);
}

void facts_xen(struct json *j, const struct xen_host_facts *f, const char *problem)
{
	struct json *o = json_out_object(j, "xen");

	if (problem) {
		json_out_text(o, "problem", problem);
		return;
	}
	json_out_u64(o, "total_mib", f->total_mib);
	json_out_u64(o, "free_mib", f->free_mib);
	json_out_bool(o, "hap", f->hap);
	put_cpu(o, &f->cpu);
}

void facts_domain(struct json *j, const struct xen_vm_facts *f)
{
	static const char *const types[] = {
		[XEN_VM_PV] = "pv", [XEN_VM_HVM] = "hvm", [XEN_VM_PVH] = "pvh"};

	json_out_u64(j, "domid", f->domid);
	put_uuid(j, f->uuid);
	json_out_text(j, "type", types[f->type]);
	json_out_bool(j, "hap", f->hap);
	json_out_bool(j, "shut_down", f->shut_down);
	json_out_u64(j, "vcpus", f->vcpus);
	json_out_u64(j, "max_mib", f->max_mib);
	json_out_u64(j, "missing_pages", f->missing_pages);
	json_out_bool(j, "can_suspend", f->can_suspend);
	json_out_bool(j, "suspend_channel", f->channel);
	if (f->odd_device[0])
		json_out_text(j, "odd_device", f->odd_device);
	put_cpu(j, &f->cpu);
}

/* One word=value of a line; false: it has none of that name. */
static bool word_of(const char *line, const char *name, char *out, size_t size)
{
	size_t len = strlen(name), n;
	const char *p = line;

	while ((p = strchr(p, ' '))) {
		p++;
		if (strncmp(p, name, len) == 0 && p[len] == '=')
			break;
	}
	if (!p)
		return false;
	p += len + 1;
	n = strcspn(p, " \n");
	snprintf(out, size, "%.*s", (int)MIN(n, size - 1), p);
	return true;
}

static void put_lines(struct json *vm, const char *key, const char *lines,
		      const char *const names[])
{
	struct json *a = json_out_array(vm, key);
	char value[128];

	for (const char *p = lines; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		struct json *o = *p != '\n' ? json_out_object(a, NULL) : NULL;
		char line[256];

		snprintf(line, sizeof(line), "%.*s", (int)strcspn(p, "\n"), p);
		for (size_t i = 0; o && names[i]; i++) {
			if (word_of(line, names[i], value, sizeof(value)))
				json_out_text(o, names[i], value);
		}
	}
}

void facts_vifs(struct json *vm, const char *lines)
{
	static const char *const names[] = {"name", "mac", "bridge", NULL};

	put_lines(vm, "vifs", lines, names);
}

void facts_disks(struct json *vm, const char *lines)
{
	static const char *const names[] = {"vdev", "name", NULL};

	put_lines(vm, "disks", lines, names);
}
