/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker's dealings with its arbiter: the core's questions, which come first, and a look now and then, so that
 * status can tell whether it could be asked. Both sides. Control thread.
 */
#ifndef REPLICATOR_VOTE_SHELL_H
#define REPLICATOR_VOTE_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/compiler.h"
#include "lib/conf.h"
#include "replicator/vote_ask_shell.h"

struct event_log;
struct json;

struct vote_shell {
	/* Set before vote_shell_start(): answers to vote_shell_ask(). */
	void (*voted)(void *arg, const struct vote_answer *a);
	void *arg;
	const char *program;	  /* NULL: the installed one */
	struct event_log *events; /* NULL: nobody writes them down; may be set later */

	/* Private. */
	const struct conf *conf;
	char vm[NAME_SIZE];
	struct vote_ask *ask; /* NULL: not started */
	sd_event_source *timer;
	bool answered;	   /* by anybody, ever */
	bool reachable;	   /* at the last question */
	uint64_t heard_ns; /* of the newest answer that said anything */
	uint64_t since_ns; /* reachable, or not, since then */
	uint64_t term;	   /* as it was recorded then, 0: none */
	char holder[NAME_SIZE];
	char text[VOTE_TEXT_SIZE]; /* why it is not reachable */
};

struct vote_shell_conf {
	const struct conf *conf; /* borrowed; names an arbiter */
	const char *vm;
	const char *peer;
	const uint8_t *uuid;
	bool is_backup;
};

/* Looks at once. v must be zero but for what the caller sets. */
MUST_CHECK int vote_shell_start(struct vote_shell *v, sd_event *loop,
				const struct vote_shell_conf *c, struct err *e);
/* No-op when nothing runs. */
void vote_shell_stop(struct vote_shell *v);
/* Ends in one voted(), from the loop; voids a question under way. */
void vote_shell_ask(struct vote_shell *v, uint64_t term);
/* The same: UNKNOWN, for a reason of ours. */
void vote_shell_fail(struct vote_shell *v, uint64_t term, const char *why);

/* "arbiter": its kind, and what is known of it; nothing when not started. */
void vote_shell_put(const struct vote_shell *v, struct json *j);

/* "witness", ... */
const char *vote_kind_name(const struct conf *c);
/*
 * Joins, run to its end: for a set-up, before anything has deadlines. 0: this host holds the term; -EBUSY: another
 * host holds it, or a newer one; other negative errno: not known. The text says what to do.
 */
MUST_CHECK int vote_shell_join(const struct vote_shell_conf *c, const char *program, uint64_t term,
			       struct err *e);

#endif
