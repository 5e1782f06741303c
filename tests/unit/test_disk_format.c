/* SPDX-License-Identifier: GPL-2.0-or-later */
/* romulus-disk --format: what it makes, and each thing that it refuses leaves all as it was. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/blk_io.h"
#include "disk/blk_store.h"
#include "disk/disk_format.h"
#include "lib/err.h"
#include "lib/log.h"
#include "tests/lib/mem_disk.h"

static char dir[32];
static char path[96];
static struct mem_disk disk;

static int set_up(void **state)
{
	log_set_fd(-1);
	strcpy(dir, "/tmp/dformat.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/deep/down/journal", dir);
	mem_disk_init(&disk, UINT64_C(8) << 20);
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	mem_disk_fini(&disk);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static struct disk_format_conf conf(void)
{
	return (struct disk_format_conf){.name = "web",
					 .journal_path = path,
					 .journal_bytes = UINT64_C(16) << 20,
					 .blk = &disk.dev,
					 .may_cache = true};
}

static void peek(struct journal_sb *sb)
{
	struct mem_disk m;
	struct blk_store *s;
	struct err e = ERR_INIT;

	mem_disk_load(&m, path);
	assert_int_equal(blk_store_new(&s, &m.dev), 0);
	assert_int_equal(journal_peek(blk_store_blocks(s), sb, &e), 0);
	blk_store_free(s);
	mem_disk_fini(&m);
}

static void refused(const struct disk_format_conf *c, int rc, const char *text)
{
	struct err e = ERR_INIT;

	assert_int_equal(disk_format(c, &e), rc);
	if (!strstr(e.text, text))
		fail_msg("'%s' lacks '%s'", e.text, text);
}

static void makes_it(void **state)
{
	struct disk_format_conf c = conf();
	struct journal_sb sb;
	struct err e = ERR_INIT;
	uint64_t first;
	struct stat st;

	assert_int_equal(disk_format(&c, &e), 0);
	peek(&sb);
	assert_int_equal(sb.state, JOURNAL_EMPTY);
	assert_int_equal(sb.gens.current, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_in_range(st.st_blocks * 512, c.journal_bytes / 2, c.journal_bytes);
	c.source = c.force = true;
	assert_int_equal(disk_format(&c, &e), 0);
	peek(&sb);
	assert_int_equal(sb.state, JOURNAL_ACTIVE);
	first = sb.gens.current;
	assert_true(first != 0);
	/* Each has a history of its own. */
	assert_int_equal(disk_format(&c, &e), 0);
	peek(&sb);
	assert_true(sb.gens.current != first);
}

/* Without --force what the host remembers stays. */
static void there_is_one(void **state)
{
	struct disk_format_conf c = conf();
	struct journal_sb before, after;
	struct err e = ERR_INIT;

	c.source = true;
	assert_int_equal(disk_format(&c, &e), 0);
	peek(&before);
	c.source = false;
	refused(&c, -EEXIST, "remembers what disk \"web\" holds on this host");
	peek(&after);
	assert_int_equal(after.state, before.state);
	assert_memory_equal(&after.gens, &before.gens, sizeof(after.gens));
}

/* A server that runs has it, and --force does not help. */
static void in_use(void **state)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct disk_format_conf c = conf();
	struct err e = ERR_INIT;
	struct stat st;
	int fd;

	assert_int_equal(disk_format(&c, &e), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	c.force = true;
	refused(&c, -EBUSY, "another process has it");
	assert_int_equal(stat(path, &st), 0);
	close(fd);
}

static void something_else(void **state)
{
	struct disk_format_conf c = conf();

	c.journal_path = dir;
	c.force = true;
	refused(&c, -EINVAL, "is neither a file nor a block device");
	c.journal_path = "/proc/version/journal";
	refused(&c, -ENOTDIR, "/proc/version");
}

static void too_small(void **state)
{
	struct disk_format_conf c = conf();

	c.journal_bytes = 8192;
	refused(&c, -EINVAL, "a journal of 8192 bytes; this disk's needs");
	assert_int_equal(access(path, F_OK), -1);
}

/* No room: no file is left that looks like one. */
static void no_room(void **state)
{
	const struct rlimit little = {8 << 20, RLIM_INFINITY};
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	struct disk_format_conf c = conf();

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
	refused(&c, -EFBIG, "make the journal");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_int_equal(access(path, F_OK), -1);
}

/* What a killed one leaves is no journal: made anew without --force. */
static void empty_file(void **state)
{
	struct disk_format_conf c = conf();
	struct journal_sb sb;
	struct err e = ERR_INIT;
	int fd;

	snprintf(path, sizeof(path), "%s/flat", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(disk_format(&c, &e), 0);
	peek(&sb);
	assert_int_equal(sb.state, JOURNAL_EMPTY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(makes_it),	 TEST(there_is_one), TEST(in_use),     TEST(something_else),
		TEST(too_small), TEST(no_room),	     TEST(empty_file),
	};

	return RUN_TESTS("disk_format", tests);
}
