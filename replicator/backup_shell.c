// SPDX-License-Identifier: GPL-2.0-or-later
/* See backup_shell.h. The functions stand in the order in which a session lives. Control thread. */
#include "replicator/backup_shell.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/event_log.h"
#include "lib/flight.h"
#include "lib/json_out.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/tls.h"

#define PERSIST_TRIES 10
/* How often a standby whose name is taken is told to run. */
#define RUN_AGAIN_NS NS_PER_SEC

PRINTF(3, 4)
static void problem(struct backup_shell *s, const char *hint, const char *fmt, ...)
{
	char before[sizeof(s->problem)];
	va_list ap;

	memcpy(before, s->problem, sizeof(before));

	va_start(ap, fmt);
	vsnprintf(s->problem, sizeof(s->problem), fmt, ap);
	va_end(ap);
	snprintf(s->hint, sizeof(s->hint), "%s", hint);
	log_warn("%s%s%s", s->problem, *hint ? "; " : "", hint);
	if (strcmp(before, s->problem) != 0)
		event_log_say(s->events, "problem", s->state.vm, "%s%s%s", s->problem,
			      *hint ? "; " : "", hint);
}

/* ---- timer, heartbeats ---- */

static void arm(struct backup_shell *s)
{
	uint64_t at = s->begun ? backup_next_deadline(&s->core) : CLOCK_NEVER;
	int r;

	if (s->standby)
		at = MIN(at, standby_deadline(s->standby));
	if (s->announce)
		at = MIN(at, announce_deadline(s->announce));
	at = MIN(at, s->run_again_ns);
	if (at == CLOCK_NEVER) {
		r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	} else {
		r = sd_event_source_set_time(s->timer, at / NS_PER_US + 1);
		if (r >= 0)
			r = sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
	}
	if (r < 0)
		die("cannot arm the timer: %s", strerror(-r));
}

static struct heartbeat_values values(const struct backup_shell *s)
{
	return (struct heartbeat_values){
		.state = (uint8_t)s->core.state,
		.flags = backup_is_protecting(&s->core, clock_now()) ? HEARTBEAT_PROTECTED : 0,
		.term = s->core.term,
		.epoch = s->core.committed,
		.done = s->copy_done,
		.total = s->copy_total,
	};
}

/* P5: only a backup that stands by, or is about to, is heard. */
static void tell_peer(struct backup_shell *s)
{
	struct heartbeat_values v = values(s);

	if (backup_heartbeats(&s->core))
		hb_shell_tell(&s->hb, &v);
	else
		hb_shell_stop(&s->hb);
}

static void on_heartbeat(void *arg, const struct heartbeat_msg *newest)
{
	const struct backup_event ev = {
		.type = BEV_HEARTBEAT, .term = newest->v.term, .at_ns = newest->at_ns};

	backup_shell_event(arg, &ev);
}

/* *port is where they are expected; told to the primary by HELLO_OK. */
static int start_heartbeats(struct backup_shell *s, const struct bd_msg *hello, uint16_t *port,
			    struct err *e)
{
	struct heartbeat_conf c = {
		.side = HEARTBEAT_BACKUP,
		.period_ns = s->core.conf.timing.heartbeat_period_ns,
		.first = values(s),
	};
	struct addr local = hello->local;
	int fd, rc = heartbeat_socket(&local, (uint16_t)s->conf->heartbeat_port,
				      (uint16_t)s->conf->heartbeat_ports, &fd, e);

	if (rc < 0)
		return rc;
	*port = addr_port(&local);
	memcpy(c.secret, hello->hb_secret, sizeof(c.secret));
	s->hb.heard = on_heartbeat;
	s->hb.arg = s;
	return hb_shell_start_take(&s->hb, s->loop, &c, fd, e);
}

/* ---- actions ---- */

static void command(struct backup_shell *s, enum bd_cmd_type type, const struct backup_action *a)
{
	const struct bd_cmd cmd = {.type = type, .epoch = a->epoch, .term = a->term};

	backup_data_command(s->data, &cmd);
}

static void refuse(struct backup_shell *s)
{
	struct bd_cmd cmd = {.type = BD_REFUSE, .code = WIRE_INTERNAL, .term = s->core.term};

	snprintf(cmd.text, sizeof(cmd.text), "%s", s->problem);
	backup_data_command(s->data, &cmd);
}

