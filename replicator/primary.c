/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's decisions; see primary.h and, for the reasons, docs/promises.md. Pure.
 *
 * Every step does the same four things: notice that we slept, let pass what the time has decided
 * (before the event: an event that comes too late must find that it is too late), handle the event,
 * start what can be started. What disks add is in primary_disks.c, what an arbiter does in primary_vote.c,
 * the planned move in primary_switchover.c.
 */
#include "replicator/primary.h"

#include <assert.h>
#include <stddef.h>

#include "lib/sm.h"
#include "replicator/mutant.h"
#include "replicator/primary_impl.h"
#include "replicator/throttle.h"

/* Aborted checkpoints in a row before protection is given up for a new first copy. */
#define MAX_ABORTS 5
/* After so many failure timeouts of protection, past failures to reach it are forgotten. */
#define GOOD_SESSION 10

#define BIT(s) SM_BIT(PRIMARY_##s)

static const struct sm_state states[] = {
	[PRIMARY_CONNECTING] = {"connecting", BIT(COPYING) | BIT(DEPOSED) | BIT(ENDED), SM_INITIAL},
	[PRIMARY_COPYING] = {"copying", BIT(CONNECTING) | BIT(SYNCING) | BIT(DEPOSED) | BIT(ENDED),
			     0},
	[PRIMARY_SYNCING] = {"syncing", BIT(PROTECTED) | BIT(LOST) | BIT(LEAVING) | BIT(DEPOSED),
			     0},
	[PRIMARY_PROTECTED] = {"protected", BIT(LOST) | BIT(LEAVING) | BIT(HANDING) | BIT(DEPOSED),
			       0},
	[PRIMARY_LOST] = {"lost", BIT(CONNECTING) | BIT(COPYING) | BIT(DEPOSED) | BIT(ENDED),
			  SM_INITIAL},
	[PRIMARY_LEAVING] = {"leaving", BIT(CONNECTING) | BIT(LOST) | BIT(DEPOSED) | BIT(ENDED), 0},
	[PRIMARY_HANDING] = {"handing-over", BIT(LOST) | BIT(DEPOSED), 0},
	[PRIMARY_DEPOSED] = {"deposed", BIT(ENDED), 0},
	[PRIMARY_ENDED] = {"ended", 0, SM_FINAL},
};

const struct sm_table primary_table = {"primary", states, ARRAY_SIZE(states)};

/* Checkpoints are taken and acknowledged. */
static bool guarded(const struct primary *p)
{
	return p->state == PRIMARY_SYNCING || p->state == PRIMARY_PROTECTED;
}

/* The reasons after which the guest needs no protection any more. */
static bool guest_is_gone(enum leave_reason r)
{
	switch (r) {
	case LEAVE_GUEST_SHUTDOWN:
	case LEAVE_GUEST_CRASH:
	case LEAVE_GUEST_DESTROYED:
	case LEAVE_GUEST_SUSPENDED:
		return true;
	case LEAVE_UNPROTECT:
	case LEAVE_RESYNC:
	case LEAVE_GUEST_CHANGED:
		break;
	}
	return false;
}

static uint64_t lease_of(const struct primary *p, uint64_t epoch)
{
	return p->lease_ns[epoch % PRIMARY_MAX_OUTSTANDING];
}

void primary_throttle__(struct primary *p, uint32_t percent, struct primary_actions *out)
{
	if (p->throttle_percent == percent)
		return;
	p->throttle_percent = percent;
	act(out, PACT_THROTTLE)->percent = percent;
}

static void session_reset(struct primary *p)
{
	p->next_epoch = 0;
	p->acked = EPOCH_NONE;
	p->taken = EPOCH_NONE;
	p->sent = EPOCH_NONE;
	p->oldest_unacked_since_ns = 0;
	p->aborts = 0;
	p->calm = 0;
	p->pressure = false;
	p->synced = false;
}

