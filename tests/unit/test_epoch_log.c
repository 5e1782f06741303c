/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "disk/data_ring.h"
#include "disk/dirty_map.h"
#include "disk/epoch_log.h"
#include "disk/epoch_word.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"

#define K UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)
#define DISK (64 * MIB)
#define STALL (500 * NS_PER_MS)

struct rig {
	struct epoch_word word;
	struct dirty_map *map;
	struct epoch_log *l;
	struct write_sink *sink;
	int wakes, drops, failed;
	char why[128];
	uint8_t *data; /* 8 MiB, no byte 0 */
};

static void on_wake(void *arg)
{
	((struct rig *)arg)->wakes++;
}

static void on_dropped(void *arg, const char *why)
{
	struct rig *r = arg;

	r->drops++;
	strncpy(r->why, why, sizeof(r->why) - 1);
}

static void on_failed(void *arg, int rc)
{
	((struct rig *)arg)->failed = rc;
}

static void rig_start(struct rig *r, uint32_t extents)
{
	struct epoch_log_conf conf = {
		.queue_bytes = EPOCH_LOG_QUEUE_MIN,
		.extents = extents,
		.stall_ns = STALL,
		.wake = on_wake,
		.dropped = on_dropped,
		.failed = on_failed,
		.arg = r,
	};
	struct err e = ERR_INIT;
	int fd = -1;

	memset(r, 0, sizeof(*r));
	assert_int_equal(epoch_word_create(&r->word, &fd, &e), 0);
	close(fd);
	assert_int_equal(dirty_map_new(&r->map, DISK, &e), 0);
	conf.map = r->map;
	assert_int_equal(epoch_log_new(&r->l, &conf, &e), 0);
	r->sink = epoch_log_sink(r->l);
	r->data = mem_alloc(8 * MIB);
	assert_non_null(r->data);
	memset(r->data, 0x5a, 8 * MIB);
	assert_int_equal(epoch_log_begin(r->l, &r->word), 0);
}

static void rig_stop(struct rig *r)
{
	epoch_log_free(r->l);
	dirty_map_free(r->map);
	epoch_word_fini(&r->word);
	mem_free(r->data);
}

static int put(struct rig *r, enum write_op op, uint64_t off, uint64_t len)
{
	struct write_req w = {.op = op, .off = off, .len = (uint32_t)len};

	if (op == WRITE_DATA)
		w.data = r->data;
	return r->sink->ops->admit(r->sink, &w);
}

static void take_all(struct rig *r, uint64_t upto)
{
	struct epoch_rec recs[64];
	size_t n;

	while ((n = epoch_log_next(r->l, upto, recs, ARRAY_SIZE(recs), MIB)) > 0)
		epoch_log_taken(r->l, n);
}

static void end_and_settle(struct rig *r, uint64_t n)
{
	struct epoch_numbers numbers;

	if (epoch_word_load(&r->word) <= n)
		epoch_word_store(&r->word, n + 1);
	take_all(r, n);
	assert_int_equal(epoch_log_end(r->l, n, &numbers), 0);
	assert_int_equal(epoch_log_settle(r->l, n), 0);
}

