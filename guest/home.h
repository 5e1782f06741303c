/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the domain that the module is at home in from every other one. Called under the offer's lock, or with all stopped. */
#ifndef SUSPEND_HOME_H
#define SUSPEND_HOME_H

#include <linux/types.h>

/* This domain is home from here on. 0, or a negative errno. What was marked before is forgotten. */
int home_mark(void);
/* Is this the domain that was marked? Interrupts may be off. */
bool home_is_here(void);
/* In another domain, or without a mark, this does nothing. */
void home_unmark(void);

#endif
