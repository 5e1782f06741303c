/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See vm_state.h. What lib/persist wraps, 256 bytes, little-endian:
 *
 *	  0  4  magic "vms1"
 *	  4  2  version, 2, or 3 when it is handed over, 4 with an arbiter, 5 with what is said of 5 here; 1, without a
 *	        uuid, is read as well
 *	  6  1  role
 *	  7  1  policy
 *	  8  8  term
 *	 16  8  epoch period, ns; 0: not set
 *	 24  8  heartbeat period, ns; 0: not set
 *	 32  8  failure timeout, ns; 0: not set
 *	 40 64  vm, zero-padded
 *	104 64  peer, zero-padded
 *	168 16  uuid; 0: not known
 *	184  1  version 3: 1, from 4 on: 0 or 1, the VM may have been handed over
 *	185  1  from 4 on: 0 or 1, the arbiter knows the pair
 *	186  1  version 5: 0 or 1, it is not protected again by itself
 *	187  1  version 5: 0 to 2, who had it before, enum vm_taken
 *	188  4  reserved, 0
 *	192  8  from 4 on: newest term that the arbiter was asked for, 0: none
 *	200 56  reserved, 0
 */
#include "replicator/vm_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/persist.h"
#include "lib/rd.h"
#include "lib/timing.h"
#include "lib/wr.h"

#define MAGIC 0x31736d76 /* "vms1" */
#define FORMAT_VERSION 2
#define FORMAT_WITHOUT_UUID 1
#define FORMAT_HANDED 3 /* an older program must not go alone with it */
#define FORMAT_VOTES 4	/* nor this one */
#define FORMAT_TAKEN 5	/* nor protect it again, or forget that it was taken over, with this */
#define RESERVED 56
#define SUFFIX ".state"
#define TIME_MAX (3600 * NS_PER_SEC)

void vm_state_init(struct vm_state *s, const char *vm)
{
	*s = (struct vm_state){.role = VM_NONE};
	memccpy(s->vm, vm, 0, sizeof(s->vm) - 1);
}

const char *vm_role_name(enum vm_role r)
{
	static const char *const names[] = {"none", "primary", "backup", "active"};

	return (unsigned int)r < ARRAY_SIZE(names) ? names[r] : "?";
}

static bool is_known(const uint8_t uuid[VM_UUID_SIZE])
{
	static const uint8_t unknown[VM_UUID_SIZE];

	return memcmp(uuid, unknown, sizeof(unknown)) != 0;
}

bool vm_state_is_other(const struct vm_state *s, const char *peer, const uint8_t uuid[VM_UUID_SIZE])
{
	if (s->role == VM_NONE)
		return false;
	/* A VM that was taken over has one uuid, whoever had it before. */
	if (strcmp(s->peer, peer) != 0 &&
	    !(s->role == VM_PRIMARY && s->taken && is_known(s->uuid) && is_known(uuid)))
		return true;
	return is_known(s->uuid) && is_known(uuid) && memcmp(s->uuid, uuid, VM_UUID_SIZE) != 0;
}

enum vm_role vm_state_role_after(const struct vm_state *s)
{
	return s->taken ? VM_ACTIVE : VM_NONE;
}

/* ---- bytes ---- */

static void put_name(struct wr *w, const char name[NAME_SIZE])
{
	size_t len = strnlen(name, NAME_SIZE - 1);

	wr_bytes(w, name, len);
	wr_zero(w, NAME_SIZE - len);
}

static uint16_t version_of(const struct vm_state *s)
{
	if (s->alone || s->taken)
		return FORMAT_TAKEN;
	if (s->policy == POLICY_ARBITER || s->joined || s->asked)
		return FORMAT_VOTES;
	return s->handed ? FORMAT_HANDED : FORMAT_VERSION;
}

