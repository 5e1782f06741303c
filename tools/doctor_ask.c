/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gathering for romulus doctor: this host's facts, the peer's over the link, the arbiter's word. See doctor.h. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/conn.h"
#include "lib/err.h"
#include "lib/event.h"
#include "lib/json_in.h"
#include "lib/spawn.h"
#include "lib/tls.h"
#include "lib/wire_v1.h"
#include "tools/doctor.h"
#include "tools/tool.h"

#define HERE_NS (20 * NS_PER_SEC)
/* More than the peer gives its own gathering. */
#define THERE_NS (25 * NS_PER_SEC)
/* It bounds itself; longer than that and it hangs. */
#define ARBITER_SLACK_NS (2 * NS_PER_SEC)
#define GOODBYE_NS (500 * NS_PER_MS)

struct gathered {
	const struct conf *conf;
	struct json_in *here;
	struct json_in *there;
	struct err here_e;
	struct err there_e;
	struct err romulusd_e;
	bool romulusd;
	char arbiter_text[256];
};

/* ---- here ---- */

static int ask_here(const struct doctor_ask *ask, struct gathered *g, struct err *e)
{
	autofree char *out = mem_alloc(WIRE_FACTS_MAX);
	char path[TOOL_PATH_SIZE], said[512];
	const char *const argv[] = {path, "--config", ask->conf_path, ask->vm, NULL};
	struct spawn sp = {.argv = argv,
			   .timeout_ns = HERE_NS,
			   .out = out,
			   .out_size = WIRE_FACTS_MAX,
			   .err = said,
			   .err_size = sizeof(said)};
	int rc;

	if (!out)
		return err_set(e, -ENOMEM, "facts of this host");
	snprintf(path, sizeof(path), "%s/romulus-facts", ask->libexec_dir);
	rc = spawn_check(&sp, e);
	return rc ? rc : json_in_parse(out, sp.out_used, &g->here, e);
}

static void ask_romulusd(const struct doctor_ask *ask, struct gathered *g)
{
	const char *const argv[] = {"version", NULL};
	struct json_in *reply = NULL;

	g->romulusd = tool_ask_host(ask->run_dir, argv, &reply, &g->romulusd_e) == 0;
	json_in_free(reply);
}

/* ---- there ---- */

static int take_answer(struct conn *c, struct gathered *g, struct err *e)
{
	struct wire_refuse refuse;
	const char *json;
	struct frame f;
	size_t size;
	int rc = conn_recv(c, &f, clock_now() + THERE_NS, e);

	if (rc == -ECONNRESET)
		return err_setx(e, rc,
				"it does not answer; its Romulus may be older than this question");
	if (rc < 0)
		return rc;
	if (f.h.type == FRAME_REFUSE) {
		rc = wire_refuse_decode(&f, &refuse, e);
		return rc ? rc : err_setx(e, -EREMOTEIO, "%s", refuse.text);
	}
	rc = wire_facts_decode(&f, &json, &size, e);
	return rc ? rc : json_in_parse(json, size, &g->there, e);
}

static int talk(struct conn *c, const struct doctor_ask *ask, struct gathered *g, struct err *e)
{
	uint64_t deadline = clock_now() + TOOL_ASK_NS;
	struct wire_ask_facts m = {.vm = ""};
	struct err ignored = ERR_INIT;
	struct wr w;
	int rc;

	if (ask->vm)
		snprintf(m.vm, sizeof(m.vm), "%s", ask->vm);
	rc = conn_begin(c, FRAME_ASK_FACTS, FRAME_NO_EPOCH, &w, deadline, e);
	if (rc < 0)
		return rc;
	wire_ask_facts_encode(&w, &m);
	rc = conn_end(c, &w, e);
	if (!rc)
		rc = conn_flush(c, deadline, e);
	if (!rc)
		rc = take_answer(c, g, e);
	/* Good manners; it has said its last word. */
	(void)!conn_finish(c, clock_now() + GOODBYE_NS, &ignored);
	return rc;
}

