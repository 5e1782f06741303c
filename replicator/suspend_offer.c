// SPDX-License-Identifier: GPL-2.0-or-later
/* See suspend_offer.h. */
#include "replicator/suspend_offer.h"

#include <stdlib.h>

#include "lib/clock.h"
#include "lib/compiler.h"

#define MAX_PORT ((uint32_t)1 << 17) /* of the FIFO ABI, the larger one */
#define LOOK_AGAIN_NS NS_PER_SEC
/* A request that is not answered costs an epoch its suspend timeout, up to 10 s of held output: seldom, then. */
#define RETRY_MIN_NS (60 * NS_PER_SEC)
#define RETRY_MAX_NS (3600 * NS_PER_SEC)

uint32_t suspend_offer_parse(const char *text)
{
	unsigned long n;
	char *end;

	if (!text || text[0] < '0' || text[0] > '9')
		return 0;
	n = strtoul(text, &end, 10);
	return *end || n >= MAX_PORT ? 0 : (uint32_t)n;
}

static void give_back(struct suspend_ration *r, uint64_t now, uint64_t every_ns)
{
	uint64_t back = clock_until(now, r->since_ns) / every_ns;

	if (back >= r->used) {
		r->used = 0;
		r->since_ns = now;
	} else {
		r->used -= (unsigned int)back;
		r->since_ns += back * every_ns;
	}
}

bool suspend_offer_look(struct suspend_offer *o, uint64_t now)
{
	give_back(&o->looks, now, LOOK_AGAIN_NS);
	if (o->looks.used >= SUSPEND_OFFER_LOOKS)
		return false;
	o->looks.used++;
	return true;
}

void suspend_offer_forgive(struct suspend_offer *o)
{
	o->looks.used = 0;
}

bool suspend_offer_due(const struct suspend_offer *o, uint64_t now)
{
	return o->failed && now >= o->retry_ns;
}

bool suspend_offer_take(struct suspend_offer *o, uint32_t port, uint64_t now)
{
	if (port == 0)
		o->failed = 0;
	if (port == 0 || (port == o->failed && now < o->retry_ns))
		return false;
	give_back(&o->failures, now, RETRY_MIN_NS);
	if (o->failures.used >= SUSPEND_OFFER_FAILURES) {
		o->failed = port;
		o->retry_ns = clock_add(o->failures.since_ns, RETRY_MIN_NS);
		return false;
	}
	o->failed = 0;
	return true;
}

void suspend_offer_failed(struct suspend_offer *o, uint32_t port, uint64_t now)
{
	give_back(&o->failures, now, RETRY_MIN_NS);
	o->failures.used++;
	o->wait_ns = MIN(MAX(o->wait_ns, RETRY_MIN_NS), RETRY_MAX_NS);
	o->failed = port;
	o->retry_ns = clock_add(now, o->wait_ns);
	o->wait_ns *= 2;
}

void suspend_offer_served(struct suspend_offer *o)
{
	o->wait_ns = 0;
}
