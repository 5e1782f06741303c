/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host A: the shell around the primary's core. A control thread that steps the core and executes its
 * actions, a data thread that obeys one command after the other, and romulusd, which starts a worker
 * that died again.
 */
#include "tests/sim/sim.h"

#define ARENA 1000 /* pages */

static struct ev worker_event(const struct sim *s, enum ev_kind kind)
{
	return (struct ev){.kind = kind, .where = AT_A_WORKER, .gen = s->a.proc.gen};
}

/* A message to the control thread; they keep their order. */
void a_post(struct sim *s, const struct primary_event *p)
{
	struct ev ev = worker_event(s, EV_A_CORE);
	struct process *proc = &s->a.proc;

	ev.p = *p;
	proc->last_post = MAX(proc->last_post, s->now + rng_below(&s->rng, 200 * US));
	ev_push(s, proc->last_post, &ev);
}

static void post(struct sim *s, enum primary_event_type type, uint64_t epoch)
{
	const struct primary_event p = {.type = type, .epoch = epoch};

	a_post(s, &p);
}

/* ---- the data thread ---- */

static void data_next(struct sim *s);

static void data_after(struct sim *s, enum data_phase phase, uint64_t delay)
{
	struct ev ev = worker_event(s, EV_A_DATA);

	s->a.phase = phase;
	ev.token = ++s->a.token;
	ev_push(s, s->now + delay, &ev);
}

static void data_idle(struct sim *s)
{
	s->a.phase = DATA_IDLE;
	s->a.token++;
	data_next(s);
}

/* The connection is gone. What needs it ends; a pause does not. */
static void data_link_gone(struct sim *s)
{
	struct primary_side *a = &s->a;

	if (!a->conn)
		return;
	net_close(s, a->conn, SIDE_A);
	a->conn = 0;
	if (!s->plan.hearts_outlive_link)
		a->heart_conn = 0;
	post(s, PEV_LINK_DOWN, 0);
	if (a->phase == DATA_CONNECTING || a->phase == DATA_COPYING || a->phase == DATA_SENDING)
		data_idle(s);
}

static void start_checkpoint(struct sim *s)
{
	s->a.in_time = s->now >= s->no_suspend_until;
	data_after(s, DATA_SUSPENDING,
		   s->a.in_time ? rng_between(&s->rng, 200 * US, 3 * MS) : s->t.suspend_timeout_ns);
}

static void data_start(struct sim *s)
{
	struct primary_side *a = &s->a;
	const struct msg bye = {.type = MSG_BYE, .leave = a->cmd.leave};
	const struct msg disks = {.type = MSG_DISKS};
	const struct msg handover = {
		.type = MSG_HANDOVER, .epoch = a->cmd.epoch, .whole = a->cmd.planned};
	struct ev synced = worker_event(s, EV_A_SYNCED);
	uint64_t copy = s->t.heartbeat_period_ns * (s->now < s->net.slow_until ? 4 : 1);

	switch (a->cmd.type) {
	case CMD_CONNECT:
		a->n_connects++;
		a->conn = net_connect(s, a->cmd.term);
		data_after(s, DATA_CONNECTING, s->t.handshake_timeout_ns);
		break;
	case CMD_START_COPY:
		if (a->conn)
			data_after(s, DATA_COPYING, sim_delay(s, copy, 10 * copy));
		break;
	case CMD_CHECKPOINT:
		if (a->conn)
			start_checkpoint(s);
		else
			post(s, PEV_CHECKPOINT_ABORTED, a->cmd.epoch);
		break;
	case CMD_BYE:
		net_send(s, a->conn, SIDE_B, &bye);
		break;
	case CMD_DISKS_SYNC:
		if (!a->conn)
			break;
		disks_a_say(s, a->conn);
		net_send(s, a->conn, SIDE_B, &disks);
		synced.conn = a->conn;
		ev_push(s, s->now + sim_delay(s, copy, 10 * copy), &synced);
		break;
	case CMD_HANDOVER:
		s->handed = s->handed || a->conn;
		net_send(s, a->conn, SIDE_B, &handover);
		break;
	case CMD_RESUME:
		s->guest.suspended = s->guest.dying;
		s->guest.parked = false;
		s->guest.dirty_since = s->now;
		break;
	}
}