/* The peer is told why where there is a why: a build that failed must reach the operator at the primary. */
static void disconnect(struct backup_shell *s)
{
	const struct bd_cmd cmd = {.type = BD_DISCONNECT};

	if (s->problem[0] && s->core.link_up)
		refuse(s);
	else
		backup_data_command(s->data, &cmd);
}

static void persist(struct backup_shell *s, enum vm_role role, uint64_t term)
{
	struct err e = ERR_INIT;
	int rc = -1;

	for (int i = 0; rc < 0 && i < PERSIST_TRIES; i++)
		rc = vm_state_set_role(s->conf->state_dir, s->state.vm, role, term, &e);
	/* P4: a full disk must not cost the VM its life; what a restart would find is told. */
	if (rc < 0)
		problem(s, "make room there; until then a restart of this host forgets it",
			"term %" PRIu64 " is not durable: %s", term, e.text);
}

/* Nothing is left that could run, neither the standby nor its disks. */
static void check_abandoned(struct backup_shell *s)
{
	const struct backup_event gone = {.type = BEV_ABANDONED};

	if (!s->abandoning || !s->standby_gone || s->disks_leaving)
		return;
	s->abandoning = false;
	backup_shell_event(s, &gone);
}

static void abandon(struct backup_shell *s)
{
	struct err e = ERR_INIT;

	s->abandoning = true;
	if (!s->standby) {
		s->standby_gone = true;
		check_abandoned(s);
		return;
	}
	if (standby_abandon(s->standby, clock_now(), &e) < 0)
		log_err("abandoning the standby: %s", e.text);
}

static void run_standby(struct backup_shell *s)
{
	const struct backup_event failed = {.type = BEV_STANDBY_FAILED};
	struct err e = ERR_INIT;

	/* Durable before it runs: a successor of ours must not take it for a standby (P4). */
	persist(s, VM_ACTIVE, s->core.term);
	if (standby_run(s->standby, &e) == 0)
		return;
	problem(s, "", "cannot run the standby: %s", e.text);
	backup_shell_event(s, &failed);
}

static void answer(struct backup_shell *s, const struct backup_action *a)
{
	struct ctl_token *t = a->request == BEV_FAILOVER ? &s->failover_by : &s->supersede_by;
	struct err e = ERR_INIT;
	struct json *reply;

	if (!t->id || !s->ctl)
		return;
	reply = ctl_server_reply(s->ctl, *t);
	if (reply)
		json_out_u64(reply, "term", a->term);
	if (a->ok)
		ctl_server_finish(s->ctl, *t, 0, NULL);
	else
		ctl_server_finish(s->ctl, *t,
				  err_setx(&e, -EBUSY, "%s%s%s", backup_refusal_text(a->why),
					   a->why == REFUSED_OUTVOTED ? "; it has gone to " : "",
					   a->why == REFUSED_OUTVOTED ? s->vote.holder : ""),
				  &e);
	t->id = 0;
}

static void finish(struct backup_shell *s)
{
	if (s->core.state == BACKUP_ENDED)
		persist(s, VM_NONE, s->core.term);
	s->exit_code = WORKER_DONE;
	s->finished = true;
	log_info("done: %s", backup_state_name(s->core.state));
	sd_event_exit(s->loop, 0);
}

