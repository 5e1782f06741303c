// SPDX-License-Identifier: GPL-2.0-or-later
/* See backup_data.h. Everything but the constructor and the queue's ends runs on the data thread. */
#include "replicator/backup_data.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/queue.h"
#include "lib/tls.h"
#include "lib/wire_v1_drill.h"
#include "replicator/apply.h"
#include "replicator/backup_ports.h"
#include "replicator/drill_feed.h"
#include "replicator/drill_share.h"
#include "replicator/epoch.h"
#include "replicator/xen_version.h"

#define COMMANDS 64
#define MESSAGES 512
/* Figures are for people: they leave the queue to what must be known. */
#define MESSAGES_BUSY 64
/* One record of 4 MiB: a standby that takes nothing for so long is tried again, so often. */
#define STALL_NS (5 * NS_PER_SEC)
#define STALL_TRIES 4
/* How long the restorer may take to swallow the first copy's tail. */
#define DRAIN_NS (60 * NS_PER_SEC)
#define DRAIN_POLL_MS 2
#define PROGRESS_NS (200 * NS_PER_MS)
#define LAST_WORD_NS (2 * NS_PER_SEC)

/* Why nothing is read from the peer at the moment. */
enum pause {
	READING,
	AWAIT_WELCOME, /* HELLO was given to control */
	AWAIT_STREAM,  /* CONFIG was given to control: no standby yet */
	AWAIT_APPLY,   /* an epoch is whole */
	AWAIT_DISK,    /* a server has no room for `held` */
	FINISHED,      /* the standby completes itself: what comes now comes too late */
};

struct backup_data {
	struct bd_conf conf;
	struct queue *commands;
	struct queue *messages;
	int stop_fd;
	pthread_t thread;
	bool started;

	/* The thread's own. */
	struct conn *conn;
	struct page_dec *dec;
	struct apply *apply;
	struct wire_static *statics; /* scratch: too large for the stack */
	struct page_counters told;   /* the decoder's at the last EPOCH_END */
	enum pause pause;
	uint64_t sealed; /* the epoch that waits, EPOCH_NONE */
	uint64_t mem_pages;
	uint32_t arena_pages;
	uint64_t progress_at_ns;
	uint64_t round_done, round_total;
	uint32_t round;
	bool bye;
	bool stop;
	struct backup_ports *disks; /* NULL: none, or DISKS has not come */
	struct frame held;
	struct drill_feed drill;
	uint64_t figures_at_ns;
	char vm[NAME_SIZE];
};

/* ---- messages ---- */

static void post(struct backup_data *d, struct bd_msg *m)
{
	m->at_ns = clock_now();
	if (!queue_put(d->messages, m))
		die("the control thread does not read its messages");
}

static void post_text(struct backup_data *d, enum bd_msg_type type, const char *text)
{
	struct bd_msg m = {.type = type};

	snprintf(m.text, sizeof(m.text), "%s", text);
	post(d, &m);
}

static void drop_link(struct backup_data *d, const char *text)
{
	conn_free(d->conn);
	d->conn = NULL;
	if (d->pause == AWAIT_DISK)
		d->pause = READING; /* `held` was the connection's */
	post_text(d, BD_LINK_DOWN, text);
}

/* ---- frames of the session ---- */

static void last_word(struct backup_data *d, enum frame_type type, const struct bd_cmd *cmd);

/* Only here is it known what the peer speaks: the rest of its HELLO may mean anything. */
static void refuse_version(struct backup_data *d, const char *why)
{
	struct bd_cmd cmd = {.type = BD_REFUSE, .code = WIRE_BAD_VERSION};

	log_warn("refusing %s: %s", conn_peer_name(d->conn), why);
	snprintf(cmd.text, sizeof(cmd.text), "%s", why);
	last_word(d, FRAME_REFUSE, &cmd);
}

