/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes to the sink and the disk when, and what is answered. Real clients and disks: tests/nbd-clients. */
#include "tests/lib/block_world.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"

static void each_type(void **state)
{
	struct world *w = *state;

	bw_ask_write(w, 1, 4096, 8192);
	assert_int_equal(w->disk.n, 1);
	assert_int_equal(w->admitted, 1);
	assert_int_equal(w->last.op, WRITE_DATA);
	assert_false(w->last.fua);
	assert_memory_equal(w->last.data, w->data, 8192);
	assert_true(bw_is_silent(w));
	bw_finish(w, 0, 0);
	bw_expect(w, 1, NBDWIRE_OK);
	assert_int_equal(w->disk.data[4095], 0);
	assert_int_equal(w->disk.data[4096], 1);

	bw_ask(w, NBDWIRE_READ, 2, 4096, 8192);
	assert_int_equal(w->admitted, 1); /* reads are none of the sink's business */
	bw_finish(w, 0, 0);
	bw_expect(w, 2, NBDWIRE_OK);
	bw_hear(w, w->data + BIG, 8192);
	assert_memory_equal(w->data + BIG, w->data, 8192);

	bw_ask(w, WITH_FUA(NBDWIRE_ZEROES), 3, 0, 6 * MIB);
	assert_int_equal(w->last.op, WRITE_ZERO);
	assert_true(w->last.fua && w->disk.req[0]->fua);
	assert_null(w->last.data);
	bw_finish(w, 0, 0);
	bw_expect(w, 3, NBDWIRE_OK);
	assert_int_equal(w->disk.data[4096], 0);

	bw_ask(w, NBDWIRE_TRIM, 4, 512, 512);
	assert_int_equal(w->last.op, WRITE_DISCARD);
	bw_finish(w, 0, 0);
	bw_expect(w, 4, NBDWIRE_OK);

	bw_ask(w, WITH_FUA(NBDWIRE_FLUSH), 5, 0, 0);
	assert_int_equal(w->last.op, WRITE_FLUSH);
	assert_false(w->last.fua);
	assert_int_equal(w->disk.req[0]->op, BLK_FLUSH);
	bw_finish(w, 0, 0);
	bw_expect(w, 5, NBDWIRE_OK);
	assert_int_equal(w->done, w->admitted);
}

static void answers_as_they_come(void **state)
{
	struct world *w = *state;

	for (uint64_t i = 0; i < 3; i++)
		bw_ask_write(w, i, i * 512, 512);
	bw_finish(w, 2, 0);
	bw_expect(w, 2, NBDWIRE_OK);
	bw_finish(w, 0, -ENOSPC);
	bw_expect(w, 0, NBDWIRE_ENOSPC);
	bw_finish(w, 0, -EREMOTEIO);
	bw_expect(w, 1, NBDWIRE_EIO);
	assert_int_equal(block_server_stats(w->server)->errors, 2);
	assert_int_equal(block_server_stats(w->server)->writes, 3);
}

static void overlapping_writes(void **state)
{
	struct world *w = *state;

	bw_ask_write(w, 1, 0, 1024);
	bw_ask_write(w, 2, 512, 1024);
	bw_ask_write(w, 3, 4096, 512);
	bw_ask(w, NBDWIRE_TRIM, 4, 1024, 512);
	assert_int_equal(w->disk.n, 2); /* 1 and 3 */
	assert_int_equal(w->admitted, 2);
	assert_int_equal(block_server_stats(w->server)->blocked, 2);
	bw_ask(w, NBDWIRE_READ, 5, 0, 4096); /* a read waits for nobody */
	assert_int_equal(w->disk.n, 3);
	bw_finish(w, 0, 0);
	bw_expect(w, 1, NBDWIRE_OK);
	assert_int_equal(w->admitted, 3);
	assert_int_equal(w->last.off, 512);
	bw_finish(w, 2, -EIO); /* a failed one frees its range, too */
	bw_expect(w, 2, NBDWIRE_EIO);
	assert_int_equal(w->admitted, 4);
	assert_int_equal(w->last.op, WRITE_DISCARD);
}

static void sink_is_full(void **state)
{
	struct world *w = *state;

	w->full = true;
	bw_ask_write(w, 1, 0, 512);
	bw_ask_write(w, 2, 512, 512);
	bw_ask(w, NBDWIRE_FLUSH, 3, 0, 0);
	bw_ask(w, NBDWIRE_READ, 4, 0, 512);
	assert_int_equal(w->disk.n, 1);
	bw_finish(w, 0, 0);
	bw_expect(w, 4, NBDWIRE_OK);
	bw_hear(w, w->data, 512);
	assert_int_equal(block_server_stats(w->server)->waiting, 3);
	w->full = false;
	bw_run(w); /* nobody woke it */
	assert_int_equal(w->disk.n, 0);
	block_server_wake(w->server);
	bw_run(w);
	assert_int_equal(w->disk.n, 3);
	assert_int_equal(w->order[0], 0);
	assert_int_equal(w->order[1], 512);
	assert_int_equal(w->last.op, WRITE_FLUSH);
}

