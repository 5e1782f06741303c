/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's decisions; see backup.h and, for the reasons, docs/promises.md. Pure.
 *
 * A step does what primary_step() does: notice that we slept, let pass what the time has decided,
 * handle the event. What is committed, and when that is acknowledged: backup_commit.c. What an arbiter adds:
 * backup_vote.c.
 */
#include "replicator/backup.h"

#include <assert.h>
#include <stddef.h>

#include "lib/sm.h"
#include "replicator/backup_impl.h"
#include "replicator/mutant.h"

#define BIT(s) SM_BIT(BACKUP_##s)

static const struct sm_state states[] = {
	[BACKUP_WAITING] = {"waiting", BIT(BUILDING) | BIT(ENDED), SM_INITIAL},
	[BACKUP_BUILDING] = {"building", BIT(STANDING) | BIT(ABANDONING), 0},
	[BACKUP_STANDING] = {"standing", BIT(ACTIVATING) | BIT(ABANDONING), 0},
	[BACKUP_ACTIVATING] = {"activating", BIT(ACTIVE) | BIT(ABANDONING), 0},
	[BACKUP_ACTIVE] = {"active", 0, SM_FINAL},
	[BACKUP_ABANDONING] = {"abandoning", BIT(ENDED), 0},
	[BACKUP_ENDED] = {"ended", 0, SM_FINAL},
};

const struct sm_table backup_table = {"backup", states, ARRAY_SIZE(states)};

void backup_answer__(const struct backup *b, enum backup_event_type request,
		     enum backup_refusal why, struct backup_actions *out)
{
	struct backup_action *a = act(out, BACT_ANSWER);

	a->request = request;
	a->ok = why == REFUSED_NOT;
	a->why = why;
	a->term = why == REFUSED_OUTVOTED ? b->outvoted_term : b->term;
}

static void disconnect(struct backup *b, struct backup_actions *out)
{
	if (!b->link_up)
		return;
	b->link_up = false;
	act(out, BACT_DISCONNECT);
}

static void end(struct backup *b, uint64_t now, struct backup_actions *out)
{
	disconnect(b, out);
	act(out, BACT_END);
	go(b, BACKUP_ENDED, now);
}

/* Neither the standby nor its disks can be run from here on. */
static void abandon(struct backup *b, uint64_t now, struct backup_actions *out)
{
	backup_vote_void__(b, out);
	if (b->n_disks && !MUTANT(MUTANT_FORGET_LEAVE))
		act(out, BACT_DISKS_LEAVE);
	act(out, BACT_ABANDON);
	go(b, BACKUP_ABANDONING, now);
}

/* The session is over, but not necessarily the standby. */
static void session_over(struct backup *b, uint64_t now, struct backup_actions *out)
{
	switch (b->state) {
	case BACKUP_WAITING:
		end(b, now, out);
		break;
	case BACKUP_BUILDING:
		abandon(b, now, out);
		break;
	case BACKUP_STANDING:
		/* P2: what is not a whole epoch never counts. */
		b->complete = EPOCH_NONE;
		b->held = 0;
		b->takes_over = false;
		if (!MUTANT(MUTANT_KEEP_PARTIAL))
			act(out, BACT_DROP_PARTIAL);
		if (MUTANT(MUTANT_ABANDON_ON_LOSS) ||
		    (MUTANT(MUTANT_ABANDON_OUTVOTED) && b->outvoted))
			abandon(b, now, out);
		break;
	case BACKUP_ACTIVATING:
	case BACKUP_ACTIVE:
	case BACKUP_ABANDONING:
	case BACKUP_ENDED:
		break;
	}
}

void backup_protocol_error__(struct backup *b, uint64_t now, struct backup_actions *out)
{
	disconnect(b, out);
	session_over(b, now, out);
}

/* P2: the standby is run from memory and disks of the same epoch, or not at all. */
static bool ready(const struct backup *b)
{
	if (b->lease_runs || (b->applying && !MUTANT(MUTANT_ACTIVATE_UNAPPLIED)))
		return false;
	return !b->n_disks || b->disks_active || MUTANT(MUTANT_RUN_BEFORE_DISKS);
}

