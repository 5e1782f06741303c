/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See story.h. */
#include "replicator/story.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"

#define SECONDS(ns) ((double)(ns) / (double)NS_PER_SEC)

static void begin(struct event *ev, const char *kind)
{
	event_begin(ev, kind, NULL, ev->at_ns, ev->wall_us);
}

static void fact_ms(struct event *ev, const char *key, uint64_t ns)
{
	event_fact(ev, key, ns / NS_PER_MS);
}

static void fact_epoch(struct event *ev, const char *key, uint64_t epoch)
{
	if (epoch != EPOCH_NONE)
		event_fact(ev, key, epoch);
}

static void say_epoch(struct event *ev, uint64_t epoch, const char *what)
{
	if (epoch == EPOCH_NONE)
		event_say(ev, "no epoch %s", what);
	else
		event_say(ev, "epoch %" PRIu64 " %s", epoch, what);
}

static void say_heard(struct event *ev, const struct liveness *peer)
{
	char time[EVENT_TIME_SIZE];

	event_say(ev, "last heartbeat at %s", event_time(event_wall_us(ev, peer->heard_ns), time));
}

static void say_silent(struct event *ev, const char *who, const struct liveness *peer)
{
	event_say(ev, "%s silent for %.2f s (failure timeout %.2f s), ", who,
		  SECONDS(clock_until(ev->at_ns, peer->heard_ns)), SECONDS(peer->lost_ns));
	say_heard(ev, peer);
}

static void facts_peer(struct event *ev, const struct liveness *peer)
{
	fact_ms(ev, "silent_ms", clock_until(ev->at_ns, peer->heard_ns));
	event_fact_at(ev, "last_heard", peer->heard_ns);
	fact_ms(ev, "failure_timeout_ms", peer->lost_ns);
}

/* ---- votes ---- */

/* A question, or its answer, as both cores have it. */
struct ballot_story {
	const char *peer; /* "backup", "primary" */
	const struct liveness *heard;
	bool asking, was_asking;
	uint64_t asked, was_asked;
	bool forced; /* by an operator's word */
	bool alone;  /* the answer lets us go alone, or the word does without one */
	bool outvoted;
	enum vote vote;
	uint64_t term; /* refused: the arbiter's */
	const struct vote_answer *said;
};

static void facts_vote(struct event *ev, const struct ballot_story *v, bool answered)
{
	event_fact(ev, "asked", answered ? v->was_asked : v->asked);
	if (!answered)
		return;
	event_fact_text(ev, "vote", vote_name(v->vote));
	if (v->vote == VOTE_REFUSED)
		event_fact(ev, "held_term", v->term);
	if (v->said && *v->said->holder)
		event_fact_text(ev, "holder", v->said->holder);
}

static void say_why_asked(struct event *ev, const struct ballot_story *v)
{
	if (v->forced)
		event_say(ev, "the operator's word, ");
	say_silent(ev, v->peer, v->heard);
}

/* Once for a term; a question without an answer is asked again each second. */
static bool tell_asked(struct story *st, const struct ballot_story *v, struct event *ev)
{
	if (!v->asking || v->asked <= st->asked)
		return false;
	st->asked = v->asked;
	begin(ev, "vote-asked");
	say_why_asked(ev, v);
	event_say(ev, " -> the arbiter is asked for term %" PRIu64, v->asked);
	return true;
}

static bool tell_unknown(struct story *st, const struct ballot_story *v, struct event *ev)
{
	const char *why = v->said ? v->said->text : "";
	bool new_term = v->was_asked != st->unknown;

	if (!new_term && !v->alone &&
	    (!strcmp(why, st->unknown_text) ||
	     clock_until(ev->at_ns, st->unknown_ns) < STORY_DOUBT_NS))
		return false;
	st->unknown = v->was_asked;
	st->unknown_ns = ev->at_ns;
	snprintf(st->unknown_text, sizeof(st->unknown_text), "%s", why);
	begin(ev, "vote-unknown");
	event_say(ev, "the arbiter decided nothing on term %" PRIu64 "%s%.300s -> %s", v->was_asked,
		  *why ? ": " : "", why,
		  v->alone ? "the operator's word counts" : "nobody goes on alone here");
	return true;
}

