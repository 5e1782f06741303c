/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's disks while they arrive in a new domain. */
#ifndef SUSPEND_DISKS_H
#define SUSPEND_DISKS_H

/* No request is on its way into a disk's ring, and none begins. May sleep. */
void disks_stop(void);
void disks_go_on(void);

#endif