static void activate(struct backup *b, struct backup_actions *out)
{
	if (!ready(b))
		return;
	if (MUTANT(MUTANT_TELL_EARLY) && b->link_up)
		act(out, BACT_TAKEOVER)->term = b->term;
	act(out, BACT_ACTIVATE)->epoch = b->committed;
}

void backup_decide__(struct backup *b, uint64_t now, struct backup_actions *out)
{
	if (b->link_up && !MUTANT(MUTANT_KEEP_PARTIAL))
		act(out, BACT_DROP_PARTIAL);
	b->term++;
	if (!MUTANT(MUTANT_NO_TERM))
		act(out, BACT_PERSIST_TERM)->term = b->term;
	go(b, BACKUP_ACTIVATING, now);
	b->complete = EPOCH_NONE;
	b->held = 0;
	/* Beside what the memory still has to apply: either may take its time. */
	if (b->n_disks)
		act(out, BACT_DISKS_ACTIVATE)->epoch =
			b->committed - MUTANT(MUTANT_DISKS_OTHER_EPOCH);
	activate(b, out);
}

/* ---- what the time decides ---- */

static bool may_go_alone(const struct backup *b, uint64_t now)
{
	enum liveness_verdict v = liveness_verdict(&b->peer, now);

	if (MUTANT(MUTANT_ACTIVATE_EARLY) && b->conf.policy == POLICY_BACKUP_WINS)
		return v != LIVENESS_ALIVE;
	return v == LIVENESS_LOST &&
	       (b->conf.policy == POLICY_BACKUP_WINS || MUTANT(MUTANT_ACTIVATE_UNDER_HOLD));
}

/* By the failure timeout after we got an epoch, the lease of whatever was acknowledged is over. */
static uint64_t leases_end(const struct backup *b)
{
	return b->complete_ns + b->conf.timing.failure_timeout_ns;
}

static void expire(struct backup *b, uint64_t now, struct backup_actions *out)
{
	bool silent = liveness_verdict(&b->peer, now) == LIVENESS_LOST;

	switch (b->state) {
	case BACKUP_WAITING:
		if (now >= b->state_since_ns + b->conf.timing.handshake_timeout_ns)
			end(b, now, out);
		break;
	case BACKUP_BUILDING:
		if (silent)
			backup_protocol_error__(b, now, out);
		break;
	case BACKUP_STANDING:
		if (silent && b->link_up)
			backup_protocol_error__(b, now, out);
		if (b->state == BACKUP_STANDING && may_go_alone(b, now))
			backup_decide__(b, now, out);
		break;
	case BACKUP_ACTIVATING:
		if (b->lease_runs && now >= leases_end(b)) {
			b->lease_runs = false;
			activate(b, out);
		}
		break;
	case BACKUP_ACTIVE:
	case BACKUP_ABANDONING:
	case BACKUP_ENDED:
		break;
	}
}

/* ---- events ---- */

static void hello(struct backup *b, uint64_t now, const struct backup_event *ev,
		  struct backup_actions *out)
{
	if (b->state != BACKUP_WAITING)
		return;
	/* A term spent here on an activation that never ran is not used again. */
	b->term = MAX(ev->term, b->conf.term);
	liveness_heard(&b->peer, now);
	act(out, BACT_HELLO_OK)->term = b->term;
	go(b, BACKUP_BUILDING, now);
}

static void applied(struct backup *b, const struct backup_event *ev, struct backup_actions *out)
{
	if (!b->applying || ev->epoch != b->committed)
		return;
	b->applying = false;
	b->applied = ev->epoch;
	if (b->state == BACKUP_ACTIVATING)
		activate(b, out);
}

/* ---- disks ---- */

