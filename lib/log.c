/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See log.h. One of the two places with mutable globals: a process has one log. */
#include "lib/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

static const char *const names[] = {"err", "warn", "info", "debug"};
static const int syslog_priorities[] = {3, 4, 6, 7};

struct override {
	char module[LOG_MODULE_SIZE];
	enum log_level level;
};

static struct {
	pthread_mutex_t lock;
	int fd;
	int journal; /* -1: not looked yet; else whether stderr goes to the journal */
	enum log_level level;
	struct override overrides[LOG_MODULES];
	unsigned int n_overrides;
	char tag[64];
	char ring[LOG_RING_LINES][LOG_LINE_SIZE];
	uint64_t n_lines; /* ever; line i lies at i modulo LOG_RING_LINES */
} state = {.lock = PTHREAD_MUTEX_INITIALIZER,
	   .fd = STDERR_FILENO,
	   .journal = -1,
	   .level = LOG_AT_INFO};

/* The chattiest level that any module has, so that most debug calls cost a load. */
static atomic_int highest = LOG_AT_INFO;

/* systemd names the device and inode of the stream it reads; somebody may have redirected ours. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return !strcmp(stream, ours);
}

/* "lib/conf.c" logs as "conf". */
static void module_of(const char *file, char module[LOG_MODULE_SIZE])
{
	const char *base = strrchr(file, '/');

	base = base ? base + 1 : file;
	snprintf(module, LOG_MODULE_SIZE, "%.*s",
		 (int)MIN(strcspn(base, "."), (size_t)LOG_MODULE_SIZE - 1), base);
}

static struct override *find_override(const char *module)
{
	for (unsigned int i = 0; i < state.n_overrides; i++) {
		if (!strcmp(state.overrides[i].module, module))
			return &state.overrides[i];
	}
	return NULL;
}

bool log_wanted__(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&highest, memory_order_relaxed);
}

int log_set_level(const char *module, enum log_level level)
{
	struct override *o;
	int top = level;
	autolock(&state.lock);

	if (!module) {
		state.level = level;
		state.n_overrides = 0;
		atomic_store(&highest, top);
		return 0;
	}
	if (!*module || strlen(module) >= LOG_MODULE_SIZE)
		return -EINVAL;
	o = find_override(module);
	if (!o) {
		if (state.n_overrides == LOG_MODULES)
			return -ENOSPC;
		o = &state.overrides[state.n_overrides++];
		snprintf(o->module, sizeof(o->module), "%s", module);
	}
	o->level = level;
	top = state.level;
	for (unsigned int i = 0; i < state.n_overrides; i++)
		top = MAX(top, (int)state.overrides[i].level);
	atomic_store(&highest, top);
	return 0;
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(name, names[i])) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	return names[level];
}

void log_set_fd(int fd)
{
	autolock(&state.lock);

	state.fd = fd;
	state.journal = fd == STDERR_FILENO ? -1 : 0;
}

void log_set_tag(const char *tag)
{
	autolock(&state.lock);

	snprintf(state.tag, sizeof(state.tag), "%.63s", tag);
}

