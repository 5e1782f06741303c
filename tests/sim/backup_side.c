/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host B: the shells around the backups' cores (one worker for each connection), the standby in
 * romulus-domain, the durable role and term, and what a new worker does before its core says HELLO_OK.
 */
#include "tests/sim/sim.h"

#include <string.h>

/* The worker's LEAVE_NS: for a server that is being started again. */
#define LEAVE_TIME (10 * SEC)

static struct ev worker_event(const struct sim *s, int slot, enum ev_kind kind)
{
	return (struct ev){
		.kind = kind,
		.where = AT_B_WORKER,
		.slot = slot,
		.gen = s->b[slot].proc.gen,
	};
}

void b_post(struct sim *s, int slot, const struct backup_event *b)
{
	struct ev ev = worker_event(s, slot, EV_B_CORE);
	struct process *proc = &s->b[slot].proc;

	ev.b = *b;
	proc->last_post = MAX(proc->last_post, s->now + rng_below(&s->rng, 200 * US));
	ev_push(s, proc->last_post, &ev);
}

static void post(struct sim *s, int slot, enum backup_event_type type, uint64_t epoch)
{
	const struct backup_event b = {.type = type, .epoch = epoch};

	b_post(s, slot, &b);
}

int b_current(const struct sim *s)
{
	int best = -1;

	for (int i = 0; i < MAX_WORKERS; i++) {
		if (s->b[i].proc.alive && s->b[i].told_hello &&
		    (best < 0 || s->b[i].proc.gen > s->b[best].proc.gen))
			best = i;
	}
	return best;
}

/* ---- the beginning and the end of a worker ---- */

/* The worker that waits for our answer gets it, or learns that we are gone, which is as good. */
static void answer_asker(struct sim *s, struct backup_side *w, bool ok)
{
	struct ev ev;

	if (w->asker < 0 || !s->b[w->asker].proc.alive || s->b[w->asker].proc.gen != w->asker_gen)
		return;
	ev = worker_event(s, w->asker, EV_B_ANSWER);
	ev.ok = ok;
	ev_push(s, s->now + rng_below(&s->rng, 200 * US), &ev);
	w->asker = -1;
}

static void quit(struct sim *s, int slot)
{
	struct backup_side *w = &s->b[slot];

	net_close(s, w->conn, SIDE_B);
	w->proc.alive = false;
	drill_worker_died(s, slot, false);
	disks_b_leave(s, slot, false);
	answer_asker(s, w, true);
}

void b_crash(struct sim *s, int slot)
{
	struct backup_side *w = &s->b[slot];

	if (!w->proc.alive)
		return;
	sim_trace(s, "B%d   worker dies", slot);
	if (s->standby.owner == w->proc.gen)
		s->standby.completing = false;
	s->b_duty = false;
	drill_worker_died(s, slot, true);
	quit(s, slot);
}

void b_host_died(struct sim *s)
{
	for (int i = 0; i < MAX_WORKERS; i++)
		s->b[i].proc.alive = false;
	for (int i = 0; i < MAX_CONNS; i++)
		s->net.conn[i].open[SIDE_B] = false;
	s->standby = (struct standby){.token = s->standby.token + 1};
	drill_host_died(s);
	disks_b_host_died(s);
}

bool b_freeze(struct sim *s, int slot, uint64_t duration)
{
	struct process *p = &s->b[slot].proc;
	struct ev rest = worker_event(s, slot, EV_B_EXEC);

	uint64_t thaw = MIN(s->now + duration, s->plan.end_of_faults);

	if (!p->alive || thaw <= s->now || (p->frozen && p->thaw >= thaw))
		return false;
	p->frozen = true;
	p->thaw = thaw;
	p->thawed_at = p->thaw;
	if (thaw - s->now > s->t.suspect_ns + s->t.heartbeat_period_ns)
		p->listens_since = thaw;
	sim_trace(s, "B%d   worker stops for %llu ms", slot, (unsigned long long)(duration / MS));
	ev_push(s, p->thaw, &rest);
	return true;
}

/* ---- HELLO ---- */

