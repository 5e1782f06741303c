/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See epoch.h. Pure. */
#include "replicator/epoch.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const struct {
	enum peer_loss_policy policy;
	const char *name;
} policies[] = {
	{POLICY_HOLD, "hold"},
	{POLICY_PRIMARY_WINS, "primary-wins"},
	{POLICY_BACKUP_WINS, "backup-wins"},
	{POLICY_ARBITER, "arbiter"},
};

const char *policy_name(enum peer_loss_policy p)
{
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		if (policies[i].policy == p)
			return policies[i].name;
	}
	return "?";
}

int policy_parse(const char *text, enum peer_loss_policy *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		if (!strcmp(policies[i].name, text)) {
			*p = policies[i].policy;
			return 0;
		}
	}
	return -EINVAL;
}

const char *vote_name(enum vote v)
{
	static const char *const names[] = {
		[VOTE_UNKNOWN] = "unknown",
		[VOTE_GRANTED] = "granted",
		[VOTE_REFUSED] = "refused",
	};

	return (unsigned int)v < ARRAY_SIZE(names) ? names[v] : "?";
}

uint64_t epoch_next(uint64_t e)
{
	/* EPOCH_NONE + 1 is 0 by the rules of unsigned numbers. */
	return e + 1;
}

bool epoch_reached(uint64_t have, uint64_t want)
{
	if (want == EPOCH_NONE)
		return true;
	return have != EPOCH_NONE && have >= want;
}

uint64_t epoch_distance(uint64_t have, uint64_t behind)
{
	return epoch_next(have) - epoch_next(behind);
}
