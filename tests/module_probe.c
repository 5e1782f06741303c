// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A kernel module out of parts of guest/, for tests/module-kernels: what of it can be tried on a kernel without Xen. The
 * symbols are found, the timekeeper is laid out as guest/symbols.h says, and nobody having a request under way, the store
 * falls quiet and goes on. It says so in one line and does not stay.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

#include "guest/clock.h"
#include "guest/store.h"
#include "guest/symbols.h"

#define TIMES 100

static int __init probe_init(void)
{
	int rc = symbols_find();
	int i;

	if (!rc)
		rc = clock_init();
	for (i = 0; i < TIMES && !rc; i++) {
		rc = store_quiet();
		if (!rc)
			store_go_on();
	}
	if (!rc)
		pr_info("symbols, clock and store are as they should be\n");
	return -EAGAIN;
}

module_init(probe_init);
MODULE_DESCRIPTION("Test of the suspend event channel's parts");
MODULE_LICENSE("GPL");