static int on_hello(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct bd_msg m = {.type = BD_HELLO};
	uint16_t version;
	int rc = wire_hello_version(f, &version, e);

	if (rc == -EPROTO) {
		refuse_version(d, e->text);
		return 0;
	}
	if (rc == 0)
		rc = wire_hello_decode(f, &m.hello, e);
	if (rc == 0)
		rc = conn_export_key(d->conn, HEARTBEAT_LABEL, m.hb_secret, sizeof(m.hb_secret), e);
	if (rc < 0)
		return rc;
	snprintf(m.peer_name, sizeof(m.peer_name), "%s", conn_peer_name(d->conn));
	memcpy(d->vm, m.hello.vm, sizeof(d->vm));
	conn_local_addr(d->conn, &m.local);
	d->pause = AWAIT_WELCOME;
	post(d, &m);
	tls_wipe(m.hb_secret, sizeof(m.hb_secret));
	return 0;
}

/* In place of a session. */
static int on_ask_facts(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct bd_msg m = {.type = BD_ASK_FACTS};
	struct wire_ask_facts ask;
	int rc = wire_ask_facts_decode(f, &ask, e);

	if (rc < 0)
		return rc;
	snprintf(m.peer_name, sizeof(m.peer_name), "%s", conn_peer_name(d->conn));
	memcpy(m.hello.vm, ask.vm, sizeof(m.hello.vm));
	d->pause = AWAIT_WELCOME;
	post(d, &m);
	return 0;
}

static int on_config(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct bd_msg m = {.type = BD_CONFIG};
	const char *json;
	int rc = wire_config_decode(f, &json, &m.json_size, e);

	if (rc < 0)
		return rc;
	m.json = mem_dup(json, m.json_size);
	if (!m.json)
		return err_set(e, -ENOMEM, "configuration of %zu bytes", m.json_size);
	d->pause = AWAIT_STREAM;
	post(d, &m);
	return 0;
}

static int on_static(struct backup_data *d, const struct frame *f, struct err *e)
{
	int rc = wire_static_decode(f, d->statics, e);

	return rc < 0 ? rc : apply_static(d->apply, d->statics, e);
}

static int on_round(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct wire_copy_round m;
	int rc = wire_copy_round_decode(f, &m, e);

	if (rc < 0)
		return rc;
	d->round = m.round;
	d->round_total = m.pages;
	d->round_done = 0;
	return 0;
}

static void tell_progress(struct backup_data *d)
{
	struct bd_msg m = {.type = BD_PROGRESS};
	uint64_t now = clock_now();

	if (now < d->progress_at_ns)
		return;
	d->progress_at_ns = now + PROGRESS_NS;
	m.round = d->round;
	m.done = d->round_done;
	m.total = d->round_total;
	post(d, &m);
}

static int on_pages(struct backup_data *d, const struct frame *f, struct err *e)
{
	const uint8_t *page;
	uint32_t count;
	uint64_t pfn;
	struct rd r;
	int rc = wire_pages_decode(f, &count, &r, e);

	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		rc = page_decode(d->dec, &r, &pfn, &page, e);
		if (rc == 0)
			rc = apply_page(d->apply, pfn, page, e);
	}
	if (rc == 0 && !rd_done(&r))
		rc = err_setx(e, -EBADMSG, "PAGES has bytes after its %u records", count);
	d->round_done += count;
	if (rc == 0 && f->h.epoch == 0)
		tell_progress(d);
	return rc;
}

static int on_state(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct wire_state st;
	int rc = wire_state_decode(f, &st, e);

	return rc < 0 ? rc : apply_state(d->apply, &st, e);
}

/* What the primary says it sent is what came: number, bytes, digest. */
static int verify(struct backup_data *d, const struct wire_epoch_end *end, struct bd_msg *m,
		  struct err *e)
{
	struct page_counters now;
	uint64_t pages, bytes, digest = page_dec_digest(d->dec);

