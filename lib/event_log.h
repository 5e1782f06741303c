/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes events without making anybody wait: event_log_put() copies into a bounded queue, a thread of its own does
 * what may block. A disk that is full or hangs costs events, which are counted in the next one that is written, and
 * nothing else. One thread puts (control); heartbeat and data threads never do.
 */
#ifndef LIB_EVENT_LOG_H
#define LIB_EVENT_LOG_H

#include <stdint.h>

#include "lib/compiler.h"
#include "lib/event.h"

struct err;
struct event_log;

#define EVENT_LOG_DEPTH 64
/* How long event_log_free() waits for what is queued: a disk that hangs keeps nobody from ending. */
#define EVENT_LOG_END_NS (UINT64_C(1000) * 1000 * 1000)
/* Between two copies of a live flight recorder: what flaps must not push out what was kept before. */
#define EVENT_LOG_FLIGHT_NS (UINT64_C(5) * 1000 * 1000 * 1000)

struct event_log_conf {
	const char *state_dir;
	const char *run_dir; /* where the flight recorders are */
	const char *host;
	const char *by; /* static: "primary", "backup", "romulusd" */
};

/* Starts the thread. conf's strings are copied. 0 or negative errno. */
MUST_CHECK int event_log_new(struct event_log **out, const struct event_log_conf *conf,
			     struct err *e);
/* Writes what is queued, as long as that takes less than EVENT_LOG_END_NS. NULL is a no-op. */
void event_log_free(struct event_log *l);

/* Never waits. When the queue is full the event is lost, and counted. l NULL: nobody writes events down. */
void event_log_put(struct event_log *l, const struct event *ev);
/* An event of now that is only a sentence. vm may be NULL. */
PRINTF(4, 5)
void event_log_say(struct event_log *l, const char *kind, const char *vm, const char *fmt, ...);

#endif
