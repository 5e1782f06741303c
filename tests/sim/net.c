/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network. A connection keeps its order and loses nothing while both ends live: a cut or a stall
 * delays what is under way and all that follows. A heartbeat may be late, lost, doubled, overtaken.
 */
#include "tests/sim/sim.h"

#include <assert.h>

/* What TCP needs to try again after a cut. */
#define RETRANSMIT (20 * MS)

struct conn *net_conn(struct sim *s, uint32_t id)
{
	struct conn *c = &s->net.conn[id % MAX_CONNS];

	return id && c->id == id ? c : NULL;
}

static uint64_t one_way(struct sim *s)
{
	uint64_t d = sim_delay(s, s->net.delay_min, s->net.delay_max);

	return s->now < s->net.slow_until ? d * 4 : d;
}

void net_send(struct sim *s, uint32_t conn, enum side to, const struct msg *m)
{
	struct conn *c = net_conn(s, conn);
	struct ev ev = {.kind = EV_MSG, .conn = conn, .side = to, .m = *m};
	uint64_t t = s->now + one_way(s);

	if (!c)
		return;
	ev.token = ++c->sent[to];
	c->last[to] = MAX(c->last[to], t);
	ev_push(s, c->last[to], &ev);
}

uint32_t net_connect(struct sim *s, uint64_t term)
{
	uint32_t id = ++s->net.next_id;
	struct conn *c = &s->net.conn[id % MAX_CONNS];
	const struct msg hello = {.type = MSG_HELLO, .term = term};

	*c = (struct conn){
		.id = id,
		.open = {true, false},
		.gen = {s->a.proc.gen, 0},
		.slot = -1,
	};
	net_send(s, id, SIDE_B, &hello);
	return id;
}

void net_close(struct sim *s, uint32_t conn, enum side from)
{
	struct conn *c = net_conn(s, conn);
	const struct msg fin = {.type = MSG_CLOSE};

	if (!c || !c->open[from])
		return;
	c->open[from] = false;
	net_send(s, conn, from == SIDE_A ? SIDE_B : SIDE_A, &fin);
}

/* Somebody in between ends it: both ends hear of it, what is under way may still arrive. */
void net_reset(struct sim *s, uint32_t conn)
{
	const struct msg rst = {.type = MSG_CLOSE};

	net_send(s, conn, SIDE_A, &rst);
	net_send(s, conn, SIDE_B, &rst);
}

/*
 * It comes later. What was delayed twice must not fall behind what was sent after it and delayed once, to the same
 * instant: its number keeps it in front.
 */
static void put_off(struct sim *s, struct conn *c, const struct ev *ev, uint64_t until)
{
	uint64_t t;

	c->not_before[ev->side] = MAX(c->not_before[ev->side], until);
	t = c->not_before[ev->side] + ev->token;
	c->last[ev->side] = MAX(c->last[ev->side], t);
	ev_push(s, t, ev);
}

/* Delayed by a cut or a stall. */
static bool held_up(struct sim *s, struct conn *c, const struct ev *ev)
{
	uint64_t until = MAX(s->net.cut_until[ev->side], s->net.tcp_stall_until[ev->side]);

	if (until > s->now)
		c->not_before[ev->side] = MAX(c->not_before[ev->side], until + RETRANSMIT);
	if (s->now >= c->not_before[ev->side])
		return false;
	put_off(s, c, ev, 0);
	return true;
}

static bool end_is_frozen(const struct sim *s, const struct conn *c, enum side side, uint64_t *thaw)
{
	const struct process *p = &s->a.proc;

	*thaw = 0;
	if (s->host[side].frozen)
		*thaw = s->host[side].thaw;
	if (side == SIDE_B && c->slot < 0)
		return *thaw > s->now;
	if (side == SIDE_B)
		p = &s->b[c->slot].proc;
	if (p->alive && p->frozen && p->gen == c->gen[side])
		*thaw = MAX(*thaw, p->thaw);
	return *thaw > s->now;
}

void net_arrive(struct sim *s, const struct ev *ev)
{
	struct conn *c = net_conn(s, ev->conn);
	const struct msg rst = {.type = MSG_CLOSE};
	enum side other = ev->side == SIDE_A ? SIDE_B : SIDE_A;
	uint64_t thaw;

	if (!c || held_up(s, c, ev))
		return;
	if (!s->host[ev->side].up)
		return;
	if (end_is_frozen(s, c, ev->side, &thaw)) {
		put_off(s, c, ev, thaw);
		return;
	}
	if (ev->m.type == MSG_HELLO) {
		b_accept(s, c, &ev->m);
		return;
	}
	if (!c->open[ev->side]) {
		/* A host that knows nothing of it says so. */
		if (ev->m.type != MSG_CLOSE && c->open[other])
			net_send(s, c->id, other, &rst);
		return;
	}
	if (ev->side == SIDE_A) {
		if (s->a.proc.alive && s->a.proc.gen == c->gen[SIDE_A])
			a_message(s, &ev->m, c->id);
	} else if (s->b[c->slot].proc.alive && s->b[c->slot].proc.gen == c->gen[SIDE_B]) {
		b_message(s, c->slot, &ev->m);
	}
}

void net_heartbeat(struct sim *s, uint32_t conn, enum side to)
{
	struct ev ev = {.kind = EV_HEARTBEAT, .conn = conn, .side = to};
	int copies = 1 + rng_percent(&s->rng, s->net.doubled);

	if (MAX(s->net.cut_until[to], s->net.udp_cut_until[to]) > s->now)
		return;
	for (; copies; copies--) {
		if (!rng_percent(&s->rng, s->net.loss))
			ev_push(s, s->now + sim_delay(s, s->net.delay_min, s->net.udp_late_max),
				&ev);
	}
}

void net_heartbeat_arrive(struct sim *s, const struct ev *ev)
{
	struct conn *c = net_conn(s, ev->conn);
	struct backup_event heard = {.type = BEV_HEARTBEAT};
	struct ev came = *ev;
	uint64_t thaw;

	if (!c || !s->host[ev->side].up)
		return;
	if (s->host[ev->side].frozen && s->host[ev->side].thaw > s->now) {
		ev_push(s, s->host[ev->side].thaw, ev);
		return;
	}
	/* The kernel stamps it. The socket's buffer keeps it for a process that sleeps. */
	if (!came.at_ns)
		came.at_ns = host_clock(s, ev->side);
	if (end_is_frozen(s, c, ev->side, &thaw)) {
		ev_push(s, thaw, &came);
		return;
	}
	if (ev->side == SIDE_A) {
		a_heard(s, ev->conn, came.at_ns);
		return;
	}
	heard.at_ns = came.at_ns;
	if (c->slot >= 0 && s->b[c->slot].proc.alive && s->b[c->slot].proc.gen == c->gen[SIDE_B])
		b_post(s, c->slot, &heard);
}