static void tell_refused(const struct ballot_story *v, struct event *ev)
{
	begin(ev, v->outvoted ? "outvoted" : "vote-refused");
	event_say(ev, "the arbiter refused term %" PRIu64 ": %s holds term %" PRIu64 " -> %s",
		  v->was_asked, v->said && *v->said->holder ? v->said->holder : "another host",
		  v->term,
		  v->outvoted ? "outvoted: nothing is let out here, nothing is destroyed, until "
				"that host or an operator says more"
			      : "it does not matter any more");
}

static bool tell_answer(struct story *st, const struct ballot_story *v, struct event *ev)
{
	switch (v->vote) {
	case VOTE_GRANTED:
		begin(ev, "vote-granted");
		event_say(ev, "the arbiter granted term %" PRIu64 "%s", v->was_asked,
			  v->alone ? "" : ", which is not needed any more");
		return true;
	case VOTE_REFUSED:
		tell_refused(v, ev);
		return true;
	case VOTE_UNKNOWN:
		return tell_unknown(st, v, ev);
	}
	return false;
}

/* An answer that comes late, or twice, is none. */
static bool tell_vote(struct story *st, const struct ballot_story *v, bool is_answer,
		      uint64_t answered, struct event *ev)
{
	bool told;

	if (is_answer && (!v->was_asking || answered != v->was_asked))
		return false;
	told = is_answer ? tell_answer(st, v, ev) : tell_asked(st, v, ev);
	if (told)
		facts_vote(ev, v, is_answer);
	return told;
}

/* ---- primary ---- */

static void facts_primary(struct event *ev, const struct primary *was, const struct primary *p,
			  const struct primary_event *cause)
{
	event_fact_text(ev, "from", primary_state_name(was->state));
	event_fact_text(ev, "to", primary_state_name(p->state));
	event_fact_text(ev, "cause", primary_event_name(cause->type));
	event_fact_text(ev, "policy", policy_name(p->conf.policy));
	event_fact(ev, "term", p->conf.term);
	fact_epoch(ev, "taken", was->taken);
	fact_epoch(ev, "sent", was->sent);
	fact_epoch(ev, "acked", was->acked);
	if (was->sent != was->acked)
		fact_ms(ev, "unacked_ms", clock_until(ev->at_ns, was->oldest_unacked_since_ns));
	fact_ms(ev, "lease_ms", p->conf.timing.ack_timeout_ns);
	facts_peer(ev, &was->peer);
	event_fact_text(ev, "output", p->held ? "held" : "open");
}

/* Why the session is given up; in the order in which the core asks. */
static void say_why_lost(struct event *ev, const struct primary *was,
			 const struct primary_event *cause)
{
	uint64_t unacked = clock_until(ev->at_ns, was->oldest_unacked_since_ns);

	if (cause->type != PEV_TICK && cause->type != PEV_HEARTBEAT) {
		event_say(ev, "%s",
			  cause->type == PEV_LINK_DOWN ? "the connection to the backup ended"
						       : primary_event_name(cause->type));
	} else if (liveness_verdict(&was->peer, ev->at_ns) == LIVENESS_LOST) {
		say_silent(ev, "backup", &was->peer);
		return;
	} else if (was->sent != was->acked && unacked >= was->conf.timing.ack_timeout_ns) {
		event_say(ev,
			  "the oldest epoch sent was not acknowledged for %.2f s (lease %.2f s)",
			  SECONDS(unacked),
			  SECONDS(was->state == PRIMARY_SYNCING ? was->conf.timing.sync_timeout_ns
								: was->conf.timing.ack_timeout_ns));
	} else {
		event_say(ev, "a checkpoint, or sending one, did not end within %.2f s",
			  SECONDS(clock_until(ev->at_ns, was->busy_since_ns)));
	}
	event_say(ev, "; ");
	say_heard(ev, &was->peer);
}

static const char *what_now(const struct primary *p)
{
	if (p->alone_decided)
		return "output is opened, the VM goes on here alone";
	if (p->conf.policy == POLICY_PRIMARY_WINS)
		return "output held until the failure timeout has passed";
	if (p->conf.policy == POLICY_BACKUP_WINS)
		return "output held: the backup may run the VM";
	if (p->conf.policy == POLICY_HOLD)
		return "output held until both hosts talk again or somebody decides";
	if (p->conf.policy == POLICY_ARBITER)
		return "output held until the hosts talk again or the arbiter lets one of them go alone";
	return "output held until it is decided who goes on";
}

