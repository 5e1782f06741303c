// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's heartbeats: a thread for each session, its words into events. Control thread. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/queue.h"
#include "replicator/primary_shell.h"

#define HB_MESSAGES 64
#define HB_PRIORITY 10

static struct heartbeat_values values(const struct primary_shell *s)
{
	return (struct heartbeat_values){
		.state = (uint8_t)s->core.state,
		.flags = primary_is_protected(&s->core, clock_now()) ? HEARTBEAT_PROTECTED : 0,
		.term = s->core.conf.term,
		.epoch = s->core.taken,
		.done = s->fig.copy_done,
		.total = s->fig.copy_total,
	};
}

void primary_hb_tell(struct primary_shell *s)
{
	struct heartbeat_values v;

	if (!s->hb)
		return;
	v = values(s);
	heartbeat_set(s->hb, &v);
}

static int on_heartbeat(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	const struct primary_event ev = {.type = PEV_HEARTBEAT};
	struct primary_shell *s = arg;
	struct heartbeat_msg m;
	bool heard = false;

	while (queue_get(s->hb_queue, &m))
		heard = true;
	if (heard)
		primary_shell_event(s, &ev);
	return 0;
}

static int start(struct primary_shell *s, const struct pd_msg *up, struct err *e)
{
	struct heartbeat_conf c = {
		.side = HEARTBEAT_PRIMARY,
		.peer = up->hb_peer,
		.period_ns = s->core.conf.timing.heartbeat_period_ns,
		.priority = HB_PRIORITY,
		.first = values(s),
	};
	struct addr local = up->hb_local;
	int rc;

	rc = heartbeat_socket(&local, 0, 1, &s->hb_fd, e);
	if (rc < 0)
		return rc;
	rc = queue_new(&s->hb_queue, sizeof(struct heartbeat_msg), HB_MESSAGES, e);
	if (rc < 0)
		return rc;
	c.fd = s->hb_fd;
	c.queue = s->hb_queue;
	memcpy(c.secret, up->hb_secret, sizeof(c.secret));
	rc = heartbeat_start(&s->hb, &c, e);
	tls_wipe(c.secret, sizeof(c.secret));
	if (rc < 0)
		return rc;
	rc = sd_event_add_io(s->loop, &s->hb_source, queue_fd(s->hb_queue), EPOLLIN, on_heartbeat, s);
	return rc < 0 ? err_set(e, rc, "event loop") : 0;
}

void primary_hb_start(struct primary_shell *s, const struct pd_msg *up)
{
	struct err e = ERR_INIT;

	primary_hb_stop(s);
	if (start(s, up, &e) == 0)
		return;
	/* Without heartbeats the peer's silence is noticed all the same: the session will be given up. */
	log_err("heartbeats: %s", e.text);
	primary_hb_stop(s);
}

void primary_hb_stop(struct primary_shell *s)
{
	s->hb_source = sd_event_source_disable_unref(s->hb_source);
	heartbeat_stop(s->hb);
	s->hb = NULL;
	queue_free(s->hb_queue);
	s->hb_queue = NULL;
	if (s->hb_fd >= 0)
		close(s->hb_fd);
	s->hb_fd = -1;
}
