/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_format.h. */
#include "disk/disk_format.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/blk_io.h"
#include "disk/blk_store.h"
#include "disk/disk_state.h"
#include "disk/file_store.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/digest.h"
#include "lib/err.h"

static_assert(JOURNAL_UUID_SIZE == DIGEST_LONG_SIZE, "a name's digest is a uuid");

void disk_geometry(struct journal_geometry *g, const char *name, const struct blk_dev *blk)
{
	*g = (struct journal_geometry){.disk_size = blk->size, .block_size = MAX(blk->block, 512u)};
	/* 1024 and 2048 are multiples of one and divide the other: the larger is what both can. */
	if (g->block_size > 512)
		g->block_size = 4096;
	digest_long_of(name, strlen(name), g->uuid);
}

/* ---- what is there ---- */

/* Does it hold a journal? Also -EBUSY: of a server that runs. */
static int look(const struct disk_format_conf *c, bool *holds, struct err *e)
{
	const struct blk_conf bc = {.path = c->journal_path,
				    .engine = BLK_PLAIN,
				    .depth = 4,
				    .may_cache = c->may_cache};
	struct blk_dev *d = NULL;
	struct blk_store *s = NULL;
	struct journal_sb sb;
	struct err unused = ERR_INIT;
	int rc = blk_open_wait(&bc, &d, e);

	if (rc < 0)
		return rc;
	rc = blk_store_new(&s, d);
	if (!rc)
		*holds = journal_peek(blk_store_blocks(s), &sb, &unused) != -EBADMSG;
	blk_store_free(s);
	blk_close(d);
	return rc < 0 ? err_set(e, rc, "%s", c->journal_path) : 0;
}

/* 0: a journal may be made there. */
static int make_way(const struct disk_format_conf *c, uint64_t *size, struct err *e)
{
	struct stat st;
	bool holds = true;
	int rc;

	*size = c->journal_bytes;
	if (stat(c->journal_path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(e, -errno, "%s", c->journal_path);
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
		return err_setx(e, -EINVAL, "%s is neither a file nor a block device",
				c->journal_path);
	/* An empty file is what a format leaves that was killed at its start: it remembers nothing. */
	if (S_ISREG(st.st_mode) && st.st_size == 0) {
		holds = false;
	} else {
		rc = look(c, &holds, e);
		if (rc < 0)
			return rc;
	}
	if (holds && !c->force)
		return err_setx(
			e, -EEXIST,
			"%s is there: it remembers what disk \"%s\" holds on this host. With "
			"--force it is made anew, and the disk is copied as a whole next time",
			c->journal_path, c->name);
	if (S_ISBLK(st.st_mode)) {
		autofd fd = open(c->journal_path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || ioctl(fd, BLKGETSIZE64, size) < 0)
			return err_set(e, -errno, "size of %s", c->journal_path);
		return 0;
	}
	return unlink(c->journal_path) < 0 ? err_set(e, -errno, "remove %s", c->journal_path) : 0;
}

/* ---- making it ---- */

static int make_parent(const char *path, struct err *e)
{
	autofree char *dir = mem_strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (!dir)
		return err_set(e, -ENOMEM, "%s", path);
	for (char *p = dir + 1; slash && p <= slash; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(dir, 0700) < 0 && errno != EEXIST)
			return err_set(e, -errno, "make folder %s", dir);
		*p = '/';
	}
	return 0;
}

struct outcome {
	bool told;
	enum journal_state state;
};

static void on_state(void *arg, enum journal_state state, const char *why)
{
	struct outcome *o = arg;

	*o = (struct outcome){.told = true, .state = state};
}

/* What journal_format() made EMPTY becomes the copy that counts. */
static int make_active(struct block_store *file, struct block_store *data,
		       const struct journal_geometry *g, struct err *e)
{
	static const struct journal_events ev = {.state = on_state};
	const struct journal_gens gens = {.current = disk_random()};
	struct outcome o = {.told = false};
	struct journal *j = NULL;
	struct journal_opts opts;
	int rc;

	journal_opts_init(&opts);
	opts.geo = *g;
	opts.incarnation = disk_random();
	rc = journal_open(file, data, &opts, &j, e);
	if (rc < 0)
		return rc;
	journal_set_events(j, &ev, &o);
	rc = journal_set(j, JOURNAL_ACTIVE, &gens);
	while (!rc && !o.told) {
		(void)journal_run(j, clock_now());
		if (!o.told)
			(void)file->ops->wait(file);
	}
	if (!rc && o.state != JOURNAL_ACTIVE)
		rc = -EIO;
	while (file->ops->wait(file) == 0)
		;
	journal_free(j);
	return rc < 0 ? err_set(e, rc, "make the disk active") : 0;
}

static int write_journal(const struct disk_format_conf *c, struct journal_geometry *g,
			 struct err *e)
{
	const struct blk_conf bc = {.path = c->journal_path,
				    .engine = BLK_PLAIN,
				    .depth = 64,
				    .may_cache = c->may_cache};
	struct blk_dev *d = NULL;
	struct blk_store *file = NULL;
	struct blk_store *data = NULL;
	int rc = blk_open(&bc, &d, e);

	if (rc < 0)
		return rc;
	if (blk_store_new(&file, d) < 0 || blk_store_new(&data, c->blk) < 0)
		rc = err_set(e, -ENOMEM, "%s", c->journal_path);
	if (!rc)
		rc = journal_format(blk_store_blocks(file), g, disk_random(), e);
	if (!rc && c->source)
		rc = make_active(blk_store_blocks(file), blk_store_blocks(data), g, e);
	blk_store_free(data);
	blk_store_free(file);
	blk_close(d);
	return rc;
}

int disk_format(const struct disk_format_conf *c, struct err *e)
{
	struct journal_geometry g;
	uint64_t size = 0;
	uint64_t rest;
	int rc;

	disk_geometry(&g, c->name, c->blk);
	g.ring_size = JOURNAL_RING_MIN;
	rc = journal_geometry_check(&g, e);
	if (!rc)
		rc = make_parent(c->journal_path, e);
	if (!rc)
		rc = make_way(c, &size, e);
	if (rc < 0)
		return rc;
	rest = journal_ring_off(&g);
	if (size < rest + JOURNAL_RING_MIN)
		return err_setx(e, -EINVAL, "a journal of %llu bytes; this disk's needs %llu",
				(unsigned long long)size,
				(unsigned long long)(rest + JOURNAL_RING_MIN));
	g.ring_size =
		MIN((size - rest) & ~(uint64_t)(JOURNAL_BLOCK - 1), (uint64_t)JOURNAL_RING_MAX);
	rc = file_store_create(c->journal_path, journal_file_size(&g), e);
	return rc ? rc : write_journal(c, &g, e);
}
