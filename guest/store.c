// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See store.h. The same end as the kernel's xs_suspend() in another order: the watch semaphore comes first. Who
 * registers a watch holds it and then waits for its turn to ask xenstored; the kernel may close that turn first
 * because it has frozen everybody before, which nobody has here. Unlike xs_suspend_cancel() the way back does
 * not count a generation: transactions of the guest do not fail at each checkpoint.
 *
 * The mutex is tried, never waited for. xenbus's thread holds it while it hands an answer to a program, and waits then
 * if another thread of that program is just registering a watch, who in turn waits for the semaphore that is held here.
 * The kernel's own order of the two is no way out either (it changed between 6.1 and 6.12): it needs everybody frozen.
 */
#include "guest/store.h"

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "guest/symbols.h"

#define QUIET_LIMIT HZ
#define MUTEX_TRIES 50

static void close_turn(int by)
{
	spin_lock(ksym.xs_state_lock);
	*ksym.xs_suspend_active += by;
	spin_unlock(ksym.xs_state_lock);
	if (by < 0)
		wake_up_all(ksym.xs_state_enter_wq);
}

static int try_quiet(void)
{
	int rc = -EBUSY;
	int i;

	down_write(ksym.xs_watch_rwsem);
	close_turn(1);
	if (wait_event_timeout(*ksym.xs_state_exit_wq, READ_ONCE(*ksym.xs_state_users) == 0,
			       QUIET_LIMIT))
		rc = -EAGAIN;
	for (i = 0; rc == -EAGAIN && i < MUTEX_TRIES; i++) {
		if (mutex_trylock(ksym.xs_response_mutex))
			return 0;
		usleep_range(100, 200);
	}
	close_turn(-1);
	up_write(ksym.xs_watch_rwsem);
	return rc;
}

int store_quiet(void)
{
	unsigned long end = jiffies + QUIET_LIMIT;
	int rc = try_quiet();

	while (rc == -EAGAIN && time_before(jiffies, end)) {
		usleep_range(1000, 2000); /* the others' turn */
		rc = try_quiet();
	}
	return rc ? -EBUSY : 0;
}

void store_go_on(void)
{
	mutex_unlock(ksym.xs_response_mutex);
	close_turn(-1);
	up_write(ksym.xs_watch_rwsem);
}