void vm_state_encode(const struct vm_state *s, void *buf)
{
	struct wr w = wr_init(buf, VM_STATE_BYTES);
	bool ok;

	wr_u32(&w, MAGIC);
	wr_u16(&w, version_of(s));
	wr_u8(&w, (uint8_t)s->role);
	wr_u8(&w, (uint8_t)s->policy);
	wr_u64(&w, s->term);
	wr_u64(&w, s->epoch_period_ns);
	wr_u64(&w, s->heartbeat_period_ns);
	wr_u64(&w, s->failure_timeout_ns);
	put_name(&w, s->vm);
	put_name(&w, s->peer);
	wr_bytes(&w, s->uuid, sizeof(s->uuid));
	wr_u8(&w, s->handed);
	wr_u8(&w, s->joined);
	wr_u8(&w, s->alone);
	wr_u8(&w, (uint8_t)s->taken);
	wr_zero(&w, 4);
	wr_u64(&w, s->asked);
	wr_zero(&w, RESERVED);
	ok = wr_ok(&w) && wr_used(&w) == VM_STATE_BYTES;
	assert(ok);
}

static void get_name(struct rd *r, char name[NAME_SIZE])
{
	size_t len;

	rd_bytes(r, name, NAME_SIZE);
	len = strnlen(name, NAME_SIZE);
	if (len == NAME_SIZE || (len && !name_ok(name)))
		rd_set_bad(r);
	for (size_t i = len; i < NAME_SIZE; i++) {
		if (name[i])
			rd_set_bad(r);
	}
	name[NAME_SIZE - 1] = 0;
}

static bool makes_sense(const struct vm_state *s)
{
	if (!*s->vm || s->role > VM_ACTIVE || s->policy > POLICY_ARBITER)
		return false;
	if (s->role != VM_NONE && (!*s->peer || !s->policy || !s->term))
		return false;
	return s->epoch_period_ns <= TIME_MAX && s->heartbeat_period_ns <= TIME_MAX &&
	       s->failure_timeout_ns <= TIME_MAX;
}

static void get_flags(struct rd *r, struct vm_state *s)
{
	uint8_t handed = rd_u8(r);
	uint8_t joined = rd_u8(r);
	uint8_t alone = rd_u8(r);
	uint8_t taken = rd_u8(r);

	rd_zero(r, 4);
	s->asked = rd_u64(r);
	rd_zero(r, RESERVED);
	if (handed > 1 || joined > 1 || alone > 1 || taken > TAKEN_FROM_OTHER)
		rd_set_bad(r);
	s->handed = handed;
	s->joined = joined;
	s->alone = alone;
	s->taken = (enum vm_taken)taken;
}

int vm_state_decode(struct vm_state *s, const void *buf, size_t len, struct err *e)
{
	struct rd r = rd_init(buf, len);
	uint16_t version;

	*s = (struct vm_state){.role = VM_NONE};
	if (rd_u32(&r) != MAGIC)
		return err_setx(e, -EBADMSG, "not the state of a VM");
	version = rd_u16(&r);
	if (version < FORMAT_WITHOUT_UUID || version > FORMAT_TAKEN)
		return err_setx(e, -EBADMSG, "written by another version of Romulus");
	s->role = (enum vm_role)rd_u8(&r);
	s->policy = (enum peer_loss_policy)rd_u8(&r);
	s->term = rd_u64(&r);
	s->epoch_period_ns = rd_u64(&r);
	s->heartbeat_period_ns = rd_u64(&r);
	s->failure_timeout_ns = rd_u64(&r);
	get_name(&r, s->vm);
	get_name(&r, s->peer);
	rd_bytes(&r, s->uuid, sizeof(s->uuid));
	get_flags(&r, s);
	if (version == FORMAT_WITHOUT_UUID &&
	    (is_known(s->uuid) || version_of(s) != FORMAT_VERSION))
		rd_set_bad(&r);
	/* What a version cannot say, and what it is not needed for. */
	if (version != FORMAT_WITHOUT_UUID && version != version_of(s))
		rd_set_bad(&r);
	if (!rd_done(&r) || !makes_sense(s))
		return err_setx(e, -EBADMSG, "it contradicts itself");
	/* Older versions did not say so. */
	if (s->role == VM_ACTIVE && s->taken == TAKEN_NOT)
		s->taken = TAKEN_FROM_PEER;
	return 0;
}

