/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VM here, and what it needs at the other host: memory, bridges, disks, its name. Pure. See doctor_judge.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/json_in.h"
#include "tools/doctor_judge.h"

#define MAX_VIFS 8
#define MAX_DISKS 16
/* Beside its memory: page tables, vCPUs, shadow. */
#define OVERHEAD_MIB(mib) (16 + (mib) / 64)
#define MIB(bytes) ((bytes) >> 20)

/* ---- the guest ---- */

static void bad_guest(struct doctor_report *r, const char *found, const char *todo)
{
	struct doctor_line *l = doctor_add(r, DOCTOR_ERROR, "guest");

	doctor_found(l, "%s", found);
	doctor_todo(l, "%s", todo);
}

static void judge_kind(const struct json_in *vm, struct doctor_report *r)
{
	const char *type = json_in_text(vm, "type", "?");

	if (strcmp(type, "pvh") != 0)
		bad_guest(r,
			  !strcmp(type, "pv") ? "a PV guest, whose memory cannot be followed"
					      : "no PVH guest: one with a device model, or unknown",
			  "use type=\"pvh\" in its configuration");
	else if (!json_in_bool(vm, "hap", false))
		bad_guest(r, "it runs without hardware-assisted paging",
			  "remove hap=0 from its configuration");
	if (json_in_bool(vm, "shut_down", false))
		bad_guest(r, "it has shut down, or is suspended by somebody else",
			  "see xl list; protect it when it runs");
	if (json_in_u64(vm, "missing_pages", 0))
		bad_guest(
			r,
			"it was started with memory < maxmem, and has not given back all of the rest yet",
			"wait until its balloon driver has, or start it with memory = maxmem");
	if (json_in_count(vm, "vifs") > MAX_VIFS)
		bad_guest(r, "it has more than 8 network interfaces", "give it fewer");
	if (json_in_count(vm, "disks") > MAX_DISKS)
		bad_guest(r, "it has more than 16 disks", "give it fewer");
}

static void judge_devices(const struct json_in *vm, struct doctor_report *r)
{
	const char *odd = json_in_text(vm, "odd_device", NULL);
	struct doctor_line *l;

	if (!odd)
		return;
	l = doctor_add(r, DOCTOR_ERROR, "guest");
	doctor_found(l, "it has a device of kind %s", odd);
	doctor_todo(l,
		    "take it away: network, disk and console devices can be protected, no others");
}

static void judge_suspend(const struct json_in *vm, struct doctor_report *r)
{
	struct doctor_line *l;

	if (!json_in_bool(vm, "can_suspend", false)) {
		bad_guest(r, "it does not say that it can be suspended",
			  "wait until it has booted; else its kernel lacks Xen's drivers");
		return;
	}
	l = doctor_add(r, json_in_bool(vm, "suspend_channel", false) ? DOCTOR_OK : DOCTOR_WARN,
		       "suspend");
	if (l->verdict == DOCTOR_OK) {
		doctor_found(l, "the guest offers a suspend event channel");
		return;
	}
	doctor_found(l,
		     "no suspend event channel: each checkpoint asks the guest through xenstore");
	doctor_todo(
		l,
		"load the module xen_suspend_channel in the guest, which is far faster; see romulus(7)");
}

static void judge_guest(const struct doctor_case *c, const struct json_in *vm,
			struct doctor_report *r)
{
	unsigned int before = r->n;

	judge_kind(vm, r);
	judge_devices(vm, r);
	if (r->n == before)
		doctor_found(doctor_add(r, DOCTOR_OK, "guest"),
			     "%s: PVH, %" PRIu64 " vCPUs, %" PRIu64 " MiB", c->vm,
			     json_in_u64(vm, "vcpus", 0), json_in_u64(vm, "max_mib", 0));
	judge_suspend(vm, r);
}

/* ---- memory ---- */

/* What Romulus itself takes on each side, as the workers derive it. */
static uint64_t own_mib(const struct doctor_case *c, uint64_t guest_mib)
{
	uint64_t arena = MIB(json_in_u64(c->here, "conf.arena_bytes", 0));
	uint64_t cache = MIB(json_in_u64(c->here, "conf.delta_cache_bytes", 0));

	return (arena ? arena : MAX(guest_mib / 4, UINT64_C(16))) + (cache ? cache : guest_mib / 8);
}

static void judge_dom0(const struct doctor_case *c, const struct json_in *v, uint64_t need,
		       struct doctor_report *r)
{
	uint64_t have = json_in_u64(v, "dom0_available_mib", 0);
	struct doctor_line *l;