static void refuse(struct sim *s, int slot, enum msg_type type)
{
	const struct msg m = {.type = type, .term = s->b_term};

	sim_trace(s, "B%d   refuses: %s", slot, type == MSG_ACTIVATED ? "activated" : "no");
	net_send(s, s->b[slot].conn, SIDE_A, &m);
	quit(s, slot);
}

static void supersede(struct sim *s, int slot, int old)
{
	struct backup_side *o = &s->b[old];

	o->asker = slot;
	o->asker_gen = s->b[slot].proc.gen;
	o->asked_to_abandon = true;
	post(s, old, BEV_SUPERSEDE, 0);
}

static void build(struct sim *s, int slot)
{
	struct backup_side *w = &s->b[slot];
	struct backup_event hello = {.type = BEV_HELLO};

	if (s->standby.exists) {
		if (s->standby.runs)
			sim_fail(s, "P4", "the running VM of host B is taken for a leftover");
		s->standby = (struct standby){.token = s->standby.token + 1};
	}
	s->handed = false;
	s->b_role = ROLE_BACKUP;
	/* Read when the older worker is gone: it may have used a term up. */
	s->b_term = MAX(s->b_term, w->hello_term);
	hello.term = s->b_term;
	w->told_hello = true;
	b_post(s, slot, &hello);
}

static void welcome(struct sim *s, int slot)
{
	struct backup_found found = {
		.role_active = s->b_role == ROLE_ACTIVE,
		.vm_runs = s->standby.exists && s->standby.runs,
	};
	int old = -1;

	for (int i = 0; i < MAX_WORKERS; i++) {
		if (i != slot && s->b[i].proc.alive && (old < 0 || !s->b[i].told_hello))
			old = i;
	}
	found.old_worker = old >= 0;
	switch (backup_welcome(&found)) {
	case WELCOME_BUILD:
		build(s, slot);
		break;
	case WELCOME_SUPERSEDE:
		supersede(s, slot, old);
		break;
	case WELCOME_ACTIVATED:
		refuse(s, slot, MSG_ACTIVATED);
		break;
	case WELCOME_OPERATOR:
	case WELCOME_DEPOSED:
	case WELCOME_PRIMARY:
	case WELCOME_NAME_TAKEN:
		refuse(s, slot, MSG_REFUSE);
		break;
	}
}

static void arm(struct sim *s, int slot)
{
	struct process *p = &s->b[slot].proc;
	uint64_t d = backup_next_deadline(&s->b[slot].core);
	uint64_t t = d == NEVER ? NEVER : host_when(s, SIDE_B, d);
	struct ev ev = worker_event(s, slot, EV_B_TICK);

	if (t >= p->tick_at)
		return;
	p->tick_at = t;
	ev.token = ++p->tick_token;
	ev_push(s, t, &ev);
}

void b_accept(struct sim *s, struct conn *c, const struct msg *hello)
{
	const struct msg no = {.type = MSG_CLOSE};
	const struct backup_conf conf = {
		.timing = s->t,
		.policy = s->plan.policy,
		.term = s->b_term,
	};
	struct backup_side *w;
	int slot = 0;

	while (slot < MAX_WORKERS && s->b[slot].proc.alive)
		slot++;
	if (!host_daemon(s, SIDE_B) || slot == MAX_WORKERS) {
		net_send(s, c->id, SIDE_A, &no);
		return;
	}
	w = &s->b[slot];
	memset(w, 0, sizeof(*w));
	w->proc = (struct process){.alive = true, .gen = ++s->next_gen, .tick_at = NEVER};
	w->proc.trap = s->b_trap;
	s->b_trap.countdown = 0;
	w->conn = c->id;
	w->hello_term = hello->term;
	w->asker = -1;
	w->committed = EPOCH_NONE;
	c->slot = slot;
	c->open[SIDE_B] = true;
	c->gen[SIDE_B] = w->proc.gen;
	drill_worker_begins(s, slot);
	backup_init(&w->core, &conf, host_clock(s, SIDE_B));
	arm(s, slot);
	welcome(s, slot);
}

