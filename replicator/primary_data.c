// SPDX-License-Identifier: GPL-2.0-or-later
/* See primary_data.h. Everything but the constructor and the queue's ends runs on the data thread. */
#include "replicator/primary_data.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/queue.h"
#include "replicator/primary_data_impl.h"
#include "replicator/primary_ports.h"

/* The core has a handful of commands outstanding; messages pile up only while control runs a tool. */
#define COMMANDS 64
#define MESSAGES 4096

/* ---- the thread ---- */

static void obey(struct primary_data *d, const struct pd_cmd *cmd)
{
	switch (cmd->type) {
	case PD_CONNECT:
		primary_data_connect__(d, cmd);
		break;
	case PD_DISCONNECT:
		primary_data_disconnect__(d);
		break;
	case PD_START_COPY:
		primary_data_start_copy__(d);
		break;
	case PD_CHECKPOINT:
		primary_data_checkpoint__(d, cmd);
		break;
	case PD_BYE:
		primary_data_bye__(d, cmd);
		break;
	case PD_THROTTLE:
		primary_data_throttle__(d, cmd);
		break;
	case PD_STOP:
		d->stop = true;
		break;
	case PD_DISKS_SYNC:
		primary_data_disks_sync__(d);
		break;
	case PD_DISKS_ACKED:
		primary_ports_acked(d->disks, cmd->epoch);
		break;
	case PD_DISKS_LEAVE:
		primary_ports_leave(d->disks);
		break;
	case PD_DISKS_ALONE:
		primary_data_settle_disks__(d, PD_DISKS_ALONE_DONE);
		break;
	case PD_DISKS_DEPOSED:
		primary_data_settle_disks__(d, PD_DISKS_DEPOSED_DONE);
		break;
	case PD_DISKS_VERIFY:
		primary_ports_verify(d->disks, cmd->pass);
		break;
	case PD_HANDOVER:
		primary_data_handover__(d, cmd);
		break;
	case PD_RESUME:
		primary_data_resume__(d);
		break;
	case PD_DRILL:
		primary_data_drill__(d, cmd);
		break;
	}
}

static void wait_for_work(struct primary_data *d)
{
	struct pollfd p[2 + WIRE_MAX_DISKS] = {{.fd = queue_fd(d->commands), .events = POLLIN},
					       {.fd = -1}};
	uint64_t now = clock_now();
	unsigned int n = 2;

	if (d->link.conn) {
		if (conn_ready(d->link.conn) & CONN_FRAME)
			return;
		p[1].fd = conn_fd(d->link.conn);
		p[1].events = conn_events(d->link.conn);
	}
	if (d->disks && primary_ports_more(d->disks))
		now = d->health_at_ns; /* only a look */
	if (d->disks)
		n += primary_ports_poll(d->disks, p + n);
	if (poll(p, n, clock_poll_ms(clock_until(d->health_at_ns, now))) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
}

static void *data_thread(void *arg)
{
	struct primary_data *d = arg;
	struct pd_cmd cmd;

	while (!d->stop) {
		wait_for_work(d);
		(void)primary_data_read_peer__(d);
		(void)primary_data_pump_disks__(d);
		while (!d->stop && queue_get(d->commands, &cmd))
			obey(d, &cmd);
		if (clock_now() >= d->health_at_ns)
			primary_data_check_health__(d);
	}
	primary_link_close(&d->link);
	primary_ports_free(d->disks);
	d->disks = d->link.disks = NULL;
	post_text(d, PD_STOPPED, 0, "");
	return NULL;
}

/* ---- control thread ---- */

static int set_up(struct primary_data *d, struct err *e)
{
	int rc;

	d->urgent_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->urgent_fd < 0)
		return err_set(e, -errno, "eventfd");
	rc = queue_new(&d->commands, sizeof(struct pd_cmd), COMMANDS, e);
	if (rc == 0)
		rc = queue_new(&d->messages, sizeof(struct pd_msg), MESSAGES, e);
	if (rc == 0)
		rc = arena_init(&d->arena, d->conf.arena_pages, true, e);
	if (rc < 0)
		return rc;
	d->json = mem_alloc(WIRE_CONFIG_MAX + 1);
	d->cp.dirty = mem_array(guest_bitmap_words(d->guest), sizeof(uint64_t));
	if (!d->json || !d->cp.dirty)
		return err_set(e, -ENOMEM, "dirty bitmap");
	d->cp.guest = d->guest;
	d->cp.n_devices = d->conf.n_devices;
	memcpy(d->cp.device, d->conf.device, sizeof(d->cp.device));
	d->cp.arena = &d->arena;
	if (d->conf.disks)
		rc = primary_data_set_up_disks__(d, e);
	if (rc < 0)
		return rc;
	rc = -pthread_create(&d->thread, NULL, data_thread, d);
	if (rc < 0)
		return err_set(e, rc, "data thread");
	d->started = true;
	return 0;
}

int primary_data_new(struct primary_data **out, const struct pd_conf *conf, struct guest *guest,
		     struct err *e)
{
	struct primary_data *d = mem_zalloc(sizeof(*d));
	int rc;

	*out = NULL;
	if (!d)
		return err_set(e, -ENOMEM, "data thread");
	d->conf = *conf;
	d->guest = guest;
	d->urgent_fd = -1;
	d->health_said = GUEST_HEALTH_RUNNING;
	rc = set_up(d, e);
	if (rc < 0) {
		primary_data_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void primary_data_command(struct primary_data *d, const struct pd_cmd *cmd)
{
	if (!queue_put(d->commands, cmd))
		die("the data thread has %d commands waiting", COMMANDS);
}

bool primary_data_busy(const struct primary_data *d)
{
	return queue_depth(d->commands) >= COMMANDS / 2;
}

void primary_data_cancel(struct primary_data *d)
{
	uint64_t one = 1;

	if (write(d->urgent_fd, &one, sizeof(one)) < 0)
		log_warn("urgent descriptor: %s", strerror(errno));
}

int primary_data_fd(const struct primary_data *d)
{
	return queue_fd(d->messages);
}

bool primary_data_next(struct primary_data *d, struct pd_msg *msg)
{
	return queue_get(d->messages, msg);
}

/* Of questions about drills that nobody has come to. */
static void forget_texts(struct primary_data *d)
{
	struct pd_cmd cmd;
	struct pd_msg m;

	while (d->commands && queue_get(d->commands, &cmd))
		mem_free(cmd.text);
	while (d->messages && queue_get(d->messages, &m))
		mem_free(m.json);
}

void primary_data_free(struct primary_data *d)
{
	const struct pd_cmd stop = {.type = PD_STOP};

	if (!d)
		return;
	if (d->started) {
		primary_data_cancel(d);
		primary_data_command(d, &stop);
		pthread_join(d->thread, NULL);
	}
	forget_texts(d);
	primary_ports_free(d->disks);
	page_enc_free(d->enc);
	arena_fini(&d->arena);
	queue_free(d->commands);
	queue_free(d->messages);
	mem_free(d->json);
	mem_free(d->cp.dirty);
	if (d->urgent_fd >= 0)
		close(d->urgent_fd);
	mem_free(d);
}
