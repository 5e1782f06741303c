/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a backup worker lets a drill know of its standby, in memory that both have mapped: which epoch is being worked
 * into it, which pages have changed since the drill looked, and the state of the vCPUs. The worker writes and never
 * waits; the drill reads and can hold nothing up (docs/architecture.md, "A drill").
 *
 * The worker's data thread, for each epoch n:
 *	drill_share_feeding(n, pages, state)	before the first byte of it goes to the standby
 *	drill_share_settled(n)			when the standby has worked all of it in
 *
 * The drill, again and again until it holds:
 *	n = drill_share_window()		the standby's memory is n, and nothing touches it
 *	drill_share_take()			what changed up to n
 *	... copies pages and state ...
 *	drill_share_still(n)			it was n all the time: what was copied is one instant
 *
 * The two are programs of one build: size and version are compared, nothing else is doubted.
 */
#ifndef REPLICATOR_DRILL_SHARE_H
#define REPLICATOR_DRILL_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/wire_v1.h"

struct drill_share;
struct err;

/* What belongs to an epoch beside its pages. 256 KiB: not for a small stack. */
struct drill_state {
	struct wire_tsc_info tsc;
	uint32_t n_params;
	struct wire_param param[WIRE_MAX_PARAMS];
	uint32_t hvm_size;
	uint8_t hvm[WIRE_HVM_CONTEXT_MAX];
};

/* The worker: a new one, of which *fd is to be passed on. Both are the caller's. 0 or negative errno. */
MUST_CHECK int drill_share_make(struct drill_share **out, uint64_t mem_pages, int *fd,
				struct err *e);
/* The drill: the one behind fd, which is borrowed. -EPROTO: of another build. */
MUST_CHECK int drill_share_open(struct drill_share **out, int fd, struct err *e);
/* NULL is a no-op. */
void drill_share_close(struct drill_share *s);

uint64_t drill_share_mem_pages(const struct drill_share *s);

/* ---- the worker ---- */

/* Once, first: what the guest was built with, and the epoch that the standby has or is being given. */
void drill_share_begin(struct drill_share *s, const struct wire_static *m, uint64_t epoch);
void drill_share_feeding(struct drill_share *s, uint64_t epoch, const uint64_t *pfn, uint32_t n);
/* Where the state of the epoch that was just said to be fed goes. */
struct drill_state *drill_share_state_of(struct drill_share *s, uint64_t epoch);
/* A later epoch's drill_share_feeding() makes it void. */
void drill_share_settled(struct drill_share *s, uint64_t epoch);
/* The standby is no more what it was: nothing of it is to be used from here on. */
void drill_share_end(struct drill_share *s);

/* ---- the drill ---- */

const struct wire_static *drill_share_statics(const struct drill_share *s);
/* The standby has settled once since drill_share_begin(): from here on all that changes in it is marked. */
bool drill_share_begun(const struct drill_share *s);
/* The worker has ended it. */
bool drill_share_ended(const struct drill_share *s);
/* The epoch that the standby is at, EPOCH_NONE while it changes. */
uint64_t drill_share_window(const struct drill_share *s);
bool drill_share_still(const struct drill_share *s, uint64_t epoch);
/*
 * Moves what is marked into the bitmap, a bit for each page: drill_share_words() of words. If drill_share_still() denies
 * it afterwards, some of it may be of an epoch that is not in the standby yet: not to be copied before a later window.
 */
void drill_share_take(struct drill_share *s, uint64_t *bitmap);
static inline size_t drill_share_words(uint64_t mem_pages)
{
	return (size_t)((mem_pages + 63) / 64);
}
/* The state of that epoch, to be copied (drill_state_copy()) and then checked with drill_share_still(); NULL: not known. */
const struct drill_state *drill_share_state(const struct drill_share *s, uint64_t epoch);
/* What there is in it. It may change meanwhile: bounded whatever it says. */
void drill_state_copy(struct drill_state *to, const struct drill_state *from);

#endif