static void disks_active(struct backup *b, const struct backup_event *ev,
			 struct backup_actions *out)
{
	if (b->state != BACKUP_ACTIVATING || !b->n_disks || b->disks_active)
		return;
	/* P2 */
	if (ev->epoch != b->committed && !MUTANT(MUTANT_DISKS_OTHER_EPOCH))
		return;
	b->disks_active = true;
	if (!MUTANT(MUTANT_RUN_BEFORE_DISKS))
		activate(b, out);
}

static void disk_failed(struct backup *b, uint64_t now, struct backup_actions *out)
{
	switch (b->state) {
	case BACKUP_BUILDING:
	case BACKUP_STANDING:
	case BACKUP_ACTIVATING:
		if (MUTANT(MUTANT_DISK_FAILURE_IGNORED))
			break;
		/* P4: as below, though nobody has seen it run yet. Its disks are ACTIVE, and will be again. */
		if (b->let_run && !MUTANT(MUTANT_TAKE_DISKS_BACK))
			break;
		/* P2: memory without its disks is nothing to stand by with. The primary hears why. */
		if (b->link_up)
			act(out, BACT_REFUSE);
		b->link_up = false;
		abandon(b, now, out);
		break;
	case BACKUP_WAITING:
	case BACKUP_ACTIVE: /* the VM's own disk by now: its server answers the guest */
	case BACKUP_ABANDONING:
	case BACKUP_ENDED:
		break;
	}
}

static void take_over(struct backup *b, uint64_t now, bool planned, struct backup_actions *out)
{
	b->takes_over = true;
	b->planned = planned;
	if (!by_vote(b))
		backup_decide__(b, now, out);
}

/* The primary gives the VM away: nobody's silence has to be waited for, and no policy asked. */
static void handover(struct backup *b, uint64_t now, const struct backup_event *ev,
		     struct backup_actions *out)
{
	if (b->state != BACKUP_STANDING || !b->link_up || MUTANT(MUTANT_HANDOVER_IGNORED))
		return;
	/* P2: it has let out what it says we committed. */
	if (ev->epoch == EPOCH_NONE || !epoch_reached(b->acked, ev->epoch))
		backup_protocol_error__(b, now, out);
	else
		take_over(b, now, ev->planned, out);
}

static void standby_failed(struct backup *b, uint64_t now, struct backup_actions *out)
{
	switch (b->state) {
	case BACKUP_BUILDING:
	case BACKUP_STANDING:
	case BACKUP_ACTIVATING:
		/* The primary notices the end of the connection and begins anew. */
		disconnect(b, out);
		abandon(b, now, out);
		break;
	case BACKUP_WAITING:
	case BACKUP_ACTIVE:
	case BACKUP_ABANDONING:
	case BACKUP_ENDED:
		break;
	}
}

static void built(struct backup *b, uint64_t now, struct backup_actions *out)
{
	if (b->let_run)
		return;
	if (!backup_may_run(b)) {
		standby_failed(b, now, out);
		return;
	}
	b->let_run = true;
	act(out, BACT_RUN);
}

static void link_down(struct backup *b, uint64_t now, struct backup_actions *out)
{
	if (!b->link_up)
		return;
	b->link_up = false;
	session_over(b, now, out);
}

static void bye(struct backup *b, uint64_t now, const struct backup_event *ev,
		struct backup_actions *out)
{
	if (!b->link_up)
		return;
	b->leave = ev->leave;
	switch (b->state) {
	case BACKUP_WAITING:
		end(b, now, out);
		break;
	case BACKUP_BUILDING:
	case BACKUP_STANDING:
		b->bye_wanted = true;
		abandon(b, now, out);
		break;
	case BACKUP_ACTIVATING:
	case BACKUP_ABANDONING:
		b->bye_wanted = true;
		break;
	case BACKUP_ACTIVE:
		act(out, BACT_TAKEOVER)->term = b->term;
		break;
	case BACKUP_ENDED:
		break;
	}
}

