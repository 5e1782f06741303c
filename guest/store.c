// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See store.h. The same end as the kernel's xs_suspend() in another order: the watch semaphore comes first. Who
 * registers a watch holds it and then waits for its turn to ask xenstored; the kernel may close that turn first
 * because it has frozen everybody before, which nobody has here. Unlike xs_suspend_cancel() the way back does
 * not count a generation: transactions of the guest do not fail at each checkpoint.
 */
#include "guest/store.h"

#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "guest/symbols.h"

#define QUIET_LIMIT HZ

static void close_turn(int by)
{
	spin_lock(ksym.xs_state_lock);
	*ksym.xs_suspend_active += by;
	spin_unlock(ksym.xs_state_lock);
	if (by < 0)
		wake_up_all(ksym.xs_state_enter_wq);
}

int store_quiet(void)
{
	down_write(ksym.xs_watch_rwsem);
	close_turn(1);
	if (!wait_event_timeout(*ksym.xs_state_exit_wq, READ_ONCE(*ksym.xs_state_users) == 0,
				QUIET_LIMIT)) {
		close_turn(-1);
		up_write(ksym.xs_watch_rwsem);
		return -EBUSY;
	}
	mutex_lock(ksym.xs_response_mutex);
	return 0;
}

void store_go_on(void)
{
	mutex_unlock(ksym.xs_response_mutex);
	close_turn(-1);
	up_write(ksym.xs_watch_rwsem);
}
