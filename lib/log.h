/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log: what happened, to which VM and epoch, what we do next, what the
 * operator may do. Lines go to stderr, one write each (with systemd's priority
 * prefix when the journal reads it), and into a ring of the last LOG_RING_LINES
 * lines. A module is a file: lib/conf.c logs as "conf".
 *
 * Any thread may call, except heartbeat and whoever has the guest paused: a log
 * call takes a lock and writes. Never log guest memory or keys.
 *
 * An error is reported once: a function returns it or logs it, never both.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/compiler.h"

enum log_level {
	LOG_AT_ERR,
	LOG_AT_WARN,
	LOG_AT_INFO, /* where every module starts */
	LOG_AT_DEBUG,
};

#define LOG_RING_LINES 256
#define LOG_LINE_SIZE 512 /* of a line with all that is put before it; longer ones are cut */
#define LOG_MODULES 64	  /* modules with a level of their own */
#define LOG_MODULE_SIZE 32

#define log_err(...) log_at(LOG_AT_ERR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_AT_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_AT_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_AT_DEBUG, __VA_ARGS__)
/* Arguments are evaluated only when the line is wanted by some module. */
#define log_at(level, ...)                                         \
	do {                                                       \
		if (log_wanted__(level))                           \
			log_write__(level, __FILE__, __VA_ARGS__); \
	} while (0)

/*
 * For what may happen at every packet or epoch: each place in the source says it
 * LOG_LIMIT_BURST times in LOG_LIMIT_NS, and then how often it did not.
 */
#define LOG_LIMIT_BURST 5
#define LOG_LIMIT_NS (UINT64_C(10) * 1000 * 1000 * 1000)
#define log_limited(level, ...)                                                         \
	do {                                                                            \
		static struct log_limit limit__;                                        \
		if (log_wanted__(level) && log_limit_pass__(level, __FILE__, &limit__)) \
			log_write__(level, __FILE__, __VA_ARGS__);                      \
	} while (0)

/*
 * A promise is broken or the program is wrong: logs, shows the ring on stderr,
 * aborts. The peer's rules make our crash safe.
 */
#define die(...) die_at__(__FILE__, __LINE__, __VA_ARGS__)

/* Sets the level of a module, or of all modules when it is NULL (then the single settings go). */
MUST_CHECK int log_set_level(const char *module, enum log_level level);
/* "err", "warn", "info" or "debug"; -EINVAL for others. */
MUST_CHECK int log_level_parse(const char *name, enum log_level *level);
const char *log_level_name(enum log_level level);

/* The descriptor instead of stderr, or -1 for the ring alone. Borrowed. */
void log_set_fd(int fd);
/* Put before every message, such as "vm web"; "" for nothing. Copied, cut at 63 bytes. */
void log_set_tag(const char *tag);

/*
 * Calls fn with each line of the ring, the oldest first; fn may log. Lines that
 * are written over meanwhile are left out. Returns the number of calls.
 */
typedef void log_line_fn(void *arg, const char *line);
unsigned int log_ring_dump(log_line_fn *fn, void *arg);

/* Behind the macros. */
struct log_limit {
	uint64_t since;
	unsigned int said;
	unsigned int dropped;
};

bool log_wanted__(enum log_level level);
bool log_limit_pass__(enum log_level level, const char *file, struct log_limit *limit);
PRINTF(3, 4) void log_write__(enum log_level level, const char *file, const char *fmt, ...);
PRINTF(3, 4) NORETURN COLD void die_at__(const char *file, int line, const char *fmt, ...);

#endif
