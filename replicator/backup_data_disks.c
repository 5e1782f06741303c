// SPDX-License-Identifier: GPL-2.0-or-later
/* The disks on the backup's data thread: what comes for them, and what they say; see backup_data_impl.h. */
#include "replicator/backup_data_impl.h"

#include <errno.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/queue.h"
#include "replicator/backup_ports.h"

/* Figures are for people: they leave the queue to what must be known. */
#define MESSAGES_BUSY 64

static void disks_tell(void *arg, const struct backup_ports_news_item *news)
{
	static const enum bd_msg_type types[] = {
		[BACKUP_PORTS_HELD] = BD_DISK_HELD,	[BACKUP_PORTS_DURABLE] = BD_DISK_DURABLE,
		[BACKUP_PORTS_FAILED] = BD_DISK_FAILED, [BACKUP_PORTS_ACTIVE] = BD_DISKS_ACTIVE,
		[BACKUP_PORTS_LEFT] = BD_DISKS_LEFT,
	};
	struct bd_msg m = {.type = types[news->type],
			   .disk = (uint8_t)news->disk,
			   .epoch = news->epoch,
			   .waits = news->waits};

	snprintf(m.text, sizeof(m.text), "%s", news->text ? news->text : "");
	post(arg, &m);
}

static int refuse_disks(struct backup_data *d, const char *why)
{
	struct bd_cmd cmd = {.type = BD_REFUSE, .code = WIRE_BAD_CONFIG};

	log_warn("refusing %s: %s", conn_peer_name(d->conn), why);
	snprintf(cmd.text, sizeof(cmd.text), "%s", why);
	backup_data_last_word__(d, FRAME_REFUSE, &cmd);
	return 0;
}

int backup_data_on_disks__(struct backup_data *d, const struct frame *f, struct err *e)
{
	const struct backup_ports_conf c = {
		.conf = d->conf.conf,
		.vm = d->vm,
		.wake_fd = d->stop_fd,
		.open_timeout_ns = d->conf.handshake_timeout_ns,
		.send_timeout_ns = d->conf.send_timeout_ns,
		.tell = disks_tell,
		.arg = d,
	};
	struct bd_msg m = {.type = BD_DISKS};
	int rc;

	if (!d->conf.conf)
		return refuse_disks(d, "this host has no disks");
	rc = backup_ports_new(&d->disks, &c, f, d->conn, e);
	if (rc == -EOPNOTSUPP)
		return refuse_disks(d, e->text);
	/* Of the link, not of the standby's stream. */
	if (rc < 0)
		return is_stream_error(rc) ? err_wrap(e, -ECONNRESET, "DISKS_OK") : rc;
	m.n_disks = (uint8_t)backup_ports_count(d->disks);
	m.ack_mode = backup_ports_ack_mode(d->disks);
	post(d, &m);
	return 0;
}

/* The frame stays the connection's until the next is read: none is, as long as it waits. */
int backup_data_on_disk__(struct backup_data *d, const struct frame *f, struct err *e)
{
	int rc = d->disks ? backup_ports_frame(d->disks, f, e) : 0;

	if (rc != -EAGAIN)
		return rc;
	d->held = *f;
	d->pause = AWAIT_DISK;
	return 0;
}

static void post_figures(struct backup_data *d)
{
	for (unsigned int i = 0; i < backup_ports_count(d->disks); i++) {
		struct bd_msg m = {.type = BD_DISK, .disk = (uint8_t)i};

		if (queue_depth(d->messages) < MESSAGES_BUSY &&
		    backup_ports_figures(d->disks, i, &m.figures))
			post(d, &m);
	}
}

void backup_data_pump_disks__(struct backup_data *d)
{
	struct err e = ERR_INIT;
	uint64_t now = clock_now();

	if (!d->disks)
		return;
	if (backup_ports_pump(d->disks, d->conn, &e) < 0)
		drop_link(d, e.text);
	if (d->pause == AWAIT_DISK) {
		int rc = backup_ports_frame(d->disks, &d->held, &e);

		if (rc != -EAGAIN)
			d->pause = READING;
		if (rc < 0 && rc != -EAGAIN)
			drop_link(d, e.text);
	}
	if (now >= d->figures_at_ns) {
		d->figures_at_ns = now + PROGRESS_NS;
		post_figures(d);
	}
}
