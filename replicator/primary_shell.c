// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The primary's shell: see primary_shell.h. The functions stand in the order in which a session lives. What the core says is
 * carried out by primary_actions_shell.c, what is kept for those who ask by primary_notes_shell.c. Control thread.
 */
#include "replicator/primary_shell.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/flight.h"
#include "lib/log.h"
#include "replicator/primary_shell_impl.h"

/* ---- heartbeats ---- */

static struct heartbeat_values values(const struct primary_shell *s)
{
	return (struct heartbeat_values){
		.state = (uint8_t)s->core.state,
		.flags = primary_is_protected(&s->core, clock_now()) ? HEARTBEAT_PROTECTED : 0,
		.term = s->core.conf.term,
		.epoch = s->core.taken,
		.done = s->fig.copy_done,
		.total = s->fig.copy_total,
	};
}

static void on_heartbeat(void *arg, const struct heartbeat_msg *newest)
{
	const struct primary_event ev = {.type = PEV_HEARTBEAT, .at_ns = newest->at_ns};

	primary_shell_event(arg, &ev);
}

static void start_heartbeats(struct primary_shell *s)
{
	struct heartbeat_conf c = {
		.side = HEARTBEAT_PRIMARY,
		.peer = s->session.hb_peer,
		.period_ns = s->core.conf.timing.heartbeat_period_ns,
		.first = values(s),
	};
	struct addr local = s->session.hb_local;
	struct err e = ERR_INIT;
	int fd, rc = heartbeat_socket(&local, 0, 1, &fd, &e);

	memcpy(c.secret, s->session.hb_secret, sizeof(c.secret));
	if (rc == 0)
		rc = hb_shell_start_take(&s->hb, s->loop, &c, fd, &e);
	/*
	 * Once in a session: without them both sides hear nothing, and give it up. The next one tries again.
	 */
	s->hb_tried = true;
	if (rc < 0)
		log_err("heartbeats: %s", e.text);
}

/* P5: they begin once in a session, when the core says so, and end with it at the latest. */
static void update_heartbeats(struct primary_shell *s)
{
	struct heartbeat_values v = values(s);

	if (!s->in_session || !primary_heartbeats(&s->core))
		hb_shell_stop(&s->hb);
	else if (!s->hb_tried)
		start_heartbeats(s);
	else
		hb_shell_tell(&s->hb, &v);
}

/* ---- a session ---- */

/* HELLO_OK: whoever had the VM before it was activated here stands by for us, its older copy is gone. */
static void taken_is_known(struct primary_shell *s)
{
	struct err e = ERR_INIT;

	if (s->state.taken != TAKEN_FROM_PEER)
		return;
	if (vm_state_set_taken(s->conf->state_dir, s->state.vm, TAKEN_NOT, &e) < 0)
		log_warn("%s", e.text); /* it is told once more than is needed */
	else
		s->state.taken = TAKEN_NOT;
}

static void begin_session(struct primary_shell *s, const struct pd_msg *up)
{
	s->session = *up;
	s->in_session = true;
	s->hb_tried = false;
	s->lapsed = false;
	s->fig.ktls = up->ktls;
	flight_session(s->flight);
	taken_is_known(s);
}

static void end_session(struct primary_shell *s)
{
	s->in_session = false;
	hb_shell_stop(&s->hb);
	tls_wipe(s->session.hb_secret, sizeof(s->session.hb_secret));
}

/* ---- events ---- */

/*
 * What we work with is not the guest, or not its lanes, any more (`rebuild`): may a fresh start put that right
 * now? P1: not a page is copied, and so nothing is ever called protected, before one has. With the output open
 * it costs nothing. Lanes are urgent in LOST, as output may pass by them while the peer goes alone, and the
 * next worker adopts what is held; but not when it is decided what becomes of that. A changed guest is not: its
 * devices may go because it is being destroyed. Between, the peer is told first.
 */
static bool may_start_afresh(const struct primary_shell *s)
{
	const struct primary *p = &s->core;

	switch (p->state) {
	case PRIMARY_CONNECTING:
	case PRIMARY_COPYING:
		return !p->held;
	case PRIMARY_LOST:
		return s->tampered && !p->leaving && !p->open_wanted && !p->opening;
	case PRIMARY_SYNCING:
	case PRIMARY_PROTECTED:
	case PRIMARY_LEAVING:
	case PRIMARY_HANDING:
	case PRIMARY_DEPOSED:
	case PRIMARY_ENDED:
		break;
	}
	return false;
}

/* Who wants to go on alone is told that he may not. */
static void tell_outvoted(struct primary_shell *s)
{
	struct err e = ERR_INIT;
	int rc;

	primary_shell_problem__(s, "",
				"outvoted: the arbiter gave this VM to %s under term %" PRIu64,
				s->vote.holder, s->core.outvoted_term);
	rc = err_setx(&e, -EBUSY, "%s; say --force again if you know that it does not run there",
		      s->problem);
	if (s->unprotect.id && s->ctl)
		ctl_server_finish(s->ctl, s->unprotect, rc, &e);
	s->unprotect = (struct ctl_token){.id = 0};
}

