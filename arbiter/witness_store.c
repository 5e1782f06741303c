/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See witness_store.h. */
#include "arbiter/witness_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/persist.h"

#define MARK "witness"
#define MARK_TEXT "romulus-witness 1\n"
#define SUFFIX ".grant"

struct witness_store {
	char *dir;
	int mark_fd; /* locked */
	uint64_t max_vms;
};

/* ---- names ---- */

static int path_of(char path[PATH_MAX], const char *dir, const char *name, const char *suffix,
		   struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s%s", dir, name, suffix) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%.64s...", dir);
	return 0;
}

static int record_path(char path[PATH_MAX], const char *dir, const uint8_t uuid[UUID_SIZE],
		       struct err *e)
{
	char text[UUID_TEXT_SIZE];

	return path_of(path, dir, uuid_format(uuid, text), SUFFIX, e);
}

/* False: no file of a record. */
static bool uuid_of_file(const char *name, uint8_t uuid[UUID_SIZE])
{
	char text[UUID_TEXT_SIZE];

	if (strlen(name) != UUID_TEXT_SIZE - 1 + sizeof(SUFFIX) - 1 ||
	    strcmp(name + UUID_TEXT_SIZE - 1, SUFFIX) != 0)
		return false;
	memcpy(text, name, UUID_TEXT_SIZE - 1);
	text[UUID_TEXT_SIZE - 1] = 0;
	return uuid_parse(text, uuid) == 0;
}

static int sync_dir(const char *dir, struct err *e)
{
	autofd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_set(e, -errno, "sync folder %s", dir);
	return 0;
}

/* ---- one record ---- */

/* 0, -ENOENT, -EBADMSG (damaged), or another error of the disk. */
static int load(const char *dir, const uint8_t uuid[UUID_SIZE], struct record *r, struct err *e)
{
	char text[RECORD_TEXT_SIZE];
	char path[PATH_MAX];
	uint64_t generation = 0;
	size_t len = 0;
	int rc = record_path(path, dir, uuid, e);

	if (rc < 0)
		return rc;
	rc = persist_load(path, text, sizeof(text), &len, &generation, e);
	if (rc == -EFBIG)
		rc = err_setx(e, -EBADMSG, "%s is larger than a record", path);
	if (rc < 0)
		return rc;
	rc = record_decode(r, text, len, e);
	if (rc < 0)
		return err_wrap(e, rc, "%s", path);
	if (memcmp(r->uuid, uuid, UUID_SIZE) != 0 || r->term != generation)
		return err_setx(e, -EBADMSG, "%s is the record of something else", path);
	return 0;
}

static int save(const char *dir, const struct record *r, struct err *e)
{
	char text[RECORD_TEXT_SIZE];
	char path[PATH_MAX];
	int rc = record_path(path, dir, r->uuid, e);

	return rc < 0 ? rc : persist_save(path, text, record_encode(r, text), r->term, e);
}

static int count_one(void *arg, const struct record *r, int rc, const struct err *e)
{
	++*(uint64_t *)arg;
	return 0;
}

/* A new VM must fit: a host with a certificate shall not fill the disk. */
static int check_room(const struct witness_store *s, struct err *e)
{
	uint64_t n = 0;
	int rc = witness_store_each(s->dir, count_one, &n, e);

	if (rc < 0)
		return rc;
	if (n >= s->max_vms)
		return err_setx(e, -ENOSPC,
				"the witness knows %" PRIu64 " VMs already, max-vms is %" PRIu64, n,
				s->max_vms);
	return 0;
}

static bool is_damaged(const struct ballot *b, int rc, const struct err *e, struct verdict *v)
{
	char uuid[UUID_TEXT_SIZE];

	if (rc != -EBADMSG) {
		verdict_unknown(v, "the record cannot be read: %s", e->text);
		return false;
	}
	verdict_unknown(v,
			"the record is damaged (%s); find out which host runs the VM, then on the "
			"witness: romulus-witness --forget %s",
			e->text, uuid_format(b->uuid, uuid));
	return true;
}

bool witness_store_ask(struct witness_store *s, const struct ballot *b, struct verdict *v)
{
	struct err e = ERR_INIT;
	struct record recorded;
	struct record next;
	int rc = load(s->dir, b->uuid, &recorded, &e);
	bool is_new = rc == -ENOENT;

	if (rc < 0 && !is_new)
		return is_damaged(b, rc, &e, v);
	if (!ballot_decide(b, is_new ? NULL : &recorded, &next, v))
		return false;
	rc = is_new ? check_room(s, &e) : 0;
	/*
	 * Also when it is there already: whoever wrote it may have died, or failed, between the rename and
	 * the folder's sync. Then it can be seen, but is not durable yet.
	 */
	if (!rc)
		rc = save(s->dir, &next, &e);
	if (rc < 0)
		verdict_unknown(v, "the record cannot be kept: %s", e.text);
	return false;
}

