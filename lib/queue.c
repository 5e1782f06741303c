/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See queue.h. */
#include "lib/queue.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/mem.h"

#define MAX_SIZE 4096
#define MAX_CAPACITY 65536
#define CACHE_LINE 64

struct queue {
	size_t size;
	unsigned int capacity;
	int event;
	uint8_t *slots;
	/*
	 * How many were ever put and got. Each is written by one thread only; they wrap, and
	 * their difference is what waits. The release of one side hands the slot's bytes to the
	 * acquire of the other.
	 */
	uint8_t away_from_the_consumer[CACHE_LINE];
	atomic_uint put;
	unsigned int put_at; /* slot of the next put; the producer's */
	uint8_t away_from_the_producer[CACHE_LINE];
	atomic_uint got;
	unsigned int got_at; /* the consumer's */
};

int queue_new(struct queue **out, size_t size, unsigned int capacity, struct err *e)
{
	autofree uint8_t *slots = NULL;
	autofd event = -1;
	struct queue *q;

	if (!size || size > MAX_SIZE || !capacity || capacity > MAX_CAPACITY)
		return err_setx(e, -EINVAL, "a queue of %u messages of %zu bytes", capacity, size);
	slots = mem_array(capacity, size);
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event < 0)
		return err_set(e, -errno, "eventfd");
	q = mem_zalloc(sizeof(*q));
	if (!q || !slots) {
		mem_free(q);
		return err_set(e, -ENOMEM, "queue");
	}
	q->size = size;
	q->capacity = capacity;
	q->event = take_fd(&event);
	q->slots = take_ptr(&slots);
	atomic_init(&q->put, 0);
	atomic_init(&q->got, 0);
	*out = q;
	return 0;
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	close(q->event);
	mem_free(q->slots);
	mem_free(q);
}

bool queue_put(struct queue *q, const void *msg)
{
	unsigned int put = atomic_load_explicit(&q->put, memory_order_relaxed);
	unsigned int got = atomic_load_explicit(&q->got, memory_order_acquire);
	uint64_t one = 1;

	if (put - got == q->capacity)
		return false;
	memcpy(q->slots + q->put_at * q->size, msg, q->size);
	q->put_at = q->put_at + 1 == q->capacity ? 0 : q->put_at + 1;
	atomic_store_explicit(&q->put, put + 1, memory_order_release);
	/* EAGAIN: the count is at its maximum, so the descriptor is readable anyhow. */
	if (write(q->event, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
	return true;
}

static bool take(struct queue *q, void *msg)
{
	unsigned int got = atomic_load_explicit(&q->got, memory_order_relaxed);
	unsigned int put = atomic_load_explicit(&q->put, memory_order_acquire);

	if (put == got)
		return false;
	memcpy(msg, q->slots + q->got_at * q->size, q->size);
	q->got_at = q->got_at + 1 == q->capacity ? 0 : q->got_at + 1;
	atomic_store_explicit(&q->got, got + 1, memory_order_release);
	return true;
}

bool queue_get(struct queue *q, void *msg)
{
	uint64_t count;

	if (take(q, msg))
		return true;
	/* Clear first, then look again: a put in between sets the descriptor anew or is seen now. */
	if (read(q->event, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
	return take(q, msg);
}

int queue_fd(const struct queue *q)
{
	return q->event;
}

unsigned int queue_depth(const struct queue *q)
{
	/* got first: it never passes put, so the difference does not go below 0. */
	unsigned int got = atomic_load_explicit(&q->got, memory_order_acquire);
	unsigned int put = atomic_load_explicit(&q->put, memory_order_acquire);

	return MIN(put - got, q->capacity);
}