static void disconnect(struct primary *p, struct primary_actions *out)
{
	if (!p->link_up || p->closing)
		return;
	p->closing = true;
	act(out, PACT_DISCONNECT);
}

void primary_want_open__(struct primary *p)
{
	if (p->held && !p->opening)
		p->open_wanted = true;
}

void primary_go_alone__(struct primary *p, uint64_t now)
{
	p->alone_decided = true;
	primary_want_open__(p);
	go(p, PRIMARY_CONNECTING, now);
}

/* The peer may go alone from here on, for all we know: nothing leaves until that is settled. */
static void lost(struct primary *p, uint64_t now, struct primary_actions *out)
{
	disconnect(p, out);
	primary_stays__(p, out);
	primary_disks_leave__(p, out);
	primary_throttle__(p, THROTTLE_NONE, out);
	if (p->leave_force && !by_vote(p))
		primary_want_open__(p);
	go(p, PRIMARY_LOST, now);
}

/* The output is open and nothing may run without us: end. */
static void finish(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (has_session(p) && p->state != PRIMARY_LEAVING)
		act(out, PACT_SEND_BYE)->leave = p->leave;
	primary_disks_leave__(p, out);
	primary_throttle__(p, THROTTLE_NONE, out);
	if (p->leave == LEAVE_GUEST_SHUTDOWN || p->leave == LEAVE_GUEST_CRASH)
		act(out, PACT_END_GUEST)->leave = p->leave;
	act(out, PACT_END);
	go(p, PRIMARY_ENDED, now);
}

/* Remember that protection is to end. What the guest did outweighs what the operator said. */
static void set_leaving(struct primary *p, enum leave_reason reason)
{
	if (!p->leaving || (guest_is_gone(reason) && !guest_is_gone(p->leave)))
		p->leave = reason;
	p->leaving = true;
}

static void send_bye(struct primary *p, uint64_t now, struct primary_actions *out)
{
	act(out, PACT_SEND_BYE)->leave = p->leave;
	primary_stays__(p, out);
	primary_disks_leave__(p, out);
	primary_throttle__(p, THROTTLE_NONE, out);
	go(p, PRIMARY_LEAVING, now);
	if (MUTANT(MUTANT_OPEN_WITHOUT_BYE_OK))
		primary_want_open__(p);
}

/* Protection is to end for good. */
static void leave_for_good(struct primary *p, uint64_t now, enum leave_reason reason,
			   struct primary_actions *out)
{
	if (p->state == PRIMARY_DEPOSED || p->state == PRIMARY_ENDED)
		return;
	set_leaving(p, reason);
	if (guarded(p))
		send_bye(p, now, out);
	else if (!p->held)
		finish(p, now, out);
	/* else: LOST, LEAVING, or about to open; when it is open, opened() sees `leaving` */
}

void primary_resync__(struct primary *p, uint64_t now, enum leave_reason reason,
		      struct primary_actions *out)
{
	if (p->state == PRIMARY_COPYING) {
		disconnect(p, out);
		primary_copy_over__(p, now, out);
	} else if (guarded(p)) {
		p->leave = reason;
		send_bye(p, now, out);
	}
}

/* ---- what the time decides ---- */

static uint64_t lease_end(const struct primary *p)
{
	uint64_t lease = p->state == PRIMARY_SYNCING ? p->conf.timing.sync_timeout_ns
						     : p->conf.timing.ack_timeout_ns;

	return p->oldest_unacked_since_ns + (MUTANT(MUTANT_NO_LEASE) ? 10 * lease : lease);
}

/* P3: an ACK counts only while the peer cannot have gone alone since it gave it. */
static bool lease_expired(const struct primary *p, uint64_t now)
{
	return p->sent != p->acked && now >= lease_end(p);
}

static uint64_t send_end(const struct primary *p)
{
	const struct timing *t = &p->conf.timing;

	/* P4: a parked guest waits for it. */
	return p->busy_since_ns + (p->parked ? t->failure_timeout_ns : t->send_timeout_ns);
}