static void back_pressure(void **state)
{
	struct world *w = *state;
	unsigned int answered = 0;

	w->full = true;
	for (unsigned int i = 0; i < 200; i++)
		bw_ask_write(w, i, i * 512, 512);
	assert_int_equal(block_server_stats(w->server)->waiting, BLOCK_KERNEL_PLACES);
	w->full = false;
	block_server_wake(w->server);
	bw_run(w);
	assert_int_equal(w->disk.n, BLOCK_KERNEL_PLACES);
	while (w->disk.n) {
		bw_finish(w, 0, 0);
		bw_expect(w, answered++, NBDWIRE_OK);
		bw_run(w);
	}
	assert_int_equal(answered, 200);
	for (unsigned int i = 0; i < 200; i++)
		assert_int_equal(w->order[i], i * 512);
	assert_int_equal(w->disk.data[199 * 512], 199);
}

static void out_of_buffers(void **state)
{
	struct world *w = *state;

	for (unsigned int i = 0; i < 30; i++)
		bw_ask(w, NBDWIRE_READ, i, 0, BIG);
	assert_true(w->disk.n > 0 && w->disk.n < 30);
	for (unsigned int i = 0; i < 30; i++) {
		bw_finish(w, 0, 0);
		bw_expect(w, i, NBDWIRE_OK);
		bw_hear(w, w->data, BIG);
	}
}

static void disk_is_full(void **state)
{
	struct world *w = *state;

	w->disk.dev.depth = 2;
	for (unsigned int i = 0; i < 5; i++)
		bw_ask_write(w, i, i * 512, 512);
	assert_int_equal(w->disk.n, 2);
	assert_int_equal(w->admitted, 5);
	for (unsigned int i = 0; i < 5; i++) {
		bw_finish(w, 0, 0);
		bw_expect(w, i, NBDWIRE_OK);
	}
}

static void held(void **state)
{
	struct world *w = *state;

	w->hold = true;
	bw_ask_write(w, 1, 0, 512);
	bw_finish(w, 0, -EIO);
	assert_int_equal(w->last_rc, -EIO);
	bw_ask(w, NBDWIRE_READ, 2, 0, 512);
	bw_finish(w, 0, -EIO);
	bw_ask(w, NBDWIRE_READ, 3, 0, 512);
	bw_finish(w, 0, 0); /* a read that went well is nobody's business */
	bw_expect(w, 3, NBDWIRE_OK);
	bw_hear(w, w->data, 512);
	assert_true(bw_is_silent(w));
	assert_int_equal(block_server_stats(w->server)->held, 2);
	w->hold = false;
	bw_ask_write(w, 4, 0, 512); /* its range is free */
	bw_finish(w, 0, 0);
	bw_expect(w, 4, NBDWIRE_OK);
	block_server_answer_held(w->server);
	bw_run(w);
	bw_expect(w, 1, NBDWIRE_EIO);
	bw_expect(w, 2, NBDWIRE_EIO);
	assert_int_equal(block_server_stats(w->server)->held, 0);
}

static void parked(void **state)
{
	struct world *w = *state;

	block_server_park(w->server, true);
	bw_ask_write(w, 1, 0, 512);
	bw_ask(w, NBDWIRE_READ, 2, 0, 512);
	bw_ask(w, NBDWIRE_FLUSH, 3, 0, 0);
	bw_ask(w, NBDWIRE_READ, 4, 5, 512); /* nonsense is told at once */
	bw_expect(w, 4, NBDWIRE_EINVAL);
	assert_int_equal(w->disk.n, 0);
	assert_int_equal(w->admitted, 0);
	assert_int_equal(block_server_stats(w->server)->parked, 3);
	block_server_park(w->server, false);
	bw_run(w);
	assert_int_equal(w->disk.n, 3);
	assert_int_equal(w->disk.req[0]->op, BLK_WRITE);
	assert_int_equal(w->disk.req[2]->op, BLK_FLUSH);
}

