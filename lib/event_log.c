/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See event_log.h. */
#include "lib/event_log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/event_file.h"
#include "lib/flight.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/queue.h"

#define STACK_SIZE ((size_t)512 << 10)

/* What the queue carries. `lost` are those that did not fit before. */
struct item {
	uint64_t lost;
	struct event ev;
};
static_assert(sizeof(struct item) <= 4096, "a queue's message");

struct event_log {
	struct event_log_conf conf;
	char state_dir[256];
	char run_dir[256];
	char host[NAME_SIZE];
	struct queue *queue;
	int stop_fd; /* readable: write what there is, and end */
	int done_fd; /* readable: it has */
	pthread_t thread;

	uint64_t dropped; /* the producer's: did not fit since the last that did */
	struct item put;  /* the producer's: too large for a stack's frame to be copied twice */
	struct item item; /* the thread's, all of them */
	uint64_t unwritten;
	uint64_t flight_ns; /* when a live recorder was kept last; 0 never */
	struct event_file file;
	char line[EVENT_LINE_SIZE];
};

/* path is empty unless it was kept. */
static void keep_flight(struct event_log *l, char path[FLIGHT_PATH_SIZE])
{
	const struct event *ev = &l->item.ev;
	bool old = ev->flight == EVENT_FLIGHT_OLD;
	const struct flight_place to = {l->state_dir, ev->vm, l->conf.by};
	char live[FLIGHT_PATH_SIZE], from[FLIGHT_PATH_SIZE + 8];
	struct err e = ERR_INIT;
	int rc;

	*path = '\0';
	if (ev->flight == EVENT_NO_FLIGHT ||
	    (!old && l->flight_ns && clock_until(ev->at_ns, l->flight_ns) < EVENT_LOG_FLIGHT_NS))
		return;
	rc = flight_path(live, l->run_dir, ev->vm, l->conf.by, &e);
	snprintf(from, sizeof(from), "%s%s", live, old ? ".old" : "");
	if (!rc)
		rc = flight_keep(&to, from, ev->wall_us, path, &e);
	if (rc < 0) {
		*path = '\0';
		log_limited(LOG_AT_WARN, "the flight recorder is not kept: %s", e.text);
	} else if (!old) {
		l->flight_ns = ev->at_ns;
	}
	if (old)
		(void)unlink(from);
}

static void write_item(struct event_log *l)
{
	char flight[FLIGHT_PATH_SIZE];
	const struct event_writer by = {
		.host = l->host,
		.by = l->conf.by,
		.pid = (uint32_t)getpid(),
		.lost = l->unwritten + l->item.lost,
		.flight = flight,
	};
	struct err e = ERR_INIT;
	int n;
	int rc;

	keep_flight(l, flight);
	n = event_line(&l->item.ev, &by, l->line);
	rc = n < 0 ? err_set(&e, n, "event \"%s\"", l->item.ev.kind)
		   : event_file_append(&l->file, l->line, (size_t)n, &e);

	if (rc == 0) {
		l->unwritten = 0;
		return;
	}
	l->unwritten += l->item.lost + 1;
	log_limited(LOG_AT_WARN, "an event is not written down: %s", e.text);
}

static void write_all(struct event_log *l)
{
	struct err e = ERR_INIT;
	bool any = false;

	while (queue_get(l->queue, &l->item)) {
		write_item(l);
		any = true;
	}
	if (any && event_file_sync(&l->file, &e) < 0)
		log_limited(LOG_AT_WARN, "events: %s", e.text);
}

static void raise_fd(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		die("eventfd: %s", strerrordesc_np(errno));
}

static void *run(void *arg)
{
	struct event_log *l = arg;
	struct pollfd p[2] = {{.fd = queue_fd(l->queue), .events = POLLIN},
			      {.fd = l->stop_fd, .events = POLLIN}};

	do {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			die("poll: %s", strerrordesc_np(errno));
		write_all(l);
	} while (!(p[1].revents & POLLIN));
	/* What came between the last look and the word to stop. */
	write_all(l);
	raise_fd(l->done_fd);
	return NULL;
}

static int start(struct event_log *l, struct err *e)
{
	pthread_attr_t attr;
	sigset_t all;
	sigset_t old;
	int r = pthread_attr_init(&attr);

	if (r)
		return err_set(e, -r, "thread for events");
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* A worker locks its memory, a thread's stack and all. */
	r = pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (!r)
		r = pthread_create(&l->thread, &attr, run, l);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r ? err_set(e, -r, "thread for events") : 0;
}

static void destroy(struct event_log *l)
{
	event_file_fini(&l->file);
	queue_free(l->queue);
	if (l->stop_fd >= 0)
		close(l->stop_fd);
	if (l->done_fd >= 0)
		close(l->done_fd);
	mem_free(l);
}

int event_log_new(struct event_log **out, const struct event_log_conf *conf, struct err *e)
{
	struct event_log *l = mem_zalloc(sizeof(*l));
	int rc;

	if (!l)
		return err_set(e, -ENOMEM, "event log");
	l->file.fd = -1;
	l->conf = *conf;
	snprintf(l->state_dir, sizeof(l->state_dir), "%s", conf->state_dir);
	snprintf(l->run_dir, sizeof(l->run_dir), "%s", conf->run_dir);
	snprintf(l->host, sizeof(l->host), "%s", conf->host);
	l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = l->stop_fd < 0 || l->done_fd < 0
		     ? err_set(e, -errno, "event log")
		     : queue_new(&l->queue, sizeof(struct item), EVENT_LOG_DEPTH, e);
	if (!rc)
		rc = event_file_init(&l->file, l->state_dir, e);
	if (!rc)
		rc = start(l, e);
	if (rc < 0) {
		destroy(l);
		return rc;
	}
	*out = l;
	return 0;
}

void event_log_free(struct event_log *l)
{
	struct pollfd p = {.events = POLLIN};
	int r;

	if (!l)
		return;
	raise_fd(l->stop_fd);
	p.fd = l->done_fd;
	do {
		r = poll(&p, 1, clock_poll_ms(EVENT_LOG_END_NS));
	} while (r < 0 && errno == EINTR);
	if (r > 0) {
		pthread_join(l->thread, NULL);
		destroy(l);
		return;
	}
	/* It sits in a system call. What it uses stays; the process ends soon. */
	log_warn("the disk does not take events in time; some are lost");
	pthread_detach(l->thread);
}

void event_log_put(struct event_log *l, const struct event *ev)
{
	if (!l)
		return;
	l->put.lost = l->dropped;
	l->put.ev = *ev;
	if (queue_put(l->queue, &l->put))
		l->dropped = 0;
	else
		l->dropped++;
}

void event_log_say(struct event_log *l, const char *kind, const char *vm, const char *fmt, ...)
{
	struct event ev;
	va_list ap;

	event_begin(&ev, kind, vm, clock_now(), event_now());
	va_start(ap, fmt);
	vsnprintf(ev.text, sizeof(ev.text), fmt, ap);
	va_end(ap);
	event_log_put(l, &ev);
}