static void data_next(struct sim *s)
{
	struct primary_side *a = &s->a;

	while (a->phase == DATA_IDLE && a->n_cmds) {
		a->cmd = a->cmds[0];
		a->n_cmds--;
		for (unsigned int i = 0; i < a->n_cmds; i++)
			a->cmds[i] = a->cmds[i + 1];
		data_start(s);
	}
}

static void command(struct sim *s, enum cmd_type type, const struct primary_action *act)
{
	struct primary_side *a = &s->a;

	if (a->n_cmds == MAX_CMDS) {
		sim_fail(s, "P6", "more than %d commands for the data thread", MAX_CMDS);
		return;
	}
	a->cmds[a->n_cmds++] = (struct cmd){
		.type = type,
		.epoch = act->epoch,
		.term = act->term,
		.leave = act->leave,
		.last = act->last,
		.planned = act->planned,
	};
	data_next(s);
}

static uint32_t dirty_pages(struct sim *s)
{
	uint64_t us = (s->now - s->guest.dirty_since) / US + 1;
	uint64_t rate = s->guest.dirty_rate * (s->now < s->dirty_until ? 20 : 1);
	uint64_t pages = rate * us / (s->t.epoch_period_ns / US) * s->a.core.throttle_percent / 100;

	return MIN(pages, 4 * (uint64_t)ARENA);
}

/* The guest is suspended, or should be. */
static void pause_begins(struct sim *s)
{
	struct primary_side *a = &s->a;
	struct primary_event ev = {.type = PEV_GUEST_EVENT, .leave = LEAVE_RESYNC};
	bool first = a->cmd.epoch == 0;
	bool overflow = !first && dirty_pages(s) > ARENA;

	if (s->guest.ended || !s->guest.exists || overflow) {
		if (!overflow)
			ev.leave = s->guest.reason;
		a_post(s, &ev);
	}
	if (s->guest.ended || !s->guest.exists || overflow || !a->in_time ||
	    (s->plan.n && rng_percent(&s->rng, 1))) {
		post(s, PEV_CHECKPOINT_ABORTED, a->cmd.epoch);
		data_idle(s);
		return;
	}
	s->guest.suspended = true;
	s->guest.suspended_at = s->now;
	a->captured = ++s->guest.state;
	output_switch(s, a->conn ? a->conn : a->session, a->cmd.epoch);
	disks_barrier(s, a->cmd.epoch, a->captured);
	data_after(s, DATA_PAUSED, rng_between(&s->rng, 500 * US, 3 * MS));
}

static void pause_ends(struct sim *s)
{
	struct primary_side *a = &s->a;
	const struct primary_event taken = {
		.type = PEV_CHECKPOINT_TAKEN,
		.epoch = a->cmd.epoch,
		.pages = dirty_pages(s),
	};
	const struct msg partial = {
		.type = MSG_PARTIAL,
		.epoch = a->cmd.epoch,
		.state = a->captured,
	};
	uint64_t send = taken.pages * 10 * US;

	s->guest.parked = a->cmd.last;
	s->guest.suspended = s->guest.dying || s->guest.parked;
	s->guest.dirty_since = s->now;
	a_post(s, &taken);
	if (!a->conn) {
		data_idle(s);
		return;
	}
	if (s->now < s->net.slow_until)
		send *= 20;
	net_send(s, a->conn, SIDE_B, &partial);
	data_after(s, DATA_SENDING, send + 100 * US);
}