static void supersede(struct backup *b, uint64_t now, struct backup_actions *out)
{
	switch (b->state) {
	case BACKUP_WAITING:
		backup_answer__(b, BEV_SUPERSEDE, REFUSED_NOT, out);
		end(b, now, out);
		break;
	case BACKUP_BUILDING:
	case BACKUP_STANDING:
		b->answer_owed = true;
		disconnect(b, out);
		abandon(b, now, out);
		break;
	case BACKUP_ACTIVATING:
		/* P4: "the VM runs here" destroys the other copy; not before it is true. */
		if (MUTANT(MUTANT_TELL_EARLY))
			backup_answer__(b, BEV_SUPERSEDE, REFUSED_ACTIVE, out);
		else
			b->answer_owed = true;
		break;
	case BACKUP_ABANDONING:
		b->answer_owed = true;
		break;
	case BACKUP_ACTIVE:
		backup_answer__(b, BEV_SUPERSEDE, REFUSED_ACTIVE, out);
		break;
	case BACKUP_ENDED:
		backup_answer__(b, BEV_SUPERSEDE, REFUSED_NOT, out);
		break;
	}
}

static enum backup_refusal refuse_failover(const struct backup *b, uint64_t now, bool force)
{
	switch (b->state) {
	case BACKUP_WAITING:
	case BACKUP_BUILDING:
		return REFUSED_NOTHING_COMMITTED;
	case BACKUP_ACTIVATING:
	case BACKUP_ACTIVE:
		return REFUSED_ACTIVE;
	case BACKUP_ABANDONING:
	case BACKUP_ENDED:
		return REFUSED_ENDING;
	case BACKUP_STANDING:
		break;
	}
	if (force)
		return REFUSED_NOT;
	if (liveness_verdict(&b->peer, now) != LIVENESS_LOST)
		return REFUSED_PRIMARY_ALIVE;
	/* Under hold neither side goes alone by itself, so the operator's word is enough. */
	return b->conf.policy == POLICY_PRIMARY_WINS ? REFUSED_POLICY : REFUSED_NOT;
}

static void failover(struct backup *b, uint64_t now, const struct backup_event *ev,
		     struct backup_actions *out)
{
	enum backup_refusal why = refuse_failover(b, now, ev->force);

	if (by_vote(b) && b->state == BACKUP_STANDING) {
		backup_vote_failover__(b, now, ev->force, out);
		return;
	}
	backup_answer__(b, BEV_FAILOVER, why, out);
	if (why == REFUSED_NOT)
		backup_decide__(b, now, out);
}

static void activated(struct backup *b, uint64_t now, struct backup_actions *out)
{
	if (b->state != BACKUP_ACTIVATING || !b->let_run)
		return;
	go(b, BACKUP_ACTIVE, now);
	if (b->link_up)
		act(out, BACT_TAKEOVER)->term = b->term;
	if (b->answer_owed)
		backup_answer__(b, BEV_SUPERSEDE, REFUSED_ACTIVE, out);
	b->answer_owed = false;
	b->bye_wanted = false;
}

static void abandoned(struct backup *b, uint64_t now, struct backup_actions *out)
{
	if (b->state != BACKUP_ABANDONING)
		return;
	/* With a term that was spent on a vote: the next protection must have a newer one than the arbiter may have granted. */
	if (b->bye_wanted && b->link_up)
		act(out, BACT_BYE_OK)->term = MAX(b->term, b->asked);
	if (b->answer_owed)
		backup_answer__(b, BEV_SUPERSEDE, REFUSED_NOT, out);
	b->answer_owed = false;
	/* Not disconnect(): the BYE_OK is still on its way; the end of the worker closes the link. */
	b->link_up = false;
	act(out, BACT_END);
	go(b, BACKUP_ENDED, now);
}