static void execute(struct backup_shell *s, const struct backup_action *a)
{
	switch (a->type) {
	case BACT_HELLO_OK:
		break; /* begin() has all that the answer needs */
	case BACT_ACK:
		s->acked_at_ns = clock_now();
		flight_step(s->flight, a->epoch, FLIGHT_COMMIT, s->acked_at_ns);
		s->epochs++;
		command(s, BD_ACK, a);
		break;
	case BACT_APPLY:
		command(s, BD_APPLY, a);
		break;
	case BACT_DROP_PARTIAL:
		command(s, BD_DROP, a);
		break;
	case BACT_PERSIST_TERM:
		persist(s, VM_BACKUP, a->term);
		break;
	case BACT_TAKEOVER:
		command(s, BD_TAKEOVER, a);
		break;
	case BACT_ACTIVATE:
		log_warn("activating epoch %" PRIu64 " under term %" PRIu64, s->core.committed,
			 s->core.term);
		command(s, BD_FINISH, a);
		break;
	case BACT_RUN:
		run_standby(s);
		break;
	case BACT_ABANDON:
		abandon(s);
		break;
	case BACT_BYE_OK:
		command(s, BD_BYE_OK, a);
		break;
	case BACT_ANSWER:
		answer(s, a);
		break;
	case BACT_DISCONNECT:
		disconnect(s);
		break;
	case BACT_END:
		finish(s);
		break;
	case BACT_DISKS_COMMIT:
		command(s, BD_DISKS_COMMIT, a);
		break;
	case BACT_DISKS_ACTIVATE:
		log_warn("activating the disks at epoch %" PRIu64, a->epoch);
		command(s, BD_DISKS_ACTIVATE, a);
		break;
	case BACT_DISKS_LEAVE:
		s->disks_leaving = true;
		command(s, BD_DISKS_LEAVE, a);
		break;
	case BACT_REFUSE:
		refuse(s);
		break;
	case BACT_ASK_VOTE:
		vote_shell_ask(&s->vote, a->term);
		break;
	}
}

static void put_story(struct backup_shell *s, struct event *ev)
{
	snprintf(ev->vm, sizeof(ev->vm), "%s", s->state.vm);
	event_fact_text(ev, "peer", s->state.peer);
	event_log_put(s->events, ev);
}

static void tell_vote(struct backup_shell *s, const struct backup *was, uint64_t now,
		      const struct backup_event *cause)
{
	struct event ev;

	ev.at_ns = now;
	ev.wall_us = event_now();
	if (story_backup_vote(&s->story, was, &s->core, cause, s->said, &ev))
		put_story(s, &ev);
}

/* For those who ask afterwards what was decided, and on which evidence. An answer comes before what comes of it. */
static void tell_story(struct backup_shell *s, const struct backup *was, uint64_t now,
		       const struct backup_event *cause)
{
	bool is_answer = cause->type == BEV_VOTE;
	struct event ev;

	if (is_answer)
		tell_vote(s, was, now, cause);
	ev.at_ns = now;
	ev.wall_us = event_now();
	if (story_backup(&s->story, was, &s->core, cause, &ev))
		put_story(s, &ev);
	if (!is_answer)
		tell_vote(s, was, now, cause);
}

void backup_shell_event(struct backup_shell *s, const struct backup_event *ev)
{
	struct backup was = s->core;
	struct backup_actions out;
	uint64_t now = clock_now();

	if (s->finished || !s->begun)
		return;
	backup_step(&s->core, now, ev, &out);
	if (s->core.state != was.state)
		log_info("state %s -> %s on %s, epoch %" PRIi64, backup_state_name(was.state),
			 backup_state_name(s->core.state), backup_event_name(ev->type),
			 (int64_t)s->core.committed);
	backup_drill_make_way(s);
	tell_story(s, &was, now, ev);
	tell_peer(s);
	for (unsigned int i = 0; i < out.n && !s->finished; i++)
		execute(s, &out.a[i]);
	if (!s->finished)
		arm(s);
}

/* ---- the arbiter ---- */

static void on_vote(void *arg, const struct vote_answer *a)
{
	const struct backup_event ev = {
		.type = BEV_VOTE, .vote = a->vote, .asked = a->asked, .term = a->term};
	struct backup_shell *s = arg;

	s->said = a;
	backup_shell_event(s, &ev);
	s->said = NULL;
}

static int start_votes(struct backup_shell *s, struct err *e)
{
	const struct vote_shell_conf c = {.conf = s->conf,
					  .vm = s->state.vm,
					  .peer = s->state.peer,
					  .uuid = s->state.uuid,
					  .is_backup = true};

	if (s->state.policy != POLICY_ARBITER)
		return 0;
	s->vote.voted = on_vote;
	s->vote.arg = s;
	return vote_shell_start(&s->vote, s->loop, &c, e);
}

/* ---- the session begins ---- */

