/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Those whom the kernel's own suspend would have frozen, or would have waited for: they must not be half-way when the
 * guest may find itself in another domain.
 */
#ifndef SUSPEND_OTHERS_H
#define SUSPEND_OTHERS_H

#include <linux/types.h>

/*
 * Until others_go_on() no watch's callback runs, the kernel's own suspend among them, and until others_may_bind() nobody
 * binds an event channel to an interrupt. No device is being probed. -EBUSY, and nothing is held: one of these has been
 * under way for a second. May sleep.
 */
int others_stop(void);
/* In stop_machine(): a probe has begun since. */
bool others_probe(void);
/* In stop_machine(), in a new domain: probes are put off until the devices have arrived. */
void others_defer_probes(void);
void others_may_bind(void);
/* In a new domain: this thread passes for xenbus's own, which the kernel's suspend runs in. Returns whom to put back. */
pid_t others_pass_for_watcher(pid_t watcher);
void others_go_on(void);

#endif