static void handle(struct backup *b, uint64_t now, const struct backup_event *ev,
		   struct backup_actions *out)
{
	switch (ev->type) {
	case BEV_TICK:
	case BEV_HEARTBEAT:
		break;
	case BEV_HELLO:
		hello(b, now, ev, out);
		break;
	case BEV_EPOCH_COMPLETE:
		backup_epoch_complete__(b, now, ev, out);
		break;
	case BEV_APPLIED:
		applied(b, ev, out);
		break;
	case BEV_STANDBY_FAILED:
		standby_failed(b, now, out);
		break;
	case BEV_LINK_DOWN:
		link_down(b, now, out);
		break;
	case BEV_BYE:
		bye(b, now, ev, out);
		break;
	case BEV_SUPERSEDE:
		supersede(b, now, out);
		break;
	case BEV_FAILOVER:
		failover(b, now, ev, out);
		break;
	case BEV_ACTIVATED:
		activated(b, now, out);
		break;
	case BEV_ABANDONED:
		abandoned(b, now, out);
		break;
	case BEV_DISKS:
		backup_disks__(b, now, ev, out);
		break;
	case BEV_DISK_HELD:
		backup_disk_held__(b, now, ev, out);
		break;
	case BEV_DISK_DURABLE:
		backup_disk_durable__(b, ev, out);
		break;
	case BEV_DISK_FAILED:
		disk_failed(b, now, out);
		break;
	case BEV_DISKS_ACTIVE:
		disks_active(b, ev, out);
		break;
	case BEV_HANDOVER:
		handover(b, now, ev, out);
		break;
	case BEV_VOTE:
		backup_vote__(b, now, ev, out);
		break;
	case BEV_BUILT:
		built(b, now, out);
		break;
	case BEV_COUNT:
		break;
	}
}

/* ---- the interface ---- */

static enum backup_welcome welcome_at_primary(const struct backup_found *f)
{
	if (f->other_vm)
		return WELCOME_NAME_TAKEN;
	if (f->newer && f->taken)
		return f->vm_runs ? WELCOME_ACTIVATED : WELCOME_OPERATOR;
	if (!f->older)
		return WELCOME_PRIMARY;
	return f->vm_runs || f->primary_worker ? WELCOME_DEPOSED : WELCOME_BUILD;
}

enum backup_welcome backup_welcome(const struct backup_found *f)
{
	if (f->role_primary)
		return welcome_at_primary(f);
	if (f->other_vm && (f->role_active || f->old_worker))
		return WELCOME_NAME_TAKEN;
	if (f->role_active)
		return f->vm_runs ? WELCOME_ACTIVATED : WELCOME_OPERATOR;
	return f->old_worker ? WELCOME_SUPERSEDE : WELCOME_BUILD;
}

void backup_init(struct backup *b, const struct backup_conf *conf, uint64_t now)
{
	*b = (struct backup){
		.conf = *conf,
		.state = BACKUP_WAITING,
		.state_since_ns = now,
		.term = conf->term,
		.committed = EPOCH_NONE,
		.applied = EPOCH_NONE,
		.complete = EPOCH_NONE,
		.acked = EPOCH_NONE,
		.ack_mode = BACKUP_ACK_MEMORY,
		.link_up = true,
	};
	for (unsigned int i = 0; i < BACKUP_MAX_DISKS; i++)
		b->durable[i] = EPOCH_NONE;
	liveness_init(&b->peer, conf->timing.suspect_ns, conf->timing.failure_timeout_ns, now);
}

/* P3: time that we did not see pass ends no lease. Our clock may have jumped, and the primary's not with it. */
static void notice_sleep(struct backup *b, uint64_t now)
{
	if (now > b->peer.listened_ns + b->peer.suspect_ns && !MUTANT(MUTANT_JUMP_ENDS_LEASE))
		b->complete_ns = now;
}

void backup_step(struct backup *b, uint64_t now, const struct backup_event *ev,
		 struct backup_actions *out)
{
	out->n = 0;
	if (MUTANT(MUTANT_SLEEP_IS_SILENCE))
		b->peer.listened_ns = now;
	notice_sleep(b, now);
	liveness_listen(&b->peer, now);
	/* A sign of life in hand counts, even at the last moment. */
	if (ev->type == BEV_HEARTBEAT)
		liveness_heard_at(&b->peer,
				  ev->at_ns && !MUTANT(MUTANT_HEARD_WHEN_READ) ? ev->at_ns : now,
				  now);
	expire(b, now, out);
	handle(b, now, ev, out);
	backup_vote_pump__(b, now, out);
	backup_check(b);
}

