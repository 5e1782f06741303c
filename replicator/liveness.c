/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See liveness.h. Pure. */
#include "replicator/liveness.h"

#include "lib/compiler.h"

void liveness_init(struct liveness *l, uint64_t suspect_ns, uint64_t lost_ns, uint64_t now)
{
	*l = (struct liveness){
		.heard_ns = now,
		.not_lost_ns = now + lost_ns,
		.suspect_ns = suspect_ns,
		.lost_ns = lost_ns,
	};
}

void liveness_heard(struct liveness *l, uint64_t now)
{
	l->heard_ns = MAX(l->heard_ns, now);
	liveness_excuse(l, now);
}

void liveness_excuse(struct liveness *l, uint64_t now)
{
	l->not_lost_ns = MAX(l->not_lost_ns, now + l->lost_ns);
}

uint64_t liveness_lost_at(const struct liveness *l)
{
	return l->not_lost_ns;
}

enum liveness_verdict liveness_verdict(const struct liveness *l, uint64_t now)
{
	if (now >= l->not_lost_ns)
		return LIVENESS_LOST;
	return now >= l->heard_ns + l->suspect_ns ? LIVENESS_SUSPECT : LIVENESS_ALIVE;
}

uint64_t liveness_next(const struct liveness *l, uint64_t now)
{
	switch (liveness_verdict(l, now)) {
	case LIVENESS_ALIVE:
		return l->heard_ns + l->suspect_ns;
	case LIVENESS_SUSPECT:
		return l->not_lost_ns;
	case LIVENESS_LOST:
		break;
	}
	return UINT64_MAX;
}