void primary_shell_event(struct primary_shell *s, const struct primary_event *ev)
{
	struct primary_actions out;
	struct primary was = s->core;
	uint64_t now = clock_now();

	if (s->finished)
		return;
	primary_step(&s->core, now, ev, &out);
	if (s->core.outvoted && !was.outvoted)
		tell_outvoted(s);
	if (s->core.state != was.state)
		log_info("state %s -> %s on %s, epoch %" PRIi64 " acknowledged %" PRIi64,
			 primary_state_name(was.state), primary_state_name(s->core.state),
			 primary_event_name(ev->type), (int64_t)s->core.taken,
			 (int64_t)s->core.acked);
	primary_shell_tell_story__(s, &was, now, ev);
	if (s->core.state == PRIMARY_PROTECTED && was.state != PRIMARY_PROTECTED)
		primary_shell_no_problem__(s);
	update_heartbeats(s);
	if (s->rebuild && may_start_afresh(s)) {
		primary_shell_give_up__(s);
		return;
	}
	primary_shell_execute_all__(s, &out);
	if (!s->finished)
		primary_shell_arm__(s);
}

/* ---- what happens ---- */

/* The output is open: tell the core. */
static void check_opened(struct primary_shell *s)
{
	const struct primary_event ev = {.type = PEV_OUTPUT_OPENED};

	if (!s->opening || !netbuf_is_open(s->net))
		return;
	s->opening = false;
	primary_shell_event(s, &ev);
}

static void check_pressure(struct primary_shell *s)
{
	const struct primary_event ev = {.type = PEV_OUTPUT_PRESSURE};
	bool half = netbuf_half_full(s->net);

	if (half && !s->pressure_told) {
		s->fig.early++;
		primary_shell_event(s, &ev);
	}
	s->pressure_told = half;
}

static int on_timer(sd_event_source *src, uint64_t usec, void *arg)
{
	struct primary_shell *s = arg;
	const struct primary_event tick = {.type = PEV_TICK};

	netbuf_poll(s->net, clock_now());
	if (s->pending_checkpoint != EPOCH_NONE && s->core.checkpointing)
		primary_shell_order_checkpoint__(s, s->pending_checkpoint, s->pending_last);
	check_opened(s);
	check_pressure(s);
	if (!s->finished)
		primary_shell_event(s, &tick);
	return 0;
}

/* Messages that are only figures or texts; true if the core need not know. */
static bool note(struct primary_shell *s, const struct pd_msg *m)
{
	switch (m->type) {
	case PD_COPY_PROGRESS:
		s->fig.copy_done = m->done;
		s->fig.copy_total = m->total;
		s->fig.copy_round = m->round;
		s->fig.copy_sent = m->epoch;
		s->fig.wire = m->wire;
		s->fig.sent_bytes = m->sent_bytes;
		return true;
	case PD_TAKEN:
		primary_shell_note_taken__(s, m);
		return false;
	case PD_SENT:
		flight_step(s->flight, m->epoch, FLIGHT_SEND, m->at_ns);
		flight_bytes(s->flight, m->epoch, m->sent_bytes);
		s->fig.wire = m->wire;
		s->fig.sent_bytes = m->sent_bytes;
		return false;
	case PD_ACK:
		primary_shell_count_ack__(s, m);
		flight_step(s->flight, m->epoch, FLIGHT_ACK, m->at_ns);
		return false;
	case PD_LINK_UP:
		begin_session(s, m);
		return false;
	case PD_LINK_DOWN:
	case PD_REFUSED:
		end_session(s);
		/* After our BYE the peer hangs up: no problem, or one that the core's next state tells. */
		if (s->core.state == PRIMARY_LEAVING)
			log_info("the session has ended: %s", m->text);
		else if (m->text[0])
			primary_shell_problem__(
				s, "it is tried again; see `romulus status` on both hosts",
				"no session with %s: %s", s->state.peer, m->text);
		return false;
	case PD_COPY_FAILED:
	case PD_ABORTED:
	case PD_GUEST:
	case PD_DISK_DROPPED:
		primary_shell_problem__(s, "", "%s", m->text);
		return false;
	case PD_DISK_ERROR:
		primary_shell_problem__(s, "see the host's kernel log", "%s", m->text);
		return false;
	case PD_DISK_PRESSURE:
		s->fig.early++;
		return false;
	case PD_DISK:
		primary_shell_note_disk__(s, m);
		return true;
	case PD_DISKS_ALONE_DONE:
		primary_shell_disks_alone__(s, m);
		return true;
	case PD_DISKS_DEPOSED_DONE:
		primary_shell_disks_deposed__(s, m);
		return true;
	case PD_DRILL_SAYS:
		primary_drill_says(s, m);
		return true;
	case PD_STOPPED:
		return true;
	case PD_DISKS_SYNCED:
	case PD_PEER_ACTIVATED:
	case PD_COPY_DONE:
	case PD_BYE_OK:
		return false;
	}
	return true;
}