static bool stuck(const struct primary *p, uint64_t now)
{
	if (p->checkpointing)
		return now >= p->busy_since_ns + 2 * p->conf.timing.suspend_timeout_ns;
	return p->sent != p->taken && now >= send_end(p);
}

static bool may_go_alone(const struct primary *p, uint64_t now)
{
	if (has_session(p) || will_open(p))
		return false;
	/* P3: who was handed the VM may run it although nobody hears of it. */
	if (p->handed && !MUTANT(MUTANT_ALONE_AFTER_HANDOVER))
		return false;
	if (MUTANT(MUTANT_OPEN_ON_LINK_DOWN) && p->conf.policy == POLICY_PRIMARY_WINS)
		return true;
	return (p->conf.policy == POLICY_PRIMARY_WINS || MUTANT(MUTANT_OPEN_WHEN_LOST)) &&
	       liveness_verdict(&p->peer, now) == LIVENESS_LOST;
}

static void expire(struct primary *p, uint64_t now, struct primary_actions *out)
{
	bool silent = liveness_verdict(&p->peer, now) == LIVENESS_LOST;

	switch (p->state) {
	case PRIMARY_COPYING:
		if (silent) {
			disconnect(p, out);
			primary_copy_over__(p, now, out);
		}
		break;
	case PRIMARY_SYNCING:
	case PRIMARY_PROTECTED:
		if (silent || lease_expired(p, now) || stuck(p, now))
			lost(p, now, out);
		else if (primary_switchover_late__(p, now))
			primary_stays__(p, out);
		break;
	case PRIMARY_LEAVING:
		if (!will_open(p) &&
		    (silent || now >= p->state_since_ns + p->conf.timing.bye_timeout_ns))
			lost(p, now, out);
		break;
	case PRIMARY_HANDING:
		if (silent || now >= p->state_since_ns + p->conf.timing.bye_timeout_ns)
			lost(p, now, out);
		break;
	case PRIMARY_LOST:
	case PRIMARY_CONNECTING:
	case PRIMARY_DEPOSED:
	case PRIMARY_ENDED:
		break;
	}
	if (p->state == PRIMARY_LOST && may_go_alone(p, now))
		primary_go_alone__(p, now);
}

/* ---- events ---- */

/* Accepted under a term that we have left behind since we asked: the peer's part of this session would not fit ours. */
static bool is_overtaken(const struct primary *p, const struct primary_event *ev)
{
	return by_vote(p) && ev->term < primary_hello_term__(p) && !MUTANT(MUTANT_OVERTAKEN);
}

static void link_up(struct primary *p, uint64_t now, const struct primary_event *ev,
		    struct primary_actions *out)
{
	if (!p->connecting)
		return;
	p->connecting = false;
	p->link_up = true;
	liveness_heard(&p->peer, now);
	session_reset(p);
	p->alone_decided = false;
	/* HELLO_OK: whatever could have gone alone is abandoned. */
	primary_set_handed__(p, false, out);
	primary_vote_settled__(p);
	if (p->held)
		primary_want_open__(p);
	if (is_overtaken(p, ev)) {
		disconnect(p, out);
		return;
	}
	/* A term that the peer spent on an activation that never ran, or on a vote. */
	p->conf.term = MAX(p->conf.term, ev->term);
	if (!p->held)
		primary_start_copy__(p, now, out);
}