static void records_have_the_epoch_of_their_arrival(void **state)
{
	struct epoch_numbers numbers;
	struct epoch_count count;
	struct epoch_rec recs[8];
	struct rig r;

	rig_start(&r, 0);
	assert_true(epoch_log_epoch(r.l) == 0);
	assert_int_equal(put(&r, WRITE_DATA, 0, K), 0);
	epoch_word_store(&r.word, 1);
	memset(r.data, 7, K);
	assert_int_equal(put(&r, WRITE_DATA, 8 * K, 512), 0);
	assert_int_equal(put(&r, WRITE_DISCARD, 64 * K, 2 * MIB), 0);

	assert_int_equal(epoch_log_next(r.l, 0, recs, 8, MIB), 1);
	assert_true(recs[0].epoch == 0 && recs[0].w.off == 0 && recs[0].w.len == K);
	assert_int_equal(recs[0].w.op, WRITE_DATA);
	assert_int_equal(((const uint8_t *)recs[0].w.data)[K - 1], 0x5a);
	assert_int_equal(epoch_log_end(r.l, 1, &numbers), -EINVAL);
	assert_int_equal(epoch_log_end(r.l, 0, &numbers), -EAGAIN);
	epoch_count_init(&count);
	epoch_count_add(&count, &recs[0].w, false);
	epoch_log_taken(r.l, 1);
	/* What is newer is not mixed in, and is asked for by its number. */
	assert_int_equal(epoch_log_next(r.l, 0, recs, 8, MIB), 0);
	assert_int_equal(epoch_log_end(r.l, 0, &numbers), 0);
	assert_true(numbers.records == 1 && numbers.bytes == K);
	assert_true(numbers.digest == epoch_count_get(&count).digest);

	assert_int_equal(epoch_log_next(r.l, 1, recs, 8, MIB), 2);
	assert_true(recs[0].epoch == 1 && recs[0].w.len == 512);
	assert_int_equal(recs[1].w.op, WRITE_DISCARD);
	epoch_count_init(&count);
	epoch_count_add(&count, &recs[0].w, false);
	epoch_count_add(&count, &recs[1].w, false);
	epoch_log_taken(r.l, 2);
	/* Epoch 2 begins with a write before END(1) is asked: its count is kept. */
	epoch_word_store(&r.word, 2);
	assert_int_equal(put(&r, WRITE_DATA, 0, K), 0);
	assert_int_equal(epoch_log_end(r.l, 1, &numbers), 0);
	assert_true(numbers.records == 2 && numbers.bytes == 512 + 2 * MIB);
	assert_true(numbers.digest == epoch_count_get(&count).digest);
	assert_int_equal(epoch_log_end(r.l, 0, &numbers), -EINVAL);
	rig_stop(&r);
}

static void an_epoch_without_writes_has_numbers(void **state)
{
	struct epoch_numbers numbers;
	struct epoch_count none;
	struct rig r;

	rig_start(&r, 0);
	epoch_word_store(&r.word, 3);
	epoch_count_init(&none);
	for (uint64_t n = 0; n < 3; n++) {
		assert_int_equal(epoch_log_end(r.l, n, &numbers), 0);
		assert_true(numbers.records == 0 && numbers.bytes == 0);
		assert_true(numbers.digest == epoch_count_get(&none).digest);
		assert_int_equal(epoch_log_settle(r.l, n), 0);
		assert_true(epoch_log_settled(r.l) == n);
	}
	assert_int_equal(epoch_log_settle(r.l, 2), -EINVAL);
	assert_int_equal(epoch_log_settle(r.l, 3), -EINVAL);
	rig_stop(&r);
}

static void splits_what_is_long_and_finds_zeroes(void **state)
{
	struct epoch_log_stats st;
	struct epoch_rec recs[8];
	struct rig r;

	rig_start(&r, 0);
	memset(r.data + EPOCH_REC_MAX, 0, EPOCH_REC_MAX);
	r.data[2 * EPOCH_REC_MAX + 3] = 0;
	assert_int_equal(put(&r, WRITE_DATA, K, 2 * EPOCH_REC_MAX + 512), 0);
	assert_int_equal(epoch_log_next(r.l, 0, recs, 8, 64 * MIB), 3);
	assert_int_equal(recs[0].w.op, WRITE_DATA);
	assert_int_equal(recs[1].w.op, WRITE_ZERO);
	assert_null(recs[1].w.data);
	assert_true(recs[1].w.off == K + EPOCH_REC_MAX && recs[1].w.len == EPOCH_REC_MAX);
	assert_int_equal(recs[2].w.op, WRITE_DATA);
	assert_true(recs[2].w.len == 512);
	epoch_log_get_stats(r.l, &st);
	assert_true(st.queued_bytes == EPOCH_REC_MAX + 512);
	assert_true(st.extents == 1); /* one run */
	assert_true(st.zeroes == EPOCH_REC_MAX && st.streamed == 2 * EPOCH_REC_MAX + 512);
	/* At most so many bytes at once, but one record always. */
	assert_int_equal(epoch_log_next(r.l, 0, recs, 8, 1), 2 - 1);
	assert_int_equal(epoch_log_next(r.l, 0, recs, 8, EPOCH_REC_MAX), 2);
	assert_int_equal(epoch_log_next(r.l, 0, recs, 1, MIB), 1);
	rig_stop(&r);
}