uint64_t backup_next_deadline(const struct backup *b)
{
	switch (b->state) {
	case BACKUP_WAITING:
		return b->state_since_ns + b->conf.timing.handshake_timeout_ns;
	case BACKUP_BUILDING:
		return liveness_next(&b->peer);
	case BACKUP_STANDING:
		return MIN(liveness_next(&b->peer), backup_vote_deadline__(b));
	case BACKUP_ACTIVATING:
		/* And is seen to pass until then. */
		return b->lease_runs
			       ? MIN(leases_end(b), b->peer.listened_ns + b->peer.suspect_ns / 2)
			       : UINT64_MAX;
	case BACKUP_ACTIVE:
	case BACKUP_ABANDONING:
	case BACKUP_ENDED:
		break;
	}
	return UINT64_MAX;
}

bool backup_is_protecting(const struct backup *b, uint64_t now)
{
	if (b->state != BACKUP_STANDING || !b->link_up || b->outvoted)
		return false;
	return liveness_verdict(&b->peer, now) == LIVENESS_ALIVE ||
	       MUTANT(MUTANT_PROTECTING_SUSPECT);
}

bool backup_may_run(const struct backup *b)
{
	/* P3: it was decided. P2: the newest committed epoch is in it, and in its disks. */
	return b->state == BACKUP_ACTIVATING && ready(b);
}

bool backup_heartbeats(const struct backup *b)
{
	/* P4: who handed the VM over waits for as long as we are at it. */
	if (b->state == BACKUP_ACTIVATING && b->takes_over &&
	    !MUTANT(MUTANT_SILENT_WHILE_ACTIVATING))
		return true;
	return b->state == BACKUP_BUILDING || (b->state == BACKUP_STANDING && !b->outvoted) ||
	       (b->state == BACKUP_ABANDONING && b->bye_wanted);
}

void backup_check(const struct backup *b)
{
	bool standing = b->state == BACKUP_STANDING || b->state == BACKUP_ACTIVATING ||
			b->state == BACKUP_ACTIVE;

	/* P2: only committed epochs are applied, all but the newest for certain. */
	assert(epoch_reached(b->committed, b->applied));
	assert(!b->applying || b->committed != EPOCH_NONE);
	assert(b->applying || b->applied == b->committed || MUTANT(MUTANT_ACK_AFTER_DECISION));
	assert(epoch_reached(b->committed, b->acked));
	assert(epoch_distance(b->committed, b->acked) <= PRIMARY_MAX_OUTSTANDING);
	assert(b->complete == EPOCH_NONE || !b->applying);
	assert(!(b->held & ~all_disks(b)));
	assert(b->state != BACKUP_ACTIVE || !b->n_disks || b->disks_active ||
	       MUTANT(MUTANT_RUN_BEFORE_DISKS));
	/* P3: nothing runs that was not let run; P2: nor before all of it was there. */
	assert(b->state != BACKUP_ACTIVE || b->let_run);
	assert(!b->let_run || b->disks_active || !b->n_disks || MUTANT(MUTANT_RUN_BEFORE_DISKS));
	/* Nothing is activated that was not committed. */
	assert(!standing || b->committed != EPOCH_NONE);
	assert(b->state != BACKUP_BUILDING || (b->committed == EPOCH_NONE && b->link_up));
	assert(b->state != BACKUP_ACTIVE || !b->applying || MUTANT(MUTANT_ACTIVATE_UNAPPLIED) ||
	       MUTANT(MUTANT_ACK_AFTER_DECISION));
	assert(b->state != BACKUP_ENDED || !b->link_up);
	assert(!b->answer_owed || b->state == BACKUP_ABANDONING || b->state == BACKUP_ACTIVATING);
}