/* ---- the folder ---- */

struct found {
	bool any;
};

static int find_one(void *arg, const struct record *r, int rc, const struct err *e)
{
	((struct found *)arg)->any = true;
	return 1;
}

int witness_store_init(const char *dir, struct err *e)
{
	struct found found = {.any = false};
	char path[PATH_MAX];
	struct stat st;
	int rc = path_of(path, dir, MARK, "", e);

	if (rc < 0)
		return rc;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "make folder %s", dir);
	if (lstat(path, &st) == 0)
		return err_setx(e, -EEXIST, "%s is a witness's folder already", dir);
	rc = witness_store_each(dir, find_one, &found, e);
	if (rc < 0)
		return rc;
	if (found.any)
		return err_setx(e, -ENOTEMPTY, "%s has grants, but no file %s; it is left as it is",
				dir, MARK);
	return persist_replace(path, MARK_TEXT, sizeof(MARK_TEXT) - 1, 0600, e);
}

static int lock_mark(struct witness_store *s, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(path, s->dir, MARK, "", e);

	if (rc < 0)
		return rc;
	s->mark_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (s->mark_fd < 0 && errno == ENOENT)
		return err_setx(
			e, -ENOENT,
			"there is no %s: is the file system mounted? A new witness is made by "
			"romulus-witness --init; before one that has lost its grants is made "
			"anew, read romulus-witness(8)",
			path);
	if (s->mark_fd < 0)
		return err_set(e, -errno, "open %s", path);
	if (flock(s->mark_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_setx(e, -EBUSY, "another romulus-witness uses %s", s->dir);
	return err_set(e, -errno, "lock %s", path);
}

int witness_store_open(const char *dir, uint64_t max_vms, struct witness_store **out, struct err *e)
{
	struct witness_store *s = mem_zalloc(sizeof(*s));
	int rc = -ENOMEM;

	if (!s)
		return err_set(e, rc, "open %s", dir);
	s->mark_fd = -1;
	s->max_vms = max_vms;
	s->dir = mem_strdup(dir);
	if (!s->dir)
		(void)err_set(e, rc, "open %s", dir);
	else
		rc = lock_mark(s, e);
	/* What a predecessor renamed and did not sync is made durable before anybody is told of it. */
	if (!rc)
		rc = sync_dir(dir, e);
	if (rc < 0) {
		witness_store_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void witness_store_close(struct witness_store *s)
{
	if (!s)
		return;
	if (s->mark_fd >= 0)
		close(s->mark_fd);
	mem_free(s->dir);
	mem_free(s);
}

static int each_entry(DIR *folder, const char *dir, witness_store_fn *fn, void *arg)
{
	const struct dirent *d;
	int rc = 0;

	while (!rc && (d = readdir(folder))) {
		struct record r = {.term = 0};
		struct err e = ERR_INIT;
		uint8_t uuid[UUID_SIZE];
		int loaded;

		if (!uuid_of_file(d->d_name, uuid))
			continue;
		loaded = load(dir, uuid, &r, &e);
		memcpy(r.uuid, uuid, sizeof(uuid));
		/* -ENOENT: removed meanwhile. */
		if (loaded != -ENOENT)
			rc = fn(arg, &r, loaded, &e);
	}
	return rc;
}

int witness_store_each(const char *dir, witness_store_fn *fn, void *arg, struct err *e)
{
	DIR *folder = opendir(dir);
	int rc;

	if (!folder)
		return err_set(e, -errno, "open folder %s", dir);
	rc = each_entry(folder, dir, fn, arg);
	(void)closedir(folder);
	return rc;
}

int witness_store_forget(const char *dir, const uint8_t uuid[UUID_SIZE], struct err *e)
{
	char text[UUID_TEXT_SIZE];
	char path[PATH_MAX];
	struct stat st;
	int rc = record_path(path, dir, uuid, e);

	if (rc < 0)
		return rc;
	if (lstat(path, &st) < 0 && errno == ENOENT)
		return err_setx(e, -ENOENT, "nothing is recorded of VM %s",
				uuid_format(uuid, text));
	return persist_remove(path, e);
}