/* Only for who is welcome: a stranger costs no thread. Without events the VM is protected all the same. */
static void begin_events(struct backup_shell *s, const struct bd_msg *m)
{
	const struct event_log_conf ec = {.state_dir = s->conf->state_dir,
					  .run_dir = s->conf->run_dir,
					  .host = s->conf->host_name,
					  .by = worker_side_name(WORKER_BACKUP)};
	struct err e = ERR_INIT;

	if (event_log_new(&s->events, &ec, &e) < 0)
		log_warn("events are not written down: %s", e.text);
	event_log_say(s->events, "session", s->state.vm,
		      "%s protects the VM to here, policy %s, its term is %" PRIu64
		      ", the newest known here %" PRIu64,
		      m->peer_name, policy_name(s->state.policy), m->hello.term, s->state.term);
	s->flight = worker_flight(s->events, s->conf->run_dir, s->state.vm, WORKER_BACKUP);
}

static void welcome(struct backup_shell *s, const struct bd_msg *m)
{
	struct bd_cmd cmd = {.type = BD_REFUSE, .code = WIRE_INTERNAL};
	struct backup_event ev = {.type = BEV_HELLO, .term = m->hello.term};
	struct backup_conf bc;
	struct err e = ERR_INIT;

	if (backup_shell_welcome(s, m, &bc, &cmd) < 0) {
		log_warn("refusing %s: %s", m->peer_name, cmd.text);
		backup_data_command(s->data, &cmd);
		return;
	}
	if (start_votes(s, &e) < 0) {
		snprintf(cmd.text, sizeof(cmd.text), "%s", e.text);
		backup_data_command(s->data, &cmd);
		return;
	}
	begin_events(s, m);
	s->vote.events = s->events;
	backup_init(&s->core, &bc, clock_now());
	s->mem_pages = m->hello.mem_pages;
	s->begun = true;
	backup_shell_event(s, &ev);
	cmd = (struct bd_cmd){
		.type = BD_HELLO_OK,
		.mem_pages = m->hello.mem_pages,
		.arena_pages = m->hello.arena_pages,
		.cache_slots = m->hello.cache_slots,
		.hello_ok = {.version = FRAME_VERSION_MAX, .term = s->core.term},
	};
	snprintf(cmd.hello_ok.host, sizeof(cmd.hello_ok.host), "%s", s->conf->host_name);
	if (start_heartbeats(s, m, &cmd.hello_ok.heartbeat_port, &e) < 0) {
		cmd.type = BD_REFUSE;
		cmd.code = WIRE_INTERNAL;
		snprintf(cmd.text, sizeof(cmd.text), "%s", e.text);
	}
	backup_data_command(s->data, &cmd);
}

static void standby_events(struct backup_shell *s);

static int on_standby(sd_event_source *src, int fd, uint32_t revents, void *arg)
{
	standby_events(arg);
	return 0;
}

static void build(struct backup_shell *s, struct bd_msg *m)
{
	const struct standby_conf sc = {
		.vm = s->state.vm, .json = m->json, .json_size = m->json_size};
	const struct backup_event failed = {.type = BEV_STANDBY_FAILED};
	struct bd_cmd cmd = {.type = BD_STREAM, .fd = -1};
	struct err e = ERR_INIT;
	int rc = -EINVAL;

	if (s->begun && s->core.state == BACKUP_BUILDING && !s->standby)
		rc = standby_start(&s->standby, &sc, &cmd.fd, &e);
	/* What a drill builds its copy from. */
	if (rc == 0)
		backup_drill_start_take(s, m->json, m->json_size);
	else
		mem_free(m->json);
	if (rc == 0) {
		rc = sd_event_add_io(s->loop, &s->standby_io, standby_fd(s->standby), EPOLLIN,
				     on_standby, s);
		if (rc >= 0) {
			backup_data_command(s->data, &cmd);
			return;
		}
		close(cmd.fd);
		err_set(&e, rc, "event loop");
	}
	problem(s, "", "cannot build a standby: %s", e.text);
	backup_shell_event(s, &failed);
}

/* ---- the standby ---- */

