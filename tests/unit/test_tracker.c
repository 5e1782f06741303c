/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/dirty_map.h"
#include "disk/epoch_log.h"
#include "disk/epoch_word.h"
#include "disk/intent_log.h"
#include "disk/tracker.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"

#define REGION INTENT_REGION_SIZE
#define REGIONS 24
#define DISK (REGIONS * REGION)
#define BITS 64

struct rig {
	struct epoch_page page;
	struct epoch_word word;
	struct tracker_parts p;
	struct tracker t;
	uint8_t file[BITS / 8];
	uint8_t *data;
	uint64_t now;
	uint64_t newest[REGIONS]; /* epoch + 1 of the last record; 0: settled */
};

static void on_differs(void *arg, uint64_t off, uint32_t len)
{
	tracker_differs(&((struct rig *)arg)->t, off, len);
}

static void rig_start(struct rig *r)
{
	struct intent_log_conf intent = {.bits_per_block = BITS, .hot_max = 4};
	struct epoch_log_conf log = {.queue_bytes = EPOCH_LOG_QUEUE_MIN, .stall_ns = NS_PER_SEC};
	struct copier_conf copier = {.rate = COPIER_RATE_MAX,
				     .copy_bytes = EPOCH_REC_MAX,
				     .chunk_bytes = 1 << 20,
				     .slots = 4,
				     .differs = on_differs,
				     .arg = r};
	struct err e = ERR_INIT;

	memset(r, 0, sizeof(*r));
	r->word.page = &r->page;
	assert_int_equal(dirty_map_new(&r->p.map, DISK, &e), 0);
	intent.map = log.map = copier.map = r->p.map;
	assert_int_equal(intent_log_new(&r->p.intent, &intent, &e), 0);
	assert_int_equal(epoch_log_new(&r->p.log, &log, &e), 0);
	copier.log = r->p.log;
	assert_int_equal(copier_new(&r->p.copier, &copier, &e), 0);
	tracker_init(&r->t, &r->p);
	r->data = mem_zalloc(EPOCH_REC_MAX);
	assert_non_null(r->data);
}

static void rig_stop(struct rig *r)
{
	copier_free(r->p.copier);
	epoch_log_free(r->p.log);
	intent_log_free(r->p.intent);
	dirty_map_free(r->p.map);
	mem_free(r->data);
}

static void flush(struct rig *r, bool idle)
{
	const uint8_t *bits;
	uint32_t k;

	while (intent_log_next_write(r->p.intent, idle, &k, &bits)) {
		memcpy(r->file, bits, sizeof(r->file));
		intent_log_written(r->p.intent, 0);
	}
}

static int put(struct rig *r, uint64_t off, uint32_t len)
{
	struct write_req w = {.op = WRITE_ZERO, .off = off, .len = len};
	struct write_sink *s = tracker_sink(&r->t);

	return s->ops->admit(s, &w);
}

static void begin(struct rig *r)
{
	r->page.epoch = 0;
	assert_int_equal(tracker_begin(&r->t, &r->word), 0);
	assert_int_equal(tracker_begin(&r->t, &r->word), -EBUSY);
	assert_int_equal(copier_start(r->p.copier, false, r->now), 0);
}

static void end_epoch(struct rig *r, uint64_t n)
{
	struct epoch_numbers numbers;
	struct epoch_rec rec;

	epoch_word_store(&r->word, n + 1);
	while (epoch_log_next(r->p.log, n, &rec, 1, 1) == 1)
		epoch_log_taken(r->p.log, 1);
	assert_int_equal(epoch_log_end(r->p.log, n, &numbers), 0);
}