static void epoch_sent(struct sim *s)
{
	struct primary_side *a = &s->a;
	const struct msg m = {
		.type = MSG_EPOCH,
		.epoch = a->cmd.epoch,
		.term = a->core.conf.term,
		.state = a->captured,
	};
	const struct primary_event sent = {
		.type = PEV_EPOCH_SENT,
		.epoch = a->cmd.epoch,
		.at_ns = host_clock(s, SIDE_A),
	};

	/* That a disk has left is on its way to the core; the epoch cannot be whole. */
	if (!disks_send_ends(s, a->conn, a->cmd.epoch)) {
		data_idle(s);
		return;
	}
	if (s->skip_epoch && a->cmd.epoch)
		s->skip_epoch = false;
	else
		net_send(s, a->conn, SIDE_B, &m);
	a_post(s, &sent);
	data_idle(s);
}

static void data_goes_on(struct sim *s)
{
	switch (s->a.phase) {
	case DATA_IDLE:
		break;
	case DATA_CONNECTING:
		data_link_gone(s);
		break;
	case DATA_COPYING:
		/* The live rounds have caught up with the guest. */
		s->guest.dirty_since = s->now;
		post(s, rng_percent(&s->rng, 2) ? PEV_COPY_FAILED : PEV_COPY_DONE, 0);
		data_idle(s);
		break;
	case DATA_SUSPENDING:
		pause_begins(s);
		break;
	case DATA_PAUSED:
		pause_ends(s);
		break;
	case DATA_SENDING:
		epoch_sent(s);
		break;
	}
}

static void hearts_begin(struct sim *s, uint32_t conn)
{
	struct ev ev = worker_event(s, EV_A_HEART);

	s->a.heart_conn = conn;
	ev.token = ++s->a.proc.heart_token;
	/* When the core has heard of the session. */
	ev_push(s, s->now + MS, &ev);
}

static void accepted(struct sim *s, const struct msg *m)
{
	const struct primary_event up = {.type = PEV_LINK_UP, .term = m->term};

	if (s->a.phase != DATA_CONNECTING)
		return;
	s->a.session = s->a.conn;
	s->a.lapsed = false;
	s->a.last_heard = s->now;
	hearts_begin(s, s->a.conn);
	a_post(s, &up);
	data_idle(s);
}

/* REFUSE(ACTIVATED) ends an attempt, TAKEOVER says it within a session. */
static void activated(struct sim *s, const struct msg *m)
{
	const struct primary_event ev = {.type = PEV_PEER_ACTIVATED, .term = m->term};
	bool refused = s->a.phase == DATA_CONNECTING;

	if (!refused && m->term <= s->a.core.conf.term && s->a.core.state != PRIMARY_DEPOSED)
		sim_fail(s, "P4", "TAKEOVER under term %llu in a session of term %llu",
			 (unsigned long long)m->term, (unsigned long long)s->a.core.conf.term);
	a_post(s, &ev);
	if (!refused)
		return;
	net_close(s, s->a.conn, SIDE_A);
	s->a.conn = 0;
	data_idle(s);
}

static void bye_ok(struct sim *s, const struct msg *m)
{
	const struct primary_event ev = {.type = PEV_BYE_OK, .term = m->term};
	bool spent = s->a.core.conf.policy == POLICY_ARBITER && m->term > s->a.core.conf.term;

	/* P1: it opens the output, so it must speak of this session's standby, and under `arbiter` may have asked in it. */
	if (m->term != s->a.core.conf.term && !spent)
		sim_fail(s, "P1", "BYE_OK of term %llu in a session of term %llu",
			 (unsigned long long)m->term, (unsigned long long)s->a.core.conf.term);
	a_post(s, &ev);
}