static void announce_vifs(struct backup_shell *s, const struct standby_event *ev)
{
	struct err e = ERR_INIT;

	if (announce_new(&s->announce, &e) < 0) {
		log_warn("the guest is not announced to the LAN: %s", e.text);
		return;
	}
	for (uint32_t i = 0; i < ev->n_vifs; i++)
		if (announce_add(s->announce, ev->vif[i].name, ev->vif[i].bridge, ev->vif[i].mac,
				 NULL, &e) < 0)
			log_warn("%s is not announced to the LAN: %s", ev->vif[i].name, e.text);
	announce_start(s->announce, clock_now());
}

static void running(struct backup_shell *s, const struct standby_event *ev)
{
	const struct backup_event active = {.type = BEV_ACTIVATED};

	s->domid = ev->domid;
	if (s->name_taken)
		s->problem[0] = s->hint[0] = '\0';
	s->name_taken = false;
	log_warn("the VM runs here as domain %u", ev->domid);
	event_log_say(s->events, "running", s->state.vm, "the VM runs here as domain %u",
		      ev->domid);
	worker_say(s->status_fd, WORKER_SAYS_ACTIVE, "");
	announce_vifs(s, ev);
	backup_shell_event(s, &active);
}

/* P4: no reason to destroy what may be the only copy. The operator makes room, now or later. */
static void name_taken(struct backup_shell *s, const struct standby_event *ev)
{
	if (!s->name_taken)
		problem(s, "the standby waits, and runs as soon as its name is free", "%s",
			ev->text);
	s->name_taken = true;
	s->run_again_ns = clock_add(clock_now(), RUN_AGAIN_NS);
}

static void run_again(struct backup_shell *s)
{
	s->run_again_ns = CLOCK_NEVER;
	if (s->standby && backup_may_run(&s->core))
		run_standby(s);
}

static void built(struct backup_shell *s, const struct standby_event *ev)
{
	const struct backup_event complete = {.type = BEV_BUILT};

	if (backup_may_run(&s->core))
		log_info("standby complete as domain %u", ev->domid);
	else if (!s->abandoning)
		problem(s, "", "the standby completed itself unasked, as domain %u", ev->domid);
	backup_shell_event(s, &complete);
}

static void standby_gone(struct backup_shell *s)
{
	if (!s->abandoning)
		return;
	s->standby_gone = true;
	check_abandoned(s);
}

void backup_shell_leave(struct backup_shell *s)
{
	s->exit_code = WORKER_DONE;
	s->finished = true;
	sd_event_exit(s->loop, 0);
}

/* P4: its durable role stays; the primary may have an older copy, which only the operator may let run. */
static void vm_ended(struct backup_shell *s)
{
	struct err e = ERR_INIT;

	event_log_say(s->events, "vm-ended", s->state.vm,
		      "the VM that was activated has ended here");
	/* There is nothing to be protected again. */
	if (vm_state_set_alone(s->conf->state_dir, s->state.vm, true, &e) < 0)
		log_warn("%s", e.text);
	log_warn(
		"the VM has ended here; an older copy of it at %s may run only after `romulus forget %s`",
		s->state.peer, s->state.vm);
	backup_shell_leave(s);
}

static void unwatched(struct backup_shell *s, const struct standby_event *ev)
{
	char hint[128];

	snprintf(hint, sizeof(hint), "`" LIBEXEC_DIR "/romulus-domain monitor %u` does it",
		 s->domid);
	problem(s, hint, "nobody looks after a reboot or the end of the VM: %s", ev->text);
}

/* P4: as if we had died there. The durable role says that the VM may run here; no machine chooses between two copies. */
static void lost_sight(struct backup_shell *s, const struct standby_event *ev)
{
	char hint[192];

	snprintf(hint, sizeof(hint),
		 "look with xl; `romulus forget %s` here if %s has the copy to keep", s->state.vm,
		 s->state.peer);
	problem(s, hint, "%s: it may run here, as %s or %s%s", ev->text, s->state.vm, s->state.vm,
		STANDBY_SUFFIX);
	backup_shell_leave(s);
}

