/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `romulus suspend-bench` and the program that measures for it (romulus-suspend-bench) say to each other: the
 * paths that can be compared, and one line for each measured cycle. Pure.
 */
#ifndef LIB_BENCH_H
#define LIB_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

struct err;

#define BENCH_MAX_CYCLES 1000000
#define BENCH_MAX_HZ 1000

/* A way to stop a guest and to let it go on. In the order in which they are shown. */
enum bench_path {
	BENCH_TOOLSTACK,    /* as xl does it; takes vCPU 0's extended state away */
	BENCH_XENSTORE,	    /* as Romulus asks a guest that offers nothing */
	BENCH_CHANNEL,	    /* over the guest's event channel; told that it is still where it was */
	BENCH_CHANNEL_BARE, /* the same; finds that out by itself */
	BENCH_PAUSE,	    /* not suspended, only stopped: the floor */
	BENCH_PATHS,
};

enum bench_time {
	BENCH_SUSPEND, /* from the request until it is seen to be suspended */
	BENCH_RESUME,  /* the call that lets it go on */
	BENCH_TOTAL,   /* from the request until it goes on */
	BENCH_TIMES,
};

struct bench_sample {
	enum bench_path path;
	uint64_t ns[BENCH_TIMES];
};

struct bench_list {
	size_t n;
	enum bench_path path[BENCH_PATHS];
};

const char *bench_path_name(enum bench_path path);
const char *bench_time_name(enum bench_time time);

bool bench_list_has(const struct bench_list *l, enum bench_path path);
/* "xenstore,channel": at least one, each once. -EINVAL, and *e quotes what is wrong. */
MUST_CHECK int bench_list_parse(const char *text, struct bench_list *out, struct err *e);
#define BENCH_LIST_SIZE 64
/* The other way round. Returns buf. */
const char *bench_list_format(const struct bench_list *l, char buf[BENCH_LIST_SIZE]);

#define BENCH_LINE_SIZE 160
/* "sample path=channel suspend_ns=1 resume_ns=2 total_ns=3", without a newline. Returns buf. */
const char *bench_line_format(const struct bench_sample *s, char buf[BENCH_LINE_SIZE]);

/* The last line of a measurement that was not broken off. */
#define BENCH_LINE_DONE "done"
/* One line without its newline: a sample, or *done is set. -EBADMSG for anything else. */
MUST_CHECK int bench_line_parse(const char *line, struct bench_sample *out, bool *done,
				struct err *e);

#endif