static void link_down(struct primary *p, uint64_t now, struct primary_actions *out)
{
	const struct timing *t = &p->conf.timing;
	uint64_t delay = t->reconnect_ns;

	if (!p->link_up && !p->connecting)
		return;
	p->link_up = false;
	p->connecting = false;
	p->closing = false;
	/* While output is held each try counts; else be patient with a peer that is not there. */
	for (uint32_t i = 0; !p->held && i < p->failures && delay < t->reconnect_max_ns; i++)
		delay *= 2;
	p->retry_ns = now + MIN(delay, t->reconnect_max_ns);
	if (p->failures < UINT32_MAX)
		p->failures++;
	if (p->state == PRIMARY_COPYING)
		primary_copy_over__(p, now, out);
	else if (guarded(p) || p->state == PRIMARY_HANDING ||
		 (p->state == PRIMARY_LEAVING && !will_open(p)))
		lost(p, now, out);
}

static void peer_activated(struct primary *p, uint64_t now, const struct primary_event *ev,
			   struct primary_actions *out)
{
	if (ev->term <= p->conf.term && !MUTANT(MUTANT_DEPOSE_ANY_TERM)) {
		/* A word from the past: as if the peer had refused. */
		if (p->connecting)
			link_down(p, now, out);
		return;
	}
	p->connecting = false;
	disconnect(p, out);
	p->open_wanted = false;
	p->streaming = false;
	p->conf.term = MAX(p->conf.term, ev->term);
	act(out, PACT_DESTROY_GUEST)->term = ev->term;
	go(p, PRIMARY_DEPOSED, now);
}

static void output_opened(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (!p->opening)
		return;
	p->opening = false;
	p->held = false;
	if (p->state == PRIMARY_DEPOSED || p->state == PRIMARY_ENDED)
		return;
	if (p->leaving) {
		finish(p, now, out);
	} else if (has_session(p)) {
		primary_start_copy__(p, now, out);
	} else if (p->state != PRIMARY_CONNECTING) {
		go(p, PRIMARY_CONNECTING, now);
	}
}

static void order_checkpoint(struct primary *p, uint64_t now, struct primary_actions *out)
{
	struct primary_action *a;

	p->checkpointing = true;
	p->ordered = p->next_epoch;
	p->last = primary_is_last__(p);
	p->pressure = false;
	p->busy_since_ns = now;
	/* From start to start; a missed beat is not caught up. */
	p->next_checkpoint_ns = now + p->conf.timing.epoch_period_ns;
	a = act(out, PACT_CHECKPOINT);
	a->epoch = p->next_epoch;
	a->last = p->last;
}

static void copy_done(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (p->state != PRIMARY_COPYING || !has_session(p) || p->checkpointing)
		return;
	/* P5: epoch 0 is the disks' first whole epoch too. */
	if (p->streaming && !p->synced)
		return;
	p->held = true;
	primary_throttle__(p, p->resync_percent, out);
	order_checkpoint(p, now, out);
	go(p, PRIMARY_SYNCING, now);
}

static void checkpoint_taken(struct primary *p, uint64_t now, const struct primary_event *ev,
			     struct primary_actions *out)
{
	if (!p->checkpointing || ev->epoch != p->ordered)
		return;
	p->checkpointing = false;
	/* Too late for whatever it was ordered for. */
	if (!guarded(p)) {
		primary_parked__(p, now, out);
		return;
	}
	p->taken = ev->epoch;
	p->next_epoch = epoch_next(ev->epoch);
	/* P4: the guest runs for at least as long as it took to have it suspended and copied. */
	p->next_checkpoint_ns = MAX(p->next_checkpoint_ns, now + (now - p->busy_since_ns));
	p->busy_since_ns = now;
	p->aborts = 0;
	primary_parked__(p, now, out);
	/* Epoch 0 is the whole memory. */
	if (!ev->epoch || p->parked)
		return;
	primary_throttle__(
		p, throttle_next(p->throttle_percent, &p->calm, ev->pages, p->conf.arena_pages),
		out);
	p->resync_percent = p->throttle_percent;
}

static void checkpoint_aborted(struct primary *p, uint64_t now, const struct primary_event *ev,
			       struct primary_actions *out)
{
	uint64_t soon = p->conf.timing.epoch_period_ns / 4;

