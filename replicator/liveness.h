/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is the peer alive? Arithmetic only. Pure.
 *
 * Two questions, two clocks. "Was the peer heard lately?" is answered by heartbeats alone: they are
 * never older than the network's delay, while a word on the TCP connection may be as old as a stall.
 * "Was it silent for so long that I may go alone?" is answered no by any word, and by our own sleep:
 * time in which we did not listen is not silence of the peer.
 */
#ifndef REPLICATOR_LIVENESS_H
#define REPLICATOR_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

enum liveness_verdict {
	LIVENESS_ALIVE,
	LIVENESS_SUSPECT, /* two heartbeats missed: nobody says "protected" (P5) */
	LIVENESS_LOST,	  /* the failure timeout passed: the policy decides */
};

struct liveness {
	uint64_t heard_ns;    /* last fresh word: a heartbeat, the handshake */
	uint64_t not_lost_ns; /* LOST is not said before this instant */
	uint64_t listened_ns; /* when we were last awake */
	uint64_t suspect_ns;  /* duration */
	uint64_t lost_ns;     /* duration */
};

/* Begins as if the peer had been heard now. */
void liveness_init(struct liveness *l, uint64_t suspect_ns, uint64_t lost_ns, uint64_t now);
/* A fresh word. */
void liveness_heard(struct liveness *l, uint64_t now);
/* A word that came at that instant and is read now: no fresher than that (P5), but nobody goes alone on it. */
void liveness_heard_at(struct liveness *l, uint64_t at, uint64_t now);
/* A word of unknown age: the time until LOST starts anew. */
void liveness_excuse(struct liveness *l, uint64_t now);
/*
 * We are awake; called at each step, and at least at each liveness_next(). If we slept meanwhile (two
 * heartbeats without a step), the time until LOST starts anew, unless LOST was said before.
 */
void liveness_listen(struct liveness *l, uint64_t now);
enum liveness_verdict liveness_verdict(const struct liveness *l, uint64_t now);
/* When to listen next at the latest: in a heartbeat; UINT64_MAX when it was LOST at the last time. */
uint64_t liveness_next(const struct liveness *l);

#endif
