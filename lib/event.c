/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See event.h. */
#include "lib/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/json_out.h"

uint64_t event_now(void)
{
	struct timespec ts;
	int r = clock_gettime(CLOCK_REALTIME, &ts);

	assert(r == 0);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / NS_PER_US;
}

void event_begin(struct event *ev, const char *kind, const char *vm, uint64_t now, uint64_t wall_us)
{
	/* Not all of it: an event is large, and most of its facts stay empty. */
	ev->at_ns = now;
	ev->wall_us = wall_us;
	ev->text[0] = '\0';
	ev->flight = EVENT_NO_FLIGHT;
	ev->n_facts = 0;
	snprintf(ev->vm, sizeof(ev->vm), "%s", vm ? vm : "");
	snprintf(ev->kind, sizeof(ev->kind), "%s", kind);
}

uint64_t event_wall_us(const struct event *ev, uint64_t at_ns)
{
	uint64_t away_us = (at_ns > ev->at_ns ? at_ns - ev->at_ns : ev->at_ns - at_ns) / NS_PER_US;

	if (at_ns > ev->at_ns)
		return ev->wall_us + away_us;
	return clock_until(ev->wall_us, away_us);
}

const char *event_time(uint64_t wall_us, char buf[EVENT_TIME_SIZE])
{
	time_t s = (time_t)(wall_us / 1000000);
	struct tm tm;

	/* A year of more than four digits is nobody's clock. */
	if (wall_us / 1000000 > INT64_C(253402300799) || !gmtime_r(&s, &tm))
		tm = (struct tm){.tm_mday = 1, .tm_year = 70};
	snprintf(buf, EVENT_TIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
		 (unsigned int)(tm.tm_year + 1900) % 10000, (unsigned int)(tm.tm_mon + 1) % 100,
		 (unsigned int)tm.tm_mday % 100, (unsigned int)tm.tm_hour % 100,
		 (unsigned int)tm.tm_min % 100, (unsigned int)tm.tm_sec % 100,
		 (unsigned int)(wall_us % 1000000));
	return buf;
}

void event_say(struct event *ev, const char *fmt, ...)
{
	size_t used = strlen(ev->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ev->text + used, sizeof(ev->text) - used, fmt, ap);
	va_end(ap);
}

static struct event_fact *new_fact(struct event *ev, const char *key)
{
	struct event_fact *f;

	if (ev->n_facts == EVENT_FACTS)
		return NULL;
	f = &ev->fact[ev->n_facts++];
	f->key = key;
	f->is_text = false;
	f->n = 0;
	f->text[0] = '\0';
	return f;
}

void event_fact(struct event *ev, const char *key, uint64_t n)
{
	struct event_fact *f = new_fact(ev, key);

	if (f)
		f->n = n;
}

void event_fact_text(struct event *ev, const char *key, const char *text)
{
	struct event_fact *f = new_fact(ev, key);

	if (!f)
		return;
	f->is_text = true;
	snprintf(f->text, sizeof(f->text), "%s", text);
}

void event_fact_at(struct event *ev, const char *key, uint64_t at_ns)
{
	char time[EVENT_TIME_SIZE];

	if (at_ns)
		event_fact_text(ev, key, event_time(event_wall_us(ev, at_ns), time));
}

static void put_facts(struct json *j, const struct event *ev)
{
	for (unsigned int i = 0; i < ev->n_facts; i++) {
		const struct event_fact *f = &ev->fact[i];

		if (f->is_text)
			json_out_text(j, f->key, f->text);
		else
			json_out_u64(j, f->key, f->n);
	}
}

int event_line(const struct event *ev, const struct event_writer *by, char buf[EVENT_LINE_SIZE])
{
	struct json *j = json_out_new();
	char time[EVENT_TIME_SIZE];
	const char *line;
	int rc = -ENOMEM;
	size_t len = 0;

	json_out_text(j, "time", event_time(ev->wall_us, time));
	json_out_u64(j, "wall_us", ev->wall_us);
	json_out_u64(j, "boot_us", ev->at_ns / NS_PER_US);
	json_out_text(j, "host", by->host);
	if (ev->vm[0])
		json_out_text(j, "vm", ev->vm);
	json_out_text(j, "by", by->by);
	json_out_u64(j, "pid", by->pid);
	json_out_text(j, "event", ev->kind);
	json_out_text(j, "text", ev->text);
	put_facts(json_out_object(j, "evidence"), ev);
	if (by->flight && *by->flight)
		json_out_text(j, "flight", by->flight);
	if (by->lost)
		json_out_u64(j, "lost_before", by->lost);
	line = j ? json_out_line(j, &len) : NULL;
	if (line && len + 2 > EVENT_LINE_SIZE) {
		rc = -EMSGSIZE;
	} else if (line) {
		memcpy(buf, line, len);
		memcpy(buf + len, "\n", 2);
		rc = (int)len + 1;
	}
	json_out_free(j);
	return rc;
}
