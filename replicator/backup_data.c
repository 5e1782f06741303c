// SPDX-License-Identifier: GPL-2.0-or-later
/* See backup_data.h. Everything but the constructor and the queue's ends runs on the data thread. */
#include "replicator/backup_data.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/queue.h"
#include "replicator/apply.h"
#include "replicator/backup_data_impl.h"
#include "replicator/backup_ports.h"
#include "replicator/drill_feed.h"
#include "replicator/drill_share.h"
#include "replicator/epoch.h"

#define COMMANDS 64
#define MESSAGES 512

/* ---- commands ---- */

static void begin_session(struct backup_data *d, const struct bd_cmd *cmd)
{
	struct err e = ERR_INIT;
	int rc = page_dec_new(&d->dec, cmd->cache_slots, cmd->mem_pages, &e);

	d->mem_pages = cmd->mem_pages;
	d->arena_pages = cmd->arena_pages;
	d->pause = READING;
	if (rc < 0) {
		drop_link(d, e.text);
		return;
	}
	backup_data_speak__(d, FRAME_HELLO_OK, FRAME_NO_EPOCH, cmd);
	if (d->conn)
		conn_set_version(d->conn, cmd->hello_ok.version);
}

static void begin_drill(struct backup_data *d, struct drill_share *share)
{
	if (d->apply) {
		drill_feed_begin_take(&d->drill, share, d->statics, d->apply);
		return;
	}
	drill_share_end(share);
	drill_share_close(share);
}

static void obey(struct backup_data *d, const struct bd_cmd *cmd)
{
	switch (cmd->type) {
	case BD_HELLO_OK:
		begin_session(d, cmd);
		break;
	case BD_REFUSE:
		backup_data_last_word__(d, FRAME_REFUSE, cmd);
		break;
	case BD_STREAM:
		backup_data_take_stream__(d, cmd->fd);
		break;
	case BD_ACK:
		backup_data_speak__(d, FRAME_ACK, cmd->epoch, cmd);
		break;
	case BD_APPLY:
		backup_data_apply_epoch__(d, cmd->epoch);
		break;
	case BD_DROP:
		/* A sealed epoch that was not committed is dropped with the partial one. */
		if (d->apply)
			apply_drop(d->apply);
		d->sealed = EPOCH_NONE;
		break;
	case BD_FINISH:
		backup_data_finish_stream__(d);
		break;
	case BD_TAKEOVER:
		backup_data_last_word__(d, FRAME_TAKEOVER, cmd);
		break;
	case BD_BYE_OK:
		backup_data_last_word__(d, FRAME_BYE_OK, cmd);
		break;
	case BD_DISCONNECT:
		drop_link(d, "");
		break;
	case BD_FACTS:
		backup_data_last_word__(d, FRAME_FACTS, cmd);
		mem_free(cmd->json);
		break;
	case BD_STOP:
		d->stop = true;
		break;
	case BD_DISKS_COMMIT:
		backup_ports_commit(d->disks, cmd->epoch);
		break;
	case BD_DISKS_ACTIVATE:
		backup_ports_activate(d->disks, cmd->epoch);
		break;
	case BD_DISKS_LEAVE:
		backup_ports_leave(d->disks);
		break;
	case BD_DRILL:
		begin_drill(d, cmd->share);
		break;
	case BD_DRILL_END:
		drill_feed_end(&d->drill);
		break;
	case BD_DRILL_SAYS:
		backup_data_answer_drill__(d, cmd);
		mem_free(cmd->json);
		break;
	}
}

/* ---- the thread ---- */

static void shake_hands(struct backup_data *d)
{
	const struct conn_conf cc = {
		.tls = d->conf.tls,
		.wake_fd = d->stop_fd,
		.handshake_deadline_ns = clock_now() + d->conf.handshake_timeout_ns,
		.user_timeout_ms = (uint32_t)(d->conf.send_timeout_ns / NS_PER_MS),
	};
	struct err e = ERR_INIT;
	struct frame f;
	int rc = conn_accept_take(&d->conn, d->conf.fd, &cc, &e);

	d->conf.fd = -1;
	if (rc < 0) {
		d->conn = NULL;
		post_text(d, BD_LINK_DOWN, e.text);
		return;
	}
	rc = conn_recv(d->conn, &f, cc.handshake_deadline_ns, &e);
	if (rc == 0)
		rc = backup_data_on_frame__(d, &f, &e);
	if (rc < 0)
		drop_link(d, e.text);
}

