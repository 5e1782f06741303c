/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Generations of a disk: which of two copies is newer, whether either has a history of its own, and what must
 * be copied to make them equal (docs/disk.md). Pure; both sides come to the same plan, each seen from itself.
 *
 * The rules that make it safe:
 *
 *  1. Who goes on without the other in a way that the world can see makes a new current first, durably:
 *     gen_alone(), gen_activate(). Writes that are held back are no history; the intent log has them.
 *  2. bitmap is what the dirty map and the intent log count from; while it is set, nobody else has current.
 *  3. When a copy is complete the source forgets its bitmap first (gen_finish()), durably, and then the target takes
 *     over the source's generations (gen_adopt()). Between the two a crash costs a comparison by hash; however often that
 *     happens, what the target has stays in the source's history.
 *  4. The target keeps its own intent log until gen_adopt().
 *  5. A disk that is being copied to (SYNCING) is nobody's source.
 */
#ifndef DISK_GENERATION_H
#define DISK_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

/* Random values, 0 none; as the superblock and the wire have them. */
struct gen_tuple {
	uint64_t current;    /* 0 with a bitmap: given up by gen_surrender() */
	uint64_t bitmap;     /* the generation that the dirty map counts from */
	uint64_t history[2]; /* the newer first */
};

/* What the superblock says; its numbers. */
enum gen_state {
	GEN_EMPTY = 1,
	GEN_SYNCING,
	GEN_CONSISTENT,
	GEN_ACTIVE,
	GEN_OUTDATED,
	GEN_FAILED,
};

struct gen_side {
	struct gen_tuple gen;
	enum gen_state state;
	bool runs_guest;
	bool dirt; /* anything is marked in the dirty map, not settled, or set in the intent log */
	/* The dirty map has lived since bitmap, or the intent log could be read. False: anything may differ. */
	bool dirt_known;
};

enum gen_how {
	GEN_NOTHING,  /* equal */
	GEN_BITMAP,   /* what either side has marked */
	GEN_HASH,     /* everything, but compare first */
	GEN_FULL,     /* everything */
	GEN_DIVERGED, /* two histories, or the older one runs the guest: the operator must choose */
	GEN_REFUSED,  /* cannot be, or not now; the text says why */
};

enum gen_direction {
	GEN_TO_NONE, /* NOTHING, when neither runs the guest; DIVERGED and REFUSED */
	GEN_TO_PEER,
	GEN_TO_ME,
};

#define GEN_TEXT_SIZE 160

struct gen_plan {
	enum gen_how how;
	enum gen_direction direction;
	bool use_mine; /* BITMAP: what is marked on this side */
	bool use_peer; /* and on the other */
	char text[GEN_TEXT_SIZE];
};

/*
 * What to do when both are connected. Numbers of the peer are taken as they come: whatever they are, the
 * result is one of the above. With GEN_NOTHING and a direction the end of the copy follows at once (rule 3).
 */
void gen_plan(const struct gen_side *me, const struct gen_side *peer, struct gen_plan *plan);

const char *gen_how_name(enum gen_how how);

/*
 * The guest here goes on alone, visibly: output is let out without the peer, or the guest was started without
 * it. fresh: a random value, not 0. True when *t has changed, and must be durable before the output is let out.
 */
MUST_CHECK bool gen_alone(struct gen_tuple *t, uint64_t fresh);
/* A backup takes over, or the operator starts the guest on an older copy. Durable before the guest runs. */
void gen_activate(struct gen_tuple *t, uint64_t fresh);
/* Source: the target, whose current this is (0: none), has all, settled. Durable before the target is told. */
void gen_finish(struct gen_tuple *t, uint64_t target);
/* Target: takes over what the source, after gen_finish(), said. */
void gen_adopt(struct gen_tuple *t, const struct gen_tuple *source);
/*
 * The operator gives up this side's history, whatever the survivor's is: afterwards gen_plan() finds that this one is to be
 * overwritten, by what both have marked if the survivor's marks count from the same generation, else by hash. The caller
 * makes it OUTDATED, unless it is SYNCING, keeps its dirty map and intent log for the copy, and may not run the guest
 * here. One that has no history keeps none; a second time changes nothing.
 */
void gen_surrender(struct gen_tuple *t);
bool gen_is_surrendered(const struct gen_tuple *t);

#endif