/* ---- what the primary sends ---- */

static void take(struct sim *s, int slot, const struct msg *m)
{
	struct backup_side *w = &s->b[slot];
	const struct backup_event complete = {
		.type = BEV_EPOCH_COMPLETE,
		.epoch = m->epoch,
		.term = m->term,
	};
	const struct backup_event bye = {.type = BEV_BYE, .leave = m->leave};
	const struct backup_event handover = {
		.type = BEV_HANDOVER, .epoch = m->epoch, .planned = m->whole};

	switch (m->type) {
	case MSG_PARTIAL:
		if (w->deaf)
			break;
		w->partial = true;
		w->partial_state = m->state;
		break;
	case MSG_EPOCH:
		w->partial = false;
		w->arena_busy = true;
		w->arena_epoch = m->epoch;
		w->arena_state = m->state;
		b_post(s, slot, &complete);
		break;
	case MSG_BYE:
		w->asked_to_abandon = true;
		b_post(s, slot, &bye);
		break;
	case MSG_CLOSE:
		net_close(s, w->conn, SIDE_B);
		post(s, slot, BEV_LINK_DOWN, 0);
		break;
	case MSG_DISKS:
		disks_b_begin(s, slot);
		break;
	case MSG_DISK_END:
		if (!w->deaf)
			disks_b_end(s, slot, m);
		break;
	case MSG_HANDOVER:
		b_post(s, slot, &handover);
		break;
	case MSG_HELLO:
	case MSG_HELLO_OK:
	case MSG_REFUSE:
	case MSG_ACTIVATED:
	case MSG_ACK:
	case MSG_BYE_OK:
	case MSG_DISK_PROGRESS:
		break;
	}
}

/* There is one arena: what follows an epoch waits on the connection until that epoch is applied. */
void b_message(struct sim *s, int slot, const struct msg *m)
{
	struct backup_side *w = &s->b[slot];

	if (!w->arena_busy) {
		take(s, slot, m);
		return;
	}
	if (w->n_in == MAX_IN) {
		sim_fail(s, "P6", "more than %d messages wait at the backup", MAX_IN);
		return;
	}
	w->in[w->n_in++] = *m;
}

static void read_on(struct sim *s, int slot)
{
	struct backup_side *w = &s->b[slot];

	while (w->proc.alive && !w->arena_busy && w->n_in) {
		struct msg m = w->in[0];

		w->n_in--;
		for (unsigned int i = 0; i < w->n_in; i++)
			w->in[i] = w->in[i + 1];
		take(s, slot, &m);
	}
}

/* ---- the standby ---- */

static void standby_begins(struct sim *s, int slot)
{
	struct ev heart = worker_event(s, slot, EV_B_HEART);

	s->standby = (struct standby){
		.exists = true,
		.good = true,
		.owner = s->b[slot].proc.gen,
		.token = s->standby.token + 1,
		.epoch = EPOCH_NONE,
	};
	drill_standby_begins(s, slot);
	ev_push(s, s->now, &heart);
}

static void apply(struct sim *s, int slot)
{
	struct ev ev = worker_event(s, slot, EV_B_APPLIED);
	uint64_t most = s->now < s->slow_apply_until ? 2 * s->t.failure_timeout_ns : 8 * MS;

	uint64_t taking = sim_delay(s, 200 * US, most);

	drill_feeds(s, slot, taking);
	ev_push(s, s->now + taking, &ev);
}

static void standby_broken(struct sim *s, int slot)
{
	s->standby.good = false;
	s->b[slot].asked_to_abandon = true;
	s->b_duty = false;
}

static void step(struct sim *s, int slot, const struct backup_event *b);

/* romulus-domain has completed the domain. */
static void built(struct sim *s, int slot)
{
	const struct backup_event ev = {.type = BEV_BUILT};

	if (!backup_may_run(&s->b[slot].core)) {
		sim_trace(s, "B%d   the standby completed itself", slot);
		standby_broken(s, slot);
	}
	step(s, slot, &ev);
}

