/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the facts of two hosts mean: would protecting a VM, or a failover, fail, and why? Pure: facts in, lines out. Facts
 * are JSON of romulus-facts (docs/doctor.md); those of the peer are somebody else's words, any of them may be missing.
 */
#ifndef TOOLS_DOCTOR_JUDGE_H
#define TOOLS_DOCTOR_JUDGE_H

#include <stdint.h>
#include <time.h>

#include "lib/compiler.h"

struct json_in;

enum doctor_verdict {
	DOCTOR_OK,
	DOCTOR_WARN,  /* it works, and something will not, or will soon not, be as wished */
	DOCTOR_ERROR, /* protection, or a failover, would fail */
};

#define DOCTOR_TEXT 256
#define DOCTOR_LINES 128

struct doctor_line {
	enum doctor_verdict verdict;
	const char *check;	 /* what was looked at, static: "cpu", "disks" */
	char found[DOCTOR_TEXT]; /* clean for a terminal */
	char todo[DOCTOR_TEXT];	 /* empty when all is well */
};

/* What `romulus-arbiter look` came to. */
enum doctor_arbiter {
	DOCTOR_ARBITER_NONE,	/* this host has none */
	DOCTOR_ARBITER_ANSWERS, /* held, or none yet; text */
	DOCTOR_ARBITER_SILENT,	/* text: why */
};

struct doctor_case {
	const char *peer;	     /* the host that is to be the backup */
	const char *vm;		     /* NULL: of the hosts alone */
	const char *policy;	     /* on-peer-loss, where it is known; NULL */
	const struct json_in *here;  /* NULL: here_problem */
	const struct json_in *there; /* NULL: there_problem */
	const char *here_problem;
	const char *there_problem;
	const char *romulusd_problem; /* of this host; NULL: it runs */
	uint64_t rtt_us;	      /* one question and answer of TCP; 0 not measured */
	uint64_t asked_us;  /* wall clock here in the middle of the question for the facts */
	uint64_t asking_us; /* how long that took */
	time_t now;
	enum doctor_arbiter arbiter;
	const char *arbiter_text;
};

struct doctor_report {
	unsigned int n;
	unsigned int left_out; /* lines that did not fit; an error among them is not lost */
	enum doctor_verdict worst;
	struct doctor_line line[DOCTOR_LINES];
};

void doctor_judge(const struct doctor_case *c, struct doctor_report *r);
const char *doctor_verdict_name(enum doctor_verdict v); /* "ok", "warning", "error" */

/* Shared by the judge's files. found and todo are formatted by the caller with doctor_say(). */
struct doctor_line *doctor_add(struct doctor_report *r, enum doctor_verdict v, const char *check);
PRINTF(2, 3) void doctor_found(struct doctor_line *l, const char *fmt, ...);
PRINTF(2, 3) void doctor_todo(struct doctor_line *l, const char *fmt, ...);
/* doctor_cpu.c: what a guest has and the other host cannot give. */
void doctor_cpu(const struct doctor_case *c, struct doctor_report *r);
/* doctor_vm.c: the VM here, and what it needs there. */
void doctor_vm(const struct doctor_case *c, struct doctor_report *r);

#endif