	if (!p->checkpointing || ev->epoch != p->ordered)
		return;
	p->checkpointing = false;
	p->last = false;
	if (!guarded(p))
		return;
	p->next_checkpoint_ns = now + soon;
	if (++p->aborts >= MAX_ABORTS)
		primary_resync__(p, now, LEAVE_RESYNC, out);
}

/* P3: who wakes up between the decision and the deed finds that the lease is over. Of epoch 0 nothing was held. */
static void release(const struct primary *p, uint64_t epoch, struct primary_actions *out)
{
	struct primary_action *a = act(out, PACT_RELEASE);

	a->epoch = epoch;
	a->until_ns = UINT64_MAX;
	if (MUTANT(MUTANT_RELEASE_LATE))
		return;
	if (p->state == PRIMARY_PROTECTED && !MUTANT(MUTANT_NO_LEASE))
		a->until_ns = lease_of(p, epoch) + p->conf.timing.ack_timeout_ns;
}

static void epoch_sent(struct primary *p, uint64_t now, const struct primary_event *ev,
		       struct primary_actions *out)
{
	uint64_t at = ev->at_ns && ev->at_ns < now ? ev->at_ns : now;

	if (!guarded(p) || p->sent == p->taken || ev->epoch != p->taken)
		return;
	p->lease_ns[ev->epoch % PRIMARY_MAX_OUTSTANDING] = at;
	if (p->sent == p->acked)
		p->oldest_unacked_since_ns = at;
	p->sent = ev->epoch;
	if (MUTANT(MUTANT_RELEASE_WHEN_SENT))
		release(p, ev->epoch, out);
}

static bool ack_is_true(const struct primary *p, const struct primary_event *ev)
{
	if (ev->term != p->conf.term && !MUTANT(MUTANT_ACK_ANY_TERM))
		return false;
	if (MUTANT(MUTANT_ACK_ANY_EPOCH) && epoch_reached(p->taken, ev->epoch))
		return !epoch_reached(p->acked, ev->epoch);
	return epoch_reached(p->sent, ev->epoch) && !epoch_reached(p->acked, ev->epoch);
}

static void ack(struct primary *p, uint64_t now, const struct primary_event *ev,
		struct primary_actions *out)
{
	/* In LOST, LEAVING, HANDING and after, an ACK comes too late: the peer may have gone alone (P3). */
	if (!guarded(p) && !(MUTANT(MUTANT_RELEASE_AFTER_HANDOVER) && p->state == PRIMARY_HANDING))
		return;
	if (!ack_is_true(p, ev)) {
		lost(p, now, out);
		return;
	}
	if (MUTANT(MUTANT_ACK_ANY_EPOCH) && !epoch_reached(p->sent, ev->epoch))
		p->sent = ev->epoch;
	/* P1: the backup holds all of these epochs. */
	for (uint64_t n = epoch_next(p->acked); n != epoch_next(ev->epoch); n++)
		release(p, n, out);
	if (MUTANT(MUTANT_RELEASE_AHEAD))
		release(p, epoch_next(ev->epoch), out);
	p->acked = ev->epoch;
	if (p->sent != p->acked)
		p->oldest_unacked_since_ns = lease_of(p, epoch_next(p->acked));
	primary_switchover_acked__(p, now, out);
	if (p->state == PRIMARY_SYNCING)
		go(p, PRIMARY_PROTECTED, now);
	else if (MUTANT(MUTANT_RELEASE_AFTER_HANDOVER) && p->state == PRIMARY_HANDING)
		return;
	else if (now - p->state_since_ns >= GOOD_SESSION * p->conf.timing.failure_timeout_ns)
		p->failures = 0;
}

static void bye_ok(struct primary *p, const struct primary_event *ev, struct primary_actions *out)
{
	if (p->state != PRIMARY_LEAVING || will_open(p))
		return;
	/* A term that the peer spent on a vote, as by HELLO_OK. */
	if (by_vote(p) && ev->term > p->conf.term) {
		p->conf.term = ev->term;
		primary_keep_term__(p, out);
	}
	primary_want_open__(p);
	disconnect(p, out);
}

