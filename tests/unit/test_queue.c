/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/queue.h"

struct msg {
	uint64_t n;
	uint64_t check;
};

static bool readable(const struct queue *q, int ms)
{
	struct pollfd p = {.fd = queue_fd(q), .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

static void in_order_and_bounded(void **state)
{
	struct queue *q;
	struct msg m;

	assert_int_equal(queue_new(&q, sizeof(m), 3, NULL), 0);
	assert_false(queue_get(q, &m));
	assert_false(readable(q, 0));
	/* Often enough to go around the ring. */
	for (uint64_t base = 0; base < 10; base++) {
		for (uint64_t i = 0; i < 3; i++) {
			m.n = base + i;
			assert_true(queue_put(q, &m));
			assert_int_equal(queue_depth(q), i + 1);
		}
		m.n = 99;
		assert_false(queue_put(q, &m));
		assert_true(readable(q, 0));
		for (uint64_t i = 0; i < 3; i++) {
			assert_true(queue_get(q, &m));
			assert_int_equal(m.n, base + i);
		}
		assert_false(queue_get(q, &m));
		assert_false(readable(q, 0));
	}
	queue_free(q);
	queue_free(NULL);
}

#define MANY 200000
#define LIMIT_NS (60 * NS_PER_SEC)

static void *producer(void *arg)
{
	struct queue *q = arg;
	uint64_t deadline = clock_now() + LIMIT_NS;

	for (uint64_t i = 0; i < MANY && clock_now() < deadline;) {
		struct msg m = {.n = i, .check = ~i};

		if (queue_put(q, &m))
			i++;
		else
			sched_yield();
	}
	return NULL;
}

/* Every message arrives once, whole and in order, and no wake-up is lost. */
static void two_threads(void **state)
{
	uint64_t next = 0;
	struct queue *q;
	pthread_t thread;

	assert_int_equal(queue_new(&q, sizeof(struct msg), 7, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, producer, q), 0);
	while (next < MANY) {
		struct msg m;

		assert_true(readable(q, 60000));
		while (queue_get(q, &m)) {
			assert_int_equal(m.n, next);
			assert_int_equal(m.check, ~next);
			next++;
		}
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(readable(q, 0) && queue_depth(q));
	queue_free(q);
}

static void bad_sizes(void **state)
{
	struct queue *q;

	assert_int_equal(queue_new(&q, 0, 1, NULL), -EINVAL);
	assert_int_equal(queue_new(&q, 4097, 1, NULL), -EINVAL);
	assert_int_equal(queue_new(&q, 8, 0, NULL), -EINVAL);
	assert_int_equal(queue_new(&q, 8, 65537, NULL), -EINVAL);
}

static void no_memory(void **state)
{
	for (long n = 0; n < 2; n++) {
		struct queue *q = NULL;
		struct err e = ERR_INIT;

		mem_fail_after(n);
		assert_int_equal(queue_new(&q, 8, 4, &e), -ENOMEM);
		mem_fail_after(MEM_NEVER);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_and_bounded),
		cmocka_unit_test(two_threads),
		cmocka_unit_test(bad_sizes),
		cmocka_unit_test(no_memory),
	};

	return RUN_TESTS("queue", tests);
}
