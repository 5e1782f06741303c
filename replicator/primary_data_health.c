// SPDX-License-Identifier: GPL-2.0-or-later
/* The primary's data thread looks after the guest between checkpoints: does it run, and is it ours; see primary_data_impl.h. */
#include "replicator/primary_data_impl.h"

#include <stdio.h>

#include "lib/clock.h"

/* How often an idle thread looks whether the guest is well; see guest_suspend() about late obedience. */
#define HEALTH_NS (50 * NS_PER_MS)

static enum leave_reason leave_of(enum guest_shutdown reason)
{
	switch (reason) {
	case GUEST_CRASH:
	case GUEST_WATCHDOG:
		return LEAVE_GUEST_CRASH;
	case GUEST_SUSPEND:
		return LEAVE_GUEST_SUSPENDED;
	case GUEST_POWEROFF:
	case GUEST_REBOOT:
	case GUEST_SOFT_RESET:
	case GUEST_SHUTDOWN_OTHER:
		break;
	}
	return LEAVE_GUEST_SHUTDOWN;
}

void primary_data_post_guest__(struct primary_data *d, enum leave_reason leave, const char *text)
{
	struct pd_msg m = {.type = PD_GUEST, .leave = leave};

	snprintf(m.text, sizeof(m.text), "%s", text);
	post(d, &m);
}

void primary_data_check_health__(struct primary_data *d)
{
	enum guest_shutdown reason = GUEST_SHUTDOWN_OTHER;
	enum guest_health h;

	d->health_at_ns = clock_now() + HEALTH_NS;
	/* One that is found suspended is resumed. */
	if (d->parked)
		return;
	h = guest_health(d->guest, &reason);
	if (h == d->health_said)
		return;
	d->health_said = h;
	switch (h) {
	case GUEST_HEALTH_RUNNING:
	case GUEST_HEALTH_PAUSED:
		break;
	case GUEST_HEALTH_GONE:
		primary_data_post_guest__(d, LEAVE_GUEST_DESTROYED, "the guest was destroyed");
		break;
	case GUEST_HEALTH_SHUTDOWN:
		primary_data_post_guest__(d, leave_of(reason),
					  leave_of(reason) == LEAVE_GUEST_CRASH
						  ? "the guest crashed"
						  : "the guest powered off or rebooted");
		break;
	case GUEST_HEALTH_FOREIGN:
		primary_data_post_guest__(d, LEAVE_GUEST_SUSPENDED,
					  "somebody else suspended the guest (xl save?)");
		break;
	case GUEST_HEALTH_CHANGED:
		primary_data_post_guest__(d, LEAVE_GUEST_CHANGED,
					  "the guest's memory or devices changed");
		break;
	}
}

enum leave_reason primary_data_leave_of_suspend__(const struct suspend_result *s)
{
	switch (s->outcome) {
	case SUSPEND_GONE:
		return LEAVE_GUEST_DESTROYED;
	case SUSPEND_SHUTDOWN:
		return leave_of(s->reason);
	case SUSPEND_FOREIGN:
		return LEAVE_GUEST_SUSPENDED;
	case SUSPEND_CHANGED:
		return LEAVE_GUEST_CHANGED;
	case SUSPEND_DONE:
	case SUSPEND_TIMEOUT:
	case SUSPEND_FAILED:
		break;
	}
	return LEAVE_RESYNC;
}
