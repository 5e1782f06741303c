/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a drill may not do (docs/promises.md); see drill.h, and twin.c for what it may not do to anybody else. */
#include "disk/drill_guard.h"
#include "replicator/drill_request.h"
#include "replicator/drill_share.h"
#include "tests/sim/sim.h"

#define U(x) ((unsigned long long)(x))
/* A clock that goes wrong, a word on its way. */
#define SLACK (500 * MS)

/* Somebody who sleeps can do nothing. */
static uint64_t awake(const struct sim *s, int slot, uint64_t since)
{
	const struct process *p = &s->b[slot].proc;

	return MAX(since, MAX(s->host[SIDE_B].thaw, p->thawed_at));
}

/* P2: pages and vCPUs are those of one epoch, which is committed. */
void oracle_drill_copied(struct sim *s, const struct drill_process *p,
			 const struct drill_state *state)
{
	const struct drills *d = &s->drills;
	const struct backup_side *w = &s->b[p->slot];
	uint64_t e = p->epoch;

	if (e == EPOCH_NONE || !epoch_reached(d->known_epoch, e) || p->standby != d->standby) {
		sim_fail(s, "P2", "the copy is of epoch %llu, the standby has none such", U(e));
		return;
	}
	if (w->proc.gen == p->gen && !epoch_reached(w->core.committed, e))
		sim_fail(s, "P2", "the copy is of epoch %llu, which is not committed", U(e));
	for (unsigned int i = 0; i < DRILL_PAGES; i++) {
		if (p->copy[i] != d->known[e % DRILL_EPOCHS][i])
			sim_fail(s, "P2",
				 "page %u of the copy is %llu, at epoch %llu of the standby it is "
				 "%llu",
				 i, U(p->copy[i]), U(e), U(d->known[e % DRILL_EPOCHS][i]));
	}
	if (state->tsc.khz != (uint32_t)e + 1 || state->hvm_size != 8 ||
	    state->hvm[0] != (uint8_t)e || state->n_params != 1 ||
	    state->param[0].value != d->known_state[e % DRILL_EPOCHS])
		sim_fail(s, "P2", "the copy's vCPUs are not those of epoch %llu", U(e));
}

void oracle_drill_ready(struct sim *s, int n, uint64_t epoch)
{
	struct drill_disk *d = &s->drills.disk[n];
	uint64_t state = d->process < 0 ? 0 : s->drills.process[d->process].state;

	for (unsigned int k = 0; k < DRILL_BLOCKS; k++)
		d->shown[k] = d->vol[k];
	for (unsigned int i = 0; i < MIN(s->n_truths, (uint64_t)MAX_TRUTHS); i++) {
		const struct truth *t = &s->truth[i];

		if (t->state == state && t->disk[n] != s->disk_b[n].content)
			sim_fail(s, "P2",
				 "disk %d is at %llu for the copy, its memory's epoch %llu has it "
				 "at %llu",
				 n, U(s->disk_b[n].content), U(epoch), U(t->disk[n]));
	}
}

/* P4: the disk waits for nobody, and not at all when nobody looks. */
void oracle_drill_disk(struct sim *s, int n)
{
	struct drill_disk *d = &s->drills.disk[n];
	bool looked_at = drill_guard_fd(d->guard) >= 0;
	uint64_t awake_since = s->host[SIDE_B].thaw;

	if (!looked_at && (d->held || d->writes))
		sim_fail(s, "P4", "disk %d is held up by a drill that does not look at it", n);
	if (d->held && s->now > MAX(d->held_since, awake_since) + DRILL_HOLD_NS + SLACK)
		sim_fail(s, "P4", "disk %d is held for %llu ms", n,
			 U((s->now - d->held_since) / MS));
	if (d->held && s->disk_b[n].waits)
		sim_fail(s, "P4", "an epoch waits for the journal of disk %d, which is held", n);
	if (d->writes != d->were)
		d->waits_since = s->now;
	d->were = d->writes;
	if (d->writes && s->now > MAX(d->waits_since, awake_since) + DRILL_SAVE_NS + SLACK)
		sim_fail(s, "P4", "a write to disk %d waits for a drill for %llu ms", n,
			 U((s->now - d->waits_since) / MS));
}

static void check_worker(struct sim *s, int slot)
{
	const struct backup_side *w = &s->b[slot];
	const struct drill_worker *dw = &s->drills.worker[slot];
	const struct drill_rule *r = &dw->rule;

	if (!w->proc.alive || dw->gen != w->proc.gen)
		return;
	/* P4: told in the very step in which the core decides something else. */
	if (r->stage == DRILL_STAGE_UNDER_WAY && w->core.state != BACKUP_STANDING)
		sim_fail(s, "P4", "a drill is under way while the backup is %s",
			 backup_state_name(w->core.state));
	if (w->proc.frozen || s->host[SIDE_B].frozen)
		return;
	if (r->stage == DRILL_STAGE_UNDER_WAY &&
	    s->now > awake(s, slot, dw->asked_at) + DRILL_LEASE_MS * MS + SLACK)
		sim_fail(s, "P6", "a drill lives although nobody has asked for it for %llu ms",
			 U((s->now - dw->asked_at) / MS));
	if (r->stage == DRILL_STAGE_TOLD &&
	    s->now > awake(s, slot, dw->told_at) + DRILL_KILL_NS + SLACK)
		sim_fail(s, "P6", "a drill that was told to end has not for %llu ms",
			 U((s->now - dw->told_at) / MS));
}

void oracle_drill(struct sim *s)
{
	const struct drills *d = &s->drills;
	int copies = 0, of_now = 0;

	for (int i = 0; i < MAX_WORKERS; i++)
		check_worker(s, i);
	for (int i = 0; i < MAX_PROCESSES; i++) {
		const struct drill_process *p = &d->process[i];

		copies += p->copy_there;
		of_now += p->alive && p->phase != PROCESS_ENDING && !p->alone_since;
	}
	if (copies > 1)
		sim_fail(s, "P3", "%d copies of the VM are there", copies);
	if (of_now > 1)
		sim_fail(s, "P6", "%d drills of the VM are under way", of_now);
}

void oracle_drills_over(struct sim *s)
{
	const struct drills *d = &s->drills;

	for (int i = 0; i < MAX_PROCESSES; i++) {
		if (d->process[i].alive || d->process[i].copy_there)
			sim_fail(s, "P6", "a drill has no end");
	}
	if (s->plan.drills_pass && d->passed != d->begun)
		sim_fail(s, "plan", "%u of %u drills have passed in a world that is well",
			 d->passed, d->begun);
}
