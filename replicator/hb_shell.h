/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Heartbeats of one session on the control thread's loop; both sides. Control thread. */
#ifndef REPLICATOR_HB_SHELL_H
#define REPLICATOR_HB_SHELL_H

#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/compiler.h"
#include "replicator/heartbeat.h"

struct err;

struct hb_shell {
	/* Set by the caller: called when heartbeats of the peer came, with the newest. */
	void (*heard)(void *arg, const struct heartbeat_msg *newest);
	void *arg;

	/* Private. */
	struct heartbeat *hb;
	struct queue *queue;
	sd_event_source *source;
	int fd;
};

/*
 * fd is a heartbeat_socket(), taken in any case; conf->fd and conf->queue are filled in here, conf->secret is
 * wiped. 0 or negative errno, then nothing runs.
 */
MUST_CHECK int hb_shell_start_take(struct hb_shell *h, sd_event *loop, struct heartbeat_conf *conf,
				   int fd, struct err *e);
/* No-op when nothing runs. */
void hb_shell_stop(struct hb_shell *h);
/* What the next heartbeats say; no-op when nothing runs. */
void hb_shell_tell(struct hb_shell *h, const struct heartbeat_values *v);

#endif
