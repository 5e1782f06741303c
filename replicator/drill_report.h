/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a drill has come to, while it goes on and at its end: the drill's process fills it in, the worker hands its JSON on
 * (romulus-drill(8) has the members). One thread.
 */
#ifndef REPLICATOR_DRILL_REPORT_H
#define REPLICATOR_DRILL_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"
#include "lib/err.h"
#include "lib/names.h"

struct json;

/* The JSON as one packet. */
#define DRILL_REPORT_MAX 8192
#define DRILL_OUTPUT_SIZE 1024

enum drill_phase {
	DRILL_PREPARING, /* memory is counted, the bridge made */
	DRILL_COPYING,
	DRILL_BUILDING, /* the copy is complete, libxl attaches devices */
	DRILL_LIVING,	/* it runs, and is probed */
	DRILL_ENDING,	/* all of it is taken away */
	DRILL_OVER,
};

enum drill_verdict {
	DRILL_UNDECIDED,
	DRILL_PASSED,
	DRILL_FAILED,	  /* the probe says no, or got no answer, or the copy ended by itself */
	DRILL_BROKEN,	  /* it could not be made, or something is left of it */
	DRILL_CALLED_OFF, /* by the operator, by who asked and went, by a failover */
};

struct drill_report {
	char vm[NAME_SIZE];
	char host[NAME_SIZE];
	enum drill_phase phase;
	enum drill_verdict verdict;
	char why[ERR_TEXT_SIZE]; /* a sentence, once there is a verdict */
	uint64_t epoch;		 /* EPOCH_NONE: not known yet */
	uint32_t domid;
	/* Of the host: free before, and after it has gone; and what the copy takes. */
	uint64_t free_kib, free_after_kib, memory_kib;
	uint64_t copied_pages;
	uint32_t rounds, last_pages;
	uint64_t cpu_ns; /* that the copy has used */
	/* When each phase began, CLOCK_BOOTTIME; 0: not. */
	uint64_t at_ns[DRILL_OVER + 1];
	uint64_t answered_ns;
	char address[16]; /* of the guest, as it was heard to say */
	char probe[64];	  /* "ping", "console", or the command's first bytes */
	int probe_status;
	char output[DRILL_OUTPUT_SIZE]; /* the end of what the command said */
	unsigned int n_disks;
	uint64_t overlay_bytes;
};

const char *drill_phase_name(enum drill_phase p);
const char *drill_verdict_name(enum drill_verdict v);

/* Begins a phase. */
void drill_report_phase(struct drill_report *r, enum drill_phase p, uint64_t now);
/* The first verdict counts; BROKEN is said over PASSED, for something is left then. */
PRINTF(3, 4)
void drill_report_verdict(struct drill_report *r, enum drill_verdict v, const char *fmt, ...);

/* Something stays here: BROKEN, or said after what was wrong already. */
void drill_report_left(struct drill_report *r, const char *what);

/* All of it into j. */
void drill_report_put(struct json *j, const struct drill_report *r, uint64_t now);

#endif
