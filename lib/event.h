/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thing that happened on this host, why, and on which evidence it was decided: for people who ask afterwards.
 * A fixed size, so that filling one in cannot fail; what does not fit is cut or left out. Pure, but for
 * event_now(). docs/events.md has the kinds and the form of a line.
 */
#ifndef LIB_EVENT_H
#define LIB_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"

#define EVENT_KIND_SIZE 32
#define EVENT_TEXT_SIZE 512
#define EVENT_VALUE_SIZE 96
#define EVENT_FACTS 20
/* Of a line in the file, with its newline. */
#define EVENT_LINE_SIZE 8192
/* "2026-11-26T12:00:00.123456Z" and a 0. */
#define EVENT_TIME_SIZE 32

struct event_fact {
	const char *key; /* static */
	bool is_text;
	uint64_t n;
	char text[EVENT_VALUE_SIZE];
};

/* Of which flight recorder a copy is to be kept with an event. */
enum event_flight {
	EVENT_NO_FLIGHT,
	EVENT_FLIGHT,	  /* of the VM and side */
	EVENT_FLIGHT_OLD, /* ... which an earlier worker left */
};

struct event {
	uint64_t at_ns;	    /* CLOCK_BOOTTIME */
	uint64_t wall_us;   /* the same instant by the wall clock, since 1970; for people only */
	char vm[NAME_SIZE]; /* empty: of the host as a whole */
	char kind[EVENT_KIND_SIZE];
	char text[EVENT_TEXT_SIZE]; /* a sentence or two */
	enum event_flight flight;
	unsigned int n_facts;
	struct event_fact fact[EVENT_FACTS];
};

/* An empty event of this instant. vm may be NULL. */
void event_begin(struct event *ev, const char *kind, const char *vm, uint64_t now,
		 uint64_t wall_us);
/* The wall clock, microseconds since 1970. */
uint64_t event_now(void);
/* What the wall clock showed at an instant of CLOCK_BOOTTIME, as far as the event's own two say. */
uint64_t event_wall_us(const struct event *ev, uint64_t at_ns);
/* In UTC, ISO 8601. Returns buf. */
const char *event_time(uint64_t wall_us, char buf[EVENT_TIME_SIZE]);

/* Appended to what it says already. */
PRINTF(2, 3) void event_say(struct event *ev, const char *fmt, ...);
/* key is static. A fact beyond EVENT_FACTS is left out. */
void event_fact(struct event *ev, const char *key, uint64_t n);
void event_fact_text(struct event *ev, const char *key, const char *text);
/* An instant of CLOCK_BOOTTIME, written as wall clock time; 0 is left out. */
void event_fact_at(struct event *ev, const char *key, uint64_t at_ns);

/* Who writes it down. */
struct event_writer {
	const char *host;
	const char *by; /* "primary", "backup", "romulusd" */
	uint32_t pid;
	uint64_t lost;	    /* events that could not be written before this one */
	const char *flight; /* where the flight recorder was kept; NULL, empty: nowhere */
};

/* One line of JSON with its newline and a 0. Its length, or -EMSGSIZE, -ENOMEM. */
MUST_CHECK int event_line(const struct event *ev, const struct event_writer *by,
			  char buf[EVENT_LINE_SIZE]);

#endif
