// SPDX-License-Identifier: GPL-2.0-or-later
/* See primary_link.h. Data thread. */
#include "replicator/primary_link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/mem.h"
#include "lib/wire_v1_drill.h"
#include "replicator/primary_ports.h"

static void fill_hello(struct wire_hello *m, const struct pd_conf *c, const struct guest_info *g,
		       const struct pd_cmd *cmd)
{
	memset(m, 0, sizeof(*m));
	m->version_min = FRAME_VERSION_MIN;
	m->version_max = FRAME_VERSION_MAX;
	m->flags = (cmd->adopt ? WIRE_HELLO_ADOPT : 0) | (c->alone ? WIRE_HELLO_ALONE : 0);
	memcpy(m->uuid, g->uuid, sizeof(m->uuid));
	m->term = cmd->term;
	m->mem_pages = g->p2m_pages;
	m->ram_pages = g->tot_pages;
	m->arena_pages = c->arena_pages;
	m->cache_slots = c->cache_slots;
	m->heartbeat_period_ms = (uint32_t)(c->timing.heartbeat_period_ns / NS_PER_MS);
	m->failure_timeout_ms = (uint32_t)(c->timing.failure_timeout_ns / NS_PER_MS);
	m->epoch_period_us = (uint32_t)(c->timing.epoch_period_ns / NS_PER_US);
	m->vcpus = g->vcpus;
	m->policy = (uint8_t)c->policy;
	if (c->policy == POLICY_ARBITER) {
		m->arbiter = (uint8_t)c->conf->arbiter_kind;
		m->arbiter_id = conf_arbiter_id(c->conf);
	}
	snprintf(m->vm, sizeof(m->vm), "%s", c->vm);
	snprintf(m->host, sizeof(m->host), "%s", c->conf->host_name);
}

static int send_hello(struct primary_link *link, const struct wire_hello *m, uint64_t deadline_ns,
		      struct err *e)
{
	struct wr w;
	int rc = conn_begin(link->conn, FRAME_HELLO, FRAME_NO_EPOCH, &w, deadline_ns, e);

	if (rc < 0)
		return rc;
	wire_hello_encode(&w, m);
	rc = conn_end(link->conn, &w, e);
	if (rc < 0)
		return rc;
	return conn_flush(link->conn, deadline_ns, e);
}

static int refused(struct primary_link *link, const struct frame *f, struct err *e)
{
	struct wire_refuse m;
	int rc = wire_refuse_decode(f, &m, e);

	if (rc < 0)
		return rc;
	link->peer_term = m.term;
	if (m.code == WIRE_ACTIVATED)
		return err_setx(e, -EOWNERDEAD, "%s", m.text);
	return err_setx(e, -EREMOTEIO, "%s: %s", wire_refusal_name(m.code), m.text);
}

static int read_answer(struct primary_link *link, const struct pd_conf *c, uint64_t deadline_ns,
		       struct err *e)
{
	struct wire_hello_ok ok;
	struct frame f;
	int rc;

	do {
		rc = conn_recv(link->conn, &f, deadline_ns, e);
		if (rc < 0)
			return rc;
	} while (f.h.type == FRAME_KEEPALIVE);
	if (f.h.type == FRAME_REFUSE)
		return refused(link, &f, e);
	rc = wire_hello_ok_decode(&f, &ok, e);
	if (rc < 0)
		return rc;
	if (strcmp(ok.host, c->peer->name) != 0)
		return err_setx(e, -EPROTO, "the peer calls itself %s, expected %s", ok.host,
				c->peer->name);
	conn_set_version(link->conn, ok.version);
	link->peer_term = ok.term;
	conn_peer_addr(link->conn, &link->heartbeat);
	addr_set_port(&link->heartbeat, ok.heartbeat_port);
	return 0;
}