static void blocks_to_be_copied_are_not_sent(void **state)
{
	struct epoch_log_stats st;
	struct epoch_rec recs[8];
	struct rig r;

	rig_start(&r, 0);
	dirty_map_set(r.map, 4 * K, 4 * K);
	/* Blocks 2 and 3, not 4 to 7, and the first half of 8. */
	assert_int_equal(put(&r, WRITE_DATA, 2 * K, 6 * K + 2048), 0);
	assert_int_equal(put(&r, WRITE_DATA, 5 * K + 512, 512), 0);
	assert_int_equal(put(&r, WRITE_ZERO, 7 * K, 2 * K), 0);
	assert_int_equal(epoch_log_next(r.l, 0, recs, 8, MIB), 3);
	assert_true(recs[0].w.off == 2 * K && recs[0].w.len == 2 * K);
	assert_true(recs[1].w.off == 8 * K && recs[1].w.len == 2048);
	assert_ptr_not_equal(recs[1].w.data, NULL);
	assert_true(recs[2].w.off == 8 * K && recs[2].w.len == K);
	assert_true(dirty_map_count(r.map) == 4);
	epoch_log_get_stats(r.l, &st);
	assert_true(st.skipped == 4 * K + 512 + K);
	epoch_log_leave(r.l);
	assert_true(dirty_map_count(r.map) == 7);
	rig_stop(&r);
}

static void settling_forgets_just_its_epochs(void **state)
{
	struct rig r;

	rig_start(&r, 0);
	assert_int_equal(put(&r, WRITE_DATA, 0, 2 * K), 0);
	epoch_word_store(&r.word, 1);
	assert_int_equal(put(&r, WRITE_DATA, K, K), 0);
	epoch_word_store(&r.word, 2);
	assert_int_equal(put(&r, WRITE_DATA, 10 * K, K), 0);
	assert_true(epoch_log_behind(r.l) == 4 * K);
	end_and_settle(&r, 0);
	assert_true(epoch_log_behind(r.l) == 2 * K);
	/* Block 1 was written again in an epoch that is not settled. */
	epoch_log_leave(r.l);
	assert_false(epoch_log_streaming(r.l));
	assert_true(dirty_map_count(r.map) == 2);
	assert_true(dirty_map_all(r.map, K, K) && dirty_map_all(r.map, 10 * K, K));
	assert_true(epoch_log_epoch(r.l) == EPOCH_LOG_NONE);
	/* Alone: marked, and nothing is queued. */
	assert_int_equal(put(&r, WRITE_DISCARD, 20 * K, 512), 0);
	assert_int_equal(put(&r, WRITE_FLUSH, 0, 0), 0);
	assert_true(dirty_map_count(r.map) == 3);
	assert_int_equal(epoch_log_next(r.l, UINT64_MAX, NULL, 0, MIB), 0);
	assert_int_equal(epoch_log_begin(r.l, &r.word), 0);
	assert_int_equal(epoch_log_begin(r.l, &r.word), -EBUSY);
	rig_stop(&r);
}

static void a_full_queue_makes_writes_wait(void **state)
{
	struct epoch_log_stats st;
	struct epoch_rec rec;
	struct rig r;
	int n = 0;

	rig_start(&r, 0);
	while (put(&r, WRITE_DATA, (uint64_t)n * MIB, 128 * 1024) == 0)
		n++;
	assert_int_equal(n, 30); /* one longest record is kept for the end of the lap */
	assert_in_range(epoch_log_fill(r.l), 90, 100);
	assert_int_equal(put(&r, WRITE_DATA, 0, 128 * 1024), -EAGAIN);
	assert_true(epoch_log_deadline(r.l) == CLOCK_NEVER);
	epoch_log_poll(r.l, 1000);
	assert_true(epoch_log_deadline(r.l) == 1000 + STALL);
	epoch_log_poll(r.l, 1000 + STALL - 1);
	assert_int_equal(r.drops, 0);
	assert_int_equal(epoch_log_next(r.l, 0, &rec, 1, MIB), 1);
	assert_int_equal(r.wakes, 0);
	epoch_log_taken(r.l, 1);
	assert_int_equal(r.wakes, 1);
	assert_int_equal(put(&r, WRITE_DATA, 0, 128 * 1024), 0);
	assert_true(epoch_log_deadline(r.l) == CLOCK_NEVER);
	epoch_log_poll(r.l, 1000 + STALL);
	assert_int_equal(r.drops, 0);
	epoch_log_get_stats(r.l, &st);
	assert_true(st.refused == 2);
	rig_stop(&r);
}

