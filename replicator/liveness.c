/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See liveness.h. Pure. */
#include "replicator/liveness.h"

#include "lib/compiler.h"

void liveness_init(struct liveness *l, uint64_t suspect_ns, uint64_t lost_ns, uint64_t now)
{
	*l = (struct liveness){
		.heard_ns = now,
		.not_lost_ns = now + lost_ns,
		.listened_ns = now,
		.suspect_ns = suspect_ns,
		.lost_ns = lost_ns,
	};
}

void liveness_heard(struct liveness *l, uint64_t now)
{
	liveness_heard_at(l, now, now);
}

void liveness_heard_at(struct liveness *l, uint64_t at, uint64_t now)
{
	l->heard_ns = MAX(l->heard_ns, MIN(at, now));
	liveness_excuse(l, now);
}

void liveness_excuse(struct liveness *l, uint64_t now)
{
	l->not_lost_ns = MAX(l->not_lost_ns, now + l->lost_ns);
}

void liveness_listen(struct liveness *l, uint64_t now)
{
	bool said = l->listened_ns >= l->not_lost_ns;

	if (!said && now > l->listened_ns + l->suspect_ns)
		liveness_excuse(l, now);
	l->listened_ns = now;
}

enum liveness_verdict liveness_verdict(const struct liveness *l, uint64_t now)
{
	if (now >= l->not_lost_ns)
		return LIVENESS_LOST;
	return now >= l->heard_ns + l->suspect_ns ? LIVENESS_SUSPECT : LIVENESS_ALIVE;
}

uint64_t liveness_next(const struct liveness *l)
{
	if (l->listened_ns >= l->not_lost_ns)
		return UINT64_MAX;
	return MIN(l->listened_ns + l->suspect_ns / 2, l->not_lost_ns);
}