static void guest_event(struct primary *p, uint64_t now, const struct primary_event *ev,
			struct primary_actions *out)
{
	/* An epoch did not fit: after the next first copy the guest starts a step slower. */
	if (guarded(p) && ev->leave == LEAVE_RESYNC)
		p->resync_percent = throttle_harder(p->throttle_percent);
	if (guest_is_gone(ev->leave))
		leave_for_good(p, now, ev->leave, out);
	else
		primary_resync__(p, now,
				 ev->leave == LEAVE_GUEST_CHANGED ? ev->leave : LEAVE_RESYNC, out);
}

static void unprotect(struct primary *p, uint64_t now, const struct primary_event *ev,
		      struct primary_actions *out)
{
	bool waiting = p->state == PRIMARY_LOST || p->state == PRIMARY_LEAVING;

	leave_for_good(p, now, LEAVE_UNPROTECT, out);
	if (!ev->force)
		return;
	/* With the peer there, it is asked first; without, or when asked again, the operator's word counts. */
	p->leave_force = true;
	if (p->state == PRIMARY_HANDING ||
	    (by_vote(p) && waiting && p->state == PRIMARY_LEAVING && !will_open(p)))
		lost(p, now, out);
	else if (waiting && !by_vote(p))
		primary_want_open__(p);
	if (by_vote(p) && p->state == PRIMARY_LOST)
		primary_vote_force__(p, now);
}

static void guest_gone(struct primary *p, uint64_t now, struct primary_actions *out)
{
	if (p->state != PRIMARY_DEPOSED)
		return;
	act(out, PACT_END);
	go(p, PRIMARY_ENDED, now);
}

static void handle(struct primary *p, uint64_t now, const struct primary_event *ev,
		   struct primary_actions *out)
{
	switch (ev->type) {
	case PEV_TICK:
	case PEV_HEARTBEAT:
		break;
	case PEV_LINK_UP:
		link_up(p, now, ev, out);
		break;
	case PEV_LINK_DOWN:
		link_down(p, now, out);
		break;
	case PEV_PEER_ACTIVATED:
		if (p->state != PRIMARY_DEPOSED)
			peer_activated(p, now, ev, out);
		break;
	case PEV_COPY_DONE:
		copy_done(p, now, out);
		break;
	case PEV_COPY_FAILED:
		if (p->state == PRIMARY_COPYING)
			guest_event(p, now, ev, out);
		break;
	case PEV_CHECKPOINT_TAKEN:
		checkpoint_taken(p, now, ev, out);
		break;
	case PEV_CHECKPOINT_ABORTED:
		checkpoint_aborted(p, now, ev, out);
		break;
	case PEV_EPOCH_SENT:
		epoch_sent(p, now, ev, out);
		break;
	case PEV_ACK:
		ack(p, now, ev, out);
		break;
	case PEV_BYE_OK:
		bye_ok(p, ev, out);
		break;
	case PEV_OUTPUT_OPENED:
		output_opened(p, now, out);
		break;
	case PEV_OUTPUT_PRESSURE:
		p->pressure = guarded(p);
		break;
	case PEV_GUEST_EVENT:
		guest_event(p, now, ev, out);
		break;
	case PEV_UNPROTECT:
		unprotect(p, now, ev, out);
		break;
	case PEV_GUEST_GONE_DONE:
		guest_gone(p, now, out);
		break;
	case PEV_DISKS_SYNCED:
		primary_disks_synced__(p, out);
		break;
	case PEV_DISK_DROPPED:
		primary_disk_dropped__(p, now, out);
		break;
	case PEV_DISK_ERROR:
		primary_disk_error__(p, now, out);
		break;
	case PEV_VOTE:
		primary_vote__(p, now, ev, out);
		break;
	case PEV_SWITCHOVER:
		primary_switchover__(p, now);
		break;
	case PEV_COUNT:
		break;
	}
}