	page_dec_counters(d->dec, &now);
	pages = page_records(&now) - page_records(&d->told);
	bytes = now.wire_bytes - d->told.wire_bytes;
	d->told = now;
	m->pages = (uint32_t)pages;
	m->wire = now;
	if (end->pages != pages || end->wire_bytes != bytes)
		return err_setx(e, -EBADMSG,
				"epoch has %llu pages in %llu bytes, its end says %llu in %llu",
				(unsigned long long)pages, (unsigned long long)bytes,
				(unsigned long long)end->pages,
				(unsigned long long)end->wire_bytes);
	if (end->digest != digest)
		return err_setx(e, -EBADMSG, "the epoch's digest does not match its pages");
	return 0;
}

/*
 * The first copy was passed on as it came. It is complete when the restorer has taken all of it: a build that
 * fails (no memory, say) must show before anybody counts on it.
 */
static int feed_first_copy(struct backup_data *d, struct err *e)
{
	struct pollfd p = {.fd = d->stop_fd, .events = POLLIN};
	uint64_t deadline = clock_now() + DRAIN_NS;
	int rc = -ETIMEDOUT;

	for (int i = 0; rc == -ETIMEDOUT && i < STALL_TRIES; i++)
		rc = apply_commit(d->apply, 0, e);
	if (rc < 0)
		return rc;
	while ((rc = apply_drained(d->apply, e)) == -EAGAIN) {
		if (clock_now() >= deadline)
			return err_setx(e, -ETIMEDOUT, "the standby does not take the first copy");
		if (poll(&p, 1, DRAIN_POLL_MS) > 0)
			return err_setx(e, -ECANCELED, "asked to stop");
	}
	return rc;
}

static int on_epoch_end(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct bd_msg m = {.type = BD_EPOCH_COMPLETE, .epoch = f->h.epoch};
	struct wire_epoch_end end;
	struct conn_info info;
	int rc = wire_epoch_end_decode(f, &end, e);

	if (rc == 0)
		rc = verify(d, &end, &m, e);
	if (rc == 0)
		rc = apply_seal(d->apply, f->h.epoch, e);
	if (rc < 0)
		return rc;
	if (f->h.epoch == 0) {
		rc = feed_first_copy(d, e);
		if (rc < 0) {
			post_text(d, BD_APPLY_FAILED, e->text);
			d->pause = AWAIT_APPLY;
			return 0;
		}
	}
	conn_info(d->conn, &info);
	m.received_bytes = info.bytes_received;
	d->sealed = f->h.epoch;
	d->pause = AWAIT_APPLY;
	post(d, &m);
	return 0;
}

static int on_bye(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct bd_msg m = {.type = BD_BYE};
	struct wire_bye bye;
	int rc = wire_bye_decode(f, &bye, e);

	if (rc < 0)
		return rc;
	d->bye = true;
	m.reason = bye.reason;
	snprintf(m.text, sizeof(m.text), "%.400s", bye.text);
	post(d, &m);
	return 0;
}

static int on_handover(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct bd_msg m = {.type = BD_HANDOVER, .epoch = f->h.epoch};
	struct wire_handover handover;
	int rc = wire_handover_decode(f, &handover, e);

	if (rc < 0)
		return rc;
	m.reason = handover.reason;
	snprintf(m.text, sizeof(m.text), "%.400s", handover.text);
	post(d, &m);
	return 0;
}

/* ---- drills ---- */

static int on_drill(struct backup_data *d, const struct frame *f, struct err *e)
{
	struct bd_msg m = {.type = BD_DRILL_ASKED};
	struct wire_drill q;
	int rc = wire_drill_decode(f, &q, e);

	if (rc < 0)
		return rc;
	m.drill = q.id;
	m.json = mem_dup(q.text, q.size);
	m.json_size = q.size;
	/* Without memory the tool hears nothing, and says so. */
	if (m.json)
		post(d, &m);
	return 0;
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

static void answer_drill(struct backup_data *d, const struct bd_cmd *cmd)
{
	const struct wire_drill m = {.id = cmd->drill, .text = cmd->json, .size = cmd->json_size};
	uint64_t deadline = clock_now() + d->conf.send_timeout_ns;
	struct err e = ERR_INIT;
	struct wr w;
	int rc;

	if (!d->conn)
		return;
	rc = conn_begin(d->conn, FRAME_DRILL_SAYS, FRAME_NO_EPOCH, &w, deadline, &e);
	if (rc == 0) {
		wire_drill_encode(&w, &m);
		rc = conn_end(d->conn, &w, &e);
	}
	if (rc == 0)
		rc = conn_flush(d->conn, deadline, &e);
	if (rc < 0)
		drop_link(d, e.text);
}

/* ---- disks ---- */

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
	last_word(d, FRAME_REFUSE, &cmd);
	return 0;
}