static void one_standby_event(struct backup_shell *s, const struct standby_event *ev)
{
	const struct backup_event failed = {.type = BEV_STANDBY_FAILED};

	switch (ev->type) {
	case STANDBY_NOTHING:
		break;
	case STANDBY_BUILT:
		built(s, ev);
		break;
	case STANDBY_RUNNING:
		running(s, ev);
		break;
	case STANDBY_NAME_TAKEN:
		name_taken(s, ev);
		break;
	case STANDBY_FAILED:
		problem(s, "", "the standby failed: %s", ev->text);
		backup_shell_event(s, &failed);
		break;
	case STANDBY_ENDED:
		vm_ended(s);
		break;
	case STANDBY_UNWATCHED:
		unwatched(s, ev);
		break;
	case STANDBY_LOST:
		lost_sight(s, ev);
		break;
	case STANDBY_LEFT:
		problem(s, "destroy it with xl", "the standby is abandoned but not gone: %s",
			ev->text);
		standby_gone(s);
		break;
	case STANDBY_GONE:
		standby_gone(s);
		break;
	}
}

static void standby_events(struct backup_shell *s)
{
	struct standby_event ev;

	do {
		standby_step(s->standby, clock_now(), &ev);
		one_standby_event(s, &ev);
	} while (ev.type != STANDBY_NOTHING && !s->finished);
	if (!s->finished)
		arm(s);
}

/* ---- messages of the data thread ---- */

static void record_complete(struct backup_shell *s, const struct bd_msg *m)
{
	struct flight_epoch f = {.epoch = m->epoch,
				 .at_ns = m->at_ns,
				 .pages = (uint32_t)m->pages,
				 .bytes = m->received_bytes};

	for (int p = 0; p < FLIGHT_PHASES; p++)
		f.us[p] = FLIGHT_UNKNOWN;
	flight_begin(s->flight, &f);
}

static void epoch_complete(struct backup_shell *s, const struct bd_msg *m)
{
	const struct backup_event ev = {
		.type = BEV_EPOCH_COMPLETE, .epoch = m->epoch, .term = s->core.term};

	s->received_bytes = m->received_bytes;
	s->wire = m->wire;
	hist_add(&s->epoch_pages, m->pages);
	record_complete(s, m);
	backup_shell_event(s, &ev);
}

static void link_down(struct backup_shell *s, const struct bd_msg *m)
{
	const struct backup_event ev = {.type = BEV_LINK_DOWN};

	if (m->text[0])
		log_warn("connection: %s", m->text);
	if (s->begun) {
		backup_shell_event(s, &ev);
		return;
	}
	s->exit_code = WORKER_REFUSED;
	s->finished = true;
	sd_event_exit(s->loop, 0);
}

static void disks(struct backup_shell *s, const struct bd_msg *m)
{
	const struct backup_event ev = {.type = BEV_DISKS,
					.n_disks = m->n_disks,
					.ack_mode = (enum backup_ack_mode)m->ack_mode};

	s->n_disks = m->n_disks;
	backup_shell_event(s, &ev);
}

static void disk_failed(struct backup_shell *s, const struct bd_msg *m)
{
	const struct backup_event ev = {.type = BEV_DISK_FAILED, .disk = m->disk};

	problem(s, "see romulus-disk(8)", "%s", m->text);
	backup_shell_event(s, &ev);
}

static void handover(struct backup_shell *s, const struct bd_msg *m)
{
	const struct backup_event ev = {.type = BEV_HANDOVER,
					.epoch = m->epoch,
					.planned = m->reason == WIRE_HANDOVER_PLANNED};

	log_warn("the primary hands the VM over: %s", m->text);
	backup_shell_event(s, &ev);
}

static void disk_message(struct backup_shell *s, const struct bd_msg *m)
{
	struct backup_event ev = {.epoch = m->epoch, .disk = m->disk, .flush = m->waits};

	if (m->type == BD_DISKS) {
		disks(s, m);
	} else if (m->type == BD_DISK_FAILED) {
		disk_failed(s, m);
	} else if (m->type == BD_DISKS_LEFT) {
		s->disks_leaving = false;
		check_abandoned(s);
	} else if (m->type == BD_DISK) {
		s->disk[m->disk] = m->figures;
	} else {
		ev.type = m->type == BD_DISK_HELD      ? BEV_DISK_HELD
			  : m->type == BD_DISK_DURABLE ? BEV_DISK_DURABLE
						       : BEV_DISKS_ACTIVE;
		backup_shell_event(s, &ev);
	}
}

