/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup worker's handle on its standby: the child process romulus-domain, which builds a domain from
 * a restore stream and waits for the word to run it. No call waits: the control thread polls
 * standby_fd(), keeps one timer at standby_deadline(), and calls standby_step() on either.
 *
 *	standby_start() -> stream for apply
 *	stream closed -> STANDBY_BUILT -> standby_run() -> STANDBY_RUNNING
 *	the domain ends for good -> STANDBY_ENDED
 *	any time before standby_run(): standby_abandon() -> STANDBY_GONE
 *	the child dies as it obeys standby_run() -> STANDBY_LOST
 *
 * After STANDBY_RUNNING the child lives on as the domain's lifecycle monitor (reboot, poweroff, crash),
 * also when the worker has ended: standby_free() then lets go of it. Before, the end of the worker makes
 * the child destroy the standby by itself.
 */
#ifndef REPLICATOR_STANDBY_H
#define REPLICATOR_STANDBY_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/names.h"

struct err;
struct standby;

/* What the standby is called until it runs: the VM's name and this. */
#define STANDBY_SUFFIX "--standby"
/* What the copy that a drill runs is called. */
#define DRILL_SUFFIX "--drill"
#define STANDBY_TEXT_SIZE 240
#define STANDBY_MAX_VIFS 8
/* Each step of abandoning: asked over the socket, SIGTERM, SIGKILL and then `destroy`. */
#define STANDBY_ABANDON_STEP_NS (UINT64_C(5) * 1000 * 1000 * 1000)

struct standby_conf {
	const char *program; /* NULL: the installed romulus-domain */
	const char *vm;	     /* name_ok() */
	const char *json;    /* libxl's configuration of the domain, from the primary */
	size_t json_size;    /* at most WIRE_CONFIG_MAX */
	/*
	 * Not NULL: a drill's copy, whose interfaces are put on this bridge. It keeps DRILL_SUFFIX when it runs, dies with
	 * its child, and may be abandoned while it runs.
	 */
	const char *drill_bridge;
};

enum standby_event_type {
	STANDBY_NOTHING,
	STANDBY_BUILT,	 /* the domain is complete and paused, perhaps unasked; domid */
	STANDBY_RUNNING, /* it runs under the VM's name; domid, vifs */
	STANDBY_FAILED,	 /* text; abandon it */
	STANDBY_LOST, /* told to run, and its child died without a word: it may run, or not; text */
	STANDBY_NAME_TAKEN, /* text; another domain has the VM's name: standby_run() again, or abandon it */
	STANDBY_ENDED,	   /* after STANDBY_RUNNING: the domain is gone, and none comes after it */
	STANDBY_UNWATCHED, /* after STANDBY_RUNNING: the monitor has failed, the domain may run; text */
	STANDBY_GONE,	   /* abandoned: no domain is left, and none will be */
	STANDBY_LEFT,	   /* abandoned, but the domain could not be destroyed; text */
};

struct standby_vif {
	char name[16];	 /* the device in this host */
	char bridge[16]; /* empty: none */
	uint8_t mac[6];
};

struct standby_event {
	enum standby_event_type type;
	uint32_t domid;
	uint32_t n_vifs;
	struct standby_vif vif[STANDBY_MAX_VIFS];
	char text[STANDBY_TEXT_SIZE];
};

/*
 * Starts the child. *stream_fd is the caller's then: a stream socket with a large send buffer, for
 * apply_new_take(). Whether memory suffices and the configuration is good comes as STANDBY_FAILED later.
 * 0 or negative errno. SIGCHLD must not be ignored in the process.
 */
MUST_CHECK int standby_start(struct standby **out, const struct standby_conf *conf, int *stream_fd,
			     struct err *e);

/* Readable when standby_step() has work. An epoll descriptor, owned by s; poll only. */
int standby_fd(const struct standby *s);
/* CLOCK_NEVER when nothing is timed. */
uint64_t standby_deadline(const struct standby *s);
/* What happened? Call until STANDBY_NOTHING. */
void standby_step(struct standby *s, uint64_t now, struct standby_event *ev);

/*
 * After the stream was closed; the child runs the domain as soon as it is built. Once, and again after each
 * STANDBY_NAME_TAKEN.
 */
MUST_CHECK int standby_run(struct standby *s, struct err *e);
/*
 * Destroys the standby; ends in STANDBY_GONE or STANDBY_LEFT, after at most seven STANDBY_ABANDON_STEP_NS.
 * Not after standby_run(), but for STANDBY_NAME_TAKEN, STANDBY_FAILED and a drill's: the domain may run already, -EBUSY. A second
 * call is a no-op.
 */
MUST_CHECK int standby_abandon(struct standby *s, uint64_t now, struct err *e);

/*
 * NULL is a no-op. Before STANDBY_GONE or STANDBY_RUNNING: the child notices that nobody listens and
 * destroys the standby, unseen.
 */
void standby_free(struct standby *s);

#endif
