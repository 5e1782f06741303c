/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_rule.h. */
#include "replicator/drill_rule.h"

#include <errno.h>
#include <stddef.h>

#include "replicator/backup.h"
#include "replicator/drill_request.h"
#include "replicator/mutant.h"

void drill_rule_init(struct drill_rule *r)
{
	*r = (struct drill_rule){.lease_ns = CLOCK_NEVER, .kill_ns = CLOCK_NEVER};
}

bool drill_rule_may(const struct backup *core)
{
	if (MUTANT(MUTANT_DRILL_ANY_STATE))
		return true;
	return core->state == BACKUP_STANDING && core->link_up;
}

const char *drill_rule_must_end(const struct backup *core)
{
	if (core->state == BACKUP_STANDING)
		return NULL;
	if (core->state != BACKUP_ACTIVATING && core->state != BACKUP_ACTIVE)
		return MUTANT(MUTANT_DRILL_OUTLIVES_STANDBY) ? NULL : "the standby is abandoned";
	return MUTANT(MUTANT_DRILL_IN_THE_WAY) ? NULL : "a failover: the VM is to run here";
}

int drill_rule_check(const struct drill_rule *r, bool may)
{
	if (r->stage != DRILL_STAGE_NONE && !MUTANT(MUTANT_DRILL_TWICE))
		return -EBUSY;
	return may ? 0 : -ENOTCONN;
}

void drill_rule_begun(struct drill_rule *r, uint64_t now)
{
	r->stage = DRILL_STAGE_UNDER_WAY;
	r->lease_ns = r->kill_ns = CLOCK_NEVER;
	drill_rule_asked(r, now);
}

void drill_rule_asked(struct drill_rule *r, uint64_t now)
{
	if (r->stage == DRILL_STAGE_UNDER_WAY && !MUTANT(MUTANT_DRILL_WITHOUT_LEASE))
		r->lease_ns = clock_add(now, DRILL_LEASE_MS * NS_PER_MS);
}

bool drill_rule_end(struct drill_rule *r, uint64_t now)
{
	if (r->stage != DRILL_STAGE_UNDER_WAY)
		return false;
	r->stage = DRILL_STAGE_TOLD;
	r->lease_ns = CLOCK_NEVER;
	r->kill_ns = clock_add(now, DRILL_KILL_NS);
	return true;
}

enum drill_due drill_rule_due(struct drill_rule *r, uint64_t now)
{
	if (now >= r->kill_ns) {
		r->kill_ns = CLOCK_NEVER;
		return MUTANT(MUTANT_DRILL_SPARED) ? DRILL_DUE_NOTHING : DRILL_DUE_KILL;
	}
	if (now >= r->lease_ns)
		return DRILL_DUE_END;
	return DRILL_DUE_NOTHING;
}

uint64_t drill_rule_deadline(const struct drill_rule *r)
{
	return MIN(r->lease_ns, r->kill_ns);
}

bool drill_rule_gone(struct drill_rule *r, bool tidy, bool busy)
{
	bool cleaned = r->stage == DRILL_STAGE_CLEANING;

	r->stage = DRILL_STAGE_NONE;
	r->lease_ns = r->kill_ns = CLOCK_NEVER;
	if (cleaned)
		r->left = !tidy;
	return !cleaned && !tidy && !busy && !MUTANT(MUTANT_DRILL_LEFT_BEHIND);
}

void drill_rule_cleaning(struct drill_rule *r)
{
	r->stage = DRILL_STAGE_CLEANING;
}
