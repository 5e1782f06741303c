/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See tracker.h. */
#include "disk/tracker.h"

#include <errno.h>

#include "disk/dirty_map.h"
#include "disk/epoch_log.h"
#include "disk/intent_log.h"

static struct tracker *tracker_of(struct write_sink *s)
{
	return container_of(s, struct tracker, sink);
}

static int tracker_admit(struct write_sink *s, const struct write_req *w)
{
	struct tracker *t = tracker_of(s);
	struct write_sink *log = epoch_log_sink(t->log);
	int rc = intent_log_admit(t->intent, w->off, w->len);

	if (rc == 0)
		rc = log->ops->admit(log, w);
	if (rc < 0)
		return rc;
	copier_guest_write(t->copier, w->off, w->len);
	/* The word may have moved on since the intent log was asked: this is the epoch that it got. */
	if (epoch_log_streaming(t->log))
		intent_log_touch(t->intent, w->off, w->len, epoch_log_last_tag(t->log));
	return 0;
}

static bool tracker_done(struct write_sink *s, const struct write_req *w, int rc)
{
	struct write_sink *log = epoch_log_sink(tracker_of(s)->log);

	return log->ops->done(log, w, rc);
}

static bool tracker_read_failed(struct write_sink *s, uint64_t off, uint32_t len, int rc)
{
	struct write_sink *log = epoch_log_sink(tracker_of(s)->log);

	return log->ops->read_failed(log, off, len, rc);
}

static const struct write_sink_ops tracker_ops = {
	.admit = tracker_admit,
	.done = tracker_done,
	.read_failed = tracker_read_failed,
};

void tracker_init(struct tracker *t, const struct tracker_parts *parts)
{
	*t = (struct tracker){
		.sink = {.ops = &tracker_ops},
		.map = parts->map,
		.intent = parts->intent,
		.log = parts->log,
		.copier = parts->copier,
	};
}

struct write_sink *tracker_sink(struct tracker *t)
{
	return &t->sink;
}

void tracker_copier_read(struct tracker *t, const struct copier_job *job, const void *data, int rc)
{
	copier_read(t->copier, job->slot, data, rc);
	/* Queued, or still marked, which keeps the region set as well. */
	if (job->kind == COPIER_COPY && epoch_log_streaming(t->log) &&
	    !dirty_map_all(t->map, job->off, job->len))
		intent_log_touch(t->intent, job->off, job->len, epoch_log_last_tag(t->log));
}

void tracker_differs(struct tracker *t, uint64_t off, uint32_t len)
{
	/* Nobody waits for it: until it is durable a crash costs another verification. */
	(void)!intent_log_admit(t->intent, off, len);
}

int tracker_begin(struct tracker *t, const struct epoch_word *word)
{
	if (epoch_log_streaming(t->log))
		return -EBUSY;
	tracker_leave(t);
	return epoch_log_begin(t->log, word);
}

int tracker_settle(struct tracker *t, uint64_t epoch)
{
	int rc = epoch_log_settle(t->log, epoch);

	if (rc == 0)
		intent_log_settle(t->intent, epoch);
	return rc;
}

void tracker_leave(struct tracker *t)
{
	copier_stop(t->copier);
	/* In this order: what is not settled is marked before its regions lose their epoch. */
	epoch_log_leave(t->log);
	intent_log_leave(t->intent);
}

bool tracker_dirt(const struct tracker *t)
{
	return epoch_log_behind(t->log) > 0 || intent_log_any(t->intent);
}