void a_message(struct sim *s, const struct msg *m, uint32_t conn)
{
	const struct primary_event ack = {
		.type = PEV_ACK,
		.epoch = m->epoch,
		.term = m->term,
	};

	if (conn != s->a.conn)
		return;
	switch (m->type) {
	case MSG_HELLO_OK:
		accepted(s, m);
		break;
	case MSG_ACTIVATED:
		activated(s, m);
		break;
	case MSG_ACK:
		a_post(s, &ack);
		break;
	case MSG_BYE_OK:
		bye_ok(s, m);
		break;
	case MSG_REFUSE:
	case MSG_CLOSE:
		data_link_gone(s);
		break;
	case MSG_DISK_PROGRESS:
		disks_a_progress(s, m);
		break;
	case MSG_HELLO:
	case MSG_PARTIAL:
	case MSG_EPOCH:
	case MSG_BYE:
	case MSG_DISKS:
	case MSG_DISK_END:
	case MSG_HANDOVER:
		break;
	}
}

void a_heard(struct sim *s, uint32_t conn, uint64_t at_ns)
{
	const struct primary_event p = {.type = PEV_HEARTBEAT, .at_ns = at_ns};

	if (!s->a.proc.alive || s->a.heart_conn != conn)
		return;
	a_post(s, &p);
}

/* ---- the control thread ---- */

static void arm(struct sim *s)
{
	struct process *p = &s->a.proc;
	uint64_t d = primary_next_deadline(&s->a.core);
	uint64_t t = d == NEVER ? NEVER : host_when(s, SIDE_A, d);
	struct ev ev = worker_event(s, EV_A_TICK);

	if (t >= p->tick_at)
		return;
	p->tick_at = t;
	ev.token = ++p->tick_token;
	ev_push(s, t, &ev);
}

static void worker_ends(struct sim *s)
{
	struct primary_side *a = &s->a;

	if (a->conn)
		net_close(s, a->conn, SIDE_A);
	a->conn = 0;
	a->heart_conn = 0;
	a->proc.alive = false;
	/* The disks hear of it. What was owed to the guest died with the worker. */
	disks_a_asked(s);
	disks_a_leave(s);
}

static void protection_ends(struct sim *s)
{
	s->a.durable_role = false;
	worker_ends(s);
	/* The lanes are taken down; frames of a guest that is gone go with them. */
	if (s->guest.exists)
		output_open(s);
	s->out.held = false;
}

static void destroy_guest(struct sim *s)
{
	struct ev gone = worker_event(s, EV_A_GONE);

	oracle_destroy(s);
	s->guest.suspended = true;
	s->guest.dying = true;
	ev_push(s, s->now + sim_delay(s, 5 * MS, SEC), &gone);
}

static void open_output(struct sim *s)
{
	struct ev ev = worker_event(s, EV_A_CORE);

	disks_a_alone(s);
	output_open(s);
	ev.p.type = PEV_OUTPUT_OPENED;
	ev_push(s, s->now + sim_delay(s, 100 * US, 20 * MS), &ev);
}

static void release(struct sim *s, const struct primary_action *act)
{
	if (!s->a.lapsed && host_clock(s, SIDE_A) < act->until_ns) {
		output_release(s, act->epoch);
		return;
	}
	s->a.lapsed = true;
	data_link_gone(s);
}

static bool cannot_persist(struct sim *s)
{
	if (!rng_percent(&s->rng, s->plan.no_persist))
		return false;
	sim_trace(s, "A    cannot make it durable");
	return true;
}

/* What depends on it is not done. */
static void persist_term(struct sim *s, const struct primary_action *act)
{
	const struct primary_action *next = &s->a.todo.a[s->a.done];
	bool last = s->a.done >= s->a.todo.n;
	const struct primary_event unknown = {.type = PEV_VOTE, .asked = act->asked};

	if (!s->plan.no_persist || !cannot_persist(s)) {
		s->a.durable_term = act->term;
		s->a.durable_asked = act->asked;
		s->a.durable_session_at = s->a.session_at;
		return;
	}
	if (last)
		return;
	if (next->type == PACT_ASK_VOTE)
		a_post(s, &unknown);
	else if (next->type == PACT_START_COPY || next->type == PACT_DISKS_SYNC)
		data_link_gone(s);
	else
		return;
	s->a.done++;
}

