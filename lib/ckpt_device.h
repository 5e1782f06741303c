/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The seam between the replicator and what must change hands at the same instant as the guest's
 * memory: the network output (netbuffer/), later the disks. The replicator knows only this; a
 * device knows nothing of the replicator; the mains bring them together.
 *
 * Checkpoint n ends epoch n. For a device one goes like this:
 *
 *	control thread	prepare(n)	may the checkpoint be taken? 0, or -EAGAIN: later
 *	data thread	                (guest stops)
 *			postsuspend(n)	from here on what comes is of epoch n+1
 *			preresume(n)	last call before the guest runs again
 *	                                (guest runs, epoch n travels)
 *	control thread	commit(n)	the backup holds epoch n: let its effects out
 *
 * or, when the checkpoint is given up before the guest runs again, abort(n) instead of
 * preresume(n): the guest goes on in epoch n, and the next attempt is prepare(n) again.
 *
 * Two threads call: postsuspend, preresume and abort come from the data thread, all else from the
 * control thread. The caller's queue orders them: prepare(n) happens before postsuspend(n), and
 * prepare() is not called between prepare(n) and the end (preresume or abort) of the attempt that
 * it was for. commit, open and whatever else the control thread does may run at any moment of an
 * attempt.
 */
#ifndef LIB_CKPT_DEVICE_H
#define LIB_CKPT_DEVICE_H

#include <stdint.h>

#include "lib/compiler.h"

struct ckpt_device;
struct err;

struct ckpt_device_ops {
	/*
	 * Control thread, once, before anything else. Puts in place what the device needs and
	 * lets everything pass, or takes over what a worker that died left behind, without
	 * letting anything out that was held. 0, or negative errno with a text; then nothing of
	 * this call is left.
	 */
	int (*setup)(struct ckpt_device *d, struct err *e);

	/*
	 * Control thread, before checkpoint `epoch` is asked for. All that may fail or wait is
	 * done here. 0: the checkpoint may be taken (or not: another prepare() replaces this
	 * one). -EAGAIN: the device still works off earlier epochs, delay the checkpoint and ask
	 * again. -EINVAL: not the epoch that comes next.
	 */
	int (*prepare)(struct ckpt_device *d, uint64_t epoch);

	/*
	 * Data thread, every vCPU stopped: what the guest puts out from its next instruction on
	 * belongs to epoch+1. No system call, no allocation, no lock that can block, no log. 0,
	 * or -EINVAL when prepare(epoch) did not come before: the caller must abort.
	 */
	int (*postsuspend)(struct ckpt_device *d, uint64_t epoch);

	/*
	 * Data thread, right before the guest runs again. Same limits as postsuspend; 0 or
	 * negative errno: abort.
	 */
	int (*preresume)(struct ckpt_device *d, uint64_t epoch);

	/*
	 * Control thread: the backup acknowledged `epoch`, and with it all earlier ones. What
	 * they put out may leave now; that it does is the device's business (it retries). 0, or
	 * -EINVAL for an epoch that did not end or was committed before: nothing is let out then.
	 */
	int (*commit)(struct ckpt_device *d, uint64_t epoch);

	/*
	 * Data thread, guest still paused: the checkpoint is given up, the guest goes on in the
	 * same epoch. Right with and without a postsuspend(epoch) before. What was held stays
	 * held. Same limits as postsuspend; cannot fail.
	 */
	void (*abort)(struct ckpt_device *d, uint64_t epoch);

	/*
	 * Control thread: go unprotected. Let out all that is held, in order, and let everything
	 * pass from then on. Only when the caller knows that no other copy of the guest can run.
	 * Returns at once; what could not be done is tried again until it is. The next prepare()
	 * may name any epoch: a new session. 0, or negative errno with a text when the first try
	 * failed.
	 */
	int (*open)(struct ckpt_device *d, struct err *e);

	/*
	 * Control thread, last call: remove everything. After open() nothing is lost; without it,
	 * what is held is dropped and the guest stays cut off: that is for a guest that is to be
	 * destroyed. May wait, bounded by the device. 0, or negative errno with a text that names
	 * what is left behind.
	 */
	int (*teardown)(struct ckpt_device *d, struct err *e);
};

/* Embedded in, or pointing to, the device; the device owns it. All ops are set. */
struct ckpt_device {
	const struct ckpt_device_ops *ops;
	void *priv; /* the device's own */
};

#endif