static void wait_for_work(struct backup_data *d)
{
	struct pollfd p[2 + WIRE_MAX_DISKS] = {{.fd = queue_fd(d->commands), .events = POLLIN},
					       {.fd = -1}};
	int timeout_ms = -1;
	unsigned int n = 2;

	if (d->conn && d->pause == READING) {
		if (conn_ready(d->conn) & CONN_FRAME)
			return;
		p[1].fd = conn_fd(d->conn);
		p[1].events = conn_events(d->conn);
	}
	if (d->disks) {
		n += backup_ports_poll(d->disks, p + n);
		timeout_ms =
			clock_poll_ms(clock_until(backup_ports_deadline(d->disks), clock_now()));
		if (backup_ports_more(d->disks))
			timeout_ms = 0;
	}
	if (drill_feed_waits(&d->drill) && (timeout_ms < 0 || timeout_ms > DRILL_FEED_POLL_MS))
		timeout_ms = DRILL_FEED_POLL_MS;
	if (poll(p, n, timeout_ms) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
}

static void *data_thread(void *arg)
{
	struct backup_data *d = arg;
	struct bd_cmd cmd;

	shake_hands(d);
	while (!d->stop) {
		wait_for_work(d);
		while (!d->stop && queue_get(d->commands, &cmd))
			obey(d, &cmd);
		backup_data_read_peer__(d);
		backup_data_pump_disks__(d);
		drill_feed_pump(&d->drill, d->apply);
	}
	drill_feed_end(&d->drill);
	backup_ports_free(d->disks);
	d->disks = NULL;
	conn_free(d->conn);
	d->conn = NULL;
	post_text(d, BD_STOPPED, "");
	return NULL;
}

/* ---- control thread ---- */

static int set_up(struct backup_data *d, struct err *e)
{
	int rc;

	d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->stop_fd < 0)
		return err_set(e, -errno, "eventfd");
	d->statics = mem_zalloc(sizeof(*d->statics));
	if (!d->statics)
		return err_set(e, -ENOMEM, "data thread");
	rc = queue_new(&d->commands, sizeof(struct bd_cmd), COMMANDS, e);
	if (rc == 0)
		rc = queue_new(&d->messages, sizeof(struct bd_msg), MESSAGES, e);
	if (rc < 0)
		return rc;
	rc = -pthread_create(&d->thread, NULL, data_thread, d);
	if (rc < 0)
		return err_set(e, rc, "data thread");
	d->started = true;
	return 0;
}

int backup_data_new(struct backup_data **out, const struct bd_conf *conf, struct err *e)
{
	struct backup_data *d = mem_zalloc(sizeof(*d));
	int rc;

	*out = NULL;
	if (!d) {
		close(conf->fd);
		return err_set(e, -ENOMEM, "data thread");
	}
	d->conf = *conf;
	d->stop_fd = -1;
	d->sealed = EPOCH_NONE;
	rc = set_up(d, e);
	if (rc < 0) {
		backup_data_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void backup_data_command(struct backup_data *d, const struct bd_cmd *cmd)
{
	if (!queue_put(d->commands, cmd))
		die("the data thread has %d commands waiting", COMMANDS);
}

bool backup_data_busy(const struct backup_data *d)
{
	return queue_depth(d->commands) >= COMMANDS / 2;
}

int backup_data_fd(const struct backup_data *d)
{
	return queue_fd(d->messages);
}

bool backup_data_next(struct backup_data *d, struct bd_msg *msg)
{
	return queue_get(d->messages, msg);
}

/* Not a timed join: that counts on the wall clock, which may step. */
static bool stopped_within(struct backup_data *d, uint64_t ns)
{
	uint64_t deadline = clock_add(clock_now(), ns);
	struct pollfd p = {.fd = queue_fd(d->messages), .events = POLLIN};
	struct bd_msg m;

	for (;;) {
		uint64_t left = clock_until(deadline, clock_now());

		while (queue_get(d->messages, &m)) {
			mem_free(m.json);
			if (m.type == BD_STOPPED)
				return true;
		}
		if (!left || (poll(&p, 1, clock_poll_ms(left)) < 0 && errno != EINTR))
			return false;
	}
}

/* What was said when the thread had ended. */
static void forget_commands(struct backup_data *d)
{
	struct bd_cmd cmd;

	while (queue_get(d->commands, &cmd)) {
		mem_free(cmd.json);
		drill_share_close(cmd.share);
		if (cmd.type == BD_STREAM)
			close(cmd.fd);
	}
}

void backup_data_free(struct backup_data *d)
{
	const struct bd_cmd stop = {.type = BD_STOP};
	uint64_t one = 1;
	struct bd_msg m;

	if (!d)
		return;
	if (d->started) {
		/* A last word under way (BYE_OK, REFUSE) decides what the primary may do: let it out. */
		backup_data_command(d, &stop);
		if (!stopped_within(d, LAST_WORD_NS) && write(d->stop_fd, &one, sizeof(one)) < 0)
			log_warn("stop descriptor: %s", strerror(errno));
		pthread_join(d->thread, NULL);
		while (queue_get(d->messages, &m))
			mem_free(m.json);
		forget_commands(d);
	}
	if (d->conf.fd >= 0)
		close(d->conf.fd);
	backup_ports_free(d->disks);
	apply_free(d->apply);
	page_dec_free(d->dec);
	queue_free(d->commands);
	queue_free(d->messages);
	mem_free(d->statics);
	if (d->stop_fd >= 0)
		close(d->stop_fd);
	mem_free(d);
}