/* Where it is written may be the disk that fails: then the VM is not handed over. */
static void persist_handover(struct sim *s, bool handed)
{
	if (handed && cannot_persist(s)) {
		disks_a_asked(s);
		data_link_gone(s);
		s->a.done++;
		return;
	}
	s->a.durable_handed = handed;
}

static void execute(struct sim *s, const struct primary_action *act)
{
	sim_trace(s, "A    %s epoch=%lld", primary_action_name(act->type), (long long)act->epoch);
	switch (act->type) {
	case PACT_CONNECT:
		command(s, CMD_CONNECT, act);
		break;
	case PACT_DISCONNECT:
		data_link_gone(s);
		break;
	case PACT_START_COPY:
		command(s, CMD_START_COPY, act);
		break;
	case PACT_CHECKPOINT:
		if (act->last)
			oracle_last(s);
		command(s, CMD_CHECKPOINT, act);
		break;
	case PACT_RELEASE:
		release(s, act);
		break;
	case PACT_OPEN_OUTPUT:
		open_output(s);
		break;
	case PACT_SEND_BYE:
		command(s, CMD_BYE, act);
		break;
	case PACT_THROTTLE:
		break;
	case PACT_DESTROY_GUEST:
		destroy_guest(s);
		break;
	case PACT_END_GUEST:
		s->guest.exists = false;
		break;
	case PACT_END:
		protection_ends(s);
		break;
	case PACT_DISKS_SYNC:
		disks_a_begin(s);
		command(s, CMD_DISKS_SYNC, act);
		break;
	case PACT_DISKS_LEAVE:
		disks_a_leave(s);
		break;
	case PACT_SEND_HANDOVER:
		if (act->planned)
			oracle_hands_over(s);
		disks_a_asked(s);
		command(s, CMD_HANDOVER, act);
		break;
	case PACT_PERSIST_HANDOVER:
		persist_handover(s, act->handed);
		break;
	case PACT_PERSIST_TERM:
		persist_term(s, act);
		break;
	case PACT_ASK_VOTE:
		arbiter_ask(s, SIDE_A, 0, act->term);
		break;
	case PACT_RESUME:
		command(s, CMD_RESUME, act);
		break;
	case PACT_SWITCHOVER_FAILED:
		s->moves_failed++;
		oracle_stays(s);
		break;
	}
}

/* Executes what is left to do; false if the process died or stopped in between. */
static bool execute_all(struct sim *s)
{
	struct primary_side *a = &s->a;
	struct trap *trap = &a->proc.trap;

	while (a->done < a->todo.n && a->proc.alive && !s->failed) {
		bool sprung = trap->countdown && --trap->countdown == 0;

		if (!sprung || trap->after) {
			const struct primary_action *act = &a->todo.a[a->done++];

			execute(s, act);
			fault_moment(s, MOMENT_A + act->type);
		}
		if (!sprung || !a->proc.alive)
			continue;
		if (!trap->freeze)
			a_crash(s);
		if (!trap->freeze || a_freeze(s, trap->duration))
			return false;
	}
	return a->proc.alive;
}

