/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's side of xenstore, kept quiet while the guest is suspended. */
#ifndef SUSPEND_STORE_H
#define SUSPEND_STORE_H

/*
 * No request is under way and none begins until store_go_on(), or the kernel's xs_resume() in a new domain.
 * -EBUSY when one has been under way for a second, and then nothing is held. May sleep.
 */
int store_quiet(void);
void store_go_on(void);

#endif