static void disconnect(void **state)
{
	struct world *w = *state;

	bw_ask_write(w, 1, 0, 512);
	bw_ask_write(w, 2, 0, 512);
	bw_ask(w, NBDWIRE_DISC, 3, 0, 0);
	assert_true(bw_is_silent(w));
	bw_finish(w, 0, 0);
	bw_expect(w, 1, NBDWIRE_OK);
	bw_finish(w, 0, 0);
	bw_expect(w, 2, NBDWIRE_OK);
	assert_true(bw_is_closed(w));
	assert_int_equal(w->gone, 1);
	assert_true(w->gone_asked);
}

static void death(void **state)
{
	struct world *w = *state;

	bw_ask_write(w, 1, 0, 512);
	bw_ask_write(w, 2, 0, 512); /* blocked */
	bw_ask_write(w, 3, 256 * 512, 512);
	bw_ask(w, NBDWIRE_READ, 4, 0, 512);
	w->full = true;
	bw_ask_write(w, 5, 1024, 512); /* waits for the sink */
	bw_ask_write(w, 6, 1024, 512); /* blocked by it */
	w->full = false;
	bw_ask(w, NBDWIRE_WRITE, 7, 8192, 4096); /* its data never comes */
	bw_hang_up(w);
	bw_run(w);
	assert_int_equal(w->admitted, 2);
	assert_int_equal(w->gone, 0);
	assert_int_equal(block_server_add_kernel_take(w->server, dup(0)), -EBUSY);
	assert_int_equal(w->disk.n, 3);
	bw_finish(w, 0, 0);
	bw_finish(w, 0, 0);
	assert_int_equal(w->gone, 0);
	bw_finish(w, 0, 0);
	assert_int_equal(w->admitted, 2);
	assert_int_equal(w->done, 2);
	assert_int_equal(w->gone, 1);
	assert_false(w->gone_asked);
	assert_int_equal(block_server_stats(w->server)->in_flight, 0);
	bw_connect_kernel(w);
	bw_ask_write(w, 2, 0, 512);
	bw_finish(w, 0, 0);
	bw_expect(w, 2, NBDWIRE_OK);
}

static void death_with_answers_left(void **state)
{
	struct world *w = *state;

	w->hold = true;
	bw_ask_write(w, 1, 0, 512);
	bw_finish(w, 0, -EIO);
	w->hold = false;
	for (unsigned int i = 0; i < 12; i++)
		bw_ask(w, NBDWIRE_READ, i, 0, BIG);
	while (w->disk.n)
		bw_finish(w, 0, 0);
	bw_hang_up(w);
	bw_run(w);
	assert_int_equal(w->gone, 1);
	block_server_answer_held(w->server);
	bw_run(w);
	bw_connect_kernel(w);
	bw_ask(w, NBDWIRE_READ, 1, 0, 512);
	bw_finish(w, 0, 0);
	bw_expect(w, 1, NBDWIRE_OK);
}

static void stop(void **state)
{
	struct world *w = *state;

	bw_ask_write(w, 1, 0, 512);
	bw_ask_write(w, 2, 0, 512);
	w->full = true;
	bw_ask_write(w, 3, 8192, 512);
	block_server_stop(w->server);
	bw_run(w);
	assert_false(block_server_idle(w->server));
	bw_finish(w, 0, 0);
	assert_true(block_server_idle(w->server));
	bw_expect(w, 1, NBDWIRE_OK);
	assert_true(bw_is_closed(w));
	assert_int_equal(w->admitted, 1);
	assert_int_equal(block_server_add_kernel_take(w->server, dup(0)), -EBUSY);
}

static void no_memory(void **state)
{
	struct world *w = *state;
	const struct block_server_conf c = {.name = "web", .for_kernel = true, .blk = &w->disk.dev};

	for (long n = 0; n < 5; n++) {
		struct block_server *s = NULL;
		struct err e = ERR_INIT;
		int rc;

		mem_fail_after(n);
		rc = block_server_new(&c, &s, &e);
		mem_fail_after(MEM_NEVER);
		assert_int_equal(rc, -ENOMEM);
		assert_null(s);
	}
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, bw_begin, bw_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(each_type),
		IN_WORLD(answers_as_they_come),
		IN_WORLD(overlapping_writes),
		IN_WORLD(sink_is_full),
		IN_WORLD(back_pressure),
		IN_WORLD(out_of_buffers),
		IN_WORLD(disk_is_full),
		IN_WORLD(held),
		IN_WORLD(parked),
		IN_WORLD(disconnect),
		IN_WORLD(death),
		IN_WORLD(death_with_answers_left),
		IN_WORLD(stop),
		IN_WORLD(no_memory),
	};

	log_set_fd(-1);
	return RUN_TESTS("block_server", tests);
}
