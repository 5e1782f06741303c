/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest without a hypervisor, behind lib/hypervisor.h: memory is an array, the dirty log is exact, and
 * the test says what the guest writes and what goes wrong. A call that the contract forbids (a final fetch
 * of a running guest, a resume without a suspension, a write of a suspended guest) fails the test by assert.
 *
 * One thread, like a real one; fake_guest_event() and the watch functions may be another's.
 */
#ifndef TESTS_LIB_FAKE_GUEST_H
#define TESTS_LIB_FAKE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/hypervisor.h"

/* When the guest gets to run: what it writes then is written through fake_guest_write(). */
enum fake_moment {
	FAKE_ASKED,   /* a request to suspend came; it is not suspended yet */
	FAKE_RESUMED, /* it was resumed */
	FAKE_LIVE,    /* a live fetch of the dirty log is over */
};

typedef void fake_guest_run(void *arg, struct guest *g, enum fake_moment moment);

/* What was left of it when it was closed, and how often what happened. */
struct fake_guest_report {
	bool closed;
	bool was_suspended; /* when close was called: close resumed it */
	bool log_was_on;
	unsigned int cap_was; /* percent */
	unsigned int suspends;
	unsigned int resumes;
	unsigned int fetches;
	unsigned int captures;
};

struct fake_guest_conf {
	const char *name;
	uint64_t ram_pages;  /* from page 0 on */
	uint64_t p2m_pages;  /* 0: ram_pages; else there are holes above ram_pages ... */
	uint64_t special[8]; /* ... but for these pages; ends with 0 */
	uint32_t vcpus;	     /* 0: 1 */
	unsigned int n_vifs; /* named vif7.0, vif7.1, ... */
	size_t context_size; /* of the captured context; 0: 256, at least 16 */
	fake_guest_run *run; /* NULL: it writes nothing by itself */
	void *arg;
	struct fake_guest_report *report; /* kept up to date; NULL: not wanted */
};

/* Asserts that there is memory. To be closed with guest_close(). */
struct guest *fake_guest_new(const struct fake_guest_conf *conf);

/* The guest writes: it runs, the page is there, offset + len fit the page. len 0 only makes it dirty. */
void fake_guest_write(struct guest *g, uint64_t pfn, size_t offset, const void *data, size_t len);
/* n writes of 8 bytes at places that follow from *seed, which moves on. */
void fake_guest_scribble(struct guest *g, unsigned int n, uint64_t *seed);
/* A page that only a final fetch reports, until it does: mapped by the hypervisor itself. */
void fake_guest_write_behind(struct guest *g, uint64_t pfn);

/* ---- what goes wrong ---- */

/*
 * The outcome of the next suspend that has none yet; default SUSPEND_DONE. At most 32 wait. reason is for
 * SUSPEND_SHUTDOWN. SUSPEND_TIMEOUT: the guest had not taken the request.
 */
void fake_guest_script(struct guest *g, enum suspend_outcome outcome, enum guest_shutdown reason);
/* The next suspend times out with the request taken; then health() or the next suspend finds it suspended. */
void fake_guest_script_late(struct guest *g);

enum fake_op {
	FAKE_LOGDIRTY_ENABLE,
	FAKE_FETCH_LIVE,
	FAKE_FETCH_FINAL,
	FAKE_MAP_LATE,
	FAKE_SUSPEND, /* with SUSPEND_FAILED */
	FAKE_CAPTURE,
	FAKE_RESUME,
	FAKE_STATIC,
	FAKE_CAP,
	FAKE_OPS,
};
/* The next n calls of op, after `after` that work, return rc. -ESTALE of a fetch lasts until the log is enabled anew. */
void fake_guest_fail(struct guest *g, enum fake_op op, int rc, unsigned int after, unsigned int n);

/* A hole becomes memory that the mapping lacks, and is dirty: guest_map_late() finds it. */
void fake_guest_plug(struct guest *g, uint64_t pfn);
/* tot_pages is another: CHANGED from now on. */
void fake_guest_balloon(struct guest *g);
/* It ends by itself, is destroyed, is suspended by others: health and suspend say so from now on. */
void fake_guest_end(struct guest *g, enum guest_health health, enum guest_shutdown reason);
/* For guest_watch_read(). At most 32 wait. Any thread. */
void fake_guest_event(struct guest *g, enum guest_event_type ev);

/* ---- what the test may ask ---- */

bool fake_guest_suspended(const struct guest *g);
unsigned int fake_guest_cap(const struct guest *g);
/*
 * A number that rises with every write. A captured context begins with it (8 bytes, native order), so a copy
 * of memory and state can be checked to be of one instant: the digest of all memory comes after it.
 */
uint64_t fake_guest_writes(const struct guest *g);
/* Of the pages that are present, their numbers included. */
uint64_t fake_guest_digest(const struct guest *g);
/* The same for a copy: pages at copy + pfn * GUEST_PAGE_SIZE, of those present in g. */
uint64_t fake_guest_digest_of(const struct guest *g, const unsigned char *copy);

#endif
