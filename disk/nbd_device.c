/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nbd_device.h. */
#include "disk/nbd_device.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/nbd_nl.h"
#include "disk/nbd_wire.h"
#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/persist.h"

/* A megabyte of request in each direction and then some, without the sender having to wait. */
#define SOCKET_BYTES (8 << 20)
/* All memory is locked: a helper's stack shall not be the usual 8 MiB. */
#define HELPER_STACK (256u << 10)

/* ---- helpers, in a thread of their own ---- */

struct helper {
	char sys_block[64];
	int index;
	bool touch; /* or tune */
};

static void *help(void *arg)
{
	autofree struct helper *h = arg;
	struct err e = ERR_INIT;
	int rc = h->touch ? nbdsys_touch(h->index, &e) : nbdsys_tune(h->sys_block, h->index, &e);

	if (rc < 0)
		log_warn("%s", e.text);
	return NULL;
}

static int start_helper(const struct nbddev *d, bool touch, struct err *e)
{
	autofree struct helper *h = mem_zalloc(sizeof(*h));
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	if (!h || pthread_attr_init(&attr) != 0)
		return err_set(e, -ENOMEM, "helper thread");
	snprintf(h->sys_block, sizeof(h->sys_block), "%s", d->conf.sys_block);
	h->index = d->index;
	h->touch = touch;
	pthread_attr_setstacksize(&attr, HELPER_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, help, h);
	pthread_attr_destroy(&attr);
	if (r)
		return err_set(e, -r, "helper thread");
	(void)take_ptr(&h);
	return 0;
}

/* ---- the device ---- */

int nbddev_init(struct nbddev *d, const struct nbddev_conf *c, struct err *e)
{
	*d = (struct nbddev){.conf = *c, .index = -1};
	snprintf(d->id, sizeof(d->id), "romulus-disk:%s", c->export->name);
	return nbdnl_open(&d->nl, e);
}

void nbddev_fini(struct nbddev *d)
{
	nbdnl_free(d->nl);
	d->nl = NULL;
}

static void grow_buffers(int fd)
{
	const int bytes = SOCKET_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) < 0)
		log_limited(LOG_AT_WARN, "a small socket buffer: %s", strerrordesc_np(errno));
}

static int note_index(const struct nbddev *d, struct err *e)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", d->index);

	return persist_replace(d->conf.index_path, text, (size_t)n, 0600, e);
}

static int make_device(struct nbddev *d, int fd, struct err *e)
{
	const struct nbdnl_device nd = {
		.size = d->conf.export->size, .block = d->conf.export->block, .id = d->id};
	struct err ignored = ERR_INIT;
	int rc = nbdnl_connect(d->nl, &nd, fd, &d->index, e);

	if (rc < 0)
		return rc;
	rc = note_index(d, e);
	if (rc < 0) {
		/* Nobody knows its number, so nobody has it. */
		if (nbdnl_disconnect(d->nl, d->index, &ignored) < 0)
			log_warn("%s", ignored.text);
		d->index = -1;
		return rc;
	}
	if (start_helper(d, false, &ignored) < 0)
		log_warn("/dev/nbd%d is not tuned: %s", d->index, ignored.text);
	log_info("made /dev/nbd%d", d->index);
	return 0;
}

static int take_over(struct nbddev *d, int fd, struct err *e)
{
	bool connected = false;
	int rc = nbdnl_reconfigure(d->nl, d->index, d->id, fd, d->let_go, e);

	if (!rc)
		return note_index(d, e);
	/* The kernel says EINVAL to anything. */
	if (nbdnl_is_connected(d->nl, d->index, &connected, NULL) == 0 && !connected)
		return err_setx(e, -ENOTCONN, "/dev/nbd%d was disconnected", d->index);
	return rc;
}

int nbddev_attach(struct nbddev *d, int *fd, struct err *e)
{
	autofd theirs = -1;
	autofd ours = -1;
	int sv[2];
	int rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return err_set(e, -errno, "socketpair");
	theirs = sv[0];
	ours = sv[1];
	grow_buffers(theirs);
	grow_buffers(ours);
	if (d->index < 0)
		d->index = MAX(nbdsys_find(d->conf.sys_block, d->id), -1);
	rc = d->index < 0 ? make_device(d, theirs, e) : take_over(d, theirs, e);
	if (!rc)
		*fd = take_fd(&ours);
	return rc;
}

int nbddev_let_go(struct nbddev *d, struct err *e)
{
	int rc;

	d->let_go = true;
	rc = nbdnl_reconfigure(d->nl, d->index, d->id, -1, true, e);
	return rc ? rc : start_helper(d, true, e);
}

void nbddev_gone(struct nbddev *d)
{
	struct err e = ERR_INIT;

	if (persist_remove(d->conf.index_path, &e) < 0)
		log_warn("%s", e.text);
	d->index = -1;
}
