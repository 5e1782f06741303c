/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copier's single rules; whole lives are in test_copier_sim. */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

#include "disk/copier.h"
#include "disk/dirty_map.h"
#include "disk/epoch_log.h"
#include "disk/epoch_word.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"

#define K UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)
#define DISK (16 * MIB - 512)
#define SEC NS_PER_SEC

struct rig {
	struct epoch_page page;
	struct epoch_word word;
	struct dirty_map *map;
	struct epoch_log *log;
	struct copier *c;
	uint8_t *data;
	uint64_t now;
	int differs;
};

static void on_differs(void *arg, uint64_t off, uint32_t len)
{
	((struct rig *)arg)->differs++;
}

static void rig_start(struct rig *r, uint64_t rate)
{
	struct epoch_log_conf log = {.queue_bytes = 4 * MIB, .stall_ns = SEC};
	struct copier_conf conf = {.rate = rate,
				   .copy_bytes = EPOCH_REC_MAX,
				   .chunk_bytes = (uint32_t)MIB,
				   .slots = 4,
				   .differs = on_differs,
				   .arg = r};
	struct err e = ERR_INIT;

	memset(r, 0, sizeof(*r));
	r->word.page = &r->page;
	r->now = 5 * SEC;
	assert_int_equal(dirty_map_new(&r->map, DISK, &e), 0);
	log.map = conf.map = r->map;
	assert_int_equal(epoch_log_new(&r->log, &log, &e), 0);
	conf.log = r->log;
	assert_int_equal(copier_new(&r->c, &conf, &e), 0);
	r->data = mem_zalloc(MIB);
	assert_non_null(r->data);
	assert_int_equal(copier_start(r->c, false, r->now), -ENOTCONN);
	assert_int_equal(epoch_log_begin(r->log, &r->word), 0);
}

static void rig_stop(struct rig *r)
{
	copier_free(r->c);
	epoch_log_free(r->log);
	dirty_map_free(r->map);
	mem_free(r->data);
}

static void end_epoch(struct rig *r)
{
	uint64_t n = epoch_word_load(&r->word);
	struct epoch_numbers numbers;
	struct epoch_rec rec;

	epoch_word_store(&r->word, n + 1);
	while (epoch_log_next(r->log, n, &rec, 1, 1) == 1)
		epoch_log_taken(r->log, 1);
	assert_int_equal(epoch_log_end(r->log, n, &numbers), 0);
	assert_int_equal(epoch_log_settle(r->log, n), 0);
}

static void copies_runs_and_is_done_with_their_epoch(void **state)
{
	struct copier_progress p;
	struct copier_job a;
	struct copier_job b;
	struct rig r;

	rig_start(&r, 100 * MIB);
	dirty_map_set(r.map, 10 * K, 70 * K);
	dirty_map_set(r.map, DISK - 1, 1);
	epoch_word_store(&r.word, 3);
	assert_int_equal(copier_start(r.c, false, r.now), 0);
	/* Nothing may be read before time has passed. */
	assert_false(copier_next(r.c, r.now, &a));
	assert_true(copier_deadline(r.c) > r.now && copier_deadline(r.c) < r.now + SEC / 100);
	r.now += SEC;
	assert_true(copier_next(r.c, r.now, &a));
	assert_true(a.kind == COPIER_COPY && a.off == 10 * K && a.len == 64 * K);
	assert_true(copier_next(r.c, r.now, &b));
	assert_true(b.off == 74 * K && b.len == 6 * K);
	copier_read(r.c, a.slot, r.data, 0);
	assert_true(copier_next(r.c, r.now, &a));
	assert_true(a.off == DISK + 512 - K && a.len == K - 512);
	assert_false(copier_next(r.c, r.now, &a));
	assert_true(copier_deadline(r.c) == CLOCK_NEVER);
	copier_read(r.c, a.slot, r.data, 0);
	assert_false(copier_whole(r.c, 3));
	epoch_word_store(&r.word, 4);
	copier_read(r.c, b.slot, r.data, 0);
	assert_true(dirty_map_count(r.map) == 0);
	assert_true(copier_whole(r.c, 4) && !copier_whole(r.c, 3) && !copier_done(r.c));
	copier_get_progress(r.c, r.now, &p);
	assert_true(p.left == 0 && p.copied == 71 * K - 512 && p.total == 71 * K && p.eta_ms == 0);
	r.page.epoch = 4;
	end_epoch(&r);
	assert_true(copier_done(r.c));
	assert_true(copier_whole(r.c, 5));
	rig_stop(&r);
}