	/* The share that the backup's worker agrees to; the primary's does not ask. */
	if (need <= have / 4 * 3)
		return;
	l = doctor_add(r, v == c->there ? DOCTOR_ERROR : DOCTOR_WARN, "memory");
	doctor_found(l,
		     "domain 0 of %s has %" PRIu64 " MiB available; arena and cache take %" PRIu64
		     " MiB, and three quarters at most",
		     v == c->there ? c->peer : "this host", have, need);
	doctor_todo(l,
		    "give it more (dom0_mem=), or set lower arena and delta-cache in romulus.conf");
}

static void judge_memory(const struct doctor_case *c, const struct json_in *vm,
			 struct doctor_report *r)
{
	uint64_t guest = json_in_u64(vm, "max_mib", 0);
	uint64_t need = guest + OVERHEAD_MIB(guest);
	uint64_t have = json_in_u64(c->there, "xen.free_mib", 0);
	struct doctor_line *l;

	/* An older standby of it is destroyed first. */
	if (json_in_bool(c->there, "vm.standby_found", false))
		have += need;
	l = doctor_add(r,
		       have < guest  ? DOCTOR_ERROR
		       : have < need ? DOCTOR_WARN
				     : DOCTOR_OK,
		       "memory");
	doctor_found(l, "%s has %" PRIu64 " MiB free, a standby needs about %" PRIu64 " MiB",
		     c->peer, have, need);
	if (l->verdict != DOCTOR_OK)
		doctor_todo(l, "free memory there: shut a VM down, or lower dom0_mem");
	judge_dom0(c, c->here, own_mib(c, guest), r);
	judge_dom0(c, c->there, own_mib(c, guest), r);
}

/* ---- bridges ---- */

static bool has_bridge(const struct json_in *v, const char *name)
{
	for (size_t i = 0; i < json_in_count(v, "bridges"); i++) {
		if (!strcmp(json_in_text(json_in_item(v, "bridges", i), NULL, ""), name))
			return true;
	}
	return false;
}

static void judge_bridges(const struct doctor_case *c, const struct json_in *vm,
			  struct doctor_report *r)
{
	const char *problem = json_in_text(vm, "vifs_problem", NULL);
	size_t n = json_in_count(vm, "vifs");
	unsigned int before = r->n;
	struct doctor_line *l;

	if (problem) {
		l = doctor_add(r, DOCTOR_ERROR, "bridges");
		doctor_found(l, "its network interfaces cannot be listed: %s", problem);
		doctor_todo(l, "see xl network-list %s", c->vm);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct json_in *vif = json_in_item(vm, "vifs", i);
		const char *bridge = json_in_text(vif, "bridge", "");

		if (!*bridge || has_bridge(c->there, bridge))
			continue;
		l = doctor_add(r, DOCTOR_ERROR, "bridges");
		doctor_found(l, "%s is on bridge %s, which %s does not have",
			     json_in_text(vif, "name", "an interface"), bridge, c->peer);
		doctor_todo(
			l,
			"make the bridge there: a standby's interface cannot be built without it");
	}
	if (n && r->n == before)
		doctor_found(doctor_add(r, DOCTOR_OK, "bridges"),
			     "%s has those of all %zu interfaces", c->peer, n);
	if (n)
		return;
	l = doctor_add(r, DOCTOR_WARN, "bridges");
	doctor_found(l, "the guest has no network interface");
	doctor_todo(l, "nothing to do, if nobody talks to it");
}

/* ---- disks ---- */

static const struct json_in *find_disk(const struct json_in *v, const char *name)
{
	for (size_t i = 0; i < json_in_count(v, "disks"); i++) {
		const struct json_in *d = json_in_item(v, "disks", i);

		if (!strcmp(json_in_text(d, "name", ""), name))
			return d;
	}
	return NULL;
}

/* A disk on one side; false: a line says what is wrong. */
static bool judge_side(const struct json_in *d, const char *name, const char *host,
		       struct doctor_report *r)
{
	const char *problem = json_in_text(d, "problem", NULL);
	struct doctor_line *l;

