/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bounded queue of fixed-size messages from one thread to one other, with a descriptor to wait
 * on. How the threads of a worker talk; besides the heartbeat's published words the only place
 * with atomics.
 *
 * Exactly one thread puts and one gets, at any time; neither ever waits or allocates.
 */
#ifndef LIB_QUEUE_H
#define LIB_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;
struct queue;

/* Room for capacity messages (1 to 65536) of size bytes each (1 to 4096). 0, -EINVAL, -ENOMEM, ... */
MUST_CHECK int queue_new(struct queue **out, size_t size, unsigned int capacity, struct err *e);
/* When both threads are done with it. NULL is a no-op. */
void queue_free(struct queue *q);

/* The producer. Copies *msg; false when the queue is full, then nothing happened. */
MUST_CHECK bool queue_put(struct queue *q, const void *msg);

/*
 * The consumer. Copies the oldest message; false when there is none, and only then the descriptor
 * stops being readable: get until false, then poll.
 */
MUST_CHECK bool queue_get(struct queue *q, void *msg);
/* Readable when there is something to get; also when there was. Owned by q; poll only. */
int queue_fd(const struct queue *q);

/* Any thread: how many messages wait, a moment ago. */
unsigned int queue_depth(const struct queue *q);

#endif