static enum primary_event_type event_of(enum pd_msg_type t)
{
	switch (t) {
	case PD_LINK_UP:
		return PEV_LINK_UP;
	case PD_LINK_DOWN:
	case PD_REFUSED:
		return PEV_LINK_DOWN;
	case PD_PEER_ACTIVATED:
		return PEV_PEER_ACTIVATED;
	case PD_COPY_DONE:
		return PEV_COPY_DONE;
	case PD_COPY_FAILED:
		return PEV_COPY_FAILED;
	case PD_TAKEN:
		return PEV_CHECKPOINT_TAKEN;
	case PD_ABORTED:
		return PEV_CHECKPOINT_ABORTED;
	case PD_SENT:
		return PEV_EPOCH_SENT;
	case PD_ACK:
		return PEV_ACK;
	case PD_BYE_OK:
		return PEV_BYE_OK;
	case PD_GUEST:
		return PEV_GUEST_EVENT;
	case PD_DISKS_SYNCED:
		return PEV_DISKS_SYNCED;
	case PD_DISK_DROPPED:
		return PEV_DISK_DROPPED;
	case PD_DISK_ERROR:
		return PEV_DISK_ERROR;
	case PD_DISK_PRESSURE:
		return PEV_OUTPUT_PRESSURE;
	case PD_COPY_PROGRESS:
	case PD_DISK:
	case PD_DISKS_ALONE_DONE:
	case PD_DISKS_DEPOSED_DONE:
	case PD_DRILL_SAYS:
	case PD_STOPPED:
		break;
	}
	return PEV_TICK;
}

void primary_shell_message(struct primary_shell *s, const struct pd_msg *m)
{
	const struct primary_event ev = {
		.type = event_of(m->type),
		.epoch = m->epoch,
		.term = m->term,
		.pages = m->pages,
		.leave = m->leave,
		.at_ns = m->at_ns,
	};

	if (m->type == PD_GUEST && m->leave == LEAVE_GUEST_CHANGED)
		s->rebuild = true;
	if (!note(s, m))
		primary_shell_event(s, &ev);
}

void primary_shell_guest_event(struct primary_shell *s, enum leave_reason leave, const char *text)
{
	const struct primary_event ev = {.type = PEV_GUEST_EVENT, .leave = leave};

	if (leave == LEAVE_GUEST_CHANGED)
		s->rebuild = true;
	primary_shell_problem__(s, "", "%s", text);
	primary_shell_event(s, &ev);
}

void primary_shell_tampered(struct primary_shell *s, const char *text)
{
	s->rebuild = true;
	s->tampered = true;
	primary_shell_guest_event(s, LEAVE_RESYNC, text);
}

/* ---- begin and end ---- */

static void on_vote(void *arg, const struct vote_answer *a)
{
	const struct primary_event ev = {
		.type = PEV_VOTE, .vote = a->vote, .asked = a->asked, .term = a->term};
	struct primary_shell *s = arg;

	s->said = a;
	primary_shell_event(s, &ev);
	s->said = NULL;
}

static int start_votes(struct primary_shell *s, struct err *e)
{
	const struct vote_shell_conf c = {
		.conf = s->conf, .vm = s->state.vm, .peer = s->state.peer, .uuid = s->guest->uuid};

	if (s->state.policy != POLICY_ARBITER)
		return 0;
	s->vote.voted = on_vote;
	s->vote.arg = s;
	s->vote.events = s->events;
	return vote_shell_start(&s->vote, s->loop, &c, e);
}

int primary_shell_start(struct primary_shell *s, const struct timing *t, uint32_t arena_pages,
			bool adopt, struct err *e)
{
	const struct primary_conf pc = {
		.timing = *t,
		.policy = s->state.policy,
		.term = s->state.term,
		.asked = s->state.asked,
		.arena_pages = arena_pages,
		.max_outstanding = LANES - 1,
		.adopt = adopt,
		.handed = s->state.handed,
		.disks = s->disks != NULL,
	};
	const struct primary_event tick = {.type = PEV_TICK};
	int r;

	s->device[s->n_devices++] = netbuf_device(s->net);
	/* Last: what it does in the pause cannot be taken back without the servers leaving the stream. */
	if (s->disks)
		s->device[s->n_devices++] = disk_shell_device(s->disks);
	s->pending_checkpoint = EPOCH_NONE;
	s->exit_code = 1;
	s->hb.heard = on_heartbeat;
	s->hb.arg = s;
	primary_shell_init_figures__(&s->fig);
	r = sd_event_add_time(s->loop, &s->timer, CLOCK_BOOTTIME, UINT64_MAX, 1, on_timer, s);
	if (r < 0)
		return err_set(e, r, "timer");
	r = start_votes(s, e);
	if (r < 0)
		return r;
	primary_init(&s->core, &pc, clock_now());
	primary_shell_event(s, &tick);
	return 0;
}

void primary_shell_asked_to_end(struct primary_shell *s)
{
	/* The next worker adopts what we leave: held output stays held. */
	log_info("asked to end; the output stays %s", s->core.held ? "held" : "open");
	s->rebuild = false;
	primary_shell_give_up__(s);
}

void primary_shell_stop(struct primary_shell *s)
{
	end_session(s);
	vote_shell_stop(&s->vote);
	s->timer = sd_event_source_disable_unref(s->timer);
}
