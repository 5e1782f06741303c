/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_bed.h. */
#include "tests/lib/disk_bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "disk/block_server.h"
#include "disk/disk_format.h"
#include "lib/err.h"

/* The journal is made in a real file: disk_format() makes no other. */
static void make_journal(struct disk_bed *b, bool source)
{
	char dir[] = "/tmp/diskbed.XXXXXX";
	char path[64];
	struct err e = ERR_INIT;
	const struct disk_format_conf c = {
		.name = "web",
		.journal_path = path,
		.journal_bytes = UINT64_C(16) << 20,
		.blk = &b->data.dev,
		.source = source,
		.may_cache = true,
	};

	assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/journal", dir);
	if (disk_format(&c, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	mem_disk_load(&b->file, path);
	(void)unlink(path);
	(void)rmdir(dir);
}

static void open_all(struct disk_bed *b)
{
	const struct block_server_conf sc = {.name = "web", .blk = &b->data.dev};
	struct disk_conf dc = {
		.name = "web",
		.journal_path = "the journal",
		.engine = BLK_PLAIN,
		.queue_bytes = UINT64_C(16) << 20,
		.stall_ns = UINT64_C(1000000000),
		.copy_rate = UINT64_C(1) << 30,
		.blk = &b->data.dev,
	};
	struct err e = ERR_INIT;
	int rc = block_server_new(&sc, &b->server, &e);

	assert(rc == 0);
	dc.server = b->server;
	mem_disk_next = &b->file;
	rc = disk_open(&b->d, &dc, &e);
	if (rc < 0) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
}

void disk_bed_make(struct disk_bed *b, bool source)
{
	memset(b, 0, sizeof(*b));
	mem_disk_init(&b->data, DISK_BED_SIZE);
	make_journal(b, source);
	open_all(b);
}

static void close_all(struct disk_bed *b)
{
	b->file.by_hand = b->data.by_hand = false;
	/* What the test left under way: whoever waits is told again. */
	(void)!eventfd_write(b->file.dev.event_fd, 1);
	(void)!eventfd_write(b->data.dev.event_fd, 1);
	block_server_free(b->server);
	disk_free(b->d);
}

void disk_bed_reopen(struct disk_bed *b)
{
	close_all(b);
	open_all(b);
}

void disk_bed_free(struct disk_bed *b)
{
	close_all(b);
	mem_disk_fini(&b->data);
	mem_disk_fini(&b->file);
}

void disk_bed_stable(const struct disk_bed *b, struct journal_sb *sb)
{
	bool have = false;

	for (unsigned int slot = 0; slot < 2; slot++) {
		struct journal_sb one;

		if (journal_sb_decode(&one, b->file.stable + (uint64_t)slot * JOURNAL_BLOCK, slot,
				      NULL) < 0)
			continue;
		if (!have || one.seq > sb->seq)
			*sb = one;
		have = true;
	}
	assert(have);
}
