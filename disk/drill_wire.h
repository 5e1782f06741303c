/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is said at NAME.drill, a SOCK_SEQPACKET between the server of a backup's disk and the process that shows a drill's copy a
 * view of it (docs/disk.md, "Drills"). Both are of this host and run as root; a message of another size ends the talk.
 *
 *	view	HOLD		apply nothing more for a moment	-> HELD(epoch): the disk is at that one, or on its way there
 *	view	AT(epoch)	be at exactly that epoch	-> READY: it is, and from here on nothing is overwritten unasked
 *	server	GOING(seq, off, len)	will be overwritten	-> SAVED(seq): may be
 *
 * The end of the socket is the end of the view; the server waits for nobody longer than DRILL_SAVE_NS.
 */
#ifndef DISK_DRILL_WIRE_H
#define DISK_DRILL_WIRE_H

#include <stdint.h>

#include "lib/clock.h"

/* A HOLD lasts no longer: what comes meanwhile stays in the journal. */
#define DRILL_HOLD_NS (10 * NS_PER_SEC)
#define DRILL_SAVE_NS (1 * NS_PER_SEC)

enum drill_word {
	DRILL_WORD_HOLD = 1,
	DRILL_WORD_HELD,
	DRILL_WORD_AT,
	DRILL_WORD_READY,
	DRILL_WORD_GOING,
	DRILL_WORD_SAVED,
};

struct drill_msg {
	uint32_t word; /* enum drill_word */
	uint32_t seq;
	uint64_t epoch;
	uint64_t off;
	uint64_t len;
};

#endif