static void tell_lost(struct event *ev, const struct primary *was, const struct primary *p,
		      const struct primary_event *cause)
{
	say_why_lost(ev, was, cause);
	event_say(ev, "; ");
	say_epoch(ev, was->acked, "acknowledged");
	event_say(ev, ", ");
	say_epoch(ev, was->taken, "taken");
	event_say(ev, ", policy %s -> %s", policy_name(p->conf.policy), what_now(p));
	ev->flight = EVENT_FLIGHT;
}

static void tell_alone(struct event *ev, const struct primary *was, const struct primary *p)
{
	begin(ev, "alone");
	if (was->leave_force)
		event_say(ev, "the operator ends protection by force, ");
	say_silent(ev, "backup", &was->peer);
	if (p->conf.policy == POLICY_ARBITER)
		event_say(ev, ", the arbiter granted term %" PRIu64, p->conf.term);
	event_say(ev, ", policy %s -> %s", policy_name(p->conf.policy), what_now(p));
}

static void tell_deposed(struct event *ev, const struct primary *was,
			 const struct primary_event *cause)
{
	event_say(ev, "the backup runs the VM under term %" PRIu64 ", ours was %" PRIu64 "; ",
		  cause->term, was->conf.term);
	say_epoch(ev, was->acked, "acknowledged");
	event_say(ev, " -> the copy here is destroyed, what it sent since is not let out");
	event_fact(ev, "peer_term", cause->term);
	ev->flight = EVENT_FLIGHT;
}

static void tell_move(struct event *ev, const struct primary *was, const struct primary *p,
		      const struct primary_event *cause)
{
	event_say(ev, "%s -> %s on %s", primary_state_name(was->state),
		  primary_state_name(p->state), primary_event_name(cause->type));
	if (p->state == PRIMARY_PROTECTED)
		event_say(ev, ": the backup holds epoch 0, output is released epoch by epoch");
	else if (p->state == PRIMARY_HANDING)
		event_say(ev, ": %s, the backup is asked to run the VM; output held",
			  p->parked ? "the operator moves it" : "a disk fails here");
	else if (p->state == PRIMARY_LEAVING)
		event_say(ev, ": protection is left (%s)", leave_reason_name(p->leave));
	/* Left, or broken off, by whatever it was. */
	if (was->state == PRIMARY_PROTECTED) {
		event_say(ev, "; ");
		say_epoch(ev, was->acked, "acknowledged");
		ev->flight = EVENT_FLIGHT;
	}
}

/* P5: the state stops, or begins again, to say "protected", and nothing is decided. */
static bool tell_doubt(struct story *st, const struct primary *p, struct event *ev)
{
	bool doubt = p->state == PRIMARY_PROTECTED && !primary_is_protected(p, ev->at_ns);

	if (doubt == st->doubt)
		return false;
	if (doubt && st->doubt_ns && clock_until(ev->at_ns, st->doubt_ns) < STORY_DOUBT_NS)
		return false;
	st->doubt = doubt;
	if (!doubt) {
		begin(ev, "heard-again");
		event_say(ev, "the backup is heard again, the VM is protected");
		return p->state == PRIMARY_PROTECTED;
	}
	st->doubt_ns = ev->at_ns;
	begin(ev, "suspect");
	event_say(ev, "nothing heard from the backup for two heartbeats, ");
	say_heard(ev, &p->peer);
	event_say(ev, " -> not called protected");
	return true;
}

