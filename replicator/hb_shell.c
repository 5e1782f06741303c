// SPDX-License-Identifier: GPL-2.0-or-later
/* See hb_shell.h. Control thread. */
#include "replicator/hb_shell.h"

#include <errno.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/queue.h"

#define MESSAGES 64
#define PRIORITY 10 /* SCHED_FIFO: above every ordinary process, below the kernel's own threads */

static int on_queue(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	struct hb_shell *h = arg;
	struct heartbeat_msg m;
	bool heard = false;

	while (queue_get(h->queue, &m))
		heard = true;
	if (heard)
		h->heard(h->arg, &m);
	return 0;
}

static int start(struct hb_shell *h, sd_event *loop, struct heartbeat_conf *conf, struct err *e)
{
	int rc = queue_new(&h->queue, sizeof(struct heartbeat_msg), MESSAGES, e);

	if (rc < 0)
		return rc;
	rc = sd_event_add_io(loop, &h->source, queue_fd(h->queue), EPOLLIN, on_queue, h);
	if (rc < 0)
		return err_set(e, rc, "event loop");
	conf->fd = h->fd;
	conf->queue = h->queue;
	conf->priority = PRIORITY;
	return heartbeat_start(&h->hb, conf, e);
}

int hb_shell_start_take(struct hb_shell *h, sd_event *loop, struct heartbeat_conf *conf, int fd,
			struct err *e)
{
	int rc;

	hb_shell_stop(h);
	h->fd = fd;
	rc = start(h, loop, conf, e);
	tls_wipe(conf->secret, sizeof(conf->secret));
	if (rc < 0)
		hb_shell_stop(h);
	return rc;
}

void hb_shell_stop(struct hb_shell *h)
{
	heartbeat_stop(h->hb);
	h->hb = NULL;
	h->source = sd_event_source_disable_unref(h->source);
	queue_free(h->queue);
	h->queue = NULL;
	/* 0 is what a zeroed struct has: no socket of ours is ever descriptor 0. */
	if (h->fd > 0)
		close(h->fd);
	h->fd = -1;
}

void hb_shell_tell(struct hb_shell *h, const struct heartbeat_values *v)
{
	if (h->hb)
		heartbeat_set(h->hb, v);
}