static void nothing_is_queued_before_its_region_is_durable(void **state)
{
	struct epoch_rec rec;
	struct rig r;

	rig_start(&r);
	begin(&r);
	assert_false(tracker_dirt(&r.t));
	assert_int_equal(put(&r, 5 * REGION, 512), -EAGAIN);
	assert_int_equal(epoch_log_next(r.p.log, 9, &rec, 1, 1), 0);
	/* The worker moves on while the block is written: the write gets the epoch of its admission. */
	epoch_word_store(&r.word, 1);
	flush(&r, false);
	assert_int_equal(r.file[0], 1 << 5);
	assert_int_equal(put(&r, 5 * REGION, 512), 0);
	assert_int_equal(epoch_log_next(r.p.log, 9, &rec, 1, 1), 1);
	assert_true(rec.epoch == 1);
	assert_true(tracker_dirt(&r.t));
	assert_int_equal(tracker_settle(&r.t, 0), -EINVAL);
	tracker_leave(&r.t);
	assert_true(dirty_map_count(r.p.map) == 1);
	assert_int_equal(put(&r, 5 * REGION + 8192, 512), 0);
	assert_int_equal(put(&r, 0, 0), 0); /* a flush needs no region */
	rig_stop(&r);
}

/* What a crash may find at any moment: every region that is marked or not settled is set in the file. */
static void check_file(struct rig *r)
{
	for (uint64_t x = 0; x < REGIONS; x++)
		if (r->newest[x] || dirty_map_any(r->p.map, x * REGION, REGION))
			assert_true(r->file[x / 8] >> (x % 8) & 1);
}

static void guest_write(struct rig *r)
{
	uint64_t off = (uint64_t)(rand() % (int)(DISK / 512 - 16)) * 512;
	uint32_t len = (uint32_t)(rand() % 16 + 1) * 512;

	if (rand() % 2)
		off %= 3 * REGION;
	while (put(r, off, len) == -EAGAIN)
		flush(r, false);
	if (!epoch_log_streaming(r->p.log))
		return;
	r->newest[off / REGION] = r->newest[(off + len - 1) / REGION] =
		epoch_log_last_tag(r->p.log) + 1;
}

static void copy(struct rig *r)
{
	struct copier_job job;

	r->now += NS_PER_SEC;
	if (!copier_next(r->p.copier, r->now, &job))
		return;
	tracker_copier_read(&r->t, &job, r->data, 0);
	if (job.kind == COPIER_VERIFY) {
		(void)!copier_answer(r->p.copier, job.kind, job.off, job.len,
				     rand() % 20 ? COPIER_EQUAL : COPIER_DIFFERENT);
		flush(r, false);
		return;
	}
	/* The file need not know what a full copy marks; what was set in it stays set. */
	if (r->file[job.off / REGION / 8] >> (job.off / REGION % 8) & 1)
		r->newest[job.off / REGION] = epoch_log_last_tag(r->p.log) + 1;
}

static void a_crash_finds_all_that_is_not_settled(void **state)
{
	uint64_t settled = 0;
	uint64_t ended = 0;
	struct rig r;

	rig_start(&r);
	srand(5);
	for (int i = 0; i < 40000; i++) {
		bool on = epoch_log_streaming(r.p.log);

		switch (rand() % 10) {
		default:
			guest_write(&r);
			break;
		case 0:
			copy(&r);
			break;
		case 1:
			if (on)
				end_epoch(&r, ended++);
			break;
		case 2:
			if (!on || settled == ended)
				break;
			assert_int_equal(tracker_settle(&r.t, settled++), 0);
			for (int x = 0; x < REGIONS; x++)
				if (r.newest[x] <= settled)
					r.newest[x] = 0;
			break;
		case 3:
			intent_log_sweep(r.p.intent, 5);
			flush(&r, true);
			break;
		case 4:
			if (rand() % 30)
				break;
			if (on)
				tracker_leave(&r.t);
			else
				begin(&r);
			memset(r.newest, 0, sizeof(r.newest));
			settled = ended = 0;
			break;
		case 5:
			if (on && rand() % 10 == 0)
				(void)!copier_verify(r.p.copier);
			break;
		}
		check_file(&r);
	}
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_queued_before_its_region_is_durable),
		cmocka_unit_test(a_crash_finds_all_that_is_not_settled),
	};

	return RUN_TESTS("tracker", tests);
}