bool story_primary(struct story *st, const struct primary *was, const struct primary *p,
		   const struct primary_event *cause, struct event *ev)
{
	if (!was->alone_decided && p->alone_decided) {
		tell_alone(ev, was, p);
	} else if (was->state != p->state) {
		begin(ev, primary_state_name(p->state));
		st->doubt = false;
		if (p->state == PRIMARY_LOST)
			tell_lost(ev, was, p, cause);
		else if (p->state == PRIMARY_DEPOSED)
			tell_deposed(ev, was, cause);
		else
			tell_move(ev, was, p, cause);
	} else if (was->held && !p->held) {
		begin(ev, "output-open");
		event_say(ev, "what was held is let out, and the output is open (%s)",
			  primary_state_name(p->state));
	} else if (was->throttle_percent != p->throttle_percent) {
		begin(ev, "throttle");
		event_say(ev, "the guest may use %u%% of its CPUs, %u%% before",
			  p->throttle_percent, was->throttle_percent);
	} else if (cause->type == PEV_UNPROTECT) {
		begin(ev, "unprotect");
		event_say(ev, "the operator ends protection%s",
			  cause->force ? ", by force: without the backup's word" : "");
	} else if (!tell_doubt(st, p, ev)) {
		return false;
	}
	facts_primary(ev, was, p, cause);
	return true;
}

bool story_primary_vote(struct story *st, const struct primary *was, const struct primary *p,
			const struct primary_event *cause, const struct vote_answer *said,
			struct event *ev)
{
	const struct ballot_story v = {
		.peer = "backup",
		.heard = &p->peer,
		.asking = p->asking,
		.was_asking = was->asking,
		.asked = p->asked,
		.was_asked = was->asked,
		.forced = p->leave_force,
		.alone = (!was->alone_decided && p->alone_decided) ||
			 (!was->open_wanted && !was->opening && (p->open_wanted || p->opening)),
		.outvoted = p->outvoted && !was->outvoted,
		.vote = cause->vote,
		.term = cause->term,
		.said = said,
	};

	if (!tell_vote(st, &v, cause->type == PEV_VOTE, cause->asked, ev))
		return false;
	facts_primary(ev, was, p, cause);
	return true;
}

/* ---- backup ---- */

static void facts_backup(struct event *ev, const struct backup *was, const struct backup *b,
			 const struct backup_event *cause)
{
	event_fact_text(ev, "from", backup_state_name(was->state));
	event_fact_text(ev, "to", backup_state_name(b->state));
	event_fact_text(ev, "cause", backup_event_name(cause->type));
	event_fact_text(ev, "policy", policy_name(b->conf.policy));
	event_fact(ev, "term", b->term);
	fact_epoch(ev, "committed", b->committed);
	fact_epoch(ev, "applied", b->applied);
	fact_epoch(ev, "acked", b->acked);
	event_fact_text(ev, "link", was->link_up ? "up" : "down");
	facts_peer(ev, &was->peer);
}

static void tell_activating(struct event *ev, const struct backup *was, const struct backup *b,
			    const struct backup_event *cause)
{
	if (cause->type == BEV_FAILOVER) {
		event_say(ev, "the operator says failover%s, ", cause->force ? " --force" : "");
		say_heard(ev, &was->peer);
	} else if (b->takes_over) {
		event_say(ev, "the primary hands the VM over: %s",
			  b->planned ? "the operator moves it" : "a disk fails there");
	} else {
		if (was->takes_over)
			event_say(ev, "the primary has handed the VM over, ");
		else if (was->forced)
			event_say(ev, "the operator says failover --force, ");
		say_silent(ev, "primary", &was->peer);
	}
	if (cause->type == BEV_VOTE && cause->vote == VOTE_GRANTED)
		event_say(ev, ", the arbiter granted term %" PRIu64, cause->asked);
	event_say(ev, ", policy %s, ", policy_name(b->conf.policy));
	say_epoch(ev, b->committed, "committed");
	event_say(ev, ", term %" PRIu64 " -> %s", b->term, backup_state_name(b->state));
	ev->flight = EVENT_FLIGHT;
}

static const char *why_abandoned(const struct backup_event *cause)
{
	if (cause->type == BEV_BYE)
		return "the primary leaves in good order";
	if (cause->type == BEV_SUPERSEDE)
		return "a new session of this VM takes its place";
	if (cause->type == BEV_STANDBY_FAILED)
		return "the standby failed";
	if (cause->type == BEV_DISK_FAILED)
		return "a disk of the standby failed";
	if (cause->type == BEV_BUILT)
		return "the standby completed itself, unasked";
	if (cause->type == BEV_LINK_DOWN)
		return "the connection ended before anything was committed";
	return backup_event_name(cause->type);
}

