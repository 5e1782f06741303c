// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See disks.h. blkfront's resume frees the rings and makes new ones. It marks its queues as stopped, but does not wait
 * for who is just putting a request into a ring, because the kernel's suspend has frozen them. Here freezing may fail, as
 * somebody waits for a disk; and the block layer's own workers are never frozen.
 */
#include "guest/disks.h"

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/device.h>
#include <linux/string.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 17, 0)
#include <linux/genhd.h>
#endif

#include "guest/symbols.h"

/* A partition's parent is its disk. */
static bool is_xen_disk(const struct device *dev)
{
	return dev->parent && dev->parent->bus && !strcmp(dev->parent->bus->name, "xen");
}

/* No disk comes or goes meanwhile: others.h. */
static void for_each_queue(void (*fn)(struct request_queue *queue))
{
	struct class_dev_iter iter;
	struct device *dev;

	class_dev_iter_init(&iter, ksym.block_class, NULL, NULL);
	while ((dev = class_dev_iter_next(&iter)))
		if (is_xen_disk(dev) && queue_is_mq(dev_to_disk(dev)->queue))
			fn(dev_to_disk(dev)->queue);
	class_dev_iter_exit(&iter);
}

void disks_stop(void)
{
	for_each_queue(blk_mq_quiesce_queue);
}

void disks_go_on(void)
{
	for_each_queue(blk_mq_unquiesce_queue);
}