/* That it may run is made durable first. */
static void let_run(struct sim *s, int slot)
{
	struct ev run = worker_event(s, slot, EV_B_ACTIVATED);

	s->standby.completing = true;
	s->b_role = ROLE_ACTIVE;
	run.token = s->standby.token;
	ev_push(s, s->now + rng_below(&s->rng, 2 * MS), &run);
}

static void applied(struct sim *s, int slot)
{
	struct backup_side *w = &s->b[slot];
	struct standby *d = &s->standby;

	if (d->owner != w->proc.gen)
		return;
	if (s->fail_standby) {
		s->fail_standby = false;
		standby_broken(s, slot);
		post(s, slot, BEV_STANDBY_FAILED, 0);
		return;
	}
	if (s->complete_standby) {
		s->complete_standby = false;
		built(s, slot);
		return;
	}
	if (w->arena_epoch != d->epoch + 1)
		d->good = false;
	d->epoch = w->arena_epoch;
	d->state = w->arena_state;
	drill_fed(s, slot);
	post(s, slot, BEV_APPLIED, w->arena_epoch);
	w->arena_busy = false;
	read_on(s, slot);
}

static void activate(struct sim *s, int slot)
{
	struct ev ev = worker_event(s, slot, EV_B_COMPLETED);

	if (s->standby.completing || s->standby.runs)
		sim_fail(s, "P2", "the standby is activated twice");
	drill_finishes(s, slot);
	s->standby.completing = true;
	s->standby.due = s->b[slot].committed_state;
	ev.token = ++s->standby.token;
	ev_push(s, s->now + sim_delay(s, 5 * MS, 300 * MS), &ev);
}

static void completed(struct sim *s, const struct ev *ev)
{
	if (ev->token == s->standby.token && s->standby.completing)
		built(s, ev->slot);
}

static void runs(struct sim *s, const struct ev *ev)
{
	struct backup_side *w = &s->b[ev->slot];
	struct standby *d = &s->standby;

	if (ev->token != d->token || !d->completing)
		return;
	d->completing = false;
	d->runs = true;
	d->due = MAX(d->due, w->committed_state);
	if (w->partial)
		d->state = w->partial_state;
	oracle_activated(s);
	post(s, ev->slot, BEV_ACTIVATED, 0);
	fault_moment(s, MOMENT_RUNS);
}

static void abandon(struct sim *s, int slot)
{
	struct ev ev = worker_event(s, slot, EV_B_ABANDONED);

	oracle_abandon(s, &s->b[slot]);
	if (s->b[slot].asked_to_abandon)
		s->b_duty = false;
	ev.token = ++s->standby.token;
	s->standby.completing = false;
	ev_push(s, s->now + sim_delay(s, MS, 2 * SEC), &ev);
}

/* ---- the control thread ---- */

static void send(struct sim *s, int slot, enum msg_type type, const struct backup_action *act)
{
	const struct msg m = {.type = type, .epoch = act->epoch, .term = act->term};

	/* The encoder would abort the worker. */
	if (!m.term)
		sim_fail(s, "P4", "the backup's %s has no term", backup_action_name(act->type));
	net_send(s, s->b[slot].conn, SIDE_A, &m);
}

