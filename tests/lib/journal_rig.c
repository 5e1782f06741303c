/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See journal_rig.h. */
#include "tests/lib/journal_rig.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "tests/lib/test.h"

static void durable(void *arg, uint64_t epoch)
{
	struct rig *r = arg;

	r->durable = epoch;
}

static void applied(void *arg, uint64_t epoch)
{
	struct rig *r = arg;

	r->applied = epoch;
}

static void space(void *arg)
{
	struct rig *r = arg;

	r->spaces++;
}

static void state(void *arg, enum journal_state s, const char *why)
{
	struct rig *r = arg;

	r->state = s;
	r->states++;
	strncpy(r->why, why, sizeof(r->why) - 1);
}

struct rig *rig_new(uint64_t ring)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->file_image = calloc(1, RIG_FILE);
	r->disk_image = calloc(1, RIG_DISK);
	assert_true(r->file_image && r->disk_image);
	block_rec_init(&r->file, r->file_image, RIG_FILE, 4096);
	block_rec_init(&r->disk, r->disk_image, RIG_DISK, 512);
	journal_opts_init(&r->o);
	r->o.geo = (struct journal_geometry){.uuid = {1}, .disk_size = RIG_DISK, .block_size = 512};
	r->o.geo.ring_size = ring * JOURNAL_BLOCK;
	r->o.incarnation = 100;
	r->o.batch_bytes = 16384;
	r->o.ram_bytes = 8ull * (16384 + 4096);
	r->o.max_items = 256;
	r->o.max_records = 1024;
	r->now = NS_PER_SEC;
	assert_int_equal(journal_format(&r->file.base, &r->o.geo, 55, &r->e), 0);
	return r;
}

void rig_free(struct rig *r)
{
	rig_close(r);
	free(r->file_image);
	free(r->disk_image);
	free(r);
}

int rig_open(struct rig *r)
{
	static const struct journal_events ev = {
		.durable = durable, .applied = applied, .space = space, .state = state};
	int rc;

	r->o.incarnation++;
	r->durable = r->applied = JOURNAL_NO_EPOCH;
	rc = journal_open(&r->file.base, &r->disk.base, &r->o, &r->j, &r->e);
	if (!rc)
		journal_set_events(r->j, &ev, r);
	return rc;
}

void rig_close(struct rig *r)
{
	if (!r->j)
		return;
	while (!r->file.base.ops->wait(&r->file.base))
		;
	while (!r->disk.base.ops->wait(&r->disk.base))
		;
	journal_free(r->j);
	r->j = NULL;
}

void rig_run(struct rig *r, uint64_t ms)
{
	uint64_t end = r->now + ms * NS_PER_MS;

	for (;;) {
		uint64_t next = journal_run(r->j, r->now);

		if (!r->file.base.ops->wait(&r->file.base) ||
		    !r->disk.base.ops->wait(&r->disk.base))
			continue;
		if (next > r->now && r->now == end)
			return;
		r->now = MIN(MAX(next, r->now), end);
	}
}

int rig_write(struct rig *r, uint64_t epoch, uint64_t off, uint32_t len, uint8_t fill)
{
	static uint8_t data[JOURNAL_PAYLOAD_MAX];
	struct journal_rec rec = {.op = JOURNAL_WRITE, .off = off, .len = len, .data = data};

	memset(data, fill, len);
	return journal_append(r->j, epoch, &rec);
}

void rig_end(struct rig *r, uint64_t epoch)
{
	struct journal_count count;

	assert_int_equal(journal_end(r->j, epoch, &count), 0);
}

void rig_commit(struct rig *r, uint64_t epoch)
{
	rig_end(r, epoch);
	assert_int_equal(journal_commit(r->j, epoch), 0);
}

void rig_copy(struct rig *r)
{
	assert_int_equal(journal_copy_begin(r->j, 1, 0), 0);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_SYNCING);
	for (uint64_t off = 0; off < RIG_DISK; off += 16384) {
		assert_int_equal(rig_write(r, 0, off, 16384, 0x11), 0);
		rig_run(r, 0);
	}
	rig_end(r, 0);
	assert_int_equal(journal_copy_end(r->j, 0), 0);
	assert_int_equal(journal_commit(r->j, 0), 0);
	rig_run(r, 0);
	assert_int_equal(r->state, JOURNAL_CONSISTENT);
}

void rig_holds(const struct rig *r, uint64_t off, uint64_t len, uint8_t fill)
{
	for (uint64_t i = off; i < off + len; i++)
		assert_int_equal(r->disk_image[i], fill);
}