/* ---- files ---- */

static int state_path(char path[PATH_MAX], const char *state_dir, const char *vm, struct err *e)
{
	if (!name_ok(vm))
		return err_setx(e, -EINVAL, "\"%.64s\" is not a VM's name", vm);
	if (snprintf(path, PATH_MAX, "%s/vm/%s" SUFFIX, state_dir, vm) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%.64s...", state_dir);
	return 0;
}

int vm_state_load(const char *state_dir, const char *vm, struct vm_state *s, struct err *e)
{
	uint8_t buf[VM_STATE_BYTES];
	char path[PATH_MAX];
	uint64_t generation;
	size_t size = 0;
	int rc = state_path(path, state_dir, vm, e);

	if (rc < 0)
		return rc;
	rc = persist_load(path, buf, sizeof(buf), &size, &generation, e);
	if (rc == -EFBIG)
		rc = err_setx(e, -EBADMSG, "%s: not the state of a VM", path);
	if (!rc) {
		rc = vm_state_decode(s, buf, size, e);
		if (!rc && strcmp(s->vm, vm) != 0)
			rc = err_setx(e, -EBADMSG, "it is the state of VM \"%s\"", s->vm);
		if (rc < 0)
			err_wrap(e, rc, "%s", path);
	}
	if (rc < 0)
		vm_state_init(s, vm);
	if (rc == -EBADMSG)
		return err_setx(e, rc,
				"%s; find out where the VM runs, then remove the file: "
				"romulus forget %s",
				e ? e->text : "", vm);
	return rc;
}

static int sync_dir(const char *path, struct err *e)
{
	autofd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_set(e, -errno, "sync folder %s", path);
	return 0;
}

static int make_dir(const char *state_dir, struct err *e)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/vm", state_dir) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%.64s...", state_dir);
	if (mkdir(path, 0700) == 0)
		return sync_dir(state_dir, e);
	return errno == EEXIST ? 0 : err_set(e, -errno, "make folder %s", path);
}

int vm_state_save(const char *state_dir, const struct vm_state *s, struct err *e)
{
	uint8_t buf[VM_STATE_BYTES];
	char path[PATH_MAX];
	int rc = state_path(path, state_dir, s->vm, e);

	if (rc < 0)
		return rc;
	if (!makes_sense(s))
		return err_setx(e, -EINVAL, "vm %s: a %s needs a peer, a policy and a term", s->vm,
				vm_role_name(s->role));
	vm_state_encode(s, buf);
	rc = make_dir(state_dir, e);
	return rc < 0 ? rc : persist_save(path, buf, sizeof(buf), 0, e);
}

int vm_state_set_role(const char *state_dir, const char *vm, enum vm_role role, uint64_t term,
		      struct err *e)
{
	struct vm_state s;
	int rc = vm_state_load(state_dir, vm, &s, e);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	s.role = role;
	s.term = MAX(s.term, term);
	s.handed = false;
	if (role == VM_ACTIVE && s.taken == TAKEN_NOT)
		s.taken = TAKEN_FROM_PEER;
	return vm_state_save(state_dir, &s, e);
}

int vm_state_set_handed(const char *state_dir, const char *vm, bool handed, struct err *e)
{
	struct vm_state s;
	int rc = vm_state_load(state_dir, vm, &s, e);

	if (rc < 0)
		return rc;
	s.handed = handed;
	return vm_state_save(state_dir, &s, e);
}

