// SPDX-License-Identifier: GPL-2.0-or-later
/* The disks on the primary's data thread: passes on what there is of them, and waits for them; see primary_data_impl.h. */
#include "replicator/primary_data_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "replicator/primary_ports.h"

/* The backup connects to its servers, which may have a journal to read. */
#define DISKS_OK_NS (30 * NS_PER_SEC)
/* P4: so long the output stays held, or a guest alive, for what a disk is to remember. */
#define SETTLE_NS (10 * NS_PER_SEC)
#define DISK_FIGURES_NS (200 * NS_PER_MS)
#define DISK_END_POLL_MS 20

static void post_figures(struct primary_data *d, unsigned int i)
{
	const struct disk_link *l = primary_ports_link(d->disks);
	const struct port_state *st = disk_link_state(l, i);
	struct pd_msg m = {.type = PD_DISK,
			   .index = i,
			   .disk = {.up = disk_link_is_up(l, i),
				    .state = st->state,
				    .synced = primary_ports_is_synced(d->disks, i),
				    .generation = st->gen.current,
				    .size = st->size,
				    .behind_bytes = st->dirty_bytes,
				    .fill_percent = disk_link_fill(l, i),
				    .durable = primary_ports_durable(d->disks, i),
				    .journal_free_bytes = primary_ports_peer_free(d->disks, i),
				    .compared = *disk_link_compared(l, i)}};

	snprintf(m.disk.name, sizeof(m.disk.name), "%s", disk_link_name(l, i));
	snprintf(m.disk.why, sizeof(m.disk.why), "%.150s", st->why);
	post(d, &m);
}

int primary_data_pump_disks__(struct primary_data *d)
{
	struct err e = ERR_INIT;
	uint64_t now;
	int rc;

	if (!d->disks)
		return 0;
	rc = primary_ports_pump(d->disks, d->link.conn, &e);
	if (rc < 0) {
		drop_link(d, e.text);
		return rc;
	}
	now = clock_now();
	if (d->link.conn && now >= primary_ports_deadline(d->disks)) {
		drop_link(d, "the backup does not answer for its disks");
		return -ETIMEDOUT;
	}
	if (now < d->figures_at_ns)
		return 0;
	d->figures_at_ns = now + DISK_FIGURES_NS;
	for (unsigned int i = 0; i < disk_link_disks(primary_ports_link(d->disks)); i++) {
		if (primary_ports_changed(d->disks, i))
			post_figures(d, i);
	}
	return 0;
}

static void wait_for_disks(struct primary_data *d)
{
	struct pollfd p[WIRE_MAX_DISKS + 2];
	unsigned int n = primary_ports_poll(d->disks, p);

	p[n++] = (struct pollfd){.fd = d->urgent_fd, .events = POLLIN};
	if (d->link.conn && !(conn_ready(d->link.conn) & CONN_FRAME))
		p[n++] = (struct pollfd){.fd = conn_fd(d->link.conn),
					 .events = conn_events(d->link.conn)};
	if (poll(p, n, primary_ports_more(d->disks) ? 0 : DISK_END_POLL_MS) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
}

static bool is_urgent(const struct primary_data *d)
{
	struct pollfd p = {.fd = d->urgent_fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* checkpoint.before_end: all of the epoch's writes are on their way before its end is. */
static int disks_before_end(void *arg, uint64_t epoch, struct err *e)
{
	struct primary_data *d = arg;
	uint64_t deadline = clock_now() + d->conf.timing.send_timeout_ns;

	while (!primary_ports_ended(d->disks)) {
		if (!primary_ports_whole(d->disks))
			return err_setx(e, -ENODATA, "a disk is not in the stream");
		if (is_urgent(d))
			return err_setx(e, -ECANCELED, "cancelled");
		if (clock_now() >= deadline)
			return err_setx(e, -ETIMEDOUT,
					"a disk's server did not end epoch %" PRIu64 " in time",
					epoch);
		if (primary_data_pump_disks__(d) < 0 || primary_data_read_peer__(d) < 0)
			return err_setx(e, -ENOTCONN, "the session ended");
		if (!primary_ports_ended(d->disks))
			wait_for_disks(d);
	}
	return 0;
}

void primary_data_settle_disks__(struct primary_data *d, enum pd_msg_type answer)
{
	uint64_t deadline = clock_now() + SETTLE_NS;
	struct pd_msg m = {.type = answer};
	struct err e = ERR_INIT;
	int rc;

	rc = answer == PD_DISKS_ALONE_DONE ? primary_ports_alone(d->disks, deadline, &e)
					   : primary_ports_deposed(d->disks, deadline, &e);
	/* Whoever wants the session dropped has said so behind this command. */
	m.again = rc == -ECANCELED;
	if (rc < 0)
		snprintf(m.text, sizeof(m.text), "%s", e.text);
	post(d, &m);
}

static void disks_tell(void *arg, enum primary_ports_news news, const char *text)
{
	static const enum pd_msg_type types[] = {
		[PRIMARY_PORTS_SYNCED] = PD_DISKS_SYNCED,
		[PRIMARY_PORTS_DROPPED] = PD_DISK_DROPPED,
		[PRIMARY_PORTS_ERROR] = PD_DISK_ERROR,
		[PRIMARY_PORTS_PRESSURE] = PD_DISK_PRESSURE,
	};

	post_text(arg, types[news], 0, text);
}

int primary_data_set_up_disks__(struct primary_data *d, struct err *e)
{
	struct primary_ports_conf c = {
		.link = *d->conf.disks,
		.open_timeout_ns = d->conf.timing.handshake_timeout_ns,
		.answer_timeout_ns = DISKS_OK_NS,
		.send_timeout_ns = d->conf.timing.send_timeout_ns,
		.tell = disks_tell,
		.arg = d,
	};
	int rc;

	c.link.side = FRAME_PRIMARY;
	c.link.run_dir = d->conf.conf->run_dir;
	c.link.vm = d->conf.vm;
	c.link.wake_fd = d->urgent_fd;
	d->cp.before_end = disks_before_end;
	d->cp.arg = d;
	rc = primary_ports_new(&d->disks, &c, e);
	d->link.disks = d->disks;
	return rc;
}
