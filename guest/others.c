// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See others.h. Nothing is waited for with something else held: whoever has one of these may want the other, or need the
 * store. So all are tried, let go and tried again after a moment. At an ordinary checkpoint all are free.
 */
#include "guest/others.h"

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "guest/symbols.h"

#define STOP_LIMIT HZ

/* One that asks the store would sleep until the arrival brings that back, and the arrival waits for all probes before. */
bool others_probe(void)
{
	return atomic_read(ksym.probe_count) != 0;
}

static bool try_stop(void)
{
	if (others_probe() || !mutex_trylock(ksym.xenwatch_mutex))
		return false;
	if (mutex_trylock(ksym.irq_mapping_update_lock))
		return true;
	mutex_unlock(ksym.xenwatch_mutex);
	return false;
}

int others_stop(void)
{
	unsigned long end = jiffies + STOP_LIMIT;

	while (!try_stop()) {
		if (time_after(jiffies, end))
			return -EBUSY;
		usleep_range(1000, 2000);
	}
	return 0;
}

void others_defer_probes(void)
{
	/* dpm_suspend_start() would do it, but who begins before that would already sleep. dpm_resume_end() ends it. */
	WRITE_ONCE(*ksym.defer_all_probes, true);
}

void others_may_bind(void)
{
	mutex_unlock(ksym.irq_mapping_update_lock);
}

pid_t others_pass_for_watcher(pid_t watcher)
{
	pid_t usual = *ksym.xenwatch_pid;

	/* unregister_xenbus_watch() asks. Everybody else who unregisters waits for the mutex that is held here. */
	WRITE_ONCE(*ksym.xenwatch_pid, watcher);
	return usual;
}

void others_go_on(void)
{
	mutex_unlock(ksym.xenwatch_mutex);
}