	if (d && !problem && json_in_has(d, "server"))
		return true;
	l = doctor_add(r, DOCTOR_ERROR, "disks");
	if (!d) {
		doctor_found(l, "%s: disk %s is not in romulus.conf", host, name);
		doctor_todo(l, "add it to disks, and format it with romulus-disk --format");
	} else if (problem) {
		doctor_found(l, "%s: disk %s, %s: %s", host, name, json_in_text(d, "path", "?"),
			     problem);
		doctor_todo(l, "make the volume, or set its path right in romulus.conf");
	} else {
		doctor_found(l, "%s: nobody serves disk %s", host, name);
		doctor_todo(l, "see journalctl -u romulusd there, and romulus-disk(8)");
	}
	return false;
}

static void judge_pair(const struct doctor_case *c, const struct json_in *a,
		       const struct json_in *b, struct doctor_report *r)
{
	const char *name = json_in_text(a, "name", "?");
	uint64_t size = json_in_u64(a, "server.size", json_in_u64(a, "size", 0));
	uint64_t theirs = json_in_u64(b, "server.size", json_in_u64(b, "size", 0));
	struct doctor_line *l;

	if (size != theirs) {
		l = doctor_add(r, DOCTOR_ERROR, "disks");
		doctor_found(l, "disk %s has %" PRIu64 " bytes here and %" PRIu64 " at %s", name,
			     size, theirs, c->peer);
		doctor_todo(l, "make them equal; then format the one there anew");
		return;
	}
	if (strcmp(json_in_text(a, "mode", "?"), json_in_text(b, "mode", "?")) != 0) {
		l = doctor_add(r, DOCTOR_WARN, "disks");
		doctor_found(l, "disk %s is acknowledged by mode %s here, %s at %s", name,
			     json_in_text(a, "mode", "?"), json_in_text(b, "mode", "?"), c->peer);
		doctor_todo(l, "set the same mode on both: after a failover the other one holds");
		return;
	}
	doctor_found(doctor_add(r, DOCTOR_OK, "disks"), "%s: %" PRIu64 " MiB on both", name,
		     MIB(size));
}

static void judge_nbd(const struct doctor_case *c, struct doctor_report *r)
{
	const struct json_in *const v[] = {c->here, c->there};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		struct doctor_line *l;

		if (strcmp(json_in_text(v[i], "modules.nbd", "missing"), "missing") != 0 &&
		    strcmp(json_in_text(v[i], "modules.xen_blkback", "missing"), "missing") != 0)
			continue;
		l = doctor_add(r, DOCTOR_ERROR, "modules");
		doctor_found(l, "the kernel %s%s lacks nbd or xen_blkback", i ? "of " : "here",
			     i ? c->peer : "");
		doctor_todo(l, "install the kernel's modules: no disk can be served without them");
	}
}

static void judge_disks(const struct doctor_case *c, const struct json_in *vm,
			struct doctor_report *r)
{
	const char *problem = json_in_text(vm, "disks_problem", NULL);
	size_t n = json_in_count(vm, "disks");
	struct doctor_line *l;

	if (problem) {
		l = doctor_add(r, DOCTOR_ERROR, "disks");
		doctor_found(l, "%s", problem);
		doctor_todo(l, "make it a Romulus disk: see docs/disk.md and romulus-disk(8)");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const char *name = json_in_text(json_in_item(vm, "disks", i), "name", "?");
		const struct json_in *a = find_disk(c->here, name);
		const struct json_in *b = find_disk(c->there, name);
		bool good = judge_side(a, name, "here", r);

		if (judge_side(b, name, c->peer, r) && good)
			judge_pair(c, a, b, r);
	}
	if (n)
		judge_nbd(c, r);
	else
		doctor_found(doctor_add(r, DOCTOR_OK, "disks"), "the guest has none");
}

/* ---- names ---- */

static const char *role_at(const struct json_in *v)
{
	return json_in_text(v, "vm.remembered.role", "none");
}

static bool same_uuid(const struct doctor_case *c)
{
	const char *ours = json_in_text(c->here, "vm.uuid", "");
	const char *theirs = json_in_text(c->there, "vm.remembered.uuid", "");

	/* One that is not known is not another. */
	return !*theirs || !*ours || !strcmp(ours, theirs);
}