static void is_bounded_in_flight_and_by_rate(void **state)
{
	struct copier_job jobs[5];
	struct copier_progress p;
	uint64_t bytes = 0;
	uint64_t until;
	struct rig r;

	rig_start(&r, 8 * MIB);
	dirty_map_set_all(r.map);
	assert_int_equal(copier_start(r.c, false, r.now), 0);
	r.now += SEC;
	for (int i = 0; i < 4; i++)
		assert_true(copier_next(r.c, r.now, &jobs[i]));
	/* All slots; then all that was saved up. */
	assert_false(copier_next(r.c, r.now, &jobs[4]));
	assert_true(copier_deadline(r.c) == CLOCK_NEVER);
	for (int i = 0; i < 4; i++)
		copier_read(r.c, jobs[i].slot, r.data, 0);
	assert_false(copier_next(r.c, r.now, &jobs[0]));
	until = copier_deadline(r.c);
	assert_true(until > r.now && until <= r.now + SEC / 32 + 1);
	assert_true(copier_next(r.c, until, &jobs[0]));
	copier_read(r.c, jobs[0].slot, r.data, 0);
	/* Late checkpoints: down to a sixteenth, but not below the least; then up again. */
	for (int i = 0; i < 20; i++)
		copier_pace(r.c, true);
	copier_get_progress(r.c, r.now, &p);
	assert_true(p.rate == COPIER_RATE_MIN);
	for (int i = 0; i < 20; i++)
		copier_pace(r.c, false);
	copier_get_progress(r.c, r.now, &p);
	assert_true(p.rate == 8 * MIB);
	/* In tiny steps of time as in large ones; the log is emptied as it goes. */
	for (uint64_t t = 0; t < 500000; t++) {
		r.now = until + t * 1000;
		if (!copier_next(r.c, r.now, &jobs[0]))
			continue;
		copier_read(r.c, jobs[0].slot, r.data, 0);
		bytes += jobs[0].len;
		end_epoch(&r);
	}
	assert_in_range(bytes, 4 * MIB - MIB / 2, 4 * MIB + MIB / 8);
	copier_get_progress(r.c, r.now, &p);
	assert_in_range(p.eta_ms, 500, 4000);
	rig_stop(&r);
}

/* A full log never makes the copier keep its lock, nor lose a block. */
static void waits_for_room_in_the_log(void **state)
{
	struct copier_job job;
	struct rig r;
	int n = 0;

	rig_start(&r, COPIER_RATE_MAX);
	memset(r.data, 1, MIB);
	dirty_map_set_all(r.map);
	assert_int_equal(copier_start(r.c, false, r.now), 0);
	r.now += SEC;
	while (copier_next(r.c, r.now, &job)) {
		copier_read(r.c, job.slot, r.data, 0);
		n++;
	}
	assert_int_equal(n, 7);
	assert_true(copier_deadline(r.c) == CLOCK_NEVER);
	end_epoch(&r);
	assert_true(copier_next(r.c, r.now, &job));
	rig_stop(&r);
}