static void step(struct sim *s, const struct primary_event *p)
{
	struct primary_side *a = &s->a;
	enum primary_state before = a->core.state;
	bool alone;
	bool outvoted;

	if (p->type == PEV_UNPROTECT)
		s->wants_out = true;
	if (p->type == PEV_UNPROTECT && p->force && a->core.outvoted)
		s->forced_over = true;
	if (p->type == PEV_DISK_DROPPED)
		a->disk_news--;
	if (p->type == PEV_UNPROTECT && p->force)
		a->unasked = true;
	if (p->type == PEV_VOTE && p->vote == VOTE_UNKNOWN)
		a->unasked = false;
	alone = a->core.alone_decided;
	outvoted = a->core.outvoted;
	primary_step(&a->core, host_clock(s, SIDE_A), p, &a->todo);
	if (a->core.alone_decided && !alone)
		a->alone_after =
			oracle_silence(s, SIDE_A, &a->proc, MAX(a->last_heard, a->started));
	if (a->core.alone_decided && !alone)
		a->alone_waited = a->waited;
	if (oracle_silence(s, SIDE_A, &a->proc, MAX(a->last_heard, a->started)) >=
	    s->t.failure_timeout_ns)
		a->waited = true;
	if (p->type == PEV_HEARTBEAT)
		a->last_heard = s->now;
	if (p->type == PEV_HEARTBEAT || p->type == PEV_LINK_UP)
		a->waited = false;
	if (a->core.outvoted && !outvoted)
		oracle_outvoted(s, SIDE_A, a->core.outvoted_term, a->session_at);
	if (p->type == PEV_LINK_UP)
		a->session_at = s->now;
	a->done = 0;
	/* It was there to be handed over. */
	for (int i = 0; i < s->plan.n_disks && p->type == PEV_DISK_ERROR; i++)
		s->disk_a[i].owed = s->disk_a[i].error_since && before == PRIMARY_PROTECTED &&
				    a->core.state != PRIMARY_LOST;
	if (p->type != PEV_HEARTBEAT && p->type != PEV_TICK)
		sim_trace(s, "A <- %s epoch=%lld", primary_event_name(p->type),
			  (long long)p->epoch);
	if (a->core.state != before)
		sim_trace(s, "A ** %s -> %s on %s", primary_state_name(before),
			  primary_state_name(a->core.state), primary_event_name(p->type));
	if (execute_all(s))
		arm(s);
}

static void tick(struct sim *s)
{
	const struct primary_event p = {.type = PEV_TICK};
	struct primary *core = &s->a.core;

	s->a.proc.tick_at = NEVER;
	if (host_clock(s, SIDE_A) >= primary_next_deadline(core)) {
		step(s, &p);
		if (s->a.proc.alive && host_clock(s, SIDE_A) >= primary_next_deadline(core))
			sim_fail(s, "P6", "the primary in %s wants a tick again at once",
				 primary_state_name(core->state));
	} else {
		arm(s);
	}
}

static void heart_beats(struct sim *s, struct ev *ev)
{
	if (!s->a.heart_conn || ev->token != s->a.proc.heart_token)
		return;
	if (primary_heartbeats(&s->a.core))
		net_heartbeat(s, s->a.heart_conn, SIDE_B);
	ev_push(s, s->now + s->t.heartbeat_period_ns, ev);
}

void a_start(struct sim *s)
{
	struct primary_side *a = &s->a;
	const struct primary_conf conf = {
		.timing = s->t,
		.policy = s->plan.policy,
		.term = MAX(a->durable_term, UINT64_C(1)),
		.asked = a->durable_asked,
		.arena_pages = ARENA,
		.max_outstanding = s->plan.max_outstanding,
		.adopt = s->out.held,
		.handed = a->durable_handed,
		.disks = s->plan.n_disks > 0,
	};
	const struct primary_event first = {.type = PEV_TICK};
	const struct primary_event ended = {.type = PEV_GUEST_EVENT, .leave = s->guest.reason};

	*a = (struct primary_side){
		.durable_role = true,
		.durable_handed = a->durable_handed,
		.durable_term = a->durable_term,
		.durable_asked = a->durable_asked,
		/* Of a session whose term was not durable yet nobody knows. */
		.session_at = a->durable_session_at,
		.durable_session_at = a->durable_session_at,
		.n_connects = a->n_connects,
	};
	a->proc = (struct process){.alive = true, .gen = ++s->next_gen, .tick_at = NEVER};
	a->started = s->now;
	a->last_heard = s->now;
	s->guest.suspended = false;
	s->guest.parked = false;
	s->guest.dying = false;
	/* Who had asked a worker that died must ask again. */
	s->wants_out = s->guest.ended;
	sim_trace(s, "A    worker starts%s", conf.adopt ? ", adopts held output" : "");
	primary_init(&a->core, &conf, host_clock(s, SIDE_A));
	step(s, &first);
	if (s->guest.ended && a->proc.alive)
		a_post(s, &ended);
}