/* ---- what can be started ---- */

static bool wants_connect(const struct primary *p)
{
	if (p->link_up || p->connecting)
		return false;
	if (p->state == PRIMARY_LOST)
		return !MUTANT(MUTANT_NO_RECONNECT);
	return p->state == PRIMARY_CONNECTING;
}

/* P6: one checkpoint at a time, one epoch on the link, so many unacknowledged. */
static bool can_checkpoint(const struct primary *p)
{
	if (!guarded(p) || p->checkpointing || p->sent != p->taken || p->parked)
		return false;
	/* The last one waits for all others, and none comes between. */
	if (p->moving && !primary_is_last__(p))
		return false;
	/* The leases of later epochs begin when the backup keeps pace. */
	if (p->state == PRIMARY_SYNCING && p->taken != EPOCH_NONE)
		return false;
	return epoch_distance(p->taken, p->acked) < p->conf.max_outstanding ||
	       MUTANT(MUTANT_NO_OUTSTANDING_BOUND);
}

static void pump(struct primary *p, uint64_t now, struct primary_actions *out)
{
	primary_vote_pump__(p, now, out);
	/* A checkpoint under way would hold the output again behind our back. */
	if (p->open_wanted && (!p->checkpointing || MUTANT(MUTANT_OPEN_DURING_PAUSE))) {
		p->open_wanted = false;
		p->opening = true;
		act(out, PACT_OPEN_OUTPUT);
	}
	if (wants_connect(p) && now >= p->retry_ns) {
		p->connecting = true;
		act(out, PACT_CONNECT)->term = primary_hello_term__(p);
	}
	if (can_checkpoint(p) && (p->pressure || now >= p->next_checkpoint_ns))
		order_checkpoint(p, now, out);
}

/* ---- the interface ---- */

void primary_init(struct primary *p, const struct primary_conf *conf, uint64_t now)
{
	assert(conf->max_outstanding >= 1 && conf->max_outstanding <= PRIMARY_MAX_OUTSTANDING);
	*p = (struct primary){
		.conf = *conf,
		.state = conf->adopt ? PRIMARY_LOST : PRIMARY_CONNECTING,
		.state_since_ns = now,
		.retry_ns = now,
		.throttle_percent = THROTTLE_NONE,
		.resync_percent = THROTTLE_NONE,
		.held = conf->adopt,
		.handed = conf->adopt && conf->handed,
		.asked = conf->asked,
	};
	liveness_init(&p->peer, conf->timing.suspect_ns, conf->timing.failure_timeout_ns, now);
	session_reset(p);
}

void primary_step(struct primary *p, uint64_t now, const struct primary_event *ev,
		  struct primary_actions *out)
{
	out->n = 0;
	if (p->state == PRIMARY_ENDED)
		return;
	if (MUTANT(MUTANT_SLEEP_IS_SILENCE))
		p->peer.listened_ns = now;
	liveness_listen(&p->peer, now);
	/* A sign of life in hand counts, even at the last moment. */
	if (ev->type == PEV_HEARTBEAT)
		liveness_heard_at(&p->peer,
				  ev->at_ns && !MUTANT(MUTANT_HEARD_WHEN_READ) ? ev->at_ns : now,
				  now);
	expire(p, now, out);
	handle(p, now, ev, out);
	pump(p, now, out);
	primary_check(p);
}

static uint64_t guarded_deadline(const struct primary *p)
{
	const struct timing *t = &p->conf.timing;
	uint64_t d = UINT64_MAX;

	if (p->sent != p->acked)
		d = MIN(d, lease_end(p));
	if (p->checkpointing)
		d = MIN(d, p->busy_since_ns + 2 * t->suspend_timeout_ns);
	else if (p->sent != p->taken)
		d = MIN(d, send_end(p));
	if (can_checkpoint(p))
		d = MIN(d, p->next_checkpoint_ns);
	return d;
}