/* The kernel's own measure of the connection. */
static uint64_t rtt_of(const struct conn *c)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	if (getsockopt(conn_fd(c), IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return 0;
	return info.tcpi_min_rtt && info.tcpi_min_rtt != UINT32_MAX ? info.tcpi_min_rtt
								    : info.tcpi_rtt;
}

static int connect_to(const struct gathered *g, struct tls_ctx *tls, const struct conf_peer *p,
		      struct conn **out, struct err *e)
{
	const struct conn_conf cc = {
		.tls = tls,
		.wake_fd = -1,
		.handshake_deadline_ns = clock_now() + g->conf->handshake_timeout_ns,
	};
	int rc = conn_connect(out, p->address, p->port, &cc, e);

	if (rc < 0)
		return rc;
	if (strcmp(conn_peer_name(*out), p->name) != 0)
		return err_setx(e, -EKEYREJECTED, "at %s port %u is %s", p->address,
				(unsigned int)p->port, conn_peer_name(*out));
	return 0;
}

static int ask_there(const struct doctor_ask *ask, const char *peer, struct gathered *g,
		     struct doctor_case *c, struct err *e)
{
	const struct conf_peer *p = conf_peer(g->conf, peer);
	const struct tls_conf tc = {
		.ca = g->conf->tls_ca, .cert = g->conf->tls_cert, .key = g->conf->tls_key};
	struct tls_ctx *tls = NULL;
	struct conn *conn = NULL;
	int rc;

	if (!p)
		return err_setx(e, -ENOENT, "it is not in the list of peers of %s", ask->conf_path);
	rc = tls_ctx_new(&tls, &tc, e);
	if (!rc)
		rc = connect_to(g, tls, p, &conn, e);
	if (!rc) {
		uint64_t wall = event_now();
		uint64_t began = clock_now();

		c->rtt_us = rtt_of(conn);
		rc = talk(conn, ask, g, e);
		c->asking_us = (clock_now() - began) / NS_PER_US;
		c->asked_us = wall + c->asking_us / 2;
	}
	conn_free(conn);
	tls_ctx_free(tls);
	return rc;
}

/* ---- the arbiter ---- */

/* A uuid as romulus-arbiter takes it, from 32 digits of a fact. */
static bool dashed(const char *hex, char out[37])
{
	if (strlen(hex) != 32 || strspn(hex, "0123456789abcdef") != 32)
		return false;
	snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
	return true;
}

static void ask_arbiter(const struct doctor_ask *ask, const char *peer, struct gathered *g,
			struct doctor_case *c)
{
	char path[TOOL_PATH_SIZE], uuid[37], out[256], said[256];
	const char *const argv[] = {path,     "look", ask->vm,	  "--uuid",	  uuid,
				    "--peer", peer,   "--config", ask->conf_path, NULL};
	struct spawn sp = {.argv = argv,
			   .timeout_ns = conf_arbiter_bound(g->conf) + ARBITER_SLACK_NS,
			   .out = out,
			   .out_size = sizeof(out),
			   .err = said,
			   .err_size = sizeof(said)};
	struct err e = ERR_INIT;

	/* Terms are of a VM. */
	if (g->conf->arbiter_kind == CONF_ARBITER_NONE || !ask->vm ||
	    !dashed(json_in_text(g->here, "vm.uuid", ""), uuid))
		return;
	snprintf(path, sizeof(path), "%s/romulus-arbiter", ask->libexec_dir);
	c->arbiter = DOCTOR_ARBITER_SILENT;
	if (spawn_run(&sp, &e) < 0) {
		snprintf(g->arbiter_text, sizeof(g->arbiter_text), "%.200s", e.text);
		return;
	}
	out[strcspn(out, "\n")] = '\0';
	said[strcspn(said, "\n")] = '\0';
	snprintf(g->arbiter_text, sizeof(g->arbiter_text), "%s",
		 *out	 ? out
		 : *said ? said
			 : "romulus-arbiter says nothing");
	if (sp.status == 0)
		c->arbiter = DOCTOR_ARBITER_ANSWERS;
}

/* ---- all of it ---- */

static int choose_peer(const struct doctor_ask *ask, const struct gathered *g, struct conf_vm *vm,
		       char peer[NAME_SIZE], struct err *e)
{
	memset(vm, 0, sizeof(*vm));
	if (g->conf && ask->vm) {
		int rc = conf_load_vm(g->conf, ask->vm, vm, e);

		if (rc < 0)
			return rc;
	}
	if (ask->peer)
		snprintf(peer, NAME_SIZE, "%s", ask->peer);
	else if (*vm->peer)
		snprintf(peer, NAME_SIZE, "%s", vm->peer);
	else if (g->conf && g->conf->n_peers == 1)
		snprintf(peer, NAME_SIZE, "%s", g->conf->peer[0].name);
	else
		return err_setx(e, -EINVAL, "which host is to be the backup? Say --to HOST");
	return 0;
}

static void gather(const struct doctor_ask *ask, const char *peer, struct gathered *g,
		   struct doctor_case *c)
{
	ask_romulusd(ask, g);
	if (!g->conf)
		return;
	if (ask_here(ask, g, &g->here_e) == 0)
		c->here = g->here;
	if (ask_there(ask, peer, g, c, &g->there_e) == 0)
		c->there = g->there;
	ask_arbiter(ask, peer, g, c);
}

int doctor_examine(const struct doctor_ask *ask, struct doctor_report *r, char peer_out[NAME_SIZE],
		   struct err *e)
{
	struct gathered g = {.conf = NULL};
	struct doctor_case c = {.peer = peer_out, .vm = ask->vm, .now = time(NULL)};
	struct conf_vm vm;
	int rc = conf_load(ask->conf_path, &g.conf, &g.here_e);

	if (rc < 0)
		g.there_e = g.here_e;
	rc = choose_peer(ask, &g, &vm, peer_out, e);
	if (rc == 0) {
		gather(ask, peer_out, &g, &c);
		c.here_problem = g.here_e.text;
		c.there_problem = g.there_e.text;
		c.romulusd_problem = g.romulusd ? NULL : g.romulusd_e.text;
		c.arbiter_text = g.arbiter_text;
		c.policy = ask->policy ? ask->policy : *vm.policy ? vm.policy : NULL;
		/* As romulusd takes it for protect. */
		if (!c.policy && g.conf && g.conf->arbiter_kind)
			c.policy = "arbiter";
		doctor_judge(&c, r);
	}
	json_in_free(g.here);
	json_in_free(g.there);
	conf_free(g.conf);
	return rc;
}
