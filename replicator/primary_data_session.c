// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's data thread's session: its begin and end, and what is said in it beside the guest; see primary_data_impl.h. */
#include "replicator/primary_data_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/wire_v1_drill.h"

void primary_data_count_wire__(struct primary_data *d, struct pd_msg *m)
{
	struct conn_info info;

	page_enc_counters(d->enc, &m->wire);
	conn_info(d->link.conn, &info);
	m->sent_bytes = info.bytes_sent;
}

int primary_data_read_peer__(struct primary_data *d)
{
	struct err e = ERR_INIT;
	struct pd_msg m;
	int rc;

	while (d->link.conn) {
		rc = primary_link_read(&d->link, &m, &e);
		if (rc == 0)
			return 0;
		if (rc < 0) {
			drop_link(d, e.text);
			return rc;
		}
		post(d, &m);
		if (m.type == PD_REFUSED || m.type == PD_PEER_ACTIVATED) {
			drop_link(d, m.text);
			return -ECONNRESET;
		}
	}
	return -ENOTCONN;
}

void primary_data_connect__(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct err e = ERR_INIT;
	struct pd_msg m = {.type = PD_LINK_UP};
	struct conn_info info;
	int rc;

	guest_settle(d->guest);
	if (d->link.conn)
		primary_link_close(&d->link);
	rc = primary_link_open(&d->link, &d->conf, &d->guest->info, cmd, d->urgent_fd, &e);
	if (rc == 0)
		rc = conn_export_key(d->link.conn, HEARTBEAT_LABEL, m.hb_secret,
				     sizeof(m.hb_secret), &e);
	if (rc == -EOWNERDEAD) {
		m.type = PD_PEER_ACTIVATED;
		m.term = d->link.peer_term;
		snprintf(m.text, sizeof(m.text), "%s", e.text);
		post(d, &m);
		return;
	}
	if (rc < 0) {
		primary_link_close(&d->link);
		post_text(d, rc == -EREMOTEIO ? PD_REFUSED : PD_LINK_DOWN, 0, e.text);
		return;
	}
	conn_info(d->link.conn, &info);
	log_info("session with %s at %s, %s%s", info.peer_name, info.peer_addr, info.cipher,
		 info.ktls_send ? ", kernel TLS" : "");
	m.term = d->link.peer_term;
	m.hb_peer = d->link.heartbeat;
	conn_local_addr(d->link.conn, &m.hb_local);
	m.ktls = info.ktls_send;
	post(d, &m);
	tls_wipe(m.hb_secret, sizeof(m.hb_secret));
}

void primary_data_disconnect__(struct primary_data *d)
{
	uint64_t n;

	/* The urgent call was for what ran before this command. */
	if (read(d->urgent_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_warn("urgent descriptor: %s", strerror(errno));
	/* A session has one end: if it ended by itself, that was told. */
	if (d->link.conn)
		drop_link(d, "");
}

void primary_data_bye__(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct err e = ERR_INIT;

	guest_logdirty_disable(d->guest);
	if (d->link.conn &&
	    primary_link_send_bye(&d->link, cmd->leave,
				  clock_now() + d->conf.timing.send_timeout_ns, &e) < 0)
		drop_link(d, e.text);
}

void primary_data_handover__(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct err e = ERR_INIT;

	if (d->link.conn &&
	    primary_link_send_handover(&d->link, cmd->epoch, cmd->planned,
				       clock_now() + d->conf.timing.send_timeout_ns, &e) < 0)
		drop_link(d, e.text);
	/* It takes a while, for which a guest that is moved would stand still. */
	guest_logdirty_disable(d->guest);
}

/* Asking must not cost the session anything. */
void primary_data_drill__(struct primary_data *d, const struct pd_cmd *cmd)
{
	const struct wire_drill m = {.id = cmd->drill, .text = cmd->text, .size = cmd->text_size};
	struct pd_msg no = {.type = PD_DRILL_SAYS, .drill = cmd->drill};
	struct err e = ERR_INIT;
	int rc = err_setx(&e, -EAGAIN, "there is no session with the backup");

	if (d->link.conn)
		rc = primary_link_send_drill(&d->link, &m,
					     clock_now() + d->conf.timing.send_timeout_ns, &e);
	mem_free(cmd->text);
	if (rc == 0)
		return;
	snprintf(no.text, sizeof(no.text), "%s", e.text);
	post(d, &no);
	if (rc != -EAGAIN)
		drop_link(d, e.text);
}
