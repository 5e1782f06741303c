/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of a host's events: one JSON object a line, appended by every worker and by romulusd. Bounded: at
 * EVENT_FILE_BYTES it becomes PATH.1, and so on, and the oldest of EVENT_FILE_OLD goes. A line is one write, so that
 * writers do not mix and a crash tears the last line at most; who appends to a torn line begins a new one, who reads
 * leaves it out. Blocks on the disk: not for threads with deadlines.
 */
#ifndef LIB_EVENT_FILE_H
#define LIB_EVENT_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/compiler.h"
#include "lib/event.h"

struct err;
struct json_in;

#define EVENT_FILE_NAME "events.jsonl"
#define EVENT_FILE_PATH 320
#define EVENT_FILE_BYTES (4u << 20)
#define EVENT_FILE_OLD 3

struct event_file {
	char path[EVENT_FILE_PATH];
	uint64_t limit; /* bytes */
	int fd;		/* -1: not open */
};

/* dir is the state directory. Opens nothing yet. -ENAMETOOLONG. */
MUST_CHECK int event_file_init(struct event_file *f, const char *dir, struct err *e);
void event_file_fini(struct event_file *f);

/*
 * Appends a line that ends in a newline. 0; -EFBIG when the file is twice as large as it may be, because nobody could
 * rotate it; another negative errno, then the line is lost or torn.
 */
MUST_CHECK int event_file_append(struct event_file *f, const char *line, size_t len, struct err *e);
/* What was appended survives a loss of power. */
MUST_CHECK int event_file_sync(struct event_file *f, struct err *e);

/* ---- reading ---- */

struct event_reader {
	char path[EVENT_FILE_PATH];
	FILE *file; /* NULL: the next one is to be opened */
	uint64_t dev;
	uint64_t ino;
	uint64_t torn; /* lines that made no sense, for people */
	bool begun;
	size_t used;
	char line[EVENT_LINE_SIZE];
};

/* From the oldest line on. -ENAMETOOLONG. */
MUST_CHECK int event_reader_init(struct event_reader *r, const char *dir, struct err *e);
void event_reader_fini(struct event_reader *r);
/*
 * The next event: 1, *text its line without the newline, valid until the next call, and *out, which the caller frees
 * with json_in_free(). 0: there is none now; later there may be. Negative errno: it cannot be read.
 */
MUST_CHECK int event_reader_next(struct event_reader *r, const char **text, struct json_in **out,
				 struct err *e);

#endif