static void judge_here(const struct doctor_case *c, struct doctor_report *r)
{
	const char *problem = json_in_text(c->here, "vm.remembered.problem", NULL);
	struct doctor_line *l;

	if (problem) {
		l = doctor_add(r, DOCTOR_ERROR, "state");
		doctor_found(l, "%s", problem);
		doctor_todo(l, "romulus forget %s, if you know that the VM runs nowhere else",
			    c->vm);
	} else if (json_in_bool(c->here, "vm.remembered.primary_worker", false)) {
		doctor_found(doctor_add(r, DOCTOR_OK, "state"), "%s is protected from here, to %s",
			     c->vm, json_in_text(c->here, "vm.remembered.peer", "?"));
	} else if (json_in_bool(c->here, "vm.remembered.backup_worker", false) &&
		   strcmp(role_at(c->here), "active") != 0) {
		l = doctor_add(r, DOCTOR_ERROR, "state");
		doctor_found(l, "this host is the backup of a VM called %s, of %s", c->vm,
			     json_in_text(c->here, "vm.remembered.peer", "?"));
		doctor_todo(l, "unprotect it there first, or rename one of them");
	}
}

static void name_taken(struct doctor_report *r, const char *found, const char *todo)
{
	struct doctor_line *l = doctor_add(r, DOCTOR_ERROR, "name");

	doctor_found(l, "%s", found);
	doctor_todo(l, "%s", todo);
}

/* VM_ACTIVE there: it has run there under a newer term than ours. */
static void name_active(const struct doctor_case *c, bool runs, struct doctor_report *r)
{
	struct doctor_line *l = doctor_add(r, DOCTOR_ERROR, "name");

	doctor_found(l, "%s took a VM called %s over from %s, and it %s", c->peer, c->vm,
		     json_in_text(c->there, "vm.remembered.peer", "?"),
		     runs ? "runs there" : "has ended there");
	if (runs)
		doctor_todo(l, "that one is the newer life: this one must not run");
	else
		doctor_todo(l, "romulus forget %s there, if the copy here is the one to keep",
			    c->vm);
}

/*
 * It was the primary of this very VM, died, and does not know yet that we took over: our newer term tells it, if nothing of
 * the VM is left there. As the backup's worker has it.
 */
static bool is_deposed(const struct doctor_case *c)
{
	return !strcmp(json_in_text(c->there, "vm.remembered.peer", ""),
		       json_in_text(c->here, "host", "?")) &&
	       json_in_u64(c->there, "vm.remembered.term", UINT64_MAX) <
		       json_in_u64(c->here, "vm.remembered.term", 0) &&
	       !json_in_bool(c->there, "vm.remembered.primary_worker", true) &&
	       !json_in_bool(c->there, "vm.found", true);
}

/* Is the name free there? With a session of this very VM it is not, and should not be. */
static void judge_names(const struct doctor_case *c, struct doctor_report *r)
{
	const char *role = role_at(c->there);
	const char *problem = json_in_text(c->there, "vm.remembered.problem", NULL);
	bool runs = json_in_bool(c->there, "vm.found", false);
	bool standby = json_in_bool(c->there, "vm.remembered.backup_worker", false);

	if (problem)
		name_taken(r, problem, "romulus forget the VM there");
	else if (!strcmp(role, "primary") && is_deposed(c))
		doctor_found(doctor_add(r, DOCTOR_OK, "name"),
			     "%s was its primary before, and becomes its backup", c->peer);
	else if (!strcmp(role, "primary"))
		name_taken(r, "the other host protects a VM of this name from there",
			   "unprotect it there, or rename one of them");
	else if (!strcmp(role, "active"))
		name_active(c, runs, r);
	else if (runs)
		name_taken(
			r,
			"a domain of this name runs at the other host, and Romulus did not start it",
			"rename one of them, or shut that one down");
	else if (!same_uuid(c) && standby)
		name_taken(r, "the other host has the standby of another VM of this name",
			   "rename one of them, or unprotect that one");
	else
		doctor_found(doctor_add(r, DOCTOR_OK, "name"),
			     standby ? "%s has its standby" : "it is free at %s", c->peer);
}

void doctor_vm(const struct doctor_case *c, struct doctor_report *r)
{
	const struct json_in *vm = json_in_at(c->here, "vm");
	const char *problem = json_in_text(vm, "problem", NULL);
	struct doctor_line *l;

	if (!json_in_bool(vm, "found", false)) {
		l = doctor_add(r, DOCTOR_ERROR, "guest");
		doctor_found(l, problem ? "%s" : "there is no domain %s on this host",
			     problem ? problem : c->vm);
		doctor_todo(l, "see xl list; romulus doctor is typed where the VM runs");
		return;
	}
	judge_guest(c, vm, r);
	judge_here(c, r);
	if (!c->there)
		return;
	judge_memory(c, vm, r);
	judge_bridges(c, vm, r);
	judge_disks(c, vm, r);
	judge_names(c, r);
}