int primary_link_open(struct primary_link *link, const struct pd_conf *conf,
		      const struct guest_info *guest, const struct pd_cmd *cmd, int wake_fd,
		      struct err *e)
{
	const uint64_t deadline = clock_now() + conf->timing.handshake_timeout_ns;
	const struct conn_conf cc = {
		.tls = conf->tls,
		.wake_fd = wake_fd,
		.handshake_deadline_ns = deadline,
		.user_timeout_ms = (uint32_t)(conf->timing.send_timeout_ns / NS_PER_MS),
	};
	struct wire_hello hello;
	int rc;

	link->peer_term = 0;
	rc = conn_connect(&link->conn, conf->peer->address, conf->peer->port, &cc, e);
	if (rc < 0) {
		link->conn = NULL;
		return rc;
	}
	if (strcmp(conn_peer_name(link->conn), conf->peer->name) != 0) {
		rc = err_setx(e, -EKEYREJECTED, "%s shows the certificate of %s, expected %s",
			      conf->peer->address, conn_peer_name(link->conn), conf->peer->name);
		goto out;
	}
	fill_hello(&hello, conf, guest, cmd);
	rc = send_hello(link, &hello, deadline, e);
	/* The peer may first have to abandon an older standby. */
	if (rc == 0)
		rc = read_answer(link, conf, deadline + conf->timing.bye_timeout_ns, e);
out:
	if (rc < 0)
		primary_link_close(link);
	return rc;
}

void primary_link_close(struct primary_link *link)
{
	conn_free(link->conn);
	link->conn = NULL;
}

static int send_static(struct primary_link *link, const struct guest_static *st,
		       uint64_t deadline_ns, struct err *e)
{
	autofree struct wire_static *m = mem_zalloc(sizeof(*m));
	struct wr w;
	int rc;

	if (!m)
		return err_set(e, -ENOMEM, "static data");
	if (st->cpuid_leaves > WIRE_MAX_LEAVES || st->msr_entries > WIRE_MAX_MSRS)
		return err_setx(
			e, -E2BIG,
			"%u CPUID leaves and %u MSRs are more than the protocol has room for",
			st->cpuid_leaves, st->msr_entries);
	m->n_leaves = st->cpuid_leaves;
	m->n_msrs = st->msr_entries;
	memcpy(m->leaf, st->cpuid, st->cpuid_leaves * sizeof(m->leaf[0]));
	memcpy(m->msr, st->msr, st->msr_entries * sizeof(m->msr[0]));
	rc = conn_begin(link->conn, FRAME_STATIC, FRAME_NO_EPOCH, &w, deadline_ns, e);
	if (rc < 0)
		return rc;
	wire_static_encode(&w, m);
	return conn_end(link->conn, &w, e);
}

int primary_link_send_config(struct primary_link *link, const char *json, size_t size,
			     const struct guest_static *st, uint64_t deadline_ns, struct err *e)
{
	const struct conn_out out = {
		.type = FRAME_CONFIG, .epoch = FRAME_NO_EPOCH, .payload = json, .size = size};
	int rc = conn_send(link->conn, &out, deadline_ns, e);

	if (rc < 0)
		return rc;
	rc = send_static(link, st, deadline_ns, e);
	return rc < 0 ? rc : conn_flush(link->conn, deadline_ns, e);
}

int primary_link_send_bye(struct primary_link *link, enum leave_reason reason, uint64_t deadline_ns,
			  struct err *e)
{
	struct wire_bye m = {.reason = (uint16_t)reason};
	struct wr w;
	int rc = conn_begin(link->conn, FRAME_BYE, FRAME_NO_EPOCH, &w, deadline_ns, e);

	if (rc < 0)
		return rc;
	snprintf(m.text, sizeof(m.text), "%s", leave_reason_name(reason));
	wire_bye_encode(&w, &m);
	rc = conn_end(link->conn, &w, e);
	if (rc < 0)
		return rc;
	return conn_flush(link->conn, deadline_ns, e);
}

