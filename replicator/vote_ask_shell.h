/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs romulus-arbiter beside the loop, one question at a time, and reads its one line. Never waits: neither for the
 * program, nor for its end. Control thread.
 */
#ifndef REPLICATOR_VOTE_ASK_SHELL_H
#define REPLICATOR_VOTE_ASK_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/compiler.h"
#include "lib/uuid.h"
#include "replicator/vote_line.h"

struct err;
struct vote_ask;

struct vote_ask_conf {
	const char *program; /* NULL: the installed one */
	const char *conf_path;
	const char *vm;
	const char *peer;
	uint8_t uuid[UUID_SIZE];
	bool is_backup;
	uint64_t limit_ns; /* then it is killed, and the answer is UNKNOWN */
	/* From the loop, never from within a call of ours; valid until it returns. */
	void (*answered)(void *arg, const struct vote_answer *a);
	void *arg;
};

/* Copies conf. 0, -ENOMEM, -ENAMETOOLONG, or an error of the loop. */
MUST_CHECK int vote_ask_new(struct vote_ask **out, sd_event *loop, const struct vote_ask_conf *conf,
			    struct err *e);
/* Ends a question under way, whose answer does not matter any more: the program may be killed at any instant. */
void vote_ask_free(struct vote_ask *v);

/* Ends in exactly one answered(), unless another question, or the end of *v, comes before. */
void vote_ask_start(struct vote_ask *v, enum vote_question q, uint64_t term);
/* The same, with UNKNOWN for this reason and without asking anybody. */
void vote_ask_fail(struct vote_ask *v, enum vote_question q, uint64_t term, const char *why);
bool vote_ask_busy(const struct vote_ask *v);

/* The arguments of the program, the same for who runs it to its end (lib/spawn.h). argv: VOTE_ARGS texts, in buf. */
#define VOTE_ARGS 16
#define VOTE_BUF 128
void vote_ask_argv(const struct vote_ask_conf *c, enum vote_question q, uint64_t term,
		   const char *argv[VOTE_ARGS], char buf[VOTE_BUF]);

#endif