/* Does this error mean that the standby is lost, and not the link? */
static bool is_stream_error(int rc)
{
	return rc == -EPIPE || rc == -ETIMEDOUT;
}

static int on_disks(struct backup_data *d, const struct frame *f, struct err *e)
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
static int on_disk(struct backup_data *d, const struct frame *f, struct err *e)
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

static void pump_disks(struct backup_data *d)
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

static int on_frame(struct backup_data *d, const struct frame *f, struct err *e)
{
	switch (f->h.type) {
	case FRAME_HELLO:
		return on_hello(d, f, e);
	case FRAME_ASK_FACTS:
		return on_ask_facts(d, f, e);
	case FRAME_CONFIG:
		return on_config(d, f, e);
	case FRAME_STATIC:
		return on_static(d, f, e);
	case FRAME_COPY_ROUND:
		return on_round(d, f, e);
	case FRAME_PAGES:
		return on_pages(d, f, e);
	case FRAME_STATE:
		return on_state(d, f, e);
	case FRAME_EPOCH_END:
		return on_epoch_end(d, f, e);
	case FRAME_BYE:
		return on_bye(d, f, e);
	case FRAME_HANDOVER:
		return on_handover(d, f, e);
	case FRAME_DISKS:
		return on_disks(d, f, e);
	case FRAME_DISK_HASH:
	case FRAME_DISK_DATA:
	case FRAME_DISK_END:
	case FRAME_DISK_VERIFY:
		return on_disk(d, f, e);
	case FRAME_DRILL:
		return on_drill(d, f, e);
	default:
		return 0; /* KEEPALIVE */
	}
}

static void read_peer(struct backup_data *d)
{
	struct err e = ERR_INIT;
	struct frame f;
	int rc;

	while (d->conn && d->pause == READING) {
		rc = conn_recv(d->conn, &f, 0, &e);
		if (rc == -ETIMEDOUT)
			return;
		if (rc == 0) {
			rc = on_frame(d, &f, &e);
			if (is_stream_error(rc)) {
				post_text(d, BD_APPLY_FAILED, e.text);
				d->pause = AWAIT_APPLY;
				return;
			}
		}
		if (rc < 0)
			drop_link(d, e.text);
	}
}

/* ---- commands ---- */

static int say(struct backup_data *d, enum frame_type type, uint64_t epoch, struct err *e,
	       const struct bd_cmd *cmd)
{
	uint64_t deadline = clock_now() + d->conf.send_timeout_ns;
	struct wire_refuse refuse = {.code = cmd->code, .term = cmd->term};
	struct wr w;
	int rc;

	if (!d->conn)
		return err_setx(e, -ENOTCONN, "no session");
	rc = conn_begin(d->conn, type, epoch, &w, deadline, e);
	if (rc < 0)
		return rc;
	if (type == FRAME_HELLO_OK) {
		wire_hello_ok_encode(&w, &cmd->hello_ok);
	} else if (type == FRAME_REFUSE) {
		snprintf(refuse.text, sizeof(refuse.text), "%s", cmd->text);
		wire_refuse_encode(&w, &refuse);
	} else if (type == FRAME_FACTS) {
		wire_facts_encode(&w, cmd->json, cmd->json_size);
	} else {
		wire_term_encode(&w, cmd->term);
	}
	rc = conn_end(d->conn, &w, e);
	return rc < 0 ? rc : conn_flush(d->conn, deadline, e);
}

static void speak(struct backup_data *d, enum frame_type type, uint64_t epoch,
		  const struct bd_cmd *cmd)
{
	struct err e = ERR_INIT;

	if (say(d, type, epoch, &e, cmd) < 0 && d->conn)
		drop_link(d, e.text);
}

