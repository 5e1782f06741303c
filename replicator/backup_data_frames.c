// SPDX-License-Identifier: GPL-2.0-or-later
/* What the peer says to the backup's data thread, and what is of the session itself in it; see backup_data_impl.h. */
#include "replicator/backup_data_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/conn.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/tls.h"
#include "lib/wire_v1.h"
#include "lib/wire_v1_drill.h"

/* Only here is it known what the peer speaks: the rest of its HELLO may mean anything. */
static void refuse_version(struct backup_data *d, const char *why)
{
	struct bd_cmd cmd = {.type = BD_REFUSE, .code = WIRE_BAD_VERSION};

	log_warn("refusing %s: %s", conn_peer_name(d->conn), why);
	snprintf(cmd.text, sizeof(cmd.text), "%s", why);
	backup_data_last_word__(d, FRAME_REFUSE, &cmd);
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

int backup_data_on_frame__(struct backup_data *d, const struct frame *f, struct err *e)
{
	switch (f->h.type) {
	case FRAME_HELLO:
		return on_hello(d, f, e);
	case FRAME_ASK_FACTS:
		return on_ask_facts(d, f, e);
	case FRAME_CONFIG:
		return on_config(d, f, e);
	case FRAME_STATIC:
		return backup_data_on_static__(d, f, e);
	case FRAME_COPY_ROUND:
		return backup_data_on_round__(d, f, e);
	case FRAME_PAGES:
		return backup_data_on_pages__(d, f, e);
	case FRAME_STATE:
		return backup_data_on_state__(d, f, e);
	case FRAME_EPOCH_END:
		return backup_data_on_epoch_end__(d, f, e);
	case FRAME_BYE:
		return on_bye(d, f, e);
	case FRAME_HANDOVER:
		return on_handover(d, f, e);
	case FRAME_DISKS:
		return backup_data_on_disks__(d, f, e);
	case FRAME_DISK_HASH:
	case FRAME_DISK_DATA:
	case FRAME_DISK_END:
	case FRAME_DISK_VERIFY:
		return backup_data_on_disk__(d, f, e);
	case FRAME_DRILL:
		return on_drill(d, f, e);
	default:
		return 0; /* KEEPALIVE */
	}
}

void backup_data_read_peer__(struct backup_data *d)
{
	struct err e = ERR_INIT;
	struct frame f;
	int rc;

	while (d->conn && d->pause == READING) {
		rc = conn_recv(d->conn, &f, 0, &e);
		if (rc == -ETIMEDOUT)
			return;
		if (rc == 0) {
			rc = backup_data_on_frame__(d, &f, &e);
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