void backup_shell_message(struct backup_shell *s, struct bd_msg *m)
{
	struct backup_event ev = {.epoch = m->epoch};

	switch (m->type) {
	case BD_HELLO:
		welcome(s, m);
		tls_wipe(m->hb_secret, sizeof(m->hb_secret));
		break;
	case BD_ASK_FACTS:
		backup_shell_facts(s, m);
		break;
	case BD_CONFIG:
		build(s, m);
		break;
	case BD_DRILL_ASKED:
		backup_drill_asked(s, m);
		mem_free(m->json);
		break;
	case BD_PROGRESS:
		s->copy_round = m->round;
		s->copy_done = m->done;
		s->copy_total = m->total;
		break;
	case BD_EPOCH_COMPLETE:
		epoch_complete(s, m);
		break;
	case BD_APPLIED:
		ev.type = BEV_APPLIED;
		flight_step(s->flight, m->epoch, FLIGHT_APPLY, m->at_ns);
		hist_add(&s->apply_us, clock_until(m->at_ns, s->acked_at_ns) / NS_PER_US);
		backup_shell_event(s, &ev);
		break;
	case BD_APPLY_FAILED:
		/* The child knows the cause better, and says it soon if it can. */
		if (s->standby)
			standby_events(s);
		if (!s->problem[0])
			problem(s, "", "the standby takes no more memory: %s", m->text);
		ev.type = BEV_STANDBY_FAILED;
		backup_shell_event(s, &ev);
		break;
	case BD_FINISHED:
		break; /* the child says when the domain is complete */
	case BD_BYE:
		log_info("the primary leaves: %s", m->text);
		ev.type = BEV_BYE;
		ev.leave = (enum leave_reason)m->reason;
		backup_shell_event(s, &ev);
		break;
	case BD_LINK_DOWN:
		link_down(s, m);
		break;
	case BD_STOPPED:
		break;
	case BD_HANDOVER:
		handover(s, m);
		break;
	case BD_DISKS:
	case BD_DISK_HELD:
	case BD_DISK_DURABLE:
	case BD_DISK_FAILED:
	case BD_DISKS_ACTIVE:
	case BD_DISKS_LEFT:
	case BD_DISK:
		disk_message(s, m);
		break;
	}
}

/* ---- begin and end ---- */

static int on_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	const struct backup_event tick = {.type = BEV_TICK};
	struct backup_shell *s = arg;
	struct err e = ERR_INIT;

	if (s->standby)
		standby_events(s);
	if (s->announce && announce_step(s->announce, clock_now(), &e) < 0)
		log_warn("announcing the guest: %s", e.text);
	if (!s->finished && clock_now() >= s->run_again_ns)
		run_again(s);
	if (!s->finished) {
		backup_shell_event(s, &tick);
		arm(s);
	}
	return 0;
}

int backup_shell_start(struct backup_shell *s, struct err *e)
{
	int r = sd_event_add_time(s->loop, &s->timer, CLOCK_BOOTTIME, UINT64_MAX, 1, on_timer, s);

	if (r < 0)
		return err_set(e, r, "timer");
	s->exit_code = 1;
	s->lock_fd = -1;
	s->run_again_ns = CLOCK_NEVER;
	hist_init(&s->epoch_pages);
	hist_init(&s->apply_us);
	arm(s);
	return 0;
}

void backup_shell_stop(struct backup_shell *s)
{
	hb_shell_stop(&s->hb);
	vote_shell_stop(&s->vote);
	if (s->drill.json)
		drill_shell_fini(&s->drill);
	s->timer = sd_event_source_disable_unref(s->timer);
	s->standby_io = sd_event_source_disable_unref(s->standby_io);
	standby_free(s->standby);
	s->standby = NULL;
	announce_free(s->announce);
	ctl_server_free(s->ctl);
	if (s->begun)
		event_log_say(s->events, "worker-ended", s->state.vm, "ended in state %s",
			      backup_state_name(s->core.state));
	/* It copies what is recorded: first. */
	event_log_free(s->events);
	s->events = NULL;
	flight_free(s->flight, s->exit_code == WORKER_DONE);
	s->flight = NULL;
	if (s->lock_fd >= 0)
		worker_unclaim(s->conf->run_dir, s->state.vm, WORKER_BACKUP, &s->lock_fd);
}