static void compares_before_it_copies(void **state)
{
	struct copier_progress p;
	struct copier_job a;
	struct copier_job b;
	struct copier_job c;
	struct rig r;

	rig_start(&r, COPIER_RATE_MAX);
	dirty_map_set_all(r.map);
	dirty_map_clear(r.map, 2 * MIB, K); /* a chunk that is not wholly marked */
	assert_int_equal(copier_start(r.c, true, r.now), 0);
	assert_int_equal(copier_verify(r.c), -EBUSY);
	r.now += SEC;
	assert_true(copier_next(r.c, r.now, &a));
	assert_true(copier_next(r.c, r.now, &b));
	assert_true(a.kind == COPIER_HASH && a.off == 0 && a.len == MIB);
	assert_true(b.kind == COPIER_HASH && b.off == MIB);
	/* Half of the slots, and no copy beyond what was compared. */
	assert_false(copier_next(r.c, r.now, &c));
	assert_int_equal(copier_answer(r.c, COPIER_HASH, 0, MIB, COPIER_EQUAL), -ENOENT);
	copier_read(r.c, a.slot, NULL, 0);
	copier_read(r.c, b.slot, NULL, 0);
	assert_int_equal(copier_answer(r.c, COPIER_VERIFY, 0, MIB, COPIER_EQUAL), -ENOENT);
	assert_int_equal(copier_answer(r.c, COPIER_HASH, 0, MIB - 512, COPIER_EQUAL), -ENOENT);
	copier_guest_write(r.c, 2 * MIB - 512, 512);
	assert_int_equal(copier_answer(r.c, COPIER_HASH, 0, MIB, COPIER_EQUAL), 0);
	assert_false(dirty_map_any(r.map, 0, MIB));
	assert_int_equal(copier_answer(r.c, COPIER_HASH, MIB, MIB, COPIER_EQUAL), 0);
	/* The guest wrote there. */
	assert_true(dirty_map_all(r.map, MIB, MIB));
	assert_true(copier_next(r.c, r.now, &a));
	assert_true(a.kind == COPIER_COPY && a.off == MIB && a.len == EPOCH_REC_MAX);
	/* The chunk that is not wholly marked is passed over; the copy may go up to the next one asked. */
	dirty_map_clear(r.map, MIB, MIB);
	copier_read(r.c, a.slot, r.data, 0);
	assert_true(copier_next(r.c, r.now, &a));
	assert_true(a.kind == COPIER_HASH && a.off == 3 * MIB);
	assert_true(copier_next(r.c, r.now, &b));
	assert_true(b.kind == COPIER_COPY && b.off == 2 * MIB + K);
	copier_get_progress(r.c, r.now, &p);
	assert_true(p.equal == MIB);
	rig_stop(&r);
}

/* Each chunk of a pass of verification, answered by say(). */
static unsigned int verify_all(struct rig *r, enum copier_verdict (*say)(uint64_t off),
			       uint64_t write)
{
	struct copier_job job;
	unsigned int n = 0;

	assert_int_equal(copier_verify(r->c), 0);
	assert_int_equal(copier_verify(r->c), -EBUSY);
	for (;;) {
		r->now += SEC;
		if (!copier_next(r->c, r->now, &job))
			return n;
		if (job.kind != COPIER_VERIFY) {
			copier_read(r->c, job.slot, r->data, 0);
			continue;
		}
		n++;
		copier_read(r->c, job.slot, NULL, 0);
		copier_guest_write(r->c, write, 512);
		assert_int_equal(copier_answer(r->c, COPIER_VERIFY, job.off, job.len, say(job.off)),
				 0);
	}
}

static enum copier_verdict third_differs(uint64_t off)
{
	return off == 2 * MIB ? COPIER_DIFFERENT : COPIER_EQUAL;
}

static enum copier_verdict third_unread(uint64_t off)
{
	return off == 2 * MIB ? COPIER_UNREAD : COPIER_EQUAL;
}

static void verifies(void **state)
{
	struct copier_progress p;
	struct rig r;

	rig_start(&r, COPIER_RATE_MAX);
	assert_int_equal(copier_verify(r.c), -ENOTCONN);
	assert_int_equal(copier_start(r.c, false, r.now), 0);
	end_epoch(&r);
	assert_true(copier_done(r.c));
	assert_int_equal(verify_all(&r, third_differs, 0), 16);
	copier_get_progress(r.c, r.now, &p);
	assert_true(r.differs == 1 && p.differed == MIB && p.verified == DISK && p.busy == 0 &&
		    !p.verifying);
	/* What differed was copied in the same pass; done is said again when that is settled. */
	assert_true(dirty_map_count(r.map) == 0);
	assert_false(copier_done(r.c));
	end_epoch(&r);
	assert_true(copier_done(r.c));
	/* Written each time: asked three times, never counted as a difference. */
	assert_int_equal(verify_all(&r, third_differs, 2 * MIB), 18);
	copier_get_progress(r.c, r.now, &p);
	assert_true(r.differs == 1 && p.differed == 0 && p.busy == MIB);
	assert_int_equal(verify_all(&r, third_unread, 0), 16);
	copier_get_progress(r.c, r.now, &p);
	assert_true(r.differs == 1 && p.busy == MIB && p.verified == DISK - MIB);
	rig_stop(&r);
}