static void tell_backup_move(struct event *ev, const struct backup *was, const struct backup *b,
			     const struct backup_event *cause)
{
	event_say(ev, "%s -> %s: ", backup_state_name(was->state), backup_state_name(b->state));
	if (b->state == BACKUP_ABANDONING && cause->type == BEV_BYE)
		event_say(ev, "%s (%s); ", why_abandoned(cause), leave_reason_name(cause->leave));
	else if (b->state == BACKUP_ABANDONING)
		event_say(ev, "%s; ", why_abandoned(cause));
	else if (b->state == BACKUP_ACTIVE)
		event_say(ev, "the VM runs here under term %" PRIu64 "; ", b->term);
	say_epoch(ev, b->committed, "committed");
	if (was->state == BACKUP_STANDING && b->state == BACKUP_ABANDONING &&
	    cause->type != BEV_BYE)
		ev->flight = EVENT_FLIGHT;
}

/* Silence under a policy that lets nobody go alone here: no state changes, and an operator will ask. */
static bool tell_silence(struct story *st, const struct backup *b, struct event *ev)
{
	bool lost = b->state == BACKUP_STANDING &&
		    liveness_verdict(&b->peer, ev->at_ns) == LIVENESS_LOST;

	if (lost == st->lost)
		return false;
	st->lost = lost;
	if (!lost) {
		begin(ev, "heard-again");
		event_say(ev, "the primary is heard again");
		return b->state == BACKUP_STANDING;
	}
	begin(ev, "primary-lost");
	say_silent(ev, "primary", &b->peer);
	event_say(ev, ", policy %s, ", policy_name(b->conf.policy));
	say_epoch(ev, b->committed, "committed");
	event_say(ev, ", term %" PRIu64 " -> stands by until the primary returns or %s decides",
		  b->term, b->conf.policy == POLICY_ARBITER ? "the arbiter" : "somebody");
	ev->flight = EVENT_FLIGHT;
	return true;
}

bool story_backup(struct story *st, const struct backup *was, const struct backup *b,
		  const struct backup_event *cause, struct event *ev)
{
	if (was->state != b->state) {
		begin(ev, backup_state_name(b->state));
		st->lost = false;
		if (b->state == BACKUP_ACTIVATING)
			tell_activating(ev, was, b, cause);
		else
			tell_backup_move(ev, was, b, cause);
	} else if (b->let_run && !was->let_run) {
		begin(ev, "let-run");
		event_say(ev, "the standby is complete, ");
		say_epoch(ev, b->committed, "committed");
		event_say(ev, "; it is let run under term %" PRIu64, b->term);
	} else if (tell_silence(st, b, ev)) {
		/* It may have ended the connection in the same step. */
	} else if (was->link_up && !b->link_up && b->state == BACKUP_STANDING) {
		begin(ev, "link-down");
		event_say(ev, "the connection to the primary ended, ");
		say_heard(ev, &b->peer);
		event_say(ev, "; ");
		say_epoch(ev, b->committed, "committed");
	} else if (cause->type == BEV_FAILOVER && b->failover_owed) {
		begin(ev, "failover");
		event_say(ev, "the operator says failover%s: the arbiter is asked first, ",
			  cause->force ? " --force" : "");
		say_heard(ev, &was->peer);
	} else if (cause->type == BEV_FAILOVER) {
		begin(ev, "failover-refused");
		event_say(ev, "the operator says failover%s, and it is not done in state %s",
			  cause->force ? " --force" : "", backup_state_name(b->state));
	} else {
		return false;
	}
	facts_backup(ev, was, b, cause);
	return true;
}

bool story_backup_vote(struct story *st, const struct backup *was, const struct backup *b,
		       const struct backup_event *cause, const struct vote_answer *said,
		       struct event *ev)
{
	const struct ballot_story v = {
		.peer = "primary",
		.heard = &b->peer,
		.asking = b->asking,
		.was_asking = was->asking,
		.asked = b->asked,
		.was_asked = was->asked,
		.forced = b->forced,
		.alone = was->state != BACKUP_ACTIVATING && b->state == BACKUP_ACTIVATING,
		.outvoted = b->outvoted && !was->outvoted,
		.vote = cause->vote,
		.term = cause->term,
		.said = said,
	};

	if (!tell_vote(st, &v, cause->type == BEV_VOTE, cause->asked, ev))
		return false;
	facts_backup(ev, was, b, cause);
	return true;
}