int vm_state_set_terms(const char *state_dir, const char *vm, uint64_t term, uint64_t asked,
		       struct err *e)
{
	struct vm_state s;
	int rc = vm_state_load(state_dir, vm, &s, e);

	if (rc < 0)
		return rc;
	s.term = MAX(s.term, term);
	s.asked = MAX(s.asked, asked);
	return vm_state_save(state_dir, &s, e);
}

int vm_state_set_joined(const char *state_dir, const char *vm, uint64_t term, struct err *e)
{
	struct vm_state s;
	int rc = vm_state_load(state_dir, vm, &s, e);

	if (rc < 0)
		return rc;
	s.term = MAX(s.term, term);
	s.joined = true;
	return vm_state_save(state_dir, &s, e);
}

int vm_state_set_alone(const char *state_dir, const char *vm, bool alone, struct err *e)
{
	struct vm_state s;
	int rc = vm_state_load(state_dir, vm, &s, e);

	if (rc < 0)
		return rc;
	s.alone = alone;
	return vm_state_save(state_dir, &s, e);
}

int vm_state_set_taken(const char *state_dir, const char *vm, enum vm_taken taken, struct err *e)
{
	struct vm_state s;
	int rc = vm_state_load(state_dir, vm, &s, e);

	if (rc < 0)
		return rc;
	s.taken = taken;
	return vm_state_save(state_dir, &s, e);
}

int vm_state_remove(const char *state_dir, const char *vm, struct err *e)
{
	char path[PATH_MAX];
	int rc = state_path(path, state_dir, vm, e);

	return rc < 0 ? rc : persist_remove(path, e);
}

/* The VM's name if this is a state file. */
static bool name_of_file(const char *file, char vm[NAME_SIZE])
{
	size_t len = strlen(file);
	size_t suffix = sizeof(SUFFIX) - 1;

	if (len <= suffix || len - suffix >= NAME_SIZE || strcmp(file + len - suffix, SUFFIX) != 0)
		return false;
	memcpy(vm, file, len - suffix);
	vm[len - suffix] = 0;
	return name_ok(vm);
}

static int each_entry(DIR *dir, const char *state_dir, vm_state_fn fn, void *ctx)
{
	const struct dirent *d;
	int rc = 0;

	while (!rc && (d = readdir(dir))) {
		struct err e = ERR_INIT;
		struct vm_state s;
		char vm[NAME_SIZE];
		int r;

		if (!name_of_file(d->d_name, vm))
			continue;
		r = vm_state_load(state_dir, vm, &s, &e);
		/* Removed meanwhile. */
		if (r != -ENOENT)
			rc = fn(ctx, &s, r, &e);
	}
	return rc;
}

int vm_state_each(const char *state_dir, vm_state_fn fn, void *ctx, struct err *e)
{
	char path[PATH_MAX];
	DIR *dir;
	int rc;

	if (snprintf(path, sizeof(path), "%s/vm", state_dir) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%.64s...", state_dir);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : err_set(e, -errno, "open folder %s", path);
	rc = each_entry(dir, state_dir, fn, ctx);
	closedir(dir);
	return rc;
}

int vm_state_timing(const struct vm_state *s, const struct conf *c, struct timing *t, struct err *e)
{
	const struct timing_conf tc = {
		.heartbeat_period_ns = s->heartbeat_period_ns ? s->heartbeat_period_ns
							      : c->heartbeat_period_ns,
		.failure_timeout_ns = s->failure_timeout_ns ? s->failure_timeout_ns
							    : c->failure_timeout_ns,
		.epoch_period_ns = s->epoch_period_ns ? s->epoch_period_ns : c->epoch_period_ns,
	};
	int rc = timing_check(&tc, e);

	if (rc < 0)
		return err_wrap(e, rc, "vm %s", s->vm);
	timing_derive(t, &tc);
	if (c->suspend_timeout_ns)
		t->suspend_timeout_ns = c->suspend_timeout_ns;
	return 0;
}