/* Without room for too long it goes on alone, openly, and keeps every place. */
static void a_stall_leaves_the_stream(void **state)
{
	struct rig r;
	uint64_t n = 0;

	rig_start(&r, 0);
	while (put(&r, WRITE_DATA, n * MIB, 128 * 1024) == 0)
		n++;
	epoch_log_poll(r.l, 5);
	epoch_log_poll(r.l, 5 + STALL);
	assert_int_equal(r.drops, 1);
	assert_non_null(strstr(r.why, "500 ms"));
	assert_int_equal(r.wakes, 1);
	assert_false(epoch_log_streaming(r.l));
	assert_true(dirty_map_count(r.map) == n * 32);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(put(&r, WRITE_DATA, i * K, 128 * 1024), 0);
	assert_true(epoch_log_deadline(r.l) == CLOCK_NEVER);
	epoch_log_poll(r.l, CLOCK_NEVER - 1);
	assert_int_equal(r.drops, 1);
	rig_stop(&r);
}

static void extents_are_bounded_too(void **state)
{
	struct rig r;

	rig_start(&r, 8);
	epoch_word_store(&r.word, 1);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(put(&r, WRITE_DATA, i * 2 * K, K), 0);
	assert_int_equal(put(&r, WRITE_DATA, 40 * K, K), -EAGAIN);
	/* Sent does not help: only an epoch that is settled makes room. */
	epoch_word_store(&r.word, 2);
	take_all(&r, 1);
	assert_int_equal(put(&r, WRITE_DATA, 40 * K, K), -EAGAIN);
	assert_int_equal(r.wakes, 1);
	end_and_settle(&r, 1);
	assert_int_equal(r.wakes, 2);
	assert_int_equal(put(&r, WRITE_DATA, 40 * K, K), 0);
	assert_int_equal(put(&r, WRITE_DATA, 41 * K, K), 0);
	epoch_log_leave(r.l);
	assert_true(dirty_map_count(r.map) == 2);
	rig_stop(&r);
}

/* It lasts as long as the copy, and nothing is settled meanwhile. */
static void the_first_epoch_never_fills_the_table(void **state)
{
	struct rig r;

	rig_start(&r, 8);
	for (uint64_t i = 0; i < 500; i++) {
		assert_int_equal(put(&r, WRITE_DATA, i * 2 * K, K), 0);
		take_all(&r, 0);
	}
	assert_true(dirty_map_count(r.map) == 0);
	assert_true(epoch_log_behind(r.l) >= UINT64_C(500) * K);
	epoch_log_leave(r.l);
	assert_true(dirty_map_count(r.map) == 500);
	rig_stop(&r);
	/* Settled, it is forgotten. */
	rig_start(&r, 8);
	for (uint64_t i = 0; i < 500; i++) {
		assert_int_equal(put(&r, WRITE_DATA, i * 2 * K, K), 0);
		take_all(&r, 0);
	}
	epoch_word_store(&r.word, 1);
	end_and_settle(&r, 0);
	assert_true(epoch_log_behind(r.l) == 0);
	epoch_log_leave(r.l);
	assert_true(dirty_map_count(r.map) == 0);
	rig_stop(&r);
}

static void what_can_never_fit_leaves_at_once(void **state)
{
	struct rig r;

	rig_start(&r, 0);
	assert_int_equal(put(&r, WRITE_DATA, 0, 4 * MIB), 0);
	assert_int_equal(r.drops, 1);
	assert_int_equal(r.wakes, 0);
	assert_true(dirty_map_count(r.map) == 1024);
	rig_stop(&r);
}