uint64_t primary_next_deadline(const struct primary *p)
{
	uint64_t listen = liveness_next(&p->peer);
	uint64_t d = UINT64_MAX;

	switch (p->state) {
	case PRIMARY_CONNECTING:
		break;
	case PRIMARY_COPYING:
		d = listen;
		break;
	case PRIMARY_SYNCING:
	case PRIMARY_PROTECTED:
		d = MIN(guarded_deadline(p), listen);
		d = MIN(d, primary_switchover_deadline__(p));
		break;
	case PRIMARY_LEAVING:
		if (!will_open(p))
			d = MIN(p->state_since_ns + p->conf.timing.bye_timeout_ns, listen);
		break;
	case PRIMARY_HANDING:
		d = MIN(p->state_since_ns + p->conf.timing.bye_timeout_ns, listen);
		break;
	case PRIMARY_LOST:
		if (p->conf.policy == POLICY_PRIMARY_WINS && !p->handed && !has_session(p) &&
		    !will_open(p))
			d = listen;
		d = MIN(d, primary_vote_deadline__(p));
		break;
	case PRIMARY_DEPOSED:
	case PRIMARY_ENDED:
		return UINT64_MAX;
	}
	return wants_connect(p) ? MIN(d, p->retry_ns) : d;
}

bool primary_is_protected(const struct primary *p, uint64_t now)
{
	if (p->state != PRIMARY_PROTECTED || !has_session(p))
		return false;
	return liveness_verdict(&p->peer, now) == LIVENESS_ALIVE ||
	       MUTANT(MUTANT_PROTECTED_SUSPECT);
}

bool primary_heartbeats(const struct primary *p)
{
	if (p->state == PRIMARY_LOST || p->state == PRIMARY_LEAVING)
		return !will_open(p) && !p->outvoted;
	return guarded(p) || p->state == PRIMARY_COPYING || p->state == PRIMARY_HANDING;
}

void primary_check(const struct primary *p)
{
	assert(epoch_reached(p->taken, p->sent) && epoch_reached(p->sent, p->acked));
	assert(epoch_distance(p->taken, p->acked) <= p->conf.max_outstanding ||
	       MUTANT(MUTANT_NO_OUTSTANDING_BOUND));
	assert(p->next_epoch == epoch_next(p->taken));
	assert(!p->opening || p->held);
	assert(!p->open_wanted || p->held);
	assert(!p->closing || p->link_up);
	assert(!(p->link_up && p->connecting));
	assert(p->throttle_percent >= 10 && p->throttle_percent <= 100);
	/* P1: output is held wherever an epoch may be without its ACK. */
	assert(p->state != PRIMARY_COPYING || (!p->held && p->link_up));
	assert(!guarded(p) || (p->held && has_session(p) && !will_open(p)));
	assert(p->state != PRIMARY_LOST || p->held);
	assert(p->state != PRIMARY_LEAVING || p->held);
	assert(p->state != PRIMARY_HANDING || (p->held && p->handed && !will_open(p)));
	assert(p->state != PRIMARY_CONNECTING || !p->held || will_open(p));
	/* P4: nobody but who moves it leaves it suspended. */
	assert(!p->parked || p->state == PRIMARY_PROTECTED || p->state == PRIMARY_HANDING ||
	       p->state == PRIMARY_DEPOSED || p->state == PRIMARY_ENDED);
	/* P5: epochs are counted of disks that are in sync, and of no others. */
	assert(!guarded(p) || !p->conf.disks || (p->streaming && p->synced));
	assert(!p->streaming || guarded(p) || p->state == PRIMARY_COPYING ||
	       p->state == PRIMARY_HANDING);
	/* P2: "protected" begins with the first commit. */
	assert(p->state != PRIMARY_PROTECTED || p->acked != EPOCH_NONE);
}