static void last_word(struct backup_data *d, enum frame_type type, const struct bd_cmd *cmd)
{
	struct err e = ERR_INIT;

	if (!d->conn)
		return;
	if (say(d, type, FRAME_NO_EPOCH, &e, cmd) == 0 &&
	    conn_finish(d->conn, clock_now() + LAST_WORD_NS, &e) == 0)
		e.text[0] = '\0';
	drop_link(d, e.text);
}

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
	speak(d, FRAME_HELLO_OK, FRAME_NO_EPOCH, cmd);
	if (d->conn)
		conn_set_version(d->conn, cmd->hello_ok.version);
}

static void take_stream(struct backup_data *d, int fd)
{
	struct apply_conf ac = {
		.arena_pages = d->arena_pages,
		.lock = true,
		.mem_pages = d->mem_pages,
		.stall_ns = STALL_NS,
		.wake_fd = d->stop_fd,
	};
	struct err e = ERR_INIT;
	int rc = xen_version(&ac.xen_major, &ac.xen_minor, &e);

	if (rc == 0)
		rc = apply_new_take(&d->apply, &ac, fd, &e);
	if (rc < 0) {
		close(fd);
		post_text(d, BD_APPLY_FAILED, e.text);
		return;
	}
	d->pause = READING;
}

static void apply_epoch(struct backup_data *d, uint64_t epoch)
{
	struct bd_msg done = {.type = BD_APPLIED, .epoch = epoch};
	struct err e = ERR_INIT;
	int rc = -ETIMEDOUT;

	if (epoch == 0)
		rc = 0; /* fed when it was complete */
	else
		drill_feed_before(&d->drill, d->apply, epoch);
	for (int i = 0; rc == -ETIMEDOUT && i < STALL_TRIES; i++)
		rc = apply_commit(d->apply, epoch, &e);
	if (rc < 0) {
		post_text(d, BD_APPLY_FAILED, e.text);
		return;
	}
	drill_feed_after(&d->drill);
	d->sealed = EPOCH_NONE;
	d->pause = READING;
	post(d, &done);
}

static void finish_stream(struct backup_data *d)
{
	struct err e = ERR_INIT;

	drill_feed_end(&d->drill);
	if (apply_finish(d->apply, &e) < 0) {
		post_text(d, BD_APPLY_FAILED, e.text);
		return;
	}
	/* The VM runs here from now on, and has better use for the memory. */
	apply_free(d->apply);
	d->apply = NULL;
	page_dec_free(d->dec);
	d->dec = NULL;
	d->pause = FINISHED;
	post_text(d, BD_FINISHED, "");
}

static void obey(struct backup_data *d, const struct bd_cmd *cmd)
{
	switch (cmd->type) {
	case BD_HELLO_OK:
		begin_session(d, cmd);
		break;
	case BD_REFUSE:
		last_word(d, FRAME_REFUSE, cmd);
		break;
	case BD_STREAM:
		take_stream(d, cmd->fd);
		break;
	case BD_ACK:
		speak(d, FRAME_ACK, cmd->epoch, cmd);
		break;
	case BD_APPLY:
		apply_epoch(d, cmd->epoch);
		break;
	case BD_DROP:
		/* A sealed epoch that was not committed is dropped with the partial one. */
		if (d->apply)
			apply_drop(d->apply);
		d->sealed = EPOCH_NONE;
		break;
	case BD_FINISH:
		finish_stream(d);
		break;
	case BD_TAKEOVER:
		last_word(d, FRAME_TAKEOVER, cmd);
		break;
	case BD_BYE_OK:
		last_word(d, FRAME_BYE_OK, cmd);
		break;
	case BD_DISCONNECT:
		drop_link(d, "");
		break;
	case BD_FACTS:
		last_word(d, FRAME_FACTS, cmd);
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
		answer_drill(d, cmd);
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
		rc = on_frame(d, &f, &e);
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
		read_peer(d);
		pump_disks(d);
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