static void restart(struct sim *s, const struct ev *ev)
{
	if (s->a.proc.alive || !s->a.durable_role)
		return;
	if (!host_daemon(s, SIDE_A)) {
		ev_push(s, s->now + 50 * MS, ev);
		return;
	}
	if (s->guest.exists)
		a_start(s);
	else
		s->a.durable_role = false;
}

void a_crash(struct sim *s)
{
	const struct ev ev = {.kind = EV_A_RESTART, .where = AT_A_HOST};

	if (!s->a.proc.alive)
		return;
	sim_trace(s, "A    worker dies");
	worker_ends(s);
	ev_push(s, s->now + rng_between(&s->rng, 5 * MS, 300 * MS), &ev);
}

bool a_freeze(struct sim *s, uint64_t duration)
{
	struct process *p = &s->a.proc;
	struct ev rest = worker_event(s, EV_A_EXEC);

	uint64_t thaw = MIN(s->now + duration, s->plan.end_of_faults);

	if (!p->alive || thaw <= s->now || (p->frozen && p->thaw >= thaw))
		return false;
	p->frozen = true;
	p->thaw = thaw;
	p->thawed_at = p->thaw;
	if (thaw - s->now > s->t.suspect_ns + s->t.heartbeat_period_ns)
		p->listens_since = thaw;
	sim_trace(s, "A    worker stops for %llu ms", (unsigned long long)(duration / MS));
	ev_push(s, p->thaw, &rest);
	return true;
}

void a_event(struct sim *s, const struct ev *ev)
{
	struct ev again = *ev;

	/* What a freeze interrupted comes first. */
	if (ev->where == AT_A_WORKER && !execute_all(s))
		return;
	switch (ev->kind) {
	case EV_A_CORE:
		step(s, &ev->p);
		break;
	case EV_A_TICK:
		if (ev->token == s->a.proc.tick_token)
			tick(s);
		break;
	case EV_A_DATA:
		if (ev->token == s->a.token)
			data_goes_on(s);
		break;
	case EV_A_HEART:
		heart_beats(s, &again);
		break;
	case EV_A_EXEC:
		arm(s);
		break;
	case EV_A_RESTART:
		restart(s, ev);
		break;
	case EV_A_SYNCED:
		if (ev->conn == s->a.conn && !disks_a_welcome(s, ev->conn))
			ev_push(s, s->now + 5 * MS, ev);
		else if (ev->conn == s->a.conn)
			disks_a_synced(s);
		break;
	case EV_A_GONE:
		s->guest.exists = false;
		post(s, PEV_GUEST_GONE_DONE, 0);
		break;
	case EV_B_CORE:
	case EV_B_TICK:
	case EV_B_HEART:
	case EV_B_EXEC:
	case EV_B_ANSWER:
	case EV_B_APPLIED:
	case EV_B_COMPLETED:
	case EV_B_ACTIVATED:
	case EV_B_ABANDONED:
	case EV_B_DISK_HELD:
	case EV_B_DISK_DURABLE:
	case EV_B_DISK_APPLIED:
	case EV_B_DISK_ACTIVE:
	case EV_VOTE_ASKED:
	case EV_VOTE_ANSWER:
	case EV_VOTE_TIMEOUT:
	case EV_MSG:
	case EV_HEARTBEAT:
	case EV_GUEST:
	case EV_FAULT:
	case EV_THAW:
	case EV_BOOT:
	case EV_END_OF_FAULTS:
		break;
	}
}