/* Messages quote what peers and files say: nothing in them may end a line or drive a terminal. */
static void make_printable(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

/* Into the ring, which is returned. Lock held. */
static const char *store(enum log_level level, const char *module, const char *message)
{
	char *line = state.ring[state.n_lines++ % LOG_RING_LINES];
	struct timespec now;
	struct tm tm;
	int n;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = snprintf(line, LOG_LINE_SIZE, "%02d:%02d:%02d.%06ld %-5s %s: %s%s%s", tm.tm_hour,
		     tm.tm_min, tm.tm_sec, now.tv_nsec / 1000, names[level], module, state.tag,
		     *state.tag ? ": " : "", message);
	if (n >= LOG_LINE_SIZE)
		memcpy(line + LOG_LINE_SIZE - 4, "...", 4);
	make_printable(line);
	return line;
}

/* One write a line, so that lines of several processes do not mix. Lock held. */
static void show(enum log_level level, const char *line)
{
	char out[LOG_LINE_SIZE + 8];
	ssize_t r;
	int n;

	if (state.fd < 0)
		return;
	if (state.journal < 0)
		state.journal = stderr_is_journal();
	/* The journal has the time and the level itself. */
	if (state.journal)
		n = snprintf(out, sizeof(out), "<%d>%s\n", syslog_priorities[level],
			     line + sizeof("00:00:00.000000 level") /* and a blank */);
	else
		n = snprintf(out, sizeof(out), "%s\n", line);
	do {
		r = write(state.fd, out, (size_t)n);
	} while (r < 0 && errno == EINTR);
	/* Where would we complain? The ring has it. */
}

static void write_line(enum log_level level, const char *file, const char *message)
{
	char module[LOG_MODULE_SIZE];
	const struct override *o;
	autolock(&state.lock);

	module_of(file, module);
	o = find_override(module);
	if (level <= (o ? o->level : state.level))
		show(level, store(level, module, message));
}

PRINTF(3, 0)
static void write_args(enum log_level level, const char *file, const char *fmt, va_list args)
{
	char message[LOG_LINE_SIZE];
	int saved = errno;

	/* A cut here is cut again, and marked, with what is put before it. */
	if (vsnprintf(message, sizeof(message), fmt, args) >= 0)
		write_line(level, file, message);
	errno = saved;
}

void log_write__(enum log_level level, const char *file, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	write_args(level, file, fmt, args);
	va_end(args);
}

bool log_limit_pass__(enum log_level level, const char *file, struct log_limit *limit)
{
	uint64_t now = clock_now();
	unsigned int dropped = 0;
	bool pass;

	pthread_mutex_lock(&state.lock);
	if (!limit->since || now - limit->since >= LOG_LIMIT_NS) {
		dropped = limit->dropped;
		*limit = (struct log_limit){.since = now};
	}
	pass = limit->said < LOG_LIMIT_BURST;
	limit->said += pass;
	limit->dropped += !pass;
	pthread_mutex_unlock(&state.lock);
	if (dropped)
		log_write__(level, file, "the next message was left out %u times", dropped);
	return pass;
}

/*
 * Copies the line numbered *i, or the oldest that is left when others have
 * written over it meanwhile. False when there is none yet.
 */
static bool copy_line(uint64_t *i, char line[LOG_LINE_SIZE])
{
	autolock(&state.lock);

	if (state.n_lines > LOG_RING_LINES)
		*i = MAX(*i, state.n_lines - LOG_RING_LINES);
	if (*i >= state.n_lines)
		return false;
	memcpy(line, state.ring[*i % LOG_RING_LINES], LOG_LINE_SIZE);
	return true;
}

unsigned int log_ring_dump(log_line_fn *fn, void *arg)
{
	char line[LOG_LINE_SIZE];
	unsigned int total;
	unsigned int n;
	uint64_t i = 0;

	pthread_mutex_lock(&state.lock);
	total = (unsigned int)MIN(state.n_lines, (uint64_t)LOG_RING_LINES);
	pthread_mutex_unlock(&state.lock);
	/* No more than there are now: fn may log, and others may never stop. */
	for (n = 0; n < total && copy_line(&i, line); n++, i++)
		fn(arg, line);
	return n;
}

static void ring_to_stderr(void *arg, const char *line)
{
	dprintf(STDERR_FILENO, "| %s\n", line);
}

void die_at__(const char *file, int line, const char *fmt, ...)
{
	char message[LOG_LINE_SIZE];
	va_list args;

	va_start(args, fmt);
	if (vsnprintf(message, sizeof(message), fmt, args) < 0)
		message[0] = 0;
	va_end(args);
	log_write__(LOG_AT_ERR, file, "line %d: %s; stopping at once", line, message);
	dprintf(STDERR_FILENO, "last log lines:\n");
	log_ring_dump(ring_to_stderr, NULL);
	abort();
}