static void execute(struct sim *s, int slot, const struct backup_action *act)
{
	struct backup_side *w = &s->b[slot];
	const struct msg refusal = {.type = MSG_REFUSE};

	sim_trace(s, "B%d   %s epoch=%lld term=%llu", slot, backup_action_name(act->type),
		  (long long)act->epoch, (unsigned long long)act->term);
	switch (act->type) {
	case BACT_HELLO_OK:
		w->session_at = s->now;
		standby_begins(s, slot);
		send(s, slot, MSG_HELLO_OK, act);
		break;
	case BACT_ACK:
		oracle_ack(s, slot, act->epoch);
		send(s, slot, MSG_ACK, act);
		break;
	case BACT_APPLY:
		apply(s, slot);
		break;
	case BACT_DROP_PARTIAL:
		w->partial = false;
		w->deaf = true;
		break;
	case BACT_PERSIST_TERM:
		s->b_term = act->term;
		break;
	case BACT_TAKEOVER:
		send(s, slot, MSG_ACTIVATED, act);
		break;
	case BACT_ACTIVATE:
		activate(s, slot);
		break;
	case BACT_RUN:
		let_run(s, slot);
		break;
	case BACT_ABANDON:
		abandon(s, slot);
		break;
	case BACT_BYE_OK:
		send(s, slot, MSG_BYE_OK, act);
		break;
	case BACT_ANSWER:
		if (act->request == BEV_SUPERSEDE)
			answer_asker(s, w, act->ok);
		break;
	case BACT_DISCONNECT:
		net_close(s, w->conn, SIDE_B);
		break;
	case BACT_END:
		quit(s, slot);
		break;
	case BACT_DISKS_COMMIT:
		disks_b_commit(s, slot, act->epoch);
		break;
	case BACT_DISKS_ACTIVATE:
		disks_b_activate(s, slot, act->epoch);
		break;
	case BACT_DISKS_LEAVE:
		w->leave_by = s->now + LEAVE_TIME;
		disks_b_leave(s, slot, true);
		break;
	case BACT_REFUSE:
		net_send(s, w->conn, SIDE_A, &refusal);
		net_close(s, w->conn, SIDE_B);
		break;
	case BACT_ASK_VOTE:
		arbiter_ask(s, SIDE_B, slot, act->term);
		break;
	}
}

static bool execute_all(struct sim *s, int slot)
{
	struct backup_side *w = &s->b[slot];
	struct trap *trap = &w->proc.trap;

	while (w->done < w->todo.n && w->proc.alive && !s->failed) {
		bool sprung = trap->countdown && --trap->countdown == 0;

		if (!sprung || trap->after) {
			const struct backup_action *a = &w->todo.a[w->done++];

			execute(s, slot, a);
			fault_moment(s, MOMENT_B + a->type);
		}
		if (!sprung || !w->proc.alive)
			continue;
		if (!trap->freeze)
			b_crash(s, slot);
		if (!trap->freeze || b_freeze(s, slot, trap->duration))
			return false;
	}
	return w->proc.alive;
}

/* What the core has just committed, if the arena really holds it. */
static void note_commit(struct sim *s, struct backup_side *w, uint64_t before)
{
	if (w->core.committed == before)
		return;
	w->hole = w->hole || w->arena_epoch != before + 1 || w->arena_epoch != w->core.committed ||
		  !disks_b_hold(s, (int)(w - s->b), w->core.committed);
	w->committed = w->arena_epoch;
	w->committed_state = w->arena_state;
	if (w->hole)
		return;
	s->commit_conn = w->conn;
	s->commit_state = w->arena_state;
	if (w->conn == s->a.session)
		s->last_good = s->now;
}

static void step(struct sim *s, int slot, const struct backup_event *b)
{
	struct backup_side *w = &s->b[slot];
	enum backup_state before = w->core.state;
	uint64_t committed = w->core.committed;
	uint64_t complete = w->core.complete;
	bool linked = w->core.link_up;

	bool outvoted = w->core.outvoted;

	if (b->type == BEV_DISK_FAILED)
		w->disk_news--;
	if (b->type == BEV_FAILOVER && b->force && outvoted)
		s->forced_over = true;
	if (b->type == BEV_FAILOVER && b->force)
		w->unasked = true;
	if (b->type == BEV_VOTE && b->vote == VOTE_UNKNOWN)
		w->unasked = false;
	if (oracle_silence(s, SIDE_B, &w->proc, w->last_heard) >= s->t.failure_timeout_ns)
		w->waited = true;
	backup_step(&w->core, host_clock(s, SIDE_B), b, &w->todo);
	w->done = 0;
	/* As backup_shell_event(): before its actions. */
	drill_make_way(s, slot);
	if (w->core.state == BACKUP_ACTIVATING && before != BACKUP_ACTIVATING &&
	    b->type != BEV_FAILOVER && b->type != BEV_HANDOVER)
		oracle_decided(s, w);
	if (w->core.outvoted && !outvoted)
		oracle_outvoted(s, SIDE_B, w->core.outvoted_term, w->session_at);
	if (b->type == BEV_HANDOVER && linked && before == BACKUP_STANDING &&
	    w->core.state == BACKUP_STANDING && w->core.link_up && !w->core.takes_over)
		sim_fail(s, "P4", "the VM is handed over and the backup does not take it");
	/* Not what a disk said later. */
	if (b->type == BEV_HEARTBEAT || b->type == BEV_HELLO ||
	    (b->type == BEV_EPOCH_COMPLETE &&
	     (w->core.committed != committed || w->core.complete != complete))) {
		w->last_heard = s->now;
		w->waited = false;
	}
	note_commit(s, w, committed);
	if (b->type != BEV_HEARTBEAT && b->type != BEV_TICK)
		sim_trace(s, "B%d <- %s epoch=%lld", slot, backup_event_name(b->type),
			  (long long)b->epoch);
	if (w->core.state != before)
		sim_trace(s, "B%d ** %s -> %s on %s", slot, backup_state_name(before),
			  backup_state_name(w->core.state), backup_event_name(b->type));
	if (execute_all(s, slot))
		arm(s, slot);
}