static void a_word_that_cannot_be_followed(void **state)
{
	struct epoch_numbers numbers;
	uint64_t epoch;
	struct rig r;

	for (int how = 0; how < 4; how++) {
		rig_start(&r, 0);
		epoch_word_store(&r.word, 5);
		assert_int_equal(put(&r, WRITE_DATA, 0, K), 0);
		epoch_word_store(&r.word, how % 2 ? EPOCH_WORD_VOID : 4);
		if (how < 2) {
			assert_int_equal(put(&r, WRITE_DATA, 9 * K, K), 0);
			assert_true(dirty_map_count(r.map) == 2);
		} else {
			assert_int_equal(epoch_log_end(r.l, 4, &numbers), -ENOTCONN);
			assert_true(dirty_map_count(r.map) == 1);
		}
		assert_int_equal(r.drops, 1);
		assert_int_equal(epoch_log_add_sync(r.l, 0, (uint32_t)K, r.data, &epoch),
				 -ENOTCONN);
		if (how % 2)
			assert_int_equal(epoch_log_begin(r.l, &r.word), -EINVAL);
		rig_stop(&r);
	}
}

static void the_copier_has_half(void **state)
{
	struct epoch_rec recs[64];
	uint64_t epoch = 99;
	uint64_t n = 0;
	struct rig r;

	rig_start(&r, 0);
	dirty_map_set_all(r.map);
	epoch_word_store(&r.word, 3);
	while (epoch_log_add_sync(r.l, n * EPOCH_REC_MAX, EPOCH_REC_MAX, r.data, &epoch) == 0)
		n++;
	assert_true(n == 7 && epoch == 3);
	assert_false(epoch_log_sync_room(r.l, K));
	assert_true(dirty_map_count(r.map) == DISK / K - n * 64);
	/* Guest writes there are sent now, and find room. */
	assert_int_equal(put(&r, WRITE_DATA, 0, K), 0);
	assert_int_equal(epoch_log_next(r.l, 3, recs, 64, 64 * MIB), 8);
	assert_true(recs[6].sync && !recs[7].sync);
	epoch_log_leave(r.l);
	assert_true(dirty_map_count(r.map) == DISK / K);
	assert_int_equal(epoch_log_add_sync(r.l, 0, (uint32_t)K, r.data, &epoch), -ENOTCONN);
	rig_stop(&r);
}

static void flushes_travel_in_their_place(void **state)
{
	struct epoch_rec recs[8];
	struct rig r;

	rig_start(&r, 0);
	assert_int_equal(put(&r, WRITE_DATA, 0, K), 0);
	assert_int_equal(put(&r, WRITE_FLUSH, 0, 0), 0);
	assert_int_equal(put(&r, WRITE_DATA, K, K), 0);
	assert_int_equal(epoch_log_next(r.l, 0, recs, 8, MIB), 3);
	assert_int_equal(recs[1].w.op, WRITE_FLUSH);
	assert_true(recs[1].w.len == 0 && recs[1].w.off == 0);
	epoch_log_leave(r.l);
	assert_true(dirty_map_count(r.map) == 2);
	rig_stop(&r);
}

/* The wire's numbers for an op must not change unseen. */
static void counts_what_the_wire_says(void **state)
{
	static const uint8_t head[16] = {0, 16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 5};
	uint8_t bytes[16 + 512];
	struct write_req w = {.op = WRITE_DATA, .off = K, .len = 512, .data = bytes + 16};
	struct epoch_count c;

	memset(bytes, 9, sizeof(bytes));
	memcpy(bytes, head, sizeof(head));
	epoch_count_init(&c);
	epoch_count_add(&c, &w, true);
	assert_true(epoch_count_get(&c).digest == digest_of(bytes, sizeof(bytes)));
	bytes[12] = WRITE_DATA;
	epoch_count_init(&c);
	epoch_count_add(&c, &w, false);
	assert_true(epoch_count_get(&c).digest == digest_of(bytes, sizeof(bytes)));
	assert_int_equal(WRITE_DATA, 1);
	assert_int_equal(WRITE_ZERO, 2);
	assert_int_equal(WRITE_DISCARD, 3);
	assert_int_equal(WRITE_FLUSH, 4);
}

static void a_protected_guest_sees_no_disk_error(void **state)
{
	struct write_req w = {.op = WRITE_DATA, .off = 0, .len = 512};
	struct rig r;

	rig_start(&r, 0);
	assert_true(r.sink->ops->done(r.sink, &w, 0));
	assert_int_equal(r.failed, 0);
	assert_false(r.sink->ops->done(r.sink, &w, -EIO));
	assert_int_equal(r.failed, -EIO);
	assert_false(r.sink->ops->read_failed(r.sink, 0, 512, -ENODATA));
	assert_int_equal(r.failed, -ENODATA);
	epoch_log_leave(r.l);
	assert_true(r.sink->ops->done(r.sink, &w, -EIO));
	assert_true(r.sink->ops->read_failed(r.sink, 0, 512, -EIO));
	rig_stop(&r);
}