static void what_is_being_read_may_outlive_the_stream(void **state)
{
	struct copier_job a;
	struct copier_job b;
	struct rig r;

	rig_start(&r, COPIER_RATE_MAX);
	dirty_map_set(r.map, 0, K);
	assert_int_equal(copier_start(r.c, false, r.now), 0);
	r.now += SEC;
	assert_true(copier_next(r.c, r.now, &a));
	copier_stop(r.c);
	epoch_log_leave(r.log);
	assert_false(copier_next(r.c, r.now, &b));
	assert_false(copier_done(r.c) || copier_whole(r.c, 9));
	r.page.epoch = 0;
	assert_int_equal(epoch_log_begin(r.log, &r.word), 0);
	assert_int_equal(copier_start(r.c, false, r.now), 0);
	r.now += SEC;
	/* The old read still stands there. */
	assert_false(copier_next(r.c, r.now, &b));
	copier_read(r.c, a.slot, r.data, 0);
	assert_true(dirty_map_count(r.map) == 1);
	assert_true(copier_next(r.c, r.now, &b));
	copier_read(r.c, b.slot, r.data, 0);
	assert_true(dirty_map_count(r.map) == 0);
	rig_stop(&r);
}

static void a_disk_error_stops_it(void **state)
{
	struct copier_job a;
	struct rig r;

	rig_start(&r, COPIER_RATE_MAX);
	dirty_map_set(r.map, 0, K);
	assert_int_equal(copier_start(r.c, false, r.now), 0);
	r.now += SEC;
	assert_true(copier_next(r.c, r.now, &a));
	copier_read(r.c, a.slot, NULL, -EIO);
	assert_int_equal(copier_failed(r.c), -EIO);
	assert_false(copier_next(r.c, r.now + SEC, &a));
	assert_true(dirty_map_count(r.map) == 1);
	assert_int_equal(copier_start(r.c, false, r.now), 0);
	assert_int_equal(copier_failed(r.c), 0);
	rig_stop(&r);
}

static void refuses_and_fails_in_a_defined_way(void **state)
{
	const struct copier_conf good = {
		.rate = COPIER_RATE_MIN, .copy_bytes = 4096, .chunk_bytes = 4096, .slots = 2};
	struct copier_conf bad[8];
	struct copier *c = NULL;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].rate = COPIER_RATE_MIN - 1;
	bad[1].rate = COPIER_RATE_MAX + 1;
	bad[2].copy_bytes = 4095;
	bad[3].copy_bytes = EPOCH_REC_MAX + 4096;
	bad[4].chunk_bytes = 0;
	bad[5].chunk_bytes = COPIER_CHUNK_MAX + 4096;
	bad[6].slots = 1;
	bad[7].slots = COPIER_SLOTS_MAX + 1;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(copier_new(&c, &bad[i], &e), -EINVAL);
	mem_fail_after(0);
	assert_int_equal(copier_new(&c, &good, &e), -ENOMEM);
	mem_fail_after(MEM_NEVER);
	copier_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_runs_and_is_done_with_their_epoch),
		cmocka_unit_test(is_bounded_in_flight_and_by_rate),
		cmocka_unit_test(waits_for_room_in_the_log),
		cmocka_unit_test(compares_before_it_copies),
		cmocka_unit_test(verifies),
		cmocka_unit_test(what_is_being_read_may_outlive_the_stream),
		cmocka_unit_test(a_disk_error_stops_it),
		cmocka_unit_test(refuses_and_fails_in_a_defined_way),
	};

	return RUN_TESTS("copier", tests);
}
