/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is asked of a backup worker about drills: one line of text, by the control socket of either worker (romulus-drill(8))
 * or, from the primary's, by the link (DRILL). Pure.
 *
 *	start {"time_ms":30000,"probe":"check-shop"}	both may be missing
 *	ask
 *	end
 */
#ifndef REPLICATOR_DRILL_REQUEST_H
#define REPLICATOR_DRILL_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define DRILL_PROBE_SIZE 512
#define DRILL_TIME_DEFAULT_MS 30000
#define DRILL_TIME_MIN_MS 1000
#define DRILL_TIME_MAX_MS (60 * 60 * 1000)
/* Who asks for a drill goes on asking how it is: after so long without, nobody is there any more. */
#define DRILL_LEASE_MS 15000

enum drill_verb {
	DRILL_START,
	DRILL_ASK,
	DRILL_END,
};

struct drill_request {
	enum drill_verb verb;
	uint64_t time_ms;	      /* how long the copy may live */
	char probe[DRILL_PROBE_SIZE]; /* empty: the default one */
};

/* size bytes, without a final 0. 0, or -EINVAL with a sentence that quotes what is wrong. */
MUST_CHECK int drill_request_parse(struct drill_request *r, const char *text, size_t size,
				   struct err *e);

/*
 * The program that a probe is when the primary asks for it: the peer may choose one of those that this host's operator has put
 * into dir, and no arguments. path has size bytes. -EPERM: it is none of them, with a sentence.
 */
MUST_CHECK int drill_request_remote(const struct drill_request *r, const char *dir, char *path,
				    size_t size, struct err *e);

#endif