static void epochs_are_bounded(void **state)
{
	struct rig r;
	uint64_t n = 0;

	rig_start(&r, 0);
	for (n = 0; put(&r, WRITE_FLUSH, 0, 0) == 0; n++) {
		epoch_word_store(&r.word, n + 1);
		take_all(&r, n);
	}
	assert_true(n == 4096);
	assert_int_equal(put(&r, WRITE_DATA, 0, K), -EAGAIN);
	for (uint64_t i = 0; i < n; i++)
		end_and_settle(&r, i);
	assert_int_equal(put(&r, WRITE_DATA, 0, K), 0);
	rig_stop(&r);
}

static void refuses_and_fails_in_a_defined_way(void **state)
{
	struct epoch_log_conf conf = {.queue_bytes = EPOCH_LOG_QUEUE_MIN - 1};
	struct dirty_map *map = NULL;
	struct epoch_log *l = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(epoch_log_new(&l, &conf, &e), -EINVAL);
	conf.queue_bytes = EPOCH_LOG_QUEUE_MAX + 1;
	assert_int_equal(epoch_log_new(&l, &conf, &e), -EINVAL);
	conf.queue_bytes = EPOCH_LOG_QUEUE_MIN;
	assert_int_equal(dirty_map_new(&map, MIB, &e), 0);
	conf.map = map;
	for (long n = 0; !l; n++) {
		int rc;

		mem_fail_after(n);
		rc = epoch_log_new(&l, &conf, &e);
		mem_fail_after(MEM_NEVER);
		assert_true(l ? rc == 0 && n > 5 : rc == -ENOMEM);
	}
	epoch_log_free(l);
	epoch_log_free(NULL);
	dirty_map_free(map);
}

/* Laps of a ring of odd size, pieces of odd sizes. */
static void the_ring_wraps(void **state)
{
	struct data_ring ring;
	uint64_t ends[4] = {0};

	assert_int_equal(data_ring_init(&ring, 1000), 0);
	assert_false(data_ring_fits(&ring, 1001, 0));
	assert_false(data_ring_fits(&ring, 900, 101));
	assert_true(data_ring_fits(&ring, 0, 5000));
	for (uint64_t i = 0; i < 5000; i++) {
		uint64_t len = i * 7 % 150 + 1;
		uint8_t *p;

		if (i >= 4)
			data_ring_release(&ring, ends[i % 4]);
		assert_true(data_ring_fits(&ring, len, len));
		p = data_ring_take(&ring, len, &ends[i % 4]);
		memset(p, 1, len);
		assert_true(data_ring_used(&ring) <= 1000);
	}
	data_ring_fini(&ring);
	data_ring_fini(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_have_the_epoch_of_their_arrival),
		cmocka_unit_test(an_epoch_without_writes_has_numbers),
		cmocka_unit_test(splits_what_is_long_and_finds_zeroes),
		cmocka_unit_test(blocks_to_be_copied_are_not_sent),
		cmocka_unit_test(settling_forgets_just_its_epochs),
		cmocka_unit_test(a_full_queue_makes_writes_wait),
		cmocka_unit_test(a_stall_leaves_the_stream),
		cmocka_unit_test(extents_are_bounded_too),
		cmocka_unit_test(the_first_epoch_never_fills_the_table),
		cmocka_unit_test(what_can_never_fit_leaves_at_once),
		cmocka_unit_test(a_word_that_cannot_be_followed),
		cmocka_unit_test(the_copier_has_half),
		cmocka_unit_test(flushes_travel_in_their_place),
		cmocka_unit_test(counts_what_the_wire_says),
		cmocka_unit_test(a_protected_guest_sees_no_disk_error),
		cmocka_unit_test(epochs_are_bounded),
		cmocka_unit_test(refuses_and_fails_in_a_defined_way),
		cmocka_unit_test(the_ring_wraps),
	};

	return RUN_TESTS("epoch_log", tests);
}