static void tick(struct sim *s, int slot)
{
	const struct backup_event b = {.type = BEV_TICK};
	struct backup_side *w = &s->b[slot];

	w->proc.tick_at = NEVER;
	if (host_clock(s, SIDE_B) >= backup_next_deadline(&w->core)) {
		step(s, slot, &b);
		if (w->proc.alive && host_clock(s, SIDE_B) >= backup_next_deadline(&w->core))
			sim_fail(s, "P6", "the backup in %s wants a tick again at once",
				 backup_state_name(w->core.state));
	} else {
		arm(s, slot);
	}
}

/* Nothing is left of the standby; its disks are waited for, but not for ever. */
static void abandoned(struct sim *s, const struct ev *ev)
{
	const struct backup_side *w = &s->b[ev->slot];
	uint64_t again = w->leave_by ? disks_b_left(s, ev->slot) : 0;

	if (ev->token == s->standby.token)
		s->standby.exists = false;
	if (again && s->now < w->leave_by) {
		ev_push(s, MIN(again, w->leave_by), ev);
		return;
	}
	oracle_disks_left(s, ev->slot);
	post(s, ev->slot, BEV_ABANDONED, 0);
}

static void heart_beats(struct sim *s, const struct ev *ev)
{
	struct backup_side *w = &s->b[ev->slot];

	if (backup_heartbeats(&w->core))
		net_heartbeat(s, w->conn, SIDE_A);
	ev_push(s, s->now + s->t.heartbeat_period_ns, ev);
}

void b_event(struct sim *s, const struct ev *ev)
{
	struct backup_side *w = &s->b[ev->slot];

	/* What a freeze interrupted comes first. */
	if (ev->where == AT_B_WORKER && !execute_all(s, ev->slot))
		return;
	switch (ev->kind) {
	case EV_B_CORE:
		step(s, ev->slot, &ev->b);
		break;
	case EV_B_TICK:
		if (ev->token == w->proc.tick_token)
			tick(s, ev->slot);
		break;
	case EV_B_HEART:
		heart_beats(s, ev);
		break;
	case EV_B_EXEC:
		arm(s, ev->slot);
		break;
	case EV_B_ANSWER:
		if (w->told_hello)
			break;
		if (ev->ok)
			welcome(s, ev->slot);
		else
			refuse(s, ev->slot, MSG_ACTIVATED);
		break;
	case EV_B_APPLIED:
		applied(s, ev->slot);
		break;
	case EV_B_COMPLETED:
		completed(s, ev);
		break;
	case EV_B_ACTIVATED:
		runs(s, ev);
		break;
	case EV_B_ABANDONED:
		abandoned(s, ev);
		break;
	case EV_A_CORE:
	case EV_A_TICK:
	case EV_A_DATA:
	case EV_A_HEART:
	case EV_A_EXEC:
	case EV_A_RESTART:
	case EV_A_GONE:
	case EV_A_SYNCED:
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