int primary_link_send_handover(struct primary_link *link, uint64_t epoch, bool planned,
			       uint64_t deadline_ns, struct err *e)
{
	struct wire_handover m = {.reason = planned ? WIRE_HANDOVER_PLANNED : WIRE_HANDOVER_DISK};
	struct wr w;
	int rc = conn_begin(link->conn, FRAME_HANDOVER, epoch, &w, deadline_ns, e);

	if (rc < 0)
		return rc;
	snprintf(m.text, sizeof(m.text), "%s",
		 planned ? "the operator moves it" : "a disk of the primary fails");
	wire_handover_encode(&w, &m);
	rc = conn_end(link->conn, &w, e);
	return rc < 0 ? rc : conn_flush(link->conn, deadline_ns, e);
}

int primary_link_send_drill(struct primary_link *link, const struct wire_drill *m,
			    uint64_t deadline_ns, struct err *e)
{
	struct wr w;
	int rc = conn_begin(link->conn, FRAME_DRILL, FRAME_NO_EPOCH, &w, deadline_ns, e);

	if (rc < 0)
		return rc;
	wire_drill_encode(&w, m);
	rc = conn_end(link->conn, &w, e);
	/* Not in this phase of the session: nothing was sent, and nothing is broken. */
	if (rc == -EINVAL)
		return err_setx(
			e, -EAGAIN,
			"nothing can be asked about drills now: the session is not that far, or %d "
			"questions were not answered (an older Romulus at the backup does not know "
			"them)",
			WIRE_DRILLS_UNANSWERED);
	return rc < 0 ? rc : conn_flush(link->conn, deadline_ns, e);
}

static int drill_says(const struct frame *f, struct pd_msg *msg, struct err *e)
{
	struct wire_drill m;
	int rc = wire_drill_decode(f, &m, e);

	if (rc < 0)
		return rc;
	msg->type = PD_DRILL_SAYS;
	msg->drill = m.id;
	msg->json = mem_dup(m.text, m.size);
	msg->json_size = m.size;
	if (!msg->json)
		snprintf(msg->text, sizeof(msg->text), "no memory for the backup's answer");
	return 1;
}

/* A frame in a running session; 1, or 0 for one that says nothing to the core. */
static int understand(struct primary_link *link, const struct frame *f, struct pd_msg *msg,
		      struct err *e)
{
	int rc;

	msg->epoch = f->h.epoch;
	switch (f->h.type) {
	case FRAME_ACK:
		msg->type = PD_ACK;
		rc = wire_term_decode(f, &msg->term, e);
		return rc < 0 ? rc : 1;
	case FRAME_BYE_OK:
		msg->type = PD_BYE_OK;
		rc = wire_term_decode(f, &msg->term, e);
		return rc < 0 ? rc : 1;
	case FRAME_TAKEOVER:
		msg->type = PD_PEER_ACTIVATED;
		snprintf(msg->text, sizeof(msg->text), "the operator had the backup take over");
		rc = wire_term_decode(f, &msg->term, e);
		return rc < 0 ? rc : 1;
	case FRAME_REFUSE:
		rc = refused(link, f, e);
		msg->type = rc == -EOWNERDEAD ? PD_PEER_ACTIVATED : PD_REFUSED;
		msg->term = link->peer_term;
		snprintf(msg->text, sizeof(msg->text), "%s", e->text);
		return rc == -EOWNERDEAD || rc == -EREMOTEIO ? 1 : rc;
	case FRAME_DRILL_SAYS:
		return drill_says(f, msg, e);
	default:
		return link->disks ? primary_ports_frame(link->disks, f, e) : 0;
	}
}

int primary_link_read(struct primary_link *link, struct pd_msg *msg, struct err *e)
{
	struct frame f;
	int rc;

	for (;;) {
		rc = conn_recv(link->conn, &f, 0, e);
		if (rc == -ETIMEDOUT)
			return 0;
		if (rc < 0)
			return rc;
		memset(msg, 0, sizeof(*msg));
		rc = understand(link, &f, msg, e);
		if (rc != 0)
			return rc;
	}
}
